"""Text -> numbers with units: durations, rates, addresses, ports.

One function per notation, each pure and strict: a text with two readings (a bare number as a duration, 010.0.0.1 as
an address) is refused. They raise ValueError with the remedy; the caller adds the text and its place.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from loadgen.model import Endpoint, PortRange, canonical_address

RATE_PER_S_MAX: Final = 10_000_000
#: Longer text is no quantity, and is not given to float().
_TEXT_MAX: Final = 100

_DURATION_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _DURATION_UNITS_S))
_RATE_UNITS_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE: Final = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?) ?/ ?(s|min|h)")
_METRIC: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKmM])")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")
# A letter first, so that an address is never taken for an interface; 15 characters (netdevice(7), IFNAMSIZ).
_INTERFACE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,14}")
_ADDRESS_PORT: Final = re.compile(r"(?:\[([^\]]*)\]|([^:]*)):([^:\]]*)")
#: RFC 1123 2.1: letters, digits and hyphens, a hyphen neither first nor last; at most 63 of them (RFC 1035 2.3.4).
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
#: RFC 1035 2.3.4: 255 octets, less the two that are not in the text.
_NAME_MAX: Final = 253
#: The last part of an address in one of the old spellings that resolvers accept (inet_aton(3)): 127.1, 0x7f000001.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: RFC 4291 2.5.6. Every link has this network, so that an address means nothing without its link.
LINK_LOCAL: Final = ipaddress.ip_network("fe80::/10")

#: All addresses of this host, for listeners; "::" takes IPv4 as well, unless net.ipv6.bindv6only is 1.
EVERY_ADDRESS: Final = ("0.0.0.0", "::")
#: Networks whose addresses cannot be an end of a TCP connection, and the reason.
_UNUSABLE: Final = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/32", "unspecified (RFC 1122 3.2.1.3)"),
        ("0.0.0.0/8", "an unspecified host on this network (RFC 1122 3.2.1.3)"),
        ("::/128", "unspecified (RFC 4291 2.5.2)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("ff00::/8", "multicast (RFC 4291 2.7)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
    )
)


def duration_s(value: object) -> float:
    """Convert `1m30s`, `500ms` or `1.5s` to seconds. Units h, m, s, ms, each at most once and in this order.

    Raises: ValueError for anything else, a bare number too: it could be seconds or milliseconds.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= _TEXT_MAX else None
    if not match or not match[0]:
        raise ValueError("write 30s, 2m or 500ms")
    parts = zip(match.groups(), _DURATION_UNITS_S.values(), strict=True)
    return math.fsum(float(digits) * unit_s for digits, unit_s in parts if digits)


def rate_per_s(value: object) -> float:
    """Convert `20000/s`, `600/min` or `3600/h` to arrivals per second; 0 is a rate.

    Raises: ValueError for anything else, and for a rate below 1/h or above 10,000,000/s.
    """
    match = _RATE.fullmatch(value) if isinstance(value, str) and len(value) <= _TEXT_MAX else None
    if not match:
        meant = whole_number(value.split("/")[0].strip() if isinstance(value, str) else value)
        raise ValueError(f"write {20_000 if meant is None else meant}/s")
    rate = float(match[1]) / _RATE_UNITS_S[match[2]]
    if rate and not 1 / 3600 <= rate <= RATE_PER_S_MAX:
        raise ValueError(f"write a rate from 1/h to {RATE_PER_S_MAX}/s")
    return rate


def whole_number(value: object) -> int | None:
    """Return the whole number meant by `100k`, `1.5M`, "20" or 1e5; None if there is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if float(value).is_integer() else None
    if not isinstance(value, str) or len(value) > 15:
        return None
    if match := _METRIC.fullmatch(value):
        return round(float(match[1]) * {"k": 1_000, "m": 1_000_000}[match[2].lower()])
    return int(value) if value.isascii() and value.isdigit() else None


@dataclass(frozen=True, slots=True)
class Block:
    """A range of addresses of one version (4 or 6), `first` to `last`, both included, as integers.

    zone: the interface that a link-local address belongs to (RFC 4007 11); "" for every other.
    """

    version: int
    first: int
    last: int
    zone: str = ""

    def __len__(self) -> int:
        raise TypeError("len() ends at 2**63; use .count")

    @property
    def count(self) -> int:
        """Number of addresses; arithmetic only, so that ::/0 costs nothing."""
        return self.last - self.first + 1

    def addresses(self) -> Iterator[str]:
        """Return every address in order, in its canonical form."""
        make, zone = IPv4Address if self.version == 4 else IPv6Address, f"%{self.zone}" if self.zone else ""
        return (f"{make(number)}{zone}" for number in range(self.first, self.last + 1))

    def within(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
        """Return True if every address lies in `network`."""
        first, last = int(network.network_address), int(network.broadcast_address)
        return self.version == network.version and first <= self.first and self.last <= last

    def meets(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
        """Return True if any address lies in `network`."""
        first, last = int(network.network_address), int(network.broadcast_address)
        return self.version == network.version and self.first <= last and first <= self.last


@dataclass(frozen=True, slots=True)
class Destination:
    """The end of a target: a literal address, or a host name that has to be resolved, and its ports.

    Exactly one of `address` and `name` is not "".
    """

    address: str
    name: str
    ports: PortRange

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address or self.name
        return f"{host}:{self.ports.low if len(self.ports) == 1 else self.ports}"


def share(text: object) -> float:
    """Convert `1%` to 0.01; above 0% and up to 100%. Raises: ValueError with the remedy."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", text) if isinstance(text, str) else None
    if not match or not 0 < float(match[1]) <= 100:
        raise ValueError("write a share above 0% and up to 100%, for example 1%")
    return float(match[1]) / 100


def is_interface(text: str) -> bool:
    """Return True if the text is the name of a network interface (`eth0`) rather than an address."""
    return _INTERFACE.fullmatch(text) is not None


def block(text: str) -> Block:
    """Convert an address, a CIDR or a range to its block of addresses; nothing is expanded.

    A CIDR is every host in it: for IPv4 up to /30 without network and broadcast address (RFC 1122
    3.2.1.3; a /31 has neither, RFC 3021). A range is `a-b` or, for IPv4, `127.0.0.2-9`.
    IPv4-mapped IPv6 (::ffff:a.b.c.d) is the IPv4 address. One link-local address may have a zone, fe80::1%eth0.

    Raises: ValueError for anything else.
    """
    if "%" in text:
        literal, _, zone = text.partition("%")
        if not is_interface(zone):
            raise ValueError("write one address, then % and the name of an interface (its zone), fe80::1%eth0")
        address = _address(literal)
        if address not in LINK_LOCAL:
            raise ValueError("write the address without a zone (%...); only link-local ones (fe80::/10) have one")
        return Block(address.version, int(address), int(address), zone)
    if "/" in text:
        return _cidr(*text.split("/", 1))
    if "-" in text:
        return _range(*text.split("-", 1))
    address = _address(text)
    return Block(address.version, int(address), int(address))


def check_usable(addresses: Block) -> None:
    """Check that each address can be an end of a TCP connection. Raises: ValueError with the remedy."""
    for network, reason in _UNUSABLE:
        if addresses.meets(network):
            raise ValueError(f"use other addresses, {network} is {reason}")
    if addresses.meets(LINK_LOCAL) and not addresses.zone:
        raise ValueError("write a link-local address (fe80::/10) alone, with the interface it belongs to, fe80::1%eth0")


def endpoint(text: str) -> Endpoint:
    """Convert `127.0.0.1:9000` or `[::1]:9000` to an endpoint. Raises: ValueError, for a name or several ports too."""
    host, port = _host_and_port(text)
    if _reads_as_name(host):
        raise ValueError("give a literal address, for example 127.0.0.1:9000; names are not resolved here")
    return Endpoint(_one_address(host), _port(port))


def listening_endpoint(text: str) -> Endpoint:
    """Convert as `endpoint`; also all addresses of a family, `0.0.0.0:9000` or `[::]:9000`. Raises: ValueError."""
    host, port = _host_and_port(text)
    return Endpoint(host, _port(port)) if host in EVERY_ADDRESS else endpoint(text)


def destination(text: str) -> Destination:
    """Convert an address or host name with a port or range of ports. Raises: ValueError with the remedy.

    `127.0.0.1:9000`, `[::1]:9000-9009`, `[fe80::1%eth0]:9000`, `redis.internal:6379`.
    """
    host, port = _host_and_port(text)
    if _reads_as_name(host):
        return Destination("", host_name(host), port_range(port))
    return Destination(_one_address(host), "", port_range(port))


def host_name(text: str) -> str:
    """Check a host name by RFC 1123 2.1, and return it in lower case. Raises: ValueError with the remedy.

    A name that ends in a number is refused: resolvers read 127.1 and 0x7f000001 as addresses.
    """
    labels = text.removesuffix(".").split(".")
    if len(text) > _NAME_MAX:
        raise ValueError(f"write a host name of at most {_NAME_MAX} characters (RFC 1035 2.3.4)")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(
            "write a host name of letters, digits and hyphens, in parts of 1 to 63 that begin and end with a letter "
            "or digit (RFC 1123 2.1)"
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError("write an address in full, 127.0.0.1; the last part of a host name is no number")
    return text.lower()


def port_range(value: object) -> PortRange:
    """Convert `1024-65535`, or one port as text or number. Raises: ValueError with the remedy."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("write a range of ports, for example 1024-65535")
    low, dash, high = value.partition("-")
    first, last = _port(low.strip()), _port((high if dash else low).strip())
    if first > last:
        raise ValueError(f"write the lower port first: {last}-{first}")
    return PortRange(first, last)


def _host_and_port(text: str) -> tuple[str, str]:
    """Split host and port; brackets are checked and removed."""
    match = _ADDRESS_PORT.fullmatch(text)
    if not match:
        if "://" in text:
            raise ValueError("write host and port alone, without a scheme, for example 127.0.0.1:9000")
        if text.count(":") > 1 and not text.startswith("["):
            raise ValueError("write an IPv6 address in brackets, then the port, for example [::1]:9000")
        raise ValueError("write address and port, for example 127.0.0.1:9000 or [::1]:9000")
    inside, outside, port = match.groups()
    if inside is not None and ":" not in inside:
        raise ValueError("brackets are for IPv6 addresses, for example [::1]:9000")
    return inside or outside, port


def _reads_as_name(host: str) -> bool:
    """Return True if the text is meant as a host name rather than an address; `host_name` checks it."""
    return ":" not in host and any(map(str.isalpha, host))


def _one_address(text: str) -> str:
    """Return a single address that can be the target of a connection, in its canonical form."""
    addresses = block(text) if "%" in text else block(str(_address(text)))
    if not addresses.first:  # `control.allowlist` has the reason why it is refused
        loopback = "127.0.0.1" if addresses.version == 4 else "::1"
        raise ValueError(f"write {loopback} to mean this host, which connect() to an unspecified address would reach")
    check_usable(addresses)
    return next(addresses.addresses())


def _address(text: str) -> IPv4Address | IPv6Address:
    """Convert a literal address without a zone; an IPv4-mapped one becomes IPv4."""
    if "%" in text:
        raise ValueError("write an address with a zone (%...) alone, not in a CIDR or range")
    try:
        return ipaddress.ip_address(canonical_address(text))
    except ValueError:
        parts = text.split(".")
        if len(parts) == 4 and all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
            decimal = ".".join(str(int(part)) for part in parts)
            if decimal != text:
                raise ValueError(
                    f"write {decimal} if that is meant; leading zeros could be octal (RFC 6943 3.1.1)"
                ) from None
            raise ValueError("each number of an IPv4 address goes from 0 to 255") from None
    raise ValueError("write an address (10.0.0.1, fd00::1), a CIDR, a range a-b or an interface name")


def _cidr(base: str, prefix: str) -> Block:
    address = _address(base)
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("write the prefix length as a number, for example 10.0.0.0/24")
    mapped = 96 if ":" in base and address.version == 4 else 0
    length = int(prefix) - mapped
    if not 0 <= length <= address.max_prefixlen:
        raise ValueError(f"write a prefix length from {mapped} to {mapped + address.max_prefixlen}")
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    if network.network_address != address:
        raise ValueError(f"write {network}; the address has bits set after its prefix")
    # Network and broadcast address are not hosts.
    edge = 1 if network.version == 4 and length <= 30 else 0
    return Block(network.version, int(network.network_address) + edge, int(network.broadcast_address) - edge)


def _range(low: str, high: str) -> Block:
    first = _address(low.strip())
    high = high.strip()
    if first.version == 4 and re.fullmatch("0|[1-9][0-9]{0,2}", high):
        high = str(first).rsplit(".", 1)[0] + "." + high
    last = _address(high)
    if first.version != last.version:
        raise ValueError("both ends of a range must be IPv4, or both IPv6")
    if int(first) > int(last):
        raise ValueError(f"write the lower address first: {last}-{first}")
    return Block(first.version, int(first), int(last))


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("write a port from 1 to 65535, for example 9000")
    return int(text)
