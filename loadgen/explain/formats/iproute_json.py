"""Documents of `ip -j addr`, `ip -j link`, `ip -j route` and `ip -j neigh`.

Source: ip-address(8), -json; print_linkinfo(), print_addrinfo(), print_route() and print_neigh() in iproute2 6.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

from loadgen.explain.evidence import AddressReading, CounterReading, Evidence, LinkReading, RouteReading, Where
from loadgen.explain.formats.addresses import FLAGS
from loadgen.explain.formats.routes import ALWAYS, KINDS

_ANOTHER: Final = "JSON of ip with values that are not known here"


class IpAddressRow(msgspec.Struct, frozen=True):
    """An entry of addr_info; the flags of an address are further keys, true where it has them."""

    family: str
    prefixlen: int
    local: str = ""


class IpLinkRow(msgspec.Struct, frozen=True):
    """An object of `ip -j addr` or `ip -j link`."""

    ifname: str
    flags: tuple[str, ...] = ()
    addr_info: tuple[Mapping[str, object], ...] = ()


class IpHopRow(msgspec.Struct, frozen=True):
    """An entry of nexthops."""

    dev: str = ""
    gateway: str = ""


class IpRouteRow(msgspec.Struct, frozen=True):
    """An object of `ip -j route`."""

    dst: str
    type: str = "unicast"
    dev: str = ""
    gateway: str = ""
    prefsrc: str = ""
    table: str = ""
    pref: str = ""
    nexthops: tuple[IpHopRow, ...] = ()


class IpNeighbourRow(msgspec.Struct, frozen=True):
    """An object of `ip -j neigh`."""

    dst: str
    state: tuple[str, ...]


def write(document: object, evidence: Evidence, where: Where) -> str:
    """Write the document of `ip -j`; see `json_documents.Write`."""
    if not isinstance(document, list):
        return ""
    rows = [row for row in document if row]  # ip prints {} for an interface that was not selected
    if not rows or not all(isinstance(row, dict) for row in rows):
        return ""
    try:
        if "ifname" in rows[0]:
            return _write_links(rows, evidence, where)
        if "dst" in rows[0] and "state" in rows[0]:
            return _write_neighbours(rows, evidence, where)
        if "dst" in rows[0]:
            return _write_routes(rows, evidence, where)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"{_ANOTHER}: {error}") from error
    return ""


def _write_links(rows: list[object], evidence: Evidence, where: Where) -> str:
    links: list[LinkReading] = []
    addresses: list[AddressReading] = []
    for row in msgspec.convert(rows, tuple[IpLinkRow, ...]):
        links.append(LinkReading(row.ifname, frozenset(row.flags), where))
        for keys in row.addr_info:
            if keys:
                one = msgspec.convert(keys, IpAddressRow)
                flags = frozenset(flag for flag in FLAGS if keys.get(flag) is True)
                text = str(ip_address(one.local))
                addresses.append(AddressReading(text, one.prefixlen, row.ifname, flags, where))
    evidence.links += links
    evidence.addresses += addresses
    return "ip -j addr" if addresses else "ip -j link"


def _write_routes(rows: list[object], evidence: Evidence, where: Where) -> str:
    routes: list[RouteReading] = []
    six = False
    for row in msgspec.convert(rows, tuple[IpRouteRow, ...]):
        hops = row.nexthops or (IpHopRow(row.dev, row.gateway),)
        if row.dst == "default":
            told = row.prefsrc or hops[0].gateway
            six = ":" in told if told else bool(row.pref) or six
            network = "::/0" if six else "0.0.0.0/0"
        else:
            found = ip_network(row.dst, strict=False)
            network, six = str(found), found.version == 6
        table = "" if row.table in ALWAYS else row.table
        if row.type in KINDS:
            routes += [RouteReading(row.type, network, hop.dev, hop.gateway, row.prefsrc, where, table) for hop in hops]
    evidence.routes += routes
    return "ip -j route"


def _write_neighbours(rows: list[object], evidence: Evidence, where: Where) -> str:
    versions = [ip_address(row.dst).version for row in msgspec.convert(rows, tuple[IpNeighbourRow, ...])]
    for version, count in Counter(versions).items():
        name = "neigh.entries" if version == 4 else "neigh6.entries"
        evidence.counters.append(CounterReading(name, count, "now", where))
    return "ip -j neigh"
