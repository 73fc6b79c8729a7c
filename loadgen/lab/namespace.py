"""Enter a network namespace of our own, and set it up; in a veth lab, two of them.

A namespace has no name: it lives as long as a process lives in it or has it open, so nothing is left
behind even by a SIGKILL. Root may make one directly; anybody else makes a user namespace with it, inside
which the settings of the network are theirs to change (user_namespaces(7), network_namespaces(7)).

The two of a veth lab belong to the clients and to the sinks; `loadgen.lab.veth` connects them. Whoever
enters such a lab lives with the clients, and so does all it forks, but for what goes over to the sinks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pkgutil
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loadgen.errors import LabForbiddenError
from loadgen.kernel import sysctl
from loadgen.model import Topology

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

#: netdevice(7)
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

#: What a lab changes unless the scenario says otherwise: listen(2) silently cuts a backlog to somaxconn.
DEFAULT_SYSCTLS: Final = {"net.core.somaxconn": "65535"}


#: The sinks' namespace of a veth lab, open in whoever entered the lab and in all it forks; -1: there is none.
_sinks_fd = -1


def enter(sysctls: Mapping[str, str], topology: Topology = Topology.LOOPBACK) -> None:
    """Move this process, and all it forks from now on, into a fresh namespace with loopback up.

    With topology veth the sinks get a namespace of the same kind; see `enter_sinks`.

    sysctls: set in every namespace of the lab and read back, after the defaults of every lab.

    Raises: LabForbiddenError when no namespace can be made; HostError when the kernel refuses a sysctl.
    """
    global _sinks_fd
    _unshare()
    _settle(sysctls)
    if topology is Topology.VETH:
        _sinks_fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        # In the user namespace of the first, if that took one: a cable joins only what one user rules.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            raise _forbidden("unshare(CLONE_NEWNET)", ctypes.get_errno())
        _settle(sysctls)


def sinks_fd() -> int:
    """The sinks' namespace as a descriptor, where a kernel interface takes one; -1 outside a veth lab."""
    return _sinks_fd


def enter_sinks() -> None:
    """Move this process alone over to the sinks of a veth lab.

    Raises: OSError EBADF when this process was not born in a veth lab.
    Source: setns(2); os.setns came with Python 3.12.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(_sinks_fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def in_sinks(shard: Any, entry: str, *args: Any) -> None:
    """Entry of a process that lives with the sinks: run "module:function" there, as entry(shard, *args)."""
    enter_sinks()
    pkgutil.resolve_name(entry)(shard, *args)


def _settle(sysctls: Mapping[str, str]) -> None:
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
        f"{what}: {errno.errorcode.get(number, number)} ({os.strerror(number)}); run as root, or outside of "
        "the chroot or container that forbids user namespaces, or allow them (sysctl user.max_user_namespaces, "
        "user.max_net_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )


def _bring_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", device.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), flags | _IFF_UP))
