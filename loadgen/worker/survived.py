"""System calls that failed in this worker process and cost no connection, counted by call and errno.

They are reported when the worker has drained. A failure that ends an attempt or a connection is counted by the recorder
instead.
"""

from __future__ import annotations

from collections import Counter
from errno import errorcode
from time import sleep
from typing import Final, Protocol

#: Failed waits for events in a row, a pause after each, before a worker ends.
_FAILED_WAITS_MAX: Final = 20
_PAUSE_S: Final = 0.01

#: How often, by call and errno: {"close EIO": 3}.
counts: Final[Counter[str]] = Counter()


class Closable(Protocol):
    """A socket of any class."""

    def close(self) -> None:
        """Close it. Raises: OSError."""


def add(call: str, error: OSError) -> None:
    """Count one failed call."""
    counts[f"{call} {errorcode.get(error.errno or 0, str(error.errno))}"] += 1


def close(sock: Closable) -> None:
    """Close a socket. Linux releases the descriptor whatever the answer is (close(2), Dealing with error returns)."""
    try:
        sock.close()
    except OSError as error:
        add("close", error)


def failed_wait(error: OSError, in_a_row: int) -> int:
    """Count a failed epoll_wait(2) and pause; return how many failed in a row. Raises: OSError after too many."""
    add("epoll_wait", error)
    if in_a_row + 1 >= _FAILED_WAITS_MAX:
        raise OSError(error.errno, f"epoll_wait: {error.strerror}") from error
    sleep(_PAUSE_S)
    return in_a_row + 1
