"""Wait for descriptors until an instant, to the microsecond: select(2).

An event loop and `select.epoll` wait in whole milliseconds. A timer descriptor that the event loop watches is as exact,
but costs a turn of the loop and two system calls more for every wait; ppoll(2) through ctypes costs 4 us more.
"""

from __future__ import annotations

import ctypes
import select
from collections.abc import Sequence
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.worker import survived

_PR_SET_TIMERSLACK: Final = 29


def be_exact() -> None:
    """Have waits of this thread end when they should, and not up to 50 us later (prctl(2), PR_SET_TIMERSLACK)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0):
        survived.add("prctl", OSError(ctypes.get_errno(), "PR_SET_TIMERSLACK"))


def readable(fds: Sequence[int], limit_ns: int) -> list[int]:
    """Wait for at most this number of nanoseconds, 0 or less: not at all; return the descriptors that are readable.

    Raises: OSError; ValueError for a descriptor of 1024 or more (FD_SETSIZE), which those that are made first are not.
    """
    return select.select(fds, (), (), max(limit_ns, 0) / NS_PER_S)[0]
