"""Features of this kernel and permissions of this user, each tried out instead of derived from a version.

A socket option is set on a socket that is then closed, a namespace is made in a child process that ends with it.
What such a trial leaves behind is at most a kernel module that was loaded on demand (tcp_diag, veth).

Sources: ip(7), IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE; ip-sysctl.rst; user_namespaces(7), namespaces(7),
setns(2); sock_diag(7); capabilities(7), capset(2); proc_pid(5); Documentation/admin-guide/sysctl/user.rst.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from errno import errorcode
from pathlib import Path
from typing import Final, NoReturn

from loadgen import shortage
from loadgen.doctor.reading import Reading
from loadgen.errors import LoadgenError
from loadgen.kernel import sockdiag, sysctl
from loadgen.kernel.host import has_option
from loadgen.lab import namespace
from loadgen.processes.lifetime import die_with_parent, holding_signals_back, ignore_signals_of_groups
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
from loadgen.worker.freebind import IP_FREEBIND
from loadgen.worker.io_uring import ring

#: No trial takes a tenth of it.
TIME_LIMIT_S: Final = 10.0

#: Two of the `permissions`, which are features of the kernel, too.
LABS: Final = "labs (`lab:`)"
VETH: Final = "`topology: veth` in labs"

#: A trial: "" where it succeeds, else the reason for which it does not.
Trial = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something a kernel has or lacks.

    since: the Linux version it came with. without: what loadgen does where it is absent.
    absent: the reason for which it is missing here; empty where it is present. change: commands that may add it.
    """

    name: str
    since: str
    without: str
    absent: str
    change: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """True if this kernel has it."""
        return not self.absent


@dataclass(frozen=True, slots=True)
class Permission:
    """Something that takes a privilege.

    refused, ordinary_refused: why this user, and why an ordinary one, may not; empty where they may.
    """

    name: str
    refused: str
    ordinary_refused: str


def features(host: Reading, allowed: Mapping[str, Permission]) -> list[Feature]:
    """Return the features of this kernel, in the order of the table.

    allowed: the `permissions`, of which two are features, too.
    """
    forbids = forbidding(host.sysctls)
    lab_without = "no `lab:`, and `loadgen facts` cannot run; loads of the host itself can"
    return [
        Feature(
            "IP_LOCAL_PORT_RANGE",
            "6.3",
            "strategy late-range becomes late, which slows down past half of the range",
            _option(IP_LOCAL_PORT_RANGE, 0),
        ),
        Feature(
            "IP_BIND_ADDRESS_NO_PORT",
            "4.2",
            "strategies late-range and late are refused; explicit and kernel work",
            _option(IP_BIND_ADDRESS_NO_PORT, 1),
        ),
        Feature(
            "tcp_tw_reuse_delay",
            "6.14",
            "a port rests 1 s where tcp_tw_reuse allows it at all, and cannot rest for less",
            "" if "net.ipv4.tcp_tw_reuse_delay" in host.sysctls else "there is no such sysctl",
        ),
        Feature(
            "user namespaces",
            "3.8",
            "only root has labs",
            tried(lambda: _unshare(_CLONE_NEWUSER), ordinary=True),
            forbids,
        ),
        Feature("network namespaces", "2.6.24", lab_without, allowed[LABS].refused, forbids),
        Feature(
            "veth",
            "2.6.24",
            "labs have loopback only, no `topology: veth` or `nat`",
            allowed[VETH].refused,
            ("modprobe veth",),
        ),
        Feature(
            "INET_DIAG",
            "3.3",
            "no `transport: udp`, and no `loadgen watch`; runs over TCP do without",
            trial(_lists_sockets),
            ("modprobe tcp_diag udp_diag",),
        ),
        Feature(
            "INET_DIAG, bound sockets",
            "6.8",
            "sockets that are bound and not connected cannot be listed; they close ports unseen",
            trial(lambda: "" if sockdiag.lists_bound() else "the kernel lists none"),
        ),
        Feature(
            "io_uring", "6.11", "`engine: epoll`, the default; `engine: io_uring` is refused", trial(ring.available)
        ),
    ]


def forbidding(sysctls: Mapping[str, str]) -> tuple[str, ...]:
    """Return the commands that lift the settings which forbid namespaces to an ordinary user on this host."""
    wanted = {
        "kernel.unprivileged_userns_clone": ("0", "1"),
        "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
        "user.max_user_namespaces": ("0", "65536"),
        "user.max_net_namespaces": ("0", "65536"),
    }
    return tuple(
        f"sysctl -w {name}={better}" for name, (forbids, better) in wanted.items() if sysctls.get(name) == forbids
    )


def permissions() -> dict[str, Permission]:
    """Return the permissions of this user and of an ordinary one, by name, in the order of the table."""
    trials: dict[str, Trial] = {
        LABS: _lab,
        "sysctls in labs (`lab.sysctls`)": _lab_sysctl,
        VETH: _veth,
        "explicit ports below 1024": _low_port,
        "other namespaces (`watch --netns`)": _own_namespace,
        "processes of other users' sockets": _other_users,
    }
    privileged = effective_capabilities() != 0
    by_name = {}
    for name, look in trials.items():
        refused = tried(look)
        by_name[name] = Permission(name, refused, tried(look, ordinary=True) if privileged else refused)
    return by_name


def trial(look: Trial) -> str:
    """Return the answer of a trial, or the text of the error with which it failed."""
    try:
        return look()
    except LoadgenError as error:
        return str(error)
    except OSError as error:
        return f"{error.strerror or error} ({errorcode.get(error.errno or 0, error.errno)})"


def tried(look: Trial, *, ordinary: bool = False, time_limit_s: float = TIME_LIMIT_S) -> str:
    """Return the answer of a trial made in a child process, so that nothing it changes about its process lasts.

    ordinary: as a user without any privilege.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    with holding_signals_back():
        pid = shortage.fork()
        if pid == 0:
            _become_child(look, parent, writer, ordinary=ordinary)
    os.close(writer)
    try:
        answer = _collect(reader, time_limit_s)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)  # it may hang; if it has ended it is a zombie, and still ours
        os.waitpid(pid, 0)
    return answer


def _collect(reader: int, time_limit_s: float) -> str:
    """Return the child's answer: one line of JSON, far smaller than a pipe holds, so it comes in one piece."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    if not poll.poll(time_limit_s * 1000):
        return f"no answer within {time_limit_s:g} s"
    answer = os.read(reader, 1 << 16)
    return str(json.loads(answer)) if answer else "the process that tried it was killed"


def _become_child(look: Trial, parent: int, writer: int, *, ordinary: bool) -> NoReturn:
    answer = "it ended without an answer"
    try:
        ignore_signals_of_groups()  # the parent reports them, and kills this process
        if ordinary:
            _become_ordinary()
        die_with_parent(parent)  # after the change of credentials, which clears it
        answer = trial(look)
    except BaseException as error:  # of any kind: the parent reports it
        answer = f"{type(error).__name__}: {error}"
    finally:
        os.write(writer, json.dumps(answer[:_ANSWER_MAX]).encode())
        os._exit(0)


def _become_ordinary() -> None:
    """Be a user without privilege from now on: uid 65534, or, where no such user is mapped, without capabilities.

    CAP_SETFCAP is kept in the second case: without it even root of a user namespace may not be mapped
    into another (user_namespaces(7)), which an ordinary user of the host would be.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        keep = 1 << _CAP_SETFCAP if effective_capabilities() >> _CAP_SETFCAP & 1 else 0
        header, words = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", keep, keep, keep, 0, 0, 0)
        if libc.capset(header, words):
            raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}") from None
    # A change of credentials makes /proc/self root's; a program that an ordinary user starts has its own.
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def effective_capabilities() -> int:
    """Return the effective capabilities of this process, as bits."""
    for line in Path("/proc/self/status").read_text(errors="backslashreplace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _option(option: int, value: int) -> str:
    return trial(lambda: "" if has_option(option, value) else "setsockopt: ENOPROTOOPT")


def _unshare(flags: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) == 0:
        return ""
    return f"unshare: {os.strerror(ctypes.get_errno())} ({errorcode.get(ctypes.get_errno())})"


def _lab() -> str:
    namespace.enter({})
    return ""


def _lab_sysctl() -> str:
    namespace.enter({"net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_tw_reuse": "1"})
    port_range = sysctl.read("net.ipv4.ip_local_port_range")
    return "" if port_range == "1024 65535" else f"ip_local_port_range stayed {port_range}"


def _veth() -> str:
    """Make a pair of veth by netlink; an ordinary user may be unable to read the library that labs make it with."""
    namespace.enter({})
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(veth_request("trial0", "trial1"))
        _, number = struct.unpack_from("=16si", sock.recv(4096))
    if number:
        return f"a pair of veth: {os.strerror(-number)} ({errorcode.get(-number)})"
    return "" if "trial1" in {name for _, name in socket.if_nameindex()} else "the kernel made no pair of veth"


def veth_request(name: str, peer: str) -> bytes:
    """Return the netlink message for `ip link add NAME type veth peer name PEER`, to be acknowledged.

    Source: netlink(7), struct nlmsghdr; rtnetlink(7), struct ifinfomsg; linux/if_link.h, linux/veth.h.
    """
    no_interface = bytes(16)
    other_end = _attribute(_VETH_INFO_PEER, no_interface + _attribute(_IFLA_IFNAME, peer.encode() + b"\0"))
    kind = _attribute(_IFLA_INFO_KIND, b"veth") + _attribute(_IFLA_INFO_DATA, other_end)
    body = no_interface + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + _attribute(_IFLA_LINKINFO, kind)
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _NLM_F_REQUEST_ACK_CREATE_EXCL, 0, 0) + body


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def _low_port() -> str:
    """Bind port 1 (tcpmux, which no server uses) of an address that is on no interface, for a moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        sock.bind((_UNUSED_ADDRESS, 1))
    return ""


def _own_namespace() -> str:
    """Enter the namespace of this process, which takes the same privilege as entering another (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(fd, _CLONE_NEWNET) == 0:
        return ""
    return f"setns: {os.strerror(ctypes.get_errno())} ({errorcode.get(ctypes.get_errno())})"


def _other_users() -> str:
    """Read /proc/PID/fd, which tells the owner of a socket to the same user and to CAP_SYS_PTRACE (proc_pid_fd(5)).

    Without the capability a system may also hide such processes altogether (proc(5), hidepid).
    """
    seen = effective_capabilities() >> _CAP_SYS_PTRACE & 1
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if directory.stat().st_uid == os.geteuid():
                    continue
                next((directory / "fd").iterdir(), None)
                seen = 1
            except PermissionError:
                return "/proc/PID/fd is closed: Permission denied (EACCES)"
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
    return "" if seen else "no process of another user is to be seen"


def _lists_sockets() -> str:
    with sockdiag.Reader() as reader:
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            reader.dump(sockdiag.mask(sockdiag.TcpState.LISTEN), protocol=protocol)
    return ""


#: sched.h
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
#: linux/rtnetlink.h, linux/netlink.h, linux/if_link.h, linux/veth.h
_RTM_NEWLINK: Final = 16
_NLM_F_REQUEST_ACK_CREATE_EXCL: Final = 0x605
_IFLA_IFNAME: Final = 3
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_VETH_INFO_PEER: Final = 1
#: linux/prctl.h, linux/capability.h
_PR_SET_DUMPABLE: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_SETFCAP: Final = 31
_CAP_SYS_PTRACE: Final = 19
_NOBODY: Final = 65534
#: TEST-NET-1 (RFC 5737).
_UNUSED_ADDRESS: Final = "192.0.2.1"
_ANSWER_MAX: Final = 2000
