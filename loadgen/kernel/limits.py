"""What else a plan has to fit into: processes, TCP's memory, and four-tuples that other sockets have already.

`of_host` is for a process outside of any lab, because the kernel shows some of this nowhere else; `in_use` is for
one inside.

Sources: proc_sys_kernel(5), kernel.pid_max and kernel.threads-max; getrlimit(2), RLIMIT_NPROC, and copy_process() in
kernel/fork.c for who is not held to it; tcp(7), tcp_mem; proc_pid_net(5), sockstat; cgroups(7), pids.max.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from loadgen.kernel import cgroup, sockdiag, sockstat, sysctl
from loadgen.kernel.sockdiag import SOCKET, Sockets, State
from loadgen.model import Endpoint, Transport

_PROC: Final = Path("/proc")
#: What the sockets of one address and one target have in common.
_SPACE: Final = np.dtype([(name, SOCKET[name]) for name in ("family", "source", "destination", "destination_port")])


@dataclass(frozen=True, slots=True)
class Room:
    """How much of something there is, and how much of it is in use."""

    limit: int
    used: int
    name: str

    @property
    def free(self) -> int:
        """What is left of it."""
        return max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class InUse:
    """Source ports that other sockets of the namespace have from one address to one target.

    ports: of sockets that are open, or on their way there or back. resting: of those in TIME-WAIT. Both rising.
    """

    source: str
    target: Endpoint
    ports: tuple[int, ...]
    resting: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What `of_host` and `in_use` found; None and () where nobody looked, or nothing is limited.

    processes: the tightest limit of processes and threads. tcp_memory: pages of 4 KiB or what this machine has.
    """

    processes: Room | None = None
    tcp_memory: Room | None = None
    in_use: tuple[InUse, ...] = ()


def of_host() -> Limits:
    """The limits of the whole host, and of whoever asks. Raises: HostError where a setting cannot be read."""
    return Limits(
        processes=min(_process_rooms(), key=lambda room: room.free, default=None),
        tcp_memory=_tcp_memory(),
    )


def _process_rooms() -> Iterator[Room]:
    tasks = int((_PROC / "loadavg").read_text().split()[3].partition("/")[2])
    for name in ("kernel.threads-max", "kernel.pid_max"):
        if limit := sysctl.read(name):
            yield Room(int(limit), tasks, name)
    if pids := cgroup.read().pids:
        yield Room(pids.limit, pids.used, pids.file)
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.getuid() and soft != resource.RLIM_INFINITY:
        yield Room(soft, _tasks_of(os.getuid()), "RLIMIT_NPROC (ulimit -u)")


def _tasks_of(uid: int) -> int:
    """Processes and threads of one user; those that end meanwhile do not count."""
    tasks = 0
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                if entry.stat().st_uid == uid:
                    tasks += len(os.listdir(entry / "task"))
            except OSError:
                continue
    return tasks


def _tcp_memory() -> Room | None:
    limits = (sysctl.read("net.ipv4.tcp_mem") or "").split()  # there only in the first namespace
    used = sockstat.read(_PROC / "self/net").get("tcp_mem")
    return Room(int(limits[2]), used, "net.ipv4.tcp_mem") if len(limits) == 3 and used is not None else None


def in_use(sources: Sequence[str], transport: Transport = Transport.TCP) -> tuple[InUse, ...]:
    """The four-tuples of these source addresses that sockets of this namespace have, whoever's they are.

    In UDP a port is left to whoever has it (`HostFacts.datagram_ports`), so there are none to count.

    Raises: HostError where the kernel does not list sockets.
    """
    if transport is Transport.UDP:
        return ()
    with sockdiag.Reader() as reader:
        return tuple(grouped(reader.dump(sockdiag.TUPLES).sockets, sources))


def grouped(sockets: Sockets, sources: Sequence[str]) -> Iterator[InUse]:
    """The sockets of a dump that have one of these source addresses (zones aside), by address and target."""
    if not sockets.size:
        return
    text_of = {_key(source): source for source in sources}
    spaces = np.empty(sockets.size, _SPACE)
    for name in spaces.dtype.names or ():
        spaces[name] = sockets[name]
    plain = spaces.view(f"V{_SPACE.itemsize}")
    distinct, members = np.unique(plain, return_inverse=True)
    resting = sockets["state"] == State.TIME_WAIT
    for number, (family, source, destination, port) in enumerate(distinct.view(_SPACE).tolist()):
        # The first bytes of an address may be one of the other family, so it goes by both.
        if ours := text_of.get((family, bytes(source))):
            address = socket.inet_ntop(family, bytes(destination)[: 4 if family == socket.AF_INET else 16])
            within = members.reshape(-1) == number
            ports, rested = (_ports(sockets[within & state]) for state in (~resting, resting))
            yield InUse(ours, Endpoint(address, port), ports, rested)


def _ports(sockets: Sockets) -> tuple[int, ...]:
    return tuple(np.unique(sockets["source_port"]).tolist())


def _key(address: str) -> tuple[int, bytes]:
    """An address as sock_diag(7) has it: its family, and its bytes in the first of sixteen."""
    family = Endpoint(address, 0).family
    return family, socket.inet_pton(family, address.partition("%")[0]).ljust(16, b"\0")
