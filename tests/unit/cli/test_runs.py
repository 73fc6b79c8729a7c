"""The command around the list of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadgen.cli.runs import runs
from loadgen.errors import UsageError
from tests import samples


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs and a spoilt one, a day each."""
    for day, name in enumerate(("small", "large", "small", "spoilt"), start=1):
        path = tmp_path / "results" / f"2026010{day}T120000Z-{name}-00aa"
        samples.write(path, {"summary.json": "{" if name == "spoilt" else {"scenario": name, "started_at": None}})
    return tmp_path / "results"


def invoke(*args: str) -> Any:
    return CliRunner().invoke(runs, args)


def test_as_text(results: Path) -> None:
    done = invoke(str(results))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "BROKEN" in done.stdout
    assert done.stdout.count("150 established, 250/s, no limit") == 3


def test_as_json(results: Path) -> None:
    done = invoke(str(results), "--json", "--scenario", "small", "--limit", "1")
    found = json.loads(done.stdout)
    assert found["schema"] == "loadgen.runs/1"
    assert [(one["scenario"], one["started_at"][:10]) for one in found["runs"]] == [("small", "2026-01-03")]


def test_by_default_it_is_results(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    assert len(json.loads(invoke("--json").stdout)["runs"]) == 4
    monkeypatch.chdir(results)
    done = invoke()
    assert isinstance(done.exception, UsageError)
    assert "there is no directory results" in str(done.exception)


def test_none_of_that_name(results: Path) -> None:
    assert invoke(str(results), "--scenario", "other").stdout == f"no runs of scenario other in {results}\n"
