"""What connections carry, one small module for each protocol, and how others add their own.

A protocol is a frozen dataclass: its fields are the options that a scenario may give, and it has two methods. It
never sees a socket, so that batches of connections, TLS and tests can all be made with the same few lines.

    @dataclass(frozen=True)
    class Ping:
        command: str = "PING"

        def request(self, number: int) -> bytes:
            return f"{self.command}\\r\\n".encode()

        def reply(self, request: bytes, received: bytes) -> bool | None:
            return received.startswith(b"+PONG") if b"\\r\\n" in received else None

One whose connections are better made by somebody else's library has no methods but a connector, see `OwnConnector`.

A package that has such a class names it in its entry points, group "loadgen.protocols"; see docs/protocols.md.
"""

from loadgen.protocols.base import Exchange, OwnConnector, Portable, find, make, names, own_connector

__all__ = ["Exchange", "OwnConnector", "Portable", "find", "make", "names", "own_connector"]
