"""Whose sockets they are: /proc/PID/fd, which links each descriptor of a socket to "socket:[INODE]".

The kernel keeps no way back from a socket to its process, so every descriptor of every process has to be
looked at: a second for each half a million of them, therefore rarely, and within a limit of time.

Sources: proc_pid_fd(5); ptrace(2), PTRACE_MODE_READ_FSCREDS, which is what it takes to look.
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
from loadgen.kernel.sockdiag import Sockets

_PROC: Final = Path("/proc")
_LINK: Final = "socket:["
#: As often as this the clock is looked at, in descriptors.
_STRIDE: Final = 1024
#: Of the processes of a namespace, so many are told apart, those with most sockets.
PROCESSES_MAX: Final = 50

#: Numbers of sockets, each once, rising.
Inodes: TypeAlias = npt.NDArray[np.uint32]
_Pids: TypeAlias = npt.NDArray[np.uint32]
#: Source address, destination address and port.
Key: TypeAlias = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which process has which socket; of several that share one after a fork, the first that was looked at.

    pids: one for each of the inodes.
    forbidden: how many processes do not let us look. whole: whether all others were looked at in time.
    """

    inodes: Inodes
    pids: _Pids
    forbidden: int
    whole: bool

    def of(self, sockets: Sockets) -> _Pids:
        """The process of each socket; 0 where it is not known."""
        if not self.inodes.size:
            return np.zeros(sockets.size, np.uint32)
        places = np.searchsorted(self.inodes, sockets["inode"]).clip(max=self.inodes.size - 1)
        found = (self.inodes[places] == sockets["inode"]) & (sockets["inode"] != 0)
        return np.where(found, self.pids[places], np.uint32(0))

    @property
    def why_unknown(self) -> str:
        """Why there may be sockets without a process."""
        reasons = ["not permitted"] if self.forbidden else []
        reasons += [] if self.whole else ["not looked at in time"]
        return ", ".join(reasons) or "no process found"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, and how many sockets it has of those asked about."""

    pid: int
    command: str
    sockets: int


@dataclass(frozen=True, slots=True)
class Owned:
    """Who has the sockets of a group, those with most first.

    unknown: how many have an owner that is not known, and `reason` says why. TIME-WAIT, and what its process
    has closed, belong to nobody and are not counted.
    """

    owners: tuple[Owner, ...] = ()
    unknown: int = 0
    reason: str = ""


def inodes_of(pid: int, proc: Path = _PROC) -> Inodes:
    """The sockets of one process. Raises: HostError when it is gone, or is somebody else's."""
    try:
        return np.unique(np.fromiter(_sockets(proc / str(pid)), np.uint32))
    except PermissionError:
        raise HostError(
            f"may not see the sockets of process {pid}: it is somebody else's; be that user or root"
        ) from None
    except (FileNotFoundError, ProcessLookupError):
        raise HostError(f"there is no process {pid}, or no more") from None


def scan(limit_s: float, clock: Callable[[], float], proc: Path = _PROC) -> Holdings:
    """Look at the descriptors of all processes for at most `limit_s` by this clock (seconds).

    Those that live in the network namespace of this thread come first: nearly all of its sockets are theirs.
    """
    deadline = clock() + limit_s
    inodes: list[int] = []
    pids: list[int] = []
    forbidden, whole = 0, True
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
            pass  # it has ended since the list was made
        if clock() > deadline:
            whole = False
            break
    known, first = np.unique(np.array(inodes, np.uint32), return_index=True)
    return Holdings(known, np.array(pids, np.uint32)[first], forbidden, whole)


def _processes(proc: Path) -> list[int]:
    """Those of our network namespace, then all others, each by number."""
    ours = _namespace(proc / "thread-self")
    pids = (int(entry.name) for entry in os.scandir(proc) if entry.name.isdigit())
    return sorted(pids, key=lambda pid: (_namespace(proc / str(pid)) != ours, pid))


def _namespace(process: Path) -> tuple[int, int]:
    """The network namespace of a process by device and inode (namespaces(7)); zeros where we may not look."""
    try:
        found = os.stat(f"{process}/ns/net")
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _sockets(process: Path) -> Iterator[int]:
    """The inodes of the sockets among the descriptors of a process."""
    directory = f"{process}/fd"
    for name in os.listdir(directory):
        try:
            link = os.readlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue  # closed since
        if link.startswith(_LINK):
            yield int(link[len(_LINK) : -1])


def of_all(sockets: Sockets, holdings: Holdings, proc: Path = _PROC) -> Owned:
    """Who has these sockets, all together."""
    pids = holdings.of(sockets)[sockets["inode"] != 0]
    numbers, counts = np.unique(pids, return_counts=True)
    found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    unknown = found.pop(0, 0)
    return _owned([Owner(pid, command_of(pid, proc), count) for pid, count in found.items()], unknown, holdings)


def by_group(sockets: Sockets, holdings: Holdings, proc: Path = _PROC) -> dict[Key, Owned]:
    """Who has the sockets of each group; sockets of nobody (inode 0) make no group.

    Of very many processes only those with most sockets are told apart; the sockets of others count as unknown.
    """
    sockets = sockets[sockets["inode"] != 0]
    pids = holdings.of(sockets)
    numbers, counts = np.unique(pids[pids != 0], return_counts=True)
    most = numbers[np.argsort(-counts, kind="stable")[:PROCESSES_MAX]]
    owners: dict[Key, list[Owner]] = {}
    unknown = {key_of(found): _size(found) for found in group(sockets[~np.isin(pids, most)])}
    for pid in most.tolist():
        command = command_of(pid, proc)
        for found in group(sockets[pids == pid]):
            owners.setdefault(key_of(found), []).append(Owner(pid, command, _size(found)))
    return {key: _owned(owners.get(key, []), unknown.get(key, 0), holdings) for key in {**owners, **unknown}}


def command_of(pid: int, proc: Path = _PROC) -> str:
    """The name of a process, at most 15 characters (proc_pid_comm(5)); "" when it is gone."""
    try:
        return (proc / str(pid) / "comm").read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return ""


def _owned(owners: Sequence[Owner], unknown: int, holdings: Holdings) -> Owned:
    ordered = tuple(sorted(owners, key=lambda owner: (-owner.sockets, owner.pid)))
    return Owned(ordered, unknown, holdings.why_unknown if unknown else "")


def key_of(found: SocketGroup) -> Key:
    """What a group is known by."""
    return found.source, found.destination, found.destination_port


def _size(found: SocketGroup) -> int:
    return sum(found.states.values())
