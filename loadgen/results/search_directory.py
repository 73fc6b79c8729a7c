"""The directory of a search for the highest value that holds.

results/<UTC time>-<name>-<4 hex>/
    scenario.yaml    as it was given
    find.json        what varies, how far, and how sure it has to be
    trials.jsonl     one object for each trial that came to an end
    events.jsonl     what happened between the trials, and why it all ended
    trials/<n>/      the run directory of each trial, n from 1
    trials/<n>.cut-1/  a trial that was cut off and made again since, never read
    summary.json, report.html    made from find.json and trials.jsonl
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.errors import UsageError
from loadgen.results import stored
from loadgen.results.directory_files import (
    SCENARIO,
    HeldDirectory,
    append_line,
    not_ours,
    read_all_lines,
    read_object,
    read_text,
    replace_file,
    set_aside,
)
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FindPlan, FindSummary, TrialResult

_FIND: Final = "find.json"
_TRIALS: Final = "trials.jsonl"
_EVENTS: Final = "events.jsonl"
#: The folder of the trials.
RUNS: Final = "trials"
_SUMMARY: Final = "summary.json"
_REPORT: Final = "report.html"


class SearchWriter(HeldDirectory):
    """Writer of the directory of a search, except for the runs in it. Every method raises ResultsError."""

    def __init__(self, results: Path, name: str, at: Path | None = None, *, private: bool = False) -> None:
        """See `HeldDirectory`."""
        super().__init__(results, name, at, private=private, lines=(_TRIALS, _EVENTS))

    def run(self, number: int) -> Path:
        """Return the path of the run directory of a trial, which must not be there yet; number from 1."""
        path = self.path / RUNS / str(number)
        set_aside(path)
        return path

    def write_begin(self, scenario: str, plan: FindPlan) -> None:
        """Write scenario and plan, before the first trial."""
        replace_file(self.path / SCENARIO, scenario)
        replace_file(self.path / _FIND, files.pretty(plan))

    def append_trial(self, trial: TrialResult) -> None:
        """Append a trial that came to an end."""
        append_line(self.path / _TRIALS, trial)

    def append_event(self, event: Event) -> None:
        """Append an event."""
        append_line(self.path / _EVENTS, event)


@dataclass(frozen=True, slots=True)
class Search:
    """The directory of a search read back."""

    path: Path
    scenario_text: str
    plan: FindPlan
    trials: tuple[TrialResult, ...]
    events: tuple[Event, ...]


def is_search(path: Path) -> bool:
    """Return whether this is the directory of a search."""
    return stored.is_there(path / _FIND)


def read(path: Path) -> Search:
    """Read the directory of a search, whatever state it was left in. Raises: UsageError."""
    plan = read_object(path / _FIND, FindPlan, "a search")
    if plan is None:
        raise UsageError(f"{path / _FIND}: empty; run {path / SCENARIO} anew")
    trials = read_all_lines(path / _TRIALS, TrialResult)
    for number, trial in enumerate(trials, 1):
        if trial.number != number or trial.cell >= len(plan.cells):
            error = ValueError(f"line {number} is about trial {trial.number} of cell {trial.cell}")
            raise not_ours(path / _TRIALS, "the trials of a search", error)
    return Search(
        path=path,
        scenario_text=read_text(path / SCENARIO),
        plan=plan,
        trials=trials,
        events=read_all_lines(path / _EVENTS, Event),
    )


def write_results(path: Path, *, summary: FindSummary, report: str) -> Path:
    """Write the summary and the report of a search, and return the report's path. Raises: ResultsError."""
    replace_file(path / _SUMMARY, files.pretty(summary))
    replace_file(path / _REPORT, report)
    return path / _REPORT
