"""Application protocols: one small module each, and an interface for protocols of other packages.

A protocol is a frozen dataclass: its fields are the options of a scenario, and it has two methods. It never sees a
socket, so the same few lines serve batches of connections, TLS and tests.

    @dataclass(frozen=True)
    class Ping:
        command: str = "PING"

        def request(self, number: int) -> bytes:
            return f"{self.command}\\r\\n".encode()

        def reply(self, request: bytes, received: bytes) -> bool | None:
            return received.startswith(b"+PONG") if b"\\r\\n" in received else None

A protocol that leaves its connections to a library has a connector instead of methods, see `OwnConnector`.

A package registers its class in its entry points, group "loadgen.protocols"; see docs/protocols.md.
"""

from loadgen.protocols.base import (
    Exchange,
    LastReply,
    OwnConnector,
    PerTarget,
    Portable,
    ReplyReader,
    find,
    is_built_in,
    make,
    names,
    needs_stream,
    own_connector,
)

__all__ = [
    "Exchange",
    "LastReply",
    "OwnConnector",
    "PerTarget",
    "Portable",
    "ReplyReader",
    "find",
    "is_built_in",
    "make",
    "names",
    "needs_stream",
    "own_connector",
]
