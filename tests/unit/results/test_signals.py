"""A change counts if it is both clear and large; a sentence on it has the levels before and after."""

from __future__ import annotations

import numpy as np

from loadgen.results.course import Point
from loadgen.results.signals import changed, drifts, of_churn, of_hold


def churn(rates: list[float], failing: float = 0.0) -> list[Point]:
    """Instants a second apart. failing: the share of attempts that fail."""
    established = np.cumsum([0.0, *rates])
    failed = established * failing / (1 - failing)
    return [
        Point(t_s=float(at), established=round(up), failed=round(down))
        for at, (up, down) in enumerate(zip(established, failed, strict=True))
    ]


def test_a_large_change_counts_and_a_small_one_does_not() -> None:
    """Both are as clear as can be."""
    small, large = [1000.0] * 20 + [950.0] * 20, [1000.0] * 20 + [800.0] * 20
    assert changed(of_churn(churn(small)), 0, 40) is None
    found = changed(of_churn(churn(large)), 0, 40)
    assert found
    signal, at = found
    assert at == 20
    assert signal.told(0, at, 40) == "the rate fell from 1,000/s to 800/s"


def test_the_same_change_between_two_positions_is_at_the_same_place() -> None:
    found = changed(of_churn(churn([500.0] * 5 + [1000.0] * 20 + [800.0] * 20)), 5, 45)
    assert found
    assert found[1] == 25


def test_failures_are_a_share_of_the_attempts() -> None:
    edges = churn([1000.0] * 20)
    failing = [Point(t_s=20.0 + n, established=20_000 + 980 * n, failed=20 * n) for n in range(1, 21)]
    found = changed(of_churn([*edges, *failing]), 0, 40)
    assert found
    assert found[0].told(0, found[1], 40) == "the share that failed rose from 0 % to 2.0 %"


def test_a_drift_is_one_from_beginning_to_end() -> None:
    falling = of_churn(churn([1000.0 - 10 * n for n in range(20)]))
    assert [signal.drift(0, 20) for signal in drifts(falling, 0, 20)] == [
        "the rate falls all the time, from about 980/s to 830/s"
    ]
    assert not list(drifts(of_churn(churn([1000.0 - n for n in range(20)])), 0, 20)), "by 2 % in all"


def test_held_connections_are_counted() -> None:
    edges = [Point(t_s=float(n), open=1000 if n <= 10 else 900) for n in range(21)]
    found = changed(of_hold(edges), 0, 20)
    assert found
    assert (found[1], found[0].told(0, 10, 20)) == (10, "the number open fell from 1,000 to 900")
