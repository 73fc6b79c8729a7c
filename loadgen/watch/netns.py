"""Enter the network namespace of another process, for good.

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

    This takes CAP_SYS_ADMIN. A namespace made by an ordinary user belongs to a user namespace in which that user has
    the capability: if setns() is refused, that user namespace is entered first. The kernel permits this only to a
    single-threaded process, so call it before anything that starts threads (numpy).

    Raises: HostError if there is no such process, or entering is not permitted.
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
    """Return True if the process is in this thread's network namespace.

    Raises: HostError if it has exited, or belongs to another user.
    """
    try:
        ours, theirs = (os.stat(f"/proc/{who}/ns/net") for who in ("thread-self", pid))
    except PermissionError:
        raise HostError(
            f"may not read the network namespace of process {pid}: it is another user's; it takes CAP_SYS_ADMIN "
            "and CAP_SYS_PTRACE: be root, or the user of that process"
        ) from None
    except (FileNotFoundError, ProcessLookupError):
        raise HostError(f"there is no process {pid}") from None
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _setns(pid: int, kind: str, flag: int) -> int:
    """Enter one namespace of a process; return 0 or the errno."""
    try:
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or EPERM
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return ctypes.get_errno() if libc.setns(descriptor, flag) else 0
    finally:
        os.close(descriptor)
