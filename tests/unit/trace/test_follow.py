"""Sockets followed call by call: the strategy of each way, what counts as one, and what stays unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import CloseMode
from loadgen.strategies import Strategy, Transport
from loadgen.trace import tables
from loadgen.trace.follow import CallFailure, Follower
from loadgen.trace.strace import StraceLines
from loadgen.trace.ways import Way

DATA: Final = Path(__file__).parents[2] / "data" / "explain" / "strace"
TCP: Final = "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3"
UDP: Final = "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 3"
CONNECT: Final = 'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}, 16) = '
REUSEADDR: Final = "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0"
REUSEPORT: Final = "setsockopt(3, SOL_SOCKET, SO_REUSEPORT, [1], 4) = 0"
NO_PORT: Final = "setsockopt(3, SOL_IP, IP_BIND_ADDRESS_NO_PORT, [1], 4) = 0"
RANGE: Final = "setsockopt(3, SOL_IP, IP_LOCAL_PORT_RANGE, [2622004288], 4) = 0"  # 40000 | 40008 << 16


def bind(port: int, result: str = "0", fd: int = 3) -> str:
    return f'bind({fd}, {{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("10.0.0.5")}}, 16) = {result}'


def follow(*lines: str, follower: Follower | None = None) -> Follower:
    reader, follower = StraceLines(), follower or Follower(whole=True)
    for number, line in enumerate(lines, 1):
        call = reader.read(line, number)
        assert call, line
        follower.follow(call)
    return follower


def one_way(*lines: str) -> Way:
    (way,) = follow(*lines).ways
    return way


@pytest.mark.parametrize(
    ("calls", "strategy"),
    [
        ([], Strategy.KERNEL),
        ([REUSEADDR, NO_PORT], Strategy.KERNEL),
        ([bind(0)], Strategy.BIND),
        ([REUSEADDR, bind(0)], Strategy.REUSEADDR),
        ([bind(0), REUSEADDR, NO_PORT], Strategy.BIND),
        ([REUSEPORT, bind(0)], Strategy.BIND),
        ([NO_PORT, bind(0)], Strategy.LATE),
        ([REUSEADDR, NO_PORT, bind(0)], Strategy.LATE),
        ([NO_PORT, RANGE, bind(0)], Strategy.LATE_RANGE),
        ([NO_PORT, bind(0), RANGE], Strategy.LATE_RANGE),
        ([RANGE, bind(0)], Strategy.BIND),
        ([bind(40000)], Strategy.EXCLUSIVE),
        ([NO_PORT, bind(40000)], Strategy.EXCLUSIVE),
        ([REUSEADDR, bind(40000)], Strategy.EXPLICIT),
        ([REUSEADDR, REUSEPORT, bind(40000)], Strategy.EXPLICIT),
        ([REUSEPORT, bind(40000)], Strategy.REUSEPORT),
        ([REUSEADDR, REUSEADDR.replace("[1]", "[0]"), bind(40000)], Strategy.EXCLUSIVE),
    ],
)
def test_the_strategy_is_what_is_set_before_bind_and_what_bind_fixes(calls: list[str], strategy: Strategy) -> None:
    way = one_way(TCP, *calls, CONNECT + "0")
    assert (way.strategy, way.transport, way.beside) == (strategy, Transport.TCP, ())
    assert (way.target, way.target_port, way.targets, way.count) == ("10.0.0.7", 80, 1, 1)
    assert way.calls == (TCP, *calls, CONNECT + "0")


@pytest.mark.parametrize(
    ("calls", "strategy", "beside"),
    [
        ([], Strategy.KERNEL, ()),
        ([bind(0)], Strategy.BIND, ()),
        ([NO_PORT, bind(0)], Strategy.LATE, ()),
        ([NO_PORT, RANGE, bind(0)], Strategy.LATE_RANGE, ()),
        ([REUSEADDR, bind(0)], None, ("SO_REUSEADDR",)),
        ([REUSEPORT, NO_PORT, bind(0)], None, ("SO_REUSEPORT",)),
        ([REUSEADDR, bind(40000)], Strategy.EXPLICIT, ()),
        ([bind(40000)], Strategy.EXCLUSIVE, ()),
    ],
)
def test_over_udp_a_shared_automatic_port_is_no_strategy(
    calls: list[str], strategy: Strategy | None, beside: tuple[str, ...]
) -> None:
    way = one_way(UDP, *calls, CONNECT + "0", 'sendto(3, "x", 1, 0, NULL, 0) = 1')
    assert (way.transport, way.strategy, way.beside) == (Transport.UDP, strategy, beside)


@pytest.mark.parametrize(
    ("option", "beside"),
    [
        (r'setsockopt(3, SOL_SOCKET, SO_BINDTODEVICE, "eth0\0", 5) = 0', "SO_BINDTODEVICE"),
        ("setsockopt(3, SOL_SOCKET, SO_BINDTOIFINDEX, [2], 4) = 0", "SO_BINDTODEVICE"),
        ("setsockopt(3, SOL_IP, 0x32 /* IP_??? */, [16777216], 4) = 0", "IP_UNICAST_IF"),
        ("setsockopt(3, SOL_IPV6, IPV6_UNICAST_IF, [16777216], 4) = 0", "IP_UNICAST_IF"),
        ("setsockopt(3, SOL_IP, IP_TRANSPARENT, [1], 4) = 0", "IP_TRANSPARENT"),
        ("setsockopt(3, SOL_IPV6, IPV6_FREEBIND, [1], 4) = 0", "IP_FREEBIND"),
        ("setsockopt(3, SOL_TCP, TCP_FASTOPEN_CONNECT, [1], 4) = 0", "Fast Open"),
    ],
)
def test_what_no_strategy_has_stands_beside_it(option: str, beside: str) -> None:
    way = one_way(TCP, option, CONNECT + "0")
    assert (way.strategy, way.beside) == (Strategy.KERNEL, (beside,))
    assert one_way(TCP, option.replace(" = 0", " = -1 EPERM (Operation not permitted)"), CONNECT + "0").beside == ()


def test_mptcp_and_the_first_data_with_the_syn() -> None:
    mptcp = one_way("socket(AF_INET, SOCK_STREAM, 0x106 /* IPPROTO_??? */) = 3", CONNECT + "0")
    assert mptcp.beside == ("MPTCP",)
    sent = CONNECT.replace("connect(3, ", 'sendto(3, "x", 1, MSG_FASTOPEN, ') + "-1 EADDRNOTAVAIL (Cannot assign)"
    assert one_way(TCP, sent).failed == {("send", "EADDRNOTAVAIL"): 1}
    assert one_way(TCP, sent).beside == ("Fast Open",)


EVERYWHERE = 'inet_pton(AF_INET6, "::", &sin6_addr), sin6_scope_id=0'
FAST_OPEN = "setsockopt(3, SOL_TCP, TCP_FASTOPEN_CONNECT, [1], 4) = 0"


def test_a_connect_that_left_its_syn_to_the_data_fails_with_the_data() -> None:
    """connect() returned 0 before anything was sent, so what it met shows in the first data, and there alone."""
    refused = 'sendto(3, "x", 1, MSG_NOSIGNAL, NULL, 0) = -1 ECONNREFUSED (Connection refused)'
    assert one_way(TCP, FAST_OPEN, CONNECT + "0", refused).failed == {("send", "ECONNREFUSED"): 1}
    late = ['write(3, "x", 1) = 1', 'write(3, "x", 1) = -1 EPIPE (Broken pipe)']
    assert one_way(TCP, FAST_OPEN, CONNECT + "0", *late).failed == {}
    assert one_way(TCP, CONNECT + "0", refused).failed == {}


@pytest.mark.parametrize(
    ("calls", "target"),
    [
        (['connect(3, {sa_family=AF_INET, sin_port=htons(9000), sin_addr=inet_addr("0.0.0.0")}, 16) = 0'], "127.0.0.1"),
        (
            [
                'bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("10.0.0.5")}, 16) = 0',
                'connect(3, {sa_family=AF_INET, sin_port=htons(9000), sin_addr=inet_addr("0.0.0.0")}, 16) = 0',
            ],
            "10.0.0.5",
        ),
        (
            [f"connect(3, {{sa_family=AF_INET6, sin6_port=htons(9000), {EVERYWHERE}}}, 28) = 0"],
            "::1",
        ),
    ],
)
def test_an_unspecified_target_is_this_host(calls: list[str], target: str) -> None:
    assert one_way(TCP, *calls).target == target


def test_the_error_of_a_connect_that_went_on_is_read_later() -> None:
    pending = CONNECT + "-1 EINPROGRESS (Operation now in progress)"
    way = one_way(TCP, pending, "getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0", "close(3) = 0")
    assert (way.count, way.failed) == (1, {("connect", "ECONNREFUSED"): 1})
    assert one_way(TCP, pending, "getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0").failed == {}


def test_asking_again_with_connect_is_no_second_connection() -> None:
    pending, again = CONNECT + "-1 EINPROGRESS (x)", CONNECT + "-1 EALREADY (Operation already in progress)"
    assert one_way(TCP, pending, again, CONNECT + "0").count == 1
    refused = one_way(TCP, pending, CONNECT + "-1 ECONNREFUSED (Connection refused)")
    assert (refused.count, refused.failed) == (1, {("connect", "ECONNREFUSED"): 1})


def test_a_socket_may_connect_again_after_it_was_dissolved() -> None:
    dissolve = 'connect(3, {sa_family=AF_UNSPEC, sa_data="\\0\\0"}, 16) = 0'
    assert one_way(TCP, CONNECT + "0", dissolve, CONNECT + "0").count == 2


def test_bind_that_fails_is_a_failure_of_the_way() -> None:
    failed = bind(40000, "-1 EADDRINUSE (Address already in use)")
    way = one_way(TCP, failed, bind(40001), CONNECT + "0")
    assert (way.strategy, way.failed, way.source_port) == (Strategy.EXCLUSIVE, {("bind", "EADDRINUSE"): 1}, 40001)
    empty = one_way(TCP, bind(0, "-1 EADDRINUSE (Address already in use)"), "close(3) = 0")
    assert (empty.strategy, empty.count, empty.failed) == (Strategy.BIND, 0, {("bind", "EADDRINUSE"): 1})


def test_one_port_tried_after_the_other_is_shown_once_and_counted_each_time() -> None:
    tries = [bind(port, "-1 EADDRINUSE (Address already in use)") for port in range(40000, 40050)]
    way = one_way(TCP, *tries, bind(40050), CONNECT + "0")
    assert way.failed == {("bind", "EADDRINUSE"): 50}
    assert way.calls == (TCP, tries[0], bind(40050), CONNECT + "0")


def test_the_first_call_that_failed_is_shown_whichever_socket_it_was() -> None:
    refused = "getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0"
    one = (TCP, CONNECT + "-1 EINPROGRESS (x)")
    way = one_way(*one, "close(3) = 0", *one, refused, "close(3) = 0", *one, refused)
    assert way.calls == (*one, refused)
    assert way.failed == {("connect", "ECONNREFUSED"): 2}


def test_a_named_port_that_nothing_connects_from_may_be_that_of_a_service() -> None:
    follower = follow(TCP, bind(8080, "-1 EADDRINUSE (Address already in use)"), "close(3) = 0")
    assert follower.ways == []
    (service,) = follower.services
    assert service.failed == {("bind", "EADDRINUSE"): 1}


def test_listeners_and_other_families_are_no_ways() -> None:
    unix = 'connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = -1 ENOENT (No such file or directory)'
    follower = follow(TCP, bind(80), "listen(3, 128) = 0", "socket(AF_UNIX, SOCK_STREAM, 0) = 3", unix)
    assert follower.ways == []
    assert not follower.failures


def test_a_question_about_a_route_is_no_way() -> None:
    asked = (UDP, CONNECT + "0", "getsockname(3, {sa_family=AF_INET}, [16]) = 0", "close(3) = 0")
    assert follow(*asked).ways == []
    no_route = CONNECT + "-1 ENETUNREACH (Network is unreachable)"
    follower = follow(UDP, no_route, "close(3) = 0")
    assert follower.ways == []
    assert not follower.failures
    used = (*asked[:3], 'sendto(3, "x", 1, 0, NULL, 0) = 1', "close(3) = 0")
    assert one_way(*used).count == 1


def test_short_connections_are_told_from_those_that_stay() -> None:
    short = [line for _ in range(4) for line in (TCP, CONNECT + "0", "close(3) = 0")]
    way = one_way(*short)
    assert (way.count, way.closed, way.open_max, way.churns) == (4, 4, 1, True)
    held = [
        line.replace("(3,", f"({n},").replace("= 3", f"= {n}") for n in range(3, 7) for line in (TCP, CONNECT + "0")
    ]
    way = one_way(*held)
    assert (way.count, way.closed, way.open_max, way.churns) == (4, 0, 4, False)
    assert one_way(TCP, CONNECT + "0").churns is None


@pytest.mark.parametrize(
    ("calls", "close"),
    [
        (["setsockopt(3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=0}, 8) = 0"], CloseMode.RST),
        (['recvfrom(3, "", 1024, 0, NULL, NULL) = 0'], CloseMode.TARGET),
        (["shutdown(3, SHUT_WR) = 0", 'recvfrom(3, "", 1024, 0, NULL, NULL) = 0'], CloseMode.FIN),
        ([], None),
    ],
)
def test_the_side_that_closes_first_is_known_from_calls_alone(calls: list[str], close: CloseMode | None) -> None:
    assert one_way(TCP, CONNECT + "0", *calls, "close(3) = 0").close is close


def test_ports_and_addresses_of_all_sockets_are_summed_up() -> None:
    lines = []
    for port in (40000, 40003, 40001):
        lines += [TCP, REUSEADDR, bind(port), CONNECT + "0"]
    way = one_way(*lines)
    assert (way.named, way.named_range, way.sources, way.count) == (3, (40000, 40003), 1, 3)


def test_a_range_for_each_socket_is_one_way() -> None:
    lines = []
    for port in range(40000, 40003):
        value = RANGE.replace("2622004288", str(port | port << 16))
        lines += [TCP, NO_PORT, value, bind(0), CONNECT + "0"]
    way = one_way(*lines)
    assert (way.strategy, way.count, way.ports) == (Strategy.LATE_RANGE, 3, (40000, 40002))


# --- Processes ------------------------------------------------------------------------------------


def test_threads_share_descriptors_and_processes_have_their_own() -> None:
    thread = "[pid 1] clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, tls=0x2) = 2"
    way = one_way("[pid 1] " + TCP, thread, "[pid 2] " + bind(0), "[pid 1] " + CONNECT + "0", "[pid 2] close(3) = 0")
    assert (way.strategy, way.pid, way.closed) == (Strategy.BIND, 1, 1)
    fork = "[pid 1] clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 2"
    way = one_way("[pid 1] " + TCP, fork, "[pid 2] close(3) = 0", "[pid 1] " + bind(0), "[pid 1] " + CONNECT + "0")
    assert (way.strategy, way.closed) == (Strategy.BIND, 0)


def test_without_any_clone_a_descriptor_is_that_of_the_only_thread_that_has_it() -> None:
    way = one_way("[pid 1] " + TCP, "[pid 2] " + bind(0), "[pid 2] " + CONNECT + "0")
    assert way.strategy is Strategy.BIND
    both = follow("[pid 1] " + TCP, "[pid 2] " + TCP, "[pid 3] " + CONNECT + "0")
    assert both.ways == []
    assert both.unplaced == 1


def test_the_inode_tells_a_socket_whatever_its_descriptor() -> None:
    opened = TCP + "<socket:[77]>"
    way = one_way(opened, bind(0).replace("(3,", "(9<socket:[77]>,"), CONNECT.replace("(3,", "(8<socket:[77]>,") + "0")
    assert way.strategy is Strategy.BIND
    other = CONNECT.replace("(3,", "(3<socket:[78]>,") + "0"
    assert follow(opened, other).ways == []


def test_copies_of_a_descriptor_are_one_socket() -> None:
    way = one_way(TCP, "dup(3) = 4", "close(3) = 0", "fcntl(4, F_DUPFD_CLOEXEC, 0) = 3", CONNECT + "0", "close(4) = 0")
    assert (way.count, way.closed) == (1, 0)


def test_a_new_program_has_its_own_name_and_none_of_the_descriptors_that_close() -> None:
    execute = 'execve("/usr/bin/curl", ["curl"], 0x7ffc /* 12 vars */) = 0'
    ways = follow(TCP, CONNECT + "0", execute, TCP, CONNECT + "0").ways
    assert [(way.command, way.closed) for way in ways] == [("", 1), ("curl", 0)]


def test_the_end_of_a_process_closes_its_sockets() -> None:
    assert one_way("[pid 7] " + TCP, "[pid 7] " + CONNECT + "0", "[pid 7] +++ exited with 0 +++").closed == 1


# --- What is not in the text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "strategy", "unseen"),
    [
        ([TCP, CONNECT + "0"], None, ("bind",)),
        ([TCP, bind(0), CONNECT + "0"], None, ("setsockopt",)),
        ([TCP, CONNECT + "0", "getpeername(3, {sa_family=AF_INET}, [16]) = 0"], Strategy.KERNEL, ()),
        ([TCP, bind(0), CONNECT + "0", 'read(3, "x", 1) = 1'], Strategy.BIND, ()),
        ([CONNECT.replace("(3,", "(3<TCP:[77]>,") + "0"], None, ("socket",)),
    ],
)
def test_a_strategy_is_unknown_where_calls_are_not_shown(
    lines: list[str], strategy: Strategy | None, unseen: tuple[str, ...]
) -> None:
    (way,) = follow(*lines, follower=Follower()).ways
    assert (way.strategy, way.unseen) == (strategy, unseen)


def test_without_socket_and_protocol_there_is_a_failure_and_no_way() -> None:
    failures: list[CallFailure] = []
    follower = follow(CONNECT + "-1 EADDRNOTAVAIL (x)", follower=Follower(failed=failures.append))
    assert follower.ways == []
    (failure,) = failures
    assert (failure.name, failure.errno, failure.transport, failure.of_way) == ("connect", "EADDRNOTAVAIL", None, False)
    assert failure.target == ("10.0.0.7", 80)


def test_a_ring_without_connections_may_make_them_unseen() -> None:
    setup = ('execve("/opt/server", ["server"], 0x7ffc) = 0', "io_uring_setup(8, {flags=0}) = 3")
    assert follow(*setup).rings == ("server",)
    assert follow(*setup, TCP, CONNECT + "0").rings == ()


def test_another_network_namespace_is_noted() -> None:
    assert follow(TCP).moved is None
    moved = follow("unshare(CLONE_NEWNET) = 0").moved
    assert moved
    assert moved.name == "unshare"


def test_too_many_sockets_are_counted_and_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SOCKETS_MAX", 2)
    follower = follow(*(TCP.replace("= 3", f"= {number}") for number in range(3, 8)))
    assert follower.left_out == 3


# --- Captures -------------------------------------------------------------------------------------

_CAPTURED: Final = {
    ("tcp", Strategy.KERNEL, ()): 4,
    ("tcp", Strategy.BIND, ()): 1,
    ("tcp", Strategy.REUSEADDR, ()): 1,
    ("tcp", Strategy.LATE, ()): 1,
    ("tcp", Strategy.LATE_RANGE, ()): 1,
    ("tcp", Strategy.EXPLICIT, ()): 1,
    ("tcp", Strategy.REUSEPORT, ()): 1,
    ("tcp", Strategy.EXCLUSIVE, ()): 1,
    ("tcp", Strategy.KERNEL, ("SO_BINDTODEVICE",)): 1,
    ("tcp", Strategy.KERNEL, ("IP_TRANSPARENT",)): 1,
    ("tcp", Strategy.BIND, ("IP_FREEBIND",)): 1,
    ("tcp", Strategy.KERNEL, ("MPTCP",)): 1,
    ("tcp", Strategy.KERNEL, ("Fast Open",)): 2,
    ("udp", Strategy.KERNEL, ()): 1,
    ("udp", Strategy.BIND, ()): 1,
}


@pytest.mark.parametrize("name", ["f", "f-tt-T-yy", "ttt-y-o", "t-r-i-n", "r", "xx", "raw", "verbose-Y"])
def test_the_same_program_has_the_same_ways_in_every_form_of_the_text(name: str) -> None:
    follower = follow(*(DATA / f"{name}.txt").read_text().splitlines(), follower=Follower())
    four = [way for way in follower.ways if ":" not in way.target]
    found = {(way.transport.value, way.strategy, way.beside): way.count for way in four}
    if name == "raw":  # MSG_FASTOPEN is a number there
        found["tcp", Strategy.KERNEL, ("Fast Open",)] += 1
    assert found == _CAPTURED
    (six,) = [way for way in follower.ways if ":" in way.target]
    assert (six.target, six.failed) == ("::1", {("connect", "ECONNREFUSED"): 1})


def test_processes_that_interrupt_each_other_are_kept_apart() -> None:
    ways = follow(*(DATA / "unfinished.txt").read_text().splitlines(), follower=Follower()).ways
    assert [(way.command, way.strategy, way.count) for way in ways] == [
        ("curl", Strategy.KERNEL, 2),
        ("curl", Strategy.LATE, 1),
    ]


def test_the_forms_of_older_versions() -> None:
    four, six = follow(*(DATA / "older.txt").read_text().splitlines(), follower=Follower()).ways
    assert (four.strategy, four.failed, four.closed) == (Strategy.LATE, {("connect", "ECONNREFUSED"): 1}, 1)
    assert (six.strategy, six.failed, six.target) == (Strategy.KERNEL, {("connect", "EADDRNOTAVAIL"): 1}, "2001:db8::7")


_LINES: Final = st.sampled_from(
    [
        TCP,
        UDP,
        bind(0),
        bind(40000),
        bind(0, "-1 EADDRINUSE (x)"),
        NO_PORT,
        REUSEADDR,
        RANGE,
        CONNECT + "0",
        CONNECT + "-1 EADDRNOTAVAIL (x)",
        "close(3) = 0",
        "dup(3) = 4",
        "dup2(4, 3) = 3",
        "listen(3, 1) = 0",
        "clone(flags=CLONE_FILES) = 2",
        "clone(flags=SIGCHLD) = 2",
        "fork() = 3",
        "+++ exited with 0 +++",
        "connect() = 0",
        "bind(3) = 0",
        "socket() = 3",
        "setsockopt(3) = 0",
        "sendto() = 0",
        "sendmsg(3, 1) = -1 E (x)",
        "getsockopt(3, , , [1]) = 0",
        "execve() = 0",
        "fcntl(3) = 5",
        "clone() = 99999999999",
        "close(99999999999) = 0",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 3), _LINES), max_size=40))
def test_no_order_of_calls_breaks_the_sums(lines: list[tuple[int, str]]) -> None:
    reader, follower = StraceLines(), Follower()
    for number, (pid, line) in enumerate(lines, 1):
        call = reader.read(f"[pid {pid}] {line}" if pid else line, number)
        if call:
            follower.follow(call)
    for way in follower.ways:
        assert 0 <= way.closed <= way.count
        assert way.open_max <= way.count
        assert way.count or way.failed
    assert follower.ways == follower.ways
