"""A watcher against the kernel: what it calls free is what connect() gets, and not one port more."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN
from itertools import islice
from typing import Any, Final

import pytest

from loadgen.errors import HostError
from loadgen.kernel.sockdiag import TcpState
from loadgen.lab import namespace
from loadgen.model import Endpoint
from loadgen.strategies import Strategy
from loadgen.watch import netns, owners
from loadgen.watch import snapshot as look_module
from loadgen.watch.conditions import WatchCondition
from loadgen.watch.filters import GroupFilter, network
from loadgen.watch.owners import Owner
from loadgen.watch.plain import as_json
from loadgen.watch.snapshot import Usage, Watcher

from .support import accept_all, child, in_child, listen, until
from .test_namespace import become_ordinary

HERE = "127.0.0.1"
#: Twenty ports; listeners have others.
pytestmark = pytest.mark.lab("40000 40019")


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watcher(keep: ExitStack, clock: Clock) -> Callable[..., Watcher]:
    """Make a watcher. As its clock stands still, what it does rarely it does at every look."""
    return lambda *args, **options: keep.enter_context(Watcher(*args, clock=clock, **options))


@pytest.fixture
def target(keep: ExitStack) -> socket.socket:
    return keep.enter_context(listen(Endpoint(HERE, 9000)))


@pytest.fixture
def connect(keep: ExitStack) -> Callable[..., socket.socket]:
    """Connect, and leave everything to the kernel but what is given."""

    def make(target: socket.socket, source: str = "") -> socket.socket:
        sock = keep.enter_context(socket.socket(target.family, socket.SOCK_STREAM))
        if source:
            sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((source, 0))
        sock.connect(target.getsockname()[:2])
        return sock

    return make


Connect = Callable[..., socket.socket]
Make = Callable[..., Watcher]


def only(watcher: Watcher) -> Usage:
    (group,) = watcher.snapshot().groups
    return group


def numbers(group: Usage) -> tuple[int, int, int, int]:
    return group.in_use, group.time_wait, group.capacity.used, group.capacity.free


def refused(connect: Connect, target: socket.socket, most: int) -> int:
    """How many more connections there are until connect() finds no port."""
    for opened in range(most):
        try:
            connect(target)
        except OSError as error:
            if error.errno != EADDRNOTAVAIL:
                raise
            return opened
    return most


def rest(clients: list[socket.socket], accepted: list[socket.socket]) -> None:
    """Close both ends, the client's first, so that it keeps TIME-WAIT."""
    by_peer = {sock.getpeername(): sock for sock in accepted}
    for client in clients:
        other = by_peer[client.getsockname()]
        client.close()
        other.close()


def test_connections_of_one_destination(watcher: Make, connect: Connect, target: socket.socket) -> None:
    clients = [connect(target) for _ in range(5)]
    look = watcher().snapshot()
    (group,) = look.groups
    assert (group.source, group.destination, group.destination_port) == (HERE, HERE, 9000)
    assert group.states == {TcpState.ESTABLISHED: len(clients)}
    assert numbers(group) == (5, 0, 5, 15)
    assert (group.capacity.usable, group.capacity.share) == (20, 0.25)
    assert group.owned
    assert group.owned.owners == (Owner(os.getpid(), owners.command_of(os.getpid()), 5),)
    assert (group.owned.unknown, group.owned.reason) == (0, "")
    assert look.group_count == 1
    assert look.states == {TcpState.ESTABLISHED: 10, TcpState.LISTEN: 1}
    assert (look.usable, look.listening, look.reserved, look.inbound) == (20, 0, 0, ())
    assert look.bound
    assert look.bound.sockets == 0


@pytest.mark.lab("40000 40019", net__ipv4__tcp_tw_reuse="0", net__ipv4__ip_local_reserved_ports="40004-40005,50000")
def test_what_is_free_is_what_connect_gets(
    watcher: Make, connect: Connect, target: socket.socket, keep: ExitStack
) -> None:
    """Reserved ports, a listener and a bound socket inside the range, TIME-WAIT, and connections."""
    keep.enter_context(listen(Endpoint("127.0.0.9", 40_011)))
    bound = keep.enter_context(socket.socket())
    bound.bind(("127.0.0.8", 40_012))
    outside = keep.enter_context(socket.socket())
    outside.bind(("127.0.0.8", 39_000))
    clients = [connect(target) for _ in range(6)]
    accepted = [keep.enter_context(sock) for sock in accept_all(target, 6)]
    rest(clients[:2], accepted)
    watching = watcher()
    until(lambda: only(watching).time_wait == 2)
    look = watching.snapshot()
    (group,) = look.groups
    assert (look.reserved, look.listening, look.usable) == (2, 1, 16)
    assert look.bound
    assert (look.bound.sockets, look.bound.ports) == (1, (40_012,))
    assert [owner.pid for owner in look.bound.owned.owners] == [os.getpid()]
    assert numbers(group) == (4, 2, 6, 10)
    assert not group.reused
    assert refused(connect, target, 20) == group.capacity.free
    full = only(watching)
    assert numbers(full) == (14, 2, 16, 0)
    assert (full.capacity.share, full.exhausts_in_s) == (1.0, 0.0)


def test_each_source_and_each_destination_has_room_of_its_own(
    watcher: Make, connect: Connect, target: socket.socket, keep: ExitStack
) -> None:
    other = keep.enter_context(listen(Endpoint(HERE, 9001)))
    six = keep.enter_context(listen(Endpoint("::1", 9000)))
    for _ in range(3):
        connect(target)
    for _ in range(2):
        connect(target, "127.0.0.2")
    connect(other)
    for _ in range(4):
        connect(six)
    found = {(one.source, one.destination_port): numbers(one) for one in watcher().snapshot().groups}
    assert list(found) == [("::1", 9000), (HERE, 9000), ("127.0.0.2", 9000), (HERE, 9001)]
    assert list(found.values()) == [(4, 0, 4, 16), (3, 0, 3, 17), (2, 0, 2, 18), (1, 0, 1, 19)]

    def ports(ends: GroupFilter) -> list[tuple[str, int]]:
        return [(one.source, one.destination_port) for one in watcher(ends).snapshot().groups]

    assert ports(GroupFilter(source=network("127.0.0.2"))) == [("127.0.0.2", 9000)]
    assert ports(GroupFilter(destination=network("127.0.0.0/8"), port=9001)) == [(HERE, 9001)]
    assert ports(GroupFilter(destination=network("::/0"))) == [("::1", 9000)]


def test_a_port_of_ones_own_choosing_is_used_not_blocked(
    watcher: Make, connect: Connect, target: socket.socket, keep: ExitStack
) -> None:
    """The socket that has connected, and another one that is bound beside it."""
    for connected in (True, False):
        sock = keep.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HERE, 40_007))
        if connected:
            sock.connect(target.getsockname())
    named = only(watcher())
    assert (numbers(named), named.capacity.usable) == ((1, 0, 1, 19), 20)
    elsewhere = keep.enter_context(socket.socket())
    elsewhere.bind((HERE, 39_000))
    elsewhere.connect(target.getsockname())
    assert numbers(only(watcher())) == (2, 0, 1, 19)
    assert refused(connect, target, 20) == 19


def test_growth_over_looks(watcher: Make, connect: Connect, target: socket.socket, clock: Clock) -> None:
    watching = watcher()
    first = watching.snapshot()
    assert (first.t_s, first.groups, first.counters) == (0, (), {})
    for _ in range(4):
        connect(target)
    clock.now_s += 2
    group = only(watching)
    assert (group.growth_per_s, group.exhausts_in_s) == (2.0, 8.0), "it had none at the look before"
    for _ in range(4):
        connect(target)
    clock.now_s += 2
    look = watching.snapshot()
    (group,) = look.groups
    assert (look.t_s, group.growth_per_s, group.exhausts_in_s) == (4.0, 2.0, 6.0)
    assert look.counters["Tcp.ActiveOpens"] == 4
    assert "Tcp.CurrEstab" not in look.counters
    for _ in range(6):
        clock.now_s += 2
        group = only(watching)
    assert (group.growth_per_s, group.exhausts_in_s) == (0.0, None)


def test_of_very_many_groups_the_fullest_are_followed(
    watcher: Make, connect: Connect, target: socket.socket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_module, "FOLLOWED", 1)
    watching = watcher()
    for source, connections in (("127.0.0.2", 3), ("127.0.0.3", 2)):
        for _ in range(connections):
            connect(target, source)
    look = watching.snapshot()
    assert ([one.source for one in look.groups], look.group_count) == (["127.0.0.2"], 2)
    connect(target, "127.0.0.3")
    connect(target, "127.0.0.3")
    clock.now_s += 1
    (group,) = watching.snapshot().groups
    assert (group.source, group.growth_per_s) == ("127.0.0.3", None), (
        "it was not looked at before, so it may have grown"
    )


def test_a_kernel_that_lists_no_bound_sockets(watcher: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "lists_bound", lambda: False)
    look = watcher().snapshot()
    assert (look.bound, look.usable) == (None, 20)
    assert "Linux 6.8 does" in look.bound_unknown


TEN: Final = range(9000, 9010)
#: Tables of both parities, as 200 ports have them.
WIDE: Final = "40000 40199"


@pytest.fixture
def ten_targets(keep: ExitStack) -> list[socket.socket]:
    return [keep.enter_context(listen(Endpoint(HERE, port))) for port in TEN]


def bound_early(keep: ExitStack, target: socket.socket, source: str, *, reuseaddr: bool = False) -> None:
    """Bind to port 0 before the target is known, and connect. Raises: OSError EADDRINUSE when no port is left."""
    sock = keep.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
    sock.bind((source, 0))
    sock.connect(target.getsockname())


@pytest.mark.lab(WIDE)
@pytest.mark.parametrize("reuseaddr", [False, True])
def test_early_binding_is_told_by_its_ports(
    watcher: Make, ten_targets: list[socket.socket], keep: ExitStack, clock: Clock, reuseaddr: bool
) -> None:
    """What the account of the source calls free is what bind() gets, although each group is nearly empty."""
    watching = watcher()
    watching.snapshot()
    for number in range(180):
        bound_early(keep, ten_targets[number % 10], "127.0.0.9", reuseaddr=reuseaddr)
    clock.now_s += 10
    look = watching.snapshot()
    assert [one.capacity.used for one in look.groups] == [18] * 10
    (source,) = look.sources
    assert (source.source, source.destinations, source.in_use) == ("127.0.0.9", 10, 180)
    assert (source.capacity.used, source.capacity.usable, source.capacity.free) == (180, 200, 20)
    assert (source.strategy, source.shown_by) == (Strategy.BIND, "")
    assert source.growth_per_s == 18.0
    assert source.exhausts_in_s == pytest.approx(20 / 18)
    assert [owner.sockets for owner in source.owned.owners] == [180] if source.owned else False
    assert str(WatchCondition.parse("used > 80%").violation(look)).startswith("--fail-if used > 80%: 90%")
    for number in range(source.capacity.free):
        bound_early(keep, ten_targets[number % 10], "127.0.0.9", reuseaddr=reuseaddr)
    with pytest.raises(OSError, match="Address already in use"):
        bound_early(keep, ten_targets[0], "127.0.0.9", reuseaddr=reuseaddr)


@pytest.mark.lab(WIDE)
def test_early_binding_is_told_over_ipv6_and_in_time_wait_too(watcher: Make, keep: ExitStack) -> None:
    """Closed connections have no process, and keep their ports from bind() all the same."""
    targets = [keep.enter_context(listen(Endpoint("::1", port))) for port in TEN]
    for number in range(180):
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
            sock.connect(targets[number % 10].getsockname()[:2])
    for target in targets:
        for accepted in accept_all(target, 18):
            accepted.close()
    watching = watcher()
    until(lambda: watching.snapshot().sources[0].time_wait == 180)
    (source,) = watching.snapshot().sources
    assert (source.source, source.in_use, source.capacity.free, source.strategy) == ("::1", 0, 20, Strategy.BIND)
    with socket.socket(socket.AF_INET6) as left:
        for _ in range(source.capacity.free):
            keep.enter_context(socket.socket(socket.AF_INET6)).bind(("::1", 0))
        with pytest.raises(OSError, match="Address already in use"):
            left.bind(("::1", 0))


@pytest.mark.lab(WIDE)
@pytest.mark.parametrize("source", ["", "127.0.0.9"])
@pytest.mark.parametrize("each", [1, 2, 4, 8, 16, 19])
def test_late_binding_is_never_taken_for_early(
    watcher: Make, connect: Connect, ten_targets: list[socket.socket], source: str, each: int
) -> None:
    """However full: connect() alone, and IP_BIND_ADDRESS_NO_PORT."""
    watching = watcher()
    for _ in range(each):
        for target in ten_targets:
            connect(target, source)
    (found,) = watching.snapshot().sources
    assert (found.strategy, found.is_limit, found.in_use) == (None, False, 10 * each)


@pytest.mark.lab("40000 40099")
def test_leaked_bound_sockets_are_in_the_account_of_their_address(watcher: Make, keep: ExitStack) -> None:
    for _ in range(90):
        keep.enter_context(socket.socket()).bind(("127.0.0.5", 0))
    look = watcher().snapshot()
    (source,) = look.sources
    assert (source.source, source.unconnected, source.capacity.used, source.strategy) == (
        "127.0.0.5", 90, 90, Strategy.BIND,
    )  # fmt: skip
    assert look.groups == ()
    assert WatchCondition.parse("used > 80%").violation(look)
    assert not watcher(GroupFilter(source=network("127.0.0.6"))).snapshot().sources


def udp_until_denied(keep: ExitStack, bind: str = "", most: int = 300) -> int:
    """Make UDP sockets until the kernel finds no port; how many there were."""
    for opened in range(most):
        sock = keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            if bind:
                sock.bind((bind, 0))
            sock.sendto(b"x", (HERE, 5300 + opened % 4))
        except OSError as error:
            if error.errno not in (EAGAIN, EADDRINUSE):
                raise
            return opened
    return most


@pytest.mark.lab("40000 40049")
def test_what_is_free_is_what_a_udp_socket_gets(watcher: Make, keep: ExitStack) -> None:
    """At one address first, of which another one does not care, but a socket without an address does."""
    for _ in range(20):
        keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.5", 0))
    watching = watcher()
    rows = {row.source: row for row in watching.snapshot().udp or ()}
    assert {name: row.capacity.free for name, row in rows.items()} == {"127.0.0.5": 30, "0.0.0.0": 30}
    assert udp_until_denied(keep) == 30
    look = watching.snapshot()
    rows = {row.source: row for row in look.udp or ()}
    assert {name: row.capacity.free for name, row in rows.items()} == {"127.0.0.5": 0, "0.0.0.0": 0}
    assert rows["0.0.0.0"].owned
    assert [(one.pid, one.sockets) for one in rows["0.0.0.0"].owned.owners] == [(os.getpid(), 30)]
    assert WatchCondition.parse("used > 80%").violation(look)
    assert udp_until_denied(keep, "127.0.0.5") == 0
    assert udp_until_denied(keep, "127.0.0.6") == 20, "the ports that only the first address has"


@pytest.mark.lab("40000 40049")
@pytest.mark.parametrize("only_six", [False, True])
def test_udp_sockets_of_ipv6_count_for_ipv4_unless_they_say_otherwise(
    watcher: Make, keep: ExitStack, only_six: bool
) -> None:
    for _ in range(20):
        sock = keep.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_six)
        sock.bind(("::", 0))
    look = watcher().snapshot()
    free = {row.source: row.capacity.free for row in look.udp or ()}
    assert free["::"] == 30
    assert free["0.0.0.0"] == (50 if only_six else 30) == udp_until_denied(keep)


def test_a_selected_destination_leaves_udp_out(watcher: Make, connect: Connect, target: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, 0))
        connect(target)
        look = watcher(GroupFilter(port=9000)).snapshot()
        assert ([one.source for one in look.sources], look.udp, look.udp_unknown) == ([HERE], None, "")
        assert watcher(GroupFilter(port=9001)).snapshot().sources == ()
        assert watcher().snapshot().udp


def test_what_costs_much_is_done_rarely(connect: Connect, target: socket.socket) -> None:
    """The clock goes on each time it is looked at, so that it takes time to look at owners."""

    class Ticking(Clock):
        def __call__(self) -> float:
            self.now_s += 0.0001
            return self.now_s

    clock = Ticking()
    with Watcher(clock=clock) as watching:
        connect(target)
        assert sockets_of(only(watching)) == 1
        connect(target)
        group = only(watching)
        assert (group.in_use, sockets_of(group)) == (2, 1), "as it was then"
        clock.now_s += 3600
        assert sockets_of(only(watching)) == 2


def sockets_of(group: Usage) -> int:
    """How many its owners have."""
    assert group.owned
    return sum(owner.sockets for owner in group.owned.owners)


def test_growth_is_not_known_at_once(watcher: Make, connect: Connect, target: socket.socket) -> None:
    connect(target)
    assert (only(watcher()).growth_per_s, only(watcher()).exhausts_in_s) == (None, None)


@pytest.mark.lab("40000 40019", net__ipv4__tcp_tw_reuse="1")
def test_time_wait_that_is_taken_over_does_not_exhaust(
    watcher: Make, connect: Connect, target: socket.socket, clock: Clock, keep: ExitStack
) -> None:
    watching = watcher()
    watching.snapshot()
    clients = [connect(target) for _ in range(12)]
    accepted = [keep.enter_context(sock) for sock in accept_all(target, 12)]
    rest(clients[:10], accepted)
    waiting = watcher()  # so that `watching` sees nothing of what was on its way
    until(lambda: only(waiting).time_wait == 10)
    clock.now_s += 1
    group = only(watching)
    assert group.reused
    assert numbers(group) == (2, 10, 12, 8)
    assert group.growth_per_s == 2.0
    assert group.exhausts_in_s == (8 + 10) / 2.0


def test_what_came_in_is_seen_from_its_other_end(watcher: Make, connect: Connect, target: socket.socket) -> None:
    for source in (HERE, "127.0.0.2", "127.0.0.2"):
        connect(target, source)
    found = watcher(inbound=True).snapshot().inbound
    assert [(one.source, one.destination, one.destination_port, one.in_use) for one in found] == [
        ("127.0.0.2", HERE, 9000, 2),
        (HERE, HERE, 9000, 1),
    ]


def test_one_process_of_several(watcher: Make, connect: Connect, target: socket.socket, keep: ExitStack) -> None:
    other = keep.enter_context(listen(Endpoint(HERE, 9001)))
    own = [connect(target), connect(target), connect(other)]
    ours, theirs = socket.socketpair()

    def elsewhere() -> None:
        for sock in own:
            os.close(sock.detach())
        clients = [socket.create_connection(target.getsockname()) for _ in range(3)]
        theirs.send(bytes([len(clients)]))
        theirs.recv(1)

    with ours, theirs, child(elsewhere) as pid:
        assert ours.recv(1) == b"\x03"
        look = watcher(pid=os.getpid()).snapshot()
        groups = {one.destination_port: one for one in look.groups}
        assert [(one.source, one.in_use) for one in look.sources] == [(HERE, 6)]
        assert {port: numbers(one) for port, one in groups.items()} == {9000: (2, 0, 5, 15), 9001: (1, 0, 1, 19)}
        assert groups[9000].owned
        assert [(owner.pid, owner.sockets) for owner in groups[9000].owned.owners] == [(pid, 3), (os.getpid(), 2)]
    with pytest.raises(HostError, match=f"there is no process {pid}"):
        watcher(pid=pid).snapshot()


def test_an_ordinary_user_sees_all_but_the_owners(connect: Connect, target: socket.socket) -> None:
    for _ in range(3):
        connect(target)

    def as_nobody() -> Any:
        become_ordinary()
        with Watcher() as watching:
            return as_json(watching.snapshot(), 10)

    (group,) = in_child(as_nobody)["groups"]
    assert (group["in_use"], group["free"]) == (3, 17)
    # The child has inherited the sockets of this test: it is its own owner, as far as it may know.
    assert sum(one["sockets"] for one in group["owners"]["processes"]) + group["owners"]["unknown"] == 3


def test_owners_that_are_not_permitted_are_unknown(connect: Connect, target: socket.socket) -> None:
    clients = [connect(target) for _ in range(3)]

    def as_nobody() -> Any:
        for sock in clients:
            os.close(sock.detach())
        become_ordinary()
        with Watcher() as watching:
            return as_json(watching.snapshot(), 10)

    (group,) = in_child(as_nobody)["groups"]
    assert group["owners"] == {"processes": [], "unknown": 3, "unknown_because": "not permitted"}


@pytest.fixture
def elsewhere(keep: ExitStack) -> int:
    """A process in a namespace of its own, with three connections there."""
    ours, theirs = socket.socketpair()

    def live() -> None:
        namespace.enter({"net.ipv4.ip_local_port_range": "50000 50009"})
        listener = listen(Endpoint(HERE, 9009))
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        theirs.send(bytes([len(clients)]))
        theirs.recv(1)

    keep.enter_context(ours)
    keep.enter_context(theirs)
    pid = keep.enter_context(child(live))
    assert ours.recv(1) == b"\x03"
    return pid


def test_the_namespace_of_another_process(elsewhere: int, connect: Connect, target: socket.socket) -> None:
    connect(target)

    def there() -> Any:
        assert not netns.same(elsewhere)
        netns.enter(elsewhere)
        assert netns.same(elsewhere)
        with Watcher() as watching:
            watching.snapshot()
            return as_json(watching.snapshot(), 10)

    seen = in_child(there)
    assert (seen["ports"]["low"], seen["ports"]["usable"]) == (50_000, 10)
    (group,) = seen["groups"]
    assert (group["destination_port"], group["in_use"], group["free"]) == (9009, 3, 7)
    assert [one["pid"] for one in group["owners"]["processes"]] == [elsewhere]
    assert seen["group_count"] == 1


@pytest.mark.usefixtures("_user_namespaces")
def test_the_namespace_that_an_ordinary_user_made() -> None:
    """It takes the user namespace that came with it."""
    ours, theirs = socket.socketpair()

    def live() -> None:
        become_ordinary()
        namespace.enter({"net.ipv4.ip_local_port_range": "50000 50009"})
        theirs.send(b"x")
        theirs.recv(1)

    def there() -> int:
        become_ordinary()
        netns.enter(pid)
        with Watcher() as watching:
            return watching.snapshot().usable

    with ours, theirs, child(live) as pid:
        assert ours.recv(1) == b"x"
        assert in_child(there) == 10


def test_a_namespace_that_is_ours_already() -> None:
    netns.enter(os.getpid())
    assert netns.same(os.getpid())


def test_a_namespace_that_may_not_be_entered(elsewhere: int) -> None:
    def as_nobody() -> str:
        become_ordinary()
        try:
            netns.enter(elsewhere)
        except HostError as error:
            return str(error)
        return "entered"

    assert "it takes CAP_SYS_ADMIN" in in_child(as_nobody)


def test_the_namespace_of_nobody() -> None:
    free = next(islice((pid for pid in range(2, 1 << 22) if not os.path.exists(f"/proc/{pid}")), 1))
    with pytest.raises(HostError, match=f"there is no process {free}"):
        netns.enter(free)


@pytest.mark.lab(net__ipv4__ip_local_port_range="40000 40003")
def test_sockets_bound_to_a_device_take_no_port_from_those_that_are_not(
    watcher: Make, connect: Connect, target: socket.socket, keep: ExitStack
) -> None:
    """Four ports, four connections of the device lo, and then four others with the same four-tuples."""
    for _ in range(4):
        tied = keep.enter_context(socket.socket())
        tied.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        tied.connect(target.getsockname())
    look = watcher().snapshot()
    assert [(one.device, one.vrf, one.connections) for one in look.devices] == [("lo", "", 4)]
    assert look.groups == ()
    for _ in range(4):
        connect(target)
    assert numbers(only(watcher())) == (4, 0, 4, 0)
    assert refused(connect, target, 1) == 0
