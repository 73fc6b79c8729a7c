"""A matrix: what it came to, and its table, page and CSV."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.control.matrix import _as_resolved, with_overrides
from loadgen.errors import UsageError
from loadgen.results import matrix as matrices
from loadgen.results import run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.files import Json
from loadgen.results.schema.matrix import MatrixSummary
from loadgen.results.schema.matrix_plan import MatrixPlan, ResolvedName
from loadgen.results.schema.run import RunSummary
from loadgen.views.html import matrix as report
from loadgen.views.text import matrix as matrix_text
from loadgen.views.text.matrix_table import table
from tests import samples

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


# --- Folding ----------------------------------------------------------------------------------------


#: A run in which all went well.
FINE: Final = {
    "arrivals.scheduled": 10,
    "outcomes.established": 10,
    "rate_per_s.established_mean": 1000.0,
    "latency_us.connect.p50": 20.0,
    "latency_us.connect.p99": 90.0,
    "cost_us": [10.0] * 10,
    "cost_last_to_first": 1.0,
    "verdict.text": "All fine.",
    "expect": [],
}


def run_summary(changes: Mapping[str, Any] = {}) -> RunSummary:  # never written to
    return samples.summary({**FINE, **changes})


def summarised(matrix: Json, events: Iterable[Json], runs: Mapping[matrices.Place, RunSummary], run: str = "r") -> Any:
    """The summary of a matrix as summary.json has it."""
    happenings = [files.convert(event, Event) for event in events]
    return files.plain(matrices.summarise(files.convert(matrix, MatrixPlan), happenings, runs, run=run))


MATRIX: dict[str, Any] = {
    "scenario": "m",
    "started_at": "2026-01-31T12:00:00+00:00",
    "cells": [{"settings": {"sources.strategy": name}} for name in ("kernel", "late-range", "explicit")],
    "expect": ["cells.0.cost_last_to_first >= 5", "cells.2.outcomes.failed == 0"],
}
ENDED = {"t_s": 3.5, "event": "ended", "text": "the matrix came to its end"}


def first(runs: Mapping[int, RunSummary]) -> dict[matrices.Place, RunSummary]:
    """The same as the runs of the first round."""
    return {(index, 1): run for index, run in runs.items()}


def fold(runs: Mapping[int, RunSummary], *events: Json) -> Any:
    return summarised(MATRIX, events, first(runs))


def three(changes: Mapping[str, Any] = {}) -> Any:
    kernel = run_summary({"cost_us": [10.0] * 5 + [300.0] * 5, "cost_last_to_first": 30.0})
    return fold({0: kernel, 1: run_summary(), 2: run_summary(changes)}, ENDED)


def test_a_complete_matrix() -> None:
    summary = three()
    assert (summary["complete"], summary["incomplete_because"], summary["duration_s"]) == (True, None, 3.5)
    assert [cell["status"] for cell in summary["cells"]] == ["done"] * 3
    assert [(one["passed"], one["observed"]) for one in summary["expect"]] == [(True, 30.0), (True, 0.0)]
    assert summary["verdict"] == {
        "limit": "none",
        "text": "What differs most between 3 cells is the cost of a connection in the last tenth: "
        "10 us with strategy late-range, 300 us with strategy kernel.",
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
    assert len(matrices.all_expectations(files.convert(three({"expect": [own]}), MatrixSummary))) == 3


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
    assert three({"verdict.limit": "four-tuples"})["verdict"]["limit"] == "mixed"


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


# --- For people -------------------------------------------------------------------------------------


def plain(summary: dict[str, Any], width: int = 80) -> list[str]:
    found = [line for _, line in matrix_text.lines(summary, "results/x/report.html", width)]
    assert all(len(line) <= width for line in found), found
    return found


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_table_has_a_row_per_cell_and_the_cost_by_tenth(width: int) -> None:
    found = plain(three(), max(width, 80))
    rows = [line.split() for line in found]
    assert ["0", "kernel", "10", "0", "1,000/s", "20.0", "us", "90.0", "us"] in rows
    assert ["cell", "strategy", *(word for n in range(1, 11) for word in (f"{n}0", "%"))] in rows
    assert ["0", "kernel", *["10.0"] * 5, *["300"] * 5] in rows
    assert "report       results/x/report.html" in found


def test_cost_is_not_told_where_the_strategies_are_the_same() -> None:
    matrix = {**MATRIX, "cells": [{"settings": {"hold": hold}} for hold in ("1s", "2s", "3s")]}
    summary = summarised(matrix, [ENDED], first({n: run_summary() for n in range(3)}))
    assert not any("10 %" in line for line in plain(summary))


def test_a_skipped_cell_says_why_in_the_table() -> None:
    skipped = {"t_s": 1.0, "event": "cell-skipped", "text": "no lab here " * 9 + "\x1b[2J", "cell": 1}
    found = plain(fold({0: run_summary({"complete": False, "incomplete_because": "a worker was lost"})}, skipped))
    assert any("late-range  skipped: no lab here" in line for line in found)
    assert any("10*" in line for line in found)
    assert any("incomplete: it never began" in line for line in found)
    assert "\x1b" not in "".join(found)


def test_long_settings_go_on_in_the_next_line() -> None:
    cells = [{"settings": {"a.rate": f"{n}/s", "b.rate": "9/s", "name": "x" * 90}} for n in range(3)]
    summary = summarised({**MATRIX, "cells": cells}, [ENDED], first({0: run_summary()}))
    assert "x" * 90 in "".join(line[6:].split("  ")[0] for line in plain(summary)).replace(" ", "")


def test_the_csv_has_a_row_per_cell_and_no_formulas() -> None:
    cells = [{"settings": {"name": name, "connections": -5}} for name in ("=1+1", 'a,b\n"c', "-5")]
    summary = summarised({**MATRIX, "cells": cells}, [ENDED], first({0: run_summary()}))
    rows = list(csv.reader(io.StringIO(table(summary))))
    assert rows[0][:5] == ["cell", "name", "connections", "status", "reason"]
    assert [row[1] for row in rows[1:]] == ["'=1+1", 'a,b "c', "-5"]
    assert rows[1][2] == "-5"
    assert rows[1][3:8] == ["done", "", "yes", "10", "0"]
    assert rows[2][3:8] == ["incomplete", "it never began", "", "", ""]
    assert {len(row) for row in rows} == {len(rows[0])}


def test_the_page_escapes_everything_and_has_no_script() -> None:
    evil = "<script>alert(1)</script>\u202e"
    matrix = {
        **MATRIX,
        "scenario": evil,
        "cells": [{"settings": {"sources.strategy": name}} for name in (evil, "b", "c")],
    }
    runs = {n: run_summary({"verdict.limit": evil, "verdict.text": evil}) for n in range(2)}
    events = [ENDED, {"t_s": 1.0, "event": "cell-skipped", "text": evil, "cell": 2}]
    page = report.page(summarised(matrix, events, first(runs), run=evil), evil)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
    assert "script-src" not in page
    assert not re.search(r"\sstyle=", page)
    assert re.findall(r'href="(cells/[^"]*)"', page) == ["cells/0/report.html", "cells/1/report.html"] * 2
    assert page.count("<polyline") == 2
    page.encode()


# --- Rounds, and what they say together -------------------------------------------------------------

REUSE = "lab.sysctls.net.ipv4.tcp_tw_reuse"
CHURNING: dict[str, Any] = {
    **MATRIX,
    "repeat": 3,
    "cells": [{"settings": {REUSE: value, "close": close}} for value in (0, 1) for close in ("fin", "rst")],
    "expect": [],
}


def churned(rate: float, per_s: float | None = 100.0, changes: Mapping[str, Any] = {}) -> RunSummary:
    ceiling = {"per_s": per_s, "established": None if per_s is None else 500, "because": "100 ports / 1 s: <reuse>"}
    churn = {"churn.sustained_per_s": rate, "churn.ceiling": ceiling, "churn.as_predicted": True, "churn.recycled": 400}
    kernel = {"kernel.delta": {"TcpExt.TWRecycled": 400}, "kernel.peak": {"sockstat.tcp_tw": 100}}
    figures = {**FINE, "rate_per_s.established_mean": 88.9, "churn.time_wait_peak": 100}
    return samples.summary({**figures, **churn, **kernel, **changes}, "churn")


def churning(**changes: Any) -> Any:
    """Four cells, three rounds: tcp_tw_reuse matters with close fin, and cell 3 is not as predicted."""
    runs = {(0, n): churned(0.0 + n / 10, 5 / 3) for n in (1, 2, 3)}
    runs |= {(1, n): churned(5000.0 + n, None) for n in (1, 2, 3)}
    runs |= {(2, n): churned(98.0 + n) for n in (1, 2, 3)}
    runs |= {(3, n): churned(5001.0 + n, None, {"churn.as_predicted": False}) for n in (1, 2, 3)}
    return summarised(CHURNING | changes, [ENDED], runs)


def test_a_cell_says_the_median_of_its_rounds_and_what_was_foretold() -> None:
    summary = churning()
    assert (summary["complete"], summary["repeat"]) == (True, 3)
    cell = summary["cells"][2]
    assert cell["figures"]["rate_per_s"] == {"median": 100.0, "low": 99.0, "high": 101.0, "runs": 3}
    assert cell["predicted"] == {"per_s": 100.0, "established": 500, "because": "100 ports / 1 s: <reuse>"}
    assert [one["as_predicted"] for one in summary["cells"]] == [True, True, True, False]
    assert [one["key"] for one in summary["cells"][3]["changes"]] == [REUSE, "close"]
    assert summary["cells"][3]["changes"][0]["noise"]
    assert summary["verdict"]["text"] == (
        "tcp_tw_reuse=1 instead of 0 lifts the sustained rate from 0.2/s to 100/s (predicted 1.7/s and 100/s),"
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


@given(st.lists(st.text(min_size=1)), st.text())
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


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_table_of_a_matrix_that_churned(width: int) -> None:
    found = plain(churning(), width)
    text = " ".join(" ".join(found).split())
    assert "unlimited" in text
    assert "10 of 500" in text
    assert ("100 (99-101)" in text) is (width > 60)
    assert "! not as predicted" in text
    assert sum(line.endswith("!") for line in found) == 1
    assert "effect tcp_tw_reuse=1 instead of 0 lifts the sustained rate from 0.2/s to 100/s" in text
    assert "noise in 1 of 2 combinations" in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_of_rounds_keeps_to_its_width(width: int) -> None:
    matrix = {**MATRIX, "repeat": 2, "expect": []}
    runs = {
        (cell, n): run_summary({"rate_per_s.established_mean": 12345.0 + 1000 * n}) for cell in range(3) for n in (1, 2)
    }
    text = "\n".join(plain(summarised(matrix, [ENDED], runs), width))
    assert "13,845/s" in text
    assert ("(13,345-14,345)" in text) is (width > 60)


def test_the_csv_has_a_row_per_run() -> None:
    rows = list(csv.DictReader(io.StringIO(table(churning()))))
    assert [(row["cell"], row["round"]) for row in rows] == [
        (str(cell), str(n)) for cell in range(4) for n in (1, 2, 3)
    ]
    first_of_2, unlimited = rows[6], rows[11]
    assert {key: first_of_2[key] for key in ("sustained_per_s", "rate_per_s", "ceiling_per_s")} == {
        "sustained_per_s": "99.0",
        "rate_per_s": "88.9",
        "ceiling_per_s": "100.0",
    }
    keys = ("predicted_established", "as_predicted", "recycled", "time_wait_peak")
    assert [first_of_2[key] for key in keys] == ["500", "yes", "400", "100"]
    assert [unlimited[key] for key in (*keys, "ceiling_per_s")] == ["", "no", "400", "100", ""]


def test_the_page_of_a_matrix_that_churned() -> None:
    page = report.page(churning(), "x")
    assert re.findall(r'data-label="as predicted"[^>]*><span>(\w+)<', page) == ["yes", "yes", "yes", "NO"]
    assert "<span>100 <small>99-101</small></span>" in page
    assert 'href="cells/2-3/report.html"' in page
    assert "What each setting changed" in page
    assert "&lt;reuse&gt;" in page
    assert "<reuse>" not in page
    assert page.count('class="run"') == 2 * 12, "of the rate and of what was established"
    assert page.count('class="predicted"') == 2 * 2, "where nothing limits it there is no mark"
    assert not re.search(r"\sstyle=|<script", page)


def test_the_page_has_a_column_of_states_only_where_they_differ() -> None:
    """And no name or short value is broken where a reader would not break it."""
    page, cut_off = report.page(churning(), "x"), report.page(churning(repeat=4), "x")
    assert 'data-label="status"' not in page
    assert cut_off.count('data-label="status"') == 4
    assert '<th scope="col">tcp_<wbr>tw_<wbr>reuse</th>' in page
    assert '<td data-label="close" class="value short">fin</td>' in page


def test_every_round_has_a_link_and_a_single_one_no_column_of_them() -> None:
    places = [f"cells/{cell}{round_}/report.html" for cell in range(4) for round_ in ("", "-2", "-3")]
    found = re.findall(r'href="(cells/[^"]*)"', report.page(churning(), "x"))
    assert {place: found.count(place) for place in places} == {place: 2 if "-" in place else 3 for place in places}, (
        "beside the cell, in the column of reports, and at what each round came to"
    )
    assert set(found) == set(places)
    assert "reports" not in re.findall(r'data-label="([^"]*)"', report.page(three(), "x"))


def charts_of(page: str) -> list[str]:
    return re.findall(r'<figure class="measure"><figcaption>([^<]*)<', page)


def test_figures_that_differ_have_a_chart_and_the_others_are_told_in_a_sentence() -> None:
    page = report.page(three({"outcomes.established": 9, "outcomes.failed": 1}), "x")
    assert charts_of(page) == ["established", "failed", "CPU per connection"]
    (same,) = re.findall(r"The same in every run: ([^<]*)\.<", page)
    assert same.split(", ") == [
        *("rate 1,000/s", "lost while held 0", "connect p50 20.0 µs", "connect p99 90.0 µs"),
        *("TIME-WAIT recycled 0", "TIME-WAIT at once 140"),
    ]
    assert charts_of(report.page(churning(), "x")) == ["sustained rate", "established"], "predictions have to be seen"


def test_a_row_of_a_chart_is_named_by_its_number_and_its_values() -> None:
    page = report.page(churning(), "x")
    rows = re.findall(r'<text y="[^"]*">(\d+) <tspan[^>]*>([^<]*)<', page)
    assert rows == [("0", "0, fin"), ("1", "0, rst"), ("2", "1, fin"), ("3", "1, rst")] * 2
    assert "the number of the cell, then its tcp_tw_reuse, close." in page
    assert (
        "<title>cell 2 tcp_tw_reuse 1, close fin: median 100/s of 99/s, 100/s, 101/s; predicted 100/s</title>" in page
    )


def test_only_complete_runs_are_drawn() -> None:
    cut = churned(9.0, changes={"complete": False, "incomplete_because": "cut"})
    page = report.page(summarised(CHURNING, [ENDED], {(0, 1): churned(5.0), (0, 2): cut}), "x")
    assert "median 5/s of 5/s; predicted 100/s" in page
    assert "no complete run" in page
