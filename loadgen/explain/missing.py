"""Evidence that is not there: the exact command that gets it, and what it would decide, most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from loadgen.explain.case import Case
from loadgen.explain.explanation import MissingEvidence
from loadgen.explain.port_settings import RANGE, RESERVED
from loadgen.explain.symptoms import Symptom, SymptomKind
from loadgen.results.weighing import Weight

if TYPE_CHECKING:
    from loadgen.explain.judge import Judged

_SOCKETS: Final = "ss -tanp"
_PORTS: Final = ("four-tuples", "source-ports", "time-wait", "port-held")


def of(case: Case, judged: Sequence[Judged]) -> Iterator[MissingEvidence]:
    """Yield what would decide between the candidates, then what would show more, each command once."""
    said: set[str] = set()
    for one in (*_deciding(case, judged), *_in_general(case, judged)):
        if one.command not in said:
            said.add(one.command)
            yield one


def _deciding(case: Case, judged: Sequence[Judged]) -> Iterator[MissingEvidence]:
    for one in judged:
        hidden = [name for name, sign in one.signs.items() if sign.weight is Weight.POSSIBLE and not sign.refuted]
        tables = (one.limit,) if one.limit in ("conntrack", "nat-ports", "neighbours") else ()
        wanted = dict.fromkeys(
            (*one.reasoned.candidates, *(hidden if one.reasoned.confidence != "certain" else ()), *tables)
        )
        for name in wanted:
            yield from of_limit(case, name, one.symptom)
        if one.sign.doubt:
            yield MissingEvidence(
                "ip address show", "in the network namespace of the program: whether it has the address"
            )
        elif one.limit == "source-address" and SymptomKind.SOURCE not in one.symptom.kinds and not one.sign.reason:
            yield from of_limit(case, one.limit, one.symptom)
        elif one.symptom.kind is SymptomKind.SOURCE and not one.sign.reason:
            yield MissingEvidence("ip address show", "whether the address is there, and whether it is tentative")
        elif one.symptom.kind is SymptomKind.LISTEN and one.reasoned.confidence != "certain":
            yield from _of_port(one.symptom)


def _of_port(symptom: Symptom) -> Iterator[MissingEvidence]:
    port = symptom.source_port
    command = f"ss -tanp 'sport = :{port}'" if port else _SOCKETS
    yield MissingEvidence(command, "which socket has the port: a listener, an outgoing connection, or TIME-WAIT")


def of_limit(case: Case, name: str, symptom: Symptom) -> Iterator[MissingEvidence]:
    """Yield what would speak for or against a limit, as far as it is not there already."""
    if symptom.kind in (SymptomKind.LISTEN, SymptomKind.FIXED_PORT):
        yield from _of_port(symptom)
    elif name == "source-address":
        yield from _of_address(case, symptom)
    elif name in _PORTS and not case.lists_tcp:
        yield MissingEvidence(
            _SOCKETS, "how many ports each source and destination uses, and how many are in TIME-WAIT"
        )
    elif name == "port-held":
        yield MissingEvidence("loadgen watch --once", "bound, unconnected sockets, which ss and netstat do not show")
    elif name in _COMMANDS and not (name == "conntrack" and case.tracked):
        command, decides = _COMMANDS[name]
        yield MissingEvidence(command, decides)


def _of_address(case: Case, symptom: Symptom) -> Iterator[MissingEvidence]:
    bound = SymptomKind.SOURCE in symptom.kinds
    if bound and case.evidence.addresses:
        yield MissingEvidence("ip address show", "in the network namespace of the program: whether it has the address")
    if symptom.family == 6 or (symptom.family is None and not bound):
        interface = "lo" if symptom.on_loopback else "all"
        name = f"net.ipv6.conf.{interface}.disable_ipv6"
        if case.number(name) is None:
            yield MissingEvidence(f"sysctl {name}", "whether IPv6 is off: then it is not about ports")
    if not case.evidence.addresses:
        yield MissingEvidence("ip address show", "whether this host has an address of that family, and in which state")


#: What tells limits of the way and of the target: command, and what it decides.
_COMMANDS: Final = {
    "backlog": (
        "nstat -az TcpExtListenOverflows TcpExtTCPSynRetrans; ss -ltn",
        "on the target, twice: whether its queue is full",
    ),
    "syn-loss": ("nstat -az TcpExtTCPSynRetrans", "twice, on the client: whether SYNs are sent again"),
    "conntrack": (
        "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max; conntrack -S",
        "whether the tracking table is full",
    ),
    "nat-ports": ("conntrack -S; nft list ruleset", "whether translation finds no port: insert_failed grows"),
    "neighbours": (
        "ip neigh | wc -l; sysctl net.ipv4.neigh.default.gc_thresh3",
        "on the target or its router: whether the table of neighbours is full",
    ),
    "path-limit": ("ss -tan state syn-sent", "on the client: how many connections wait, and to which targets"),
    "blackhole": (
        "tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0'",
        "on the target: whether SYNs arrive, and answers leave",
    ),
    "memory": ("cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem", "whether TCP has all the memory it may have"),
}


def _in_general(case: Case, judged: Sequence[Judged]) -> Iterator[MissingEvidence]:
    of_one_port = (SymptomKind.LISTEN, SymptomKind.FIXED_PORT)
    of_ports = [
        one for one in judged if one.symptom.kind not in of_one_port and any(name in _PORTS for name in one.named)
    ]
    about_ports = not judged or bool(of_ports)
    shown = bool(of_ports) and all(one.reasoned.confidence == "certain" for one in of_ports)
    if about_ports and not case.lists_tcp and not shown:
        yield MissingEvidence(
            _SOCKETS, "how many ports each source and destination uses, and how many are in TIME-WAIT"
        )
    if about_ports and case.settings.assumed:
        yield MissingEvidence(f"sysctl {RANGE} {RESERVED}", "how many ports there are; the kernel's default is assumed")
    if not judged and not list(case.evidence.complaints):
        if not case.lists_tcp or case.settings.assumed:
            yield MissingEvidence("loadgen explain --what-to-collect", "prints a command that collects everything")
        yield MissingEvidence("journalctl -u UNIT --since -1h", "what the program says, with the errno")
