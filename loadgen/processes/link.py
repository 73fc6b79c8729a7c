"""Messages between the orchestrator and its processes: one JSON object per packet.

A pair of SOCK_SEQPACKET sockets keeps packets apart and reports the death of the other side as an end of file
(unix(7)): so a worker notices that its orchestrator was killed, and the orchestrator that a worker was.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from loadgen.shortage import patiently

_PACKET_MAX: Final = 128 * 1024
#: A message: names of its own sender and receiver, values that the channel carries.
Message = dict[str, Any]


class Link:
    """One end of a message channel. `receive` returns None once the other side is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Return two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def at(cls, fd: int) -> Link:
        """Return the end that a process has been given.

        Its family and type are known, so Python need not ask the kernel, which may refuse the question (a filter of
        system calls).
        """
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, to be watched by an event loop or passed to a fork."""
        return self._sock.fileno()

    def send(self, **message: Any) -> bool:
        """Send one message; return False if the other side is gone. Raises: OSError if the kernel takes none."""
        packet = json.dumps(message).encode()
        try:
            patiently(lambda: self._sock.send(packet))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> Message | None:
        """Return the next message; block until there is one. Raises: OSError if the kernel gives none."""
        try:
            packet = patiently(lambda: self._sock.recv(_PACKET_MAX))
        except ConnectionResetError:
            return None
        if not packet:
            return None
        message: Message = json.loads(packet)
        return message

    def close(self) -> None:
        """Close this end; the other side sees an end of file."""
        self._sock.close()
