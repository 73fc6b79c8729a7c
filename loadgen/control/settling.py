"""Wait between two trials on the host itself until what the first one left is gone.

Sockets to the targets that are still open, or in TIME-WAIT at either end, take four-tuples from the next trial, which
would then meet its limit too early. A lab needs no such wait: each trial has a namespace of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

import numpy as np

from loadgen import format as fmt
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError
from loadgen.kernel.sockdiag import TUPLES, Reader, TcpState, mask
from loadgen.model import CloseMode, Transport
from loadgen.scenario import Fallback, ScenarioSpec

_LOOK_S: Final = 0.5


class Settler:
    """The wait before each trial but the first.

    longest_s: of one wait. elsewhere: the trials run on other hosts, whose sockets cannot be listed from here.
    """

    def __init__(self, scenario: ScenarioSpec, longest_s: float, *, elsewhere: bool) -> None:
        self._scenario, self._longest_s, self._elsewhere = scenario, longest_s, elsewhere
        self._stopped = asyncio.Event()
        #: Before the first trial: sockets of other programs, which do not go away by waiting.
        self._others = 0

    def begin(self, *, resumed: bool) -> None:
        """Count what is there before the first trial.

        resumed: whether a search goes on; sockets in TIME-WAIT may then be of the trial that was cut off.
        """
        self._others = self.left(resting=not resumed)

    def stop(self) -> None:
        """End the wait, and those to come."""
        self._stopped.set()

    async def settle(self, say: Callable[[str], None]) -> None:
        """Wait until the sockets of the last trial are gone, or the longest time has passed; say so meanwhile."""
        scenario = self._scenario
        on_host = scenario.lab is None or scenario.lab.fallback is not Fallback.NONE
        if not on_host or scenario.transport is Transport.UDP or not self._longest_s:
            return
        if self._elsewhere:
            # A reset leaves nothing behind; after an orderly close either end keeps TIME-WAIT for a minute.
            if scenario.close is not CloseMode.RST:
                say(f"waiting {self._longest_s:g} s for TIME-WAIT on the agents' hosts; `find.settle` shortens it")
                await self._pause(self._longest_s)
            return
        deadline_ns = now_ns() + round(self._longest_s * NS_PER_S)
        said = False
        while (left := self.left() - self._others) > 0 and not self._stopped.is_set():
            if now_ns() >= deadline_ns:
                say(f"{fmt.many(left, 'socket')} of the trial before are still there; going on")
                return
            if not said:
                say(
                    f"waiting up to {self._longest_s:g} s until {fmt.many(left, 'socket')} of the trial before are "
                    "gone; `find.settle` shortens it, and close: rst leaves none"
                )
                said = True
            await self._pause(_LOOK_S)

    def left(self, *, resting: bool = True) -> int:
        """Return the TCP sockets of this namespace from or to the ports of the targets, without listeners.

        resting: those in TIME-WAIT as well. Returns 0 where the kernel does not list them.
        """
        spans = [target.destination.ports for target in self._scenario.targets]
        ports = np.array([port for span in spans for port in range(span.low, span.high + 1)], dtype=np.uint16)
        try:
            with Reader() as reader:
                states = TUPLES if resting else TUPLES & ~mask(TcpState.TIME_WAIT)
                sockets = reader.dump(states, protocol=socket.IPPROTO_TCP).sockets
        except HostError:
            return 0
        return int((np.isin(sockets["destination_port"], ports) | np.isin(sockets["source_port"], ports)).sum())

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
