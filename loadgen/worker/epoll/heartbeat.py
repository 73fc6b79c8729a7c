"""Held connections that show they are alive: an exchange now and then.

A connection that nobody uses looks the same whether its path works or not. So a share of what is held
sends a request every so often, each connection at its own moment so that the load is even, and the time
to the reply is measured. A reply that has not come when the next request is due is a missed beat; then
the next request waits for it, because two on their way could not be told apart.
"""

from __future__ import annotations

import math
from typing import Any, Final

from loadgen.clock import NS_PER_S
from loadgen.model import Heartbeat
from loadgen.worker.epoll.exchange import Talker

_PAUSE_MIN_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.1


class Beater(Talker):
    """All held connections of one worker, a share of which beats from `begin` on. The rest is as for Talker."""

    def __init__(self, *args: Any, heartbeat: Heartbeat, **more: Any) -> None:
        super().__init__(*args, exchanges=0, **more)
        self._every_ns, self._share = int(heartbeat.every_s * NS_PER_S), heartbeat.share
        #: How often to see which requests are due: ten times between two of one connection, within reason.
        self.pause_s = min(max(heartbeat.every_s / 10, _PAUSE_MIN_S), _PAUSE_MAX_S)
        self._beating: list[int] = []
        self._begun_ns = 0
        self._due = 0  # beats that were due so far, all connections together

    def begin(self, now: int) -> None:
        """Choose who beats, evenly over what is held, and start the clock."""
        held = [fd for fd, sock in enumerate(self._sockets) if sock is not None and fd not in self._pending]
        count = min(math.ceil(len(held) * self._share), len(held))
        self._beating = [held[n * len(held) // count] for n in range(count)]
        self._begun_ns = now
        self._recorder.beating = count

    def beat(self, now: int) -> None:
        """Send the requests that are due by now. Of rounds that were slept through only the last is sent."""
        recorder, sockets, talks = self._recorder, self._sockets, self._talks
        beats = self._beats(now)
        recorder.missed += beats.start - self._due
        self._due = beats.stop
        for fd in self._turns(beats):
            sock = sockets[fd]
            if sock is None:
                continue
            if fd in talks:
                recorder.missed += 1
            else:
                recorder.beats += 1
                self._ask(fd, sock)
        recorder.publish()

    def due(self, now: int) -> list[int]:
        """The descriptors of those that `beat` would have send something at this instant, or miss a beat."""
        return self._turns(self._beats(now))

    def _beats(self, now: int) -> range:
        """The beats that are due and worth sending, counted over all connections together."""
        count = len(self._beating)
        due = (now - self._begun_ns) * count // self._every_ns
        return range(max(self._due, due - count), due)

    def _turns(self, beats: range) -> list[int]:
        beating, count = self._beating, len(self._beating)
        return [beating[number % count] for number in beats]
