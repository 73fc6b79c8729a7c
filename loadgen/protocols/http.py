"""HTTP requests and what is expected of the replies. Only the options: `loadgen.worker.http` makes the connections.

HTTP is left to a library (aiohttp), which wants an event loop and a socket of its own. So this is no Exchange; it
names what makes its connector instead, see `loadgen.protocols.base.own_connector`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final

#: RFC 9110 5.6.2: what a method and the name of a header may be made of.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: RFC 9112 3.2: a request target ends at the first space, and no control character is allowed in it.
_PATH: Final = re.compile(r"/[!-~]*")
#: RFC 9110 5.5, without the bytes above ASCII.
_VALUE: Final = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class Http:
    """One request, the same every time, and how to tell the right reply.

    method, path: as they are sent; the path may have a query. headers: beside those that HTTP itself needs, or instead
    of them. body: sent as UTF-8. status: the right one, or several. expect: text that the body has to contain.
    max_body: bytes; a longer body is wrong, and what is more of it is read and thrown away.
    """

    connector: ClassVar[str] = "loadgen.worker.http:connector_of"

    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int | tuple[int, ...] = 200
    expect: str = ""
    max_body: int = 1 << 20

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
        """The right ones."""
        return (self.status,) if isinstance(self.status, int) else tuple(self.status)

    def right(self, status: int, body: bytes | bytearray) -> bool:
        """Whether this answers the request; the body as far as it was read, one byte more than `max_body` at least."""
        return status in self.statuses and len(body) <= self.max_body and self.expect.encode() in body
