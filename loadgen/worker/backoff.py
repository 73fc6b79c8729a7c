"""Backoff after denials: the (source, target) pairs that have run out of ports, and when to ask the kernel again.

A connect() or bind() that finds no port has searched the whole range, which costs milliseconds in a wide one. Asked
again and again for what it has just denied, the kernel would keep a core busy and the run would look as if it were
working. So a pair without a port cools down, each time twice as long; after a number of denials in a row it counts as
exhausted, until a connection ends and frees something. In churn no pair is ever exhausted: ports come out of
TIME-WAIT by themselves, and how soon they do is what is measured.

Pure: instants are arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from errno import EADDRINUSE
from typing import Final

from loadgen.outcomes import Syscall, error_key
from loadgen.strategies import TABLE

#: Failures that mean: no port is left, and the whole range was searched to find that out. connect(2) documents
#: EADDRINUSE, too, which no strategy is known to end with.
NO_PORT: Final = frozenset(
    error_key(*ends)
    for ends in (
        (Syscall.CONNECT, EADDRINUSE),
        *(rules.ends for row in TABLE.values() for rules in (row.tcp, row.udp) if rules),
    )
)

#: First cooldown of a pair; doubled with each denial in a row, up to the maximum.
COOLDOWN_MIN_NS: Final = 1_000_000
COOLDOWN_MAX_NS: Final = 500_000_000
#: Denials in a row after which a pair is exhausted. The cooldowns before the last add up to 1.5 s, more than the
#: second after which a four-tuple in TIME-WAIT may be taken again by default (tcp_tw_reuse_delay).
DENIALS_MAX: Final = 12
#: Denials in a row, over 1 + 2 + 4 ... ms at least, that are no accident.
LASTING: Final = 6
#: In churn a range is asked often, to see when a port is back: but all pairs together at most about a thousand times
#: a second, and a search may take at most a twentieth of the time.
_CHURN_COOLDOWN_MAX_NS: Final = 4_000_000
_CHURN_PER_PAIR_NS: Final = 1_000_000
_SEARCH_PER_PORT_NS: Final = 100
_SEARCH_SHARE: Final = 20


class Backoff:
    """The state of every pair of one worker.

    searched_ports: in churn, the ports that the kernel searches before it denies (1 where loadgen names the port);
    None where connections are held.
    """

    __slots__ = ("_cooldown_max_ns", "_cooldown_min_ns", "_denials", "_denials_max", "_until_ns", "active")

    def __init__(self, pairs: int, *, searched_ports: int | None = None) -> None:
        self._cooldown_min_ns, self._cooldown_max_ns, self._denials_max = COOLDOWN_MIN_NS, COOLDOWN_MAX_NS, DENIALS_MAX
        if searched_ports is not None:
            searching_ns = searched_ports * _SEARCH_PER_PORT_NS * _SEARCH_SHARE
            self._cooldown_min_ns = max(COOLDOWN_MIN_NS, searching_ns)
            self._cooldown_max_ns = max(
                _CHURN_COOLDOWN_MAX_NS, min(pairs * _CHURN_PER_PAIR_NS, COOLDOWN_MAX_NS), searching_ns
            )
            self._denials_max = sys.maxsize
        self._denials = [0] * pairs
        self._until_ns = [0] * pairs
        #: True while the last answer for some pair was a denial; while False nothing else needs to be asked.
        self.active = False

    def no_port(self, pair: int, now: int) -> None:
        """Note that the kernel found no port for this pair."""
        self.active = True
        doubled = self._cooldown_min_ns << min(self._denials[pair], DENIALS_MAX)
        self._until_ns[pair] = now + min(doubled, self._cooldown_max_ns)
        self._denials[pair] += 1

    def granted(self, pair: int) -> None:
        """Note that the kernel found a port for this pair."""
        self._denials[pair] = self._until_ns[pair] = 0
        self.active = any(self._denials)

    def freed(self) -> None:
        """Note that a connection has ended; its port may serve any pair of its source."""
        self._denials = [0] * len(self._denials)
        self._until_ns = [0] * len(self._denials)
        self.active = False

    def may_try(self, pair: int, now: int) -> bool:
        """Return True if an attempt on this pair is worth a system call now."""
        return self._denials[pair] < self._denials_max and self._until_ns[pair] <= now

    def probing(self, pair: int) -> bool:
        """Return True if the last answer was a denial: then one attempt at a time is enough to learn the next."""
        return self._denials[pair] > 0

    @property
    def lasting(self) -> bool:
        """True when some pair was denied too often in a row for its ports to be all in use for a moment only."""
        return max(self._denials) >= LASTING

    @property
    def exhausted(self) -> bool:
        """True when every pair has been denied too often: the attempts that are left will never find a port."""
        return self.active and all(denials >= self._denials_max for denials in self._denials)

    def next_try_ns(self) -> int:
        """Return the instant at which the first pair may be tried again; 0 when all are exhausted."""
        return min(self._cooling(), default=0)

    def _cooling(self) -> Sequence[int]:
        return [
            until for until, denials in zip(self._until_ns, self._denials, strict=True) if denials < self._denials_max
        ]
