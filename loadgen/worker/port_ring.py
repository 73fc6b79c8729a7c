"""The order of source ports that loadgen chooses: free ports of one (source, target), the longest unused first.

Two kinds of ring for two kinds of denial. Where connections are held, a port that the kernel denies belongs to another
process. In churn it is most likely a port of this run that is still in TIME-WAIT, and will be back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Container, Sequence
from typing import Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.model import PortRange

#: A port that is denied for longer is not in a TIME-WAIT of this run, which lasts 60 s (TCP_TIMEWAIT_LEN, to the
#: granularity of the kernel's timer wheel).
NOT_OURS_NS: Final = 64 * NS_PER_S


class PortRing:
    """Free ports, first in first out.

    Fresh ports are given out in order; released ones queue behind them, so the time before a four-tuple
    is used again is as long as possible. Memory grows with the ports released, not with the range.
    """

    __slots__ = ("_fresh", "_released", "_unused", "release", "unused")

    def __init__(self, ports: PortRange, skipped: Container[int] = ()) -> None:
        every = range(ports.low, ports.high + 1)
        self._fresh = (port for port in every if port not in skipped) if skipped else iter(every)
        self._released: deque[int] = deque()
        self._unused: list[int] = []
        #: Put a port at the end of the queue.
        self.release = self._released.append
        #: Put a port that was never asked for at the head of the queue.
        self.unused = self._unused.append

    def allocate(self) -> int:
        """Return the port that was unused longest, or 0 when every port is in use."""
        if self._unused:
            return self._unused.pop()
        return next(self._fresh, 0) or (self._released.popleft() if self._released else self._resting_longest())

    def _resting_longest(self) -> int:
        """Return the port to ask for when none is free; 0: none is worth it."""
        return 0

    def another(self) -> int:
        """Return the port to try after one that was denied, or 0."""
        return self.allocate()

    def denied(self, ports: Sequence[int]) -> None:
        """Take back ports that one attempt was denied, in the order of trying; others have them, so they queue last."""
        self._released.extend(ports)


class RestingRing(PortRing):
    """Free ports of churn, where a port that is given back may still be in TIME-WAIT.

    Ports that were denied are kept apart in the order in which they were used, because the kernel frees them in that
    order: the oldest is the one to ask for. But not the only one. Ports that were released since, and the youngest of
    those that were denied, are asked for as well: where TIME-WAIT has no room for all (tcp_max_tw_buckets) they are
    free at once, while older ones stay.
    """

    __slots__ = ("_denied_since_ns", "_head", "_order", "_resting", "_tries", "_turn")

    def __init__(self, ports: PortRange, skipped: Container[int] = ()) -> None:
        super().__init__(ports, skipped)
        self._turn = 0
        self._order: dict[int, int] = {}  # instant of each port's last release, in turns
        self._resting: deque[int] = deque()  # oldest first
        self._tries = 0  # further tries of the present attempt
        self._head = 0  # the oldest of those that rest, and since when it has been
        self._denied_since_ns = 0
        self.release = self._release

    def _release(self, port: int) -> None:
        self._turn += 1  # as `_stamp`, without a call for each connection
        self._order[port] = self._turn
        self._released.append(port)

    def _stamp(self, port: int) -> int:
        self._turn += 1
        self._order[port] = self._turn
        return self._turn

    def _resting_longest(self) -> int:
        """Of those that were denied since they were used, the one unused longest."""
        return self._resting.popleft() if self._resting else 0

    def another(self) -> int:
        """Return the port to try after a denial: the oldest of those that rest, then the youngest, then `allocate`."""
        self._tries += 1
        if self._resting and self._tries == 1:
            return self._resting.popleft()
        if self._resting and self._tries == 2:
            return self._resting.pop()
        return self.allocate()

    def denied(self, ports: Sequence[int]) -> None:
        """Take back ports that one attempt was denied; each goes to its place among those that rest."""
        self._tries = 0
        for port in ports:
            self._rest(port)
        now, head = now_ns(), self._resting[0]
        if head != self._head:
            self._head, self._denied_since_ns = head, now
        elif now - self._denied_since_ns > NOT_OURS_NS:  # it belongs to another process: behind all others
            self._resting.popleft()
            self._stamp(head)
            self._resting.append(head)
            self._head = 0

    def _rest(self, port: int) -> None:
        # A port that this run never had is not in its TIME-WAIT, and queues behind those that are.
        resting, order = self._resting, self._order
        turn = order.get(port) or self._stamp(port)
        if not resting or turn > order[resting[-1]]:
            resting.append(port)
        elif turn < order[resting[0]]:
            resting.appendleft(port)
        else:
            resting.insert(bisect_left(resting, turn, key=order.__getitem__), port)
