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
from loadgen.explain.formats.core_tables import CONNTRACK_STATS, CORE_TABLES, SOFTNET
from loadgen.explain.formats.kernel_log import KERNEL_LOG
from loadgen.explain.formats.kernel_version import KERNEL_VERSION
from loadgen.explain.formats.logs import LOGS
from loadgen.explain.formats.netstat import NETSTAT
from loadgen.explain.formats.netstat_s import NETSTAT_S
from loadgen.explain.formats.nstat import NSTAT
from loadgen.explain.formats.proc_counters import SNMP, SNMP6, SOCKSTAT
from loadgen.explain.formats.proc_net import PROC_NET
from loadgen.explain.formats.prompt import COMMAND
from loadgen.explain.formats.resource_limits import PRLIMIT, PROC_LIMITS, SYSTEMD_LIMITS, ULIMIT
from loadgen.explain.formats.settings import SETTINGS
from loadgen.explain.formats.ss import SS
from loadgen.explain.formats.ss_summary import SS_SUMMARY
from loadgen.explain.formats.state_counts import STATE_COUNTS
from loadgen.explain.formats.strace import STRACE

#: A line goes to the first format that begins with it and takes it; so those with the narrowest beginning come first.
FORMATS: Final[tuple[Format, ...]] = (
    COMMAND,
    NSTAT,
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
    KERNEL_VERSION,
    SNMP,
    SNMP6,
    SOCKSTAT,
    SS_SUMMARY,
    CORE_TABLES,
    CONNTRACK_STATS,
    SOFTNET,
    NETSTAT_S,
    PROC_LIMITS,
    PRLIMIT,
    SYSTEMD_LIMITS,
    ULIMIT,
    STATE_COUNTS,
    KERNEL_LOG,
    LOGS,
    SETTINGS,
)

__all__ = ["FORMATS", "Format", "FormatReader"]
