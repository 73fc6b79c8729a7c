"""What is measured: every case can be run, and its name says which it is."""

import pytest

from bench.cases import ALL_CASES, BY_TENTH, HALF_RATE, HELD, SLOW_CASES, STRATEGIES, Case
from bench.figures import port_slices, shares

EVERY_SIZE = [*ALL_CASES, *(case.small() for case in ALL_CASES)]


@pytest.mark.parametrize("case", EVERY_SIZE, ids=lambda case: f"{case.label}, {case.size}")
def test_every_case_fits_its_ports(case: Case) -> None:
    """Each process has a port for each connection from each source, and one to spare for the listener's."""
    for (low, high), count in zip(
        port_slices(*case.ports, case.processes), shares(case.at_once, case.processes), strict=True
    ):
        assert (high - low) * len(case.sources) >= count
    assert case.at_once // min(case.processes, case.sinks) < 19_500


def test_no_two_cases_have_one_label() -> None:
    assert len({case.label for case in ALL_CASES}) == len(ALL_CASES)


def test_strategies_are_compared_where_all_of_them_are_fast() -> None:
    """No source has used half of the range at the end, nor half of the slice of one process."""
    for case in STRATEGIES:
        low, high = case.ports
        assert case.connections / len(case.sources) <= (high - low + 1) / 2 / case.processes
    assert {(case.strategy, case.processes) for case in STRATEGIES} == {
        (strategy, processes) for strategy in ("late-range", "late", "explicit") for processes in (1, 2)
    }


@pytest.mark.parametrize(
    ("most_per_s", "half_per_s"), [(21_400.0, 10_500), (21_600.0, 11_000), (900.0, 500), (1.0, 500)]
)
def test_half_of_a_rate_is_a_whole_number_of_steps(most_per_s: float, half_per_s: int) -> None:
    assert HALF_RATE.at_half_of(most_per_s).arrival_per_s == half_per_s


def test_late_fills_a_range_only_when_asked_for_what_is_slow() -> None:
    assert "late" not in {case.strategy for case in BY_TENTH}
    assert ("by-tenth", "late") in {(case.name, case.strategy) for case in SLOW_CASES}


@pytest.mark.parametrize(
    "case", [*HELD, *(case.small() for case in HELD)], ids=lambda case: f"{case.label}, {case.size}"
)
def test_what_is_held_is_held_long_enough_for_three_looks(case: Case) -> None:
    assert case.hold_s >= 5
    assert case.own_sink
    assert case.baseline is None
