"""The arithmetic of the benchmark harness: what it adds up, cuts and judges. Nothing is run here."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.run import (
    CASES,
    Case,
    Result,
    Sample,
    Spread,
    merge_tenths,
    port_slices,
    quarter_rates,
    ratio_by_round,
    read_summary,
    scenario,
    shares,
    sockets_left,
    summarise,
)

durations = st.lists(st.floats(0.001, 10.0), min_size=10, max_size=10)
RATE_CASE, QUARTER_CASE = CASES[0], CASES[-1]


def sample(case: Case, program: str = "loadgen", **changes: object) -> Sample:
    values: dict[str, object] = {
        "program": program,
        "rate_per_s": 100.0,
        "established": case.connections,
        "failed": 0,
        "lost": 0,
        "tenths_s": (1.0,) * 10,
    }
    return Sample(**{**values, **changes})  # type: ignore[arg-type]  # keyword by keyword, checked at run time


@given(st.integers(1, 40_000), st.integers(0, 25_535), st.integers(1, 64))
def test_slices_are_the_whole_range_without_a_gap(low: int, more: int, count: int) -> None:
    slices = port_slices(low, low + more, count)
    ports = list(itertools.chain.from_iterable(range(first, last + 1) for first, last in slices))
    assert ports == list(range(low, low + more + 1))
    sizes = [last - first + 1 for first, last in slices]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 10**6), st.integers(1, 100))
def test_shares_add_up_and_differ_by_one_at_most(total: int, count: int) -> None:
    parts = shares(total, count)
    assert (sum(parts), len(parts)) == (total, count)
    assert max(parts) - min(parts) <= 1


@given(durations)
def test_one_process_keeps_its_own_tenths(tenths: list[float]) -> None:
    assert merge_tenths([0.0], [1000], [tenths]) == pytest.approx(tenths)


@given(durations, st.integers(1, 5))
def test_processes_in_step_have_the_tenths_of_each(tenths: list[float], count: int) -> None:
    assert merge_tenths([0.0] * count, [500] * count, [tenths] * count) == pytest.approx(tenths)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(10, 10_000), durations), min_size=1, max_size=4))
def test_merged_tenths_last_from_the_first_attempt_to_the_last_connection(
    processes: list[tuple[float, int, list[float]]],
) -> None:
    offsets = [offset - min(offset for offset, _, _ in processes) for offset, _, _ in processes]
    merged = merge_tenths(offsets, [count for _, count, _ in processes], [tenths for _, _, tenths in processes])
    ends = [offset + sum(tenths) for offset, (_, _, tenths) in zip(offsets, processes, strict=True)]
    assert sum(merged) == pytest.approx(max(ends))
    assert min(merged) >= 0


def test_processes_one_after_the_other_are_not_taken_as_parallel() -> None:
    """The second starts when the first has ended: five tenths of one second each, then five of three."""
    merged = merge_tenths([0.0, 5.0], [100, 100], [[0.5] * 10, [1.5] * 10])
    assert merged == pytest.approx([1.0] * 5 + [3.0] * 5)


def test_a_quarter_takes_its_part_of_the_tenth_it_ends_in() -> None:
    """The first quarter is two tenths and a half: 1 + 1 + 2 / 2 = 3 s for 250 connections."""
    rates = quarter_rates([1, 1, 2, 1, 1, 1, 1, 2, 1, 1], 1000)
    assert rates == pytest.approx((250 / 3, 250 / 3, 250 / 3, 250 / 3))
    assert quarter_rates([1] * 7 + [2] * 3, 1000)[3] == pytest.approx(250 / 5)


def test_a_spread_is_median_least_and_most() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_ratios_are_taken_inside_each_round() -> None:
    """A machine that became three times slower after the first round changes no ratio."""
    spread = ratio_by_round([90.0, 30.0], [100.0, 100 / 3])
    assert (spread.low, spread.median, spread.high) == pytest.approx((0.9, 0.9, 0.9))


def test_sockets_in_time_wait_are_not_quiet() -> None:
    text = "sockets: used 9\nTCP: inuse 4 orphan 1 tw 3 alloc 8 mem 2\nUDP: inuse 7 mem 0\n"
    assert sockets_left(text) == 8
    assert sockets_left("sockets: used 0\n") == 0


def test_a_summary_becomes_a_sample() -> None:
    summary = {
        "rate_per_s": {"established_mean": 31000.5, "established_peak": 40000},
        "outcomes": {"established": 36000, "failed": 1, "in_flight": 0},
        "open": {"peak": 36000, "end_of_hold": 36000, "lost": 2},
        "tenths_s": [0.1] * 10,
        "generator": {"cpu_s": 1.5},
    }
    got = read_summary(summary)
    assert (got.rate_per_s, got.established, got.failed, got.lost) == (31000.5, 36000, 1, 2)
    assert (got.tenths_s, got.cpu_s) == ((0.1,) * 10, 1.5)
    with pytest.raises(KeyError):
        read_summary({})


def test_a_run_that_lost_connections_is_not_judged_as_a_speed() -> None:
    fast_but_wrong = sample(RATE_CASE, rate_per_s=1e6, established=RATE_CASE.connections - 1, failed=1)
    assert "1 failed" in fast_but_wrong.trouble(RATE_CASE)
    result = Result(RATE_CASE, [sample(RATE_CASE, "reference")], [fast_but_wrong])
    assert summarise(result)["met"] is None


def test_sinks_that_never_held_all_at_once_are_trouble() -> None:
    assert "at once" in sample(RATE_CASE, peak=17).trouble(RATE_CASE)
    assert sample(RATE_CASE, peak=RATE_CASE.connections).trouble(RATE_CASE) == ""


@pytest.mark.parametrize(("rate", "met"), [(80.0, True), (79.0, False)])
def test_a_rate_is_judged_against_the_reference(rate: float, met: bool) -> None:
    ours, theirs = sample(RATE_CASE, rate_per_s=rate), sample(RATE_CASE, "reference")
    summary = summarise(Result(RATE_CASE, [theirs], [ours]))
    assert (summary["met"], summary["ratio_of_medians"]) == (met, rate / 100)


@pytest.mark.parametrize(("last", "met"), [(1.0, True), (2.0, False)])
def test_quarters_are_judged_against_the_first_quarter(last: float, met: bool) -> None:
    ours = sample(QUARTER_CASE, tenths_s=(1.0,) * 7 + (last,) * 3)
    summary = summarise(Result(QUARTER_CASE, [sample(QUARTER_CASE, "reference")], [ours]))
    assert (summary["met"], summary["loadgen"]["last_to_first"]["median"]) == (met, pytest.approx(1 / last))


def test_without_loadgen_nothing_is_judged() -> None:
    assert summarise(Result(QUARTER_CASE, [sample(QUARTER_CASE, "reference")]))["met"] is None


@pytest.mark.parametrize("case", [*CASES, *(case.small() for case in CASES)], ids=lambda case: case.label)
def test_every_case_fits_its_ports(case: Case) -> None:
    """Each process has a port for each connection from each source, and one to spare for the listener's."""
    for (low, high), count in zip(
        port_slices(*case.ports, case.processes), shares(case.connections, case.processes), strict=True
    ):
        assert (high - low) * len(case.sources) >= count
    assert case.connections // min(case.processes, case.sinks) < 19_500


def test_a_case_is_a_scenario_without_a_lab() -> None:
    text = scenario(CASES[1])
    assert "sources: {addresses: [127.0.1.1-127.0.1.4], strategy: late-range}\n" in text
    assert "sink: true" in text
    assert "sinks: 2\n" in text
    assert "sinks:" not in scenario(CASES[0])
    assert "lab" not in text
