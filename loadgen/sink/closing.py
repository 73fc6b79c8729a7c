"""Close connections: in order, by a reset, and when close() itself fails."""

from __future__ import annotations

import os
import socket
from select import epoll

from loadgen.sink.counts import SurvivedFailures
from loadgen.strategies.options import LINGER_0


def release(fd: int, poll: epoll, failures: SurvivedFailures) -> None:
    """Close a descriptor, which after an error too is released (close(2)); should it not be, `poll` forgets it."""
    try:
        os.close(fd)
    except OSError as error:
        failures.add("close", error)
        try:
            poll.unregister(fd)
        except OSError:  # as expected: the descriptor is closed
            pass


def reset_at_close(fd: int, failures: SurvivedFailures) -> None:
    """Make close() of a connection send a reset; where that fails it is closed in order."""
    try:  # both named, so that socket() asks the kernel for neither
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=fd)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        finally:
            sock.detach()
    except OSError as error:
        failures.add("setsockopt", error)
