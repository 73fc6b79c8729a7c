"""Section 11: connected UDP sockets, and sharing of their ports.

Sources: udp(7), socket(7); inet_autobind() and __inet_bind() in net/ipv4/af_inet.c; udp_lib_get_port() and
udp4_lib_lookup2() in net/ipv4/udp.c; __udp4_lib_err(), which turns ICMP into errors, in the same file.
"""

from __future__ import annotations

import select
import socket
from pathlib import Path

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    NO_PORT,
    OTHER,
    REUSEADDR,
    REUSEPORT,
    TARGET,
    Address,
    Bench,
    Option,
    answer,
    port_range,
    require_ipv6,
    until,
)
from loadgen.kernel import snmp, sockdiag

_PORT: Address = (LOCAL, 40000)
_ELSEWHERE: Address = ("127.0.0.2", 0)
_BOTH: tuple[tuple[str, Option], ...] = (("SO_REUSEADDR", REUSEADDR), ("SO_REUSEPORT", REUSEPORT))


class UdpBench(Bench):
    """Like Bench, with UDP sockets."""

    kind = socket.SOCK_DGRAM

    def server(self, address: Address = TARGET) -> socket.socket:
        """Return a socket to send to. Raises: CannotRunError if it cannot be bound."""
        attempt = self.bind(address)
        if not attempt.ok:
            raise CannotRunError(f"no socket on {address[0]}, port {address[1]}: {attempt}")
        return attempt.sock


def _waiting(sock: socket.socket) -> int:
    """Return the number of datagrams that can be read at once; loopback delivers within send()."""
    sock.setblocking(False)
    for count in range(1000):
        if answer("recv", lambda: sock.recv(1 << 16)) != "ok":
            return count
    return 1000


@fact(
    "11.1",
    "in UDP connect() alone has one range for all destinations and all addresses together",
    expected="100, then connect EAGAIN; another destination: 0, then connect EAGAIN; from 127.0.0.2, bound: 100",
    meaning="The port is picked before the address is known, so for every address: the default range holds 28,232 "
    "sockets of this kind on the whole host, and the errno differs from TCP's.",
    source="inet_autobind(), net/ipv4/af_inet.c; udp_lib_get_port(), net/ipv4/udp.c",
)
def _alone() -> str:
    bench = UdpBench()
    first = bench.fill(TARGET)
    other = bench.fill(OTHER)
    return f"{first}; another destination: {other}; from 127.0.0.2, bound: {len(bench.fill(TARGET, bind=_ELSEWHERE))}"


@fact(
    "11.2",
    "an early and a late bind have one range for each source, and all destinations share it",
    expected="early: 100, then bind EADDRINUSE; another destination: 0; late from 127.0.0.2: 100, then connect EAGAIN; "
    "another destination: 0",
    since="4.2",
    meaning="IP_BIND_ADDRESS_NO_PORT decides which call fails, and adds no socket: in UDP a second destination gains "
    "nothing; only another source address does.",
    source="udp_lib_get_port(), net/ipv4/udp.c; ip(7), IP_BIND_ADDRESS_NO_PORT",
)
def _per_source() -> str:
    bench = UdpBench()
    results = []
    for kind, source, options in (("early", (LOCAL, 0), ()), ("late from 127.0.0.2", _ELSEWHERE, (NO_PORT,))):
        first = bench.fill(TARGET, *options, bind=source)
        results.append(f"{kind}: {first}; another destination: {len(bench.fill(OTHER, *options, bind=source))}")
    return "; ".join(results)


@fact(
    "11.3",
    "IP_LOCAL_PORT_RANGE narrows the choice of UDP as well, and after a refusal the same socket can try another range",
    expected="10, then connect EAGAIN; the same socket: ok on port 40010",
    since="6.3",
    meaning="Workers can have slices of their own, and ports can be assigned one by one, as in TCP (3.5, 3.6).",
    source="tools/testing/selftests/net/ip_local_port_range.c, its UDP variants; udp_lib_get_port(), net/ipv4/udp.c",
)
def _narrowed() -> str:
    bench = UdpBench()
    filled = bench.fill(TARGET, NO_PORT, port_range(40000, 40009), bind=(LOCAL, 0))
    denied = bench.connect(TARGET, NO_PORT, port_range(40000, 40009), bind=(LOCAL, 0))
    denied.sock.setsockopt(*port_range(40010, 40010))
    again = answer("connect", lambda: denied.sock.connect(TARGET))
    return f"{filled}; the same socket: {again} on port {denied.port}"


@fact(
    "11.4",
    "with SO_REUSEADDR or SO_REUSEPORT automatic choice gives out ports in use, for the same destination, too",
    expected="SO_REUSEADDR: 300 sockets on 10 ports; SO_REUSEPORT: 300 sockets on 10 ports; neither: 10, then connect "
    "EAGAIN",
    meaning="An option that is harmless in TCP (2.11) is a trap in UDP: nothing fails, and most of the sockets never "
    "receive a reply (11.5).",
    sysctls=ports(10),
    source="udp_lib_lport_inuse(), net/ipv4/udp.c; socket(7), SO_REUSEADDR",
)
def _taken_twice() -> str:
    bench = UdpBench()
    results = []
    for source, (kind, option) in zip(("127.0.0.2", "127.0.0.3"), _BOTH, strict=True):
        filled = bench.fill(TARGET, option, NO_PORT, bind=(source, 0))
        results.append(f"{kind}: {len(filled)} sockets on {len(set(filled.ports))} ports")
    return f"{'; '.join(results)}; neither: {bench.fill(TARGET, NO_PORT, bind=(LOCAL, 0))}"


@fact(
    "11.5",
    "two sockets may have one four-tuple, and then the last one gets every datagram",
    expected="SO_REUSEADDR: connect ok, first 0 of 4, second 4 of 4; SO_REUSEPORT: connect ok, first 0 of 4, second 4 "
    "of 4",
    meaning="No call fails and no counter moves. A program that chooses ports must use each once per destination; "
    "loadgen does, and avoids the ports of other sockets.",
    source="udp4_lib_lookup2() and compute_score(), net/ipv4/udp.c",
)
def _overlap() -> str:
    bench = UdpBench()
    server = bench.server()
    results = []
    for port, (kind, option) in enumerate(_BOTH, 40000):
        first, second = (bench.connect(TARGET, option, bind=(LOCAL, port)) for _ in range(2))
        for _ in range(4):
            server.sendto(b"x", (LOCAL, port))
        counts = f"first {_waiting(first.sock)} of 4, second {_waiting(second.sock)} of 4"
        results.append(f"{kind}: connect {second}, {counts}")
    return "; ".join(results)


@fact(
    "11.6",
    "an explicit port carries one socket to each destination, if its sockets share it by a flag",
    expected="SO_REUSEADDR: 40 of 40, 40 heard; SO_REUSEPORT: 40 of 40, 40 heard; neither: 20 of 40, 20 heard, bind "
    "EADDRINUSE",
    meaning="A program that chooses its ports gets the full number of four-tuples in UDP, too, and each socket the "
    "datagrams of its own destination.",
    source="udp_lib_lport_inuse() and compute_score(), net/ipv4/udp.c",
)
def _shared() -> str:
    bench = UdpBench()
    servers = {target: bench.server(target) for target in (TARGET, OTHER)}
    results = []
    kinds: list[tuple[str, tuple[Option, ...]]] = [(kind, (option,)) for kind, option in _BOTH]
    kinds.append(("neither", ()))
    for number, (kind, options) in enumerate(kinds):
        opened, failures = [], set[str]()
        for target, server in servers.items():
            for port in range(40000 + 20 * number, 40020 + 20 * number):
                attempt = bench.connect(target, *options, bind=(LOCAL, port))
                if attempt.ok:
                    opened.append((attempt.sock, server, port))
                else:
                    failures.add(attempt.answer)
        for _, server, port in opened:
            server.sendto(b"x", (LOCAL, port))
        heard = sum(_waiting(sock) == 1 for sock, _, _ in opened)
        results.append(", ".join([f"{kind}: {len(opened)} of 40", f"{heard} heard", *sorted(failures)]))
    return "; ".join(results)


@fact(
    "11.7",
    "a socket without the flag keeps its port, whatever other sockets set; one on 0.0.0.0 keeps it on every address",
    expected="same address: bind EADDRINUSE; 0.0.0.0: bind EADDRINUSE; other address: ok; 0.0.0.0 with the flag: ok",
    meaning="bind() refuses the ports of most other programs; but not of those that set SO_REUSEADDR, so check before "
    "(11.12).",
    source="udp_lib_lport_inuse(), net/ipv4/udp.c",
)
def _strangers() -> str:
    bench = UdpBench()
    results = []
    for port, (kind, address, options) in enumerate(
        (
            ("same address", LOCAL, ()),
            ("0.0.0.0", "0.0.0.0", ()),
            ("other address", "127.0.0.2", ()),
            ("0.0.0.0 with the flag", "0.0.0.0", (REUSEADDR,)),
        ),
        40000,
    ):
        bench.bind((address, port), *options)
        results.append(f"{kind}: {bench.connect(TARGET, REUSEADDR, bind=(LOCAL, port))}")
    return "; ".join(results)


@fact(
    "11.8",
    "any UDP socket blocks its port for connect() alone, whatever its address; not for a bind to another address",
    expected="connect alone: connect EAGAIN; late from 127.0.0.3: ok",
    meaning="Every strategy takes ports from the host's other UDP clients that bind no address: there is no late "
    "binding that would share.",
    sysctls=ports(1),
    source="udp_lib_lport_inuse(), net/ipv4/udp.c",
)
def _closed_to_others() -> str:
    bench = UdpBench()
    bench.connect(TARGET, NO_PORT, bind=_ELSEWHERE)
    alone = bench.connect(TARGET)
    return f"connect alone: {alone}; late from 127.0.0.3: {bench.connect(TARGET, NO_PORT, bind=('127.0.0.3', 0))}"


@fact(
    "11.9",
    "all ports of a range are used, also with an odd number of ports",
    expected="alone: 3 of 3; late: 3 of 3",
    meaning="The search begins anywhere and has no parity, so no port is lost (1.10).",
    sysctls=ports(3),
    source="udp_lib_get_port(), net/ipv4/udp.c",
)
def _odd() -> str:
    bench = UdpBench()
    late = bench.fill(TARGET, NO_PORT, bind=_ELSEWHERE)
    for sock in bench.kept:
        sock.close()
    return f"alone: {len(bench.fill(TARGET))} of 3; late: {len(late)} of 3"


@fact(
    "11.10",
    "a target without a listener shows in the call after a send, once",
    expected="connect ok, send ok, recv ECONNREFUSED; send ok, send ECONNREFUSED, send ok",
    meaning="connect() sends nothing, so it proves nothing. The error is an ICMP port unreachable, and the call that "
    "reports it does nothing else.",
    source="udp(7), error handling; __udp4_lib_err(), net/ipv4/udp.c",
)
def _refused() -> str:
    bench = UdpBench()
    attempt = bench.connect(TARGET)
    sock = attempt.sock

    def send() -> str:
        return answer("send", lambda: sock.send(b"x"))

    heard = [f"connect {attempt}", f"send {send()}", answer("recv", lambda: sock.recv(1))]
    again = [f"send {send()}", send(), f"send {send()}"]
    return f"{', '.join(heard)}; {', '.join(again)}"


@fact(
    "11.11",
    "epoll reports a refusal as an error alone, and an empty datagram as data",
    expected="refused: ERR; empty: IN, 0 bytes, then recv EAGAIN",
    meaning="There is no end of file: recv() of 0 bytes does not mean that the other side is gone.",
    source="udp(7), error handling; udp_poll(), net/ipv4/udp.c",
)
def _events() -> str:
    bench = UdpBench()
    refused, empty = bench.connect(OTHER).sock, bench.connect(TARGET).sock
    server = bench.server()
    refused.send(b"x")
    server.sendto(b"", empty.getsockname())
    with select.epoll() as watch:
        for sock in (refused, empty):
            watch.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        events = dict(watch.poll(1))
    names = {select.EPOLLERR: "ERR", select.EPOLLIN: "IN"}
    results = [names.get(events.get(sock.fileno(), 0), str(events.get(sock.fileno(), 0))) for sock in (refused, empty)]
    size = len(empty.recv(1))
    empty.setblocking(False)
    return f"refused: {results[0]}; empty: {results[1]}, {size} bytes, then {answer('recv', lambda: empty.recv(1))}"


@fact(
    "11.12",
    "sock_diag lists every socket that has a port, connected or not",
    expected="bound: 1; connected: 1; late, not connected: 0",
    meaning="The ports of other programs can be left out before the first socket is made, even those that bind() would "
    "permit; it takes the module udp_diag.",
    source="sock_diag(7); net/ipv4/udp_diag.c",
)
def _listed() -> str:
    bench = UdpBench()
    bench.bind(_PORT, REUSEADDR)
    bench.connect(TARGET, bind=(LOCAL, 40001))
    bench.bind((LOCAL, 0), NO_PORT)
    with sockdiag.Reader() as reader:
        listed = reader.dump(protocol=socket.IPPROTO_UDP).sockets["source_port"].tolist()
    late = len(listed) - listed.count(40000) - listed.count(40001)
    return f"bound: {listed.count(40000)}; connected: {listed.count(40001)}; late, not connected: {late}"


@fact(
    "11.13",
    "a port is free as soon as its socket is closed",
    expected="20 of 20",
    meaning="UDP has no TIME-WAIT: only the processor limits churn. A late datagram for the old socket goes to the "
    "new one.",
    sysctls=ports(1),
    source="udp_lib_unhash(), net/ipv4/udp.c",
)
def _no_rest() -> str:
    bench = UdpBench()
    for done in range(20):
        attempt = bench.connect(TARGET)
        if not attempt.ok:
            return f"{done} of 20, {attempt}"
        attempt.sock.send(b"x")
        attempt.sock.close()
    return "20 of 20"


@fact(
    "11.14",
    "connect() to the port that the kernel picks is a connection with itself",
    expected="its own peer, hears itself",
    meaning="As in TCP (1.4), and easier: keep the ports of servers out of the range.",
    sysctls=ports(1),
    source="udp_lib_get_port() and compute_score(), net/ipv4/udp.c",
)
def _itself() -> str:
    attempt = UdpBench().connect(_PORT, NO_PORT, bind=(LOCAL, 0))
    if not attempt.ok or attempt.sock.getpeername() != attempt.sock.getsockname():
        return f"connect {attempt}"
    attempt.sock.send(b"x")
    return f"its own peer, {'hears itself' if _waiting(attempt.sock) == 1 else 'hears nothing'}"


@fact(
    "11.15",
    "running out of ports moves no counter; datagrams that do not fit into a buffer are counted",
    expected="connect EAGAIN: nothing moved; 100 sent: read + RcvbufErrors = 100",
    meaning="Loss on the way is not counted anywhere, loss at the receiver in Udp.RcvbufErrors: check it before you "
    "blame the network.",
    sysctls=ports(4),
    source="snmp_counter.rst, UdpRcvbufErrors; __udp_enqueue_schedule_skb(), net/ipv4/udp.c",
)
def _counted() -> str:
    bench = UdpBench()
    server = bench.server()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    before = _counters()
    denied = bench.fill(TARGET)
    nothing = "nothing moved" if _counters() == before else "something moved"
    sender = bench.bind((LOCAL, 30000)).sock
    for _ in range(100):
        sender.sendto(b"x" * 512, TARGET)
    read = _waiting(server)
    until(lambda: _counters()["Udp.RcvbufErrors"] - before["Udp.RcvbufErrors"] == 100 - read, 0.5)
    lost = _counters()["Udp.RcvbufErrors"] - before["Udp.RcvbufErrors"]
    return f"{denied.answer}: {nothing}; 100 sent: read + RcvbufErrors = {read + lost if lost else 'read alone'}"


def _counters() -> dict[str, int]:
    return {key: value for key, value in snmp.read(Path("/proc/self/net")).items() if key.startswith("Udp.")}


@fact(
    "11.16",
    "IPv4 and IPv6 share the ports of connect() alone, and have separate ones if an address is bound",
    expected="alone: IPv6 4, IPv4 0; late: IPv6 4, IPv4 4",
    meaning="A dual-stack target has twice the capacity in UDP only for clients that bind their source.",
    sysctls=ports(4),
    source="inet_rcv_saddr_equal(), net/ipv4/inet_connection_sock.c, as udp_lib_lport_inuse() calls it",
)
def _families() -> str:
    require_ipv6()
    bench = UdpBench()
    six: Address = ("::1", 9000)
    alone = [len(bench.fill(target)) for target in (six, TARGET)]
    for sock in bench.kept:
        sock.close()
    late = [len(bench.fill(to, NO_PORT, bind=(source, 0))) for to, source in ((six, "::1"), (TARGET, LOCAL))]
    return f"alone: IPv6 {alone[0]}, IPv4 {alone[1]}; late: IPv6 {late[0]}, IPv4 {late[1]}"
