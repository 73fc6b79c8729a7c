"""Numbers that shrink keep their proportions, and what was there stays there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import PortRange
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.scaled import DEFAULT_RANGE, PORTS, scaled

from .situations import ANY

FULL = Circumstances("four-tuples", ports=PortRange(32768, 60999))


def test_a_wide_range_becomes_a_hundred_ports() -> None:
    small = scaled(FULL)
    assert (small.ours, small.is_smaller, small.usable) == (PortRange(40000, 40099), True, 100)


def test_an_unknown_range_is_that_of_the_kernel() -> None:
    assert scaled(Circumstances("four-tuples")).theirs == DEFAULT_RANGE == PortRange(32768, 60999)


def test_a_range_that_is_small_already_stays() -> None:
    small = scaled(replace(FULL, ports=PortRange(50000, 50049), reserved=(50001, 40000), held=(50002,)))
    assert (small.ours, small.is_smaller) == (PortRange(50000, 50049), False)
    assert (small.reserved, small.held, small.usable) == ((50001,), (50002,), 48)


def test_full_size_keeps_every_number() -> None:
    kept = scaled(replace(FULL, reserved=(38151,), held=(40000, 40001)), full_size=True)
    assert (kept.ours, kept.reserved, kept.held) == (FULL.ports, (38151,), (40000, 40001))
    assert kept.count(28_232) == 28_232
    assert kept.port(38151) == 38151


def test_full_stays_full() -> None:
    small = scaled(FULL)
    assert small.count(28_232) == len(small.ours)
    assert small.count(14_116) == len(small.ours) // 2


def test_a_share_of_the_range_stays_that_share() -> None:
    """A tenth of the ports reserved there is a tenth reserved here, and a half held is a half held."""
    small = scaled(
        replace(FULL, reserved=tuple(range(40000, 42823)), held=tuple(range(43000, 57116)), limit="port-held")
    )
    assert (len(small.reserved), len(small.held), small.usable) == (10, 50, 40)


def test_some_listeners_in_a_wide_range_are_not_a_hundredth_of_it() -> None:
    assert scaled(replace(FULL, held=(38151, 40000))).held == ()
    assert len(scaled(replace(FULL, held=(38151,), limit="port-held")).held) == 1


def test_where_the_held_ports_are_unknown_it_is_half_of_the_range() -> None:
    assert len(scaled(replace(FULL, limit="port-held")).held) == 50
    assert scaled(replace(FULL, limit="port-held", service_port=38151)).held == ()


def test_a_port_outside_of_the_range_stays() -> None:
    assert scaled(FULL).port(443) == 443


@given(ANY, st.integers(1, 65535))
def test_a_port_keeps_its_place_and_its_parity(circumstances: Circumstances, port: int) -> None:
    """connect() prefers ports of the parity of the low end."""
    small = scaled(circumstances)
    if port in small.theirs:
        place = small.port(port)
        assert place in small.ours
        assert (place - small.ours.low) % 2 == (port - small.theirs.low) % 2
        assert abs((place - small.ours.low) / len(small.ours) - (port - small.theirs.low) / len(small.theirs)) < 0.03


@given(ANY, st.booleans())
def test_what_is_there_stays_there(circumstances: Circumstances, full_size: bool) -> None:
    small = scaled(circumstances, full_size=full_size)
    assert 0 <= small.usable <= len(small.ours)
    assert len(small.ours) <= PORTS or full_size
    assert all(port in small.ours for port in (*small.reserved, *small.held))
    assert not set(small.reserved) & set(small.held)
    assert bool(small.reserved) == any(port in small.theirs for port in circumstances.reserved)
    assert small.count(0) == 0
    assert small.count(1) == 1
