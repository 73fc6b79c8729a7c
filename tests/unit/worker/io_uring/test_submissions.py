"""The submissions that are written, without a ring to submit them to."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadgen.model import Endpoint, PortRange, Strategy
from loadgen.worker.io_uring.abi import Op, SocketCommand, SqeFlag
from loadgen.worker.io_uring.submissions import KIND_SHIFT, SLOT_MASK, Kind, Submissions
from loadgen.worker.strategies import setup_of

PORTS = PortRange(40000, 40099)
PAIRS = [("127.0.1.1", Endpoint("127.0.0.1", 9000)), ("::1", Endpoint("::1", 9001))]
BASE = 1000
SLOTS = np.array([1000, 1007])
BOTH = np.array([0, 1])
ASKED = np.array([40005, 40006])
IPV4_SOURCE = struct.pack("=H", socket.AF_INET) + bytes(2) + socket.inet_aton("127.0.1.1") + bytes(8)
IPV6_TARGET = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 9001, 0) + bytes(15) + b"\1" + bytes(4)


def steps(strategy: Strategy) -> Submissions:
    return Submissions(setup_of(strategy, [source for source, _ in PAIRS], PORTS), PAIRS)


def memory(address: int, size: int) -> bytes:
    """What the kernel will find there."""
    return ctypes.string_at(int(address), size)


def made(strategy: Strategy, keep: Submissions | None = None) -> list[NDArray[np.void]]:
    return [rows.copy() for rows in (keep or steps(strategy)).prepare(SLOTS, BASE, BOTH, ASKED)]


def kinds(rows: NDArray[np.void]) -> set[int]:
    return set((rows["user_data"] >> KIND_SHIFT).tolist())


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.KERNEL, [Op.SOCKET]),
        (Strategy.BIND, [Op.SOCKET, Op.BIND]),
        (Strategy.LATE, [Op.SOCKET, Op.URING_CMD, Op.URING_CMD, Op.BIND]),
        (Strategy.LATE_RANGE, [Op.SOCKET, Op.URING_CMD, Op.URING_CMD, Op.URING_CMD, Op.BIND]),
        (Strategy.EXPLICIT, [Op.SOCKET, Op.URING_CMD, Op.URING_CMD, Op.BIND]),
    ],
)
def test_each_step_is_made_for_all_slots_before_the_next(strategy: Strategy, expected: Sequence[Op]) -> None:
    every = made(strategy)
    assert [set(rows["opcode"].tolist()) for rows in every] == [{op} for op in expected]
    for rows in every:
        assert (rows["user_data"] & SLOT_MASK).tolist() == SLOTS.tolist()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_only_the_last_step_tells_of_its_success(strategy: Strategy) -> None:
    """And its kind is the one that the connector waits for."""
    quiet = [bool(rows["flags"][0] & SqeFlag.CQE_SKIP_SUCCESS) for rows in made(strategy)]
    assert quiet == [True] * (len(quiet) - 1) + [False]
    assert kinds(made(strategy)[-1]) == {steps(strategy).last}


def test_a_socket_is_put_into_its_place_of_the_table() -> None:
    """Places count from the table's base, and in file_index from 1; the family is in fd."""
    rows = made(Strategy.KERNEL)[0]
    assert rows["file_index"].tolist() == [1, 8]
    assert rows["fd"].tolist() == [socket.AF_INET, socket.AF_INET6]
    assert rows["off"].tolist() == [socket.SOCK_STREAM] * 2
    assert not rows["flags"][0] & SqeFlag.FIXED_FILE


def test_an_option_names_level_name_length_and_value() -> None:
    keep = steps(Strategy.LATE_RANGE)
    _, reuse, no_port, narrow, _ = made(Strategy.LATE_RANGE, keep)
    for rows, level, name in ((reuse, socket.SOL_SOCKET, socket.SO_REUSEADDR), (no_port, socket.SOL_IP, 24)):
        assert set(rows["off"].tolist()) == {SocketCommand.SETSOCKOPT}
        assert rows["addr"][:1].tobytes() == struct.pack("=II", level, name)
        assert set(rows["file_index"].tolist()) == {4}
        assert memory(rows["addr3"][0], 4) == struct.pack("=i", 1)
        assert rows["fd"].tolist() == [0, 7]
        assert rows["flags"][0] & SqeFlag.FIXED_FILE
    assert [memory(address, 4) for address in narrow["addr3"]] == [
        struct.pack("=I", port << 16 | port) for port in ASKED.tolist()
    ]


def test_freebind_comes_first_and_is_another_option_in_ipv6() -> None:
    choice = setup_of(Strategy.LATE, [source for source, _ in PAIRS], PORTS, freebind=True)
    _, freebind, *_ = made(Strategy.LATE, Submissions(choice, PAIRS))
    assert freebind["addr"].tobytes() == struct.pack("=IIII", socket.SOL_IP, 15, socket.IPPROTO_IPV6, 78)
    assert memory(freebind["addr3"][1], 4) == struct.pack("=i", 1)


def test_an_address_of_a_link_names_it() -> None:
    """scope_id is the interface's number, at byte 24 (ipv6(7))."""
    pairs = [("fe80::2%7", Endpoint("fe80::1%7", 9000))]
    keep = Submissions(setup_of(Strategy.LATE, ["fe80::2%7"], PORTS), pairs)
    connect = keep.connect(SLOTS[:1], BASE, BOTH[:1])
    assert memory(connect["addr"][0], 28)[24:] == struct.pack("=I", 7)
    assert memory(connect["addr"][0], 28)[8:24] == socket.inet_pton(socket.AF_INET6, "fe80::1")


def test_without_a_free_port_the_whole_slice_is_shown() -> None:
    keep = steps(Strategy.LATE_RANGE)
    narrow = [*keep.prepare(SLOTS, BASE, BOTH, np.array([0, 0]))][3]
    assert memory(narrow["addr3"][0], 4) == struct.pack("=I", 40099 << 16 | 40000)


def test_addresses_are_packed_as_the_kernel_reads_them() -> None:
    keep = steps(Strategy.LATE)
    bind = made(Strategy.LATE, keep)[-1]
    assert memory(bind["addr"][0], 16) == IPV4_SOURCE
    assert bind["off"].tolist() == [16, 28]
    connect = keep.connect(SLOTS, BASE, BOTH)
    assert memory(connect["addr"][1], 28) == IPV6_TARGET
    assert connect["off"].tolist() == [16, 28]


def test_explicit_binds_the_port_or_asks_for_the_first() -> None:
    keep = steps(Strategy.EXPLICIT)
    rows = keep.bind(SLOTS, BASE, BOTH, np.array([40005, 0]))
    ports = [memory(address, 4)[2:] for address in rows["addr"]]
    assert ports == [struct.pack(">H", 40005), struct.pack(">H", 40000)]
    assert memory(rows["addr"][0], 16)[4:] == IPV4_SOURCE[4:]


@pytest.mark.parametrize(("strategy", "first"), [(Strategy.LATE_RANGE, Op.URING_CMD), (Strategy.EXPLICIT, Op.CLOSE)])
def test_another_port_is_a_chain_of_which_only_connect_reports(strategy: Strategy, first: Op) -> None:
    """On the same socket where it has no port yet; else on a new one in the same place."""
    one, pair, port = np.array([1003]), np.array([0]), np.array([40009])
    chain = np.concatenate([*steps(strategy).again(one, BASE, pair, port)])
    assert chain["opcode"][0] == first
    assert chain["opcode"][-1] == Op.CONNECT
    linked = (chain["flags"] & SqeFlag.IO_LINK).astype(bool).tolist()
    assert linked == [True] * (len(chain) - 1) + [False]
    assert kinds(chain[:-1]) == {Kind.QUIET}
    assert kinds(chain[-1:]) == {Kind.CONNECT}


def test_what_is_under_way_is_ended_by_its_own_name() -> None:
    """POLL_REMOVE and ASYNC_CANCEL find a request by the user_data it was submitted with."""
    keep = steps(Strategy.KERNEL)
    assert keep.unpoll(SLOTS, BASE)["addr"].tolist() == keep.poll(SLOTS, BASE)["user_data"].tolist()
    waiting = keep.connect(SLOTS, BASE, BOTH)["user_data"].tolist()
    assert keep.cancel(SLOTS, BASE)["addr"].tolist() == waiting
    for rows in (keep.unpoll(SLOTS, BASE), keep.cancel(SLOTS, BASE), keep.close(SLOTS, BASE)):
        assert kinds(rows) == {Kind.QUIET}


def test_a_reset_is_made_by_linger_for_no_time() -> None:
    keep = steps(Strategy.KERNEL)
    rows = keep.linger(SLOTS, BASE)
    assert rows["addr"][:1].tobytes() == struct.pack("=II", socket.SOL_SOCKET, socket.SO_LINGER)
    assert memory(rows["addr3"][0], int(rows["file_index"][0])) == struct.pack("=ii", 1, 0)


def test_rows_of_one_batch_do_not_leak_into_the_next() -> None:
    """A template is used again, for fewer slots and other places."""
    keep = steps(Strategy.LATE_RANGE)
    first = made(Strategy.LATE_RANGE, keep)
    again: list[Any] = [rows.copy() for rows in keep.prepare(SLOTS[:1] + 5, BASE, BOTH[:1], ASKED[:1] + 1)]
    assert [len(rows) for rows in again] == [1] * len(first)
    assert again[0]["file_index"].tolist() == [6]
    assert [memory(address, 4) for address in again[3]["addr3"]] == [struct.pack("=I", 40006 << 16 | 40006)]
