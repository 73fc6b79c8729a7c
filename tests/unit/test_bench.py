"""The arithmetic of the benchmark harness: what it adds up, cuts and judges. Nothing is run here."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.run import (
    CASES,
    CHURN,
    CHURN_CONCURRENCY,
    LAST_QUARTER,
    MILLION,
    SLOW_CASES,
    Case,
    Result,
    Sample,
    Spread,
    cases_of,
    descendants,
    merge_tenths,
    parse,
    port_slices,
    pss_bytes,
    quarter_rates,
    ratio_by_round,
    read_summary,
    scenario,
    shares,
    sockets_left,
    summarise,
)
from loadgen import scenario as scenarios

durations = st.lists(st.floats(0.001, 10.0), min_size=10, max_size=10)
RATE_CASE, QUARTER_CASE = CASES[0], LAST_QUARTER
ALL_CASES = (*CASES, *SLOW_CASES, MILLION)
EVERY_SIZE = [*ALL_CASES, *(case.small() for case in ALL_CASES)]


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


def test_the_rate_of_churn_is_its_mean() -> None:
    """Not the mean of the ramp, which a churn run has not."""
    summary = {
        "rate_per_s": {"established_mean": 1.0},
        "churn": {"mean_per_s": 21000.5, "sustained_per_s": 20000.0},
        "outcomes": {"established": 105000, "failed": 0},
        "open": {"lost": 0},
    }
    assert read_summary(summary).rate_per_s == 21000.5
    assert read_summary({**summary, "churn": None}).rate_per_s == 1.0


def test_churn_by_loadgen_may_establish_any_number() -> None:
    """It ends with its time; the C client ends with its number, and a failure or a loss is one in both."""
    assert sample(CHURN, established=17, peak=3).trouble(CHURN) == ""
    assert "1 failed" in sample(CHURN, established=17, failed=1).trouble(CHURN)
    assert "17 established" in sample(CHURN, established=17, lost=1).trouble(CHURN)
    assert "17 of 150,000" in sample(CHURN, "reference", established=17).trouble(CHURN)
    assert sample(CHURN, "reference", peak=3).trouble(CHURN) == ""
    assert sample(RATE_CASE, established=17).trouble(RATE_CASE) != ""


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


@pytest.mark.parametrize("case", EVERY_SIZE, ids=lambda case: f"{case.label}, {case.size}")
def test_every_case_fits_its_ports(case: Case) -> None:
    """Each process has a port for each connection from each source, and one to spare for the listener's."""
    for (low, high), count in zip(
        port_slices(*case.ports, case.processes), shares(case.at_once, case.processes), strict=True
    ):
        assert (high - low) * len(case.sources) >= count
    assert case.at_once // min(case.processes, case.sinks) < 19_500


def test_a_case_is_a_scenario_without_a_lab() -> None:
    text = scenario(CASES[1])
    assert "sources: {addresses: [127.0.1.1-127.0.1.4], strategy: late-range}\n" in text
    assert "sink: true" in text
    assert "sinks: 2\n" in text
    assert "sinks:" not in scenario(CASES[0])
    assert "lab" not in text


@pytest.mark.parametrize("case", EVERY_SIZE, ids=lambda case: f"{case.label}, {case.size}")
def test_every_case_is_a_scenario_that_loadgen_reads(case: Case) -> None:
    read = scenarios.parse(scenario(case))
    assert (read.most_open, read.workers, read.close) == (case.at_once, case.processes, "rst")
    assert read.sinks == (case.sinks if case.own_sink else None)
    assert (read.churn.duration_s if read.churn else 0.0) == pytest.approx(case.churn_s, abs=0.001)


def test_churn_is_a_scenario_without_connections_or_hold() -> None:
    text = scenario(CHURN)
    assert f"churn: {{duration: 5s, concurrency: {CHURN_CONCURRENCY}}}\n" in text
    assert "connections" not in text
    assert "hold" not in text


def test_a_million_is_measured_only_when_asked_for() -> None:
    def names(*flags: str) -> set[str]:
        return {case.name for case, _ in cases_of(parse(flags))}

    assert "million" not in names() | names("--slow") | names("--quick", "--slow")
    assert names("--million") == names() | {"million"}
    assert "million" in names("--million", "--reference-only")
    assert names("--reference-only") == {"open-hold", "last-quarter", "churn"}
    assert names("--million", "--only", "churn") == {"churn"}
    with pytest.raises(SystemExit):
        parse(["--only", "million"])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--million"], {"churn": 5, "million": 1}),
        (["--million", "--rounds", "3"], {"churn": 3, "million": 3}),
        (["--million", "--rounds", "3", "--quick"], {"churn": 1, "million": 1}),
    ],
)
def test_a_million_has_one_round_unless_told(flags: list[str], expected: dict[str, int]) -> None:
    rounds = {case.name: count for case, count in cases_of(parse(flags))}
    assert {name: rounds[name] for name in expected} == expected


def test_the_memory_of_a_tree_leaves_out_whoever_else_is_there() -> None:
    assert sorted(descendants({2: 1, 3: 2, 4: 3, 5: 1, 6: 5, 7: 3}, 2)) == [2, 3, 4, 7]
    assert descendants({}, 2) == [2]


def test_memory_is_pss_and_not_one_of_its_parts() -> None:
    text = "5566-7ffe ---p 00000000 00:00 0   [rollup]\nRss:   11000 kB\nPss:    4321 kB\nPss_Anon:   900 kB\n"
    assert pss_bytes(text) == 4321 * 1024
    assert pss_bytes("") == 0


def test_the_most_memory_of_any_round_is_reported() -> None:
    result = Result(MILLION, [sample(MILLION, "reference")] * 2, [sample(MILLION, memory_bytes=n) for n in (7, 9)])
    assert summarise(result)["loadgen"]["memory_bytes"]["high"] == 9
    assert "memory_bytes" not in summarise(Result(RATE_CASE, [], [sample(RATE_CASE)]))["loadgen"]
