"""Files that are asked for by name: refused before a run when they cannot be, whole or not there after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadgen.cli import files
from loadgen.errors import ResultsError, UsageError


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        files.ready(path, "--junit")
    message = str(caught.value)
    assert message.startswith(f"--junit {path}")
    return message


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is a directory" in refusal(tmp_path)
    assert f"there is no directory {tmp_path}/missing" in refusal(tmp_path / "missing" / "j.xml")
    (tmp_path / "file").touch()
    assert "there is no directory" in refusal(tmp_path / "file" / "j.xml")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert "no file can be written in" in refusal(tmp_path / "j.xml")
    os.mkfifo(tmp_path / "pipe")
    assert "cannot be written" in refusal(tmp_path / "pipe")


def test_a_file_of_an_earlier_run_is_taken_away(tmp_path: Path) -> None:
    """Whoever looks for it while this run is under way, or after it was refused, must not take it for this one's."""
    path = tmp_path / "j.xml"
    path.write_text("old")
    files.ready(path, "--junit")
    assert not path.exists()
    files.ready(path, "--junit")


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    """/dev/stdout is one: to replace it would be to replace it for everybody."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    files.ready(link, "--junit")
    files.write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    files.write(tmp_path / "j.xml", "µs")
    assert (tmp_path / "j.xml").read_bytes() == "µs".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["j.xml"]


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    """/dev/full says ENOSPC to every write: full(4)."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(ResultsError, match=r"cannot write .*full: No space left on device"):
        files.write(tmp_path / "full", "text")


def test_what_goes_wrong_leaves_neither_half_a_file_nor_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j.xml"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ResultsError, match="Operation not permitted"):
        files.write(path, "new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("j.xml", "old")]


def test_a_failure_within_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("old")

    def fail() -> None:
        with files.replacing(path) as file:
            file.write(b"half")
            raise UsageError("garbage")

    with pytest.raises(UsageError, match="garbage"):
        fail()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("run.csv", "old")]
