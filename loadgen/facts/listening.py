"""Section 2, continued: wildcard addresses of both families, and which of the sockets on a port may listen.

Sources: ipv6(7), IPV6_V6ONLY; socket(7); inet_rcv_saddr_equal() and inet_csk_listen_start() in
net/ipv4/inet_connection_sock.c; inet_bind2_bucket_match() and __inet_lookup_listener() in net/ipv4/inet_hashtables.c.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from loadgen.facts.base import CannotRunError, fact
from loadgen.facts.experiment import (
    LOCAL,
    LOCAL6,
    REUSEADDR,
    REUSEPORT,
    Attempt,
    Bench,
    Option,
    another_user,
    answer,
    in_both_families,
    require_ipv6,
    until,
)
from loadgen.facts.udp import UdpBench

#: linux/in6.h; the second of two addresses "::" below has it.
_V6ONLY: Final[Option] = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
_ONLY: Final = ":: V6ONLY"
_IPV4: Final = ("0.0.0.0", LOCAL)
_MAPPED: Final = tuple(f"::ffff:{address}" for address in _IPV4)
_ALL: Final = (*_IPV4, "::", LOCAL6, _ONLY)
_PORT: Final = 30000


def _bind(bench: Bench, address: str, port: int, *options: Option) -> Attempt:
    only = (_V6ONLY,) if address == _ONLY else ()
    return bench.bind((address.split()[0], port), *only, *options)


def _conflicts(addresses: Sequence[str], *options: Option) -> dict[tuple[str, str], str]:
    """Bind each address, then each on the same port; return the second result by (first, second)."""
    bench, results = Bench(), {}
    for port, pair in enumerate(((first, second) for first in addresses for second in addresses), 20000):
        attempts = [_bind(bench, address, port, *options) for address in pair]
        if not attempts[0].ok:
            raise CannotRunError(f"{pair[0]} cannot be bound: {attempts[0]}")
        results[pair] = attempts[1].answer
        for attempt in attempts:
            attempt.sock.close()
    return results


# 6.1 and 6.2 had these two facts wrong, because of bhash2, until d9ba99342855 (6.3) and c48ef9c4aed3 (6.6).
@fact(
    "2.12",
    ":: takes its port on every address of both families, 0.0.0.0 on those of IPv4, and with IPV6_V6ONLY :: on those "
    "of IPv6",
    expected="free beside 0.0.0.0 and 127.0.0.1: ::1, :: V6ONLY; beside ::: none; beside ::1 and :: V6ONLY: 0.0.0.0, "
    "127.0.0.1; in either order",
    since="6.3",
    source="tools/testing/selftests/net/bind_wildcard.c",
    meaning="A server on [::] takes its port from IPv4 clients, too; one on 0.0.0.0 takes none from those that bind an "
    "IPv6 address.",
)
def _wildcards() -> str:
    require_ipv6()
    results = _conflicts(_ALL)
    groups: dict[str, list[str]] = {}
    for first in _ALL:
        free = ", ".join(second for second in _ALL if results[first, second] == "ok") or "none"
        groups.setdefault(free, []).append(first)
    either = all(results[first, second] == results[second, first] for first, second in results)
    beside = "; ".join(f"beside {' and '.join(firsts)}: {free}" for free, firsts in groups.items())
    return f"free {beside}; in {'either order' if either else 'one order only'}"


@fact(
    "2.13",
    "an IPv4 address in an IPv6 socket (::ffff:127.0.0.1) conflicts as the IPv4 address does",
    expected="::ffff:0.0.0.0 as 0.0.0.0; ::ffff:127.0.0.1 as 127.0.0.1",
    since="6.6",
    source="tools/testing/selftests/net/bind_wildcard.c",
    meaning="Programs that open only IPv6 sockets, as Java does, use the ports of IPv4 for IPv4 targets.",
)
def _mapped() -> str:
    require_ipv6()
    results = _conflicts((*_ALL, *_MAPPED))
    return "; ".join(
        f"{mapped} {'as' if _same_conflicts(results, mapped, plain) else 'not as'} {plain}"
        for mapped, plain in zip(_MAPPED, _IPV4, strict=True)
    )


def _same_conflicts(results: dict[tuple[str, str], str], one: str, other: str) -> bool:
    return all(
        results[one, second] == results[other, second] and results[second, one] == results[second, other]
        for second in (*_ALL, *_MAPPED)
    )


@fact(
    "2.14",
    "with a flag on both sockets none of these addresses conflict, until one listens",
    expected="SO_REUSEADDR: 49 of 49; SO_REUSEPORT: 49 of 49; SO_REUSEADDR, first listens on ::: 0 of 7",
    source="tools/testing/selftests/net/bind_wildcard.c",
    meaning="Clients that share a port by a flag need no regard for the family; a dual-stack listener keeps all of "
    "them off (2.9).",
)
def _with_flags() -> str:
    require_ipv6()
    results = []
    for kind, option in (("SO_REUSEADDR", REUSEADDR), ("SO_REUSEPORT", REUSEPORT)):
        answers = list(_conflicts((*_ALL, *_MAPPED), option).values())
        results.append(f"{kind}: {answers.count('ok')} of {len(answers)}")
    bench = Bench()
    bench.listeners(("::", _PORT))
    beside = [_bind(bench, address, _PORT, REUSEADDR).ok for address in (*_ALL, *_MAPPED)]
    return f"{'; '.join(results)}; SO_REUSEADDR, first listens on ::: {sum(beside)} of {len(beside)}"


@fact(
    "2.15",
    "an IPv6-only bind with SO_REUSEADDR does not open the port of an IPv4 listener",
    expected="0.0.0.0: bind EADDRINUSE; :: V6ONLY: ok; 0.0.0.0 beside it: bind EADDRINUSE; after it: bind EADDRINUSE",
    source="tools/testing/selftests/net/reuseaddr_conflict.c",
    meaning="A second server on the other family is no danger to the first, and no way around it.",
)
def _not_reopened() -> str:
    require_ipv6()
    bench = Bench()
    bench.listeners((LOCAL, _PORT))

    def wildcard() -> Attempt:
        return _bind(bench, "0.0.0.0", _PORT, REUSEADDR)

    before, only, beside = wildcard(), _bind(bench, _ONLY, _PORT, REUSEADDR), wildcard()
    only.sock.close()
    return f"0.0.0.0: {before}; :: V6ONLY: {only}; 0.0.0.0 beside it: {beside}; after it: {wildcard()}"


@fact(
    "2.16",
    "of the sockets that share a port by SO_REUSEADDR one can listen; with SO_REUSEPORT all can",
    expected="SO_REUSEADDR: ok, listen EADDRINUSE; SO_REUSEPORT: ok, ok; both: ok, ok; IPv6: the same",
    source="tools/testing/selftests/net/reuseaddr_ports_exhausted.c",
    meaning="bind() that succeeds is no promise for listen(): a server on a port of clients can fail in either call.",
)
def _second_listen() -> str:
    return in_both_families(_listen_twice)


def _listen_twice(address: str) -> str:
    bench, results = Bench(), []
    kinds = (("SO_REUSEADDR", (REUSEADDR,)), ("SO_REUSEPORT", (REUSEPORT,)), ("both", (REUSEADDR, REUSEPORT)))
    for port, (kind, options) in enumerate(kinds, _PORT):
        pair = [bench.bind((address, port), *options) for _ in range(2)]
        results.append(f"{kind}: {', '.join(_listen(attempt) for attempt in pair)}")
    return "; ".join(results)


def _listen(attempt: Attempt) -> str:
    return answer("listen", attempt.sock.listen) if attempt.ok else attempt.answer


@fact(
    "2.17",
    "with both flags two users can bind a port, and only the first of them can listen on it",
    expected="first: ok; another user: bind ok, listen EADDRINUSE; IPv6: the same",
    source="tools/testing/selftests/net/reuseaddr_ports_exhausted.c",
    meaning="SO_REUSEADDR carries the clients of several users (2.10), SO_REUSEPORT the servers of one.",
)
def _listen_of_another_user() -> str:
    return in_both_families(_listen_as_two_users)


def _listen_as_two_users(address: str) -> str:
    bench, flags = Bench(), (REUSEADDR, REUSEPORT)
    first = bench.bind((address, _PORT), *flags)
    with another_user():
        second = bench.bind((address, _PORT), *flags)
    return f"first: {_listen(first)}; another user: bind {second}, {_listen(second)}"


@fact(
    "2.18",
    "a listener on an address gets all connections to it, before a group of SO_REUSEPORT on the wildcard",
    expected="TCP: 127.0.0.1 8 of 8, ::1 8 of 8, ::ffff:127.0.0.1 8 of 8; UDP: the same",
    since="5.0",
    source="tools/testing/selftests/net/reuseport_addr_any.c",
    meaning="One listener bound to the target's address takes the whole load, however many workers listen on 0.0.0.0.",
)
def _specific_first() -> str:
    require_ipv6()
    tcp, udp = _of_the_specific(Bench()), _of_the_specific(UdpBench())
    return f"TCP: {tcp}; UDP: {'the same' if udp == tcp else udp}"


def _of_the_specific(bench: Bench) -> str:
    """Send eight times to an address; return how many arrive at its server, with two on each wildcard around it.

    Before and after, because a lookup without preference takes the socket that was made first, or last.
    """
    results = []
    for port, (bound, to) in enumerate(((LOCAL, LOCAL), (LOCAL6, LOCAL6), (_MAPPED[1], LOCAL)), _PORT):
        wildcards = ("0.0.0.0", "::", "0.0.0.0", "::")
        servers = [_serve(bench, address, port) for address in (*wildcards, bound, *wildcards)]
        for _ in range(8):
            bench.connect((to, port)).sock.send(b"x")
        results.append(f"{bound} {_arrived(servers[len(wildcards)])} of 8")
    return ", ".join(results)


def _serve(bench: Bench, address: str, port: int) -> socket.socket:
    attempt = bench.bind((address, port), REUSEPORT)
    if not attempt.ok:
        raise CannotRunError(f"no server on {address}: {attempt}")
    if attempt.sock.type == socket.SOCK_STREAM:
        attempt.sock.listen()
    return attempt.sock


def _arrived(server: socket.socket) -> int:
    """Return the number of connections or datagrams that the server gets."""
    server.setblocking(False)
    take = server.accept if server.type == socket.SOCK_STREAM else lambda: server.recv(1)
    count = 0
    # The last ones may still be on their way.
    while count < 8 and until(lambda: answer("take", take) == "ok", 0.2):
        count += 1
    return count
