"""The formats that are recognised, in the order in which a line is offered to them."""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats import (
    addresses,
    documents,
    ifconfig,
    iptables,
    neighbours,
    nft,
    route_tables,
    routes,
)
from loadgen.explain.formats.base import Format, FormatReader
from loadgen.explain.formats.netstat import NETSTAT
from loadgen.explain.formats.proc_net import PROC_NET
from loadgen.explain.formats.ss import SS
from loadgen.explain.formats.strace import STRACE

#: A line goes to the first format that begins with it and takes it; so those with the narrowest beginning come first.
FORMATS: Final[tuple[Format, ...]] = (
    documents.DOCUMENTS,
    nft.NFT,
    iptables.SAVE,
    iptables.LIST,
    addresses.INET6,
    addresses.ADDRESSES,
    addresses.BRIEF,
    ifconfig.IFCONFIG,
    route_tables.COLUMNS,
    route_tables.PROC,
    neighbours.NEIGHBOURS,
    neighbours.ARP,
    routes.ROUTES,
    STRACE,
    PROC_NET,
    NETSTAT,
    SS,
)

__all__ = ["FORMATS", "Format", "FormatReader"]
