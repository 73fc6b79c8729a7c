"""The outcome of a smoke test: which pairs fail, and why as far as that is known."""

from __future__ import annotations

import io
from typing import Any

from msgspec.structs import replace
from rich.console import Console

from loadgen.results.schema.run import ErrorCount, RunSummary
from loadgen.results.schema.sides import PairResult
from loadgen.views.text import once
from tests import hostile, samples

REFUSED = ErrorCount(syscall="connect", errno="ECONNREFUSED", outcome="refused", count=1)
SILENT = ErrorCount(syscall="wait", errno="ETIMEDOUT", outcome="timed-out", count=1)


def smoke(*established: int, errors: tuple[ErrorCount, ...] = (), **changes: Any) -> RunSummary:
    """A summary of one attempt for each pair; 1: established, 0: failed, -1: never tried."""
    pairs = tuple(
        PairResult(
            source=f"127.0.0.{index + 2}",
            target="127.0.0.1:9000",
            capacity=28_232,
            peak_open=max(opened, 0),
            established=max(opened, 0),
            failed=int(opened == 0),
        )
        for index, opened in enumerate(established)
    )
    return replace(samples.summary(name="hold"), sources=pairs, errors=errors, **changes)


def test_if_all_open_it_is_one_line() -> None:
    assert list(once.lines(smoke(1, 1))) == ["2 of 2 pairs of source and target open"]


def test_one_kind_of_error_is_the_reason_of_each_pair() -> None:
    assert list(once.lines(smoke(1, 0, errors=(REFUSED,)), "results/r/report.html")) == [
        "1 of 2 pairs of source and target open",
        "  127.0.0.3 -> 127.0.0.1:9000: connect ECONNREFUSED (refused)",
        "report: results/r/report.html",
    ]


def test_of_several_kinds_it_does_not_guess() -> None:
    assert list(once.lines(smoke(0, 0, errors=(REFUSED, SILENT))))[1:] == [
        "  127.0.0.2 -> 127.0.0.1:9000: one of the errors below",
        "  127.0.0.3 -> 127.0.0.1:9000: one of the errors below",
        "errors: 1 of connect ECONNREFUSED (refused)",
        "errors: 1 of wait ETIMEDOUT (timed-out)",
    ]


def test_a_pair_that_was_not_tried_did_not_fail() -> None:
    shown = list(once.lines(smoke(1, -1, complete=False, incomplete_because="interrupted")))
    assert shown[1] == "  127.0.0.3 -> 127.0.0.1:9000: not tried: interrupted"


def test_a_long_list_ends() -> None:
    shown = list(once.lines(smoke(*[0] * 50, errors=(REFUSED,))))
    assert len(shown) == 1 + once.PAIRS_MAX + 1
    assert shown[-1] == "  and 30 more"


def test_a_hostile_name_cannot_drive_the_terminal() -> None:
    stream = io.StringIO()
    once.render(hostile.summary(smoke(0, errors=(REFUSED,))), Console(file=stream, width=80), report="r\x1b[2J")
    assert "\x1b" not in stream.getvalue()
