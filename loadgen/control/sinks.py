"""The listening side of a run as the orchestrator sees it: sink processes, and what they have counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from loadgen import protocols
from loadgen.capacity import sink_endpoints
from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import CloseMode, Endpoint, Manners, Plan, Speaks, Transport
from loadgen.processes.fleet import GONE, Fleet
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import sink
from loadgen.sink.certificates import Certificates

#: What the fleet calls its sink processes.
SINK: Final = "sink"
#: How long the sinks may take to see the last end of file.
_SETTLE_S: Final = 5.0
_POLL_S: Final = 0.05
#: With more sinks than so many for each core, a sink lets connections gather for a while before it accepts.
_CROWD: Final = 2
_GATHER_S: Final = 0.02


def _closes_after(plan: Plan) -> int | None:
    """The bytes that a sink sends back before it closes first, requests being of one length; None where it does not."""
    if plan.churn is None or plan.close is not CloseMode.TARGET:
        return None
    if exchange := protocols.make(plan.traffic):
        return len(exchange.request(0)) * plan.churn.exchanges
    return None if plan.traffic else 0  # a protocol with a connector of its own asks for the close


def _manners(plan: Plan) -> dict[Endpoint, Manners]:
    """Of each target of ours that has other manners than the plain ones.

    In churn where the target closes first, HTTP does so with the answer to the last request; for an echo the bytes
    are counted, see `_closes_after`.
    """
    found = {target.endpoint: target.manners for target in plan.targets if target.sink and target.manners != Manners()}
    if plan.churn is None or plan.close is not CloseMode.TARGET or not plan.traffic:
        return found
    return {
        endpoint: replace(manners, close_after_requests=manners.close_after_requests or plan.churn.exchanges)
        if manners.speaks is Speaks.HTTP
        else manners
        for endpoint, manners in found.items()
    }


class Sinks:
    """The sinks of a plan; without any, everything here does nothing and says None.

    strangers: how many source addresses beyond the plan's may show up. certificates: for the targets that speak TLS.
    """

    def __init__(self, fleet: Fleet, plan: Plan, *, strangers: int, certificates: Certificates | None = None) -> None:
        self._fleet, self._plan, self._certificates = fleet, plan, certificates
        self._rows = len(plan.sources) + strangers + 2  # one for those nobody counts on, one for those beyond
        self._blocks = Blocks.create("loadgen-sinks", sink.block_dtype(self._rows), plan.sinks) if plan.sinks else None
        self._accepts_all = plan.transport is Transport.TCP and all(
            target.sink and target.accept_after_s is not None for target in plan.targets
        )

    async def start(self, descriptors: int, cpus: int, *, entered: str | None, timeout_s: float) -> None:
        """Fork them and wait until all of them listen.

        descriptors: the limit of open files of each. cpus: how many cores there are for all. entered:
        "module:function" that takes a process to where the sinks live, before it runs their own entry; None:
        they live where everybody does.

        Raises: HostError, IncompleteError as Fleet.start.
        """
        if self._blocks is None:
            return
        plan = self._plan
        listening = [target for target in plan.targets if target.sink]
        crowded = plan.churn is None and plan.sinks > _CROWD * cpus
        if self._certificates:  # once for all of them, so that a client can resume with any
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
                gather_s=_GATHER_S if crowded else 0.0,
                manners=_manners(plan),
                certificates=self._certificates,
                transport=plan.transport,
            )
            for index in range(plan.sinks)
        ]
        entry, *rest = [entered, "loadgen.sink.sink:main"] if entered else ["loadgen.sink.sink:main"]
        await self._fleet.start(SINK, entry, shards, *rest, blocks_fd=self._blocks.fd, timeout_s=timeout_s)

    def close(self) -> None:
        """Forget what they counted; harmless when repeated."""
        if self._blocks:
            self._blocks.close()

    def close_first(self) -> None:
        """Have them close all that they hold."""
        self._fleet.tell(SINK, do="close")

    def now(self, *, final: bool = False) -> dict[str, Any] | None:
        """Connections accepted and open; at the end also what came from each source. None without sinks.

        Of UDP none is open, and "accepted" are the endpoints that datagrams came from; "datagrams" says how many.
        """
        if self._blocks is None:
            return None
        gone = [member.index for member in self._fleet.members if member.kind == SINK and member.state == GONE]
        now: dict[str, Any] = sink.totals(self._blocks, gone)
        if self._plan.transport is Transport.UDP:
            now["datagrams"] = sink.datagrams(self._blocks)
        if final:
            now["sources"] = sink.by_source(self._blocks)
        return now

    async def settle(self, established: int, enough: Callable[[], bool]) -> None:
        """The clients are done; give the sinks that are still there a moment to read the last end of file.

        What a sink has published may be older than the clients' end, so its heartbeat has to be younger. In
        churn what it has not accepted yet may be closed already at the other end, and not be open anywhere.

        established: connections of all workers together. enough: whether to wait no longer.
        """
        begun = now_ns()
        while now_ns() < begun + _SETTLE_S * NS_PER_S and not enough() and self._fleet.alive(SINK):
            seen = self.now()
            if seen is None or self._blocks is None:
                return
            alive = [member.index for member in self._fleet.alive(SINK)]
            heartbeats = self._blocks.records["counters"][alive, sink.SinkCounter.HEARTBEAT_NS]
            accepted = seen["accepted"] >= established or not self._accepts_all
            if not seen["open"] and heartbeats.min() > begun and accepted:
                return
            await asyncio.sleep(_POLL_S)
