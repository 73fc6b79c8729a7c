"""Find the processes that own sockets: /proc/PID/fd links each descriptor of a socket to "socket:[INODE]".

The kernel offers no way from a socket to its process, so every descriptor of every process has to be read: a second
for half a million descriptors. So this runs rarely, and within a time limit.

Sources: proc_pid_fd(5); ptrace(2), PTRACE_MODE_READ_FSCREDS, the permission that reading takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.errors import HostError
from loadgen.kernel.groups import SocketGroup, group
from loadgen.kernel.sockdiag import Sockets, selected

_PROC: Final = Path("/proc")
_LINK: Final = "socket:["
#: Descriptors between two readings of the clock.
_STRIDE: Final = 1024
#: Maximum processes told apart in a namespace, those with most sockets.
PROCESSES_MAX: Final = 50
#: Inode numbers of sockets, distinct, rising.
Inodes: TypeAlias = npt.NDArray[np.uint32]
Pids: TypeAlias = npt.NDArray[np.uint32]
#: Source address, destination address and port.
Key: TypeAlias = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class SocketOwners:
    """Inodes of sockets with their processes; of several processes that share one, the first that was read.

    pids: one for each of the inodes.
    forbidden: number of processes that may not be read. complete: True if all others were read in time.
    """

    inodes: Inodes
    pids: Pids
    forbidden: int
    complete: bool

    def of(self, sockets: Sockets) -> Pids:
        """Return the process of each socket; 0 if unknown."""
        if not self.inodes.size:
            return np.zeros(sockets.size, np.uint32)
        places = np.searchsorted(self.inodes, sockets["inode"]).clip(max=self.inodes.size - 1)
        known = (self.inodes[places] == sockets["inode"]) & (sockets["inode"] != 0)
        return np.where(known, self.pids[places], np.uint32(0))

    @property
    def why_unknown(self) -> str:
        """Reasons why sockets may be without a process."""
        reasons = ["not permitted"] if self.forbidden else []
        reasons += [] if self.complete else ["not read in time"]
        return ", ".join(reasons) or "no process found"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, and its number of sockets in a group."""

    pid: int
    command: str
    sockets: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owners of the sockets of a group, those with most sockets first.

    unknown: sockets with an unknown owner, for the reason in `reason`. Sockets in TIME-WAIT, and those their process
    has closed, have no owner and are not counted.
    """

    owners: tuple[Owner, ...] = ()
    unknown: int = 0
    reason: str = ""


def inodes_of(pid: int, proc: Path = _PROC) -> Inodes:
    """Return the sockets of one process. Raises: HostError if it has exited, or belongs to another user."""
    try:
        return np.unique(np.fromiter(_sockets(proc / str(pid)), np.uint32))
    except PermissionError:
        raise HostError(
            f"may not see the sockets of process {pid}: it belongs to another user; be that user or root"
        ) from None
    except (FileNotFoundError, ProcessLookupError):
        raise HostError(f"there is no process {pid}") from None


def scan(limit_s: float, clock: Callable[[], float], proc: Path = _PROC) -> SocketOwners:
    """Read the descriptors of all processes, for at most `limit_s` by this clock (seconds).

    Processes in the network namespace of this thread come first: nearly all of its sockets are theirs.
    """
    deadline = clock() + limit_s
    inodes: list[int] = []
    pids: list[int] = []
    forbidden, complete = 0, True
    for pid in _processes(proc):
        try:
            for seen, inode in enumerate(_sockets(proc / str(pid))):
                inodes.append(inode)
                pids.append(pid)
                if seen % _STRIDE == _STRIDE - 1 and clock() > deadline:
                    break
        except PermissionError:
            forbidden += 1
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has exited since the processes were listed
        if clock() > deadline:
            complete = False
            break
    known, first = np.unique(np.array(inodes, np.uint32), return_index=True)
    return SocketOwners(known, np.array(pids, np.uint32)[first], forbidden, complete)


def _processes(proc: Path) -> list[int]:
    """Return all pids, those in this thread's network namespace first, each part in rising order."""
    own = _namespace(proc / "thread-self")
    pids = (int(entry.name) for entry in os.scandir(proc) if entry.name.isdigit())
    return sorted(pids, key=lambda pid: (_namespace(proc / str(pid)) != own, pid))


def _namespace(process: Path) -> tuple[int, int]:
    """Return device and inode of a process's network namespace (namespaces(7)); zeros if it may not be read."""
    try:
        status = os.stat(f"{process}/ns/net")
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _sockets(process: Path) -> Iterator[int]:
    """Yield the inodes of the sockets among the descriptors of a process."""
    directory = f"{process}/fd"
    for name in os.listdir(directory):
        try:
            link = os.readlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if link.startswith(_LINK):
            yield int(link[len(_LINK) : -1])


def of_all(sockets: Sockets, socket_owners: SocketOwners, proc: Path = _PROC) -> Ownership:
    """Return the owners of all these sockets together."""
    return of_pids(socket_owners.of(sockets)[sockets["inode"] != 0], socket_owners, lambda pid: command_of(pid, proc))


def of_pids(pids: Pids, socket_owners: SocketOwners, command: Callable[[int], str]) -> Ownership:
    """Return the owners of sockets, of which these are the processes; 0: unknown. command: name of a process."""
    numbers, counts = np.unique(pids, return_counts=True)
    sockets_of = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    unknown = sockets_of.pop(0, 0)
    owners = [Owner(pid, command(pid), count) for pid, count in sockets_of.items()]
    return _owned(owners, unknown, socket_owners)


def by_group(
    sockets: Sockets,
    socket_owners: SocketOwners,
    proc: Path = _PROC,
    command: Callable[[int], str] | None = None,
) -> dict[Key, Ownership]:
    """Return the owners of each group's sockets; sockets without an owner (inode 0) make no group.

    Beyond PROCESSES_MAX processes, only those with most sockets are told apart; the rest counts as unknown. command:
    name of a process; None: below `proc`.
    """
    name_of = command or (lambda pid: command_of(pid, proc))
    sockets = selected(sockets, sockets["inode"] != 0)
    pids = socket_owners.of(sockets)
    numbers, counts = np.unique(pids[pids != 0], return_counts=True)
    most = numbers[np.argsort(-counts, kind="stable")[:PROCESSES_MAX]]
    owners: dict[Key, list[Owner]] = {}
    unknown = {
        group_key(sockets_of): _size(sockets_of) for sockets_of in group(selected(sockets, ~np.isin(pids, most)))
    }
    for pid in most.tolist():
        name = name_of(pid)
        for sockets_of in group(selected(sockets, pids == pid)):
            owners.setdefault(group_key(sockets_of), []).append(Owner(pid, name, _size(sockets_of)))
    return {key: _owned(owners.get(key, []), unknown.get(key, 0), socket_owners) for key in {**owners, **unknown}}


def command_of(pid: int, proc: Path = _PROC) -> str:
    """Return the name of a process, at most 15 characters (proc_pid_comm(5)); "" if it has exited.

    Raises: OSError for any other reason, as EMFILE.
    """
    try:
        return (proc / str(pid) / "comm").read_text(errors="backslashreplace").rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _owned(owners: Sequence[Owner], unknown: int, socket_owners: SocketOwners) -> Ownership:
    ordered = tuple(sorted(owners, key=lambda owner: (-owner.sockets, owner.pid)))
    return Ownership(ordered, unknown, socket_owners.why_unknown if unknown else "")


def group_key(sockets: SocketGroup) -> Key:
    """Return the addresses and the port that identify a group."""
    return sockets.source, sockets.destination, sockets.destination_port


def _size(sockets: SocketGroup) -> int:
    return sum(sockets.states.values())
