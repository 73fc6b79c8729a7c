"""One worker process: a shard's arrivals, its connector and its recorder on one event loop.

The worker computes everything it does from its shard, so after "start" nobody tells it anything
until "drain". It reports: ready, opened (every arrival is started and answered), closing (it waits
for the other side to close), drained, and failed with a reason. If its link closes, the orchestrator
is gone and it leaves at once.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Sequence
from pkgutil import resolve_name
from time import process_time_ns, thread_time_ns
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import uvloop

from loadgen import arrivals, protocols
from loadgen.clock import NS_PER_S, Alarm, now_ns
from loadgen.model import CloseMode, Engine, Shard, Transport
from loadgen.processes.link import Link
from loadgen.processes.shared_memory import Blocks
from loadgen.results.block import block_dtype
from loadgen.worker.backoff import Exhaustion
from loadgen.worker.epoll.churn import Churner
from loadgen.worker.epoll.connector import Connector
from loadgen.worker.epoll.exchange import Talker
from loadgen.worker.epoll.heartbeat import Beater
from loadgen.worker.epoll.udp import DatagramBeater, DatagramChurner, DatagramTalker
from loadgen.worker.freebind import Freebind
from loadgen.worker.io_uring import connector as uring
from loadgen.worker.recorder import Recorder
from loadgen.worker.shard import may_self_connect, order_of, schedule_of, sizes_of, slice_of
from loadgen.worker.strategies import setup_of, strategy_for
from loadgen.worker.tls import Client

#: Attempts per turn of the event loop: long enough to share its cost, short enough (some 1.5 ms) for
#: answers, lost connections and commands to be seen in between.
_BATCH: Final = 64
#: How often everything that is not counted per batch is published, and the loop's own lag is measured.
_TICK_S: Final = 0.1


#: Connections that are closed when their work is done, that have a heartbeat, that say something and are held.
KINDS: Final = {
    Transport.TCP: (Churner, Beater, Talker),
    Transport.UDP: (DatagramChurner, DatagramBeater, DatagramTalker),
}


def uring_of(shard: Shard, recorder: Recorder) -> uring.UringConnector:
    """The same by io_uring: direct descriptors for all that may be open, on their way or ready at once."""
    plan = shard.plan
    sources = [source for source, _ in plan.pairs]
    skipped = frozenset(plan.skipped_ports)
    return uring.UringConnector(
        plan.pairs,
        setup_of(plan.strategy, sources, slice_of(shard), skipped, freebind=plan.freebind),
        recorder,
        first_pair=arrivals.first_pair(sizes_of(plan), plan.sharded_spaces, len(plan.pairs), shard.index),
        order=order_of(shard),
        self_connect=may_self_connect(shard),
        close=plan.close,
        timeout_s=plan.timeout_s,
        in_flight_max=plan.in_flight_max,
        descriptors=sizes_of(plan)[shard.index] + min(plan.in_flight_max, sizes_of(plan)[shard.index]) + uring.BATCH,
    )


def connector_of(shard: Shard, recorder: Recorder, descriptors: int) -> Connector | uring.UringConnector:
    """The connections of one shard: held until told otherwise, with a heartbeat or without, or in churn."""
    plan = shard.plan
    if plan.engine is Engine.IO_URING:
        return uring_of(shard, recorder)
    churn = plan.churn
    ports = slice_of(shard)
    sources = [source for source, _ in plan.pairs]
    first_pair = arrivals.first_pair(sizes_of(plan), plan.sharded_spaces, len(plan.pairs), shard.index)
    source_ports = strategy_for(
        plan.strategy,
        sources,
        ports,
        frozenset(plan.skipped_ports),
        churn=churn is not None,
        transport=plan.transport,
    )
    churner, beater, talker = KINDS[plan.transport]
    if plan.freebind:
        source_ports = Freebind(source_ports, sources)
    common: dict[str, Any] = {
        "first_pair": first_pair,
        "order": order_of(shard),
        "self_connect": may_self_connect(shard),
        "close": plan.close,
        "timeout_s": plan.timeout_s,
        "in_flight_max": plan.in_flight_max,
        "descriptors": descriptors,
        "transport": plan.transport,
    }
    open_max = arrivals.part(plan.connections, shard.index, plan.workers)
    if churn:
        searched = 1 if plan.strategy.row.slices_ports else len(ports)
        common["exhausted"] = Exhaustion(len(plan.pairs), churn_ports=searched)
    if plan.traffic and (own := protocols.own_connector(plan.traffic.protocol)):
        connector: Connector = resolve_name(own)(plan, source_ports, recorder, open_max=open_max, **common)
        return connector
    said: dict[str, Any] = {
        "exchange": protocols.make(plan.traffic),
        "client": Client(plan.tls, plan.pairs, plan.targets) if plan.tls else None,
    }
    if churn:
        return churner(
            plan.pairs, source_ports, recorder, exchanges=churn.exchanges, open_max=open_max, **said, **common
        )
    if plan.heartbeat:
        return beater(plan.pairs, source_ports, recorder, heartbeat=plan.heartbeat, **said, **common)
    if any(said.values()):
        return talker(plan.pairs, source_ports, recorder, **said, **common)
    return Connector(plan.pairs, source_ports, recorder, **common)


@runtime_checkable
class _Beats(Protocol):
    """A connector whose connections make an exchange now and then; see `loadgen.worker.epoll.heartbeat.Beater`."""

    pause_s: float

    def begin(self, now: int) -> None: ...

    def beat(self, now: int) -> None: ...


@runtime_checkable
class _Churns(Protocol):
    """A connector whose connections make no further exchange after `until_ns`."""

    until_ns: int | None


class Worker:
    """Drives one shard. `link` carries commands and reports, `block` the numbers."""

    def __init__(self, shard: Shard, link: Link, block: Any, *, descriptors: int) -> None:
        plan = shard.plan
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._due = schedule_of(shard)
        self._scheduled = bool(plan.stages)
        self._next = 0
        #: A closed loop goes on until this instant, 0 once it has passed; None: there is a number of arrivals.
        self._until_ns: int | None = None
        self._duration_ns = int(plan.churn.duration_s * NS_PER_S) if plan.churn else 0
        self._closed_loop = plan.scheduled is None
        self._started = self._opened = self._draining = False
        self._close_by_ns = 0
        self._timeout_ns = int(plan.timeout_s * NS_PER_S)
        self._recorder = Recorder(block, scheduled=None if plan.churn else len(self._due))
        self._connector = connector_of(shard, self._recorder, descriptors)
        self._batch = uring.BATCH if plan.engine is Engine.IO_URING else _BATCH
        self._target_closes = plan.close is CloseMode.TARGET and not plan.churn
        self._alarm = Alarm()
        self._stopped = self._loop.create_future()
        self._pumping: asyncio.Handle | None = None

    async def run(self) -> None:
        """Serve commands until "stop" or until the orchestrator is gone."""
        loop = self._loop
        loop.add_reader(self._link.fileno(), self._on_command)
        loop.add_reader(self._connector.fileno(), self._on_events)
        loop.add_reader(self._alarm.fileno(), self._on_alarm)
        loop.call_later(_TICK_S, self._tick, now_ns() + int(_TICK_S * 1e9))
        self._recorder.heartbeat_ns = now_ns()
        self._recorder.publish()
        self._link.send(report="ready")
        await self._stopped

    def _on_command(self) -> None:
        message = self._link.receive()
        match message and message["do"]:
            case "start":
                assert message is not None
                start_ns = int(message["at_ns"])
                self._started = True
                if self._closed_loop:
                    self._until_ns = start_ns + self._duration_ns
                if isinstance(self._connector, _Churns):
                    self._connector.until_ns = start_ns + self._duration_ns
                if self._scheduled:
                    self._due = self._due + start_ns
                self._alarm.set(start_ns)
            case "hold":
                self._begin_to_beat()
            case "drain":
                self._drop_arrivals()
                self._connector.abandon()
                if self._target_closes:
                    self._close_by_ns = now_ns() + self._timeout_ns
                    self._connector.expect_end()
                    self._link.send(report="closing")
                    self._continue()
                else:
                    self._drain()
            case _:  # "stop", or None: the orchestrator is gone
                if not self._stopped.done():
                    self._stopped.set_result(None)

    def _on_alarm(self) -> None:
        self._alarm.clear()
        self._pump()

    def _on_events(self) -> None:
        self._connector.drain_events()
        self._continue()

    def _continue(self) -> None:
        """After answers came in: there may be room for more attempts, or none may be left."""
        if self._close_by_ns:
            self._await_end()
        elif self._left():
            if not self._scheduled and self._pumping is None and self._recorder.first_started_ns:
                self._pump_again()
        elif self._started and not self._opened and self._connector.idle:
            self._opened = True
            self._recorder.publish_all()
            self._link.send(report="opened")

    def _pump(self) -> None:
        """Start what is due, one batch; come back for the rest by way of the event loop."""
        self._pumping = None
        if self._draining:
            return
        recorder, connector = self._recorder, self._connector
        begun = now_ns()
        if not recorder.first_started_ns:
            recorder.first_started_ns = begun
            recorder.started_cpu_ns = thread_time_ns()
        batch, dropped = self._take_due(begun)
        if batch:
            started = connector.open_batch(batch)
            self._next += started
            if self._scheduled:  # an arrival waits for nobody: one that finds no port now is not started
                dropped += len(batch) - started
            recorder.heartbeat_ns = now_ns()
        self._skip(dropped)
        if connector.spent:
            self._skip(len(self._due) - self._next)
        if self._left():
            if not self._scheduled:
                self._pump_again()
            elif self._due[self._next] <= now_ns():
                self._pumping = self._loop.call_soon(self._pump)
            else:
                self._alarm.set(int(self._due[self._next]))
                connector.prepare(min(self._batch, connector.room, self._left()))
        self._continue()

    def _left(self) -> int:
        """How many attempts are still to be started; of a closed loop nobody knows, but more than a batch."""
        if self._until_ns is None:
            return len(self._due) - self._next
        if self._until_ns and now_ns() >= self._until_ns:
            self._until_ns = 0
        return self._batch if self._until_ns else 0

    def _pump_again(self) -> None:
        """Without a schedule: at once if the window has room, or when the ports that were denied are worth asking."""
        if rest_ns := self._connector.rest_ns():
            self._alarm.set(rest_ns)
        elif self._connector.room > 0 and self._pumping is None:
            self._pumping = self._loop.call_soon(self._pump)

    def _take_due(self, now: int) -> tuple[Sequence[int], int]:
        """The next attempts to start, and how many are due but find the window full."""
        room = self._connector.room
        if not self._scheduled:
            return (0,) * min(self._batch, room, self._left()), 0
        due = int(np.searchsorted(self._due, now, side="right")) - self._next
        count = min(due, self._batch, room)
        batch: list[int] = self._due[self._next : self._next + count].tolist()
        return batch, due - count if room < min(due, self._batch) else 0

    def _skip(self, arrivals: int) -> None:
        """Count arrivals that will never be started."""
        self._recorder.not_started += arrivals
        self._next += arrivals

    def _drop_arrivals(self) -> None:
        """The run ends early: what has not started never will."""
        if self._until_ns is None:
            self._skip(len(self._due) - self._next)
        else:
            self._until_ns = 0
        self._opened = self._draining = True

    def _begin_to_beat(self) -> None:
        if isinstance(self._connector, _Beats):
            self._connector.begin(now_ns())
            self._beat()

    def _beat(self) -> None:
        if isinstance(self._connector, _Beats) and not self._draining:
            self._connector.beat(now_ns())
            self._loop.call_later(self._connector.pause_s, self._beat)

    def _await_end(self) -> None:
        """Our sinks are closing what is held; what they leave open for too long is closed from here."""
        if self._recorder.open and now_ns() < self._close_by_ns:
            return
        self._close_by_ns = 0
        self._connector.give_up()
        self._drain()

    def _drain(self) -> None:
        if self._connector.close_batch(_BATCH * 4):
            self._loop.call_soon(self._drain)
        else:
            self._recorder.publish_all()
            self._link.send(report="drained")

    def _tick(self, due_ns: int) -> None:
        now = now_ns()
        recorder = self._recorder
        if self._started:  # who waits for its turn is late for nothing
            recorder.record_lag(max(now - due_ns, 0))
        recorder.heartbeat_ns = now
        recorder.cpu_ns = process_time_ns()
        self._connector.expire(now)
        recorder.publish_all()
        self._continue()
        self._loop.call_later(_TICK_S, self._tick, now_ns() + int(_TICK_S * 1e9))


def main(shard: Shard, descriptors: int, link_fd: int, blocks_fd: int) -> None:
    """Entry of a forked worker; returns when the run is over or the orchestrator gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the orchestrator decides
    if limit := shard.plan.descriptor_limit:
        limit = min(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    blocks = Blocks(blocks_fd, block_dtype(len(shard.plan.pairs)), shard.count)
    link = Link(socket.socket(fileno=link_fd))
    uvloop.run(_serve(shard, link, blocks.records[shard.index], descriptors))


async def _serve(shard: Shard, link: Link, block: Any, descriptors: int) -> None:
    try:
        worker = Worker(shard, link, block, descriptors=descriptors)
    except Exception as error:  # whatever it is, the orchestrator must hear it rather than wait
        link.send(report="failed", text=f"{type(error).__name__}: {error}")
        raise
    await worker.run()
