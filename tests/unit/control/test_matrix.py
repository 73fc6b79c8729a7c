"""A matrix: what it came to, and its table, page and CSV."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.control.matrix import Matrix, Order, _as_resolved, with_overrides
from loadgen.control.orchestrator import Options
from loadgen.errors import ExitCode, UsageError
from loadgen.results import matrix as matrices
from loadgen.results import run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.files import Json
from loadgen.results.schema.matrix_plan import MatrixPlan, ResolvedName
from loadgen.results.schema.run import RunSummary
from tests import matrices as makers
from tests import samples
from tests.matrices import ENDED, MATRIX, REUSE, churning, first, run_summary, three

# --- Names ------------------------------------------------------------------------------------------


def test_what_names_stood_for_is_read_back(tmp_path: Path) -> None:
    known = {"addresses": ["127.0.0.1", "::1"], "resolved_at": "2026-01-31T12:00:00Z"}
    samples.write(tmp_path, {"matrix.json": {}}, "matrix")
    assert _as_resolved(tmp_path) == {}
    samples.write(tmp_path, {"matrix.json": {"resolved": {"a.test": known}}}, "matrix")
    assert _as_resolved(tmp_path) == {
        "a.test": ResolvedName(addresses=("127.0.0.1", "::1"), resolved_at="2026-01-31T12:00:00Z")
    }


@pytest.mark.parametrize(
    "wrong", [5, [], {"a.test": 5}, {"a.test": {}}, {"a.test": {"addresses": 5, "resolved_at": ""}}]
)
def test_names_without_their_addresses_are_refused(tmp_path: Path, wrong: Any) -> None:
    samples.write(tmp_path, {"matrix.json": {"resolved": wrong}}, "matrix")
    with pytest.raises(UsageError, match=r"matrix\.json: not a matrix of this version .*\$\.resolved"):
        _as_resolved(tmp_path)


# --- Events -----------------------------------------------------------------------------------------


def test_an_event_that_cannot_be_written_is_a_failure_and_costs_no_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs that have ended are summed up all the same."""
    text = json.dumps(
        {
            "name": "small",
            "lab": {},
            "sources": {"addresses": "127.0.1.1"},
            "targets": [{"address": "127.0.0.1:9000", "sink": True}],
            "connections": 1,
            "matrix": {"close": ["fin", "rst"]},
        }
    )
    whole, cells = scenarios.parse_cells(text, "small.yaml", ())
    matrix = Matrix(Order(whole, cells, text), Options(results=tmp_path), view=pytest.fail, say=pytest.fail)
    writer = matrix._begin()

    def refuse(_fd: int, _data: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        matrix._event(writer, "cell-started", "the first", 0, 1)
    result = matrix._conclude(writer)
    writer.close()
    assert result.exit_code is ExitCode.HOST
    assert "events.jsonl: Input/output error" in str(result.error)
    assert (result.path / "summary.json").exists()


# --- Folding ----------------------------------------------------------------------------------------


def summarised(matrix: Json, events: Iterable[Json], runs: Mapping[matrices.Place, RunSummary]) -> Any:
    """The summary of a matrix as summary.json has it."""
    return files.plain(makers.summarised(matrix, events, runs))


def fold(runs: Mapping[int, RunSummary], *events: Json) -> Any:
    return files.plain(makers.fold(runs, *events))


def test_a_complete_matrix() -> None:
    summary = files.plain(three())
    assert (summary["complete"], summary["incomplete_because"], summary["duration_s"]) == (True, None, 3.5)
    assert [cell["status"] for cell in summary["cells"]] == ["done"] * 3
    assert [(one["passed"], one["observed"]) for one in summary["expect"]] == [(True, 30.0), (True, 0.0)]
    assert summary["verdict"] == {
        "limit": "none",
        "text": "What differs most between 3 cells is the cost of a connection in the last tenth: "
        "10.0 us with strategy late-range, 300 us with strategy kernel.",
    }


def test_a_cell_that_could_not_run_is_skipped_and_passes_nothing() -> None:
    skipped = {"t_s": 1.0, "event": "cell-skipped", "text": "four-tuples: need 10, have 5", "cell": 2}
    summary = fold({0: run_summary(), 1: run_summary()}, skipped, ENDED)
    assert summary["complete"]
    assert summary["cells"][2] == {
        "settings": {"sources.strategy": "explicit"},
        "status": "skipped",
        "reason": "four-tuples: need 10, have 5",
        "rounds": [],
        "runs": [],
        "figures": None,
        "predicted": None,
        "as_predicted": None,
        "changes": [],
    }
    assert summary["expect"][1] == {"expression": MATRIX["expect"][1], "passed": False, "observed": None}
    assert summary["verdict"]["text"] == "The 2 cells that are done do not differ by more than half."


def test_a_cell_whose_setting_this_kernel_lacks_fails_no_expectation() -> None:
    """MATRIX expects something of cell 2: it is not judged, and the reason of the cell says so."""
    lacking = {"t_s": 1.0, "event": "cell-lacking", "text": "Linux 7.1 has it", "cell": 2}
    summary = fold({0: run_summary(), 1: run_summary()}, lacking, ENDED)
    assert summary["complete"]
    assert summary["cells"][2]["status"] == "skipped"
    assert summary["cells"][2]["reason"] == "Linux 7.1 has it; the expectation about it is not judged"
    assert [row["expression"] for row in summary["expect"]] == [MATRIX["expect"][0]]


def test_a_matrix_cut_off_keeps_what_it_has() -> None:
    started = [{"t_s": float(n), "event": "cell-started", "text": "", "cell": n} for n in range(2)]
    summary = fold({0: run_summary()}, *started)
    assert not summary["complete"]
    assert [(cell["status"], cell["reason"]) for cell in summary["cells"]] == [
        ("done", None),
        ("incomplete", "it was cut off"),
        ("incomplete", "it never began"),
    ]
    assert summary["verdict"]["text"] == "1 cell is done of 3, so there is nothing to compare."
    assert fold({})["verdict"]["text"].startswith("0 cells are done of 3")


def test_the_expectations_of_all_are_those_of_the_matrix_and_of_each_cell() -> None:
    own = {"expression": "outcomes.failed == 0", "passed": True, "observed": 0.0}
    assert len(matrices.all_expectations(three({"expect": [own]}))) == 3


@pytest.mark.parametrize(
    ("expected", "failed"), [([], [0, 1]), (["cells.1.outcomes.established == 0", "cells.0.outcomes.failed == 0"], [0])]
)
def test_cells_that_opened_nothing_fail_unless_the_matrix_says_so(expected: list[str], failed: list[int]) -> None:
    opened = {"expression": "outcomes.established > 0", "passed": False, "observed": 0}
    empty = run_summary({"outcomes.established": 0, "expect": [opened]})
    summary = summarised(MATRIX | {"expect": expected}, [ENDED], first({0: empty, 1: empty}))
    assert [index for index, cell in enumerate(summary["cells"]) for run in cell["runs"] if run["expect"]] == failed
    assert [row["passed"] for row in summary["expect"]] == [True] * len(expected)


@pytest.mark.parametrize(
    ("limits", "passed", "observed"),
    [
        (("lost", "lost"), True, "lost"),
        (("lost", "none"), False, "none"),
        (("lost", None), False, None),
        ((), False, None),
    ],
)
def test_a_name_is_expected_of_every_run_of_a_cell(
    limits: tuple[str | None, ...], passed: bool, observed: str | None
) -> None:
    runs = {(0, number): run_summary({"prediction.limit": limit}) for number, limit in enumerate(limits, 1)}
    matrix = MATRIX | {"repeat": 2, "expect": ['cells.0.prediction.limit == "lost"']}
    (row,) = summarised(matrix, [ENDED], runs)["expect"]
    assert row == {"expression": 'cells.0.prediction.limit == "lost"', "passed": passed, "observed": observed}


def test_cells_with_different_limits_are_called_mixed() -> None:
    assert three({"verdict.limit": "four-tuples"}).verdict.limit == "mixed"


# --- The directory ----------------------------------------------------------------------------------


def test_a_directory_is_read_back_wherever_it_was_cut_off(tmp_path: Path) -> None:
    writer = run_directory.MatrixWriter(tmp_path, "m")
    writer.write_scenario("name: m\n")
    assert not run_directory.is_matrix(writer.path), "without matrix.json nobody knows what was to be"
    writer.write_matrix(files.convert(MATRIX, MatrixPlan))
    assert run_directory.read_matrix(writer.path).summarised().cells[0].reason == "it never began"
    cell = run_directory.RunWriter(tmp_path, "m", writer.run(0, 1))
    assert cell.path == writer.path / "cells" / "0"
    assert run_directory.read_matrix(writer.path).summarised().cells[0].status == "incomplete", "no plan yet"
    cell.write_plan(samples.plan())
    cell.write_summary(run_summary())
    cell.close()
    writer.append_event(Event(t_s=1.0, event="cell-started", text="", cell=1))
    with (writer.path / "events.jsonl").open("a") as events:
        events.write('{"t_s": 2.0, "ev')  # what a kill leaves
    summary = run_directory.read_matrix(writer.path).summarised()
    assert [one.status for one in summary.cells] == ["done", "incomplete", "incomplete"]
    path = run_directory.write_matrix_results(writer.path, summary=summary, report="<p>", table="cell\r\n")
    assert path.read_text() == "<p>"
    assert run_directory.written_summary(writer.path) == summary
    assert (writer.path / "cells.csv").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{}]}', "{}"])
def test_a_matrix_that_is_none_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "matrix.json").write_text(text)
    with pytest.raises(UsageError):
        run_directory.read_matrix(tmp_path).summarised()


# --- Rounds, and what they say together -------------------------------------------------------------


def test_a_cell_says_the_median_of_its_rounds_and_what_was_foretold() -> None:
    summary = files.plain(churning())
    assert (summary["complete"], summary["repeat"]) == (True, 3)
    cell = summary["cells"][2]
    assert cell["figures"]["rate_per_s"] == {"median": 100.0, "low": 99.0, "high": 101.0, "runs": 3}
    assert cell["predicted"] == {"per_s": 100.0, "established": 500, "because": "100 ports / 1 s: <reuse>"}
    assert [one["as_predicted"] for one in summary["cells"]] == [True, True, True, False]
    assert [one["key"] for one in summary["cells"][3]["changes"]] == [REUSE, "close"]
    assert summary["cells"][3]["changes"][0]["noise"]
    assert summary["verdict"]["text"] == (
        "tcp_tw_reuse=1 instead of 0 lifts the sustained rate from 0.2/s to 100/s (predicted 1.67/s and 100/s),"
        " with close fin. 1 of 4 cells is not as predicted."
    )


def test_a_cell_is_done_when_all_its_rounds_are() -> None:
    matrix = {**MATRIX, "repeat": 3, "expect": []}
    broken = run_summary({"complete": False, "incomplete_because": "a worker was lost"})
    runs = {(0, 1): run_summary(), (0, 2): broken, (0, 3): run_summary(), (1, 1): run_summary(), (2, 1): run_summary()}
    events = [{"t_s": 1.0, "event": "cell-started", "text": "", "cell": 1, "round": 2}]
    cells = summarised(matrix, events, runs)["cells"]
    assert [cell["status"] for cell in cells] == ["incomplete"] * 3
    assert [cell["reason"] for cell in cells] == [
        "round 2: a worker was lost",
        "round 2: it was cut off, and 1 more round",
        "round 2: it never began, and 1 more round",
    ]
    assert [cell["rounds"] for cell in cells] == [[1, 2, 3], [1], [1]]
    assert cells[0]["figures"]["established"]["runs"] == 2, "only complete runs count"


def test_a_refused_first_round_skips_a_cell_and_a_refused_later_one_does_not() -> None:
    events = [
        {"t_s": 1.0, "event": "cell-skipped", "text": "no lab", "cell": 0, "round": 1},
        {"t_s": 2.0, "event": "cell-incomplete", "text": "no lab any more", "cell": 1, "round": 2},
        ENDED,
    ]
    matrix = {**MATRIX, "repeat": 2, "expect": []}
    cells = summarised(matrix, events, {(1, 1): run_summary()})["cells"]
    assert [(cell["status"], cell["reason"]) for cell in cells[:2]] == [
        ("skipped", "no lab"),
        ("incomplete", "round 2: no lab any more"),
    ]


BEATS: Final = {"every_s": 1.0, "connections": 1, "sent": 1, "answered": 1, "missed": 0, "wrong": 0}


def test_what_is_expected_of_a_cell_holds_for_the_median_and_needs_every_run() -> None:
    matrix = {**MATRIX, "repeat": 3, "expect": ["cells.0.outcomes.failed <= 1", "cells.1.heartbeat.missed <= 1"]}
    runs = {(0, n): run_summary({"outcomes.failed": failed}) for n, failed in ((1, 0), (2, 1), (3, 50))}
    runs |= {(1, n): run_summary({"heartbeat": BEATS if n != 2 else None}) for n in (1, 2, 3)}
    summary = summarised(matrix, [ENDED], {**runs, (2, 1): run_summary()})
    assert [(one["passed"], one["observed"]) for one in summary["expect"]] == [(True, 1.0), (False, None)]


def test_an_interruption_counts_until_it_is_resumed() -> None:
    events = [
        {"t_s": 1.0, "event": "interrupted", "text": "interrupted"},
        {"t_s": 2.0, "event": "resumed", "text": "resumed"},
    ]
    runs = first({n: run_summary() for n in range(3)})
    assert not matrices.has_ended([files.convert(event, Event) for event in (ENDED, *events)])
    assert summarised(MATRIX, [*events, ENDED], runs)["complete"]
    because = summarised(MATRIX, events, runs)["incomplete_because"]
    assert because == "the matrix ended before its last cell did"
    assert "interrupted" in summarised(MATRIX, events[:1], runs)["incomplete_because"]


def test_a_skipped_cell_that_ran_when_it_was_tried_again_is_done() -> None:
    skipped, started = (
        {"t_s": 1.0, "event": f"cell-{word}", "text": "x", "cell": 0} for word in ("skipped", "started")
    )
    runs = first({n: run_summary() for n in range(3)})
    assert summarised(MATRIX, [skipped, started, ENDED], runs)["cells"][0]["status"] == "done"


def test_rounds_of_one_cell_tell_how_far_they_lie_apart() -> None:
    matrix = {**MATRIX, "repeat": 3, "cells": [{"settings": {}}], "expect": []}
    runs = {(0, n): run_summary({"rate_per_s.established_mean": 100.0 * n}) for n in (1, 2, 3)}
    text = summarised(matrix, [ENDED], runs)["verdict"]["text"]
    assert text == "3 runs of the same: 200/s in the median, 100/s to 300/s."


@given(st.lists(st.text(min_size=1)), st.text("ab #:\u00e9").map(lambda text: f"name: {text!r}\n# {text}\n"))
def test_the_scenario_is_found_again_below_its_overrides(overrides: list[str], text: str) -> None:
    kept = with_overrides(overrides, text)
    assert kept.removeprefix(with_overrides(overrides, "")) == text
    assert all(line.startswith("#") for line in with_overrides(overrides, "").splitlines())


def test_only_one_may_write_and_what_was_cut_off_is_set_aside(tmp_path: Path) -> None:
    writer = run_directory.MatrixWriter(tmp_path, "m")
    writer.write_matrix(files.convert({**MATRIX, "repeat": 2}, MatrixPlan))
    with pytest.raises(UsageError, match="another loadgen is at work there"):
        run_directory.MatrixWriter(tmp_path, "m", at=writer.path)
    writer.append_event(files.convert(ENDED, Event))
    writer.close()
    with (writer.path / "events.jsonl").open("a") as events:
        events.write('{"t_s": 2.0, "ev')
    again = run_directory.MatrixWriter(tmp_path, "m", at=writer.path)
    again.append_event(files.convert(ENDED, Event))
    assert run_directory.read_matrix(writer.path).events == (files.convert(ENDED, Event),) * 2
    assert again.set_aside(0, 2) is None
    for number in (1, 2):
        again.run(0, 2).mkdir(parents=True)
        aside = again.set_aside(0, 2)
        assert aside == writer.path / "cells" / f"0-2.cut-{number}"
        assert aside.is_dir()
    again.close()
