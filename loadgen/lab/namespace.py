"""Enter a network namespace of our own, and set it up.

The namespace has no name: it lives as long as a process lives in it, so nothing is left behind even
by a SIGKILL. Root may make one directly; anybody else makes a user namespace with it, inside which
the settings of the network are theirs to change (user_namespaces(7), network_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loadgen.errors import LabForbiddenError
from loadgen.kernel import sysctl

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

#: netdevice(7)
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

#: What a lab changes unless the scenario says otherwise: listen(2) silently cuts a backlog to somaxconn.
DEFAULT_SYSCTLS: Final = {"net.core.somaxconn": "65535"}


def enter(sysctls: Mapping[str, str]) -> None:
    """Move this process, and all it forks from now on, into a fresh namespace with loopback up.

    sysctls: set in the namespace and read back, after the defaults of every lab.

    Raises: LabForbiddenError when no namespace can be made; HostError when the kernel refuses a sysctl.
    """
    _unshare()
    try:
        _bring_up("lo")
    except OSError as error:
        raise _forbidden("bringing up its loopback", error.errno or 0) from error
    for name, value in {**DEFAULT_SYSCTLS, **sysctls}.items():
        sysctl.write(name, value)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise _forbidden("unshare(CLONE_NEWUSER|CLONE_NEWNET)", ctypes.get_errno())
    # Without a map we are nobody in here; "deny" is what lets an ordinary user write a group map. Some
    # hosts allow the namespace and then no rights in it (AppArmor's restriction of user namespaces).
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError as error:
            raise _forbidden(f"writing /proc/self/{name}", error.errno or 0) from error


def _forbidden(what: str, number: int) -> LabForbiddenError:
    return LabForbiddenError(
        "this host does not let loadgen make a network namespace: "
        f"{what}: {errno.errorcode.get(number, number)} ({os.strerror(number)}); run as root, or allow user "
        "namespaces (sysctl user.max_user_namespaces, user.max_net_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )


def _bring_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", device.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), flags | _IFF_UP))
