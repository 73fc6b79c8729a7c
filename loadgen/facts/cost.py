"""Section 12: time that a call takes for each port or socket it looks at.

The figures depend on the machine, and are shown. The description compares medians of one run and says "grows" or "stays
flat", which a busy machine does not change: what is to grow does so by far more than a factor of 2.

Sources: __inet_hash_connect() and __inet_check_established() in net/ipv4/inet_hashtables.c, whose search takes no lock
since 6.15 (86c2bc293b81, ae9d5b19b322); inet_csk_get_port() and inet_csk_update_fastreuse() in
net/ipv4/inet_connection_sock.c; ip-sysctl.rst, tcp_child_ehash_entries and tcp_ehash_entries.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable
from statistics import median
from typing import Final

from loadgen.clock import now_ns
from loadgen.errors import LabForbiddenError
from loadgen.facts.base import PORT_RANGE, CannotRunError, Cost, Measured, fact, ports
from loadgen.facts.experiment import (
    LOCAL,
    LOCAL6,
    REUSEADDR,
    REUSEPORT,
    Address,
    Bench,
    Option,
    name,
    require_ipv6,
    reset,
)
from loadgen.kernel import sysctl
from loadgen.lab import namespace

_FIRST: Final = 40000
_PORTS: Final = 1000
_SOCKETS: Final = 1000
_EMPTY_PORT: Final = 30000
_CONNECTIONS: Final = 1500
_MEASUREMENTS: Final = 51
#: A median that is this many times the one with nothing to look at "grows". Seen: 3.5 and more, or less than 1.3.
_GROWS_FROM: Final = 2.0
_CHILD_TABLE: Final = "net.ipv4.tcp_child_ehash_entries"
_TABLE: Final = "net.ipv4.tcp_ehash_entries"
_BUCKETS_MAX: Final = "net.ipv4.tcp_max_tw_buckets"


def _trend(cost: Cost) -> str:
    return "grows" if cost.ratio >= _GROWS_FROM else "stays flat"


def _require_descriptors(count: int) -> None:
    """Raise this process's limit to `count` more than it needs itself. Raises: CannotRunError if it may not."""
    needed = count + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        raise CannotRunError(f"not here, because it takes {needed:,} descriptors, and the hard limit is {hard:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def _time_ns(call: Callable[[], object]) -> int:
    started_ns = now_ns()
    call()
    return now_ns() - started_ns


def _connect_to_taken_ports(address: str) -> Measured:
    """Take every port of the range, and time a connect() that finds none: it looks at each port once."""
    _require_descriptors(_PORTS)
    bench, target = Bench(), (address, 9000)
    bench.listeners(target)
    filled = bench.fill(target, most=_PORTS)
    if len(filled) < _PORTS:
        raise CannotRunError(f"the range could not be filled: {filled}")
    client = bench.make(address)
    client.setblocking(False)

    def refused() -> None:
        number = client.connect_ex(target)
        if number != errno.EADDRNOTAVAIL:
            raise CannotRunError(f"every port is taken, but: connect {name(number) if number else 'ok'}")

    times_ns: dict[int, list[int]] = {1: [], _PORTS: []}
    for _ in range(5):  # in turn, so that a disturbance meets both
        for count, times in times_ns.items():
            sysctl.write(PORT_RANGE, ports(count, _FIRST)[PORT_RANGE])
            times += [_time_ns(refused) for _ in range(_MEASUREMENTS // 5)]
    one, all_ = median(times_ns[1]), median(times_ns[_PORTS])
    cost = Cost((all_ - one) / (_PORTS - 1), _PORTS, all_ / one)
    return Measured(f"{_PORTS:,} taken ports: {_trend(cost)}", cost)


_CONNECT_WHAT: Final = "taken port that connect() looks at"
_CONNECT_MEANING: Final = (
    "connect() alone looks at the full half of the range once that is taken, and at all of it when it fails: multiply "
    "by 14,116 or 28,232 (1.9). Assign ports (3.5), or set IP_LOCAL_PORT_RANGE (3.8)."
)


@fact(
    "12.1",
    "connect() takes time for each taken port that it looks at",
    expected="1,000 taken ports: grows",
    source="net/ipv4/inet_hashtables.c",
    meaning=_CONNECT_MEANING,
    sysctls=ports(_PORTS, _FIRST),
    cost_what=_CONNECT_WHAT,
)
def _connect() -> Measured:
    return _connect_to_taken_ports(LOCAL)


@fact(
    "12.2",
    "connect() of IPv6 takes time for each taken port, too",
    expected="1,000 taken ports: grows",
    source="net/ipv6/inet6_hashtables.c",
    meaning=_CONNECT_MEANING,
    sysctls=ports(_PORTS, _FIRST),
    cost_what=_CONNECT_WHAT,
)
def _connect_ipv6() -> Measured:
    require_ipv6()
    return _connect_to_taken_ports(LOCAL6)


def _bind_to_crowded_port(address: str, elsewhere: str) -> Measured:
    """Bind many sockets to one address and port, and time one more; the cost is that of SO_REUSEADDR."""
    _require_descriptors(_SOCKETS)
    reuseaddr = _crowded(REUSEADDR, (address, 30001), (address, 30001))
    reuseport = _crowded(REUSEPORT, (address, 30002), (address, 30002))
    another = _crowded(REUSEPORT, (address, 30003), (elsewhere, 30003))
    in_turn = _crowded(REUSEPORT, (address, 30004), (address, 30004), meanwhile=(elsewhere, 30004))
    seen = (
        f"SO_REUSEADDR: {_trend(reuseaddr)}; SO_REUSEPORT: {_trend(reuseport)}; another address: {_trend(another)}; "
        f"SO_REUSEPORT on both in turn: {_trend(in_turn)}"
    )
    return Measured(seen, reuseaddr)


def _crowded(option: Option, crowd: Address, place: Address, meanwhile: Address | None = None) -> Cost:
    """Return what bind() to a place takes more while many sockets are bound to `crowd`.

    meanwhile: bound and closed before each measurement.
    """
    sockets = [_bound(crowd, option) for _ in range(_SOCKETS)]
    alone_ns, beside_ns = [], []
    for _ in range(_MEASUREMENTS):
        alone_ns.append(_time_bind((place[0], _EMPTY_PORT), option))
        if meanwhile:
            _time_bind(meanwhile, option)
        beside_ns.append(_time_bind(place, option))
    for sock in sockets:
        sock.close()
    alone, beside = median(alone_ns), median(beside_ns)
    return Cost((beside - alone) / _SOCKETS, _SOCKETS, beside / alone)


def _bound(address: Address, option: Option) -> socket.socket:
    attempt = Bench().bind(address, option)
    if not attempt.ok:
        raise CannotRunError(f"no sockets to share a port: {attempt}")
    return attempt.sock


def _time_bind(address: Address, option: Option) -> int:
    with Bench().make(address[0], option) as sock:
        return _time_ns(lambda: sock.bind(address))


_BIND_EXPECTED: Final = (
    "SO_REUSEADDR: grows; SO_REUSEPORT: stays flat; another address: stays flat; SO_REUSEPORT on both in turn: grows"
)
_BIND_WHAT: Final = "socket on the port that bind() looks at, with SO_REUSEADDR"
_BIND_MEANING: Final = (
    "An explicit port with thousands of destinations gets slow to bind with SO_REUSEADDR alone; set SO_REUSEPORT, too, "
    "as strategy `explicit` does. Binding several source addresses in turn loses that gain."
)


# 8002d44fe84d (6.8): the first socket on a port is no longer recognised as such, so the flag that SO_REUSEADDR's short
# cut needs is never set. bhash2 (6.1) looks only at the sockets of one address.
@fact(
    "12.3",
    "bind() takes time for each socket on its address and port with SO_REUSEADDR, with SO_REUSEPORT only after a bind "
    "to another address",
    expected=_BIND_EXPECTED,
    since="6.8",
    source="tools/testing/selftests/net/bind_bhash.c",
    meaning=_BIND_MEANING,
    cost_what=_BIND_WHAT,
)
def _bind() -> Measured:
    return _bind_to_crowded_port(LOCAL, "127.0.0.2")


@fact(
    "12.4",
    "bind() of IPv6 takes time for each socket on its address and port, too",
    expected=_BIND_EXPECTED,
    since="6.8",
    source="tools/testing/selftests/net/bind_bhash.c",
    meaning=_BIND_MEANING,
    cost_what=_BIND_WHAT,
)
def _bind_ipv6() -> Measured:
    require_ipv6()
    return _bind_to_crowded_port(LOCAL6, "::ffff:127.0.0.2")


def _enter_nested() -> None:
    """Move into a namespace made from the present one. Raises: CannotRunError if that is forbidden."""
    try:
        namespace.enter({})
    except LabForbiddenError as error:
        raise CannotRunError(f"not here, because namespaces cannot be nested: {error}") from error


@fact(
    "12.5",
    "a namespace has a table of connections of its own if tcp_child_ehash_entries was set where it was made",
    expected="not set: the host's table; 1000: 1024 buckets, tcp_max_tw_buckets 512; made in that one: the host's "
    "table",
    since="6.1",
    source="net/ipv4/tcp_ipv4.c",
    meaning="Containers share the host's table and make its chains longer for each other (12.6); a table of one's own "
    "keeps fewer TIME-WAIT, so mind 5.12.",
    sysctls={_CHILD_TABLE: "0"},
)
def _own_table() -> str:
    results = [f"not set: {_table()}"]
    sysctl.write(_CHILD_TABLE, "1000")
    _enter_nested()
    results.append(f"1000: {_table()}, tcp_max_tw_buckets {sysctl.read(_BUCKETS_MAX)}")
    _enter_nested()  # the setting is not inherited
    return f"{'; '.join(results)}; made in that one: {_table()}"


def _table() -> str:
    """Return the size of this namespace's table; the kernel shows that of a shared one as a negative number."""
    buckets = int(sysctl.read(_TABLE) or 0)
    return f"{buckets} buckets" if buckets > 0 else "the host's table"


@fact(
    "12.6",
    "a connection takes time for each socket in its chain of the table, of either family",
    expected="in 65,536 buckets: stays flat, IPv6: stays flat; in 1 bucket: grows, IPv6: grows",
    since="6.1",
    source="net/ipv4/inet_hashtables.c",
    meaning="With 262,144 buckets, a common size, a million connections with both ends on one host make chains of 8.",
    sysctls={_CHILD_TABLE: "65536"},
    cost_what="socket in the chain, for one connection with both ends",
)
def _chains() -> Measured:
    require_ipv6()
    _require_descriptors(_CONNECTIONS)
    results = {}
    for buckets in (65536, 1):
        sysctl.write(_CHILD_TABLE, str(buckets))
        _enter_nested()
        results[buckets] = _fill_table()
    seen = "; ".join(
        f"in {buckets:,} bucket{'s' * (buckets > 1)}: {_trend(ipv4)}, IPv6: {_trend(ipv6)}"
        for buckets, (ipv4, ipv6) in results.items()
    )
    return Measured(seen, results[1][0])


def _fill_table() -> list[Cost]:
    """Fill the table with connections of IPv4; return what one more takes than before, of IPv4 and of IPv6."""
    bench, targets = Bench(), [(address, 9000) for address in (LOCAL, LOCAL6)]
    listeners = bench.listeners(*targets)
    before = [_time_connections(target) for target in targets]
    clients = [bench.connect(targets[0]) for _ in range(_CONNECTIONS)]
    if not all(client.ok for client in clients):
        raise CannotRunError(f"no connections to fill the table with: {clients[-1]}")
    after = [_time_connections(target) for target in targets]
    for sock in (*listeners, *(client.sock for client in clients)):
        sock.close()
    sockets = 2 * _CONNECTIONS
    return [Cost((full - empty) / sockets, sockets, full / empty) for empty, full in zip(before, after, strict=True)]


def _time_connections(target: Address) -> float:
    return median(_time_connection(target) for _ in range(_MEASUREMENTS))


def _time_connection(target: Address) -> int:
    client = Bench().make(target[0])
    took_ns = _time_ns(lambda: client.connect(target))
    reset(client)
    return took_ns
