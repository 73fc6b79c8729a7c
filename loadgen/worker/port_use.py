"""CPU time of a connection by the share of the ports in use, for churn whose closed connections keep their ports.

Held connections fill the ports once, so that every tenth of the connections is a tenth of the ports. In churn a port
is in use while its connection is open, and for as long as it rests afterwards (`loadgen.capacity.time_wait`). So the
time since the last note goes to the tenth of the ports that were in use meanwhile, in the first pass over the ports as
in those that follow. Where the kernel picks the ports all workers use them together, so the others count as well.

Pure: instants and CPU times are arguments in nanoseconds, counts are running totals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S
from loadgen.model import Plan
from loadgen.results.block import TENTHS
from loadgen.results.schema.counters import POSITION

#: Ports in use, as a multiple of those that there are, above which the reckoning is wrong and not just unsharp.
_IMPOSSIBLE: Final = 1.2

_OPEN_AND_CLOSED: Final = [POSITION["open"], POSITION["closed"]]
#: Change of the share of ports in use between two notes after which neither share stands for the time between.
_JUMP: Final = 0.5 / TENTHS
#: Returns connections of all other workers that are open, and that were closed.
Others = Callable[[], tuple[int, int]]


class PortUse:
    """The account of one worker.

    ports: those that it has, alone or together with others. rest_ns: how long a port rests after its connection was
    closed. workers: that have these ports; others: counts of all but this one, None where it has the ports alone.
    spent: int64 (TENTHS, 2), CPU nanoseconds and connections of each tenth, 0 where not known: written here.
    """

    __slots__ = (
        "_before",
        "_impossible",
        "_least",
        "_others",
        "_past",
        "_ports",
        "_rest_ns",
        "_spent",
        "_sums",
        "step",
    )

    def __init__(
        self, ports: float, rest_ns: int, spent: NDArray[np.int64], *, workers: int = 1, others: Others | None = None
    ) -> None:
        self._ports, self._rest_ns, self._spent, self._others = ports, rest_ns, spent, others
        #: Connections of this worker from one note to the next: all workers together use another hundredth meanwhile.
        self.step = max(int(ports / 100 / workers), 1)
        self._least = ports / workers / TENTHS / 2
        self._sums = [[0, 0] for _ in range(TENTHS)]
        #: Instants and the connections closed by then, since the last one before a rest ago.
        self._past: deque[tuple[int, int]] = deque()
        self._before: tuple[int, int, int, float] | None = None
        self._impossible = False

    def note(self, at_ns: int, cpu_ns: int, *, established: int, open_now: int, closed: int, denials: int) -> None:
        """Add what was spent since the last note.

        denials: attempts that found no port. With any, nothing is added: the searches that fail and the wait for a
        port are no cost of the few connections between them. Nor is it when another share of the ports was in use at
        the end than at the beginning, as after a pause in which many of them came back.
        """
        if self._others is not None:
            others_open, others_closed = self._others()
            open_now, closed = open_now + others_open, closed + others_closed
        self._past.append((at_ns, closed))
        used = open_now + closed - self._closed_by(at_ns - self._rest_ns)
        if used > _IMPOSSIBLE * self._ports:
            # The ports are back sooner than was thought, as when the other side closes first.
            self._impossible = True
            self._spent[:] = 0
        before, self._before = self._before, (cpu_ns, established, denials, used)
        if before is None or before[2] != denials or self._impossible:
            return
        if abs(used - before[3]) > _JUMP * self._ports:
            return
        tenth = min(int(TENTHS * (before[3] + used) / (2 * self._ports)), TENTHS - 1)
        sums = self._sums[tenth]
        sums[0] += cpu_ns - before[0]
        sums[1] += established - before[1]
        if sums[1] >= self._least:  # the mean of fewer is noise
            self._spent[tenth] = sums

    def _closed_by(self, at_ns: int) -> float:
        """Return how many connections were closed by then, to a hundredth of the ports; forget what was before."""
        past = self._past
        while len(past) > 1 and past[1][0] <= at_ns:
            past.popleft()
        began_ns, closed = past[0]
        if at_ns < began_ns:
            return 0
        if len(past) == 1:
            return closed
        ended_ns, closed_then = past[1]
        return closed + (closed_then - closed) * (at_ns - began_ns) / (ended_ns - began_ns)


def port_use_of(plan: Plan, index: int, blocks: NDArray[np.void]) -> PortUse | None:
    """Return the account of a worker; None where no closed connection keeps its port from the next.

    blocks: of all workers of the plan, in their order.
    """
    if not plan.ceiling or not plan.ceiling.rest_s:
        return None
    rest_ns, spent = int(plan.ceiling.rest_s * NS_PER_S), blocks[index]["port_use"]
    if plan.workers == 1 or plan.strategy.row.slices_ports:
        return PortUse(plan.capacity / plan.workers, rest_ns, spent)
    return PortUse(plan.capacity, rest_ns, spent, workers=plan.workers, others=_others(blocks, index))


def _others(blocks: NDArray[np.void], index: int) -> Others:
    others = np.flatnonzero(np.arange(len(blocks)) != index)
    updates, counters = blocks["updates"], blocks["totals"]["counters"]

    def read() -> tuple[int, int]:
        # A counter by itself is whole at any time, and one batch more or less makes no difference.
        open_now, closed = counters[others, updates[others] & 1][:, _OPEN_AND_CLOSED].sum(axis=0).tolist()
        return open_now, closed

    return read
