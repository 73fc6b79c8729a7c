"""The listening side of a run as the orchestrator sees it: sink processes, and what they have counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from loadgen import sink
from loadgen.capacity import sink_endpoints
from loadgen.clock import NS_PER_S, now_ns
from loadgen.launch.fleet import GONE, Fleet
from loadgen.metrics.recorder import Blocks
from loadgen.model import CloseMode, Plan

#: What the fleet calls its sink processes.
SINK: Final = "sink"
#: How long the sinks may take to see the last end of file.
_SETTLE_S: Final = 5.0
_POLL_S: Final = 0.05
#: With more sinks than so many for each core, a sink lets connections gather for a while before it accepts.
_CROWD: Final = 2
_GATHER_S: Final = 0.02


class Sinks:
    """The sinks of a plan; without any, everything here does nothing and says None.

    strangers: how many source addresses beyond the plan's may show up.
    """

    def __init__(self, fleet: Fleet, plan: Plan, *, strangers: int) -> None:
        self._fleet, self._plan = fleet, plan
        self._rows = len(plan.sources) + strangers + 2  # one for those nobody counts on, one for those beyond
        self._blocks = Blocks.create("loadgen-sinks", sink.block_dtype(self._rows), plan.sinks) if plan.sinks else None
        self._accepts_all = all(target.sink and target.accept_after_s is not None for target in plan.targets)

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
        shards = [
            sink.SinkShard(
                sink_endpoints(plan),
                index,
                plan.sinks,
                self._rows,
                descriptors,
                backlogs={target.endpoint: target.backlog for target in listening if target.backlog},
                accept_after_s={target.endpoint: target.accept_after_s for target in listening},
                closes_after=plan.churn.exchange_bytes if plan.churn and plan.close is CloseMode.TARGET else None,
                gather_s=_GATHER_S if crowded else 0.0,
            )
            for index in range(plan.sinks)
        ]
        entry, *rest = [entered, "loadgen.sink:main"] if entered else ["loadgen.sink:main"]
        await self._fleet.start(SINK, entry, shards, *rest, blocks_fd=self._blocks.fd, timeout_s=timeout_s)

    def close_first(self) -> None:
        """Have them close all that they hold."""
        self._fleet.tell(SINK, do="close")

    def now(self, *, final: bool = False) -> dict[str, Any] | None:
        """Connections accepted and open; at the end also what came from each source. None without sinks."""
        if self._blocks is None:
            return None
        gone = [member.index for member in self._fleet.members if member.kind == SINK and member.state == GONE]
        now: dict[str, Any] = sink.totals(self._blocks, gone)
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
