"""The summary of a run on a terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from loadgen.results.schema.run import RunSummary
from loadgen.views.text import run as text
from tests import hostile, samples
from tests.golden import same_as_golden


def printed(summary: RunSummary, **options: Any) -> str:
    stream = io.StringIO()
    text.render(summary, Console(file=stream, width=80, **options), report="results/a-run/report.html")
    return stream.getvalue()


def lines_of(summary: RunSummary, label: str) -> list[tuple[str, str]]:
    """The lines with this label, with their tone."""
    return [line for line in text.lines(summary, width=120) if line[1].startswith(label)]


@pytest.mark.parametrize(
    "name", ["churn", "hold", "http", "interrupted", "killed-orchestrator", "killed-worker", "tls", "udp", "wall"]
)
def test_a_recorded_run_reads_as_it_was_approved(name: str) -> None:
    shown = printed(samples.summary(name=name))
    same_as_golden(f"text/{name}.txt", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_colour_is_only_an_addition() -> None:
    summary = samples.summary(name="killed-worker")
    coloured = printed(summary, height=200, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(summary)
    assert "\x1b[3" not in printed(summary, force_terminal=True, no_color=True)


@pytest.mark.parametrize("name", ["wall", "churn"])
def test_a_hostile_name_cannot_drive_the_terminal(name: str) -> None:
    shown = printed(hostile.summary(samples.summary(name=name)))
    assert "\x1b" not in shown
    assert "[2J" in shown
    assert "\u202e" not in shown


def test_the_summary_survives_a_terminal_without_unicode() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text.render(samples.summary({"verdict.text": "Grüße: 100 µs"}), Console(file=stream, width=80))
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert b"Gr\\xfc\\xdfe" in stream.buffer.getvalue()


def test_the_evidence_leaves_out_the_counts_of_errors() -> None:
    """They stand a few lines above."""
    evidence = ["connect EADDRNOTAVAIL 8 times", "TcpExt.ListenOverflows +512"]
    summary = samples.summary({"verdict.evidence": evidence}, "wall")
    assert lines_of(summary, "evidence") == [("", "evidence     TcpExt.ListenOverflows +512")]


def test_a_generator_that_is_not_trustworthy_is_told_at_the_end() -> None:
    summary = samples.summary({"generator.trustworthy": False, "generator.reasons": ["late", "stood still"]})
    assert lines_of(summary, "generator") == [("bad", "generator    NOT TRUSTWORTHY: late; stood still")]


@pytest.mark.parametrize(
    ("agrees", "tone", "words"),
    [
        (True, "", "both sides agree"),
        (False, "bad", "THE SIDES DISAGREE: 3 missing"),
        (None, "", "not counted to the end: 3 missing"),
    ],
)
def test_the_other_side_agrees_or_not(agrees: bool | None, tone: str, words: str) -> None:
    summary = samples.summary({"sink.agrees": agrees, "sink.text": "3 missing"})
    assert lines_of(summary, "other side") == [(tone, f"other side   160 accepted, at most 150 open; {words}")]


def test_rare_kinds_of_errors_are_one_line() -> None:
    errors = [
        {"syscall": "connect", "errno": f"E{n}", "outcome": "other", "count": n} for n in range(1, text.ERRORS_MAX + 4)
    ]
    shown = printed(samples.summary({"errors": errors}))
    assert f"E{text.ERRORS_MAX + 3} (other)" in shown
    assert "        6  of 3 other kinds" in shown


def test_time_wait_at_the_sinks_of_an_ordinary_run_has_a_line() -> None:
    sink = {"delta": {"TcpExt.TW": 100}, "peak": {"sockstat.tcp_tw": 100}, "states": None}
    ((_, line),) = lines_of(samples.summary({"kernel.sink": sink}), "TIME-WAIT")
    assert line == "TIME-WAIT    at the sinks 100 at once at most, 100 entered, 0 recycled, 0 overflows"


def test_a_narrow_terminal_has_fewer_quantiles_and_wraps_no_line() -> None:
    summary = samples.summary(name="wall")
    lines = [line for _, line in text.lines(summary, None, 40)]
    assert max(map(len, lines)) <= 40
    assert next(line for line in lines if line.startswith("latency")).split() == ["latency", "p50", "p99"]
