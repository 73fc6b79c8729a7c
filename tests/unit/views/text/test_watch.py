"""A snapshot as text: at any width, without colours where none are wanted, with names of others that stay text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from loadgen.errors import UsageError
from loadgen.kernel.groups import SocketGroup
from loadgen.kernel.sockdiag import TcpState
from loadgen.strategies import Strategy, Transport
from loadgen.views.progress import ProgressStyle
from loadgen.views.text.watch import BlockScreen, RedrawnScreen, duration, screen_for
from loadgen.watch.devices import DeviceSockets
from loadgen.watch.owners import Owner, Ownership
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.sources import SourceUsage
from loadgen.watch.space import Reuse

Make = Callable[..., Usage]
MakeSnapshot = Callable[..., Snapshot]
MakeSource = Callable[..., SourceUsage]
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
COLOUR = re.compile(r"(?:^|;)(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|$)")


def printed(*looks: Snapshot, width: int = 140, top: int | None = None) -> str:
    file = io.StringIO()
    with BlockScreen(Console(file=file, width=width), top) as screen:
        for one in looks:
            screen.show(one)
    return file.getvalue()


def drawn(one: Snapshot, width: int = 100, height: int = 30, **environment: str) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=True,
        color_system="standard" if "NO_COLOR" not in environment else None,
        _environ={"TERM": "xterm-256color", **environment},
    )
    with RedrawnScreen(console) as screen:
        screen.show(one)
        return file.getvalue()  # at the end it is drawn once more, to stay


@pytest.fixture
def busy(usage: Make, snapshot: MakeSnapshot) -> Snapshot:
    """Everything there is to see."""
    return snapshot(
        usage(95, time_wait=20, growth_per_s=3.25, exhausts_in_s=1.5, reused=True),
        usage(72, growth_per_s=-1234.5, destination="2001:db8::1", owned=Ownership((), 72, "not permitted")),
        usage(100, exhausts_in_s=0.0, growth_per_s=0.01, source="10.0.0.1", owned=None),
        reserved=5,
        listening=2,
        bound=Bound(2, (40_001, 40_003), Ownership((Owner(99, "python", 2),))),
        group_count=7,
        inbound=(SocketGroup("10.0.0.9", "10.0.0.1", 80, {TcpState.ESTABLISHED: 4, TcpState.TIME_WAIT: 1}, 1),),
        states={TcpState.ESTABLISHED: 1234, TcpState.LISTEN: 2},
        counters={"TcpExt.TCPTimeWaitOverflow": 17, "TcpExt.TCPPureAcks": 4, "Tcp.ActiveOpens": 30},
    )


def test_accounts_by_source_stand_below_the_groups(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> None:
    early = source(180, 200, strategy=Strategy.BIND, because="180 sockets, 180 ports", shown_by="squid\x1b[812]")
    late = source(30, source="10.0.0.2", destinations=2)
    alone = source(5, source="10.0.0.3", destinations=1)
    udp = source(190, 200, transport=Transport.UDP, source="0.0.0.0", destinations=0, unconnected=190)
    text = printed(snapshot(usage(20), sources=(early, late, alone), udp=(udp,)))
    _, _, by_source = text.partition("by source address, as clients that bind before they connect use it up:\n")
    table, _, of_udp = by_source.partition("UDP, by source address:\n")
    assert [line.split()[0] for line in table.splitlines()[1:3]] == ["90.0%", "30.0%"]
    assert "squid\\x1b[812] at 127.0.0.1 looks like early binding (strategy bind): 180 sockets, 180 ports" in table
    assert "10.0.0.2 looks like" not in table
    assert "10.0.0.3" not in text, "its one group says the same"
    assert of_udp.splitlines()[1].split()[0] == "95.0%"
    assert "0 destinations, 190 unconnected" in of_udp


def test_without_more_to_say_there_are_no_accounts_by_source(usage: Make, snapshot: MakeSnapshot) -> None:
    assert "by source address" not in printed(snapshot(usage(20)))
    assert "UDP sockets: unknown, no udp_diag" in printed(snapshot(udp=None, udp_unknown="no udp_diag"))


def test_a_block_has_it_all(busy: Snapshot) -> None:
    lines = printed(busy).splitlines()
    assert lines[0] == (
        "12:00:00  100 usable ports for each source and destination: 40000-40099, "
        "less 5 reserved, 2 of listeners, 2 of bound sockets"
    )
    assert lines[1] == "sockets: 1,234 ESTABLISHED, 2 LISTEN"
    assert lines[2].split() == [
        "used", "in", "use", "TIME-WAIT", "free", "growth", "exhausts", "from", "to", "owned", "by",
    ]  # fmt: skip
    assert lines[3].split() == [
        "95.0%", "75", "20*", "5", "+3.25/s", "in", "1.5", "s", "127.0.0.1", "127.0.0.1:9000", "proxy[812]", "75",
    ]  # fmt: skip
    assert lines[4].split() == [
        "72.0%", "72", "0", "28", "-1,234/s", "127.0.0.1", "[2001:db8::1]:9000", "unknown", "72", "(not", "permitted)",
    ]  # fmt: skip
    assert lines[5].split() == ["100.0%", "100", "0", "0", "0/s", "exhausted", "10.0.0.1", "127.0.0.1:9000"]
    assert [" ".join(line.split()) for line in lines[6:]] == [
        "came in:",
        "10.0.0.9 to 10.0.0.1:80: 4 in use, 1 in TIME-WAIT",
        "* automatic choice takes these over after a rest (tcp_tw_reuse); they count as used all the same",
        "bound, unconnected sockets block 40001, 40003: python[99] 2",
        "+17 closed without TIME-WAIT, tcp_max_tw_buckets are full (TcpExt.TCPTimeWaitOverflow)",
        "+30 connections begun from here (Tcp.ActiveOpens)",
    ]


def test_the_rest_is_counted(busy: Snapshot) -> None:
    text = printed(busy, top=1)
    assert "and 6 groups less full" in text
    assert "10.0.0.1 " not in text.partition("came in")[0]


@pytest.mark.parametrize("width", [20, 40, 50, 60, 70, 80, 100, 200])
def test_lines_keep_within_the_terminal_and_numbers_are_whole(busy: Snapshot, width: int) -> None:
    for text in (printed(busy, width=width), drawn(busy, width)):
        lines = CONTROL.sub("", text).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert any(line.split()[:1] == ["95.0%"] for line in lines)
        assert "\u2026" not in text


def test_a_terminal_shows_what_fits(usage: Make, snapshot: MakeSnapshot) -> None:
    groups = [usage(90 - number, source=f"127.0.0.{number}") for number in range(40)]
    rows = CONTROL.sub("", drawn(snapshot(*groups), height=20)).splitlines()
    assert sum("127.0.0.1:9000" in row for row in rows) == 8
    assert "and 32 groups less full" in "\n".join(rows)
    assert len(rows) <= 20


def test_colours_and_none(busy: Snapshot) -> None:
    def coloured(text: str) -> list[str]:
        return [codes for codes, kind in CONTROL.findall(text) if kind == "m" and COLOUR.search(codes)]

    assert coloured(drawn(busy))
    assert not coloured(drawn(busy, NO_COLOR="1"))
    assert "\x1b" not in printed(busy)
    assert "\x1b[?1049h" not in drawn(busy), "no alternate screen"


@pytest.mark.parametrize("name", ["[red]x[/]", "[/]", "\\[b]", "a\x1b[2Jb"])
def test_the_name_of_a_process_stays_text(usage: Make, snapshot: MakeSnapshot, name: str) -> None:
    text = printed(snapshot(usage(owned=Ownership((Owner(1, name, 50),)))))
    assert name.replace("\x1b", "\\x1b") in text
    assert "\x1b" not in text


def test_nothing_to_see(snapshot: MakeSnapshot) -> None:
    text = printed(
        snapshot(states={}), snapshot(bound=None, bound_unknown="this kernel does not list them", interrupted=True)
    )
    first, second = text.split("\n\n")
    assert "no outbound TCP connections" in first
    assert "sockets: none" in first
    assert "bound, unconnected sockets: unknown, this kernel does not list them" in second
    assert "the kernel moved sockets while it listed them" in second


def test_very_many_of_everything(usage: Make, snapshot: MakeSnapshot) -> None:
    many = Ownership(tuple(Owner(pid, "worker", 10) for pid in range(1, 6)))
    text = printed(snapshot(usage(owned=many), bound=Bound(12, tuple(range(40_000, 40_012)), Ownership())), width=160)
    assert "worker[1] 10, worker[2] 10, 3 others 30" in text
    assert "40007 and 4 more" in text


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (41.2, "41 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_for_a_terminal_and_for_more_than_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = Console(file=Tty()), Console(file=io.StringIO())
    assert isinstance(screen_for(terminal, None, ProgressStyle.AUTO, once=False), RedrawnScreen)
    assert isinstance(screen_for(terminal, None, ProgressStyle.LIVE, once=False), RedrawnScreen)
    assert isinstance(screen_for(terminal, None, ProgressStyle.PLAIN, once=False), BlockScreen)
    assert isinstance(screen_for(terminal, None, ProgressStyle.AUTO, once=True), BlockScreen)
    assert isinstance(screen_for(file, None, ProgressStyle.AUTO, once=False), BlockScreen)
    with pytest.raises(UsageError, match="--progress live: stdout is no terminal"):
        screen_for(file, None, ProgressStyle.LIVE, once=False)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen_for(Console(file=Tty()), None, ProgressStyle.AUTO, once=False), BlockScreen)


def test_a_table_leaves_room_for_the_notes_below_it(
    usage: Make, snapshot: MakeSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 lines hold all of it, however many notes there are, as long as three groups and these fit."""
    monkeypatch.setenv("TERM", "xterm")
    groups = [usage(source=f"127.0.0.{number}") for number in range(1, 31)]
    names = ("TcpExt.TWRecycled", "Tcp.EstabResets", "Tcp.AttemptFails", "TcpExt.TCPSynRetrans", "Tcp.RetransSegs")
    look = snapshot(*groups, counters=dict.fromkeys(names, 12), interrupted=True)
    console = Console(file=Tty(), width=80, height=24)
    with RedrawnScreen(console) as screen:
        screen.show(look)
        assert screen._live
        lines = console.render_lines(screen._live.renderable, pad=False)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    assert len(lines) <= 23
    assert text.count("127.0.0.") >= 3
    assert "a few may be missing" in text
    assert "+12 segments sent again" in text


def test_reuse_without_time_wait_needs_no_star(usage: Make, snapshot: MakeSnapshot) -> None:
    assert "*" not in printed(snapshot(usage(reused=True), reuse=Reuse(1, timestamps=True)))


@pytest.mark.parametrize(
    ("device", "says"),
    [
        (DeviceSockets("lo", "", 4), "4 connections are bound to the device lo, .* may open the same four-tuple again"),
        (DeviceSockets("blue", "blue", 1), "1 connection is bound to the VRF blue, .* a space of ports of its own"),
        (DeviceSockets("eth0", "blue", 2), "2 connections are bound to a device of the VRF blue, eth0, .* of its own"),
    ],
)
def test_connections_bound_to_a_device_have_a_sentence(
    snapshot: Callable[..., Snapshot], device: DeviceSockets, says: str
) -> None:
    """A VRF is called so only where it is one."""
    assert re.search(says, printed(snapshot(devices=(device,)), width=400))
