"""The command line of the benchmark harness: which cases it chooses, and in how many rounds."""

import pytest

from bench.cases import ALL_CASES, HELD, METRICS, OPEN_HOLD, SLOW_CASES, Case
from bench.run import HELP, cases_of, parse, turns
from bench.samples import Result


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
    assert not {"held", "metrics"} & {case.name for case, _ in cases_of(parse(["--all", "--reference-only"]))}
    with pytest.raises(SystemExit):
        parse(["--only", "held", "--reference-only"])
    assert cases_of(parse(["--only", "whole", "--reference-only"]))


@pytest.mark.parametrize(
    ("case", "reference_only", "programs"),
    [(OPEN_HOLD, False, 2), (OPEN_HOLD, True, 1), (METRICS, False, 2), (HELD[0], False, 1), (SLOW_CASES[0], False, 1)],
    ids=lambda value: value.label if isinstance(value, Case) else str(value),
)
def test_a_round_runs_each_program_of_its_case_once(case: Case, reference_only: bool, programs: int) -> None:
    assert len(turns(Result(case), reference_only=reference_only)) == programs


def test_the_help_names_every_case() -> None:
    assert [case.name for case in ALL_CASES if case.name not in HELP] == []
    assert "TIME" not in HELP
