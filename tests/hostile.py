"""Recorded values with an attack in every text that somebody else may choose."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from msgspec import structs

from loadgen.model import Plan
from loadgen.results.run_directory import Run
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary

ATTACK: Final = "</script><img src=x onerror=alert(1)><!--\u2028\u202e\x1b[2J'\"&"
#: Texts of which the type allows only some.
_CHOICES: Final = frozenset(("transport", "loop", "strategy", "close", "engine", "speaks", "phase", "status"))
_Shape = TypeVar("_Shape")


def attacked(value: Any, attack: str = ATTACK) -> Any:
    """The same JSON with the attack behind every text that is free to choose; no key is changed."""
    if isinstance(value, str):
        return value + attack
    if isinstance(value, list):
        return [attacked(item, attack) for item in value]
    if isinstance(value, dict):
        return {key: item if key in _CHOICES else attacked(item, attack) for key, item in value.items()}
    return value


def summary(recorded: RunSummary, attack: str = ATTACK) -> RunSummary:
    """The summary of a run, attacked."""
    data = attacked(files.plain(recorded), attack)
    data["kernel"]["delta"] = {attack: 1}
    return files.convert(data, RunSummary)


def run(recorded: Run, attack: str = ATTACK) -> Run:
    """A run directory, attacked; it has no summary."""

    def of(value: object, shape: type[_Shape]) -> _Shape:
        return files.convert(attacked(files.plain(value), attack), shape)

    return Run(
        path=recorded.path,
        scenario_text=recorded.scenario_text + attack,
        plan=of(recorded.plan, Plan),
        host=structs.replace(of(recorded.host, Host), sysctls={attack: attack}),
        series=tuple(of(line, Line) for line in recorded.series),
        events=tuple(of(event, Event) for event in recorded.events),
        summary=None,
    )
