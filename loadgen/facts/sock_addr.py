"""BPF programs that rewrite the ports of this process's socket calls, as a load balancer for sockets does.

Each program is six instructions: replace one port by another in the address of bind(), connect(), getsockname() or
getpeername(). They are attached to a control group made for this process alone, and detached when their descriptors
are closed, so nothing is left even after SIGKILL, except for the empty directory of the group.

Sources: bpf(2); linux/bpf.h; Documentation/bpf/standardization/instruction-set.rst; cgroups(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from loadgen.facts.base import CannotRunError
from loadgen.facts.experiment import name

#: bpf(2) by machine: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_SYSCALL: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280}
_PROG_LOAD: Final = 5
_LINK_CREATE: Final = 28
_CGROUP_SOCK_ADDR: Final = 18
#: enum bpf_attach_type, IPv4 and IPv6.
_BIND: Final = (8, 9)
_CONNECT: Final = (10, 11)
_GETPEERNAME: Final = (29, 30)
_GETSOCKNAME: Final = (31, 32)
#: Offset of user_port in struct bpf_sock_addr: 32 bits that have the port in network order.
_USER_PORT: Final = 24


@contextlib.contextmanager
def rewriting(sources: Mapping[int, int], targets: Mapping[int, int]) -> Iterator[None]:
    """Rewrite ports of this process's sockets inside, and show the original ones: {port asked for: port used}.

    Raises: CannotRunError without privilege, control groups of version 2, or a kernel that has the programs.
    """
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(_own_group())
        for ports, asked, shown in ((sources, _BIND, _GETSOCKNAME), (targets, _CONNECT, _GETPEERNAME)):
            for before, after in ports.items():
                for kinds, old, new in ((asked, before, after), (shown, after, before)):
                    for kind in kinds:
                        stack.callback(os.close, _attach(group, kind, old, new))
        yield


def _attach(group: int, kind: int, old: int, new: int) -> int:
    """Attach a program that replaces `old` by `new`; return the descriptor that keeps it attached."""
    instructions = _program(socket.htons(old), socket.htons(new))
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"MIT")
    # prog_type, insn_cnt, insns, license; log, kern_version, flags, name, ifindex; expected_attach_type
    load = struct.pack("=IIQQ", _CGROUP_SOCK_ADDR, len(code) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    program = _bpf(_PROG_LOAD, load + bytes(44) + struct.pack("=I", kind))
    try:
        return _bpf(_LINK_CREATE, struct.pack("=IIII", program, group, kind, 0))
    finally:
        os.close(program)


def _program(old: int, new: int) -> bytes:
    """Return the instructions; both ports in network order, as the kernel has them."""
    return b"".join(
        struct.pack("=BBhi", *instruction)
        for instruction in (
            (0x61, 0x12, _USER_PORT, 0),  # r2 = context.user_port; context is r1
            (0x55, 0x02, 2, old),  # if r2 != old, skip 2
            (0xB7, 0x02, 0, new),  # r2 = new
            (0x63, 0x21, _USER_PORT, 0),  # context.user_port = r2
            (0xB7, 0x00, 0, 1),  # r0 = 1: allow the call
            (0x95, 0x00, 0, 0),  # return r0
        )
    )


def _bpf(command: int, attributes: bytes) -> int:
    """Make the system call; return its descriptor. Raises: CannotRunError."""
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise CannotRunError(f"loadgen does not know the number of bpf(2) on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(libc.syscall(number, command, buffer, len(attributes)))
    if result < 0:
        raise CannotRunError(
            f"bpf(2) is refused: {name(ctypes.get_errno())}; it takes root (CAP_BPF and CAP_NET_ADMIN) outside of a "
            "user namespace, and Linux 5.8 with CONFIG_CGROUP_BPF"
        )
    return result


@contextlib.contextmanager
def _own_group() -> Iterator[int]:
    """Move this process into a new control group; yield its descriptor; move back and remove it.

    Raises: CannotRunError where control groups of version 2 are missing, or may not be changed.
    """
    home = _group()
    group = home / f"loadgen-fact-{os.getpid()}"
    try:
        group.mkdir(exist_ok=True)  # a process of the same number that was killed may have left it
    except OSError as error:
        raise CannotRunError(f"{group} cannot be made: {name(error.errno)}; run as root") from error
    try:
        _move(group)
        fd = os.open(group, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        _move(home)
        group.rmdir()


def _move(group: Path) -> None:
    try:
        (group / "cgroup.procs").write_text("0")  # the process that writes
    except OSError as error:
        raise CannotRunError(f"this process cannot be moved to {group}: {name(error.errno)}; run as root") from error


def _group() -> Path:
    """Return the directory of this process's control group. Raises: CannotRunError.

    Source: cgroups(7): the line of version 2 begins with "0::"; proc_pid_mountinfo(5): the type follows " - ".
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [line.split()[3:5] for line in lines if line.partition(" - ")[2].startswith("cgroup2 ")]
    paths = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if not mounts or not paths:
        raise CannotRunError("no control groups of version 2 are mounted here")
    root, mount = mounts[0]
    return Path(mount) / os.path.relpath(paths[0], root)
