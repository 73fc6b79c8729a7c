"""The command line of the benchmark harness: which cases it chooses, and in how many rounds."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from bench import run
from bench.cases import ALL_CASES, HALF_RATE, HELD, METRICS, OPEN_HOLD, SLOW_CASES, WATCH, Case
from bench.run import HELP, cases_of, measure, parse, turns
from bench.samples import Recording, Result, Sample, Watching


def test_a_million_is_measured_only_when_asked_for() -> None:
    def names(*flags: str) -> set[str]:
        return {case.name for case, _ in cases_of(parse(flags))}

    assert "million" not in names() | names("--slow") | names("--quick", "--slow")
    assert names("--million") == names() | {"million"}
    assert "million" in names("--million", "--reference-only")
    assert names("--reference-only") == {"open-hold", "last-quarter", "churn", "half-rate"}
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


def test_all_is_what_has_no_flag_of_its_own() -> None:
    def labels(*flags: str) -> set[str]:
        return {case.label for case, _ in cases_of(parse(flags))}

    slow = {case.label for case in SLOW_CASES}
    everything = {case.label for case in ALL_CASES}
    assert labels("--all", "--slow", "--million") == everything
    assert labels("--all") == everything - slow - {"million, late-range"}
    assert labels("--only", "held") == {case.label for case in HELD}
    assert labels("--only", "by-tenth", "--slow") - labels("--only", "by-tenth") == {"by-tenth, late"}
    assert not labels() & (slow | {case.label for case in HELD})


def test_a_case_without_reference_is_nothing_for_the_reference_alone() -> None:
    assert not {"held", "metrics", "watch"} & {case.name for case, _ in cases_of(parse(["--all", "--reference-only"]))}
    with pytest.raises(SystemExit):
        parse(["--only", "held", "--reference-only"])
    assert cases_of(parse(["--only", "whole", "--reference-only"]))


@pytest.mark.parametrize(
    ("case", "reference_only", "programs"),
    [(OPEN_HOLD, False, 2), (OPEN_HOLD, True, 1), (HELD[0], False, 1), (SLOW_CASES[0], False, 1)],
    ids=lambda value: value.label if isinstance(value, Case) else str(value),
)
def test_a_round_runs_each_program_of_its_case_once(case: Case, reference_only: bool, programs: int) -> None:
    assert len(turns(Result(case), reference_only=reference_only)) == programs


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Programs that answer at once; who was run, and at which arrival rate."""
    ran: list[tuple[str, int]] = []
    rates = itertools.cycle([9_000.0, 21_400.0, 30_000.0])

    def program(name: str, case: Case) -> Sample:
        ran.append((name, case.arrival_per_s))
        rate_per_s = next(rates)
        return Sample(name, rate_per_s, case.connections, failed=0, lost=0)

    monkeypatch.setattr(run, "write_sysctl", lambda *_: None)
    monkeypatch.setattr(run, "wait_until_quiet", lambda: 0)
    monkeypatch.setattr(run, "run_reference", lambda case: program("reference", case))
    monkeypatch.setattr(run, "run_loadgen", lambda case: program("loadgen", case))
    monkeypatch.setattr(run, "run_recording", lambda _: Recording(41.0, 40.0, 41.0))
    return ran


def test_half_of_the_rate_is_of_the_median_of_the_reference_without_a_schedule(
    nothing_runs: list[tuple[str, int]],
) -> None:
    result = Result(HALF_RATE)
    measure(result, 2, reference_only=False, log=Console(quiet=True))
    one, other = ("reference", 10_500), ("loadgen", 10_500)
    assert nothing_runs == [("reference", 0)] * 3 + [one, other, other, one]
    assert (result.case.size, len(result.baseline), len(result.loadgen)) == ("12,000 at 10,500/s", 2, 2)


def test_recording_is_measured_without_a_run(nothing_runs: list[tuple[str, int]]) -> None:
    result = Result(METRICS)
    measure(result, 3, reference_only=False, log=Console(quiet=True))
    assert (len(result.recording), nothing_runs) == (3, [])


def test_sockets_are_watched_in_every_round_while_the_same_connections_are_held(
    nothing_runs: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    @contextmanager
    def held(case: Case) -> Iterator[str]:
        done.append(case.name)
        yield "reader"
        done.append("let go")

    def watch(reader: str, case: Case) -> Watching:
        done.append((reader, case.name))
        return Watching(60_002, 4, 0.25, 0.05)

    monkeypatch.setattr(run, "held", held)
    monkeypatch.setattr(run, "watch", watch)
    result = Result(WATCH)
    measure(result, 2, reference_only=False, log=Console(quiet=True))
    assert done == ["watch", ("reader", "watch"), ("reader", "watch"), "let go"]
    assert (len(result.watching), nothing_runs) == (2, [])


def test_the_help_names_every_case() -> None:
    assert [case.name for case in ALL_CASES if case.name not in HELP] == []
    assert "TIME" not in HELP
