"""One worker process: a shard's arrivals, its connector and its recorder on one event loop.

The worker computes everything it does from its shard, so between "start" and "drain" it needs no message. It reports:
ready, opened (every arrival is started and answered), closing (it waits for the other side to close), drained (with the
calls that failed and cost nothing), and failed with a reason. If its link closes, the orchestrator is gone and the
worker exits at once. What it cannot go on with ends it, never leaves it waiting.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Sequence
from time import thread_time_ns
from typing import Any, Final

import numpy as np
import uvloop
from numpy.typing import NDArray

from loadgen import crash
from loadgen.clock import NS_PER_S, Alarm, now_ns
from loadgen.errors import HostError, LoadgenError
from loadgen.model import CloseMode, Engine, Shard
from loadgen.processes.link import Link
from loadgen.processes.shared_memory import Blocks
from loadgen.results.block import block_dtype
from loadgen.worker import survived, wait
from loadgen.worker.connector import connector_of
from loadgen.worker.due_times import DueTimes
from loadgen.worker.fall import Fall
from loadgen.worker.io_uring import connector as uring
from loadgen.worker.port_use import port_use_of
from loadgen.worker.recorder import Recorder
from loadgen.worker.shard import schedule_of
from loadgen.worker.spare_time import SpareTime

#: Attempts per turn of the event loop: long enough to share its cost, short enough (some 1.5 ms) for
#: answers, lost connections and commands to be seen in between.
_BATCH: Final = 64
#: Seconds between two ticks, which publish what is not published per batch and measure the loop's own lag.
_TICK_S: Final = 0.1
#: Seconds between two batches of a close that is spread over a time.
_FALL_S: Final = 0.01
#: Latencies of attempts that are sorted in a pause, and how long it has to be.
_SORTED_AT_ONCE: Final = 4
_SORTING_NS: Final = 20_000


class Worker:
    """Drive one shard. `link` carries commands and reports, `blocks` the numbers of all workers."""

    def __init__(self, shard: Shard, link: Link, blocks: NDArray[np.void], *, descriptors: int) -> None:
        plan = shard.plan
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._arrivals = DueTimes(schedule_of(shard))
        self._scheduled = bool(plan.stages)
        #: A closed loop goes on until this instant, 0 once it has passed; None: there is a number of arrivals.
        self._until_ns: int | None = None
        self._duration_ns = int(plan.churn.duration_s * NS_PER_S) if plan.churn else 0
        self._closed_loop = plan.scheduled is None
        self._started = self._opened = self._draining = False
        self._close_by_ns = 0
        self._fall: Fall | None = None
        self._timeout_ns = int(plan.timeout_s * NS_PER_S)
        self._recorder = Recorder(
            blocks[shard.index],
            scheduled=None if plan.churn else self._arrivals.left,
            port_use=port_use_of(plan, shard.index, blocks),
        )
        self._connector = connector_of(shard, self._recorder, descriptors)
        self._lifecycle = self._connector.lifecycle
        self._batch = uring.BATCH if plan.engine is Engine.IO_URING else _BATCH
        self._target_closes = plan.close is CloseMode.TARGET and not plan.churn
        self._alarm = Alarm()
        self._watched = (self._connector.fileno(), link.fileno())
        self._spare_time = SpareTime()
        #: When the event loop has its next turn at the latest.
        self._tick_ns = 0
        self._stopped = self._loop.create_future()
        self._pumping: asyncio.Handle | None = None

    async def run(self) -> None:
        """Serve commands until "stop" or until the orchestrator is gone. Raises: what a callback raised."""
        loop = self._loop
        loop.set_exception_handler(self._on_exception)
        loop.add_reader(self._link.fileno(), self._on_command)
        loop.add_reader(self._connector.fileno(), self._on_events)
        loop.add_reader(self._alarm.fileno(), self._on_alarm)
        self._tick_later()
        self._recorder.heartbeat_ns = now_ns()
        self._recorder.publish()
        self._report("ready")
        try:
            await self._stopped
        except Exception:
            for fd in (self._link.fileno(), self._connector.fileno(), self._alarm.fileno()):
                loop.remove_reader(fd)  # the loop takes another turn before it stops
            self._lifecycle.publish()  # it may have been in the middle of a batch
            self._publish_all()
            raise

    def _on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the worker after an exception in a callback of its own: no count or timer is right after that.

        An exception of a transport, or a reset that a library left in a future, is about one connection, whose task
        counts it.
        """
        error = context.get("exception")
        if error and _is_own(error):
            if not self._stopped.done():
                self._stopped.set_exception(error)
        elif error and "transport" not in context and not isinstance(error, ConnectionError):
            crash.tell(error)

    def _on_command(self) -> None:
        message = self._link.receive()
        match message and message["do"]:
            case "start":
                assert message is not None
                start_ns = int(message["at_ns"])
                self._started = True
                if self._closed_loop:
                    self._until_ns = start_ns + self._duration_ns
                if self._duration_ns:
                    self._lifecycle.until_ns = start_ns + self._duration_ns
                if self._scheduled:
                    self._arrivals.begin(start_ns)
                self._wake_at(start_ns)
            case "hold":
                self._begin_to_beat()
            case "drain" if self._fall:
                self._fall.end()
            case "drain":
                assert message is not None
                self._drop_arrivals()
                self._connector.abandon()
                if self._target_closes:
                    self._close_by_ns = now_ns() + self._timeout_ns
                    self._lifecycle.ending = True
                    self._report("closing")
                    self._continue()
                else:
                    self._drain(over_ns=int(message["over_s"] * NS_PER_S))
            case _:  # "stop", or None: the orchestrator is gone
                self._stop()

    def _report(self, report: str, **more: Any) -> None:
        """Send a report; end as by "stop" if the orchestrator is gone."""
        if not self._link.send(report=report, **more):
            self._stop()

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _on_alarm(self) -> None:
        try:
            self._alarm.clear()
        except OSError as error:
            survived.add("read", error)
        self._pump()

    def _wake_at(self, at_ns: int) -> None:
        """Pump at this time; by a timer of the event loop, in whole milliseconds, if the alarm cannot be set."""
        try:
            self._alarm.set(at_ns)
        except OSError as error:
            survived.add("timerfd_settime", error)
            self._loop.call_later(max(at_ns - now_ns(), 0) / NS_PER_S, self._pump)

    def _on_events(self) -> None:
        self._connector.drain_events()
        self._continue()

    def _continue(self) -> None:
        """Go on after answers came in: there may be room for more attempts, or none may be left."""
        if self._close_by_ns:
            self._await_end()
        elif self._left():
            if not self._scheduled and self._pumping is None and self._recorder.first_started_ns:
                self._pump_again()
        elif self._started and not self._opened and self._lifecycle.idle:
            self._opened = True
            self._publish_all()
            self._report("opened")

    def _pump(self) -> None:
        """Start one batch of what is due, and with a schedule go on as long as the event loop has no turn."""
        self._pumping = None
        if self._draining:
            return
        if not self._recorder.first_started_ns:
            self._recorder.first_started_ns = now_ns()
            self._recorder.started_cpu_ns = thread_time_ns()
        self._start_batch()
        if self._scheduled:
            while self._left() and self._next_is_due():
                self._start_batch()
        elif self._left():
            self._pump_again()
        self._continue()

    def _start_batch(self) -> None:
        """Start what is due, at most a batch, and count what cannot start."""
        recorder, lifecycle = self._recorder, self._lifecycle
        batch, dropped = self._take_due(now_ns())
        if batch:
            started = self._connector.open_batch(batch)
            self._arrivals.passed(started)
            if self._scheduled:  # open-loop: an arrival that finds no port now is not started
                dropped += len(batch) - started
            recorder.heartbeat_ns = now_ns()
        self._skip(dropped)
        if lifecycle.exhausted:
            self._skip(self._arrivals.left)

    def _next_is_due(self) -> bool:
        """Wait here until the next arrival is due, and handle what the kernel has to report meanwhile.

        A turn of the event loop for each arrival would cost more than the arrival. Returns: False, with the alarm set
        for that arrival, when the loop has something to do before: a command, or the tick, so that it has a turn ten
        times a second at least.
        """
        connector, due_ns = self._connector, self._arrivals.next_ns()
        self._use_pause(due_ns)
        while (now := now_ns()) < self._tick_ns and due_ns < self._tick_ns and not connector.needs_loop:
            try:
                readable = wait.readable(self._watched, due_ns - now)
            except OSError as error:
                survived.add("select", error)
                break
            if self._link.fileno() in readable:
                break
            if readable:
                connector.drain_events()
            if now_ns() >= due_ns:
                return True
        self._wake_at(due_ns)
        return False

    def _use_pause(self, due_ns: int) -> None:
        """Prepare as many of the next attempts as there is time for; with nothing to prepare, sort some latencies."""
        begun_ns = now_ns()
        if begun_ns >= due_ns:
            return
        most = min(self._batch, self._lifecycle.room, self._arrivals.left)
        if ready := self._connector.prepare(most, self._spare_time.fits(due_ns - begun_ns)):
            self._spare_time.took(ready, now_ns() - begun_ns)
        elif due_ns - begun_ns > _SORTING_NS:
            self._recorder.latencies.sort_some(_SORTED_AT_ONCE)

    def _left(self) -> int:
        """Return the number of attempts still to be started; in a closed loop a batch, until its time is up."""
        if self._until_ns is None:
            return self._arrivals.left
        if self._until_ns and now_ns() >= self._until_ns:
            self._until_ns = 0
        return self._batch if self._until_ns else 0

    def _pump_again(self) -> None:
        """Pump again in a closed loop: at once if there is room, or when a pair without a port has cooled down."""
        if until_ns := self._lifecycle.cooldown_until_ns(now_ns()):
            self._wake_at(until_ns)
        elif self._lifecycle.room > 0 and self._pumping is None:
            self._pumping = self._loop.call_soon(self._pump)

    def _take_due(self, now: int) -> tuple[Sequence[int], int]:
        """Return the due times of the next attempts, and the number of those that are due but find no room."""
        room = self._lifecycle.room
        if not self._scheduled:
            return (0,) * min(self._batch, room, self._left()), 0
        batch = self._arrivals.due_by(now, self._batch)
        return batch[:room], max(len(batch) - room, 0)

    def _skip(self, arrivals: int) -> None:
        """Count arrivals that will never be started."""
        self._recorder.not_started += arrivals
        self._arrivals.passed(arrivals)

    def _drop_arrivals(self) -> None:
        """Drop all arrivals that have not started: the run ends early."""
        if self._until_ns is None:
            self._skip(self._arrivals.left)
        else:
            self._until_ns = 0
        self._opened = self._draining = True

    def _begin_to_beat(self) -> None:
        if self._connector.heartbeat is not None:
            self._connector.heartbeat.begin(now_ns())
            self._beat()

    def _beat(self) -> None:
        heartbeat = self._connector.heartbeat
        if heartbeat is not None and not self._draining:
            heartbeat.beat(now_ns())
            self._loop.call_later(heartbeat.pause_s, self._beat)

    def _await_end(self) -> None:
        """Wait while the target closes what is held; what it leaves open for too long is closed from here."""
        if self._recorder.open and now_ns() < self._close_by_ns:
            return
        self._close_by_ns = 0
        self._connector.give_up()
        self._drain()

    def _drain(self, over_ns: int = 0) -> None:
        """Close what is left, evenly over a time, and report that it is done."""
        self._fall = Fall(now_ns(), over_ns, self._recorder.open)
        self._close_due(self._fall)

    def _close_due(self, fall: Fall) -> None:
        batch = min(fall.due_by(now_ns()), _BATCH * 4)
        if not batch:
            self._loop.call_later(_FALL_S, self._close_due, fall)
            return
        fall.closed(batch)
        if self._connector.close_batch(batch):
            self._loop.call_soon(self._close_due, fall)
        else:
            self._publish_all()
            self._report("drained", survived=survived.counts)

    def _tick(self, due_ns: int) -> None:
        now = now_ns()
        recorder = self._recorder
        if self._started:  # before the start there is no work to be late with
            recorder.record_lag(max(now - due_ns, 0))
        recorder.heartbeat_ns = now
        # Not by now: answers that came in while this process stood still have not been looked at.
        self._connector.expire(due_ns)
        self._publish_all()
        self._continue()
        self._tick_later()

    def _tick_later(self) -> None:
        self._tick_ns = now_ns() + int(_TICK_S * NS_PER_S)
        self._loop.call_later(_TICK_S, self._tick, self._tick_ns)

    def _publish_all(self) -> None:
        """Show all numbers to the orchestrator, and the CPU time of this process up to now.

        Its two parts are from one call, so that they are of the same time. Their sum is exact; the kernel divides it
        by what each tick of its timer found running (cputime_adjust(), kernel/sched/cputime.c).
        """
        recorder, usage = self._recorder, resource.getrusage(resource.RUSAGE_SELF)
        recorder.user_cpu_ns = round(usage.ru_utime * NS_PER_S)
        recorder.cpu_ns = round((usage.ru_utime + usage.ru_stime) * NS_PER_S)
        recorder.publish_all()


def _is_own(error: BaseException) -> bool:
    """Return True if an exception has come through a method of the worker."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != __file__:
        trace = trace.tb_next
    return trace is not None


def main(shard: Shard, descriptors: int, link_fd: int, blocks_fd: int) -> None:
    """Run a forked worker until the run is over or the orchestrator gone; then end the process."""
    link = Link.at(link_fd)
    try:
        if limit := shard.plan.descriptor_limit:
            limit = min(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        wait.be_exact()
        blocks = Blocks(blocks_fd, block_dtype(len(shard.plan.pairs)), shard.count)
        # Not uvloop.run(): a loop that lacked a descriptor for its first turn hides that when it is to be closed.
        uvloop.new_event_loop().run_until_complete(_serve(shard, link, blocks.records, descriptors))
    except (Exception, SystemExit) as error:  # of any kind: without a report the orchestrator would not know why
        _tell_end(shard, link, error)
        os._exit(1)


async def _serve(shard: Shard, link: Link, blocks: NDArray[np.void], descriptors: int) -> None:
    try:
        worker = Worker(shard, link, blocks, descriptors=descriptors)
    except (OSError, MemoryError) as error:
        raise HostError(
            f"a worker cannot start: {error or 'no memory'}; look at the limit of open files (ulimit -n) and at the "
            "memory left"
        ) from error
    await worker.run()
    os._exit(0)  # all is reported; what fails while the event loop is torn down is of no interest


def _tell_end(shard: Shard, link: Link, error: BaseException) -> None:
    """Report why this worker cannot start or go on; on stderr if the orchestrator cannot be reached."""
    foreseen = isinstance(error, (OSError, MemoryError, LoadgenError, SystemExit))
    text = (str(error) or type(error).__name__) if foreseen else crash.told(error)
    try:
        if link.send(report="failed", text=text):
            return
    except OSError:
        pass
    os.write(2, f"loadgen: worker {shard.index} cannot go on: {text}\n".encode(errors="backslashreplace"))
