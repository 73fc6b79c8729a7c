"""Usable, used and free ports compared with plain sets; growth and exhaustion from lines with outliers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import PortRange
from loadgen.watch.space import Capacity, Reuse, Space, exhausts_in_s, growth_per_s

#: Few enough ports that the sets meet.
ports = st.sets(st.integers(40_000, 40_030))


@given(st.integers(40_000, 40_030), st.integers(0, 20), ports, ports, ports)
def test_capacity_equals_set_arithmetic(
    low: int, more: int, reserved: set[int], held: set[int], used: set[int]
) -> None:
    space = Space.of(PortRange(low, low + more), reserved, held)
    offered = set(range(low, low + more + 1)) - reserved
    taken = used & offered
    room = space.capacity(
        sum(bool(space.offered[port]) for port in used), sum(bool(space.blocked[port]) for port in used)
    )
    assert space.usable == len(offered - held)
    assert room.used == len(taken)
    assert room.free == len(offered - held - used)
    assert room.usable == len((offered - held) | taken)
    assert 0 <= room.share <= 1
    assert (room.share == 1) == (room.free == 0)


def test_every_port_may_be_in_the_range() -> None:
    space = Space.of(PortRange(1, 65_535), (), (0, 65_535))
    assert (space.usable, space.capacity(65_535, 1).free) == (65_534, 0)


slopes = st.integers(-1000, 1000)


@given(slopes, st.integers(0, 10_000), st.lists(st.integers(0, 1000), min_size=2, max_size=10, unique=True))
def test_growth_of_a_line_is_its_slope(slope: int, start: int, times: list[int]) -> None:
    assert growth_per_s([(float(t), start + slope * t) for t in sorted(times)]) == pytest.approx(slope)


@given(slopes, st.sets(st.integers(0, 9), max_size=2), st.integers(-50_000, 50_000))
def test_two_outliers_of_ten_do_not_change_growth(slope: int, odd: set[int], by: int) -> None:
    history = [(float(t), slope * t + (by if t in odd else 0)) for t in range(10)]
    assert growth_per_s(history) == pytest.approx(slope)


def test_growth_needs_two_snapshots_at_different_times() -> None:
    assert growth_per_s([]) is None
    assert growth_per_s([(1.0, 5)]) is None
    assert growth_per_s([(1.0, 5), (1.0, 9)]) is None
    assert growth_per_s([(1.0, 5), (3.0, 9)]) == 2


@given(st.integers(1, 65_535), st.floats(0.001, 1e5))
def test_exhaustion_is_when_no_port_is_left(left: int, growth: float) -> None:
    found = exhausts_in_s(left, growth)
    assert found is not None
    assert found * growth == pytest.approx(left)


@pytest.mark.parametrize(
    ("left", "growth", "expected"), [(10, None, None), (10, 0.0, None), (10, -1.0, None), (0, None, 0)]
)
def test_without_growth_there_is_no_exhaustion(left: int, growth: float | None, expected: float | None) -> None:
    assert exhausts_in_s(left, growth) == expected


def test_without_usable_ports_the_share_is_one() -> None:
    assert Capacity(0, 0).share == 1


@pytest.mark.parametrize(
    ("setting", "timestamps", "loopback", "elsewhere"),
    [
        (0, True, False, False),
        (1, True, True, True),
        (2, True, True, False),
        (1, False, False, False),
        (2, False, False, False),
    ],
)
def test_reuse_depends_on_setting_timestamps_and_addresses(
    setting: int, timestamps: bool, loopback: bool, elsewhere: bool
) -> None:
    reuse = Reuse(setting, timestamps)
    assert reuse.applies("127.0.0.1", "127.0.0.2") == reuse.applies("::1", "::1") == loopback
    assert reuse.applies("10.0.0.1", "10.0.0.2") == reuse.applies("fd00::1", "fd00::2") == elsewhere
