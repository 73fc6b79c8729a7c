"""What a CI system gets beside the exit code."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from loadgen.cli import ci
from loadgen.errors import ExitCode
from tests import samples

SUMMARY = samples.summary({"scenario": "wall", "verdict.text": "No limit."})
RUN = Path("results/r")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def test_nothing_is_written_that_nobody_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ci.publish(SUMMARY, RUN, None) is None
    assert not list(tmp_path.iterdir())


def test_a_junit_report(tmp_path: Path) -> None:
    assert ci.publish(SUMMARY, RUN, tmp_path / "j.xml") is None
    assert ET.parse(tmp_path / "j.xml").getroot().tag == "testsuites"


def test_a_junit_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    error = ci.publish(SUMMARY, RUN, tmp_path / "gone" / "j.xml")
    assert error
    assert error.exit_code == ExitCode.HOST


def test_a_step_summary_is_added_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other steps write to the same file."""
    path = tmp_path / "step.md"
    path.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    for _ in range(2):
        assert ci.publish(SUMMARY, RUN, None) is None
    text = path.read_text()
    assert text.startswith("# before\n### loadgen: wall\n")
    assert text.count("### loadgen: wall\n\n**No limit.**\n") == 2


@pytest.mark.parametrize("name", ["missing/step.md", "", "a\0b"])
def test_a_step_summary_that_cannot_be_written_changes_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"GITHUB_STEP_SUMMARY": name})  # a real one can hold no NUL
    assert ci.publish(SUMMARY, RUN, tmp_path / "j.xml") is None
    out, err = capsys.readouterr()
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["j.xml"]
    assert len(err.splitlines()) == (1 if name else 0)
    assert not name or err.startswith("loadgen: cannot add to GITHUB_STEP_SUMMARY")
