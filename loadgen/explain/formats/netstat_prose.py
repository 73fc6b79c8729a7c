"""The sentences of `netstat -s`, and the counters they stand for.

Those that say something about connections are here. N is where the number is; spellings are those of all versions of
net-tools since 1.60, without the full stop at the end.

Source: statistics.c of net-tools: Iptab, Tcptab, Udptab, Tcpexttab.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_IP: Final = {
    "N total packets received": "InReceives",
    "N with invalid headers": "InHdrErrors",
    "N with invalid addresses": "InAddrErrors",
    "N forwarded": "ForwDatagrams",
    "N incoming packets discarded": "InDiscards",
    "N incoming packets delivered": "InDelivers",
    "N requests sent out": "OutRequests",
    "N outgoing packets dropped": "OutDiscards",
    "N dropped because of missing route": "OutNoRoutes",
}
_UDP: Final = {
    "N packets received": "InDatagrams",
    "N packets to unknown port received": "NoPorts",
    "N packet receive errors": "InErrors",
    "N packets sent": "OutDatagrams",
    "N packets send": "OutDatagrams",
    "N receive buffer errors": "RcvbufErrors",
    "N send buffer errors": "SndbufErrors",
    "N packets with invalid checksum": "InCsumErrors",
}
#: By group, then by sentence.
SENTENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "Ip": _IP,
    "Ip6": {
        **{text: name for text, name in _IP.items() if name not in ("ForwDatagrams", "InDiscards")},
        "N forwarded": "OutForwDatagrams",
        "N incoming packets discarded": "InDiscards",
        "N incoming packets with no route": "InNoRoutes",
    },
    "Tcp": {
        "N active connection openings": "ActiveOpens",
        "N active connections openings": "ActiveOpens",
        "N active opens": "ActiveOpens",
        "N passive connection openings": "PassiveOpens",
        "N passive opens": "PassiveOpens",
        "N failed connection attempts": "AttemptFails",
        "N connection resets received": "EstabResets",
        "N connections established": "CurrEstab",
        "N segments received": "InSegs",
        "N segments sent out": "OutSegs",
        "N segments send out": "OutSegs",
        "N segments retransmitted": "RetransSegs",
        "N segments retransmited": "RetransSegs",
        "N bad segments received": "InErrs",
        "N resets sent": "OutRsts",
    },
    "Udp": _UDP,
    "Udp6": _UDP,
    "UdpLite": _UDP,
    "TcpExt": {
        "N SYN cookies sent": "SyncookiesSent",
        "N SYN cookies received": "SyncookiesRecv",
        "N invalid SYN cookies received": "SyncookiesFailed",
        "N SYN cookies failed": "SyncookiesFailed",
        "N resets received for embryonic SYN_RECV sockets": "EmbryonicRsts",
        "N times the listen queue of a socket overflowed": "ListenOverflows",
        "N SYNs to LISTEN sockets dropped": "ListenDrops",
        "N SYNs to LISTEN sockets ignored": "ListenDrops",
        "N TCP sockets finished time wait in fast timer": "TW",
        "N TCP sockets finished time wait in slow timer": "TWKilled",
        "N time wait sockets recycled by time stamp": "TWRecycled",
        "N active connections rejected because of time stamp": "PAWSActive",
        "N passive connections rejected because of time stamp": "PAWSPassive",
        "N packets rejected in established connections because of timestamp": "PAWSEstab",
        "N packetes rejected in established connections because of timestamp": "PAWSEstab",
        "N packets rejects in established connections because of timestamp": "PAWSEstab",
        "N packets pruned from receive queue because of socket buffer overrun": "PruneCalled",
        "N packets pruned from receive queue": "RcvPruned",
        "N packets dropped from out-of-order queue because of socket buffer overrun": "OfoPruned",
        "N packets collapsed in receive queue due to low socket buffer": "TCPRcvCollapsed",
        "Ran N times out of system memory during packet sending": "SockMallocOOM",
        "TCP ran low on memory N times": "TCPMemoryPressures",
        "N other TCP timeouts": "TCPTimeouts",
        "N fast retransmits": "TCPFastRetrans",
        "N retransmits in slow start": "TCPSlowStartRetrans",
        "N connections aborted due to memory pressure": "TCPAbortOnMemory",
        "N connections aborted due to timeout": "TCPAbortOnTimeout",
        "N connections aborted after user close in linger timeout": "TCPAbortOnLinger",
        "N connections reset due to unexpected data": "TCPAbortOnData",
        "N connections reset due to early user close": "TCPAbortOnClose",
        "N connections reset due to unexpected SYN": "TCPAbortOnSyn",
        "N times unable to send RST due to no memory": "TCPAbortFailed",
        "N times unabled to send RST due to no memory": "TCPAbortFailed",
        "N delayed acks sent": "DelayedACKs",
        "Quick ack mode was activated N times": "DelayedACKLost",
        "N packet headers predicted": "TCPHPHits",
        "N packets header predicted": "TCPHPHits",
        "N predicted acknowledgments": "TCPHPAcks",
        "N acknowledgments not containing data payload received": "TCPPureAcks",
        "N acknowledgments not containing data received": "TCPPureAcks",
    },
}


def _without_group() -> dict[str, str]:
    """Return the sentences that only one group has, with the full name."""
    found: dict[str, set[str]] = {}
    for group, sentences in SENTENCES.items():
        for text, name in sentences.items():
            found.setdefault(text, set()).add(f"{group}.{name}")
    return {text: names.pop() for text, names in found.items() if len(names) == 1}


#: Sentences that are understood without the title of their group, as grep cuts them out.
ALONE: Final[Mapping[str, str]] = _without_group()
