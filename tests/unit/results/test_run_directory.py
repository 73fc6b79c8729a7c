"""A run directory: what is written is read back, and what goes wrong loses nothing and says why."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import ResultsError, UsageError
from loadgen.model import AgentPlan, LoadProfile, Plan
from loadgen.results import run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from tests import samples

LINES: Final = samples.series()[:4]
EVENTS: Final = tuple(Event(event="note", text="é\u2028\n\x85" * n, t_s=n / 2) for n in range(4))


@pytest.fixture
def writer(tmp_path: Path) -> run_directory.RunWriter:
    made = run_directory.RunWriter(tmp_path / "results", "past-64k")
    made.write_plan(samples.plan({"name": "past-64k"}))
    return made


def test_a_plan_has_what_few_plans_have_only_there(writer: run_directory.RunWriter) -> None:
    """So that the plan of a run on one host, without a profile, reads as it always did."""
    whole = replace(samples.plan())  # with every field, as a plan that was made and not read
    left_out: dict[str, Any] = {"profile": None, "arrival_carry": 0.0, "guests": 0, "agents": [], "nat": None}
    assert not left_out.keys() & json.loads((writer.path / "plan.json").read_text()).keys()
    assert files.plain(files.plan_of(whole)) | left_out == files.plain(whole)
    profiled = replace(whole, profile=LoadProfile(0.0, 1.0, 2.5, 1.0))
    assert files.convert(files.plain(files.plan_of(profiled)), Plan) == profiled
    share = replace(whole, arrival_carry=0.25)
    for made in (share, replace(whole, agents=(AgentPlan("a", share), AgentPlan("b", whole)))):
        assert files.convert(files.plain(files.plan_of(made)), Plan) == made
    with pytest.raises(ValueError, match="arrival_carry"):
        files.convert({**files.plain(share), "arrival_carry": 1.0}, Plan)


def series_file(writer: run_directory.RunWriter) -> Path:
    return writer.path / "series.jsonl"


def test_what_is_written_is_read_back(writer: run_directory.RunWriter) -> None:
    plan, host, summary = samples.plan({"name": "past-64k"}), samples.host(), samples.summary({"scenario": "é"})
    writer.write_scenario("name: é # as it was given\n")
    writer.write_host(files.plain(host))
    for line, event in zip(LINES, EVENTS, strict=True):
        writer.append_series(line)
        writer.append_event(event)
    writer.write_summary(summary)
    writer.write_report("<p>é</p>")
    writer.close()
    run = run_directory.read(writer.path)
    assert run.path == writer.path
    assert run.scenario_text == "name: é # as it was given\n"
    assert (run.plan, run.host, run.summary) == (plan, host, summary)
    assert (run.series, run.events) == (LINES, EVENTS)
    assert run.summarised() == summary
    assert (writer.path / "report.html").read_bytes() == "<p>é</p>".encode()


def test_parts_that_were_never_written_are_empty(writer: run_directory.RunWriter) -> None:
    run = run_directory.read(writer.path)
    assert (run.scenario_text, run.host, run.series, run.events, run.summary) == ("", Host(), (), (), None)


def test_a_scenario_with_windows_line_ends_stays_as_it_was_given(writer: run_directory.RunWriter) -> None:
    writer.write_scenario("name: x\r\n")
    assert run_directory.read(writer.path).scenario_text == "name: x\r\n"


def test_a_line_is_on_the_disk_as_soon_as_it_is_written(writer: run_directory.RunWriter) -> None:
    for count, line in enumerate(LINES, start=1):
        writer.append_series(line)
        assert len(run_directory.read(writer.path).series) == count


def test_the_name_says_when_what_and_one_of_its_kind(tmp_path: Path) -> None:
    writers = [run_directory.RunWriter(tmp_path, "past-64k") for _ in range(3)]
    assert len({writer.path for writer in writers}) == 3
    for writer in writers:
        assert re.fullmatch(r"\d{8}T\d{6}Z-past-64k-[0-9a-f]{4}", writer.path.name)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", writer.started_at)
        writer.close()


@settings(max_examples=40)
@given(st.text(max_size=64) | st.text("./\\~$\0\n -", max_size=20) | st.just("../../x"))
def test_no_name_leaves_the_results_directory(name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results"
        writer = run_directory.RunWriter(results, name)
        writer.close()
        assert writer.path.resolve().parent == results.resolve()
        assert os.listdir(directory) == ["results"]
        assert re.fullmatch(r"[A-Za-z0-9._-]+", writer.path.name)


# --- Reading what something went wrong with ------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, sum(len(files.line_of(line)) for line in LINES)))
def test_a_file_cut_off_anywhere_has_its_whole_lines(cut: int) -> None:
    """What a kill leaves; the line that is torn is passed over, or whole without its line end."""
    with tempfile.TemporaryDirectory() as directory:
        writer = run_directory.RunWriter(Path(directory), "x")
        writer.write_plan(samples.plan())
        for line in LINES:
            writer.append_series(line)
        writer.close()
        data = series_file(writer).read_bytes()
        kept = data[: min(cut, len(data))]
        series_file(writer).write_bytes(kept)
        found = run_directory.read(writer.path).series
        assert found == LINES[: len(found)]
        assert len(found) - kept.count(b"\n") in (0, 1)


@pytest.mark.parametrize("broken", [b"", b"{", b"nonsense", b'{"t_s": 1} {', b"5", b"null", b"[]", b"{}", b"\xff\xfe"])
def test_a_broken_line_before_the_last_is_an_error_with_its_place(
    writer: run_directory.RunWriter, broken: bytes
) -> None:
    whole = files.line_of(LINES[0])
    series_file(writer).write_bytes(whole + broken + b"\n" + whole)
    place = rf"{re.escape(str(series_file(writer)))}:2: not a line of this version of loadgen \("
    with pytest.raises(UsageError, match=place):
        run_directory.read(writer.path)


def test_a_last_line_that_is_whole_and_none_of_ours_is_an_error_too(writer: run_directory.RunWriter) -> None:
    series_file(writer).write_text("{}\n")
    with pytest.raises(UsageError, match=r"series\.jsonl:1: "):
        run_directory.read(writer.path)


@pytest.mark.parametrize("name", ["plan.json", "host.json", "summary.json"])
@pytest.mark.parametrize("text", ["{", "[1]", "5", '{"sources": 5, "sysctls": 5}', "\xff"])
def test_a_file_that_is_not_ours_is_named(writer: run_directory.RunWriter, name: str, text: str) -> None:
    (writer.path / name).write_text(text, encoding="latin-1")
    kind = name.removesuffix(".json")
    with pytest.raises(UsageError, match=rf"{re.escape(name)}: not a {kind} of this version of loadgen \("):
        run_directory.read(writer.path)


def test_a_summary_that_is_not_ours_can_be_made_anew(writer: run_directory.RunWriter) -> None:
    (writer.path / "summary.json").write_text("{}")
    with pytest.raises(UsageError, match="delete it, and loadgen report makes one from the other files"):
        run_directory.read(writer.path)


def test_the_runs_of_a_matrix_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Without those that were set aside, and without folders of something else."""
    (tmp_path / "matrix.json").write_text("{}")
    for name in ("10", "2", "2-3", "2-10", "2.cut-1", "notes"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        (tmp_path / "cells" / name / "plan.json").write_text("{}")
    (tmp_path / "cells" / "11").mkdir()
    assert [path.name for path in run_directory.runs_in(tmp_path)] == ["2", "2-3", "2-10", "10"]
    assert run_directory.runs_in(tmp_path / "cells" / "2") == ()


def test_a_series_is_read_line_by_line_as_it_was_written() -> None:
    assert tuple(run_directory.written_series(samples.RUNS / "hold")) == samples.series()


def test_the_summary_of_several_runs_is_none_of_one(writer: run_directory.RunWriter) -> None:
    (writer.path / "summary.json").write_text(files.pretty(samples.matrix_summary()))
    with pytest.raises(UsageError, match=r"summary\.json: the summary of several runs beside the plan of one"):
        run_directory.read(writer.path)


@pytest.mark.parametrize(
    ("file", "changes", "problem"),
    [
        ("plan.json", {"expect": ["nonsense"]}, "write PATH OP"),
        ("plan.json", {"sources": ["127.0.1.1"]}, "zip"),
    ],
)
def test_files_that_do_not_fit_each_other_are_one_message(
    tmp_path: Path, file: str, changes: dict[str, Any], problem: str
) -> None:
    line = json.dumps(files.plain(samples.line()) | (changes if file == "series.jsonl" else {})) + "\n"
    plan = changes if file == "plan.json" else {}
    path = samples.write(tmp_path / "a", {"plan.json": plan, "series.jsonl": line})
    with pytest.raises(
        UsageError, match=rf"{re.escape(str(path))}.*: (.* is not what this|not a line of this) .*{problem}"
    ):
        run_directory.read(path).summarised()


@pytest.mark.parametrize("bucket", ["99999", "0896", "-1", "", "\u0663", "1_0"])
@pytest.mark.parametrize("key", ["lag_ns", "connect"])
def test_a_bucket_that_does_not_exist_is_said_at_its_line(tmp_path: Path, key: str, bucket: str) -> None:
    """Also beside a summary, where nothing is folded from the lines and the charts alone read them."""
    line = json.loads(files.line_of(samples.line()))
    (line if key in line else line["latency_ns"])[key] = {bucket: 1}
    path = samples.write(tmp_path / "a", {"plan.json": {}, "series.jsonl": json.dumps(line) + "\n"})
    with pytest.raises(UsageError, match=r"series\.jsonl:1: not a line .* is no bucket of a histogram"):
        run_directory.read(path)


@pytest.mark.parametrize("count", [-1, 1.5, True, 2**40 + 1, 2**63])
def test_a_count_that_no_bucket_can_have_is_said_at_its_line(tmp_path: Path, count: float) -> None:
    line = json.loads(files.line_of(samples.line())) | {"lag_ns": {"7": count}}
    path = samples.write(tmp_path / "a", {"plan.json": {}, "series.jsonl": json.dumps(line) + "\n"})
    with pytest.raises(UsageError, match=r"series\.jsonl:1: not a line .*lag_ns"):
        run_directory.read(path)


@pytest.mark.parametrize("make", [Path.exists, Path.mkdir, Path.touch])
def test_what_is_no_run_directory_is_said_to_be_none(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "run")
    with pytest.raises(UsageError, match=r"run is no run directory \(no plan\.json in it\); give one of"):
        run_directory.read(tmp_path / "run")


# --- Disks that do not take everything -----------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_short_writes_are_continued(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, bytes(data)[:most]))
    for line in LINES:
        writer.append_series(line)
    writer.write_summary(samples.summary())
    run = run_directory.read(writer.path)
    assert (run.series, run.summary) == (LINES, samples.summary())


def full_after(count: int, number: int = errno.ENOSPC) -> Callable[[int, Any], int]:
    """An os.write() with room for so many bytes, then an error, as on a full disk."""
    whole, left = os.write, [count]

    def write(fd: int, data: Any) -> int:
        if not left[0]:
            raise OSError(number, os.strerror(number))
        written = whole(fd, bytes(data)[: left[0]])
        left[0] -= written
        return written

    return write


@pytest.mark.parametrize("room", [0, 1, 20, 40])
def test_a_full_disk_is_reported_and_costs_no_earlier_line(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    writer.append_series(LINES[0])
    with monkeypatch.context() as full:
        full.setattr(os, "write", full_after(room))
        with pytest.raises(ResultsError, match=r"series\.jsonl: No space left on device; free some space.*--out"):
            writer.append_series(LINES[3])
    assert run_directory.read(writer.path).series == LINES[:1]


def test_a_line_that_failed_is_taken_back_so_that_another_may_follow(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(os, "write", full_after(20))
        with pytest.raises(ResultsError):
            writer.append_series(LINES[0])
    writer.append_series(LINES[1])
    assert run_directory.read(writer.path).series == LINES[1:2]


def test_a_torn_line_that_cannot_be_taken_back_is_the_last(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another behind it would make one line of the two, which no reader understands."""

    def refuse(_fd: int, _length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer.append_series(LINES[0])
    with monkeypatch.context() as full:
        full.setattr(os, "write", full_after(20))
        full.setattr(os, "ftruncate", refuse)
        with pytest.raises(ResultsError):
            writer.append_series(LINES[1])
        full.undo()
        full.setattr(os, "ftruncate", refuse)
        with pytest.raises(ResultsError, match="No space left"):
            writer.append_series(LINES[2])
    assert run_directory.read(writer.path).series == LINES[:1]


def test_what_is_lost_when_a_file_is_closed_is_told(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems write when a file is closed (close(2), EIO and EDQUOT)."""

    def refuse(_fd: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as full:
        full.setattr(os, "close", refuse)
        with pytest.raises(ResultsError, match="the quota is used up"):
            writer.close()


def test_a_disk_that_takes_nothing_and_says_nothing_is_full(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, _data: 0)
    with pytest.raises(ResultsError, match="No space left on device"):
        writer.append_event(EVENTS[1])


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EDQUOT, "the quota is used up"),
        (errno.EROFS, "choose a directory you may write to with --out"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "dmesg"),
    ],
)
def test_other_refusals_have_their_own_remedy(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    monkeypatch.setattr(os, "write", full_after(0, number))
    with pytest.raises(ResultsError, match=remedy):
        writer.append_event(EVENTS[1])


@pytest.mark.parametrize("room", [0, 5])
def test_a_summary_is_replaced_whole_or_not_at_all(
    writer: run_directory.RunWriter, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    before, new = (samples.summary({"scenario": name}) for name in ("before", "new"))
    writer.write_summary(before)
    with monkeypatch.context() as full:
        full.setattr(os, "write", full_after(room))
        with pytest.raises(ResultsError, match=r"summary\.json: No space left"):
            writer.write_summary(new)
    assert run_directory.read(writer.path).summary == before
    writer.write_summary(new)
    assert run_directory.read(writer.path).summary == new
    assert sorted(os.listdir(writer.path)) == ["events.jsonl", "plan.json", "series.jsonl", "summary.json"]


def test_results_that_are_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(ResultsError, match=r"cannot write .*results.*--out"):
        run_directory.RunWriter(tmp_path / "results", "x")


def test_a_directory_that_is_gone_is_reported(tmp_path: Path) -> None:
    """As when its disk turned read-only: then unlink() fails with EROFS, here it does with ENOTDIR."""
    writer = run_directory.RunWriter(tmp_path, "x")
    for name in os.listdir(writer.path):
        (writer.path / name).unlink()
    writer.path.rmdir()
    writer.path.write_text("")
    with pytest.raises(ResultsError):
        writer.write_summary(samples.summary())


# --- Report and summary made afterwards ----------------------------------------------------------


def test_a_report_is_put_beside_what_is_there(writer: run_directory.RunWriter) -> None:
    path = run_directory.replace_derived(writer.path, summary=None, report="<p>one</p>")
    assert path == writer.path / "report.html"
    assert not run_directory.read(writer.path).summary
    run_directory.replace_derived(writer.path, summary=samples.summary(), report="<p>two</p>")
    assert path.read_text() == "<p>two</p>"
    assert run_directory.read(writer.path).summary == samples.summary()


def test_a_report_that_cannot_be_written_is_a_results_error(writer: run_directory.RunWriter) -> None:
    (writer.path / "report.html").mkdir()
    with pytest.raises(ResultsError, match=r"report\.html.*--out"):
        run_directory.replace_derived(writer.path, summary=None, report="x")


def test_a_full_disk_does_not_cost_the_report_that_was_there(writer: run_directory.RunWriter) -> None:
    run_directory.replace_derived(writer.path, summary=None, report="the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # EFBIG at 1,000 bytes; Python ignores the signal
    try:
        with pytest.raises(ResultsError):
            run_directory.replace_derived(writer.path, summary=None, report="x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (writer.path / "report.html").read_text() == "the old one"
