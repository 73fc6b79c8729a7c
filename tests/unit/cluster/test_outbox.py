"""Reports come out in order; where none is taken, old lines of the series go first, and nothing else goes at all."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from loadgen.cluster.messages import Ended, Happened, Report, SeriesLine
from loadgen.cluster.outbox import Outbox

_REPORTS: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)


def line(number: int, size: int = 0) -> SeriesLine:
    return SeriesLine(line=Raw(b'{"t_s":%d,"x":"%s"}' % (number, b"x" * size)))


def event(number: int) -> Happened:
    return Happened(event=Raw(b'{"event":"note","text":"%d"}' % number))


def taken(outbox: Outbox) -> list[Report]:
    found = []
    while data := outbox.take():
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        found.append(_REPORTS.decode(data))
    return found


def note(report: Report) -> str:
    assert isinstance(report, Happened)
    told = msgspec.json.decode(report.event)
    assert told["event"] == "lines-dropped"
    text: str = told["text"]
    return text


def test_reports_come_out_as_they_went_in() -> None:
    outbox = Outbox()
    reports: list[Report] = [line(1), event(1), line(2), Ended(exit_code=0, text="é")]
    for report in reports:
        outbox.put(report)
    assert taken(outbox) == reports
    assert outbox.take() == b""


@given(st.lists(st.booleans(), max_size=80), st.integers(0, 2_000))
def test_events_are_never_dropped_and_lines_only_from_the_oldest_on(is_line: list[bool], room: int) -> None:
    outbox = Outbox(lines_bytes_max=room)
    reports: list[Report] = [line(number, 100) if wanted else event(number) for number, wanted in enumerate(is_line)]
    for report in reports:
        outbox.put(report)
    found = taken(outbox)
    lines = [report for report in reports if isinstance(report, SeriesLine)]
    left = [report for report in found if isinstance(report, SeriesLine)]
    assert left == lines[len(lines) - len(left) :]
    assert bool(left) == bool(lines), "the newest line is always there"
    dropped = len(lines) - len(left)
    if dropped:
        expected = "a line of" if dropped == 1 else f"{dropped} lines of"
        assert note(found.pop(0)).startswith(expected)
    kept = [report for report in reports if not isinstance(report, SeriesLine) or report in left]
    assert found == kept


def test_lines_take_no_more_room_than_they_may() -> None:
    outbox = Outbox(lines_bytes_max=10_000)
    for number in range(1_000):
        outbox.put(line(number, 400))
    outbox.put(Ended(exit_code=0))
    found = taken(outbox)
    assert isinstance(found[-1], Ended)
    assert sum(len(msgspec.json.encode(report)) for report in found) < 11_500


def test_what_was_dropped_is_told_once() -> None:
    outbox = Outbox(lines_bytes_max=0)
    for number in range(3):
        outbox.put(line(number))
    assert note(_REPORTS.decode(outbox.take())).startswith("2 lines")
    assert taken(outbox) == [line(2)]
    outbox.put(line(3))
    assert taken(outbox) == [line(3)]


@pytest.mark.parametrize("room", [0, 10_000])
def test_nothing_is_left_of_what_is_cleared(room: int) -> None:
    outbox = Outbox(lines_bytes_max=room)
    for number in range(3):
        outbox.put(line(number))
    outbox.clear()
    assert outbox.take() == b""
