"""Names of protocol counters: in one word as nstat(8) writes them, with a dot as `loadgen.kernel` does.

Sources: snmp_seq_show() and netstat_seq_show() in net/ipv4/proc.c, snmp6_seq_show() in net/ipv6/proc.c for the groups.
"""

from __future__ import annotations

import re
from typing import Final

#: The groups of counters, no one after another that it begins with.
GROUPS: Final = (
    "MPTcpExt",
    "TcpExt",
    "UdpLite6",
    "UdpLite",
    "IcmpMsg",
    "Icmp6",
    "IpExt",
    "Ip6",
    "Udp6",
    "Sctp",
    "Tcp",
    "Udp",
    "Icmp",
    "Ip",
)
#: A counter's name in one word, as nstat(8) and /proc/net/snmp6 write it.
WORD: Final = rf"(?P<group>{'|'.join(GROUPS)})(?P<counter>[A-Z][A-Za-z0-9]{{1,60}})"
_WORD: Final = re.compile(WORD)


def dotted(word: str) -> str:
    """Return the name with a dot behind its group; "" for a word that is no name of a counter."""
    found = _WORD.fullmatch(word)
    return f"{found['group']}.{found['counter']}" if found else ""
