"""The reports of a share that wait to be read: a queue that never grows without bound.

A line of the series is of use only while it is new, so old ones are dropped where no reader takes them, and a note says
how many. The run directory of the share has them all. Nothing else is ever dropped.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from loadgen.cluster.messages import Happened, Report, SeriesLine
from loadgen.results.schema import files
from loadgen.results.schema.event import Event

#: Size of the lines that wait, but for the newest one. A line has at most a megabyte, for 65,536 pairs.
LINES_BYTES_MAX: Final = 4 * 1024 * 1024

_ENCODER: Final = msgspec.json.Encoder()


class Outbox:
    """Reports in the order of `put`, each as the line of JSON that the agent reads."""

    def __init__(self, *, lines_bytes_max: int = LINES_BYTES_MAX) -> None:
        self._bytes_max, self._bytes = lines_bytes_max, 0
        #: A report, and whether it is a line of the series.
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._dropped = 0

    def put(self, report: Report) -> None:
        """Add a report; drop the oldest lines of the series if these take too much room."""
        data, is_line = _ENCODER.encode(report) + b"\n", isinstance(report, SeriesLine)
        self._waiting.append((data, is_line))
        if is_line:
            self._bytes += len(data)
            self._drop_old_lines(len(data))

    def take(self) -> bytes:
        """Return the next report, and forget it; b"" if there is none."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return _ENCODER.encode(_note(dropped)) + b"\n"
        if not self._waiting:
            return b""
        data, is_line = self._waiting.popleft()
        if is_line:
            self._bytes -= len(data)
        return data

    def clear(self) -> None:
        """Forget all of them: there is no reader any more."""
        self._waiting.clear()
        self._bytes = self._dropped = 0

    def _drop_old_lines(self, newest: int) -> None:
        """Drop the oldest lines until the others fit, whatever the size of the newest."""
        if self._bytes - newest <= self._bytes_max:
            return
        kept: deque[tuple[bytes, bool]] = deque()
        for data, is_line in self._waiting:
            if is_line and self._bytes - newest > self._bytes_max:
                self._bytes -= len(data)
                self._dropped += 1
            else:
                kept.append((data, is_line))
        self._waiting = kept


def _note(dropped: int) -> Happened:
    lines = "a line" if dropped == 1 else f"{dropped:,} lines"
    text = f"{lines} of the series could not be passed on in time; the run directory of the agent has every line"
    return Happened(event=msgspec.Raw(files.line_of(Event(event="lines-dropped", text=text))[:-1]))
