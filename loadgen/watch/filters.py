"""Which groups somebody wants to see: by the networks of their addresses, and by the destination's port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

#: An address or network, in brackets or with at most one colon, then a port; each may be missing.
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Ends:
    """The groups from any address of `source` to any of `destination`, at `port`; None and 0 for all."""

    source: Network | None = None
    destination: Network | None = None
    port: int = 0

    def include(self, source: str, destination: str, port: int) -> bool:
        """Whether a group is among them."""
        return (
            (not self.port or port == self.port)
            and (self.source is None or ip_address(source) in self.source)
            and (self.destination is None or ip_address(destination) in self.destination)
        )


def network(text: str) -> Network:
    """`10.0.0.1`, `10.0.0.0/8`, `fd00::/8` -> every address of it. Raises: ValueError with what to write."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("write an address or a CIDR, for example 10.0.0.1 or 10.0.0.0/8") from None
    if str(found.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"write {found}; the address has bits set after its prefix")
    return found


def destination(text: str) -> tuple[Network | None, int]:
    """`10.0.0.0/8`, `10.0.0.1:443`, `[::1]:443`, `::1`, `:443` -> network and port, 0 for any. Raises: ValueError."""
    match = _WITH_PORT.fullmatch(text)
    if not match:
        return network(text), 0  # IPv6 as it is, or nothing of the kind
    inside, outside, port = match.groups()
    address = inside or outside
    if not address and port is None:
        raise ValueError("write an address, a CIDR or a port, for example 10.0.0.1:443, 10.0.0.0/8 or :443")
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError("write a port from 1 to 65535")
    return network(address) if address else None, int(port or 0)
