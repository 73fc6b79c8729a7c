"""Enter another network namespace, for good.

Sources: setns(2), network_namespaces(7), user_namespaces(7), ioctl_ns(2). Python has os.setns from 3.12 on.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from errno import EINVAL, EPERM, errorcode
from typing import Final

from loadgen.errors import HostError

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
#: linux/nsfs.h
_NS_GET_USERNS: Final = 0xB701


def enter(place: int | str) -> None:
    """Move this thread into a network namespace: that of a process, by its pid, or one that has a path.

    Such a path is /run/netns/NAME of ip-netns(8), or one of a container. This takes CAP_SYS_ADMIN. A namespace made by
    an ordinary user belongs to a user namespace in which that user has the capability: if setns() is refused, that user
    namespace is entered first. The kernel permits this only to a single-threaded process, so call it before anything
    that starts threads (numpy).

    Raises: HostError if there is no such process or namespace, or entering is not permitted.
    """
    if isinstance(place, int):
        if same(place):
            return
        path, name = f"/proc/{place}/ns/net", f"the network namespace of process {place}"
    else:
        path, name = place, f"the network namespace {place}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(
            f"cannot open {name}: {error.strerror}; `ip netns list` and `lsns -t net` show those here"
        ) from None
    try:
        refused = _setns(descriptor, _CLONE_NEWNET)
        if refused == EPERM and _enter_owner(descriptor):
            refused = _setns(descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)
    if refused == EINVAL:
        raise HostError(
            f"cannot enter {name}: it is a file, and no network namespace; write one of /run/netns/, or a pid"
        )
    if refused:
        raise HostError(
            f"cannot enter {name}: setns: {errorcode.get(refused, refused)} ({os.strerror(refused)}); "
            "it takes CAP_SYS_ADMIN: be root, or the user who made that namespace"
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


def _setns(descriptor: int, flag: int) -> int:
    """Enter a namespace of this kind; return 0 or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.setns(descriptor, flag) else 0


def _enter_owner(descriptor: int) -> bool:
    """Enter the user namespace that a namespace belongs to; return False if that is not permitted."""
    try:
        owner = fcntl.ioctl(descriptor, _NS_GET_USERNS)
    except OSError:
        return False
    try:
        return not _setns(owner, _CLONE_NEWUSER)
    finally:
        os.close(owner)
