"""Select groups by the networks of their addresses and by the destination's port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

#: An address or network, in brackets or with at most one colon, then a port; both optional.
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class GroupFilter:
    """Matches groups from any address of `source` to any of `destination` at `port`; None and 0 match all."""

    source: Network | None = None
    destination: Network | None = None
    port: int = 0

    @property
    def any_destination(self) -> bool:
        """True if no destination is selected."""
        return self.destination is None and not self.port

    def include_source(self, source: str) -> bool:
        """Return True if groups from this address match, whatever their destination."""
        return self.source is None or ip_address(source) in self.source

    def include(self, source: str, destination: str, port: int) -> bool:
        """Return True if the group matches."""
        return (
            (not self.port or port == self.port)
            and self.include_source(source)
            and (self.destination is None or ip_address(destination) in self.destination)
        )


def network(text: str) -> Network:
    """Parse `10.0.0.1`, `10.0.0.0/8` or `fd00::/8`. Raises: ValueError with what to write."""
    try:
        parsed = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("write an address or a CIDR, for example 10.0.0.1 or 10.0.0.0/8") from None
    if str(parsed.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"write {parsed}; the address has bits set after its prefix")
    return parsed


def destination(text: str) -> tuple[Network | None, int]:
    """Parse `10.0.0.0/8`, `10.0.0.1:443`, `[::1]:443`, `::1` or `:443`; port 0 matches any. Raises: ValueError."""
    match = _WITH_PORT.fullmatch(text)
    if not match:
        return network(text), 0  # IPv6 without brackets, or invalid
    inside, outside, port = match.groups()
    address = inside or outside
    if not address and port is None:
        raise ValueError("write an address, a CIDR or a port, for example 10.0.0.1:443, 10.0.0.0/8 or :443")
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError("write a port from 1 to 65535")
    return network(address) if address else None, int(port or 0)
