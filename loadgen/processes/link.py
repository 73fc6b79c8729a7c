"""Messages between the orchestrator and its processes: one JSON object per packet.

A pair of SOCK_SEQPACKET sockets keeps the packets apart and reports the other side's death as an
end of file (unix(7)), which is how a worker learns that its orchestrator was killed, and the
orchestrator that a worker was.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

_PACKET_MAX: Final = 128 * 1024


class Link:
    """One end of a message channel. `None` from `receive` means that the other side is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """The descriptor, for an event loop to watch and for a fork to hand over."""
        return self._sock.fileno()

    def send(self, **message: Any) -> bool:
        """Send one message; False when nobody is there to read it."""
        try:
            self._sock.send(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next message; waits for it unless the event loop said that one is there."""
        try:
            packet = self._sock.recv(_PACKET_MAX)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        message: dict[str, Any] = json.loads(packet)
        return message

    def close(self) -> None:
        """Close this end; the other side sees an end of file."""
        self._sock.close()
