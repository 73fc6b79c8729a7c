"""Access to the dashboard: the token, the Host and Origin of a request, and the headers of each answer.

The key is a token in the path of the URL. A cookie would go to every other port of this host as well, because
browsers do not tell ports apart (RFC 6265 8.5); a path goes nowhere. So that it goes nowhere indeed, no page names its
own address to another (Referrer-Policy), and reports, which may come from other authors, have addresses without
the token.

A foreign page that runs in a browser here knows no token. But it could learn an answer by having its own name
point to this host (DNS rebinding); so the Host of each request must be one under which we listen, and where a browser
says which page it asks for (Origin), that must be ours.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from loadgen.model import Endpoint
from loadgen.views.dashboard.address import in_url, is_everywhere, is_loopback

#: 192 bits, 32 characters.
_TOKEN_BYTES: Final = 24

#: Of every answer.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "loadgen",
}
#: Of a report: its own script and style are within it, and it may request nothing. `sandbox` makes it a page of
#: no origin, so that not even a forged one could press the stop button.
REPORT_POLICY: Final = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Door:
    """The rules for one place to listen at. at: with the port that it really is."""

    at: Endpoint
    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES), repr=False)

    @property
    def url(self) -> str:
        """The URL to open; the only place where the token is shown."""
        return f"http://{in_url(self.at.address)}:{self.at.port}/{self.token}/"

    def knows_host(self, host: str) -> bool:
        """Return whether a Host header (RFC 9110 7.2) is a name of this place.

        That is the address; for loopback also localhost. A server on every address accepts any address, but
        never a name, which any DNS server could let point here.
        """
        name, port = _split(host)
        if port != str(self.at.port):
            return False
        if name == "localhost":
            return is_loopback(self.at.address) or is_everywhere(self.at.address)
        try:
            asked = ip_address(name)
        except ValueError:
            return False
        return is_everywhere(self.at.address) or asked == ip_address(self.at.address.partition("%")[0])

    def knows_token(self, given: str) -> bool:
        """Return whether this is the token, in a time that does not depend on where it is wrong."""
        # A header has bytes that need not be UTF-8; aiohttp keeps them as surrogates, as PEP 383 has it.
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.token.encode())

    def knows_bearer(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token (RFC 6750 2.1)."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.knows_token(given.strip())

    def knows_origin(self, origin: str | None, host: str) -> bool:
        """Return whether an Origin header (RFC 6454 7) is ours; a request without one comes from no foreign page."""
        return origin is None or origin == f"http://{host}"

    def address_of(self, name: str) -> str:
        """A name for a report in URLs that gives nothing else away and that only this process can make."""
        return hmac.new(self.token.encode(), name.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:32]

    def opens(self, name: str, key: str) -> bool:
        """Return whether a key in a URL is the `address_of` this name."""
        return hmac.compare_digest(self.address_of(name).encode(), key.encode(errors="replace"))


def _split(host: str) -> tuple[str, str]:
    """Name and port of a Host header, the name without brackets."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
    else:
        name, colon, port = host.partition(":")
        port = colon + port
    return name.lower(), port.removeprefix(":") or "80"  # what a browser leaves out is the scheme's own
