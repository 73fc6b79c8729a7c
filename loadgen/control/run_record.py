"""The record of a run as it goes: events and lines of the series, and summary and report at the end.

A write that fails ends the run, and the first failure is the run's. What comes after it is tried all the same: there
may be room again, or room for less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from loadgen import crash, reserve, shortage
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError, LoadgenError, ResultsError, UsageError
from loadgen.results import run_directory
from loadgen.results.run_directory import RunWriter
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary
from loadgen.results.summary import broken_invariants


class RunRecord:
    """Writes to the run directory once there is one.

    notice: called with the text of each event. on_failure: called when a write has failed. happened: called with each
    event once it is recorded.
    start_ns: the time that those of events count from.
    """

    def __init__(
        self,
        notice: Callable[[str], None],
        on_failure: Callable[[], None],
        happened: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._notice, self._on_failure, self._happened = notice, on_failure, happened
        self.start_ns = now_ns()
        self.writer: RunWriter | None = None
        #: The first write that failed, and what was not foreseen.
        self.failure: LoadgenError | None = None
        self.bug: LoadgenError | None = None
        self._early_events: list[Event] = []
        #: Lines of the series that could not be written; the last one tries them again.
        self._unsaved: list[Line] = []

    @property
    def error(self) -> LoadgenError | None:
        """Error of loadgen itself or of its host that ended the run; None: there was none."""
        return self.bug or self.failure

    def not_foreseen(self, error: Exception) -> None:
        """Note an exception from anywhere, unless there is one already."""
        self.bug = self.bug or shortage.of(error) or LoadgenError(crash.told(error))

    def event(self, kind: str, text: str, at_ns: int | None = None, *, stopped: bool = False) -> None:
        """Record an event and pass it to `notice`; events are kept until there is a run directory."""
        self.keep(Event(event=kind, text=text, t_s=self.since_start_s(at_ns or now_ns()), stopped=stopped))

    def started(self) -> None:
        """Record when the load starts by the wall clock: runs of several hosts are laid beside each other by it."""
        at_ns = self.wall_of(self.start_ns)
        at = datetime.fromtimestamp(at_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds")
        self.keep(Event(event="started", text=f"the load starts at {at}", t_s=0.0, at_ns=at_ns))

    @staticmethod
    def wall_of(instant_ns: int) -> int:
        """Return an instant of CLOCK_MONOTONIC by the wall clock, nanoseconds since 1970."""
        return time.time_ns() + instant_ns - now_ns()

    def since_start_s(self, at_ns: int) -> float:
        """Return a time in seconds since the start."""
        return round((at_ns - self.start_ns) / NS_PER_S, 6)

    def keep(self, event: Event) -> None:
        """Record an event as `event` does."""
        if event.event not in ("started", "ended", "failed"):  # a failure is in the result
            self._notice(event.text)
        self._early_events.append(event)
        if self.writer:
            events, self._early_events = self._early_events, []
            for line in events:
                self._save(partial(RunWriter.append_event, line=line))
        self._happened(event)

    def line(self, line: Line) -> None:
        """Append to the series, after the lines that could not be written before."""
        self._unsaved.append(line)
        while self._unsaved and self._save(lambda writer: writer.append_series(self._unsaved[0])):
            del self._unsaved[0]

    def conclude(self) -> tuple[Path, RunSummary]:
        """Read back the run directory, write summary and report; return the directory and the summary.

        Raises: HostError if nothing can be read back; LoadgenError if what was written has no sense.
        """
        assert self.writer
        reserve.release()
        if self.failure:
            self.event("failed", str(self.failure))
        run = self._read_back(self.writer)
        try:
            summary = run.summarised()
        except UsageError as error:  # it is about files of the user; these are our own
            raise LoadgenError(f"a bug in loadgen: {error}") from error
        if problems := broken_invariants(summary):
            self.failure = self.failure or LoadgenError(f"a bug in loadgen: {'; '.join(problems)}")
        self._save(lambda writer: writer.write_summary(summary))
        try:
            report = report_of(run, summary)
        except Exception as error:
            self.not_foreseen(error)
        else:
            self._save(lambda writer: writer.write_report(report))
        self._save(RunWriter.close)
        return self.writer.path, summary

    def _save(self, write: Callable[[RunWriter], None]) -> bool:
        """Write to the run directory; return whether that worked."""
        return self.writer is not None and self._save_to(self.writer, write)

    def _save_to(self, writer: RunWriter, write: Callable[[RunWriter], None]) -> bool:
        """Write to a run directory; return whether that worked."""
        try:
            write(writer)
        except ResultsError as error:
            self.failure = self.failure or error
            self._on_failure()
            return False
        return True

    def _read_back(self, writer: RunWriter) -> run_directory.Run:
        """Return what was written until now. Raises: HostError."""
        try:
            return run_directory.read(writer.path)
        except (UsageError, OSError) as error:
            reason = str(error).partition(";")[0]
            told = HostError(f"{reason}; `loadgen report {writer.path}` makes summary and report of what is there")
            raise self.failure or self.bug or told from error


def report_of(run: run_directory.Run, summary: RunSummary) -> str:
    """Return the report as HTML."""
    from loadgen.views.html import run as html  # a slow import, needed only now

    return html.render(run, summary)
