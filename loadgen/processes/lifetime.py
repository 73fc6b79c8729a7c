"""Process attributes that Linux lets a process set for itself: death with its parent, and the descriptor limit."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def die_with_parent(parent: int) -> None:
    """Request SIGKILL for when the thread that forked this process ends; exit if it has ended already.

    The request does not survive a fork, nor a change of credentials such as entering a user
    namespace (prctl(2), PR_SET_PDEATHSIG), so it has to be repeated after both.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(0)


def gain_no_privileges() -> None:
    """See to it that neither this process nor one that it starts gains privileges by executing a file.

    Set-user-ID bits and file capabilities then have no effect (prctl(2), PR_SET_NO_NEW_PRIVS, Linux 3.5; inherited).
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; return the limit (getrlimit(2), RLIMIT_NOFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a filter of system calls forbids it; Python makes a ValueError of EPERM
        return soft
    return hard
