"""A series that is made longer stays one that a run could have written."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.day import stretched
from loadgen.results import run_directory
from loadgen.views.html import run as html
from tests import samples

CHURN = samples.RUNS / "churn"


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CHURN / "series.jsonl").read_text().splitlines()]


def directory(path: Path, count: int) -> Path:
    """Make a run directory whose series has this many lines."""
    path.mkdir()
    for name in ("plan.json", "host.json", "scenario.yaml", "events.jsonl"):
        (path / name).write_bytes((CHURN / name).read_bytes())
    (path / "series.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stretched(recorded(), count)))
    return path


def test_totals_are_carried_on() -> None:
    lines = list(stretched(recorded(), 200))
    assert len(lines) == 200
    for before, after in pairwise(lines):
        assert after["t_s"] > before["t_s"]
        assert after["scheduled"] == after["started"] + after["not_started"]
        assert after["started"] == after["established"] + after["failed"] + after["in_flight"]
        assert after["started"] >= before["started"]
        assert sum(pair[0] for pair in after["pairs"]) == after["established"]
    assert {line["phase"] for line in lines[:-1]} == {"churn"}


def test_too_short_a_run_is_refused() -> None:
    first, *_, last = recorded()
    with pytest.raises(ValueError, match="make a longer run"):
        next(stretched([first, last], 10))


def test_a_report_does_not_grow_with_its_series(tmp_path: Path) -> None:
    sizes = []
    for count in (1_500, 6_000):
        run = run_directory.read(directory(tmp_path / str(count), count))
        sizes.append(len(html.render(run, run.summarised()).encode()))
    assert sizes[1] < 1.2 * sizes[0]
    assert max(sizes) < 500_000
