"""`loadgen man`: one page on stdout, or all of them in a directory."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from loadgen.cli import main


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main.cli, ["man", *args])


def test_one_page_is_printed_and_all_are_written(tmp_path: Path) -> None:
    assert invoke().stdout.startswith('.TH "LOADGEN" 1 ')
    assert invoke("run").stdout.startswith('.TH "LOADGEN\\-RUN" 1 ')
    there = tmp_path / "share" / "man1"
    done = invoke("--out", str(there))
    assert (done.exit_code, done.output) == (0, "")
    assert {path.name for path in there.iterdir()} == {
        "loadgen.1",
        *(f"loadgen-{name}.1" for name in main.cli.commands),
    }
    assert (there / "loadgen-run.1").read_text() == invoke("run").stdout


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    assert "there is no command 'walk'" in str(invoke("walk").exception)
    assert invoke("run", "--out", str(tmp_path)).exit_code == 2
    (tmp_path / "file").touch()
    assert "cannot make" in str(invoke("--out", str(tmp_path / "file" / "man")).exception)
