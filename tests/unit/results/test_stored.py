"""Files of a run directory that loadgen did not write: refused by name, without waiting and without reading on."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from loadgen.errors import ResultsError, UsageError
from loadgen.results import directory_files, listing, run_directory, stored
from loadgen.results.listing import RunKind
from tests import samples


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(here)


#: What stands in place of a file, how it is made, and the words for it.
FOREIGN: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "fifo": (os.mkfifo, "is a FIFO"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "empty device": (lambda path: path.symlink_to("/dev/null"), "is a device"),
    "directory": (os.mkdir, "is a directory"),
    "socket": (_socket, "is a socket"),
    "loop": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
}
#: The files of a run that are read.
READ: Final = ("scenario.yaml", "plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json")


def recorded(path: Path) -> Path:
    """A run directory with every file."""
    return Path(shutil.copytree(samples.RUNS / "hold", path))


def replaced(path: Path, name: str, kind: str) -> str:
    """Put something else in place of a file of a run; return the words for it."""
    make, words = FOREIGN[kind]
    (path / name).unlink(missing_ok=True)
    make(path / name)
    return words


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", READ)
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    path = recorded(tmp_path / "run")
    words = replaced(path, name, kind)
    with pytest.raises(UsageError, match=words) as caught:
        run_directory.read(path)
    assert str(caught.value).startswith(str(path / name))
    listed = listing.listed(path)
    assert name != "summary.json" or (listed.problem and words in listed.problem)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_list_of_runs_waits_for_none_of_them(tmp_path: Path, kind: str) -> None:
    """The dashboard lists them while a run goes on."""
    for name in ("summary.json", "plan.json", "matrix.json", "events.jsonl"):
        path = recorded(tmp_path / name)
        (path / "summary.json").unlink()
        replaced(path, name, kind)
    kinds = {run.name: run.kind for run in listing.list_runs(tmp_path)}
    assert kinds.pop("events.jsonl") is not RunKind.BROKEN, "only a matrix needs its events for the list"
    assert kinds == dict.fromkeys(("summary.json", "plan.json", "matrix.json"), RunKind.BROKEN)


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_matrix_is_resumed_from_what_is_no_file(tmp_path: Path, kind: str) -> None:
    from loadgen.control import matrix

    words = replaced(tmp_path, "matrix.json", kind)
    (tmp_path / "scenario.yaml").write_text("name: x\n")
    with pytest.raises(UsageError, match=words):
        run_directory.read_matrix(tmp_path)
    with pytest.raises(UsageError):
        matrix.resume(tmp_path)


def test_an_endless_line_and_an_endless_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LINE_BYTES_MAX", 1 << 20)
    path = tmp_path / "series.jsonl"
    with path.open("wb") as file:
        file.write(b"{}\n")
        file.truncate(1 << 40)  # sparse
    with pytest.raises(UsageError, match=r"series\.jsonl:2: longer than 1 MiB"):
        list(stored.lines(path))
    with pytest.raises(UsageError, match=r"larger than 1 MiB"):
        stored.read(path, 1 << 20)


@pytest.mark.parametrize("name", ["plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json"])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_is_bounded(tmp_path: Path, name: str, brackets: str) -> None:
    path = recorded(tmp_path / "run")
    opening = "[" if brackets == "[]" else '{"a":'
    (path / name).write_text('{"new": ' + opening * 200_000 + "1" + brackets[1] * 200_000 + "}\n")
    with pytest.raises(UsageError) as caught:
        run_directory.read(path)
    assert str(caught.value).startswith(str(path / name))
    assert len(str(caught.value)) < 500


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A directory from elsewhere may have links to files of the user."""
    path, mine = recorded(tmp_path / "run"), tmp_path / "mine"
    mine.write_text("mine, without a line break")
    for name in ("report.html", ".report.html.partial", ".summary.json.partial"):
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(mine)
    run = run_directory.read(path)
    run_directory.replace_derived(path, summary=run.summarised(), report="page")
    assert (path / "report.html").read_text() == "page"
    (path / "events.jsonl").unlink()
    (path / "events.jsonl").symlink_to(mine)
    with pytest.raises(ResultsError, match="Too many levels of symbolic links"):
        run_directory.append_events(path, run.events)
    assert mine.read_text() == "mine, without a line break"


def test_the_number_of_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_files, "_LINES_MAX", 100)
    path = recorded(tmp_path / "run")
    line = (path / "events.jsonl").read_bytes().splitlines(keepends=True)[0]
    (path / "events.jsonl").write_bytes(line * 101)
    with pytest.raises(UsageError, match=r"events\.jsonl has more than 100 lines"):
        run_directory.read(path)


def test_a_file_that_shrinks_while_it_is_read_ends_there(tmp_path: Path) -> None:
    path = recorded(tmp_path / "run") / "series.jsonl"
    data = path.read_bytes()
    path.write_bytes(data * 50)
    lines = stored.lines(path)
    first = next(lines)
    os.truncate(path, len(first) + 10)
    rest = list(lines)  # as far as it was in a buffer, and no error
    assert (first + b"".join(rest)) in data * 50


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert stored.read(tmp_path / "none") == b""
    assert list(stored.lines(tmp_path / "none")) == []
    assert not stored.is_there(tmp_path / "none\0")
    with pytest.raises(UsageError, match="cannot be read"):
        stored.read(tmp_path / "none\0")


def test_nothing_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    gc.collect()  # what earlier tests have left open
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(UsageError):
            stored.read(tmp_path / "fifo")
    assert len(os.listdir("/proc/self/fd")) == before


def test_memory_is_in_proportion_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"{}")
    tracemalloc.start()
    try:
        assert stored.read(tmp_path / "small") == b"{}"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("key", ["connections", "workers", "sinks", "in_flight_max", "capacity_per_pair"])
def test_a_plan_that_counts_beyond_any_kernel_is_refused(tmp_path: Path, key: str) -> None:
    """With 2**64 connections, the search for the number of workers would go on for years."""
    shutil.copytree(samples.RUNS / "wall", tmp_path / "run")
    path = tmp_path / "run" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: 2**63}))
    with pytest.raises(UsageError, match=rf"not a plan of this version of loadgen .*{key}"):
        run_directory.read(tmp_path / "run")
