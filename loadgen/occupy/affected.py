"""The programs of a namespace that will find no port: who has sockets there, who connects, who binds early.

Sources: `loadgen.watch.owners` (processes of sockets), `loadgen.watch.sources` (signs of early binding).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from loadgen.kernel.groups import outbound
from loadgen.kernel.sockdiag import Sockets, TcpState, selected
from loadgen.model import Transport
from loadgen.strategies import Strategy
from loadgen.watch import owners, sources
from loadgen.watch.owners import SocketOwners
from loadgen.watch.space import Ports

#: Reading the descriptors of all processes may take that long.
_SCAN_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class AffectedProcess:
    """A process with sockets in the namespace, and their numbers.

    outgoing: connections that it opened. accepted: those it accepted. bound: neither connected nor listening.
    binds_early: its sockets look as if each was bound before it was connected.
    """

    pid: int
    command: str
    outgoing: int
    listening: int
    accepted: int
    bound: int
    binds_early: bool


@dataclass(frozen=True, slots=True)
class Affected:
    """The processes, those with most outgoing connections first. unknown: sockets without one, for the reason given."""

    processes: tuple[AffectedProcess, ...]
    unknown: int
    reason: str


def affected_by(tuples: Sockets, bound: Sockets, offered: Ports, transport: Transport) -> Affected:
    """Return the owners of these sockets, of `loadgen.occupy.reading.PortReader.sockets`, after a scan of /proc."""
    scanned = owners.scan(_SCAN_LIMIT_S, time.monotonic)
    return of_scan(tuples, bound, offered, transport, scanned, owners.command_of)


def of_scan(
    tuples: Sockets,
    bound: Sockets,
    offered: Ports,
    transport: Transport,
    scanned: SocketOwners,
    command: Callable[[int], str],
) -> Affected:
    """Return the same of this scan. command: name of a process."""
    listening = tuples["state"] == TcpState.LISTEN
    leaving = np.isin(tuples["cookie"], outbound(tuples)["cookie"])
    sorts = {
        "outgoing": selected(tuples, leaving),
        "listening": selected(tuples, listening),
        "accepted": selected(tuples, ~leaving & ~listening),
        "bound": bound,
    }
    counts = {sort: _by_process(sockets, scanned) for sort, sockets in sorts.items()}
    unknown = sum(count.pop(0, 0) for count in counts.values())
    early = (
        _early(sorts["outgoing"], bound, sorts["listening"], offered, scanned) if transport is Transport.TCP else set()
    )
    processes = [
        AffectedProcess(
            pid=pid,
            command=command(pid),
            outgoing=counts["outgoing"][pid],
            listening=counts["listening"][pid],
            accepted=counts["accepted"][pid],
            bound=counts["bound"][pid],
            binds_early=pid in early,
        )
        for pid in sorted({pid for count in counts.values() for pid in count})
    ]
    ordered = tuple(sorted(processes, key=lambda one: (-one.outgoing, -one.bound, one.pid)))
    return Affected(ordered, unknown, scanned.why_unknown if unknown else "")


def _by_process(sockets: Sockets, scanned: SocketOwners) -> Counter[int]:
    """Return the number of sockets by pid, 0: unknown; those in TIME-WAIT belong to no process."""
    pids: npt.NDArray[np.uint32] = scanned.of(sockets)[sockets["inode"] != 0]
    return Counter(pids.tolist())


def _early(outgoing: Sockets, bound: Sockets, listening: Sockets, offered: Ports, scanned: SocketOwners) -> set[int]:
    """Return the processes whose sockets show that they bind before they connect."""
    # IPV6_V6ONLY decides which ports an address has, and not whether its sockets were bound early.
    without_option = sources.BoundSockets(bound, np.zeros(bound.size, np.bool_))
    rows = sources.tcp(outgoing, without_option, listening, offered, scanned)
    return {
        owner.pid
        for row in rows
        if row.strategy is Strategy.BIND and row.owned
        for owner in row.owned.owners
        if not row.shown_by or row.shown_by == f"{owner.command}[{owner.pid}]"
    }
