"""`loadgen report`: from a run directory to a page, again and again, and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Loadgen, assert_one_message, mounted


@pytest.fixture
def run(loadgen: Loadgen) -> Path:
    """A finished run."""
    done = loadgen("run", loadgen.scenario(), "--quiet", "--json")
    assert done.code == 0, done.err
    return done.run


def contents(run: Path) -> dict[str, bytes]:
    """Every file of it."""
    return {path.name: path.read_bytes() for path in run.iterdir()}


def test_a_report_made_again_is_the_same(loadgen: Loadgen, run: Path) -> None:
    before = contents(run)
    for _ in range(2):
        done = loadgen("report", run)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("200 of 200 connections opened")
        assert str(run / "report.html") in done.out
        assert contents(run) == before


def test_a_report_that_was_lost_comes_back(loadgen: Loadgen, run: Path) -> None:
    """Summary and page follow from the rest, to the last byte."""
    before = contents(run)
    (run / "report.html").unlink()
    (run / "summary.json").unlink()
    done = loadgen("report", f"{run}/", "--json")
    assert done.code == 0, done.err
    assert contents(run) == before
    assert done.summary == json.loads(before["summary.json"])


def empty(run: Path) -> None:
    for path in run.iterdir():
        path.unlink()


def plan_of_something_else(run: Path) -> None:
    (run / "plan.json").write_text("{}")
    (run / "summary.json").unlink()


def plan_cut_off(run: Path) -> None:
    (run / "plan.json").write_text('{"name": ')


def plan_that_is_a_list(run: Path) -> None:
    (run / "plan.json").write_text("[]")


def garbage_in_the_series(run: Path) -> None:
    (run / "series.jsonl").write_text("garbage\n" + (run / "series.jsonl").read_text())


def series_of_something_else(run: Path) -> None:
    (run / "series.jsonl").write_text('{"a": 1}\n' * 3)
    (run / "summary.json").unlink()


def series_of_numbers(run: Path) -> None:
    (run / "series.jsonl").write_text("1\n2\n")
    (run / "summary.json").unlink()


def series_that_is_not_text(run: Path) -> None:
    (run / "series.jsonl").write_bytes(b"\xff\xfe\n")


@pytest.mark.parametrize(
    "spoil",
    [
        empty,
        plan_of_something_else,
        plan_cut_off,
        plan_that_is_a_list,
        garbage_in_the_series,
        series_of_something_else,
        series_of_numbers,
        series_that_is_not_text,
    ],
)
def test_what_is_no_run_is_refused(loadgen: Loadgen, run: Path, spoil: Callable[[Path], None]) -> None:
    spoil(run)
    before = contents(run)
    done = loadgen("report", run)
    assert done.code == 2, done.err
    assert str(run) in assert_one_message(done)
    assert contents(run) == before


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_run_directory_that_cannot_be_written(loadgen: Loadgen, run: Path) -> None:
    done = loadgen("report", run, prefix=mounted(f"mount --bind {run} {run} && mount -o remount,bind,ro {run}"))
    assert done.code == 3
    message = assert_one_message(done)
    assert f"cannot write {run}/" in message
    assert "Read-only file system" in message


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_full_disk_costs_no_old_report(loadgen: Loadgen, run: Path) -> None:
    """The page in a directory without room for another is the old one afterwards, not half of a new one."""
    disk, copy = loadgen.home / "disk", loadgen.home / "copy"
    disk.mkdir()
    page = (run / "report.html").read_bytes()
    size_kib = sum(-(-path.stat().st_size // 4096) * 4 for path in run.iterdir())
    mount = f"mount -t tmpfs -o size={size_kib}k tmpfs {disk} && cp {run}/* {disk} && echo >> {disk}/summary.json"
    prefix = (*mounted(mount), "sh", "-c", f'"$@"; code=$?; cp -r {disk} {copy}; exit $code', "sh")
    done = loadgen("report", disk, prefix=prefix)
    assert done.code in (0, 3)
    kept = (copy / "report.html").read_bytes()
    assert kept == page or kept.rstrip().endswith(b"</html>")
