"""The interface of a protocol, and the look-up of protocols by name: built-in ones, and those of other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from loadgen.model import Traffic

#: Entry point group in which a package registers its protocols: `redis-ping = "my_package:Ping"`.
GROUP: Final = "loadgen.protocols"
_BUILT_IN: Final = {
    "echo": "loadgen.protocols.echo:Echo",
    "http": "loadgen.protocols.http:Http",
    "payload": "loadgen.protocols.payload:Payload",
}


class Exchange(Protocol):
    """A request and its reply, repeated on every connection. Frozen; one object serves all connections."""

    def request(self, number: int) -> bytes:
        """Return the bytes to send; b"" if the other side speaks first. number: count of this worker's requests."""

    def reply(self, request: bytes, received: bytes) -> bool | None:
        """Return True for the right reply, False for a wrong one, None while it is incomplete."""


class OwnConnector(Protocol):
    """A protocol whose connections are driven by other code than an Exchange: options, and the name of a function.

    connector: "module:function". It is called in each worker, where its event loop runs, as a
    `loadgen.worker.connector.MakeConnector`: function(plan, settings, source_ports, recorder), and returns a Connector.
    """

    connector: ClassVar[str]


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


def own_connector(name: str) -> str:
    """Return the connector of a protocol with a connector of its own, "" for an Exchange. Raises: see `find`."""
    return str(getattr(find(name), "connector", ""))


def make(traffic: Traffic) -> Exchange | None:
    """Return the exchange of these connections; None for "tcp" and for a protocol with a connector of its own.

    Raises: see `find`; any error of the protocol about its options.
    """
    if not traffic or own_connector(traffic.protocol):
        return None
    return find(traffic.protocol)(**traffic.filled())
