"""What is read for a comparison, and what is refused before anything is compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.compare import load
from loadgen.compare.comparison import CompareResult
from loadgen.errors import UsageError
from loadgen.results.schema import files
from tests import samples


def run(path: Path, *, scenario: str = "connections: 10\n", recorded: str = "hold", **changes: Any) -> Path:
    """A run directory; changes: of its summary, by the first word of their path."""
    return samples.write(path, {"plan.json": {}, "summary.json": changes, "scenario.yaml": scenario}, recorded)


def matrix(path: Path, *values: int, rounds: int = 1, **changes: Any) -> Path:
    cells = [{"settings": {"connections": value}} for value in values]
    samples.write(path, {"matrix.json": {"cells": cells, "repeat": rounds}}, "matrix")
    for index, value in enumerate(values):
        for number in range(1, rounds + 1):
            name = str(index) if number == 1 else f"{index}-{number}"
            run(path / "cells" / name, scenario=f"connections: {value}\n", **changes)
    return path


def compared(*arguments: object, anyway: bool = False) -> CompareResult:
    return load.compared(load.read([str(one) for one in arguments]), anyway=anyway)


def test_runs_and_their_repetitions(tmp_path: Path) -> None:
    paths = [run(tmp_path / name) for name in "abcd"]
    found = compared(f"{paths[0]},{paths[1]}", paths[2], paths[3])
    (group,) = found.groups
    assert [(side.label, [one.name for one in side.runs]) for side in group.sides] == [
        ("A", [str(paths[0]), str(paths[1])]),
        ("B", [str(paths[2])]),
        ("C", [str(paths[3])]),
    ]
    assert [one.overall for one in group.comparisons] == ["same", "same"]
    assert found.verdict.count("have the same figures") == 2
    assert found.names == {"A": f"{paths[0]},{paths[1]}", "B": str(paths[2]), "C": str(paths[3])}


def test_a_directory_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    paths = [run(tmp_path / "a,b"), run(tmp_path / "c")]
    assert [len(one.runs) for one in load.read([str(path) for path in paths])] == [1, 1]


def test_what_was_in_time_wait_is_read_from_the_first_line(tmp_path: Path) -> None:
    path = run(tmp_path / "a")
    lines = (samples.line({"kernel": {"now": {"sockstat.tcp_tw": count}, "delta": {}}}) for count in (7, 99))
    (path / "series.jsonl").write_bytes(b"".join(map(files.line_of, lines)))
    found = compared(path, run(tmp_path / "b"))
    assert found.groups[0].sides[0].runs[0].time_wait_before == 7
    assert "began with 7 sockets in TIME-WAIT" in found.groups[0].comparisons[0].caveats[0]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_two_to_six_sides(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="two sides at least" if count < 2 else "at most 6 sides, got 7"):
        load.read([str(run(tmp_path / str(n))) for n in range(count)])


@pytest.mark.parametrize("argument", ["a,,b", "a,", ",", "a, ,b"])
def test_a_comma_stands_between_two(argument: str) -> None:
    with pytest.raises(UsageError, match="joined with single commas"):
        load.read([argument, argument])


def test_what_is_no_run(tmp_path: Path) -> None:
    path = run(tmp_path / "a")
    with pytest.raises(UsageError, match="is no run directory"):
        load.read([str(path), str(tmp_path)])
    (path / "plan.json").write_text('{"connections": 10}')
    with pytest.raises(UsageError, match=r"a/plan\.json: not a plan of this version"):
        load.read([str(path), str(path)])


def test_what_cannot_be_compared_is_refused_or_marked(tmp_path: Path) -> None:
    hold, churn = run(tmp_path / "a"), run(tmp_path / "b", recorded="churn")
    with pytest.raises(UsageError, match=r"^A and B cannot be compared: connections: held open in A, .* in B\. --any"):
        compared(hold, churn)
    (one,) = compared(hold, churn, anyway=True).groups[0].comparisons
    assert one.caveats[0] == "connections: held open in A, opened and closed all the time (churn) in B"
    assert one.verdict.startswith(f"With {len(one.caveats)} caveats: B is ")


def test_a_run_beside_a_matrix_names_the_cell(tmp_path: Path) -> None:
    whole = matrix(tmp_path / "m", 1, 2, rounds=2)
    with pytest.raises(UsageError, match="is a matrix and cannot stand beside a run") as caught:
        compared(whole, run(tmp_path / "a"), anyway=True)
    remedy = str(caught.value).rpartition(" ")[2]
    assert remedy == f"{whole}/cells/0,{whole}/cells/0-2"
    assert len(load.read([remedy, str(tmp_path / "a")])[0].runs) == 2
    with pytest.raises(UsageError, match="a matrix stands alone on its side"):
        load.read([f"{whole},{tmp_path / 'a'}", str(whole)])


def test_a_matrix_without_any_run_names_the_cell_all_the_same(tmp_path: Path) -> None:
    whole = matrix(tmp_path / "m")
    with pytest.raises(UsageError, match=r"name one of its cells: .*/m/cells/0$"):
        compared(whole, run(tmp_path / "a"))


def test_cells_with_the_same_settings(tmp_path: Path) -> None:
    rate = {"established_mean": 1.0, "established_peak": 1.0}
    found = compared(matrix(tmp_path / "a", 1, 2, 3, rounds=2), matrix(tmp_path / "b", 3, 2, 4, rate_per_s=rate))
    assert [group.settings for group in found.groups] == [{"connections": 2}, {"connections": 3}]
    assert [[len(side.runs) for side in group.sides] for group in found.groups] == [[2, 1], [2, 1]]
    assert [group.sides[1].runs[0].name[-1] for group in found.groups] == ["1", "0"]
    assert found.left_out == ("connections 1: run in A only", "connections 4: run in B only")
    assert found.verdict == "Of 2 comparisons of cells: 2 worse."


def test_a_cell_that_cannot_be_compared_is_left_out(tmp_path: Path) -> None:
    base, other = matrix(tmp_path / "a", 1, 2), matrix(tmp_path / "b", 1, 2)
    samples.write(other / "cells" / "0", {"summary.json": {"arrivals.started": 0}})
    found = compared(base, other)
    assert [group.settings for group in found.groups] == [{"connections": 2}]
    assert "connections 1: A and B cannot be compared:" in found.left_out[0]
    assert len(compared(base, other, anyway=True).groups) == 2


def test_matrices_without_a_cell_in_common(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cell can be compared: connections 1: run in A only; connections 2"):
        compared(matrix(tmp_path / "a", 1), matrix(tmp_path / "b", 2))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"errors": [{"count": 1}]}, "errors[0]"),
        ({"errors": 5}, "errors"),
        ({"arrivals": [1]}, "arrivals"),
        ({"generator": "fine"}, "generator"),
    ],
)
def test_a_summary_that_somebody_edited_is_one_message(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    base, other = run(tmp_path / "a"), run(tmp_path / "b", **changes)
    message = (
        rf"b/summary\.json: not a summary of this version .*`\$\.{re.escape(place)}`\); delete it, and loadgen report"
    )
    with pytest.raises(UsageError, match=message):
        compared(base, other)


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
keys = [
    "arrivals",
    "outcomes",
    "errors",
    "generator",
    "churn",
    "traffic",
    "sources",
    "cost_us",
    "duration_s",
    "unknown",
]
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(keys), json_values, max_size=2), st.booleans())
def test_no_summary_ends_in_a_traceback(tmp_path: Path, changes: dict[str, Any], anyway: bool) -> None:
    number = len(list(tmp_path.iterdir()))
    base, other = run(tmp_path / f"a{number}"), run(tmp_path / f"b{number}", **changes)
    try:
        found = compared(base, other, anyway=anyway)
    except UsageError:
        return  # said in a message; anything else is a traceback
    assert json.loads(json.dumps(found.to_json()))["sides"][1]["name"] == str(other)
