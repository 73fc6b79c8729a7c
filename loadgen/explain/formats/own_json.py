"""JSON of loadgen itself: `watch --json`, `watch --port --json`, `doctor --json`, summary.json and host.json of a run.

What loadgen concluded is no evidence: of a doctor its values are taken, and no verdict; of a summary errors and
counters. An answer of `loadgen explain` is refused with the remedy.

Sources: docs/watch.md, docs/doctor.md, docs/run-directory.md; `loadgen schema summary`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from loadgen.explain.evidence import (
    TEXT_MAX,
    Complaint,
    CounterReading,
    Evidence,
    LimitReading,
    SocketListing,
    SpaceReading,
    SysctlReading,
    Where,
)
from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.outcomes import Syscall
from loadgen.results.schema.files import convert
from loadgen.results.schema.run import RunSummary
from loadgen.strategies import Transport
from loadgen.watch.owners import SocketOwners

_SYSCTL: Final = re.compile(r"(?:net|fs|kernel|vm)\.[\w.@:/-]+")
_DESCRIPTORS: Final = "Max open files"


class WatchOwner(msgspec.Struct, frozen=True):
    """An entry of owners.processes."""

    command: str
    sockets: int


class WatchOwners(msgspec.Struct, frozen=True):
    """The value of owners."""

    processes: tuple[WatchOwner, ...]


class WatchSpace(msgspec.Struct, frozen=True):
    """An entry of groups, sources or udp.sources."""

    source: str
    used: int
    usable: int
    time_wait: int
    destination: str = ""
    destination_port: int = 0
    strategy: str | None = None
    because: str = ""
    owners: WatchOwners | None = None


class WatchPorts(msgspec.Struct, frozen=True):
    """The value of ports."""

    low: int
    high: int


class WatchDocument(msgspec.Struct, frozen=True):
    """A line of `loadgen watch --json`."""

    ports: WatchPorts
    groups: tuple[WatchSpace, ...]
    counters: dict[str, int]
    tcp_tw_reuse: int
    states: dict[str, int]
    sources: tuple[WatchSpace, ...] = ()
    udp: Mapping[str, object] | None = None


class PortsHolder(msgspec.Struct, frozen=True):
    """An entry of holders."""

    transport: str
    state: str
    source: str
    destination: str
    destination_port: int
    pid: int
    command: str


class PortsTrial(msgspec.Struct, frozen=True):
    """An entry of trials."""

    transport: str
    address: str
    reuseaddr: bool
    refused: str


class PortsAnswer(msgspec.Struct, frozen=True):
    """An entry of ports."""

    port: int
    low: int
    high: int
    holder_count: int
    holders: tuple[PortsHolder, ...]
    trials: tuple[PortsTrial, ...]


class PortsDocument(msgspec.Struct, frozen=True):
    """The document of `loadgen watch --port --json`."""

    ports: tuple[PortsAnswer, ...]


class DoctorLimit(msgspec.Struct, frozen=True):
    """An entry of limits."""

    name: str
    value: str
    verdict: str


class DoctorDocument(msgspec.Struct, frozen=True):
    """The document of `loadgen doctor --json`."""

    kernel: str
    limits: tuple[DoctorLimit, ...]
    netns: str = ""


class HostDocument(msgspec.Struct, frozen=True):
    """The keys of host.json that are evidence."""

    kernel: str
    sysctls: dict[str, str]
    descriptors: int | None = None


def write(document: object, evidence: Evidence, where: Where) -> str:
    """Write a document of loadgen; see `json_documents.Write`."""
    if not isinstance(document, dict):
        return ""
    schema = document.get("schema")
    if isinstance(schema, str) and schema.startswith("loadgen."):
        writer = _WRITERS.get(schema)
        if writer is None:
            known = _REFUSED.get(schema.partition("/")[0])
            raise ValueError(known or f"JSON of loadgen that is no evidence ({schema[:40]})")
        return writer(document, evidence, where)
    if {"started_at", "sysctls", "port_range"} <= document.keys():
        return _write_host(document, evidence, where)
    return ""


def _write_watch(document: Mapping[str, object], evidence: Evidence, where: Where) -> str:
    look = convert(document, WatchDocument)
    udp = [] if look.udp is None else look.udp.get("sources", [])
    datagrams = convert({"sources": udp}, dict[str, tuple[WatchSpace, ...]])["sources"]
    spaces = [
        *(_space(Transport.TCP, one, where) for one in (*look.groups, *look.sources)),
        *(_space(Transport.UDP, one, where) for one in datagrams),
    ]
    evidence.spaces += spaces
    settings = {_PORT_RANGE: f"{look.ports.low} {look.ports.high}", _TW_REUSE: str(look.tcp_tw_reuse)}
    _write_sysctls(settings, evidence, where)
    evidence.counters.append(CounterReading("sockstat.tcp_tw", look.states.get("TIME_WAIT", 0), "now", where))
    evidence.counters += [CounterReading(name, count, "reading", where) for name, count in look.counters.items()]
    return "loadgen watch --json"


_PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
_TW_REUSE: Final = "net.ipv4.tcp_tw_reuse"


def _space(transport: Transport, one: WatchSpace, where: Where) -> SpaceReading:
    owners = one.owners.processes if one.owners else ()
    return SpaceReading(
        transport=transport,
        source=one.source,
        destination=one.destination,
        destination_port=one.destination_port,
        used=one.used,
        time_wait=one.time_wait,
        usable=one.usable,
        strategy=one.strategy or "",
        because=one.because,
        owners=tuple((owner.command, owner.sockets) for owner in owners),
        where=where,
    )


def _write_ports(document: Mapping[str, object], evidence: Evidence, where: Where) -> str:
    found = convert(document, PortsDocument)
    what = f"loadgen watch --port {' --port '.join(str(one.port) for one in found.ports[:5])} --json"
    evidence.listings.append(_listing(found.ports, what, where))
    for one in found.ports:
        _write_sysctls({_PORT_RANGE: f"{one.low} {one.high}"}, evidence, where)
        for trial in one.trials:
            if trial.refused and not trial.reuseaddr:
                text = f"bind({trial.address}:{one.port}) {trial.transport}: {trial.refused}"
                evidence.complain(
                    Complaint(
                        "loadgen",
                        frozenset({Syscall.BIND}),
                        trial.refused,
                        text[:TEXT_MAX],
                        where,
                        source=trial.address,
                        source_port=one.port,
                        listening=True,
                        transport=Transport(trial.transport),
                    )
                )
    return what


#: States as `watch --port` names them, beside those of TCP.
_STATES: Final[Mapping[str, TcpState]] = {
    **{state.name.replace("_", "-"): state for state in TcpState},
    "BOUND": TcpState.CLOSE,
    "OPEN": TcpState.CLOSE,
    "CONNECTED": TcpState.ESTABLISHED,
}


def _listing(answers: Sequence[PortsAnswer], what: str, where: Where) -> SocketListing:
    """Return the holders of all ports as a listing; inodes are numbers of their own, as the text has none."""
    rows: dict[Transport, list[tuple[object, ...]]] = {Transport.TCP: [], Transport.UDP: []}
    commands: dict[int, str] = {}
    pids = []
    for one in answers:
        for holder in one.holders:
            inode = 0
            if holder.pid:
                pids.append(holder.pid)
                inode = len(pids)
                commands[holder.pid] = holder.command
            rows[Transport(holder.transport)].append(_row(one.port, holder, inode))
    tcp, udp = (_sockets(rows[transport]) for transport in (Transport.TCP, Transport.UDP))
    return SocketListing(
        what,
        where.file,
        where.line,
        where.line,
        tcp=tcp,
        udp=udp,
        tcp_lines=np.full(tcp.size, where.line, np.uint32),
        udp_lines=np.full(udp.size, where.line, np.uint32),
        owners=SocketOwners(np.arange(1, len(pids) + 1, dtype=np.uint32), np.array(pids, np.uint32), 0, True),
        commands=commands,
        shows_listeners=True,
        shows_time_wait=True,
        shows_owners=True,
        whole=False,
        dropped=sum(one.holder_count - len(one.holders) for one in answers),
    )


def _row(port: int, holder: PortsHolder, inode: int) -> tuple[object, ...]:
    """Return family, state, ports, addresses and inode. Raises: ValueError for what cannot be a socket."""
    source, family = _packed(holder.source)
    destination = _packed(holder.destination)[0] if holder.destination else bytes(16)
    if not (0 < port < 1 << 16 and 0 <= holder.destination_port < 1 << 16 and 0 <= holder.pid < 1 << 32):
        raise ValueError("a port or pid that cannot be one")
    if holder.state not in _STATES:
        raise ValueError(f"a state that is not known here: {holder.state[:40]}")
    return family, _STATES[holder.state], port, holder.destination_port, source, destination, inode


def _packed(address: str) -> tuple[bytes, int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_pton(family, address).ljust(16, b"\0"), family
    except OSError as error:
        raise ValueError(f"not an address: {address[:60]}") from error


def _sockets(rows: Iterable[tuple[object, ...]]) -> Sockets:
    made = list(rows)
    sockets = np.zeros(len(made), SOCKET)
    for at, (family, state, port, peer_port, source, destination, inode) in enumerate(made):
        one = sockets[at]
        one["family"], one["state"], one["inode"] = family, state, inode
        one["source_port"], one["destination_port"] = port, peer_port
        one["source"], one["destination"] = (np.frombuffer(end, np.uint8) for end in (source, destination))  # type: ignore[call-overload]
    return sockets


def _write_doctor(document: Mapping[str, object], evidence: Evidence, where: Where) -> str:
    found = convert(document, DoctorDocument)
    told = {one.name: one.value for one in found.limits if one.verdict != "absent"}
    _write_sysctls(
        {name: "" if value == "none" else value for name, value in told.items() if _SYSCTL.fullmatch(name)},
        evidence,
        where,
    )
    soft, hard = (_number(told.get(f"RLIMIT_NOFILE {kind}", "")) for kind in ("soft", "hard"))
    # With --netns descriptors are those of the command, not of the container.
    if (soft is not None or hard is not None) and not found.netns:
        evidence.limits.append(LimitReading(_DESCRIPTORS, soft, hard, where))
    resting = _number(told.get("sockets in TIME-WAIT now", ""))
    if resting is not None:
        evidence.counters.append(CounterReading("sockstat.tcp_tw", resting, "now", where))
    evidence.kernel = evidence.kernel or found.kernel
    return "loadgen doctor --json"


def _number(text: str) -> int | None:
    """Return the whole number of "20,000"; None for any other text."""
    digits = text.replace(",", "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def _write_summary(document: Mapping[str, object], evidence: Evidence, where: Where) -> str:
    if "cells" in document:
        raise ValueError("the summary of a matrix has many runs: give the summary.json of the cell in question")
    summary = convert(document, RunSummary)
    syscalls = {call.name.lower(): call for call in Syscall}
    for error in summary.errors:
        if error.errno == "EOF" or error.syscall not in syscalls:
            continue  # the other side closed it
        is_self = error.errno == "SELF"
        text = f"{error.syscall} {error.errno} {error.count:,} times ({error.outcome})"
        complaint = Complaint(
            "loadgen",
            frozenset({syscalls[error.syscall]}),
            "" if is_self else error.errno,
            text[:TEXT_MAX],
            where,
            limit="self-connect" if is_self else "",
            listening=False,
        )
        evidence.complain(complaint, error.count)
    counts = summary.kernel
    evidence.counters += [CounterReading(name, count, "reading", where) for name, count in counts.delta.items()]
    evidence.counters += [CounterReading(name, count, "now", where) for name, count in counts.peak.items()]
    return "summary.json of loadgen"


def _write_host(document: Mapping[str, object], evidence: Evidence, where: Where) -> str:
    found = convert(document, HostDocument)
    _write_sysctls(found.sysctls, evidence, where)
    if found.descriptors is not None:
        evidence.limits.append(LimitReading(_DESCRIPTORS, None, found.descriptors, where))
    evidence.kernel = evidence.kernel or found.kernel
    return "host.json of loadgen"


def _write_sysctls(settings: Mapping[str, str], evidence: Evidence, where: Where) -> None:
    evidence.sysctls += [SysctlReading(name, " ".join(value.split()), where) for name, value in settings.items()]


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, object], Evidence, Where], str]]] = {
    "loadgen.watch/1": _write_watch,
    "loadgen.ports/1": _write_ports,
    "loadgen.doctor/1": _write_doctor,
    "loadgen.summary/1": _write_summary,
}
#: Documents that are no evidence, and what to give instead.
_REFUSED: Final[Mapping[str, str]] = {
    "loadgen.explain": "an answer of loadgen explain is no evidence: give the files that it was made from",
    "loadgen.plan": "a plan of loadgen is no evidence: give the summary.json of the run",
    "loadgen.trace": "an answer of loadgen trace: give the output of strace",
}
