"""The list of runs: newest first, whatever state each is in, from its summary alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.errors import UsageError
from loadgen.results import listing, stored
from loadgen.results.listing import RunKind, list_runs, listed
from loadgen.results.schema import files
from loadgen.results.schema.run import RunSummary
from loadgen.views.text import listing as view
from tests import samples, searches

#: A run that ended: its plan, and its summary with some values changed.
RUN: Final[Mapping[str, Any]] = {"plan": {}, "summary": {}}
ENDED = '{"t_s": 1, "event": "ended", "text": ""}\n'
RESUMED = '{"t_s": 0, "event": "resumed", "text": ""}\n'


def make(results: Path, name: str, *, age_s: float = 3600.0, recorded: str = "hold", **content: Any) -> Path:
    """A directory with these files, changed or given as text, whose last line was written so long ago."""
    suffixes = {"events": ".jsonl", "series": ".jsonl"}
    changes = {f"{stem}{suffixes.get(stem, '.json')}": value for stem, value in content.items()}
    path = samples.write(results / name, changes, recorded)
    for file in changes:
        os.utime(path / file, (time.time() - age_s,) * 2)
    return path


def test_a_run(tmp_path: Path) -> None:
    path = make(tmp_path, "20260131T120000Z-small-00aa", **RUN)
    (one,) = list_runs(tmp_path)
    summary = samples.summary()
    assert one.to_json() == {
        "path": str(path),
        "name": path.name,
        "scenario": "hold",
        "started_at": summary.started_at,
        "kind": "run",
        "established": 150,
        "rate_per_s": 249.9,
        "limit": "none",
        "headline": summary.verdict.text,
        "expect_passed": True,
        "problem": None,
    }


def test_newest_first_and_as_many_as_asked_for(tmp_path: Path) -> None:
    days = [3, 1, 2, 5, 4]
    for day in days:
        make(tmp_path, f"202601{day:02}T120000Z-{'odd' if day % 2 else 'even'}-00aa", **RUN)
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path, "bench")
    assert [one.name[6:8] for one in list_runs(tmp_path)] == ["05", "04", "03", "02", "01"]
    assert [one.name[6:8] for one in list_runs(tmp_path, 2)] == ["05", "04"]


def test_of_one_scenario(tmp_path: Path) -> None:
    for day, name in enumerate(("a", "b", "a"), start=1):
        make(tmp_path, f"2026010{day}T120000Z-{name}-00aa", plan={}, summary={"scenario": name})
    assert [one.name[7] for one in list_runs(tmp_path, 1, scenario="a")] == ["3"]
    assert [one.name[7] for one in list_runs(tmp_path, scenario="a")] == ["3", "1"]
    assert list_runs(tmp_path, scenario="c") == []


def test_no_more_is_read_than_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the series of a run that has ended, nor anything of one that is not asked for."""
    for day in range(1, 6):
        make(tmp_path, f"2026010{day}T120000Z-small-00aa", **RUN, series="{}", events="{}")
    read: list[str] = []
    whole = stored.read

    def noted(path: Path) -> bytes:
        read.append(f"{path.parent.name[:8]}/{path.name}")
        return whole(path)

    monkeypatch.setattr(stored, "read", noted)
    assert len(list_runs(tmp_path, 2)) == 2
    assert read == ["20260105/summary.json", "20260104/summary.json"]


@pytest.mark.parametrize("passed", [[], [True], [True, False]])
def test_expectations(tmp_path: Path, passed: list[bool]) -> None:
    expect = [{"expression": "open.lost == 0", "passed": one, "observed": 0} for one in passed]
    path = make(tmp_path, "a", plan={}, summary={"expect": expect})
    assert listed(path).expect_passed is (all(passed) if passed else None)


def test_of_churn_the_rate_is_the_sustained_one(tmp_path: Path) -> None:
    path = make(tmp_path, "a", recorded="churn", plan={}, summary={"churn.sustained_per_s": 50.0})
    assert listed(path).rate_per_s == 50.0


def test_a_run_that_was_interrupted_says_why(tmp_path: Path) -> None:
    path = make(tmp_path, "a", plan={}, summary={"complete": False, "incomplete_because": "Ctrl-C"})
    one = listed(path)
    assert (one.kind, one.problem, one.established) == (RunKind.UNFINISHED, "Ctrl-C", 150)


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
    path = make(tmp_path, "a", age_s=age_s, plan={"name": "small", "interval_s": interval_s}, series="", events="")
    one = listed(path)
    assert (one.kind, one.scenario) == (kind, "small")
    assert (one.problem is None) is (kind is RunKind.RUNNING)


def test_a_run_that_the_host_refused_had_no_plan(tmp_path: Path) -> None:
    make(tmp_path, "20260131T120000Z-mine-00aa", events="")
    (one,) = list_runs(tmp_path)
    assert (one.kind, one.scenario, one.started_at) == (RunKind.UNFINISHED, "mine", "2026-01-31T12:00:00+00:00")
    assert one.problem == "it ended before there was a plan"


def matrix(results: Path, name: str, events: str = ENDED, **changes: Any) -> Path:
    return make(results, name, recorded="matrix", matrix={"scenario": "small"}, events=events, summary=changes)


def test_a_matrix(tmp_path: Path) -> None:
    one = listed(matrix(tmp_path, "a"))
    assert (one.kind, one.established, one.rate_per_s, one.expect_passed) == (RunKind.MATRIX, None, None, True), (
        "cells that differ have no figures together"
    )
    (cell, _) = files.plain(samples.matrix_summary())["cells"]
    cell["runs"][1]["expect"] = [{"expression": "open.lost == 0", "passed": False, "observed": 1}]
    two = listed(matrix(tmp_path, "b", cells=[cell], expect=[]))
    assert (two.kind, two.established, two.rate_per_s, two.expect_passed) == (RunKind.MATRIX, 20, 9365.05, False)
    skipped = {**cell, "status": "skipped", "figures": None, "runs": [], "rounds": []}
    three = listed(matrix(tmp_path, "c", cells=[skipped], expect=[]))
    assert (three.kind, three.established, three.expect_passed) == (RunKind.MATRIX, None, None)


def test_a_matrix_that_is_resumed_is_on_its_way_whatever_was_summed_up_before(tmp_path: Path) -> None:
    path = matrix(tmp_path, "a", ENDED + RESUMED)
    assert (listed(path).kind, listed(path).scenario) == (RunKind.UNFINISHED, "small")
    make(path / "cells", "0", age_s=0.0, plan={}, series="")
    assert listed(path).kind is RunKind.RUNNING


@pytest.mark.parametrize(
    ("spoilt", "problem"),
    [
        ({"plan": {}, "summary": "{"}, "summary.json: not a summary of this version"),
        ({"plan": {}, "summary": "[]"}, "summary.json: not a summary of this version"),
        ({"plan": {}, "summary": '{"complete": true}'}, "missing required field"),
        ({"plan": {}, "summary": {"outcomes": None}}, "$.outcomes"),
        ({"plan": {}, "summary": {"verdict": "none"}}, "$.verdict"),
        ({"plan": {}, "summary": {"expect": 5}}, "$.expect"),
        ({"plan": "nonsense"}, "plan.json: not a plan of this version"),
        ({"matrix": "{}", "events": ENDED, "summary": '{"cells": 7}'}, "$.cells"),
        ({"matrix": "[", "events": "no JSON\n\n"}, "events.jsonl:1: not a line of this version"),
    ],
)
def test_a_spoilt_directory_is_listed_with_the_reason(tmp_path: Path, spoilt: dict[str, Any], problem: str) -> None:
    make(tmp_path, "20260131T120000Z-small-00aa", **spoilt)
    make(tmp_path, "20260130T120000Z-small-00aa", **RUN)
    broken, whole = list_runs(tmp_path)
    assert (broken.kind, broken.scenario, broken.started_at[:10]) == (RunKind.BROKEN, "small", "2026-01-31")
    assert problem in str(broken.problem)
    assert whole.kind is RunKind.RUN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS: Final = [*RunSummary.__struct_fields__, "cells"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3), st.sampled_from(["plan", "matrix"]))
def test_no_summary_is_too_strange_to_be_listed(tmp_path: Path, changes: dict[str, Any], kind: str) -> None:
    path = tmp_path / str(len(list(tmp_path.iterdir())))
    content: dict[str, Any] = {kind: "{}", "summary": changes, "events": ENDED}
    make(tmp_path, path.name, **content)
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
    path = make(tmp_path, "mine", plan={}, summary={"started_at": None})
    os.utime(path, (0, 0))
    make(tmp_path, "20260130T120000Z-small-00aa", **RUN)
    make(tmp_path, "20269999T120000Z-small-00aa", **RUN)
    os.utime(tmp_path / "20269999T120000Z-small-00aa", (86400, 86400))
    found = list_runs(tmp_path)
    assert [one.name for one in found] == ["20260130T120000Z-small-00aa", "20269999T120000Z-small-00aa", "mine"]
    assert found[-1].started_at == "1970-01-01T00:00:00+00:00"


def test_a_list_has_a_bound_and_survives_strange_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"20260101T00000{number}Z-n-abcd").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dead").symlink_to("nowhere")
    os.mkdir(os.fsencode(tmp_path) + b"/20260102T000000Z-\xff\x1b[31m-abcd")
    found = list_runs(tmp_path)
    assert [run.name[6:8] for run in found] == ["02", "01", "01", "01", "01", "01"]
    assert "\x1b" not in str(view.lines(found, tmp_path, 80))
    monkeypatch.setattr(list_runs, "__defaults__", (2,))
    assert len(list_runs(tmp_path)) == 2


def test_a_directory_that_cannot_be_looked_into_spoils_no_list(
    tmp_path: Path,
) -> None:
    """A link into a directory without permission; root, who runs tests in containers, is refused nothing."""
    (tmp_path / "20260101T000000Z-n-abcd").mkdir()

    class Refusing:
        name, path = "x", str(tmp_path / "x")

        def is_dir(self) -> bool:
            raise PermissionError(13, "Permission denied")

    assert not listing._is_directory(Refusing())  # type: ignore[arg-type]
    assert [run.name for run in list_runs(tmp_path)] == ["20260101T000000Z-n-abcd"]


# --- Searches -----------------------------------------------------------------------------------------------------


def search(results: Path, *without: str, age_s: float = 3600.0, events: str = "") -> Path:
    """The directory of a search, without some of its files."""
    path = results / "20260131T120000Z-ceiling-1f3a"
    path.mkdir()
    content = searches.directory() | ({"events.jsonl": events.encode()} if events else {})
    for name in content.keys() - set(without):
        (path / name).write_bytes(content[name])
        os.utime(path / name, (time.time() - age_s,) * 2)
    return path


def test_a_search(tmp_path: Path) -> None:
    one = listed(search(tmp_path))
    assert (one.kind, one.scenario, one.started_at) == (RunKind.FIND, "ceiling", "2026-01-31T12:00:00+00:00")
    assert (one.established, one.rate_per_s, one.limit, one.expect_passed) == (None, None, "time-wait", True)
    assert one.headline == "tcp_tw_reuse=1 lifts arrival.rate from 65/s to 196/s."
    assert one.problem is None
    assert any("ceiling" in text and "find" in text for _, text in view.lines([one], tmp_path, 80))


def test_a_search_without_a_summary_is_running_or_was_cut_off(tmp_path: Path) -> None:
    path = search(tmp_path, "summary.json")
    one = listed(path)
    assert (one.kind, one.scenario, one.started_at) == (RunKind.UNFINISHED, "ceiling", "2026-01-31T12:00:00+00:00")
    assert one.problem is not None
    make(path / "trials", "3", age_s=0.0, plan={}, series="")
    assert listed(path).kind is RunKind.RUNNING


def test_a_search_that_is_resumed_is_on_its_way_whatever_was_summed_up_before(tmp_path: Path) -> None:
    path = search(tmp_path, events=ENDED + RESUMED)
    assert listed(path).kind is RunKind.UNFINISHED
    make(path / "trials", "9", age_s=0.0, plan={}, series="")
    assert listed(path).kind is RunKind.RUNNING


def test_a_search_of_another_program_is_broken(tmp_path: Path) -> None:
    path = search(tmp_path, "summary.json")
    (path / "find.json").write_text("[]")
    one = listed(path)
    assert one.kind is RunKind.BROKEN
    assert one.problem is not None
    assert "not a search of this version" in one.problem
