"""The clock of a run: CLOCK_MONOTONIC in nanoseconds, and a timer descriptor on it.

Every process of a run reads the same clock (it is system-wide, clock_gettime(2)), so a time taken in the orchestrator
has the same meaning in a worker. Wall time is read once, to name a run.
"""

import ctypes
import os
from datetime import UTC, datetime
from time import monotonic_ns

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000

now_ns = monotonic_ns


def wall_clock() -> datetime:
    """Return the time of day in UTC; used to label a run, never to measure."""
    return datetime.now(UTC)


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """A timerfd(2): a descriptor that becomes readable at a given time of this clock.

    An event loop's own timers are rounded to whole milliseconds, which at 20,000 arrivals per second would make twenty
    connections late at a time. Python has timerfds from 3.13 on; until then ctypes.
    """

    _CLOCK_MONOTONIC = 1
    _TFD_TIMER_ABSTIME = 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(self._CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def fileno(self) -> int:
        """Return the descriptor, to be watched by an event loop."""
        return int(self._fd)

    def set(self, at_ns: int) -> None:
        """Expire at this time, or at once if it has passed; replaces an earlier setting."""
        value = _Itimerspec(0, 0, *divmod(max(at_ns, 1), NS_PER_S))
        if self._libc.timerfd_settime(self._fd, self._TFD_TIMER_ABSTIME, ctypes.byref(value), None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def clear(self) -> None:
        """Acknowledge an expiry, so that the descriptor is not readable until the next one."""
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            pass  # set() has replaced the setting since it expired
