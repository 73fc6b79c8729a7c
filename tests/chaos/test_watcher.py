"""Moments are recognised by what a run shows, in the order in which it comes to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from .trial import Moment, Trial
from .watcher import Watcher, near_the_end

HELD: Final = {"connections": 100, "hold": "0ms", "workers": 1, "sinks": 1}
CHURN: Final = {"churn": {"duration": "0ms"}, "workers": 1, "sinks": 1}


@pytest.fixture
def popen() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no run, and lives as long as the test."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def watcher(popen: subprocess.Popen[bytes], home: Path, scenario: dict[str, Any], *series: dict[str, Any]) -> Watcher:
    """A watcher of a run that has written these lines."""
    run = home / "results" / "made"
    run.mkdir(parents=True)
    text = "".join(json.dumps({"phase": "ramp", "started": 0, "not_started": 0} | line) + "\n" for line in series)
    (run / "series.jsonl").write_text(text)
    return Watcher(Trial(scenario, ()), popen, "mark", home, deadline=float("inf"))


def test_a_process_that_is_no_run_has_no_roles(popen: subprocess.Popen[bytes], tmp_path: Path) -> None:
    seen = watcher(popen, tmp_path, HELD)
    assert seen.roles().orchestrator is None
    for phase in ("zygote", "sinks", "workers", "opening", "hold", "drain", "ended", "summary"):
        assert not seen.reached(Moment(phase)), phase
    assert seen.reached(Moment("start"))


def test_the_opening_is_as_far_as_connections_are_started(popen: subprocess.Popen[bytes], tmp_path: Path) -> None:
    seen = watcher(popen, tmp_path, HELD, {"started": 50})
    assert seen.reached(Moment("opening", 0.5))
    assert not seen.reached(Moment("opening", 0.6))
    assert not seen.reached(Moment("hold", 0.0))


@pytest.mark.parametrize("line", [{"started": 90, "not_started": 10}, {"phase": "hold", "started": 3}])
def test_the_hold_begins_when_all_are_answered_for(
    popen: subprocess.Popen[bytes], tmp_path: Path, line: dict[str, Any]
) -> None:
    seen = watcher(popen, tmp_path, HELD, line)
    assert seen.reached(Moment("opening", 1.0))
    assert seen.reached(Moment("hold", 1.0)), "it lasts no time"
    assert seen.reached(Moment("drain", 0.0))


def test_churn_is_both_opening_and_hold(popen: subprocess.Popen[bytes], tmp_path: Path) -> None:
    seen = watcher(popen, tmp_path, CHURN, {"phase": "churn"})
    assert seen.reached(Moment("opening", 0.9))
    assert seen.reached(Moment("hold", 1.0))


def test_a_torn_line_is_not_read(popen: subprocess.Popen[bytes], tmp_path: Path) -> None:
    seen = watcher(popen, tmp_path, HELD, {"started": 50})
    with (tmp_path / "results" / "made" / "series.jsonl").open("a") as file:
        file.write('{"started": 1')
    assert [line["started"] for line in seen.lines("series.jsonl")] == [50]


def test_waiting_ends_with_the_run(popen: subprocess.Popen[bytes], tmp_path: Path) -> None:
    seen = watcher(popen, tmp_path, HELD)
    popen.kill()
    popen.wait()
    assert not seen.wait(Moment("summary"))


def test_which_moments_may_come_late() -> None:
    assert near_the_end(Moment("drain"))
    assert not near_the_end(Moment("opening"))
