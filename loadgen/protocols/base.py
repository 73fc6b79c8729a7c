"""What every protocol offers, and where they are found: ours, and those that other packages have installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from loadgen.model import Traffic

#: Where a package names its protocols: `redis-ping = "my_package:Ping"`.
GROUP: Final = "loadgen.protocols"
_OURS: Final = {
    "echo": "loadgen.protocols.echo:Echo",
    "http": "loadgen.protocols.http:Http",
    "payload": "loadgen.protocols.payload:Payload",
}


class Exchange(Protocol):
    """One request and its reply, as often as the connection makes them. Frozen, and the same for all connections."""

    def request(self, number: int) -> bytes:
        """What to send; empty where the other side speaks first. number: how many this worker has asked for before."""

    def reply(self, request: bytes, received: bytes) -> bool | None:
        """Whether what was received so far answers the request: yes, no, or None as long as more has to come."""


class OwnConnector(Protocol):
    """What a protocol is instead of an Exchange when its connections are not ours to drive: options, and a name.

    connector: "module:function". It is called in each worker, where its event loop runs, as
    function(plan, source_ports, recorder, open_max=..., **what every Connector is made from), and returns a Connector.
    """

    connector: ClassVar[str]


@runtime_checkable
class Portable(Protocol):
    """A protocol whose options name something of the place where it was made, such as a file."""

    def carried(self) -> dict[str, Any]:
        """The options, as plain values, under which another process makes the same without it."""


def names() -> list[str]:
    """Every protocol that a scenario can name, sorted; "tcp" carries nothing."""
    return sorted({"tcp", *_OURS, *(point.name for point in entry_points(group=GROUP))})


def find(name: str) -> type[Exchange]:
    """The class of a protocol. Raises: LookupError when there is none of that name, else what its import raises."""
    if name in _OURS:
        found: type[Exchange] = resolve_name(_OURS[name])
        return found
    points: list[EntryPoint] = list(entry_points(group=GROUP, name=name))
    if not points:
        raise LookupError(name)
    loaded: type[Exchange] = points[0].load()
    return loaded


def own_connector(name: str) -> str:
    """What makes the connector of a protocol that brings its own; "": it is an Exchange. Raises: as `find`."""
    return str(getattr(find(name), "connector", ""))


def make(traffic: Traffic) -> Exchange | None:
    """What these connections say; None for "tcp", and where a connector of its own knows.

    Raises: as `find`, and what the protocol says of its options.
    """
    if not traffic or own_connector(traffic.protocol):
        return None
    return find(traffic.protocol)(**traffic.options)
