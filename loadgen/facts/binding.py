"""Section 2: bind() before connect(), and sharing of ports.

Sources: socket(7), SO_REUSEADDR and SO_REUSEPORT; Documentation/networking/ip-sysctl.rst,
ip_autobind_reuse; inet_csk_get_port() and inet_csk_find_open_port() in net/ipv4/inet_connection_sock.c.
"""

from __future__ import annotations

from loadgen.facts.base import fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    OTHER,
    REUSEADDR,
    REUSEPORT,
    TARGET,
    Address,
    Bench,
    Option,
    another_user,
    set_option,
)

ANY_PORT: Address = (LOCAL, 0)
PORT: Address = (LOCAL, 40000)


@fact(
    "2.1",
    "bind(address, 0) takes one range for all destinations together",
    expected="100, then bind EADDRINUSE; another destination: 0, then bind EADDRINUSE",
    meaning="bind() picks the port before the destination is known, so the port is used up for all destinations: this "
    "is the EADDRINUSE of clients that only wanted to fix their source address.",
    source="inet_csk_find_open_port(), net/ipv4/inet_connection_sock.c",
)
def _early_choice() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    first = bench.fill(TARGET, bind=ANY_PORT)
    return f"{first}; another destination: {bench.fill(OTHER, bind=ANY_PORT)}"


@fact(
    "2.2",
    "another source address has a range of its own",
    expected="100 from 127.0.0.1, 100 from 127.0.0.2",
    meaning="Each added source address adds a whole range, also for clients that bind early.",
    source="inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _per_source() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    counts = [(len(bench.fill(TARGET, bind=(address, 0))), address) for address in (LOCAL, "127.0.0.2")]
    return ", ".join(f"{count} from {address}" for count, address in counts)


@fact(
    "2.3",
    "neither SO_REUSEADDR nor SO_REUSEPORT adds a port to bind(address, 0)",
    expected="SO_REUSEADDR: 100, then bind EADDRINUSE; SO_REUSEPORT: 100, then bind EADDRINUSE",
    since="4.11",
    meaning="The advice of 2014 to set SO_REUSEADDR and bind to port 0 no longer gains anything; sharing takes an "
    "explicit port number.",
    source="tools/testing/selftests/net/reuseaddr_ports_exhausted.c; "
    "inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _flags_any_port() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    results = []
    for kind, option, source in (("SO_REUSEADDR", REUSEADDR, LOCAL), ("SO_REUSEPORT", REUSEPORT, "127.0.0.2")):
        first = bench.fill(TARGET, option, bind=(source, 0), most=100)
        second = bench.fill(OTHER, option, bind=(source, 0))
        results.append(f"{kind}: {len(first) + len(second)}, then {second.answer}")
    return "; ".join(results)


@fact(
    "2.4",
    "ip_autobind_reuse=1 shares ports blindly, and reaches a quarter of the second destination's",
    expected="25 of 100 after 500 tries, the others connect EADDRNOTAVAIL",
    since="5.7",
    meaning="The setting brings back sharing for bind(address, 0) with SO_REUSEADDR, but not a capacity to plan with.",
    sysctls={**ports(100), "net.ipv4.ip_autobind_reuse": "1"},
    source="tools/testing/selftests/net/reuseaddr_ports_exhausted.c; ip-sysctl.rst, ip_autobind_reuse; 4b01a9674231",
)
def _autobind_reuse() -> str:
    # When all ports are in use, the search takes the first that does not conflict at bind() time, among the odd ports
    # of the lower half; only connect() shows if the four-tuple is free.
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    bench.fill(TARGET, REUSEADDR, bind=ANY_PORT, most=100)
    opened, failures = 0, set[str]()
    for _ in range(500):
        attempt = bench.connect(OTHER, REUSEADDR, bind=ANY_PORT)
        opened += attempt.ok
        if not attempt.ok:
            failures.add(attempt.answer)
            attempt.sock.close()
    return f"{opened} of 100 after 500 tries, the others {' and '.join(sorted(failures))}"


@fact(
    "2.5",
    "an explicit port carries one connection to each destination, if its sockets share it by a flag",
    expected="SO_REUSEADDR: 40 of 40; SO_REUSEPORT: 40 of 40; neither: 20 of 40, bind EADDRINUSE",
    since="3.9",
    meaning="A program that chooses its ports, as strategy `explicit` does, gets the full number of four-tuples; "
    "without a flag (`exclusive`) it is one socket per port.",
    source="socket(7), SO_REUSEADDR, SO_REUSEPORT; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _shared() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    results = []
    for kind, options, first in (
        ("SO_REUSEADDR", (REUSEADDR,), 40000),
        ("SO_REUSEPORT", (REUSEPORT,), 40020),
        ("neither", (), 40040),
    ):
        opened, failures = 0, set[str]()
        for target in (TARGET, OTHER):
            for port in range(first, first + 20):
                attempt = bench.connect(target, *options, bind=(LOCAL, port))
                opened += attempt.ok
                failures |= set() if attempt.ok else {attempt.answer}
        results.append(", ".join([f"{kind}: {opened} of 40", *sorted(failures)]))
    return "; ".join(results)


@fact(
    "2.6",
    "a four-tuple in use fails in connect(), not in bind()",
    expected="connect EADDRNOTAVAIL",
    meaning="The same errno from bind() means that the source address is not on this host (8.3): record the call with "
    "the errno.",
    source="__inet_check_established(), net/ipv4/inet_hashtables.c",
)
def _same_four_tuple() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    bench.connect(TARGET, REUSEADDR, bind=PORT)
    return str(bench.connect(TARGET, REUSEADDR, bind=PORT))


@fact(
    "2.7",
    "the flag must be on both sockets, but may be set on the first one later",
    expected="first without: bind EADDRINUSE; set on it while connected: ok",
    meaning="One client without SO_REUSEADDR blocks a port for all others.",
    source="socket(7), SO_REUSEADDR; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _on_both() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    first = bench.connect(TARGET, bind=PORT)
    without = bench.connect(OTHER, REUSEADDR, bind=PORT)
    set_option(first.sock, REUSEADDR)
    return f"first without: {without}; set on it while connected: {bench.connect(OTHER, REUSEADDR, bind=PORT)}"


@fact(
    "2.8",
    "SO_REUSEADDR and SO_REUSEPORT do not match each other; a socket with both matches either",
    expected="one each: bind EADDRINUSE; both and SO_REUSEADDR: ok; both and SO_REUSEPORT: ok",
    meaning="Set both, and the port can be shared with any socket that shares.",
    source="socket(7), SO_REUSEPORT; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _mixed_flags() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    results = []
    cases: tuple[tuple[str, int, tuple[Option, ...], Option], ...] = (
        ("one each", 40000, (REUSEADDR,), REUSEPORT),
        ("both and SO_REUSEADDR", 40001, (REUSEADDR, REUSEPORT), REUSEADDR),
        ("both and SO_REUSEPORT", 40002, (REUSEADDR, REUSEPORT), REUSEPORT),
    )
    for kind, port, first, second in cases:
        bench.connect(TARGET, *first, bind=(LOCAL, port))
        results.append(f"{kind}: {bench.connect(OTHER, second, bind=(LOCAL, port))}")
    return "; ".join(results)


@fact(
    "2.9",
    "a listener keeps clients off its port on its own address, SO_REUSEADDR or not",
    expected="same address: bind EADDRINUSE; 0.0.0.0: bind EADDRINUSE; other address: ok",
    meaning="Leave the ports of local servers out of the ports to choose from.",
    source="socket(7), SO_REUSEADDR; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _listener_in_the_way() -> str:
    bench = Bench()
    bench.listeners(TARGET, (LOCAL, 40000), ("0.0.0.0", 40001), ("127.0.0.2", 40002))
    kinds = (("same address", 40000), ("0.0.0.0", 40001), ("other address", 40002))
    return "; ".join(f"{kind}: {bench.connect(TARGET, REUSEADDR, bind=(LOCAL, port))}" for kind, port in kinds)


@fact(
    "2.10",
    "SO_REUSEPORT shares within one user, SO_REUSEADDR between all users",
    expected="SO_REUSEPORT: bind EADDRINUSE; SO_REUSEADDR: ok",
    meaning="Load from two accounts on one host needs SO_REUSEADDR, or disjoint ports.",
    source="socket(7), SO_REUSEPORT; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _another_user() -> str:
    bench = Bench()
    bench.listeners(TARGET, OTHER)
    results = []
    for kind, port, option in (("SO_REUSEPORT", 40000, REUSEPORT), ("SO_REUSEADDR", 40001, REUSEADDR)):
        bench.connect(TARGET, option, bind=(LOCAL, port))
        with another_user():
            results.append(f"{kind}: {bench.connect(OTHER, option, bind=(LOCAL, port))}")
    return "; ".join(results)


@fact(
    "2.11",
    "a client on a server's port stops the server, unless the client has SO_REUSEADDR",
    expected="without: bind EADDRINUSE; with: ok",
    meaning="SO_REUSEADDR on outgoing connections costs nothing and lets a server start later; loadgen sets it.",
    sysctls=ports(1),
    source="socket(7), SO_REUSEADDR; inet_csk_bind_conflict(), net/ipv4/inet_connection_sock.c",
)
def _server_starts_late() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    client = bench.connect(TARGET)
    without = bench.listen(PORT)
    set_option(client.sock, REUSEADDR)
    return f"without: {without}; with: {bench.listen(PORT)}"
