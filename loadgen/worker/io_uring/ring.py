"""One ring and its table of direct descriptors: set up, submit, collect completions.

A direct descriptor is a place in the ring's own table. It is no descriptor of the process, so
RLIMIT_NOFILE does not count it (fs.file-max does, for those without CAP_SYS_ADMIN). The limit comes back
in another place: a table may not be larger than RLIMIT_NOFILE. But there may be many rings.

With COOP_TASKRUN a ring is pollable like any descriptor, and completions between two calls are there after
the next. DEFER_TASKRUN was no faster for connections, does not make the ring readable before the process
asks, and hands out 20 completions at a time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from errno import EAGAIN, EBUSY, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.errors import HostError
from loadgen.worker.io_uring import abi
from loadgen.worker.io_uring.abi import Op, Setup

_FLAGS: Final = Setup.CQSIZE | Setup.SUBMIT_ALL | Setup.COOP_TASKRUN | Setup.SINGLE_ISSUER | Setup.NO_SQARRAY
#: Operations that a ring needs, and the Linux version that has them, youngest first.
_NEEDED: Final = {Op.BIND: "6.11", Op.FIXED_FD_INSTALL: "6.8", Op.URING_CMD: "5.19", Op.SOCKET: "5.19"}
_REASONS: Final = {
    EPERM: "io_uring_setup() is forbidden here (EPERM), as by the seccomp filter of a container "
    "(docker run --security-opt seccomp=PROFILE)",
    ENOSYS: "this kernel has no io_uring, or a seccomp filter hides it (ENOSYS; "
    "docker run --security-opt seccomp=PROFILE)",
    EINVAL: "this kernel is too old for the io_uring engine: Linux 6.11 is needed",
    ENOMEM: "no memory for a ring (ENOMEM)",
}
_DISABLED: Final = Path("/proc/sys/kernel/io_uring_disabled")
_NOTHING: Final[NDArray[np.void]] = np.zeros(0, abi.CQE)
_U32: Final = 0xFFFFFFFF
#: Maximum tries to submit what the kernel took only in part, or not at all for lack of memory; a pause between those
#: after the first. Together a second.
_TRIES: Final = 1100
_TRIES_AT_ONCE: Final = 100
_PAUSE_S: Final = 0.001
_SQE_WORDS: Final = abi.SQE.itemsize // 8

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall


def _call(number: int, *arguments: Any) -> int:
    """Make a system call that libc has no function for. Raises: OSError."""
    answer = int(_syscall(number, *arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def available() -> str:
    """Return why connections cannot be made by io_uring on this host; empty when they can."""
    params = abi.Params(cq_entries=8, flags=_FLAGS)
    try:
        fd = _call(abi.SYS_SETUP, 4, ctypes.byref(params))
    except OSError as error:
        return why_no_ring(error.errno or 0, _disabled())
    try:
        return why_no_operation(_supported(fd))
    except OSError as error:
        return f"io_uring_register(PROBE) fails here: {error.strerror}"
    finally:
        os.close(fd)


def why_no_ring(number: int, disabled: str) -> str:
    """Return the meaning of an errno of io_uring_setup(); disabled: kernel.io_uring_disabled, or empty."""
    if number == EPERM and disabled not in ("", "0"):
        return f"kernel.io_uring_disabled is {disabled}; sysctl -w kernel.io_uring_disabled=0 allows io_uring"
    return _REASONS.get(number, f"io_uring_setup() fails here: {os.strerror(number)}")


def why_no_operation(supported: frozenset[int]) -> str:
    """Return the sentence that names the missing operation; empty when none is."""
    for op, version in _NEEDED.items():
        if op not in supported:
            return f"this kernel's io_uring has no {op.name}, which came with Linux {version}; 6.11 is needed"
    return ""


def _disabled() -> str:
    try:
        return _DISABLED.read_text().strip()
    except OSError:  # older than Linux 6.6, or a container without it
        return ""


def _supported(fd: int) -> frozenset[int]:
    probe = abi.UringProbe()
    _call(abi.SYS_REGISTER, fd, abi.Register.PROBE, ctypes.byref(probe), abi.UringProbe.OPS)
    return frozenset(op.op for op in probe.ops[: probe.ops_len] if op.flags & abi.OP_SUPPORTED)


class Ring:
    """A ring of one thread with a table of `slots` direct descriptors, all empty at first.

    entries: submissions that fit before they must be submitted, a power of two. Twice as many completions
    fit; more are kept by the kernel until they are collected (IORING_FEAT_NODROP).

    Raises: HostError when there can be no ring here, or no table of that size.
    """

    def __init__(self, *, entries: int, slots: int) -> None:
        params = abi.Params(cq_entries=2 * entries, flags=_FLAGS)
        try:
            self._fd = _call(abi.SYS_SETUP, entries, ctypes.byref(params))
        except OSError as error:
            raise HostError(f"io_uring: {why_no_ring(error.errno or 0, _disabled())}") from error
        self._entries, self._cq_entries = int(params.sq_entries), int(params.cq_entries)
        self._map(params)
        self._tail = self._submitted = self._head = 0
        self._no_mask = (ctypes.c_void_p(), ctypes.c_size_t())
        table = abi.RsrcRegister(nr=slots, flags=abi.RSRC_REGISTER_SPARSE)
        try:
            _call(abi.SYS_REGISTER, self._fd, abi.Register.FILES2, ctypes.byref(table), ctypes.sizeof(table))
        except OSError as error:
            self.close()
            raise HostError(
                f"io_uring: no table of {slots:,} direct descriptors ({error.strerror}); "
                "it may not be larger than RLIMIT_NOFILE (ulimit -n)"
            ) from error

    def _map(self, params: abi.Params) -> None:
        sq, cq = params.sq_off, params.cq_off
        shared = mmap.MAP_SHARED | mmap.MAP_POPULATE
        size = cq.cqes + self._cq_entries * abi.CQE.itemsize
        rings = mmap.mmap(self._fd, size, shared, offset=abi.OFF_SQ_RING)
        sqes = mmap.mmap(self._fd, self._entries * abi.SQE.itemsize, shared, offset=abi.OFF_SQES)
        words = np.frombuffer(rings, dtype=np.uint32, count=size // 4)
        self._sq_tail = words[sq.tail // 4 :][:1]
        self._cq_head, self._cq_tail = words[cq.head // 4 :][:1], words[cq.tail // 4 :][:1]
        # As plain words: numpy copies structures field by field, which takes ten times as long.
        self._sqes = np.frombuffer(sqes, dtype=np.uint64).reshape(self._entries, _SQE_WORDS)
        self._cqes = np.frombuffer(rings, dtype=np.uint64, count=2 * self._cq_entries, offset=cq.cqes).reshape(-1, 2)

    def fileno(self) -> int:
        """Return the ring's descriptor: readable while completions wait."""
        return self._fd

    def close(self) -> None:
        """Close the ring: connections in its table are closed, and requests under way are cancelled."""
        os.close(self._fd)
        del self._sq_tail, self._cq_head, self._cq_tail, self._sqes, self._cqes  # a mapping keeps the ring, too

    def push(self, sqes: NDArray[np.void]) -> None:
        """Queue submissions, in order; when the ring is full those before them are submitted."""
        entries, words = self._entries, sqes.view(np.uint64).reshape(len(sqes), _SQE_WORDS)
        for begin in range(0, len(sqes), entries):
            part = words[begin : begin + entries]
            if self._tail - self._submitted + len(part) > entries:
                self.submit()
            at = self._tail & entries - 1
            straight = min(len(part), entries - at)
            self._sqes[at : at + straight] = part[:straight]
            if straight < len(part):
                self._sqes[: len(part) - straight] = part[straight:]
            self._tail += len(part)

    @property
    def queued(self) -> int:
        """Number of submissions that wait for `submit`."""
        return self._tail - self._submitted

    def submit(self, wait: int = 0) -> None:
        """Submit what is queued and complete what can be completed; sleep until there are `wait` completions.

        Raises: OSError for an errno that does not pass by itself, or not soon.
        """
        self._sq_tail[0] = self._tail & _U32
        reason = OSError(EAGAIN, os.strerror(EAGAIN))
        for attempt in range(_TRIES):
            try:
                self._submitted += _call(
                    abi.SYS_ENTER, self._fd, self.queued, wait, abi.ENTER_GETEVENTS, *self._no_mask
                )
            except OSError as error:
                reason = error
                if error.errno not in (EAGAIN, EBUSY, EINTR):
                    break
                if attempt > _TRIES_AT_ONCE:  # others have to give memory back
                    time.sleep(_PAUSE_S)
                if wait:
                    continue
            if self._submitted == self._tail:
                return
        raise OSError(reason.errno, f"io_uring_enter: {reason.strerror}") from reason

    def completions(self) -> NDArray[np.void]:
        """Return a copy of all completions since the last call: abi.CQE (n,), oldest first."""
        tail = int(self._cq_tail[0])
        count = (tail - self._head) & _U32
        if not count:
            return _NOTHING
        begin = self._head & self._cq_entries - 1
        taken = self._cqes[begin : begin + count].copy()
        if len(taken) < count:
            taken = np.concatenate((taken, self._cqes[: count - len(taken)]))
        self._head = tail
        self._cq_head[0] = tail
        return taken.view(abi.CQE).reshape(count)
