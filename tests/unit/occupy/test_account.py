"""Ports that are left, to take and to give back, compared with plain sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.occupy.account import PortBalance, ports_mask, processes_for, shared_out

LOW = 40_000
#: Few enough ports that the sets meet; some lie outside of the range.
ports = st.sets(st.integers(LOW - 2, LOW + 22))
leaves = st.integers(0, 25)


def account(
    size: int, reserved: set[int], others: set[int], ours: set[int], doubtful: set[int] | None = None
) -> PortBalance:
    offered = set(range(LOW, LOW + size)) - reserved
    return PortBalance(
        LOW, ports_mask(offered), ports_mask(others), ports_mask(ours - others), ports_mask(doubtful or set())
    )


@given(st.integers(1, 20), ports, ports, ports, ports, ports, leaves)
def test_the_number_left_is_met_as_far_as_it_can_be(
    size: int, reserved: set[int], others: set[int], ours: set[int], doubtful: set[int], resting: set[int], leave: int
) -> None:
    before = account(size, reserved, others, ours, doubtful)
    free = set(range(LOW, LOW + size)) - reserved - others - ours
    assert before.left == len(free)
    taken, released = before.to_take(leave, ports_mask(resting)), before.to_release(leave)
    assert not (taken and released)
    assert set(taken) <= free - resting
    assert set(released) <= (ours - others - reserved) & set(range(LOW, LOW + size))
    assert len(taken) == len(set(taken))
    left = before.left - len(taken) + len(released)
    if len(free) >= leave:
        assert left == max(leave, left)
        assert left == leave or set(taken) == free - resting
    else:
        assert left == min(leave, len(free) + len((ours - others - reserved) & set(range(LOW, LOW + size))))


@given(st.integers(1, 20), ports, leaves)
def test_ports_of_the_low_ends_parity_go_first_and_come_back_last(size: int, doubtful: set[int], leave: int) -> None:
    """But before them the doubtful ones, so that ports of which all is known are left."""
    order = account(size, set(), set(), set(), doubtful).to_take(0, ports_mask())
    assert order == sorted(range(LOW, LOW + size), key=lambda port: (port not in doubtful, (port - LOW) % 2, port))
    held = account(size, set(), set(), set(range(LOW, LOW + size)), doubtful)
    assert held.to_release(leave) == order[::-1][:leave]


@given(st.lists(st.integers(1, 65_535), unique=True), st.lists(st.integers(0, 9)))
def test_no_port_is_lost_between_processes(wanted: list[int], rooms: list[int]) -> None:
    if len(wanted) > sum(rooms):
        with pytest.raises(ValueError, match="room"):
            shared_out(wanted, rooms)
        return
    parts = shared_out(wanted, rooms)
    assert [port for part in parts for port in part] == wanted
    assert all(len(part) <= room for part, room in zip(parts, rooms, strict=True))


@given(st.integers(0, 65_536), st.integers(1, 20_000))
def test_processes_are_as_few_as_hold_the_ports(count: int, each: int) -> None:
    processes = processes_for(count, each)
    assert (processes - 1) * each < count <= processes * each or count == processes == 0


def test_the_default_range_takes_two_processes_of_twenty_thousand_descriptors() -> None:
    assert processes_for(28_232, 19_872) == 2


def test_a_mask_has_these_ports_alone() -> None:
    assert np.flatnonzero(ports_mask([0, 40_000, 65_535])).tolist() == [0, 40_000, 65_535]
