"""Rests grow, pairs are spent, endings give hope; no clock but the one in the arguments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.worker.backoff import DENIALS_MAX, FIRST_REST_NS, LONGEST_REST_NS, Exhaustion


def test_nothing_needs_to_be_asked_before_the_first_denial() -> None:
    exhaustion = Exhaustion(2)
    assert (exhaustion.active, exhaustion.spent) == (False, False)
    assert exhaustion.may_try(0, 0)


def test_a_denied_pair_rests_twice_as_long_each_time_and_the_others_do_not() -> None:
    exhaustion, now = Exhaustion(2), 1_000
    rests = []
    for _ in range(DENIALS_MAX - 1):
        exhaustion.denied(0, now)
        assert not exhaustion.may_try(0, now)
        assert exhaustion.may_try(1, now)
        rest = next(
            ns for ns in range(FIRST_REST_NS, LONGEST_REST_NS + 1, FIRST_REST_NS) if _rested(exhaustion, now + ns)
        )
        rests.append(rest)
        now += rest
    assert rests == [min(FIRST_REST_NS << n, LONGEST_REST_NS) for n in range(DENIALS_MAX - 1)]


def _rested(exhaustion: Exhaustion, now: int) -> bool:
    return exhaustion.may_try(0, now)


def test_the_first_of_the_resting_pairs_says_when_to_come_back() -> None:
    exhaustion = Exhaustion(2)
    exhaustion.denied(0, 0)
    exhaustion.denied(0, 0)
    exhaustion.denied(1, 0)
    assert exhaustion.next_try_ns() == FIRST_REST_NS


def test_all_pairs_denied_too_often_are_spent_and_one_ending_changes_that() -> None:
    exhaustion = Exhaustion(2)
    for pair in (0, 1):
        assert not exhaustion.spent
        for _ in range(DENIALS_MAX):
            exhaustion.denied(pair, 0)
    assert exhaustion.spent
    assert exhaustion.next_try_ns() == 0
    assert not exhaustion.may_try(0, 10**18)
    exhaustion.freed()
    assert (exhaustion.spent, exhaustion.active) == (False, False)
    assert exhaustion.may_try(0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_a_grant_forgets_the_denials_of_its_pair_only(history: list[tuple[bool, int]]) -> None:
    """Against the obvious model: denials in a row for each pair."""
    exhaustion, denials = Exhaustion(4), [0] * 4
    for granted, pair in history:
        if granted:
            exhaustion.granted(pair)
            denials[pair] = 0
        else:
            exhaustion.denied(pair, 0)
            denials[pair] += 1
    assert exhaustion.active == any(denials)
    assert exhaustion.spent == all(count >= DENIALS_MAX for count in denials)
    for pair, count in enumerate(denials):
        assert exhaustion.may_try(pair, 10**18) == (count < DENIALS_MAX)


def test_in_churn_nothing_is_ever_spent_and_rests_stay_short() -> None:
    exhaustion, now = Exhaustion(1, churn_ports=1), 0
    for _ in range(1000):
        exhaustion.denied(0, now)
        assert not exhaustion.may_try(0, now)
        now = exhaustion.next_try_ns()
        assert exhaustion.may_try(0, now)
    assert not exhaustion.spent
    assert now <= 1000 * 4_000_000


@given(pairs=st.integers(1, 2000), ports=st.integers(1, 64_512))
def test_in_churn_the_kernel_is_asked_for_a_small_part_of_the_time(pairs: int, ports: int) -> None:
    """A thousand times a second or so, and a search that goes through every port twenty times less often."""
    exhaustion = Exhaustion(pairs, churn_ports=ports)
    for _ in range(20):
        exhaustion.denied(0, 0)
    rest_ns = exhaustion.next_try_ns() if pairs == 1 else exhaustion._rest_until_ns[0]
    assert rest_ns >= min(pairs * 1_000_000, LONGEST_REST_NS)
    assert rest_ns >= 20 * 100 * ports


def test_one_that_was_denied_is_doubtful_until_it_is_granted() -> None:
    exhaustion = Exhaustion(2)
    exhaustion.denied(1, 0)
    assert (exhaustion.doubtful(0), exhaustion.doubtful(1)) == (False, True)
    exhaustion.granted(1)
    assert not exhaustion.doubtful(1)
