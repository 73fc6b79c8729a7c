"""HTTP requests and their expected replies; options only.

`loadgen.protocols.http_exchange` makes requests of them and reads the replies; with `client: aiohttp` that is left to
`loadgen.worker.aiohttp_client`, which needs an event loop of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from loadgen.model import Endpoint

if TYPE_CHECKING:
    from loadgen.protocols.base import Exchange

#: RFC 9110 5.6.2: characters of a method and of a header name.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: RFC 9112 3.2: a request target ends at the first space, and no control character is allowed in it.
_PATH: Final = re.compile(r"/[!-~]*")
#: RFC 9110 5.5, without the bytes above ASCII.
_VALUE: Final = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class Http:
    """One constant request, and the criteria of the right reply.

    method, path: sent as they are; the path may have a query. headers: added to those that HTTP needs, or replacing
    them. body: sent as UTF-8. status: the right one, or several. expect: text that the body has to contain.
    max_body: bytes; a longer body is wrong, and the excess is read and discarded. client: who speaks HTTP.
    """

    #: See `loadgen.protocols.base.needs_stream`.
    needs_stream: ClassVar[bool] = True

    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int | tuple[int, ...] = 200
    expect: str = ""
    max_body: int = 1 << 20
    client: Literal["loadgen", "aiohttp"] = "loadgen"

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method) or self.method == "CONNECT":
            raise ValueError("write a method such as GET or POST")
        if not _PATH.fullmatch(self.path) or "#" in self.path:
            raise ValueError("write a path that begins with / and has no space and no #, for example /health?full=1")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError("write headers as NAME: VALUE, each on one line and in ASCII")
        if not self.statuses or not all(200 <= status <= 599 for status in self.statuses):
            raise ValueError("write a status from 200 to 599, or a list of them")
        if not 0 <= self.max_body <= 1 << 30:
            raise ValueError("write a max_body from 0 to 1,073,741,824 bytes")

    @property
    def statuses(self) -> tuple[int, ...]:
        """The right status codes."""
        return (self.status,) if isinstance(self.status, int) else tuple(self.status)

    @property
    def connector(self) -> str:
        """See `loadgen.protocols.base.OwnConnector`."""
        return "loadgen.worker.aiohttp_client:connector_of" if self.client == "aiohttp" else ""

    def at(self, target: Endpoint, host: str, *, secured: bool) -> Exchange:
        """Return the exchange with this target, see `loadgen.protocols.base.PerTarget`."""
        from loadgen.protocols.http_exchange import HttpExchange  # brings a parser, which options do not need

        return HttpExchange(self, named(target, host, secured=secured))

    def right(self, status: int, body: bytes | bytearray) -> bool:
        """Return True for the right reply. body: as far as it was read, which is at least `max_body` + 1 bytes."""
        return status in self.statuses and len(body) <= self.max_body and self.expect.encode() in body


def named(target: Endpoint, host: str, *, secured: bool) -> str:
    """Return how a request names a target, in Host: by its name or address, with the port unless it is the default.

    Source: RFC 9110 4.2.1, 7.2. A zone has a meaning on this host only (RFC 6874).
    """
    plain = str(Endpoint(target.address.partition("%")[0], target.port))
    name = f"{host}:{target.port}" if host else plain
    return name.removesuffix(f":{target.port}") if target.port == (443 if secured else 80) else name
