"""Cooldowns grow, pairs are exhausted, an end lifts that; no clock but the one in the arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import Strategy, Transport
from loadgen.outcomes import error_key
from loadgen.worker.backoff import COOLDOWN_MAX_NS, COOLDOWN_MIN_NS, DENIALS_MAX, NO_PORT, Backoff


def test_nothing_needs_to_be_asked_before_the_first_denial() -> None:
    backoff = Backoff(2)
    assert (backoff.active, backoff.exhausted) == (False, False)
    assert backoff.may_try(0, 0)


def test_a_pair_without_a_port_cools_down_twice_as_long_each_time_and_the_others_do_not() -> None:
    backoff, now = Backoff(2), 1_000
    cooldowns = []
    for _ in range(DENIALS_MAX - 1):
        backoff.no_port(0, now)
        assert not backoff.may_try(0, now)
        assert backoff.may_try(1, now)
        cooldown = next(
            ns for ns in range(COOLDOWN_MIN_NS, COOLDOWN_MAX_NS + 1, COOLDOWN_MIN_NS) if _cooled_down(backoff, now + ns)
        )
        cooldowns.append(cooldown)
        now += cooldown
    assert cooldowns == [min(COOLDOWN_MIN_NS << n, COOLDOWN_MAX_NS) for n in range(DENIALS_MAX - 1)]


def _cooled_down(backoff: Backoff, now: int) -> bool:
    return backoff.may_try(0, now)


def test_the_first_pair_to_cool_down_decides_when_to_come_back() -> None:
    backoff = Backoff(2)
    backoff.no_port(0, 0)
    backoff.no_port(0, 0)
    backoff.no_port(1, 0)
    assert backoff.next_try_ns() == COOLDOWN_MIN_NS


def test_all_pairs_denied_too_often_are_exhausted_and_one_ending_changes_that() -> None:
    backoff = Backoff(2)
    for pair in (0, 1):
        assert not backoff.exhausted
        for _ in range(DENIALS_MAX):
            backoff.no_port(pair, 0)
    assert backoff.exhausted
    assert backoff.next_try_ns() == 0
    assert not backoff.may_try(0, 10**18)
    backoff.freed()
    assert (backoff.exhausted, backoff.active) == (False, False)
    assert backoff.may_try(0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_a_grant_forgets_the_denials_of_its_pair_only(history: list[tuple[bool, int]]) -> None:
    """Against the obvious model: denials in a row for each pair."""
    backoff, denials = Backoff(4), [0] * 4
    for granted, pair in history:
        if granted:
            backoff.granted(pair)
            denials[pair] = 0
        else:
            backoff.no_port(pair, 0)
            denials[pair] += 1
    assert backoff.active == any(denials)
    assert backoff.exhausted == all(count >= DENIALS_MAX for count in denials)
    for pair, count in enumerate(denials):
        assert backoff.may_try(pair, 10**18) == (count < DENIALS_MAX)


def test_in_churn_no_pair_is_ever_exhausted_and_cooldowns_stay_short() -> None:
    backoff, now = Backoff(1, searched_ports=1), 0
    for _ in range(1000):
        backoff.no_port(0, now)
        assert not backoff.may_try(0, now)
        now = backoff.next_try_ns()
        assert backoff.may_try(0, now)
    assert not backoff.exhausted
    assert now <= 1000 * 4_000_000


@given(pairs=st.integers(1, 2000), ports=st.integers(1, 64_512))
def test_in_churn_the_kernel_is_asked_for_a_small_part_of_the_time(pairs: int, ports: int) -> None:
    """A thousand times a second or so, and a search that goes through every port twenty times less often."""
    backoff = Backoff(pairs, searched_ports=ports)
    for _ in range(20):
        backoff.no_port(0, 0)
    cooldown_ns = backoff.next_try_ns() if pairs == 1 else backoff._until_ns[0]
    assert cooldown_ns >= min(pairs * 1_000_000, COOLDOWN_MAX_NS)
    assert cooldown_ns >= 20 * 100 * ports


def test_a_pair_that_was_denied_is_probed_until_it_is_granted() -> None:
    backoff = Backoff(2)
    backoff.no_port(1, 0)
    assert (backoff.probing(0), backoff.probing(1)) == (False, True)
    backoff.granted(1)
    assert not backoff.probing(1)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_the_end_of_every_strategy_is_a_denial(strategy: Strategy, transport: Transport) -> None:
    if transport is Transport.TCP or strategy.row.udp:
        assert error_key(*strategy.over(transport).ends) in NO_PORT
