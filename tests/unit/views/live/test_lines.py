"""Plain lines: one is one line, they are a second apart, and what matters can be grepped."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from loadgen.model import Ceiling, Plan
from loadgen.results.schema.line import Line
from loadgen.views.live import LinePace, PlainLines

from .samples import CHURN, PACED, PLAN, TROUBLE, churning, line


def printed(*lines: Line, plan: Plan = PLAN, width: int = 80) -> list[str]:
    file = io.StringIO()
    with PlainLines(Console(file=file, width=width)) as view:
        for part in lines:
            view.update(plan, part)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80])
def test_a_plain_line_is_one_line_whatever_the_width(width: int) -> None:
    first, second = printed(line(), line(2.0, "hold", **TROUBLE), width=width)
    assert first == (
        "    1.0 s  opening     25,000 open of 100,000, 25,000/s, 10 in flight, 0 failed, 0 lost, about 3 s left, "
        "fullest 127.0.0.2 19.4 %, connect p50 1,001 us p99 1,001 us, lag p99 1,001 us"
    )
    assert second == (
        "    2.0 s  holding     25,000 open of 100,000, 0/s, 10 in flight, 12,345 failed, 678 lost, 29 s left, "
        "fullest 127.0.0.2 19.4 %, sink 24,999, TIME-WAIT 4,321, 21 recycled, connect p50 1,001 us p99 1,001 us, "
        "lag p99 1,001 us, CPU 1.40 cores, 5 of 6 workers, 2 stalled, connect E0 9 (9/s), connect E1 8 (8/s), "
        "connect E2 7 (7/s), connect E3 6 (6/s)"
    )


@pytest.mark.parametrize("width", [40, 80])
def test_a_plain_line_of_churn_is_one_line(width: int) -> None:
    (found,) = printed(churning(), plan=CHURN, width=width)
    assert found == (
        "   10.0 s  churning     1,000 established, 100/s (predicted at most 100/s), 14 open, 2 in flight, "
        "400 failed, 0 lost, 20 s left, fullest 127.0.0.2 < 0.1 %, TIME-WAIT 100, 7 at the sinks, 900 recycled, "
        "connect p50 1,001 us p99 1,001 us, exchange p50 1,001 us p99 1,001 us, lag p99 1,001 us, "
        "connect EADDRNOTAVAIL 400 (40/s)"
    )


def test_lines_are_a_second_apart_but_for_the_first_of_each_phase() -> None:
    times = [0.5, 1.0, 1.45, 2.4, 2.5, 3.0]
    series = [line(t_s) for t_s in times] + [
        line(3.1, "hold"),
        line(3.2, "hold"),
        line(3.3, "drain"),
        line(3.4, "done"),
    ]
    found = [(float(text.split()[0]), text.split()[2]) for text in printed(*series)]
    assert found == [
        (0.5, "opening"),
        (1.4, "opening"),
        (2.4, "opening"),
        (3.1, "holding"),
        (3.3, "closing"),
        (3.4, "done"),
    ]


def test_a_rate_stands_beside_what_is_due() -> None:
    assert " 25,000/s of 5,000/s due, " in printed(line(), plan=PACED)[0]


def test_without_a_limit_none_is_predicted() -> None:
    for ceiling in (None, Ceiling(None, None, "a reset leaves no TIME-WAIT")):
        assert "predicted" not in printed(churning(), plan=replace(CHURN, ceiling=ceiling))[0]
    slow = replace(CHURN, ceiling=Ceiling(28 / 60, 28, "28 ports / 60 s: tcp_tw_reuse=0"))
    assert "at most 0.467/s)" in printed(churning(), plan=slow)[0]


def test_a_line_without_kernel_counters_says_nothing_of_them() -> None:
    assert "TIME-WAIT" not in printed(line())[0]


@pytest.mark.parametrize("syscall", ["[b]call", ":smile:", "call\x1b[2J", "a\nb"])
def test_other_peoples_words_stay_text_on_one_line(syscall: str) -> None:
    (found,) = printed(line(errors=[[syscall, "[/]", "[i]outcome[/i]", 1]]))
    assert "\x1b" not in found
    assert f"{syscall.replace(chr(27), chr(92) + 'x1b').replace(chr(10), ' ')} [/] 1" in found


def test_nothing_in_a_file_drives_a_terminal() -> None:
    assert "\x1b" not in "".join(printed(line(), line(2.0, **TROUBLE)))


def test_an_agent_that_does_not_answer_is_named() -> None:
    agents = [["a", "hold", 5, 0, 5], ["b", "suspect", 9, 0, 9], ["c", "lost", 7, 0, 0]]
    (found,) = printed(line(agents=agents))
    assert found.endswith("agent b does not answer, agent c lost")


def lines_in(hours: float, interval_s: float = 1.0) -> int:
    """How many lines a hold of that length gets."""
    pace, printed_s, count = LinePace(), 0.0, 0
    for beat in range(1, int(hours * 3600 / interval_s)):
        t_s = beat * interval_s
        if t_s - printed_s >= pace.apart_s(t_s):
            printed_s, count = t_s, count + 1
    return count


def test_a_log_does_not_grow_with_the_time_as_a_run_does() -> None:
    """A second apart for a minute; less than 300 lines in the first hour, 60 in each of the others."""
    assert lines_in(1 / 60) == 59
    assert 270 < lines_in(1) < 300
    assert 23 * 58 < lines_in(24) - lines_in(1) <= 23 * 60


def test_short_runs_in_turn_have_one_pace() -> None:
    """A matrix of a hundred runs of ten seconds is a log of a thousand seconds."""
    pace = LinePace()
    assert pace.apart_s(10.0) == 0.9
    for _ in range(99):
        pace.apart_s(0.1)
        apart_s = pace.apart_s(10.0)
    assert apart_s == pytest.approx(1000 / 60, rel=0.01)
