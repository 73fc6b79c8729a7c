"""The layouts against offsets written down from include/uapi/linux/io_uring.h, and packed by hand."""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import pytest

from loadgen.worker.io_uring import abi


@pytest.mark.parametrize(
    ("field", "offset"),
    [
        ("opcode", 0),
        ("flags", 1),
        ("ioprio", 2),
        ("fd", 4),
        ("off", 8),  # also addr2, cmd_op
        ("addr", 16),  # also level and optname
        ("len", 24),
        ("op_flags", 28),  # poll32_events, msg_flags, cancel_flags ...
        ("user_data", 32),
        ("buf_index", 40),
        ("personality", 42),
        ("file_index", 44),  # also optlen
        ("addr3", 48),  # also optval
        ("pad2", 56),
    ],
)
def test_a_submission_has_each_field_where_the_header_has_it(field: str, offset: int) -> None:
    assert abi.SQE.fields is not None
    assert abi.SQE.fields[field][1] == offset


def test_a_submission_is_64_bytes_packed_as_in_c() -> None:
    sqe = np.zeros(1, abi.SQE)
    for number, name in enumerate(abi.SQE.names or ()):
        sqe[name] = number + 1
    assert sqe.tobytes() == struct.pack("=BBHiQQIIQHHIQQ", *range(1, 15))


def test_a_completion_is_16_bytes_with_a_signed_result() -> None:
    packed = struct.pack("=QiI", 1 << 63 | 5, -111, 2)
    (cqe,) = np.frombuffer(packed, abi.CQE)
    assert (int(cqe["user_data"]), int(cqe["res"]), int(cqe["flags"])) == (1 << 63 | 5, -111, 2)


@pytest.mark.parametrize(
    ("kind", "size"), [(abi.Params, 120), (abi.RsrcRegister, 32), (abi.ProbeOp, 8), (abi.UringProbe, 16 + 256 * 8)]
)
def test_the_structures_have_their_size(kind: type[ctypes.Structure], size: int) -> None:
    assert ctypes.sizeof(kind) == size


def test_the_offsets_of_both_rings_follow_the_reserved_words() -> None:
    assert (abi.Params.sq_off.offset, abi.Params.cq_off.offset) == (40, 80)
    params = abi.Params.from_buffer_copy(struct.pack("=10I 8IQ 8IQ", *range(28)))
    assert (params.sq_entries, params.cq_entries, params.flags) == (0, 1, 2)
    assert (params.sq_off.head, params.sq_off.tail, params.sq_off.array) == (10, 11, 16)
    assert (params.cq_off.head, params.cq_off.tail, params.cq_off.cqes) == (19, 20, 24)
