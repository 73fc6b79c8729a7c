"""Events and lines are kept until they can be written, and the first write that fails is the run's failure."""

from pathlib import Path

import pytest

from loadgen import crash
from loadgen.control.run_record import RunRecord
from loadgen.errors import HostError, ResultsError
from loadgen.results import directory_files
from loadgen.results.run_directory import RunWriter
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from tests import samples

LINES = samples.series()


class Full(RunWriter):
    """A run directory on a disk that is full at times."""

    full = False

    def append_series(self, line: Line) -> None:
        self._require_room()
        super().append_series(line)

    def append_event(self, line: Event) -> None:
        self._require_room()
        super().append_event(line)

    def _require_room(self) -> None:
        if self.full:
            raise ResultsError("no space left")


@pytest.fixture
def writer(tmp_path: Path) -> Full:
    return Full(tmp_path, "record", tmp_path / "run")


def record() -> tuple[RunRecord, list[str]]:
    """A record, and what it told: notices, and "failure" for each write that failed."""
    told: list[str] = []
    return RunRecord(told.append, lambda: told.append("failure")), told


def written(writer: RunWriter, name: str) -> int:
    return len((writer.path / name).read_bytes().splitlines())


def test_events_wait_for_the_run_directory(writer: Full) -> None:
    it, told = record()
    it.event("note", "first")
    it.writer = writer
    assert written(writer, "events.jsonl") == 0
    it.event("ended", "over")
    assert written(writer, "events.jsonl") == 2
    assert told == ["first"], "an end is in the result"


def test_lines_that_cannot_be_written_are_tried_again_in_their_order(writer: Full) -> None:
    it, told = record()
    it.writer = writer
    it.line(LINES[0])
    writer.full = True
    it.line(LINES[1])
    assert str(it.error) == "no space left"
    assert told == ["failure"]
    writer.full = False
    it.line(LINES[2])
    assert [line.t_s for _, line in directory_files.read_lines(writer.path / "series.jsonl", Line)] == [
        line.t_s for line in LINES[:3]
    ]
    assert str(it.error) == "no space left", "the first failure is the run's"


def test_times_count_from_the_start() -> None:
    it, _ = record()
    it.start_ns = 5_000_000_000
    assert it.since_start_s(6_500_000_000) == 1.5


def test_what_was_not_foreseen_comes_before_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "directory", str(tmp_path))
    it, _ = record()
    it.failure = ResultsError("no space left")
    it.not_foreseen(ZeroDivisionError("by zero"))
    it.not_foreseen(KeyError("later"))
    assert "ZeroDivisionError: by zero" in str(it.error)


def test_a_directory_that_cannot_be_read_back_says_what_makes_a_report(writer: Full) -> None:
    it, _ = record()
    it.writer = writer
    with pytest.raises(HostError, match=r"`loadgen report .*/run` makes summary and report"):
        it.conclude()


def test_each_event_is_told_once_and_as_it_is_written(writer: Full) -> None:
    happened: list[Event] = []
    it = RunRecord(lambda _: None, lambda: None, happened.append)
    it.event("note", "early")
    it.writer = writer
    it.event("ended", "over")
    assert [event.event for event in happened] == ["note", "ended"]
    assert (writer.path / "events.jsonl").read_bytes() == b"".join(map(files.line_of, happened))
    writer.full = True
    it.event("note", "no room")
    assert happened[-1].text == "no room"
