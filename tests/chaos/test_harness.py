"""The harness itself: the same seed gives the same trials, all valid, and each invariant is able to fail."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import scenario as scenarios

from . import errnos, faults, generate, invariants, shrink, sweep
from .invariants import Evidence
from .runner import Outcome
from .trial import PHASES, Fault, Moment, Trial

TRIALS: Final = 120
SCENARIO: Final[dict[str, Any]] = {
    "name": "made",
    "lab": {"topology": "loopback"},
    "sources": {"addresses": "127.0.1.1-3", "strategy": "explicit"},
    "targets": [{"address": "127.0.0.1:9000", "sink": {"drop": "10%"}}, {"address": "127.0.0.1:9001", "sink": True}],
    "connections": 100,
    "workers": 3,
    "sinks": 2,
    "protocol": "echo",
    "close": "rst",
}
KILLED: Final = Fault("kill", Moment("hold", 0.5), "worker", {"signal": "SIGKILL", "index": 1})
PAUSED: Final = Fault("pause", Moment("hold", 0.5), "worker", {"for_s": 2.5, "index": 1})
ENDED: Final = Fault("end", Moment("opening", 0.5), "orchestrator", {"signal": "SIGTERM", "times": 1, "group": False})
TRIAL: Final = Trial(SCENARIO, (KILLED,))
SUMMARY: Final[dict[str, Any]] = {
    "complete": True,
    "incomplete_because": None,
    "arrivals": {"scheduled": 10, "started": 8, "not_started": 2},
    "outcomes": {"established": 7, "failed": 1, "in_flight": 0},
    "sources": [{"established": 3, "failed": 1}, {"established": 4, "failed": 0}],
    "latency_us": {"connect": {"count": 7}},
    "sink": {"agrees": True, "text": "as many", "accepted": 7, "sources": [{"accepted": 7}]},
    "generator": {"trustworthy": True},
}
LINE: Final = {"t_s": 1.0, "started": 8, "established": 7, "failed": 1, "not_started": 2}
FINE: Final = Evidence(TRIAL, 0, summary=SUMMARY, series=(LINE, LINE), run="results/made")


def summary(**changes: Any) -> Evidence:
    """Evidence of a run that is fine but for these keys of its summary."""
    return replace(FINE, summary=SUMMARY | changes)


#: For each invariant, evidence that it must not let pass.
BROKEN: Final = {
    "ended_in_time": replace(FINE, code=None),
    "no_traceback": replace(FINE, err="Traceback (most recent call last):\n  File\nKeyError: 1\n"),
    "nothing_unforeseen": replace(FINE, crashes=("KeyError: 1",)),
    "exit_code_of_the_contract": replace(FINE, code=-11, done=(KILLED,)),
    "exit_code_fits": replace(FINE, done=(KILLED,), during=(KILLED,)),
    "says_why": replace(FINE, code=3),
    "scheduled_adds_up": summary(arrivals={"scheduled": 10, "started": 8, "not_started": 1}),
    "started_adds_up": summary(outcomes={"established": 7, "failed": 2, "in_flight": 0}),
    "pairs_add_up": summary(sources=[{"established": 6, "failed": 1}]),
    "latencies_add_up": summary(latency_us={"connect": {"count": 6}}),
    "sides_agree": summary(sink={"agrees": False, "text": "one more", "accepted": 1, "sources": []}),
    "series_only_grows": replace(FINE, series=(LINE, LINE | {"established": 6})),
    "incomplete_says_why": summary(complete=False),
    "has_a_summary": replace(FINE, code=4, err="loadgen: gone\n", summary=None),
    "report_renders": replace(FINE, report="report: KeyError: 1"),
    "nothing_left": replace(FINE, left=("process 17: worker",)),
    "trust_is_withdrawn": replace(FINE, done=(PAUSED,), during=(PAUSED,)),
    "terminal_is_restored": replace(FINE, trial=replace(TRIAL, view="pty"), err="\x1b[?25l 7 open"),
    "json_is_whole": replace(FINE, trial=replace(TRIAL, options=("--json",)), out="{"),
}


def test_what_is_fine_breaks_no_invariant() -> None:
    assert invariants.broken(FINE) == {}


def test_every_invariant_has_evidence_that_breaks_it() -> None:
    assert list(BROKEN) == [invariant.__name__ for invariant in invariants.ALL]


@pytest.mark.parametrize("name", BROKEN)
def test_each_invariant_is_able_to_fail(name: str) -> None:
    assert name in invariants.broken(BROKEN[name])


@pytest.mark.parametrize(
    "evidence",
    [
        replace(FINE, code=0, done=(ENDED,)),
        replace(FINE, code=130, err="interrupted"),
        replace(FINE, code=4, err="lost"),
        replace(FINE, code=0, summary=None, series=()),
        replace(FINE, code=3, err="refused", trial=replace(TRIAL, faults=(Fault("none", Moment("start")),))),
    ],
    ids=["ended without 130", "130 without an end", "4 though complete", "0 without a summary", "3 without a fault"],
)
def test_an_exit_code_that_does_not_fit_is_found(evidence: Evidence) -> None:
    assert "exit_code_fits" in invariants.broken(evidence)


def test_a_remainder_that_is_named_is_no_failure() -> None:
    named = summary(sources=[{"established": 6, "failed": 1}], not_attributed={"established": 1})
    assert "pairs_add_up" not in invariants.broken(named)


def test_nothing_handles_sigkill() -> None:
    fault = Fault("kill", Moment("hold"), "orchestrator", {"signal": "SIGKILL", "index": 0})
    assert invariants.broken(replace(FINE, code=-9, summary=None, done=(fault,))) == {}


def test_the_same_seed_gives_the_same_trials() -> None:
    for index in range(20):
        assert generate.trial(7, index) == generate.trial(7, index)
    assert len({generate.trial(7, index).to_json() for index in range(20)}) == 20


def test_generated_trials_are_valid_and_of_every_kind() -> None:
    """`generate` asks loadgen.scenario itself; here every row of the table and every traffic has its turn."""
    trials = [generate.trial(3, index) for index in range(TRIALS)]
    kinds = {fault.kind for trial in trials for fault in trial.faults}
    assert kinds == {name for name, row in faults.TABLE.items() if row.available}
    assert {trial.view for trial in trials} == {"pipe", "pty", "quiet"}
    assert {trial.scenario["lab"]["topology"] for trial in trials} == {"loopback", "veth"}
    keys = {key for trial in trials for key in trial.scenario}
    assert {"churn", "hold", "heartbeat", "tls", "engine", "transport", "probes", "close"} <= keys


def test_a_trial_is_read_back_as_it_was_written() -> None:
    for index in range(20):
        trial = generate.trial(5, index)
        assert json.loads(Trial.from_json(trial.to_json()).to_json()) == json.loads(trial.to_json())


@given(st.integers(0, 1 << 32), st.sampled_from(sorted(faults.TABLE)))
def test_every_row_draws_faults_of_its_own_name_at_moments_that_are_known(seed: int, name: str) -> None:
    fault = faults.TABLE[name].draw(random.Random(seed), SCENARIO)
    assert fault.kind == name
    assert fault.moment.phase in PHASES
    assert str(fault)


def test_every_call_with_errors_is_made_to_fail() -> None:
    calls = {call for calls in errnos.LIVE.values() for call in calls} | set(errnos.FROM_THE_START)
    assert calls == set(errnos.ERRNOS)
    assert not set(errnos.ERRNOS) & set(errnos.HARMLESS)


def test_the_sweep_has_each_call_with_each_error_once() -> None:
    trials = [trial for _, trial in sweep.trials(1)]
    faults_of_sweep = [trial.faults[0] for trial in trials]
    seen = [(fault.kind, fault.role, fault.how["call"], fault.how["errno"]) for fault in faults_of_sweep]
    assert len(seen) == len(set(seen)) > 300
    for scenario in {json.dumps(trial.scenario) for trial in trials}:
        scenarios.parse(scenario)


def test_a_call_that_no_process_made_is_named() -> None:
    made, idle, rare = (
        Fault("inject", Moment("opening"), role, {"call": "bind", "errno": name})
        for role, name in (("worker", "EACCES"), ("sink", "EACCES"), ("worker", "ENOMEM"))
    )
    outcome = Outcome()
    outcome.take("0", replace(FINE, trial=Trial(SCENARIO, (made, idle, rare)), done=(made,)))
    assert outcome.missed == [idle, rare]
    assert outcome.never_made == ["sink bind"]


def test_an_even_seed_of_the_sweep_lets_calls_fail_before_the_load() -> None:
    moments = [{trial.faults[0].moment.phase for _, trial in sweep.trials(seed)} - {"start"} for seed in (1, 2)]
    assert moments == [{"opening"}, {"zygote", "sinks", "workers"}]


def test_a_made_failure_shrinks_to_what_brings_it() -> None:
    """It fails with two targets and the kill, whatever else there is."""
    tried = []

    def fails(trial: Trial) -> tuple[str, ...]:
        tried.append(trial)
        killed = any(fault.kind == "kill" for fault in trial.faults)
        return ("made",) if killed and len(trial.scenario["targets"]) == 2 else ()

    trial = Trial(SCENARIO, (PAUSED, KILLED, ENDED), "pty", ("--json", "--dashboard"))
    smallest = shrink.shrink(trial, ["made"], fails)
    assert smallest.faults == (KILLED,)
    assert (smallest.view, smallest.options) == ("pipe", ())
    assert (smallest.scenario["workers"], smallest.scenario["sinks"]) == (1, 1)
    assert len(smallest.scenario["targets"]) == 2
    assert smallest.scenario["sources"]["addresses"] == "127.0.1.1"
    assert "protocol" not in smallest.scenario
    assert len(tried) <= shrink.TRIES_MAX


def test_a_failure_that_does_not_come_again_stays_as_it_is() -> None:
    trial = Trial(SCENARIO, (KILLED,))
    assert shrink.shrink(trial, ["made"], lambda _: ()) == trial


def test_the_page_names_every_kind_and_every_invariant() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text()
    for name, row in faults.TABLE.items():
        assert f"| `{name}` | {row.hits} | {row.tool} | {row.why} |" in page
    for invariant in invariants.ALL:
        assert f"`{invariant.__name__}`" in page
