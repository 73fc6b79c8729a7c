"""The command around a comparison: options, output, the page and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadgen.cli.compare import compare
from loadgen.errors import UsageError
from loadgen.results.schema import files
from tests import samples


def run(path: Path, rate: float) -> str:
    lines = b"".join(map(files.line_of, samples.series())).decode()
    summary = {"rate_per_s.established_mean": rate}
    return str(samples.write(path, {"plan.json": {}, "summary.json": summary, "series.jsonl": lines}))


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """The second is slower by far."""
    return run(tmp_path / "a", 1000.0), run(tmp_path / "b", 100.0)


def invoke(*args: str) -> Any:
    return CliRunner().invoke(compare, args)


def test_words_and_numbers(sides: tuple[str, str]) -> None:
    done = invoke(*sides)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("B is worse than A")
    done = invoke(*sides, "--json")
    assert json.loads(done.stdout)["verdict"].startswith("B is worse than A")


def test_a_page(sides: tuple[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = invoke(*sides, "--html", str(page))
    assert done.exit_code == 0
    assert 'id="chart-open"' in page.read_text()
    done = invoke(*sides, "--html", str(tmp_path / "nowhere" / "page.html"))
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (["rate_per_s < -5%"], ["--fail-if rate_per_s < -5%: B has rate 100/s instead of 1,000/s (-90 %)"]),
        (["failed > 0"], []),
        (["failed > 0", "worse", "worse: rate_per_s"], ["--fail-if worse: B", "--fail-if worse: rate_per_s: B"]),
    ],
)
def test_what_it_is_failed_for(sides: tuple[str, str], conditions: list[str], said: list[str]) -> None:
    options = [word for condition in conditions for word in ("--fail-if", condition)]
    done = invoke(*sides, *options)
    assert done.exit_code == (99 if said else 0)
    assert done.stdout.startswith("B is worse than A"), "the comparison is there all the same"
    found = done.stderr.splitlines()
    assert len(found) == len(said)
    assert all(line.startswith(f"loadgen: {start}") for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize("condition", ["better", "speed > 3", "rate_per_s < fast"])
def test_a_condition_that_is_none(sides: tuple[str, str], condition: str) -> None:
    done = invoke(*sides, "--fail-if", condition)
    assert done.exit_code == 2
    assert "Invalid value for '--fail-if'" in done.stderr


def test_what_is_refused(sides: tuple[str, str], tmp_path: Path) -> None:
    churn = str(samples.write(tmp_path / "c", {"plan.json": {}, "summary.json": {}}, "churn"))
    done = invoke(sides[0], churn)
    assert isinstance(done.exception, UsageError)
    assert "--anyway" in str(done.exception)
    done = invoke(sides[0], churn, "--anyway")
    assert (done.exit_code, done.stdout.split(":")[0]) == (0, "With 3 caveats")


def test_runs_are_completed_as_directories() -> None:
    (argument,) = [one for one in compare.params if one.name == "sides"]
    context = compare.make_context("compare", ["a", "b"])
    assert [one.type for one in argument.shell_complete(context, "res")] == ["dir"]
