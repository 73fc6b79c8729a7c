"""The list of runs: newest first, whatever state each is in, from its summary alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.errors import UsageError
from loadgen.results import listing
from loadgen.results.listing import RunKind, list_runs, listed

SUMMARY: dict[str, Any] = {
    "scenario": "small",
    "started_at": "2026-01-31T12:00:00+00:00",
    "complete": True,
    "incomplete_because": None,
    "outcomes": {"established": 200, "failed": 0},
    "rate_per_s": {"established_mean": 1234.5},
    "churn": None,
    "verdict": {"limit": "none", "text": "200 of 200."},
    "expect": [{"passed": True}, {"passed": True}],
}
CELL = {
    "settings": {},
    "figures": {"established": {"median": 150.0}, "rate_per_s": {"median": 99.5}},
    "runs": [SUMMARY, {**SUMMARY, "expect": [{"passed": False}]}],
}
MATRIX: dict[str, Any] = {**SUMMARY, "cells": [CELL], "expect": []}


def make(results: Path, name: str, *, age_s: float = 3600.0, **files: Any) -> Path:
    """A directory with these files, whose last line was written so long ago."""
    path = results / name
    path.mkdir(parents=True)
    for stem, content in files.items():
        suffix = ".jsonl" if stem in ("events", "series") else ".json"
        text = content if isinstance(content, str) else json.dumps(content)
        (path / f"{stem}{suffix}").write_text(text)
        os.utime(path / f"{stem}{suffix}", (time.time() - age_s,) * 2)
    return path


def test_a_run(tmp_path: Path) -> None:
    path = make(tmp_path, "20260131T120000Z-small-00aa", plan={"name": "small"}, summary=SUMMARY)
    (one,) = list_runs(tmp_path)
    assert one.to_json() == {
        "path": str(path),
        "name": path.name,
        "scenario": "small",
        "started_at": "2026-01-31T12:00:00+00:00",
        "kind": "run",
        "established": 200,
        "rate_per_s": 1234.5,
        "limit": "none",
        "headline": "200 of 200.",
        "expect_passed": True,
        "problem": None,
    }


def test_newest_first_and_as_many_as_asked_for(tmp_path: Path) -> None:
    days = [3, 1, 2, 5, 4]
    for day in days:
        make(tmp_path, f"202601{day:02}T120000Z-{'odd' if day % 2 else 'even'}-00aa", plan={}, summary=SUMMARY)
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path, "bench", figures={})
    assert [one.name[6:8] for one in list_runs(tmp_path)] == ["05", "04", "03", "02", "01"]
    assert [one.name[6:8] for one in list_runs(tmp_path, 2)] == ["05", "04"]


def test_of_one_scenario(tmp_path: Path) -> None:
    for day, name in enumerate(("a", "b", "a"), start=1):
        make(tmp_path, f"2026010{day}T120000Z-{name}-00aa", plan={}, summary={**SUMMARY, "scenario": name})
    assert [one.name[7] for one in list_runs(tmp_path, 1, scenario="a")] == ["3"]
    assert [one.name[7] for one in list_runs(tmp_path, scenario="a")] == ["3", "1"]
    assert list_runs(tmp_path, scenario="c") == []


def test_no_more_is_read_than_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the series of a run that has ended, nor anything of one that is not asked for."""
    for day in range(1, 6):
        make(tmp_path, f"2026010{day}T120000Z-small-00aa", plan={}, summary=SUMMARY, series="{}", events="{}")
    read: list[str] = []
    whole = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(f"{path.parent.name[:8]}/{path.name}")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    assert len(list_runs(tmp_path, 2)) == 2
    assert read == ["20260105/summary.json", "20260104/summary.json"]


@pytest.mark.parametrize("expect", [[], [{"passed": True}], [{"passed": True}, {"passed": False}]])
def test_expectations(tmp_path: Path, expect: list[dict[str, bool]]) -> None:
    path = make(tmp_path, "a", plan={}, summary={**SUMMARY, "expect": expect})
    assert listed(path).expect_passed is (all(one["passed"] for one in expect) if expect else None)


def test_of_churn_the_rate_is_the_sustained_one(tmp_path: Path) -> None:
    path = make(tmp_path, "a", plan={}, summary={**SUMMARY, "churn": {"sustained_per_s": 50.0}})
    assert listed(path).rate_per_s == 50.0


def test_a_run_that_was_interrupted_says_why(tmp_path: Path) -> None:
    path = make(tmp_path, "a", plan={}, summary={**SUMMARY, "complete": False, "incomplete_because": "Ctrl-C"})
    one = listed(path)
    assert (one.kind, one.problem, one.established) == (RunKind.UNFINISHED, "Ctrl-C", 200)


@pytest.mark.parametrize(
    ("age_s", "interval_s", "kind"),
    [
        (0.0, 0.5, RunKind.RUNNING),
        (listing.QUIET_S / 2, 0.5, RunKind.RUNNING),
        (600.0, 0.5, RunKind.UNFINISHED),
        (120.0, 60.0, RunKind.RUNNING),
        (600.0, 60.0, RunKind.UNFINISHED),
    ],
)
def test_without_a_summary_it_runs_as_long_as_it_writes(
    tmp_path: Path, age_s: float, interval_s: float, kind: RunKind
) -> None:
    path = make(tmp_path, "a", age_s=age_s, plan={"name": "small", "interval_s": interval_s}, series="{}", events="")
    one = listed(path)
    assert (one.kind, one.scenario) == (kind, "small")
    assert (one.problem is None) is (kind is RunKind.RUNNING)


def test_a_run_that_the_host_refused_had_no_plan(tmp_path: Path) -> None:
    make(tmp_path, "20260131T120000Z-mine-00aa", events="")
    (one,) = list_runs(tmp_path)
    assert (one.kind, one.scenario, one.started_at) == (RunKind.UNFINISHED, "mine", "2026-01-31T12:00:00+00:00")
    assert one.problem == "it ended before there was a plan"


ENDED = '{"t_s": 1, "event": "ended", "text": ""}\n'
RESUMED = '{"t_s": 0, "event": "resumed", "text": ""}\n'


def test_a_matrix(tmp_path: Path) -> None:
    plan = {"scenario": "small", "started_at": "x", "cells": [{}]}
    one = listed(make(tmp_path, "a", matrix=plan, events=ENDED, summary=MATRIX))
    assert (one.kind, one.established, one.rate_per_s, one.expect_passed) == (RunKind.MATRIX, 150, 99.5, False)
    two = listed(make(tmp_path, "b", matrix=plan, events=ENDED, summary={**MATRIX, "cells": [CELL, CELL]}))
    assert (two.established, two.rate_per_s) == (None, None), "cells that differ have no figures together"
    skipped: dict[str, Any] = {"settings": {}, "figures": None, "runs": []}
    three = listed(make(tmp_path, "c", matrix=plan, events=ENDED, summary={**MATRIX, "cells": [skipped]}))
    assert (three.kind, three.established, three.expect_passed) == (RunKind.MATRIX, None, None)


def test_a_matrix_that_is_resumed_is_on_its_way_whatever_was_summed_up_before(tmp_path: Path) -> None:
    plan = {"scenario": "small", "started_at": "x", "cells": [{}]}
    path = make(tmp_path, "a", matrix=plan, events=ENDED + RESUMED, summary=MATRIX)
    assert (listed(path).kind, listed(path).scenario) == (RunKind.UNFINISHED, "small")
    make(path / "cells", "0", age_s=0.0, plan={}, series="{}")
    assert listed(path).kind is RunKind.RUNNING


@pytest.mark.parametrize(
    "files",
    [
        {"plan": {}, "summary": "{"},
        {"plan": {}, "summary": "[]"},
        {"plan": {}, "summary": {"complete": True}},
        {"plan": {}, "summary": {**SUMMARY, "outcomes": None}},
        {"plan": {}, "summary": {**SUMMARY, "verdict": "none"}},
        {"plan": {}, "summary": {**SUMMARY, "expect": 5}},
        {"plan": "nonsense"},
        {"matrix": {}, "events": ENDED, "summary": {**MATRIX, "cells": 7}},
        {"matrix": "[", "events": "no JSON\n\n"},
    ],
)
def test_what_somebody_has_spoilt_is_listed_with_the_reason(tmp_path: Path, files: dict[str, Any]) -> None:
    make(tmp_path, "20260131T120000Z-small-00aa", **files)
    make(tmp_path, "20260130T120000Z-small-00aa", plan={}, summary=SUMMARY)
    broken, whole = list_runs(tmp_path)
    assert (broken.kind, broken.scenario, broken.started_at[:10]) == (RunKind.BROKEN, "small", "2026-01-31")
    assert broken.problem
    assert whole.kind is RunKind.RUN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(SUMMARY)), inner, max_size=3),
    max_leaves=8,
)


def _files(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {kind: {}, "summary": {**SUMMARY, **changes}, "events": ENDED}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*sorted(SUMMARY), "cells"]), json_values), st.sampled_from(["plan", "matrix"]))
def test_no_summary_is_too_strange_to_be_listed(tmp_path: Path, changes: dict[str, Any], kind: str) -> None:
    path = tmp_path / str(len(list(tmp_path.iterdir())))
    make(tmp_path, path.name, **_files(kind, changes))
    one = listed(path)
    assert json.loads(json.dumps(one.to_json()))["name"] == path.name


def test_before_the_first_run_there_is_nothing(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "results") == []
    assert list_runs(tmp_path) == []


def test_a_file_is_no_directory_of_results(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="give the directory that runs were written to"):
        list_runs(tmp_path / "file")


def test_a_renamed_run_is_as_old_as_its_directory(tmp_path: Path) -> None:
    path = make(tmp_path, "mine", plan={}, summary={**SUMMARY, "started_at": None})
    os.utime(path, (0, 0))
    make(tmp_path, "20260130T120000Z-small-00aa", plan={}, summary=SUMMARY)
    make(tmp_path, "20269999T120000Z-small-00aa", plan={}, summary=SUMMARY)
    os.utime(tmp_path / "20269999T120000Z-small-00aa", (86400, 86400))
    found = list_runs(tmp_path)
    assert [one.name for one in found] == ["20260130T120000Z-small-00aa", "20269999T120000Z-small-00aa", "mine"]
    assert found[-1].started_at == "1970-01-01T00:00:00+00:00"
