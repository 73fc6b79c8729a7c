"""Searches for the highest value that holds: plans, trials and summaries, made by the search itself against a wall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from loadgen.find import answer
from loadgen.find.goal import NextTrial
from loadgen.find.search import step
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FailedCondition, FindPlan, FindSummary, TrialResult, TrialStatus
from loadgen.results.schema.matrix_plan import CellPlan

ENDED: Final = Event(event=answer.ENDED, text="the search came to its end", t_s=99.5)
INTERRUPTED: Final = Event(event=answer.INTERRUPTED, text="interrupted; --resume goes on", t_s=30.0)
RESUMED: Final = Event(event=answer.RESUMED, text="resumed after 3 trials", t_s=30.0)
LATE: Final = Event(event=answer.TIME_USED_UP, text="the time of the search, 10 s, is used up", t_s=60.0)
RUN: Final = "20260131T120000Z-ceiling-1f3a"
_OWN: Final = "trials/?"
NONE_FAILED: Final = "outcomes.failed == 0"


def plan(**changes: Any) -> FindPlan:
    """A search for a rate of churn, 50/s to 2,000/s."""
    keys = {
        "scenario": "ceiling",
        "started_at": "2026-01-31T12:00:00+00:00",
        "kernel": "6.18.44",
        "key": "arrival.rate",
        "unit": "/s",
        "whole": False,
        "start": 50.0,
        "stop": 2000.0,
        "precision": 0.02,
        "agree": 2,
        "trials_max": 60,
        "mode": "trials",
        "scenario_sha256": "0" * 64,
    }
    return FindPlan(**{**keys, **changes})


def trial(number: int, value: float, outcome: TrialStatus = TrialStatus.HELD, **changes: Any) -> TrialResult:
    """A trial as the ceiling of TIME-WAIT makes it, with some values changed."""
    failed = outcome is TrialStatus.FAILED
    keys: dict[str, Any] = {
        "number": number,
        "value": value,
        "outcome": outcome,
        "stage": "narrowing",
        "reason": f"expected {NONE_FAILED}, observed 9" if failed else None,
        "failed": (FailedCondition(expression=NONE_FAILED, observed=9),) if failed else (),
        "run": f"trials/{number}",
        "duration_s": 3.25,
        "steady_s": (1.0, 3.0),
        "established_per_s": min(value, 196.0),
        "failed_share": max(1 - 196.0 / value, 0.0) if failed else 0.0,
        "connect_p99_us": 265.4,
        "limit": "time-wait" if failed else "none",
        "verdict": "Ports wait in TIME-WAIT." if failed else "No limit was met.",
        "remedy": "close with RST: +100" if failed else None,
        "predicted": 200.0,
    }
    if outcome is TrialStatus.UNKNOWN:
        keys |= {"reason": "a worker was lost", "limit": None, "verdict": None, "run": None, "predicted": None}
        keys |= {"established_per_s": None, "failed_share": None, "connect_p99_us": None, "steady_s": None}
    return TrialResult(**{**keys, **changes})


def numbered(*trials: TrialResult) -> tuple[TrialResult, ...]:
    """The same trials, numbered in this order, each with a run of its own where it was made without one."""
    return tuple(
        replace(each, number=number, run=f"trials/{number}" if each.run == _OWN else each.run)
        for number, each in enumerate(trials, 1)
    )


def holds(*values: float, **changes: Any) -> list[TrialResult]:
    """Trials that held; numbers are still to be given."""
    return [trial(1, value, **{"run": _OWN, **changes}) for value in values]


def fails(*values: float, **changes: Any) -> list[TrialResult]:
    """Trials that failed; numbers are still to be given."""
    return [trial(1, value, TrialStatus.FAILED, **{"run": _OWN, **changes}) for value in values]


def unknown(*values: float, **changes: Any) -> list[TrialResult]:
    """Trials that did not work; numbers are still to be given."""
    return [trial(1, value, TrialStatus.UNKNOWN, **changes) for value in values]


def made(of: FindPlan, *walls: float, each: Callable[[TrialResult], TrialResult] = lambda made: made) -> Any:
    """The trials that the search makes, cell by cell, where exactly what is above the wall of the cell fails."""
    trials: list[TrialResult] = []
    for cell, wall in enumerate(walls):
        while isinstance(following := step(answer.goal_of(of), answer.trials_of(trials, cell)), NextTrial):
            outcome = TrialStatus.HELD if following.value <= wall else TrialStatus.FAILED
            number, stage = len(trials) + 1, following.purpose.value
            rates = {"established_per_s": min(following.value, wall)}
            rates["failed_share"] = round(max(1 - wall / following.value, 0.0), 6)
            trials.append(each(trial(number, following.value, outcome, cell=cell, stage=stage, **rates)))
    return tuple(trials)


def summary(
    trials: Sequence[TrialResult] | None = None, *events: Event, of: FindPlan | None = None, run: str = RUN
) -> FindSummary:
    """The summary of a search; without trials that of one that met its wall at 196/s."""
    of = of or plan()
    return answer.summarise(of, made(of, 196.0) if trials is None else trials, events or (ENDED,), run=run)


def matrix_plan(**changes: Any) -> FindPlan:
    """A search for each value of tcp_tw_reuse."""
    key = "lab.sysctls.net.ipv4.tcp_tw_reuse"
    return plan(cells=tuple(CellPlan(settings={key: value}) for value in (0, 1)), **changes)


def reuse(*walls: float) -> FindSummary:
    """The summary of a search for each value of tcp_tw_reuse, with these walls."""
    of = matrix_plan()
    return summary(made(of, *(walls or (66.0, 196.0))), of=of)


def directory() -> dict[str, bytes]:
    """The files of a search for each value of tcp_tw_reuse, by name."""
    of = matrix_plan(at_least=60.0)
    trials = made(of, 66.0, 196.0)
    return {
        "scenario.yaml": b"name: ceiling\n",
        "find.json": files.pretty(of).encode(),
        "trials.jsonl": b"".join(map(files.line_of, trials)),
        "events.jsonl": files.line_of(ENDED),
        "summary.json": files.pretty(summary(trials, of=of)).encode(),
    }
