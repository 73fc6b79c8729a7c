"""The programs that will be hurt, out of tables of sockets and a scan of /proc that are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadgen.kernel.sockdiag import SOCKET, Sockets, TcpState
from loadgen.model import Transport
from loadgen.occupy.account import ports_mask
from loadgen.occupy.affected import Affected, of_scan
from loadgen.watch.owners import SocketOwners

OFFERED = ports_mask(range(40_000, 40_100))
COMMANDS = {7: "nginx", 8: "envoy", 9: "idle"}


def sockets(*rows: dict[str, Any]) -> Sockets:
    """Sockets of 127.0.0.1, each with an inode and a cookie of its own unless it says otherwise."""
    table = np.zeros(len(rows), SOCKET)
    for number, row in enumerate(rows):
        values = {"family": 2, "state": TcpState.ESTABLISHED, "inode": row.get("source_port", 0), "cookie": number + 1}
        for name, value in (values | row).items():
            table[name][number] = value
        table["source"][number, :4] = (127, 0, 0, 1)
    return table


def to(port: int, destination_port: int, **changes: Any) -> dict[str, Any]:
    return {"source_port": port, "destination_port": destination_port, **changes}


def of(tuples: Sockets, bound: Sockets, pids: dict[int, int], transport: Transport = Transport.TCP) -> Affected:
    """pids: of inodes."""
    inodes = np.array(sorted(pids), np.uint32)
    scanned = SocketOwners(inodes, np.array([pids[inode] for inode in sorted(pids)], np.uint32), 0, True)
    return of_scan(tuples, bound, OFFERED, transport, scanned, COMMANDS.__getitem__)


def test_sockets_are_counted_by_process_and_sort() -> None:
    tuples = sockets(
        to(40_000, 9000),
        to(40_001, 9000),
        to(40_002, 9000, state=TcpState.TIME_WAIT, inode=0),
        to(8080, 0, state=TcpState.LISTEN),
        to(8080, 50_000, inode=8081),
    )
    found = of(tuples, sockets(to(40_003, 0, state=TcpState.CLOSE)), {40_000: 7, 8080: 7, 8081: 7, 40_003: 8})
    nginx, envoy = found.processes
    assert (nginx.pid, nginx.command) == (7, "nginx")
    assert (nginx.outgoing, nginx.listening, nginx.accepted, nginx.bound) == (1, 1, 1, 0)
    assert (envoy.pid, envoy.outgoing, envoy.bound) == (8, 0, 1)
    assert (found.unknown, found.reason) == (1, "no process found")


def test_ports_that_are_never_used_twice_show_early_binding() -> None:
    """Forty destinations with one connection each, on forty ports; late binding would use some ports twice."""
    early = sockets(*(to(40_000 + number, 9000 + number) for number in range(40)))
    (process,) = of(early, sockets(), dict.fromkeys(range(40_000, 40_040), 8)).processes
    assert (process.outgoing, process.binds_early) == (40, True)
    late = sockets(*(to(40_000, 9000 + number, inode=number + 1) for number in range(40)))
    (process,) = of(late, sockets(), dict.fromkeys(range(1, 41), 8)).processes
    assert not process.binds_early


def test_in_udp_nothing_is_said_about_early_binding() -> None:
    (process,) = of(sockets(), sockets(to(40_000, 0, state=TcpState.CLOSE)), {40_000: 9}, Transport.UDP).processes
    assert (process.bound, process.binds_early) == (1, False)


def test_nobody_is_there() -> None:
    assert of(sockets(), sockets(), {}) == Affected((), 0, "")
