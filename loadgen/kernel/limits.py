"""Further limits of a plan: processes, TCP memory, and four-tuples that other sockets hold.

`of_host` runs outside any lab, because the kernel shows some limits only there; `in_use` runs inside.

Sources: proc_sys_kernel(5), kernel.pid_max and kernel.threads-max; getrlimit(2), RLIMIT_NPROC, and copy_process() in
kernel/fork.c for the processes exempt from it; tcp(7), tcp_mem; proc_pid_net(5), sockstat; cgroups(7), pids.max.
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

from loadgen.errors import HostError
from loadgen.kernel import cgroup, neighbours, sockdiag, sockstat, sysctl
from loadgen.kernel.sockdiag import MAPPED, SOCKET, Sockets, TcpState
from loadgen.model import Endpoint, Transport

#: linux/inet_diag.h, INET_DIAG_SKV6ONLY.
_SKV6ONLY: Final = 11
_PROC: Final = Path("/proc")
#: The fields that identify a (source address, target) pair.
_SPACE: Final = np.dtype([(name, SOCKET[name]) for name in ("family", "source", "destination", "destination_port")])


@dataclass(frozen=True, slots=True)
class HostLimit:
    """A limit of the host and the amount in use."""

    limit: int
    used: int
    name: str

    @property
    def free(self) -> int:
        """The amount left."""
        return max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class InUse:
    """Source ports that other sockets of the namespace use from one address to one target.

    ports: of open, opening and closing sockets. resting: of sockets in TIME-WAIT. Both in rising order.
    """

    source: str
    target: Endpoint
    ports: tuple[int, ...]
    resting: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BoundPorts:
    """Ports of TCP sockets that are bound to one address, and neither listen nor connect; in rising order.

    address: "0.0.0.0" or "::" where bound to all addresses; a socket of IPv6 that takes IPv4, too, is under both.
    """

    address: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Results of `of_host`, `in_use` and `bound`; None and (): not read, or not limited.

    processes: the tightest limit on processes and threads. tcp_memory: pages of 4 KiB, or of this machine's size.
    neighbours: entries of each table of neighbours, named by their sysctl; used: of all namespaces, some of which may
    be evicted, or do not count (`loadgen.kernel.neighbours`).
    """

    processes: HostLimit | None = None
    tcp_memory: HostLimit | None = None
    in_use: tuple[InUse, ...] = ()
    bound: tuple[BoundPorts, ...] = ()
    neighbours: tuple[HostLimit, ...] = ()


def of_host() -> HostLimits:
    """Return the limits of the host and of the current user. Raises: HostError if a setting cannot be read."""
    return HostLimits(
        processes=min(_process_limits(), key=lambda limit: limit.free, default=None),
        tcp_memory=_tcp_memory(),
        neighbours=tuple(_neighbours()),
    )


def _neighbours() -> Iterator[HostLimit]:
    """Yield the tables of neighbours; none where this is not the initial namespace."""
    entries = neighbours.read(_PROC / "self" / "net").entries
    for prefix, name in zip(neighbours.FILES, neighbours.SIZES.values(), strict=True):
        if prefix in entries and (size := sysctl.read(name)):
            yield HostLimit(int(size), entries[prefix], name)


def _process_limits() -> Iterator[HostLimit]:
    try:
        tasks = int((_PROC / "loadavg").read_text().split()[3].partition("/")[2])
    except OSError:  # not shown here, as with the mount option subset=pid; the limits below stay
        tasks = None
    for name in ("kernel.threads-max", "kernel.pid_max"):
        if tasks is not None and (limit := sysctl.read(name)):
            yield HostLimit(int(limit), tasks, name)
    if pids := cgroup.read().pids:
        yield HostLimit(pids.limit, pids.used, pids.file)
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.getuid() and soft != resource.RLIM_INFINITY:
        yield HostLimit(soft, _tasks_of(os.getuid()), "RLIMIT_NPROC (ulimit -u)")


def _tasks_of(uid: int) -> int:
    """Return the number of processes and threads of one user; those that exit during the call do not count."""
    tasks = 0
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdecimal():
            try:
                if entry.stat().st_uid == uid:
                    tasks += len(os.listdir(entry / "task"))
            except OSError:
                continue
    return tasks


def _tcp_memory() -> HostLimit | None:
    limits = (sysctl.read("net.ipv4.tcp_mem") or "").split()  # exists only in the initial namespace
    if len(limits) != 3:
        return None
    used = sockstat.read(_PROC / "self/net").get("tcp_mem")
    return None if used is None else HostLimit(int(limits[2]), used, "net.ipv4.tcp_mem")


def in_use(sources: Sequence[str], transport: Transport = Transport.TCP) -> tuple[InUse, ...]:
    """Return the four-tuples of these source addresses that any socket of this namespace holds.

    Over UDP the result is empty: a port is used by one socket only, see `HostFacts.datagram_ports`.

    Raises: HostError if the kernel does not list sockets.
    """
    if transport is Transport.UDP:
        return ()
    with sockdiag.Reader() as reader:
        return tuple(grouped(reader.dump(sockdiag.TUPLES).sockets, sources))


def bound(transport: Transport = Transport.TCP) -> tuple[BoundPorts, ...]:
    """Return the ports of sockets that are bound and not connected, which `ss` does not show.

    () over UDP (see `HostFacts.datagram_ports`), and where the kernel cannot list them: before Linux 6.8, or without a
    free port, in which case the sockets that have all of them are in `in_use`.

    Raises: HostError if the kernel does not list sockets.
    """
    if transport is Transport.UDP:
        return ()
    with sockdiag.Reader() as reader:
        try:
            four = reader.dump(sockdiag.mask(TcpState.BOUND), families=(socket.AF_INET,))
            # Asked for an extension, the kernel tells IPV6_V6ONLY as well.
            six = reader.dump(
                sockdiag.mask(TcpState.BOUND), families=(socket.AF_INET6,), extensions=sockdiag.Extension.TOS
            )
        except HostError:
            return ()
    only_six = [attributes.get(_SKV6ONLY, b"\0") != b"\0" for attributes in six.attributes]
    return tuple(by_address(np.concatenate([four.sockets, six.sockets]), [False] * four.sockets.size + only_six))


def by_address(sockets: Sockets, only_six: Sequence[bool]) -> Iterator[BoundPorts]:
    """Yield the ports of a dump of bound sockets by address. only_six: IPV6_V6ONLY of each."""
    ports: dict[str, set[int]] = {}
    for sock, only in zip(sockets, only_six, strict=True):
        family, packed = int(sock["family"]), bytes(sock["source"])
        if packed.startswith(MAPPED):
            family, packed = socket.AF_INET, packed[len(MAPPED) :]
        address = socket.inet_ntop(family, packed[: 4 if family == socket.AF_INET else 16])
        for one in (address, *(("0.0.0.0",) if address == "::" and not only else ())):
            ports.setdefault(one, set()).add(int(sock["source_port"]))
    for address, found in sorted(ports.items()):
        yield BoundPorts(address, tuple(sorted(found)))


def grouped(sockets: Sockets, sources: Sequence[str]) -> Iterator[InUse]:
    """Yield the sockets of a dump with one of these source addresses (zones ignored), by address and target."""
    if not sockets.size:
        return
    text_of = {_key(source): source for source in sources}
    spaces = np.empty(sockets.size, _SPACE)
    for name in spaces.dtype.names or ():
        spaces[name] = sockets[name]
    plain = spaces.view(f"V{_SPACE.itemsize}")
    distinct, members = np.unique(plain, return_inverse=True)
    resting = sockets["state"] == TcpState.TIME_WAIT
    for number, (family, source, destination, port) in enumerate(distinct.view(_SPACE).tolist()):
        # An IPv4 address and the start of an IPv6 address can be equal, so the key has the family too.
        if text := text_of.get((family, bytes(source))):
            address = socket.inet_ntop(family, bytes(destination)[: 4 if family == socket.AF_INET else 16])
            members_here = members.reshape(-1) == number
            ports, rested = (_ports(sockets[members_here & state]) for state in (~resting, resting))
            yield InUse(text, Endpoint(address, port), ports, rested)


def _ports(sockets: Sockets) -> tuple[int, ...]:
    return tuple(np.unique(sockets["source_port"]).tolist())


def _key(address: str) -> tuple[int, bytes]:
    """Return an address as sock_diag(7) has it: its family, and its bytes padded to sixteen."""
    family = Endpoint(address, 0).family
    return family, socket.inet_pton(family, address.partition("%")[0]).ljust(16, b"\0")
