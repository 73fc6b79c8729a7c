"""`loadgen compare` and `loadgen runs`: real runs beside each other, the page, what is refused, and the list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import Done, Loadgen, assert_one_message


@dataclass(frozen=True, slots=True)
class Runs:
    """Results that nobody changes, and the command line beside them."""

    loadgen: Loadgen
    #: 200 connections, and the same again.
    base: Path
    again: Path
    #: 50 connections, expected to be more.
    fewer: Path
    churn: Path
    #: Cells of 5 and 6 connections.
    matrix: Path

    def compare(self, *args: str | Path) -> Done:
        """`loadgen compare` with these arguments."""
        return self.loadgen("compare", *args)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Every run is made once."""
    loadgen = Loadgen(tmp_path_factory.mktemp("compare"))

    def run(code: int = 0, **changes: Any) -> Path:
        done = loadgen("run", loadgen.scenario(**changes), "--quiet", "--json")
        assert done.code == code, done.err
        return done.results / str(done.summary["run"])

    yield Runs(
        loadgen,
        base=run(),
        again=run(),
        fewer=run(99, connections=50, expect=["outcomes.established == 200"]),
        churn=run(connections=None, churn={"duration": "200ms", "concurrency": 4}),
        matrix=run(matrix={"connections": [5, 6]}, name="both"),
    )
    loadgen.close()


def test_a_run_beside_itself_and_its_page(runs: Runs) -> None:
    page = runs.loadgen.home / "compare.html"
    done = runs.compare(runs.base, runs.base, "--html", page, "--fail-if", "worse")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("B and A have the same figures.")
    text = page.read_text()
    assert not re.search(r"<(?:link|img|iframe|script)[^>]+(?:src|href)=\"(?!data:)", text)
    assert not re.search(r"url\((?!data:)|@import", text)
    assert 'id="chart-percentiles-connect"' in text
    assert len(text.encode()) < 500_000
    full = runs.compare(runs.base, runs.base, "--html", "/dev/full")
    assert (full.code, full.out) == (3, done.out)
    assert "cannot write /dev/full: No space left on device" in full.err


def test_what_differs_and_what_is_worse(runs: Runs) -> None:
    conditions = ("--fail-if", "established < -70%", "--fail-if", "established > 0")
    done = runs.compare(runs.base, runs.fewer, "--json", *conditions)
    assert done.code == 99
    assert re.fullmatch(r"loadgen: --fail-if established < -70%: B has established 50 [^\n]+\n", done.err)
    (comparison,) = json.loads(done.out)["groups"][0]["comparisons"]
    differ = {one["key"]: (one["base"], one["other"]) for one in comparison["differences"] if one["part"] == "scenario"}
    assert differ == {"connections": (200, 50)}
    assert "connections: 200 in A, 50 in B" in comparison["caveats"]
    figures = {one["name"]: one for one in comparison["figures"]}
    assert figures["established"]["judgement"] == "worse"
    assert figures["failed"]["judgement"] == "same"
    assert figures["connect_p50_us"]["base"]["runs"] == 1
    assert comparison["verdict"].startswith("With ")


def test_repetitions(runs: Runs) -> None:
    done = runs.compare(f"{runs.base},{runs.again}", f"{runs.again},{runs.base}", "--json")
    assert done.code == 0, done.err
    (comparison,) = json.loads(done.out)["groups"][0]["comparisons"]
    assert (comparison["single"], comparison["overall"]) == (False, "same")
    assert comparison["differences"] == []
    done = runs.compare(runs.base, f"{runs.base},{runs.fewer}")
    assert done.code == 2
    assert "are no repetitions" in assert_one_message(done)


def test_what_cannot_be_compared(runs: Runs) -> None:
    done = runs.compare(runs.base, runs.churn)
    assert done.code == 2
    assert "(churn) in B" in assert_one_message(done)
    done = runs.compare(runs.base, runs.churn, "--anyway")
    assert done.code == 0, done.err
    assert done.out.startswith("With ")


@pytest.mark.parametrize("other", [(), (".",), ("nothing",)])
def test_what_is_no_run(runs: Runs, other: tuple[str, ...]) -> None:
    done = runs.compare(runs.base, *other)
    assert done.code == 2
    assert_one_message(done)


def test_matrices_and_their_cells(runs: Runs) -> None:
    done = runs.compare(runs.matrix, runs.matrix, "--json")
    assert done.code == 0, done.err
    assert [one["settings"] for one in json.loads(done.out)["groups"]] == [{"connections": 5}, {"connections": 6}]
    done = runs.compare(runs.matrix, runs.base)
    assert done.code == 2
    remedy = assert_one_message(done).split()[-1]
    assert remedy == f"{runs.matrix}/cells/0"
    done = runs.compare(remedy, runs.base)
    assert done.code == 0, done.err
    assert "scenario connections: 5 -> 200" in done.out


def test_the_list_of_runs(runs: Runs) -> None:
    broken = runs.base.with_name("20200101T000000Z-small-00aa")
    broken.mkdir()
    (broken / "summary.json").write_text("{")
    done = runs.loadgen("runs", "--json")
    assert (done.code, done.err) == (0, "")
    found = {Path(one["path"]).name: one for one in json.loads(done.out)["runs"]}
    kinds = {path.name: "run" for path in (runs.base, runs.again, runs.fewer, runs.churn)}
    assert {name: one["kind"] for name, one in found.items()} == {
        **kinds,
        runs.matrix.name: "matrix",
        broken.name: "broken",
    }
    assert list(found)[-1] == broken.name
    assert (found[runs.base.name]["established"], found[runs.base.name]["expect_passed"]) == (200, None)
    assert found[runs.fewer.name]["expect_passed"] is False
    assert f"{broken.name}/summary.json: " in found[broken.name]["problem"]
    done = runs.loadgen("runs", "--scenario", "both")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].endswith(f"{runs.matrix.name}  matrix")
    assert runs.base.name not in done.out
