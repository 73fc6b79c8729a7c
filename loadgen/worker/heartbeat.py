"""The heartbeat of held connections: a request now and then, and the time to its reply.

A connection that is never used looks the same whether its path works or not. So a share of what is held sends a
request periodically, each connection at its own moment so that the load is even, and the time to the reply is
measured. A reply that has not come when the next request is due is a missed beat; that request then waits for
it, because two under way could not be told apart.

Pure but for the two functions it is given: instants are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from loadgen.clock import NS_PER_S
from loadgen.model import Heartbeat
from loadgen.worker.recorder import Recorder

K = TypeVar("K")

_PAUSE_MIN_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.1


class Beats(Generic[K]):
    """The heartbeat of one worker's connections.

    held: returns the connections that are held and have nothing else to do, in a fixed order.
    ask: begins an exchange; returns False when the last one of this connection is still under way (the beat is
    missed), and None when the connection is over.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        recorder: Recorder,
        held: Callable[[], Sequence[K]],
        ask: Callable[[K], bool | None],
    ) -> None:
        self._every_ns, self._share = int(heartbeat.every_s * NS_PER_S), heartbeat.share
        self._recorder, self._held, self._ask = recorder, held, ask
        #: Seconds between two calls of `beat`: a tenth of the period, within bounds.
        self.pause_s = min(max(heartbeat.every_s / 10, _PAUSE_MIN_S), _PAUSE_MAX_S)
        self._beating: list[K] = []
        self._begun_ns = 0
        self._due = 0  # beats that were due so far, all connections together

    def begin(self, now: int) -> None:
        """Choose the connections that beat, evenly over those held, and start the clock."""
        held = self._held()
        count = min(math.ceil(len(held) * self._share), len(held))
        self._beating = [held[n * len(held) // count] for n in range(count)]
        self._begun_ns = now
        self._recorder.beating = count

    def beat(self, now: int) -> None:
        """Send the requests that are due by now; of several rounds that were slept through, only the last."""
        recorder, beating, count = self._recorder, self._beating, len(self._beating)
        if not count:
            return
        due = (now - self._begun_ns) * count // self._every_ns
        begin = max(self._due, due - count)
        recorder.missed += begin - self._due
        self._due = due
        for number in range(begin, due):
            asked = self._ask(beating[number % count])
            if asked:
                recorder.beats += 1
            elif asked is not None:
                recorder.missed += 1
        recorder.publish()
