"""Over to the network namespace of another process, for good: for a process that has nothing else to do here.

Sources: setns(2), network_namespaces(7), user_namespaces(7). Python has os.setns from 3.12 on.
"""

from __future__ import annotations

import ctypes
import os
from errno import EPERM, errorcode
from typing import Final

from loadgen.errors import HostError

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000


def enter(pid: int) -> None:
    """Move this thread into the network namespace of a process.

    It takes CAP_SYS_ADMIN. A namespace that an ordinary user made came with a user namespace of his own, in which he
    has it: so if the plain way is refused, that one is entered first. The kernel lets only a process of one thread
    do so, which is why this comes before anything that starts threads (numpy).

    Raises: HostError when there is no such process, or this is not permitted.
    """
    if same(pid):
        return
    refused = _setns(pid, "net", _CLONE_NEWNET)
    if refused == EPERM and not _setns(pid, "user", _CLONE_NEWUSER):
        refused = _setns(pid, "net", _CLONE_NEWNET)
    if refused:
        raise HostError(
            f"cannot enter the network namespace of process {pid}: setns: {errorcode.get(refused, refused)} "
            f"({os.strerror(refused)}); it takes CAP_SYS_ADMIN: be root, or the user who made that namespace"
        )


def same(pid: int) -> bool:
    """Whether a process lives in our network namespace. Raises: HostError when it is gone or somebody else's."""
    try:
        ours, theirs = (os.stat(f"/proc/{who}/ns/net") for who in ("thread-self", pid))
    except PermissionError:
        raise HostError(
            f"may not look at the network namespace of process {pid}: it is another user's; it takes CAP_SYS_ADMIN "
            "and CAP_SYS_PTRACE: be root, or the user of that process"
        ) from None
    except (FileNotFoundError, ProcessLookupError):
        raise HostError(f"there is no process {pid}, or no more") from None
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _setns(pid: int, kind: str, flag: int) -> int:
    """0, or the errno."""
    try:
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or EPERM
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return ctypes.get_errno() if libc.setns(descriptor, flag) else 0
    finally:
        os.close(descriptor)
