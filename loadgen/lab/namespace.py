"""Enter a network namespace made for this run, and set it up; in a veth lab, two of them.

A namespace has no name: it exists while a process lives in it or has it open, so nothing is left behind even after
SIGKILL. Root can make one directly; other users make a user namespace with it, inside which they may change the
network's settings (user_namespaces(7), network_namespaces(7)).

The two namespaces of a veth lab belong to the clients and to the sinks; `loadgen.lab.veth` connects them. The process
that enters the lab lives with the clients, as do its children unless they change to the sinks' namespace. In a nat lab
a third namespace, in which no process lives, is the gateway between them; `loadgen.lab.nat` connects these.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pkgutil
import select
import signal
import socket
import struct
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from loadgen import errors, shortage
from loadgen.errors import HostError, LabForbiddenError
from loadgen.kernel import sysctl
from loadgen.model import Topology

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

#: netdevice(7)
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

#: Seconds for `rehearse`, which takes milliseconds; less than a caller of the zygote waits for its answer.
_REHEARSAL_TIME_LIMIT_S: Final = 20.0

#: Settings of a lab unless the scenario overrides them: listen(2) silently cuts a backlog to somaxconn.
DEFAULT_SYSCTLS: Final = {"net.core.somaxconn": "65535"}

#: Descriptor of the sinks' namespace of a veth lab, in the process that entered the lab and its children; -1: none.
_sinks_fd = -1
#: The same of the gateway of a nat lab.
_gateway_fd = -1
#: True in the process that entered the lab, and in its children.
_entered = False


def enter(sysctls: Mapping[str, str], topology: Topology = Topology.LOOPBACK) -> tuple[str, ...]:
    """Move this process, and its future children, into a new namespace with loopback up.

    With a topology other than loopback a second namespace is made for the sinks, see `enter_sinks`; with nat a third,
    see `enter_gateway`.

    sysctls: set in every namespace of the lab and read back, after the defaults of every lab.

    Returns: remarks on defaults that could not be set.
    Raises: LabForbiddenError if no namespace can be made, or none of its settings; HostError if the kernel refuses a
        sysctl, KernelLacksError if it is too old for it, or UsageError for one whose name is not a dotted name.
    """
    global _sinks_fd, _gateway_fd, _entered
    of_host = {name for name in sysctls if sysctl.is_writable(name)}
    _unshare()
    _entered = True
    remarks = _settle(sysctls, of_host)
    if topology.has_cable:
        _sinks_fd = _leave(sysctls, of_host)
    if topology is Topology.NAT:
        _gateway_fd = _leave(sysctls, of_host)
    return remarks


def _leave(sysctls: Mapping[str, str], of_host: Container[str]) -> int:
    """Move this process from its namespace into another new one; return a descriptor of the one it left."""
    left = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    # Made in the user namespace of the first, if that needed one: a veth pair joins namespaces of one owner only.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise _forbidden("unshare(CLONE_NEWNET)", ctypes.get_errno())
    _settle(sysctls, of_host)
    return left


def rehearse(
    sysctls: Mapping[str, str],
    topology: Topology = Topology.LOOPBACK,
    time_limit_s: float = _REHEARSAL_TIME_LIMIT_S,
) -> None:
    """Enter a lab in a child process that ends with it, because what `enter` does half cannot be undone.

    Raises: see `enter`; HostError if the child does not end within its time.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with open(reader, "rb") as answer:
        pid = shortage.fork()
        if pid == 0:
            _enter_and_exit(sysctls, topology, writer)
        os.close(writer)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        answered = poll.poll(time_limit_s * 1000)
        os.kill(pid, signal.SIGKILL)  # its answer is one write; if it has ended it is a zombie, and still ours
        os.waitpid(pid, 0)
        text = answer.read().decode()
    if not answered:
        raise HostError(f"the trial of the lab did not end within {time_limit_s:g} s: this host is stuck, or very busy")
    kind, _, message = text.partition(":")
    if kind:
        raise getattr(errors, kind)(message)


def _enter_and_exit(sysctls: Mapping[str, str], topology: Topology, writer: int) -> NoReturn:
    try:
        enter(sysctls, topology)
    except HostError as error:
        os.write(writer, f"{type(error).__name__}:{error}".encode())
    finally:
        os._exit(0)


def is_entered() -> bool:
    """Return True in a process that entered a lab, or was forked in one."""
    return _entered


def sinks_fd() -> int:
    """Return a descriptor of the sinks' namespace; -1 in a lab without a cable."""
    return _sinks_fd


def gateway_fd() -> int:
    """Return a descriptor of the gateway's namespace; -1 outside a nat lab."""
    return _gateway_fd


def enter_sinks() -> None:
    """Move this process into the sinks' namespace of a lab with a cable.

    Raises: OSError EBADF if the process was not forked in such a lab.
    """
    _enter(_sinks_fd)


def enter_gateway() -> None:
    """Move this process into the gateway's namespace of a nat lab.

    Raises: OSError EBADF if the process was not forked in such a lab.
    """
    _enter(_gateway_fd)


def _enter(fd: int) -> None:
    """Move this process into a network namespace. Source: setns(2); os.setns came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def in_sinks(shard: Any, entry: str, *args: Any) -> None:
    """Entry of a process in the sinks' namespace: run "module:function" there, as entry(shard, *args)."""
    enter_sinks()
    pkgutil.resolve_name(entry)(shard, *args)


def _settle(sysctls: Mapping[str, str], of_host: Container[str]) -> tuple[str, ...]:
    """Bring up loopback and make the settings; return remarks on defaults that could not be made.

    of_host: settings that could be made outside of the lab.
    """
    try:
        _bring_up("lo")
    except OSError as error:
        raise _forbidden("bringing up its loopback", error.errno or 0) from error
    remarks = []
    for name, value in {**DEFAULT_SYSCTLS, **sysctls}.items():
        try:
            sysctl.write(name, value, elsewhere=name in of_host)
        except HostError as error:
            cause = error.__cause__
            if name not in sysctls:
                why = cause.strerror if isinstance(cause, OSError) else str(error)
                remarks.append(f"{name} stays {sysctl.read(name)} in this lab, not {value}: it cannot be set ({why})")
                continue
            refused = isinstance(cause, OSError) and cause.errno == errno.EROFS
            raise (LabForbiddenError if refused else type(error))(f"lab.sysctls: {error}") from error
    return tuple(remarks)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise _forbidden("unshare(CLONE_NEWUSER|CLONE_NEWNET)", ctypes.get_errno())
    # Without a map the process has no user in the namespace; "deny" is what permits an ordinary user to write a group
    # map. Some hosts permit the namespace but no rights in it (AppArmor's restriction of user namespaces).
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
        "user.max_net_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; "
        "docker run --user 0 --cap-add SYS_ADMIN --cap-add NET_ADMIN)"
    )


def _bring_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", device.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), flags | _IFF_UP))
