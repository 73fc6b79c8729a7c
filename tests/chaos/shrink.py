"""From a trial that fails to the smallest that still does: fewer ends and processes, features off, one fault.

A smaller trial counts if it breaks one of the same invariants. Chance has a part in every trial, so each step that
fails to fail is tried twice before it is given up, and the number of tries has a bound.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from . import invariants
from .perform import perform
from .trial import Trial

TRIES_MAX: Final = 40
_EACH: Final = 2
#: Keys that a scenario does without, one after the other.
_OPTIONAL: Final = ("probes", "heartbeat", "tls", "protocol", "engine", "transport", "close", "arrival", "in_flight")


@dataclass(frozen=True)
class Performer:
    """Performs a trial; returns the names of the invariants that it broke."""

    base: Path
    shim: Path | None

    def __call__(self, trial: Trial) -> Collection[str]:
        evidence = perform(trial, self.base, self.shim)
        broken = invariants.broken(evidence)
        shutil.rmtree(evidence.home, ignore_errors=True)
        return broken


def shrink(trial: Trial, broken: Collection[str], fails: Callable[[Trial], Collection[str]]) -> Trial:
    """Return the smallest trial found that breaks one of these invariants."""
    tries = TRIES_MAX
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for candidate in candidates(trial):
            for _ in range(_EACH):
                if tries <= 0:
                    return trial
                tries -= 1
                if set(fails(candidate)) & set(broken):
                    trial, smaller = candidate, True
                    break
            if smaller:
                break
    return trial


def candidates(trial: Trial) -> Iterator[Trial]:
    """Yield trials that are smaller by one step, those that leave out most first."""
    if len(trial.faults) > 1:
        for fault in trial.faults:
            yield replace(trial, faults=tuple(other for other in trial.faults if other is not fault))
    for option in trial.options:
        yield replace(trial, options=tuple(other for other in trial.options if other != option))
    if trial.view == "pty" and not any(fault.kind == "hangup" for fault in trial.faults):
        yield replace(trial, view="pipe")
    for scenario in _smaller(trial.scenario):
        if _is_valid(scenario):
            yield replace(trial, scenario=scenario)
    for index, fault in enumerate(trial.faults):
        for how in _milder(fault.how):
            faults = list(trial.faults)
            faults[index] = replace(fault, how=how)
            yield replace(trial, faults=tuple(faults))


def _smaller(scenario: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    def changed() -> dict[str, Any]:
        return copy.deepcopy(dict(scenario))

    for key in ("workers", "sinks"):
        if scenario[key] > 1:
            yield changed() | {key: 1}
    if len(scenario["targets"]) > 1:
        yield changed() | {"targets": copy.deepcopy(scenario["targets"][:1])}
    first, _, last = scenario["sources"]["addresses"].partition("-")
    if last:
        smaller = changed()
        smaller["sources"]["addresses"] = first
        yield smaller
    for key in _OPTIONAL:
        if key in scenario:
            yield {name: value for name, value in changed().items() if name != key}
    if any(target["sink"] is not True for target in scenario["targets"]):
        smaller = changed()
        for target in smaller["targets"]:
            target["sink"] = True
        yield smaller
    if scenario.get("connections", 0) > 1:
        yield changed() | {"connections": max(1, scenario["connections"] // 4)}
    if scenario["sources"]["strategy"] != "late-range":
        smaller = changed()
        smaller["sources"]["strategy"] = "late-range"
        yield smaller


def _milder(how: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if how.get("times", 1) != 1:
        yield {**how, "times": 1}
    if how.get("connections", 1) > 1:
        yield {**how, "connections": how["connections"] // 4 or 1}
    if how.get("group"):
        yield {**how, "group": False}


def _is_valid(scenario: Mapping[str, Any]) -> bool:
    import json

    from loadgen import scenario as scenarios
    from loadgen.errors import LoadgenError

    try:
        scenarios.parse(json.dumps(scenario))
    except LoadgenError:
        return False
    return True
