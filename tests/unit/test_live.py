"""What a person watches: lines for a file, a table for a terminal, at any width and without colours."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from loadgen.live import LiveTable, PlainLines, Quiet, view_for
from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Plan, PortRange, Strategy, Target

PLAN = Plan(
    name="past-64k",
    connections=100_000,
    sources=("127.0.0.2",),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=True),),
    strategy=Strategy.LATE_RANGE,
    ports=PortRange(1024, 65_535),
    skipped_ports=(),
    capacity_per_pair=64_512,
    stages=(),
    hold_s=30.0,
    close=CloseMode.FIN,
    timeout_s=10.0,
    in_flight_max=256,
    interval_s=0.5,
    workers=6,
    sinks=6,
)
BECAUSE = "100 ports / 1 s: tcp_tw_reuse=1 after 1,000 ms"
CHURN = replace(
    PLAN, name="churn-wall", connections=16, churn=Churn(30.0, 64), ceiling=Ceiling(100.0, 3_100, BECAUSE), workers=1
)
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def line(t_s: float = 1.0, phase: str = "ramp", **changes: Any) -> dict[str, Any]:
    return {
        "t_s": t_s,
        "phase": phase,
        "started": 25_010,
        "established": 25_000,
        "failed": 0,
        "in_flight": 10,
        "not_started": 0,
        "open": 25_000,
        "lost": 0,
        "errors": [],
        "latency_ns": {"lateness": {}, "connect": {"1780": 3}, "arrival": {}},
        "workers": {"alive": 6, "stalled": 0},
        "sink": None,
        "kernel": {},
        **changes,
    }


TROUBLE: dict[str, Any] = {
    "failed": 12_345,
    "lost": 678,
    "errors": [["connect", f"E{number}", "refused", 9 - number] for number in range(6)],
    "sink": {"accepted": 25_001, "open": 24_999},
    "kernel": {"now": {"sockstat.tcp_tw": 4_321}},
    "workers": {"alive": 5, "stalled": 2},
}


def churning(t_s: float = 10.0, phase: str = "churn", **changes: Any) -> dict[str, Any]:
    """A line of a churn run in a lab of two namespaces."""
    return line(
        t_s,
        phase,
        **{
            "started": 1_402,
            "established": 1_000,
            "closed": 986,
            "failed": 400,
            "in_flight": 2,
            "open": 14,
            "errors": [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 400]],
            "latency_ns": {"lateness": {}, "connect": {"1780": 3}, "arrival": {}, "exchange": {"1780": 3}},
            "workers": {"alive": 1, "stalled": 0},
            "kernel": {
                "now": {"sockstat.tcp_inuse": 14, "sockstat.tcp_tw": 100},
                "delta": {"TcpExt.TW": 986, "TcpExt.TWRecycled": 900},
                "sink": {"now": {"sockstat.tcp_tw": 7}, "delta": {}},
            },
            **changes,
        },
    )


def terminal(width: int = 80, **environment: str) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=40,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={"TERM": "xterm-256color", **environment},
    )
    return console, file


def drawn(lines: list[dict[str, Any]], plan: Plan = PLAN, width: int = 80, **environment: str) -> str:
    """Everything a LiveTable sends to the terminal for these lines, escape sequences included."""
    console, file = terminal(width, **environment)
    with LiveTable(console) as view:
        for part in lines:
            file.seek(0)
            file.truncate()
            view.update(plan, part)
        return file.getvalue()


def printed(*lines: dict[str, Any], plan: Plan = PLAN, width: int = 80) -> list[str]:
    file = io.StringIO()
    with PlainLines(Console(file=file, width=width)) as view:
        for part in lines:
            view.update(plan, part)
    return file.getvalue().splitlines()


# --- Plain lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80])
def test_a_plain_line_is_one_line_whatever_the_width(width: int) -> None:
    found = printed(line(), line(1.5, "hold", **TROUBLE), width=width)
    first, second = found
    assert first == (
        "    1.0 s  opening     25,000 open of 100,000, 25,000/s, 0 failed, 0 lost, connect p50 1,001 us p99 1,001 us"
    )
    assert second == (
        "    1.5 s  holding     25,000 open of 100,000, 0/s, 12,345 failed, 678 lost, sink 24,999, "
        "connect p50 1,001 us p99 1,001 us, connect E0 9, connect E1 8, connect E2 7, connect E3 6"
    )


def test_the_rate_is_that_since_the_line_before() -> None:
    latency: dict[str, Any] = {"lateness": {}, "connect": {}, "arrival": {}}
    steps = [(0.5, 1_000), (1.0, 4_000), (1.01, 4_500), (2.0, 5_000)]
    found = printed(*(line(t_s, established=count, latency_ns=latency) for t_s, count in steps))
    assert [re.findall(r"([\d,]+)/s", text) for text in found] == [["2,000"], ["6,000"], ["6,000"], ["1,000"]]
    assert "connect" not in found[0]


@pytest.mark.parametrize(("phase", "word"), [("drain", "closing"), ("done", "done")])
def test_every_phase_has_a_word(phase: str, word: str) -> None:
    assert word in printed(line(phase=phase))[0]
    assert word in drawn([line(phase=phase)])


# --- The table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80])
def test_the_table_keeps_within_the_terminal(width: int) -> None:
    plan = replace(PLAN, name="a-name-of-64-characters-" + "x" * 40)
    rows = CONTROL.sub("", drawn([line(**TROUBLE)], plan, width)).splitlines()
    assert rows
    assert max(map(cell_len, rows)) <= width


def test_the_table_has_the_numbers() -> None:
    text = CONTROL.sub("", drawn([line(**TROUBLE)]))
    for part in (
        "past-64k  opening",
        "25,000 of 100,000",
        "12,345 failed",
        "678 lost",
        "25,000/s   in flight 10",
        "p50 1,001 us   p99 1,001 us",
        "24,999 open, 25,001 accepted",
        "TIME-WAIT  4,321",
        "9  connect E0  (refused)",
        "5 of 6  2 stalled",
    ):
        assert part in text
    assert "E3" in text
    assert "E4" not in text
    calm = CONTROL.sub("", drawn([line()]))
    for absent in ("lost", "sink", "TIME-WAIT", "error", "stalled"):
        assert absent not in calm


def test_a_hold_counts_down_from_its_first_line() -> None:
    assert "30 s left" in drawn([line(4.0, "hold")])
    assert "20 s left" in drawn([line(4.0, "hold"), line(14.0, "hold")])
    assert "0 s left" in drawn([line(4.0, "hold"), line(40.0, "hold")])


def test_a_drain_runs_the_bar_backwards() -> None:
    full, half = (drawn([line(phase="drain", open=count)], width=60) for count in (100_000, 50_000))
    assert full != half


def test_without_colours_there_are_none() -> None:
    """no-color.org: bold is no colour."""
    colours = re.compile(r"(?:^|;)(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;|$)")

    def coloured(text: str) -> list[str]:
        return [codes for codes, kind in CONTROL.findall(text) if kind == "m" and colours.search(codes)]

    assert coloured(drawn([line(**TROUBLE)]))
    assert not coloured(drawn([line(**TROUBLE)], NO_COLOR="1"))


@pytest.mark.parametrize("name", ["[red]x[/]", "[/]", "[link=x]y", "\\[b]", "x\\"])
def test_what_looks_like_markup_stays_text(name: str) -> None:
    plan = replace(PLAN, name=name)
    errors = [["[b]call", "[/]", "[i]outcome[/i]", 1]]
    text = CONTROL.sub("", drawn([line(errors=errors)], plan))
    assert name in text
    assert "[b]call [/]  ([i]outcome[/i])" in text
    assert "[b]call [/] 1" in printed(line(errors=errors), plan=plan)[0]
    console, file = terminal()
    Quiet(console).notice(f"lost {name}")
    assert f"loadgen: lost {name}" in CONTROL.sub("", file.getvalue())


# --- Churn ---------------------------------------------------------------------------------------


def test_a_table_of_churn_has_its_numbers() -> None:
    text = CONTROL.sub("", drawn([churning()], CHURN))
    for part in (
        "churn-wall  churning",
        "20 s left",
        "time         10.0 of 30 s",
        "established  1,000  400 failed",
        "open         14 of 16",
        "rate         100/s   in flight 2",
        f"predicted    at most 100/s: {BECAUSE}",
        "connect      p50 1,001 us",
        "exchange     p50 1,001 us",
        "TIME-WAIT    100   at the sinks 7   recycled 900",
        "400  connect EADDRNOTAVAIL  (no-free-four-tuple)",
    ):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_table_of_churn_keeps_within_the_terminal(width: int) -> None:
    plan = replace(CHURN, name="a-name-of-64-characters-" + "x" * 40)
    rows = CONTROL.sub("", drawn([churning(**TROUBLE)], plan, width)).splitlines()
    assert rows
    assert max(map(cell_len, rows)) <= width


def test_churn_goes_on_by_time_and_its_drain_by_what_is_open() -> None:
    filled = re.compile(r"\x1b\[38;2;249;38;114m(━*)")  # what rich gives to the part that is done
    early, late = (sum(map(len, filled.findall(drawn([churning(t_s)], CHURN)))) for t_s in (3.0, 27.0))
    assert late == pytest.approx(9 * early, abs=9)
    assert "0 s left" in drawn([churning(31.0)], CHURN)
    assert "31.0 s" in drawn([churning(31.0, "drain")], CHURN)
    assert "done" in drawn([churning(31.5, "done", open=0)], CHURN)


@pytest.mark.parametrize("width", [40, 80])
def test_a_plain_line_of_churn_is_one_line(width: int) -> None:
    (found,) = printed(churning(), plan=CHURN, width=width)
    assert found == (
        "   10.0 s  churning     1,000 established, 100/s (predicted at most 100/s), 14 open, 2 in flight, "
        "400 failed, 0 lost, TIME-WAIT 100, at the sinks 7, recycled 900, connect p50 1,001 us p99 1,001 us, "
        "exchange p50 1,001 us p99 1,001 us, connect EADDRNOTAVAIL 400"
    )


def test_without_a_limit_none_is_predicted() -> None:
    plan = replace(CHURN, ceiling=Ceiling(None, None, "a reset leaves no TIME-WAIT"))
    assert "predicted    no limit: a reset leaves no TIME-WAIT" in CONTROL.sub("", drawn([churning()], plan))
    assert "predicted" not in printed(churning(), plan=plan)[0]
    unknown = replace(CHURN, ceiling=None)
    assert "predicted" not in drawn([churning()], unknown) + printed(churning(), plan=unknown)[0]


def test_less_than_one_connection_a_second_is_not_none() -> None:
    plan = replace(CHURN, ceiling=Ceiling(28 / 60, 28, "28 ports / 60 s: tcp_tw_reuse=0"))
    assert "at most 0.467/s: 28 ports" in drawn([churning()], plan)
    assert "at most 0.467/s)" in printed(churning(), plan=plan)[0]


@pytest.mark.parametrize("kernel", [{}, {"now": {}}, {"now": {"sockstat.tcp_tw": 0}, "delta": {}, "sink": None}])
def test_old_lines_without_exchange_closed_or_counters_are_shown_too(kernel: dict[str, Any]) -> None:
    old = line(1.0, "churn", kernel=kernel)
    text = CONTROL.sub("", drawn([old], CHURN))
    for absent in ("TIME-WAIT  ", "recycled", "sinks", "exchange"):
        assert absent not in text
    assert "TIME-WAIT" not in printed(old, plan=CHURN)[0]


def test_a_reason_that_looks_like_markup_stays_text() -> None:
    plan = replace(CHURN, ceiling=Ceiling(100.0, 1, "[red]x[/]"))
    assert "at most 100/s: [red]x[/]" in CONTROL.sub("", drawn([churning()], plan))


# --- Which one -----------------------------------------------------------------------------------


def test_the_view_fits_where_it_is_shown() -> None:
    assert type(view_for(terminal()[0], quiet=False).view) is LiveTable
    assert type(view_for(Console(file=io.StringIO()), quiet=False).view) is PlainLines
    assert type(view_for(terminal()[0], quiet=True).view) is Quiet


def test_a_view_that_nobody_reads_any_more_falls_silent() -> None:
    """A closed pipe or a full disk behind stderr costs the words and nothing else."""

    class Full(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            Full.tries += 1
            raise OSError(28, "No space left on device", text)

    with view_for(Console(file=Full()), quiet=False) as view:
        for _ in range(3):
            view.update(PLAN, line())
            view.notice("a word")
    assert Full.tries == 1


@pytest.mark.parametrize("width", [40, 80])
def test_a_quiet_view_has_notices_only_each_on_a_line(width: int) -> None:
    file = io.StringIO()
    sentence = "worker 3 was killed by SIGKILL in phase hold while it held 16,667 connections"
    with Quiet(Console(file=file, width=width)) as view:
        view.update(PLAN, line())
        view.notice(sentence)
    assert file.getvalue() == f"loadgen: {sentence}\n"
