"""Numbers and layouts of io_uring(7), from include/uapi/linux/io_uring.h, with the Linux version of the newer ones.

A submission (struct io_uring_sqe, 64 bytes) has unions whose fields depend on the operation. Here each
place has one name, after its first use in the header; the methods of `submissions` say what it means there.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

#: System call numbers; they are the same on every architecture (include/uapi/asm-generic/unistd.h).
SYS_SETUP: Final = 425
SYS_ENTER: Final = 426
SYS_REGISTER: Final = 427


class Op(IntEnum):
    """enum io_uring_op: those used here."""

    POLL_ADD = 6
    POLL_REMOVE = 7
    ASYNC_CANCEL = 14
    CONNECT = 16
    CLOSE = 19
    RECV = 27
    SOCKET = 45  # 5.19
    URING_CMD = 46  # 5.19; on sockets 6.7
    FIXED_FD_INSTALL = 54  # 6.8
    BIND = 56  # 6.11


class SqeFlag(IntFlag):
    """IOSQE_*: `flags` of a submission."""

    FIXED_FILE = 1 << 0  #: `fd` is an index into the ring's table
    IO_LINK = 1 << 2  #: the next submission waits for this one, and is cancelled (ECANCELED) if it fails
    CQE_SKIP_SUCCESS = 1 << 6  #: no completion unless it fails


class Setup(IntFlag):
    """IORING_SETUP_*."""

    CQSIZE = 1 << 3
    SUBMIT_ALL = 1 << 7  #: a submission that fails does not stop those behind it (5.18)
    COOP_TASKRUN = 1 << 8  #: completions wait for the next system call instead of interrupting (5.19)
    SINGLE_ISSUER = 1 << 12  #: one thread only submits (6.0)
    NO_SQARRAY = 1 << 16  #: submissions are taken in order, without an index array (6.6)


class Register(IntEnum):
    """IORING_REGISTER_*: operations of io_uring_register(2)."""

    PROBE = 8
    FILES2 = 13  # 5.13; sparse 5.19


class SocketCommand(IntEnum):
    """SOCKET_URING_OP_*: commands of URING_CMD for a socket (6.7)."""

    SETSOCKOPT = 3


#: io_uring_enter(2): take part in completing requests, and wait for `min_complete` of them.
ENTER_GETEVENTS: Final = 1
#: mmap(2) offsets of the rings and of the submissions.
OFF_SQ_RING: Final = 0
OFF_SQES: Final = 0x10000000
#: `flags` of struct io_uring_rsrc_register: a table with every place empty.
RSRC_REGISTER_SPARSE: Final = 1
#: Maximum number of places in a table (IORING_MAX_FIXED_FILES, io_uring/rsrc.h). Nor may it have more than
#: RLIMIT_NOFILE (io_sqe_files_register(), io_uring/rsrc.c), but that holds for each table by itself.
FIXED_FILES_MAX: Final = 1 << 20
#: `flags` of struct io_uring_probe_op.
OP_SUPPORTED: Final = 1

#: struct io_uring_sqe.
SQE: Final = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("ioprio", "u2"),
        ("fd", "i4"),
        ("off", "u8"),
        ("addr", "u8"),
        ("len", "u4"),
        ("op_flags", "u4"),
        ("user_data", "u8"),
        ("buf_index", "u2"),
        ("personality", "u2"),
        ("file_index", "u4"),
        ("addr3", "u8"),
        ("pad2", "u8"),
    ]
)
#: struct io_uring_cqe.
CQE: Final = np.dtype([("user_data", "u8"), ("res", "i4"), ("flags", "u4")])


class _SqOffsets(ctypes.Structure):
    """struct io_sqring_offsets."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("head", "tail", "ring_mask", "ring_entries")),
        *((name, ctypes.c_uint32) for name in ("flags", "dropped", "array", "resv1")),
        ("user_addr", ctypes.c_uint64),
    )


class _CqOffsets(ctypes.Structure):
    """struct io_cqring_offsets."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("head", "tail", "ring_mask", "ring_entries")),
        *((name, ctypes.c_uint32) for name in ("overflow", "cqes", "flags", "resv1")),
        ("user_addr", ctypes.c_uint64),
    )


class Params(ctypes.Structure):
    """struct io_uring_params, given to io_uring_setup(2) and filled in by it."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("sq_entries", "cq_entries", "flags", "sq_thread_cpu")),
        *((name, ctypes.c_uint32) for name in ("sq_thread_idle", "features", "wq_fd")),
        ("resv", ctypes.c_uint32 * 3),
        ("sq_off", _SqOffsets),
        ("cq_off", _CqOffsets),
    )


class RsrcRegister(ctypes.Structure):
    """struct io_uring_rsrc_register."""

    _fields_ = (
        ("nr", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("resv2", "data", "tags")),
    )


class ProbeOp(ctypes.Structure):
    """struct io_uring_probe_op."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("resv", ctypes.c_uint8),
        ("flags", ctypes.c_uint16),
        ("resv2", ctypes.c_uint32),
    )


class UringProbe(ctypes.Structure):
    """struct io_uring_probe, with room for every operation there may be."""

    OPS: Final = 256
    _fields_ = (
        ("last_op", ctypes.c_uint8),
        ("ops_len", ctypes.c_uint8),
        ("resv", ctypes.c_uint16),
        ("resv2", ctypes.c_uint32 * 3),
        ("ops", ProbeOp * OPS),
    )
