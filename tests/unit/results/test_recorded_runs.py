"""Run directories that loadgen 0.1.0 wrote, see tests/data/runs: they load, fold to the same summary, and render."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from loadgen import scenario
from loadgen.cli import main
from loadgen.results import run_directory
from loadgen.results.schema import files

RUNS: Final = Path(__file__).parents[2] / "data" / "runs"
#: verdict.limit of each, and whether it is complete.
RECORDED: Final = {
    "churn": ("time-wait", True),
    "hold": ("none", True),
    "http": ("lost", True),
    "interrupted": ("interrupted", False),
    "killed-orchestrator": ("incomplete", False),
    "killed-worker": ("incomplete", False),
    "matrix": ("mixed", True),
    "tls": ("none", True),
    "udp": ("source-ports", True),
    "wall": ("four-tuples", True),
}
MATRICES: Final = frozenset({"matrix"})
SINGLE: Final = sorted(RECORDED.keys() - MATRICES)


def summary_of(path: Path) -> dict[str, Any]:
    """The summary.json of a run directory as it is on the disk."""
    summary: dict[str, Any] = json.loads((path / "summary.json").read_text())
    return summary


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a recorded directory, under the name it was recorded by, which is part of its summary."""
    recorded = RUNS / request.param
    path = tmp_path / str(summary_of(recorded)["run"])
    shutil.copytree(recorded, path)
    return path


#: Text for people, by its key and the key above it: its words may change, and its kind may not.
SENTENCES: Final = {
    ("", "incomplete_because"),
    ("verdict", "text"),
    ("verdict", "evidence"),
    ("verdict", "remedies"),
    ("sink", "text"),
    ("generator", "reasons"),
}
#: Keys that loadgen 0.1.0 did not write.
ADDED: Final = {
    ("outcomes", "late"),
    ("", "steady"),
    ("kernel", "opening"),
    ("sink", "opening"),
    *(("verdict", key) for key in ("remedies_detail", "confidence", "candidates", "decide_by", "refuted", "findings")),
}
#: A list of these may get longer or shorter, too.
LISTS: Final = {("verdict", "remedies"), ("verdict", "evidence")}


def facts_of(node: Any, above: str = "") -> Any:
    """A summary with a type in place of each sentence.

    What loadgen 0.1.0 did not write is left out; of remedies see `assert_remedies_agree`.
    """
    if isinstance(node, list):
        return [facts_of(item, above) for item in node]
    if not isinstance(node, dict):
        return node
    facts = {}
    for key, value in node.items():
        place = (above, key)
        if place in SENTENCES:
            many = isinstance(value, list) and place not in LISTS
            facts[key] = [type(line) for line in value] if many else type(value)
        elif place not in ADDED:
            facts[key] = facts_of(value, "" if key == "runs" else key)
    return facts


def assert_remedies_agree(summary: dict[str, Any]) -> None:
    """Each sentence has its value beside it."""
    verdict = summary["verdict"]
    if "remedies_detail" in verdict:
        assert [remedy["text"] for remedy in verdict["remedies_detail"]] == verdict["remedies"]


def assert_same_facts(folded: dict[Path, dict[str, Any]], recorded: dict[Path, dict[str, Any]]) -> None:
    """All but the words of sentences."""
    assert {path: facts_of(summary) for path, summary in folded.items()} == {
        path: facts_of(summary) for path, summary in recorded.items()
    }
    for summary in folded.values():
        assert_remedies_agree(summary)


def without_summaries(path: Path) -> dict[Path, dict[str, Any]]:
    """Delete every summary.json below `path`; return what they were, by their directory."""
    summaries = {file.parent: summary_of(file.parent) for file in path.rglob("summary.json")}
    for directory in summaries:
        (directory / "summary.json").unlink()
    return summaries


def pieces_of(page: str) -> list[str]:
    """The text of an HTML page in the pieces that its tags make of it, without styles and scripts."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return [" ".join(html.unescape(piece).split()) for piece in re.split(r"<[^>]*>", text) if piece.strip()]


def test_every_recorded_directory_is_tested() -> None:
    assert sorted(path.name for path in RUNS.iterdir() if path.is_dir()) == sorted(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_run_is_the_kind_that_its_name_says(name: str) -> None:
    summary = summary_of(RUNS / name)
    assert summary["schema"] == "loadgen.summary/1"
    assert (summary["verdict"]["limit"], summary["complete"]) == RECORDED[name]


@pytest.mark.parametrize("name", SINGLE)
def test_a_recorded_run_loads(name: str) -> None:
    run = run_directory.read(RUNS / name)
    assert files.plain(run.summary) == summary_of(RUNS / name)
    assert run.plan.name == name
    assert run.host.loadgen == "0.1.0"
    assert len(run.series) >= 5
    assert len(run.events) == len((run.path / "events.jsonl").read_text().splitlines())
    assert scenario.parse(run.scenario_text, name).name == name


@pytest.mark.parametrize("name", sorted(MATRICES))
def test_a_recorded_matrix_loads(name: str) -> None:
    matrix = run_directory.read_matrix(RUNS / name)
    cells = scenario.parse_cells(matrix.scenario_text, name, ())[1]
    assert [cell.settings for cell in cells] == [cell.settings for cell in matrix.matrix.cells]
    assert {(cell, number) for cell in range(len(cells)) for number in (1, 2)} == matrix.runs.keys()
    assert all(len(run.series) >= 5 for run in matrix.runs.values())


@pytest.mark.parametrize("copy", SINGLE, indirect=True)
def test_a_recorded_run_folds_to_the_summary_it_had(copy: Path) -> None:
    """Out of scenario, plan, host, series and events alone, as after a kill of the orchestrator."""
    recorded = without_summaries(copy)
    assert_same_facts({copy: files.plain(run_directory.read(copy).summarised())}, recorded)


@pytest.mark.parametrize("copy", sorted(MATRICES), indirect=True)
def test_a_recorded_matrix_folds_to_the_summaries_it_had(copy: Path) -> None:
    """Its own, and that of every run of its cells."""
    recorded = without_summaries(copy)
    matrix = run_directory.read_matrix(copy)
    folded = {run.path: files.plain(run.summarised()) for run in matrix.runs.values()}
    assert_same_facts({copy: files.plain(matrix.summarised()), **folded}, recorded)


@pytest.mark.parametrize("copy", sorted(RECORDED), indirect=True)
def test_a_recorded_run_renders(copy: Path) -> None:
    """As text, and as a page in each directory, with the verdict and the number of established connections."""
    recorded = without_summaries(copy)
    done = CliRunner().invoke(main.cli, ["report", str(copy)], catch_exceptions=False)
    assert done.exit_code == 0
    written = {directory: summary_of(directory) for directory in recorded}
    assert_same_facts(written, recorded)
    assert written[copy]["verdict"]["text"] in " ".join(done.output.split())
    for directory, summary in written.items():
        pieces = pieces_of((directory / "report.html").read_text())
        assert summary["verdict"]["text"] in pieces
        if "outcomes" in summary:  # a matrix has none of its own
            assert pieces[pieces.index("Established") + 1] == f"{summary['outcomes']['established']:,}"


@pytest.mark.parametrize("copy", sorted(MATRICES), indirect=True)
def test_the_page_of_a_recorded_matrix_has_the_median_of_each_cell(copy: Path) -> None:
    """Behind its strategy and the links to the reports of its two rounds."""
    done = CliRunner().invoke(main.cli, ["report", str(copy)], catch_exceptions=False)
    assert done.exit_code == 0
    pieces = pieces_of((copy / "report.html").read_text())
    for index, cell in enumerate(summary_of(copy)["cells"]):
        strategy, established = cell["settings"]["sources.strategy"], cell["figures"]["established"]["median"]
        start = pieces.index(strategy)
        assert pieces[start : start + 4] == [strategy, "1", "2", f"{established:,.0f}"], f"cell {index}"
