"""The two ends of the connections in a lab: an address for each source and target of the other host.

Loopback addresses stay as they are. All others become addresses that a lab has: distinct ones stay distinct, a port
of a target stays unless the lab takes source ports there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from typing import Final

from loadgen.model import Endpoint, Topology
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.scaled import CONNECTIONS_MOST, SOURCES_MAX, TARGETS_MAX, Scaled
from loadgen.scenario.fields import ADDRESSES_MAX
from loadgen.scenario.fields import TARGETS_MAX as TARGETS_OF_A_SCENARIO

#: First address of the sources and of the targets, by topology and IP version. Loopback has one address in IPv6.
_FIRST: Final = {
    (Topology.LOOPBACK, 4): ("127.0.0.2", "127.0.1.1"),
    (Topology.LOOPBACK, 6): ("::1", "::1"),
    (Topology.VETH, 4): ("198.18.0.2", "198.19.128.1"),
    (Topology.VETH, 6): ("fd00:1::2", "fd00:2::1"),
}
#: Where the port of a target is not known, or not usable.
_TARGET_PORT: Final = 9000
_Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Ends:
    """Sources and targets of a lab.

    sources_of, targets_of: how many the other host had, more than there are here where that only takes time.
    """

    topology: Topology
    version: int
    sources: tuple[str, ...]
    targets: tuple[Endpoint, ...]
    sources_of: int
    targets_of: int

    @property
    def spans(self) -> str:
        """The sources as one range, where they follow each other, as those do that a lab makes."""
        return f"{self.sources[0]}-{self.sources[-1]}"


def parsed_address(text: str) -> _Address | None:
    """Return the address in a text, without its zone; None if there is none. ::ffff:10.0.0.1 is 10.0.0.1."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def parsed_target(text: str) -> tuple[str, int]:
    """Return host and port of "10.0.0.7:443", "[::1]:6432", "redis:6379"; port 0 where there is none."""
    head, colon, port = text.rpartition(":")
    if parsed_address(text) or not colon or not (port.isascii() and port.isdecimal() and len(port) < 6):
        return text, 0
    return head, int(port) if int(port) <= 65535 else 0


def ends_of(
    circumstances: Circumstances, scale: Scaled, *, veth: bool, most: bool, one_source: bool, every_source: bool
) -> Ends:
    """Return the ends of a lab.

    veth: whether the load needs a cable, unless all addresses were loopback ones. most: whether as many as there were.
    one_source: of a client that binds no address. every_source: whether none of them may be left out.
    """
    sources = list(dict.fromkeys(circumstances.sources))
    targets = list(dict.fromkeys(parsed_target(text) for text in circumstances.targets))
    addresses = [parsed_address(text) for text in (*sources, *(host for host, _ in targets))]
    known = [address for address in addresses if address and not address.is_unspecified]
    version = known[0].version if known else 4
    sources = [text for text in sources if _version(text, version) == version]
    targets = [(host, port) for host, port in targets if _version(host, version) == version]
    sources_of, targets_of = max(len(sources), 1), max(len(targets), 1)
    many = most or every_source
    sources_max, targets_max = (ADDRESSES_MAX, TARGETS_OF_A_SCENARIO) if many else (SOURCES_MAX, TARGETS_MAX)
    spaces_max = max(CONNECTIONS_MOST // len(scale.ours), 1) if most and not every_source else ADDRESSES_MAX
    sources = sources[: 1 if one_source else min(sources_max, spaces_max)]
    targets = targets[: min(targets_max, max(spaces_max // max(len(sources), 1), 1))]
    on_loopback = bool(known) and all(address.is_loopback for address in known)
    hosts = {host for host, _ in targets}
    needs_cable = version == 6 and max(len(sources), len(hosts)) > 1
    topology = Topology.VETH if needs_cable or (veth and not on_loopback) else Topology.LOOPBACK
    first_source, first_target = _FIRST[topology, version]
    if one_source and topology is Topology.LOOPBACK and version == 4:
        first_source = first_target = "127.0.0.1"  # the source that the kernel takes towards any loopback address
        sources = []
    at_source = _mapped(sources or [""], first_source, topology)
    at_target = _mapped([host for host, _ in targets] or [""], first_target, topology)
    return Ends(
        topology,
        version,
        tuple(at_source.values()),
        _endpoints([(at_target[host], port) for host, port in targets or [("", 0)]], scale, circumstances.source_port),
        sources_of,
        targets_of,
    )


def _version(text: str, otherwise: int) -> int:
    address = parsed_address(text)
    return address.version if address and not address.is_unspecified else otherwise


def _mapped(texts: Sequence[str], first: str, topology: Topology) -> dict[str, str]:
    """Return an address of the lab for each text: its own if that is a loopback address, else the next free one."""
    kept = {text: address for text in texts if (address := _kept(text, topology))}
    taken = set(kept.values())
    fresh = (address for address in _from(first) if address not in taken)
    return {text: kept.get(text) or next(fresh) for text in dict.fromkeys(texts)}


def _kept(text: str, topology: Topology) -> str:
    address = parsed_address(text)
    usable = address and topology is Topology.LOOPBACK and address.is_loopback
    return str(address) if usable and not str(address).endswith((".0", ".255")) else ""


def _from(first: str) -> Iterator[str]:
    start = ipaddress.ip_address(first)
    if start.is_loopback and start.version == 6:
        yield first
        return
    for offset in count():
        yield str(start + offset)


def _endpoints(wanted: Sequence[tuple[str, int]], scale: Scaled, source_port: int | None) -> tuple[Endpoint, ...]:
    """Return the targets, each with a port of its own that is no source port."""

    taken: set[tuple[str, int]] = set()

    def is_free(endpoint: tuple[str, int]) -> bool:
        return endpoint[1] != source_port and endpoint not in taken

    made = []
    for address, port in wanted:
        candidates = [port] if port else []
        free = (number for number in (*candidates, *range(_TARGET_PORT, 65536)) if is_free((address, number)))
        first = next(free)
        # A range of nearly all ports has the target's among them.
        chosen = first if first not in scale.ours else next((port for port in free if port not in scale.ours), first)
        taken.add((address, chosen))
        made.append(Endpoint(address, chosen))
    return tuple(made)
