"""The interface of a protocol, and the look-up of protocols by name: built-in ones, and those of other packages."""

from __future__ import annotations

from enum import Enum, auto
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, Final, Protocol, runtime_checkable

from loadgen.model import Endpoint, Traffic

#: Entry point group in which a package registers its protocols: `redis-ping = "my_package:Ping"`.
GROUP: Final = "loadgen.protocols"
_BUILT_IN: Final = {
    "echo": "loadgen.protocols.echo:Echo",
    "http": "loadgen.protocols.http:Http",
    "payload": "loadgen.protocols.payload:Payload",
}


class LastReply(Enum):
    """The verdict on a reply after which its connection can make no other exchange."""

    #: The right reply, and the other side ends the connection after it.
    RIGHT = auto()
    #: A wrong one, and the other side ends the connection after it, or goes on in another protocol.
    WRONG = auto()
    #: Not of this protocol: it counts as wrong, and the connection as lost.
    UNREADABLE = auto()


class ReplyReader(Protocol):
    """The reply to one request, read piece by piece."""

    def read(self, data: bytes) -> bool | LastReply | None:
        """Take the next piece; return the verdict, None while the reply is incomplete."""

    def end(self) -> bool | None:
        """Return the verdict when the other side has sent its end of file; None: the reply is incomplete."""


class Exchange(Protocol):
    """A request and its reply, repeated on every connection. One object serves all connections.

    A method `last_request(number)`, where there is one, makes the last request of a connection that the target is to
    close after its reply, in place of `request`.
    """

    def request(self, number: int) -> bytes:
        """Return the bytes to send; b"" if the other side speaks first. number: count of this worker's requests."""

    def reply(self, request: bytes, received: bytes) -> bool | LastReply | ReplyReader | None:
        """Return True for the right reply, False for a wrong one, None while it is incomplete.

        While it is None, the next call has everything that was received for this request. A reply that is long, or has
        to be parsed, can be left to a ReplyReader instead: it takes the pieces that follow.
        """


@runtime_checkable
class PerTarget(Protocol):
    """A protocol whose requests depend on the target."""

    def at(self, target: Endpoint, host: str, *, secured: bool) -> Exchange:
        """Return the exchange with this target. host: its name, "" where it has none. secured: over TLS."""


class OwnConnector(Protocol):
    """A protocol whose connections are driven by other code than an Exchange: options, and the name of a function.

    connector: "module:function"; "" where the options ask for an Exchange after all. The function is called in each
    worker, where its event loop runs, as a `loadgen.worker.connector.MakeConnector`: function(plan, settings,
    source_ports, recorder), and returns a Connector.
    """

    @property
    def connector(self) -> str:
        """The name of the function."""


@runtime_checkable
class Portable(Protocol):
    """A protocol with options that depend on the place where it was made, such as the name of a file."""

    def carried(self) -> dict[str, Any]:
        """Return options, as plain values, that make the same protocol in another process or on another host."""


def names() -> list[str]:
    """Return the names of all protocols, sorted; "tcp" sends no data."""
    return sorted({"tcp", *_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def find(name: str) -> type[Exchange]:
    """Return the class of a protocol. Raises: LookupError for an unknown name; any error of its import."""
    if name in _BUILT_IN:
        built_in: type[Exchange] = resolve_name(_BUILT_IN[name])
        return built_in
    points: list[EntryPoint] = list(entry_points(group=GROUP, name=name))
    if not points:
        raise LookupError(name)
    loaded: type[Exchange] = points[0].load()
    return loaded


def is_built_in(name: str) -> bool:
    """Return True for a protocol of loadgen's own."""
    return name in _BUILT_IN


def needs_stream(name: str) -> bool:
    """Return True for a protocol that cannot go over UDP. Raises: see `find`."""
    protocol = find(name)
    return hasattr(protocol, "connector") or bool(getattr(protocol, "needs_stream", False))


def own_connector(traffic: Traffic) -> str:
    """Return the connector of these connections if their protocol has one of its own, "" for an Exchange.

    Raises: see `make`.
    """
    return str(getattr(_made(traffic), "connector", "")) if traffic else ""


def make(traffic: Traffic) -> Exchange | PerTarget | None:
    """Return what these connections carry; None for "tcp" and for a protocol with a connector of its own.

    Raises: see `find`; any error of the protocol about its options.
    """
    return _made(traffic) if traffic and not own_connector(traffic) else None


def _made(traffic: Traffic) -> Any:
    return find(traffic.protocol)(**traffic.filled())
