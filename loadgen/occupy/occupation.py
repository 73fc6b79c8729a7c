"""Keep the number of ports that are left while other programs open and close sockets.

Each look reads the kernel's tables, takes ports that have become free, or gives some back. A port that cannot be taken
although no socket is listed belongs to another program, as one that was bound early and is connected: automatic choice
passes over it as well (docs/facts.md, 4.1). So it counts as taken, and is tried again a little later.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from loadgen.errors import HostError
from loadgen.occupy.account import PortBalance, ports_mask
from loadgen.occupy.holders import TakeResult
from loadgen.occupy.reading import PortReading
from loadgen.occupy.request import TIME_WAIT_S, OccupyRequest, OccupyWay
from loadgen.watch.space import Ports

#: A port that was refused is tried again after this time, and with a target that refuses no sooner.
REFUSED_S: Final = 10.0
#: Time between two looks, and the share of the time that looks may take.
INTERVAL_S: Final = 0.5
SHARE: Final = 0.1
#: Time for the target to close its side, too, of a connection that was closed here.
_CLOSING_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.01
_PORTS: Final = 65_536


class Reads(Protocol):
    """The reader of the kernel's tables, `loadgen.occupy.reading.PortReader`."""

    def read(self) -> PortReading:
        """Read settings and sockets."""


class Holds(Protocol):
    """The processes that hold ports, `loadgen.occupy.holders.PortHolders`."""

    def take(self, ports: list[int]) -> TakeResult:
        """Take these ports as far as possible."""

    def release(self, ports: list[int]) -> None:
        """Close the sockets of these ports."""

    def require_all(self) -> None:
        """Check that every process is there."""


@dataclass(frozen=True, slots=True)
class OccupyStatus:
    """State after a look. left: ports that automatic choice has. held: ports that loadgen has.

    adjustments: looks after the first that had something to take or to give back.
    """

    left: int
    held: int
    adjustments: int


class Occupation:
    """Takes ports and keeps the account of them. clock: seconds."""

    def __init__(
        self,
        request: OccupyRequest,
        reader: Reads,
        holders: Holds,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._request, self._reader, self._holders = request, reader, holders
        self._clock, self._sleep = clock, sleep
        #: Ports that loadgen holds.
        self.ours = ports_mask()
        self._taken_s = np.zeros(_PORTS)
        self._listened = ports_mask()
        self._denied_until_s: dict[int, float] = {}
        self._resting_until_s: dict[int, float] = {}
        self.adjustments = 0
        #: Ports left after each look, fewest and most; ports held, most at a time.
        self.left_min, self.left_max, self.held_max = _PORTS, 0, 0
        #: connect() calls that sent a SYN, and those that failed for another reason than a port.
        self.connects = 0
        self.failures: Counter[tuple[str, str]] = Counter()

    def begin(self) -> OccupyStatus:
        """Take the ports; of a target first one alone, so that one that is not usable costs nothing.

        Raises: HostError if the target does not accept, or closes first where the client has to.
        """
        if self._request.way is not OccupyWay.BIND:
            self._try_target()
        self._adjust()
        # What changed meanwhile, and what was refused, is corrected at once.
        return self._status(self._adjust()[0])

    def look(self) -> OccupyStatus:
        """Look once, and adjust. Raises: HostError, IncompleteError."""
        self._holders.require_all()
        account, changed = self._adjust()
        self.adjustments += changed
        return self._status(account)

    def hold(self, show: Callable[[OccupyStatus, float], None]) -> None:
        """Look again and again until the time is over. show: called after each look with the seconds that remain."""
        ends_s = self._clock() + self._request.for_s
        while (now := self._clock()) < ends_s:
            show(self.look(), ends_s - now)
            took_s = self._clock() - now
            self._sleep(max(0.0, min(max(INTERVAL_S, took_s / SHARE) - took_s, ends_s - self._clock())))

    def _status(self, account: PortBalance) -> OccupyStatus:
        left, held = account.left, int(self.ours.sum())
        self.held_max = max(self.held_max, held)
        self.left_max = max(self.left_max, left)
        self.left_min = min(self.left_min, left)
        return OccupyStatus(left, held, self.adjustments)

    def _adjust(self) -> tuple[PortBalance, bool]:
        """Take or give back what is missing; return the account after it, and True if anything changed."""
        reading = self._reader.read()
        self._forget_lost(reading)
        account = reading.account(self.ours, self._still(self._denied_until_s))
        # A service that restarts finds its port as it left it.
        self._listened |= reading.listening
        to_take = account.to_take(self._request.leave, self._listened | self._still(self._resting_until_s))
        to_release = account.to_release(self._request.leave) if self._request.can_give_back else []
        taken = self._take(to_take) if to_take else []
        if to_release:
            self._holders.release(to_release)
            self.ours[to_release] = False
        # Not of the reading, in which the ports that were released just now are still blocked.
        others = account.others | self._still(self._denied_until_s)
        return replace(account, others=others, ours=self.ours), bool(taken or to_release)

    def _forget_lost(self, reading: PortReading) -> None:
        """Give up ports whose sockets are gone: connections that the target has reset, TIME-WAIT that has ended.

        All but the last rest for a while, so that a target that resets is not asked again and again.
        """
        lost = (self.ours & ~reading.present).nonzero()[0]
        if not lost.size:
            return
        now = self._clock()
        early = lost
        if self._request.can_give_back:
            self._holders.release(lost.tolist())
        else:
            early = lost[now - self._taken_s[lost] < TIME_WAIT_S / 2]
        self._resting_until_s |= dict.fromkeys(early.tolist(), now + REFUSED_S)
        self.ours[lost] = False

    def _take(self, ports: list[int]) -> list[int]:
        result = self._holders.take(ports)
        self.ours[result.taken] = True
        self._taken_s[result.taken] = self._clock()
        self.connects += result.connects
        self.failures += result.failures
        until_s = self._clock() + REFUSED_S
        for one in result.refused:
            (self._denied_until_s if one.is_taken else self._resting_until_s)[one.port] = until_s
        return result.taken

    def _still(self, until_s: dict[int, float]) -> Ports:
        now = self._clock()
        for port in [port for port, at_s in until_s.items() if at_s <= now]:
            del until_s[port]
        return ports_mask(until_s)

    def _try_target(self) -> None:
        """Take one port. Raises: HostError if the target does not accept, or nothing stays in TIME-WAIT."""
        target = self._request.destination
        account = self._reader.read().account(self.ours, ports_mask())
        for port in account.to_take(self._request.leave, ports_mask()):
            taken = self._take([port])
            if self.failures:
                ((syscall, errno),) = self.failures
                raise HostError(f"{target} does not accept connections from here: {syscall} {errno}; nothing is held")
            if taken:
                break
        else:
            return
        if self._request.way is OccupyWay.TIME_WAIT:
            self._await_time_wait(port)

    def _await_time_wait(self, port: int) -> None:
        deadline_s = self._clock() + _CLOSING_TIMEOUT_S
        while not self._reader.read().time_wait[port]:
            if self._clock() > deadline_s:
                raise HostError(
                    f"no TIME-WAIT stays here of a connection to {self._request.destination}: the target closes first, "
                    "resets, or does not close after the client, or net.ipv4.tcp_max_tw_buckets is used up; use --by "
                    "connections"
                )
            self._sleep(_POLL_S)
