"""Lines of strace: what each form of them says, and that no text breaks the reading."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.trace.strace import StraceCall, StraceEvent, StraceLines, may_begin

CAPTURES: Final = sorted((Path(__file__).parents[2] / "data" / "explain" / "strace").glob("*.txt"))
_ENDED: Final = 'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}, 16)'
_REFUSED: Final = f"{_ENDED} = -1 EADDRNOTAVAIL (Cannot assign requested address)"


def read(*lines: str) -> list[StraceCall | None]:
    reader = StraceLines()
    return [reader.read(line, number) for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize(
    ("prefix", "pid", "command", "at_s"),
    [
        ("", 0, "", None),
        ("[pid  4711] ", 4711, "", None),
        ("[pid 4711<nginx>] ", 4711, "nginx", None),
        ("4711  ", 4711, "", None),
        ("4711<nginx> ", 4711, "nginx", None),
        ("10:02:03 ", 0, "", 36_123.0),
        ("[pid  4711] 10:02:03.500000 ", 4711, "", 36_123.5),
        ("4711 1795932336.250000 ", 4711, "", 1_795_932_336.25),
        ("     0.000103 ", 0, "", None),
        ("4711      0.000103 ", 4711, "", None),
        ("10:02:03 (+     0.000203) ", 0, "", 36_123.0),
        ("[  42] [00007f7b1ef28dc7] ", 0, "", None),
    ],
)
def test_the_options_of_strace_change_what_stands_before_a_call(
    prefix: str, pid: int, command: str, at_s: float | None
) -> None:
    (call,) = read(f"{prefix}{_REFUSED} <0.000012>")
    assert call
    assert (call.pid, call.command, call.at_s) == (pid, command, at_s)
    assert (call.name, call.returned, call.errno) == ("connect", "-1", "EADDRNOTAVAIL")
    assert call.text == _REFUSED
    assert may_begin(prefix + _REFUSED)


def test_an_interrupted_call_is_one_call_of_the_line_on_which_it_began() -> None:
    *_, call = read(
        f"[pid 12] {_ENDED[:-1]} <unfinished ...>",
        "[pid 13] close(4) = 0",
        "[pid 12] <... connect resumed>) = -1 ECONNREFUSED (Connection refused)",
    )
    assert call
    assert (call.pid, call.line, call.errno) == (12, 1, "ECONNREFUSED")
    assert call.text == f"{_ENDED} = -1 ECONNREFUSED (Connection refused)"


def test_what_a_call_reads_comes_with_its_second_half() -> None:
    _, call = read("getsockopt(5, SOL_SOCKET, SO_ERROR,  <unfinished ...>", "<... getsockopt resumed>[0], [4]) = 0")
    assert call
    assert call.text == "getsockopt(5, SOL_SOCKET, SO_ERROR, [0], [4]) = 0"


def test_a_call_that_another_interrupted_is_not_completed_by_it() -> None:
    _, call = read("[pid 1] accept(3, <unfinished ...>", "[pid 1] <... connect resumed>) = 0")
    assert call
    assert call.event is StraceEvent.TAKEN


def test_a_notice_may_stand_in_the_middle_of_a_call() -> None:
    *_, clone = read(
        "clone3({flags=CLONE_VM|CLONE_THREAD, stack_size=0x7fff80}strace: Process 4712 attached",
        " => {parent_tid=[4712]}, 88) = 4712",
    )
    assert clone
    assert (clone.name, clone.returned, clone.line) == ("clone3", "4712", 1)
    assert "CLONE_THREAD" in clone.arguments


def test_lines_without_a_pid_are_of_the_process_that_is_named_later() -> None:
    calls = read(
        "close(3) = 0",
        "clone(flags=SIGCHLD) = 12",
        "[pid 11] close(4) = 0",
        "[pid 12] close(4) = 0",
        "[pid 11] +++ exited with 0 +++",
        "close(5) = 0",
    )
    assert [call and call.pid for call in calls] == [0, 0, 11, 12, 11, 12]
    assert [bool(call and call.nameless_before) for call in calls] == [False, False, True, False, False, False]


@pytest.mark.parametrize(
    "line",
    [
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=12} ---",
        "strace: Process 12 attached",
        "Process 12 attached",
        "+++ exited with 0 +++",
        "[pid 12] +++ killed by SIGKILL +++",
        "strace: [ Process PID=12 runs in 32 bit mode. ]",
        " > /usr/lib/x86_64-linux-gnu/libc.so.6(connect+0x10) [0x1234]",
        "exit_group(0) = ?",
        "connect(3, 0x7ffd0000, 16) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
        "read(3, 0x7ffd0000, 16 <detached ...>",
    ],
)
def test_lines_that_say_nothing_about_sockets_belong_to_the_trace(line: str) -> None:
    assert read(line) != [None]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Cannot assign requested address",
        "connect() to 10.0.0.7:80 failed (99: Cannot assign requested address)",
        "result = connect(address)",
        "2026/11/29 10:00:00 [crit] 12#12: *1 connect() to 10.0.0.7:80 failed",
        "ESTAB 0 0 10.0.0.5:40000 10.0.0.7:80",
        "% time     seconds  usecs/call     calls    errors syscall",
    ],
)
def test_other_lines_are_not_of_strace(line: str) -> None:
    assert not may_begin(line)
    assert read(line) == [None]


@pytest.mark.parametrize("line", ["f(x) = 3", "total(1, 2) = 42", "print(connect()) = 0"])
def test_what_looks_like_a_call_by_chance_begins_no_trace(line: str) -> None:
    assert not may_begin(line)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: str(path.stem))
def test_every_line_of_a_capture_is_read(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines
    assert None not in read(*lines)


_PIECES: Final = st.sampled_from(
    [
        *"()<>[]{}\"',= \\\t",
        "connect(3, ",
        "<unfinished ...>",
        "<... connect resumed>",
        "[pid 12] ",
        "12 ",
        ") = ",
        "-1",
        "+++ exited with 0 +++",
        "strace: Process 1 attached",
        "0x7f",
        "EADDRNOTAVAIL",
        "99999999999999999999",
        "\x1b[0m",
    ]
)


@given(st.lists(st.one_of(st.text(max_size=30), st.lists(_PIECES, max_size=12).map("".join)), max_size=8))
def test_no_text_breaks_the_reading(lines: list[str]) -> None:
    for call in read(*lines):
        assert call is None or call.event in StraceEvent
    assert all(may_begin(line) in (True, False) for line in lines)
