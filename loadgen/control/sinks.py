"""The sink processes of a run, controlled by the orchestrator, and their counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import protocols
from loadgen.capacity import sink_endpoints
from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import CloseMode, Endpoint, Plan, SinkBehaviour, Speaks, Transport
from loadgen.processes.fleet import GONE, Fleet, Member
from loadgen.processes.shared_memory import Blocks
from loadgen.results.schema.line import SinkLine
from loadgen.results.schema.sides import Datagrams, SinkSource
from loadgen.sink import counts, sink
from loadgen.sink.certificates import Certificates

#: The kind of sink processes in a fleet.
SINK: Final = "sink"
#: Maximum time to wait for the sinks to read the last end of file.
_SETTLE_S: Final = 5.0
_POLL_S: Final = 0.05
#: Pause of a sink before it accepts again, where no client waits for it; and with more sinks per core than this, where
#: each connection would wake another process.
_GATHER_S: Final = 0.01
_SINKS_PER_CPU_MAX: Final = 2
_GATHER_CROWDED_S: Final = 0.02


def _gather_s(plan: Plan, cpus: int) -> float:
    """Return how long the sinks let connections gather before they accept them, see SinkShard."""
    if plan.churn is None and plan.sinks > _SINKS_PER_CPU_MAX * cpus:
        return _GATHER_CROWDED_S
    silent = not plan.traffic and plan.tls is None and not _behaviours(plan)
    # A client that closes with FIN keeps its port for TIME-WAIT only once the sink has closed, too.
    return _GATHER_S if silent and (plan.churn is None or plan.close is CloseMode.RST) else 0.0


def _closes_after(plan: Plan) -> int | None:
    """Return the bytes that a sink echoes before it closes first (requests have one length); None: it does not."""
    if plan.churn is None or plan.close is not CloseMode.TARGET:
        return None
    if not plan.traffic:
        return 0
    exchange = protocols.make(plan.traffic)
    if exchange is None or isinstance(exchange, protocols.PerTarget):
        return None  # HTTP requests the close itself
    return len(exchange.request(0)) * plan.churn.exchanges


def _behaviours(plan: Plan) -> dict[Endpoint, SinkBehaviour]:
    """Return the behaviour of each sink that is not a plain echo.

    In churn where the target closes first, HTTP closes with the answer to the last request; an echo counts bytes, see
    `_closes_after`.
    """
    behaviours = {
        target.endpoint: target.behaviour
        for target in plan.targets
        if target.sink and target.behaviour != SinkBehaviour()
    }
    if plan.churn is None or plan.close is not CloseMode.TARGET or not plan.traffic:
        return behaviours
    return {
        endpoint: replace(behaviour, close_after_requests=behaviour.close_after_requests or plan.churn.exchanges)
        if behaviour.speaks is Speaks.HTTP
        else behaviour
        for endpoint, behaviour in behaviours.items()
    }


class Sinks:
    """The sinks of a plan. For a plan without sinks every method does nothing and returns None.

    strangers: maximum source addresses, beside the plan's, to count separately. certificates: for targets with TLS.
    """

    def __init__(self, fleet: Fleet, plan: Plan, *, strangers: int, certificates: Certificates | None = None) -> None:
        self._fleet, self._plan, self._certificates = fleet, plan, certificates
        self._rows = len(plan.sources) + strangers + 2  # one for an unexpected address, one for all further ones
        self._blocks = (
            Blocks.create("loadgen-sinks", counts.block_dtype(self._rows), plan.sinks) if plan.sinks else None
        )
        self._accepts_all = plan.transport is Transport.TCP and all(
            target.sink and target.accept_after_s is not None for target in plan.targets
        )

    async def start(self, descriptors: int, cpus: int, *, entered: str | None, timeout_s: float) -> None:
        """Fork the sinks and wait until all of them listen.

        descriptors: limit of open files of each sink. cpus: cores available to all sinks. entered: "module:function"
        that moves a process into the sinks' namespace before it runs their entry; None: the zygote's namespace.

        Raises: HostError, IncompleteError, see Fleet.start.
        """
        if self._blocks is None:
            return
        plan = self._plan
        listening = [target for target in plan.targets if target.sink]
        if self._certificates:  # before the fork, so that a client can resume its session with any sink
            await self._fleet.zygote.call("loadgen.sink.behaviour.tls:prepare", self._certificates)
        shards = [
            sink.SinkShard(
                sink_endpoints(plan),
                index,
                plan.sinks,
                self._rows,
                descriptors,
                backlogs={target.endpoint: target.backlog for target in listening if target.backlog},
                accept_after_s={target.endpoint: target.accept_after_s for target in listening},
                closes_after=_closes_after(plan),
                gather_s=_gather_s(plan, cpus),
                behaviours=_behaviours(plan),
                certificates=self._certificates,
                transport=plan.transport,
            )
            for index in range(plan.sinks)
        ]
        entry, *rest = [entered, "loadgen.sink.sink:main"] if entered else ["loadgen.sink.sink:main"]
        await self._fleet.start(SINK, entry, shards, *rest, blocks_fd=self._blocks.fd, timeout_s=timeout_s)

    def close(self) -> None:
        """Release the memory of the counters; harmless when repeated."""
        if self._blocks:
            self._blocks.close()

    def close_first(self) -> None:
        """Make the sinks close all connections they hold."""
        self._fleet.tell(SINK, do="close")

    def now(self, *, final: bool = False) -> SinkLine | None:
        """Return the counts so far; with `final` also the counts per source. None without sinks.

        Over UDP `open` is 0, `accepted` counts the endpoints that datagrams came from, and `datagrams` the datagrams.
        """
        if self._blocks is None:
            return None
        gone = [member.index for member in self._fleet.members if member.kind == SINK and member.state == GONE]
        datagrams = counts.datagrams(self._blocks) if self._plan.transport is Transport.UDP else None
        return SinkLine(
            **counts.totals(self._blocks, gone),
            datagrams=Datagrams(**datagrams) if datagrams else None,
            sources=tuple(SinkSource(**row) for row in counts.by_source(self._blocks)) if final else None,
            failures=counts.failures(self._blocks),
        )

    def heartbeats(self) -> NDArray[np.int64]:
        """Return when each sink last published its counters: int64 (sinks,), nanoseconds."""
        assert self._blocks
        return counts.heartbeats(self._blocks)

    async def settle(
        self, established: int, stalled: Callable[[], Collection[Member]], enough: Callable[[], bool]
    ) -> None:
        """Wait, after the clients have closed, until the running sinks have read the last end of file.

        The counters of a sink are current only if its heartbeat is younger than the clients' end. In churn a connection
        may be closed at the client before the sink accepts it, and so be open on neither side.

        established: connections of all workers. stalled: sinks that will read nothing. enough: return early once this
        returns True.
        """
        begun_ns = now_ns()
        while now_ns() < begun_ns + _SETTLE_S * NS_PER_S and not enough():
            snapshot, ignored = self.now(), stalled()
            running = [member.index for member in self._fleet.alive(SINK) if member not in ignored]
            if snapshot is None or self._blocks is None or not running:
                return
            # What waited in the queue of a lost sink is never accepted.
            all_run = len(running) == self._plan.sinks
            accepted = snapshot.accepted >= established or not self._accepts_all or not all_run
            is_open = counts.still_open(self._blocks, running)
            if not is_open and self.heartbeats()[running].min() > begun_ns and accepted:
                return
            await asyncio.sleep(_POLL_S)
