"""Which (source, target) spaces have run out of ports, and when to ask the kernel again.

A connect() or bind() that finds no port has searched the whole range, which costs milliseconds in a
wide one. Asked again and again for what it has just denied, the kernel would keep a core busy and
the run would look as if it were working. So a pair that was denied rests, each time twice as long;
after a number of denials in a row it counts as spent, until a connection ends and frees something. In churn
nothing is ever spent: ports come out of TIME-WAIT by themselves, and what is measured is how soon.
Pure: instants come in as arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

#: The first rest of a pair; doubled with each denial in a row, up to the longest.
FIRST_REST_NS: Final = 1_000_000
LONGEST_REST_NS: Final = 500_000_000
#: Denials in a row after which a pair is spent. The rests before the last add up to 1.5 s, more than the
#: second after which a four-tuple in TIME-WAIT may be taken again by default (tcp_tw_reuse_delay).
DENIALS_MAX: Final = 12


#: Denials in a row, over 1 + 2 + 4 ... ms at least, that are no accident.
LASTING: Final = 6
#: In churn a range is asked often, so as to see when a port is back: but all pairs together not more than
#: about a thousand times a second, and a search may take no more than a twentieth of the time.
_CHURN_LONGEST_NS: Final = 4_000_000
_CHURN_PER_PAIR_NS: Final = 1_000_000
_SEARCH_PER_PORT_NS: Final = 100
_SEARCH_SHARE: Final = 20


class Exhaustion:
    """The state of every pair of one worker.

    churn_ports: in churn, how many ports the kernel goes through to say no (1 where we name the port to
    it); None where connections are held.
    """

    __slots__ = ("_denials", "_denials_max", "_first_rest_ns", "_longest_rest_ns", "_rest_until_ns", "active")

    def __init__(self, pairs: int, *, churn_ports: int | None = None) -> None:
        self._first_rest_ns, self._longest_rest_ns, self._denials_max = FIRST_REST_NS, LONGEST_REST_NS, DENIALS_MAX
        if churn_ports is not None:
            searching_ns = churn_ports * _SEARCH_PER_PORT_NS * _SEARCH_SHARE
            self._first_rest_ns = max(FIRST_REST_NS, searching_ns)
            self._longest_rest_ns = max(
                _CHURN_LONGEST_NS, min(pairs * _CHURN_PER_PAIR_NS, LONGEST_REST_NS), searching_ns
            )
            self._denials_max = sys.maxsize
        self._denials = [0] * pairs
        self._rest_until_ns = [0] * pairs
        #: Whether any pair was denied lately; while False nothing else needs to be asked.
        self.active = False

    def denied(self, pair: int, now: int) -> None:
        """The kernel found no port for this pair."""
        self.active = True
        doubled = self._first_rest_ns << min(self._denials[pair], DENIALS_MAX)
        self._rest_until_ns[pair] = now + min(doubled, self._longest_rest_ns)
        self._denials[pair] += 1

    def granted(self, pair: int) -> None:
        """The kernel found one after all."""
        self._denials[pair] = self._rest_until_ns[pair] = 0
        self.active = any(self._denials)

    def freed(self) -> None:
        """A connection has ended; what it held may serve any pair of its source."""
        self._denials = [0] * len(self._denials)
        self._rest_until_ns = [0] * len(self._denials)
        self.active = False

    def may_try(self, pair: int, now: int) -> bool:
        """Whether an attempt on this pair is worth a system call now."""
        return self._denials[pair] < self._denials_max and self._rest_until_ns[pair] <= now

    def doubtful(self, pair: int) -> bool:
        """Whether the last answer was no: then one attempt at a time is enough to hear the next."""
        return self._denials[pair] > 0

    @property
    def lasting(self) -> bool:
        """Whether some pair was denied so often in a row that its ports are not just all in use for a moment."""
        return max(self._denials) >= LASTING

    @property
    def spent(self) -> bool:
        """Whether every pair has been denied too often: what is left to open never will be."""
        return self.active and all(denials >= self._denials_max for denials in self._denials)

    def next_try_ns(self) -> int:
        """The instant at which the first of the resting pairs may be tried again; 0 when all are spent."""
        return min(self._hopeful(), default=0)

    def _hopeful(self) -> Sequence[int]:
        return [
            until
            for until, denials in zip(self._rest_until_ns, self._denials, strict=True)
            if denials < self._denials_max
        ]
