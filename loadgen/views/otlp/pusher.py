"""Lines of the series in, exports out: snapshots of all metrics, sent by a thread of its own, the newest only.

The loop of the run takes a snapshot when one is due, which costs a millisecond or two, and puts it where the thread
finds it. There is room for one: while an export is on its way, a newer snapshot replaces the one that waits. All
numbers are totals since the start, so what is left out costs resolution and no counts. So a receiver that hangs costs
the memory of two snapshots.

Imports nothing of OpenTelemetry: what sends is handed in.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadgen import format as fmt
from loadgen import secret
from loadgen.clock import NS_PER_S
from loadgen.model import Plan
from loadgen.results.schema.line import Line
from loadgen.views.dashboard.prometheus import METRICS, Described, Reading, readings
from loadgen.views.dashboard.watched import Watched

#: The end of a command waits no longer for the last export.
FAREWELL_S: Final = 5.0
#: Reasons that are counted apart, and those of them that are named.
_REASONS_MAX: Final = 20
_REASONS_NAMED: Final = 3
_OTHER: Final = "other reasons"


class NotTakenError(Exception):
    """A receiver has not taken an export; the text says why, in a few words. pause_s: how long it wants to be left."""

    def __init__(self, why: str, pause_s: float = 0.0) -> None:
        super().__init__(why)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Every metric that has a value at one instant.

    run: name of the run directory. start_unix_ns, unix_ns: when counting began, and this instant, since 1970, UTC.
    """

    run: str
    scenario: str
    start_unix_ns: int
    unix_ns: int
    found: tuple[tuple[Described, list[tuple[tuple[str, ...], Reading]]], ...]


#: Sends a snapshot; returns how many points were rejected, and why. Raises: NotTakenError.
Send = Callable[[MetricsSnapshot], tuple[int, str]]


class _ExportTally:
    """Counts of exports by how they ended; the thread counts, and the loop reads."""

    def __init__(self) -> None:
        self.ended, self.replaced, self.rejected, self.why_rejected = 0, 0, 0, ""
        self.reasons: Counter[str] = Counter()

    def failed(self, reason: str) -> None:
        known = reason in self.reasons or len(self.reasons) < _REASONS_MAX
        self.reasons[reason if known else _OTHER] += 1


class Pusher:
    """One for everything that a command runs. No method that the run calls raises, or waits for the receiver."""

    def __init__(self, send: Send, url: str, interval_s: float) -> None:
        """url: for messages. interval_s: least time between snapshots."""
        self._send, self._url, self._interval_s = send, url, interval_s
        #: Called once, with the first failure, on the loop.
        self.tell: Callable[[str], None] = lambda _: None
        self._watched = Watched()
        self._run = ""
        self._start_unix_ns = 0
        self._due_s = 0.0
        #: By the monotonic clock: nothing is sent before, as the receiver asked, but for the last.
        self._pause_until_s = 0.0
        self._changed = threading.Condition()
        self._waiting: MetricsSnapshot | None = None
        self._sending = self._ending = False
        #: Nothing is counted any more: a thread that is left behind is not heard.
        self._closed = False
        self._tally = _ExportTally()
        self._told = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._started = self._hurried = False

    @asynccontextmanager
    async def pushing(self, interrupt: Callable[[], None]) -> AsyncIterator[Callable[[], None]]:
        """Push in this context, and the last values at its end, which waits for it, but no longer than FAREWELL_S.

        Yields: the function to call instead of `interrupt`; at the end it also ends the wait.
        """
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        done = self._done

        def interrupted() -> None:
            interrupt()
            if self._ending:
                self._hurried = True
                done.set()

        try:
            # A daemon: the end of the process does not wait for a receiver.
            threading.Thread(target=self._work, name="otlp", daemon=True).start()
            self._started = True
        except RuntimeError as error:  # the host refuses a thread
            self._failed(str(error))
        try:
            yield interrupted
        finally:
            await self._finish()

    def opened(self, path: Path) -> None:
        """The directory of the run is made; of a matrix first its own, which counts, and then those of its runs."""
        self._run = self._run or path.name

    def begin(self, tell: Callable[[str], None]) -> None:
        """The next run is about to begin. tell: takes the first failure, where the run is shown."""
        self.tell = tell
        self._guarded(self._watched.begin)

    def say(self, text: str) -> None:
        """Take a notice between the runs of a matrix."""
        self._guarded(self._watched.say, text)

    def notice(self, text: str) -> None:
        """Take a notice."""
        self._guarded(self._watched.notice, text)

    def update(self, plan: Plan, line: Line) -> None:
        """Take a line of the series, and a snapshot if one is due."""
        self._guarded(self._update, plan, line)

    @property
    def failed(self) -> bool:
        """True if anything was not taken."""
        with self._changed:
            return bool(self._tally.reasons or self._tally.rejected)

    @property
    def outcome(self) -> str:
        """A sentence on how the exports ended; once `pushing` is over."""
        with self._changed:
            tally = self._tally
            failures = tally.reasons.total()
            exports = f"of {fmt.many(tally.ended, 'OTLP export')} to {self._url}"
            if failures:
                several = len(tally.reasons) > 1
                named = tally.reasons.most_common(_REASONS_NAMED)
                reasons = [f"{reason} ({times:,})" if several else reason for reason, times in named]
                text = f"{failures:,} {exports} failed: {', '.join(reasons)}"
            elif tally.ended:
                text = f"{exports.removeprefix('of ')}, none failed"
            else:
                return f"no OTLP export to {self._url}: there was nothing to send"
            if tally.rejected:
                because = f": {tally.why_rejected}" if tally.why_rejected else ""
                text += f"; the receiver rejected {fmt.many(tally.rejected, 'data point')}{because}"
            if tally.replaced:
                text += f"; {fmt.many(tally.replaced, 'snapshot')} left out, as the receiver was not ready"
            return secret.scrubbed(text)

    def _update(self, plan: Plan, line: Line) -> None:
        self._watched.update(plan, line)
        if not self._start_unix_ns:
            self._start_unix_ns = time.time_ns() - round(line.t_s * NS_PER_S)
        if (now_s := time.monotonic()) >= self._due_s:
            self._due_s = now_s + self._interval_s
            self._hand_over(self._snapshot(plan))

    def _snapshot(self, plan: Plan) -> MetricsSnapshot:
        found = ((described, list(readings(described, self._watched))) for described in METRICS)
        return MetricsSnapshot(
            run=self._run,
            scenario=plan.name,
            start_unix_ns=self._start_unix_ns,
            unix_ns=max(time.time_ns(), self._start_unix_ns),
            found=tuple((described, values) for described, values in found if values),
        )

    def _hand_over(self, snapshot: MetricsSnapshot | None, *, last: bool = False) -> None:
        with self._changed:
            if snapshot:
                self._tally.replaced += self._waiting is not None and not last
                self._waiting = snapshot
            self._ending = self._ending or last
            self._changed.notify()

    def _guarded(self, take: Callable[..., None], *values: Any) -> None:
        try:
            take(*values)
        except Exception as error:
            self._failed(f"{type(error).__name__}: {error}")

    def _failed(self, reason: str) -> None:
        """Count an export that failed, and tell the first; from either thread."""
        with self._changed:
            if self._closed:
                return
            self._tally.ended += 1
            self._tally.failed(reason)
            told, self._told = self._told or self._ending, True  # at the end the sentence on all of them follows
        if not told and self._loop:
            text = f"OTLP export to {self._url} failed: {reason}; the run goes on, and each next export is tried"
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(lambda: self.tell(secret.scrubbed(text)))

    async def _finish(self) -> None:
        """Send the latest values, and wait for it."""
        assert self._done
        if plan := self._watched.plan:
            self._guarded(lambda: self._hand_over(self._snapshot(plan), last=True))
        self._hand_over(None, last=True)  # also where the snapshot failed: the thread is to end
        if not self._started:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._done.wait()
        except TimeoutError:
            pass
        with self._changed:
            if self._sending:
                when = "at an interrupt" if self._hurried else f"{FAREWELL_S:g} s after the end of the run"
                self._failed(f"no answer, given up {when}")
                self._tally.replaced += self._waiting is not None
            self._closed, self._waiting = True, None

    @property
    def _pause_s(self) -> float:
        return self._pause_until_s - time.monotonic()

    def _work(self) -> None:
        """Send what waits until the last of it was sent; the thread."""
        while True:
            with self._changed:
                while not self._ending and (not self._waiting or self._pause_s > 0):
                    self._changed.wait(self._pause_s if self._waiting else None)
                snapshot, self._waiting = self._waiting, None
                self._sending = snapshot is not None
            if snapshot:
                self._export(snapshot)
            with self._changed:
                self._sending = False
                over = self._ending and not self._waiting
            if over:
                break
        if self._loop and self._done:
            with suppress(RuntimeError):  # the loop is closed: it did not wait
                self._loop.call_soon_threadsafe(self._done.set)

    def _export(self, snapshot: MetricsSnapshot) -> None:
        try:
            rejected, why = self._send(snapshot)
        except NotTakenError as error:
            self._pause_until_s = time.monotonic() + error.pause_s
            self._failed(str(error))
        except Exception as error:  # whatever it is, the run goes on
            self._failed(f"{type(error).__name__}: {error}")
        else:
            with self._changed:
                if not self._closed:
                    self._tally.ended += 1
                    self._tally.rejected += rejected
                    self._tally.why_rejected = self._tally.why_rejected or why
