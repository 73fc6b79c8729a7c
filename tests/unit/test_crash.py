"""What nobody foresaw: a file with the details, and a line that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen import crash


def of(error: BaseException) -> BaseException:
    """The exception as it was raised."""
    try:
        raise error
    except BaseException as raised:
        return raised


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where details go; temporary files have a directory of their own beside it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(crash, "directory", str(tmp_path / "run"))
    return tmp_path


def test_details_go_into_the_run_directory(folder: Path) -> None:
    crash.keep_in(str(folder / "run"))
    path = folder / "run" / f"loadgen-crash-{os.getpid()}.txt"
    assert crash.told(of(KeyError("x"))) == f"unforeseen KeyError: 'x'; details in {path}; please report it"
    assert crash.told(of(OSError(9, "Bad file descriptor"))).startswith("unforeseen OSError: [Errno 9]")
    text = path.read_text()
    assert text.count("Traceback (most recent call last)") == 2
    assert f"pid {os.getpid()}" in text
    assert not list((folder / "tmp").iterdir())


def test_else_among_temporary_files(folder: Path) -> None:
    (folder / "run").rmdir()
    assert f"details in {folder}/tmp/loadgen-crash-" in crash.told(of(KeyError("x")))


def test_where_no_directory_can_be_written_it_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    (folder / "run").rmdir()
    monkeypatch.setattr("tempfile.gettempdir", refuse)
    refused = "its details could not be written (No usable temporary directory found)"
    assert crash.told(of(KeyError("x"))) == f"unforeseen KeyError: 'x'; {refused}; please report it"


def test_no_link_is_followed(folder: Path) -> None:
    """The directory for temporary files is everybody's."""
    other = folder / "other"
    for place in ("run", "tmp"):
        (folder / place / f"loadgen-crash-{os.getpid()}.txt").symlink_to(other)
    refused = "its details could not be written (Too many levels of symbolic links)"
    assert crash.told(of(KeyError("x"))) == f"unforeseen KeyError: 'x'; {refused}; please report it"
    assert not other.exists()


def test_whatever_the_exception_says_stays_one_short_line(folder: Path) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            return "\x1b[2J\n" + "x" * 100_000

    told = crash.told(of(UnspeakableError()))
    assert told.isprintable()
    assert len(told) < 500 + len(str(folder))


_PRINTED = """
import asyncio, sys, threading
from loadgen import crash
crash.keep_in(sys.argv[1])
crash.watch_over("worker")
def fail(*_): raise ZeroDivisionError("{0}")
class Finalised:
    def __del__(self): raise ValueError("finalizer")
async def main():
    for _ in range(9): asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
asyncio.run(main())
thread = threading.Thread(target=lambda: [][1])
thread.start(); thread.join()
del (made := [Finalised()])[0]
"""


_UNCLOSED = """
import asyncio, errno, sys
from loadgen import crash
crash.watch_over("worker")
loop = asyncio.new_event_loop()
def refused(): raise OSError(errno.EIO, "close")
loop._ssock = type("Refusing", (), {"fileno": lambda _: -1, "close": lambda _: refused()})()
try:
    loop.close()
except (OSError, ValueError):
    print("refused")
del loop
"""


def test_a_loop_that_could_not_be_closed_is_not_told_of_again_when_it_is_freed() -> None:
    done = subprocess.run([sys.executable, "-c", _UNCLOSED], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_what_python_prints_by_itself_is_told_once_for_each_kind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PRINTED, tmp_path], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert [line.split(": ")[2].split()[1] for line in lines] == ["ZeroDivisionError", "IndexError", "ValueError"]
    assert all(line.startswith("loadgen: worker (pid ") for line in lines)
    (details,) = tmp_path.iterdir()
    assert details.read_text().count("Traceback") == 3
