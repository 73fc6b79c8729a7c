"""Run directories of several hosts merged into one: `loadgen report A B --merge OUT`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.errors import UsageError
from loadgen.format import seconds
from loadgen.results import run_directory
from loadgen.results.merging import series, whole
from loadgen.results.merging.whole import Share
from loadgen.results.run_directory import Run, RunWriter
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line

#: The time in front of the name of a run directory, and what cannot stand in the name of an agent.
_TIME: Final = re.compile(r"^\d{8}T\d{6}Z-")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX: Final = 60
#: Runs that one command starts on several hosts are closer together than this.
_APART_S: Final = 2.0


def merge(paths: Sequence[Path], out: Path) -> Path:
    """Make a run directory of the whole from those of its shares, and return it; summary and report are not made yet.

    paths: two or more. out: must not be there yet.

    Raises: UsageError for what is no run directory, or runs that have no common whole; ResultsError when a write fails.
    """
    runs = {name: run_directory.read(path) for name, path in _named(paths).items()}
    _require_alike(runs)
    shares = _shares(runs)
    plan = whole.plan_of(_common_name(runs), [(name, run.plan) for name, run in runs.items()])
    first = next(iter(runs.values()))
    private = any(run.path.stat().st_mode & 0o077 == 0 for run in runs.values())
    writer = RunWriter(out.parent, plan.name, out, private=private)
    try:
        for name, run in runs.items():
            run_directory.copy_files(run.path, run_directory.agent_path(writer.path, name))
        writer.write_scenario(first.scenario_text)
        writer.write_plan(plan)
        writer.write_host(files.plain(whole.host_of(shares)))
        for line in lines_of(runs, shares, plan.interval_s):
            writer.append_series(line)
        for event in [*_remarks(runs), *whole.events_of(shares)]:
            writer.append_event(event)
    finally:
        writer.close()
    return writer.path


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the directories by names for their agents: that of the directory, without the time in front of it."""
    if len(paths) < 2:
        raise UsageError("one run directory is nothing to merge; give two or more")
    named: dict[str, Path] = {}
    for path in paths:
        resolved = path.resolve()
        if any(resolved == other.resolve() for other in named.values()):
            raise UsageError(f"{path} is given twice; give each run directory once")
        short = _NO_NAME.sub("-", _TIME.sub("", resolved.name)).strip("-._")[-_NAME_MAX:].strip("-._") or "agent"
        further = (f"{short}-{number}" for number in itertools.count(2))
        name = next(name for name in itertools.chain([short], further) if name not in named)
        named[name] = path
    return named


def _require_alike(runs: Mapping[str, Run]) -> None:
    """Refuse runs whose sum has no meaning. Raises: UsageError."""
    first_name, first = next(iter(runs.items()))
    for name, run in runs.items():
        if run.plan.agents:
            raise UsageError(f"{run.path} is itself of several agents; give the directories in {run.path / 'agents'}")
        for what, values in (
            ("churns and the other holds", [bool(run.plan.churn), bool(first.plan.churn)]),
            ("goes over another transport", [run.plan.transport, first.plan.transport]),
            ("carries another protocol", [run.plan.traffic.protocol, first.plan.traffic.protocol]),
        ):
            if values[0] != values[1]:
                raise UsageError(
                    f"{name} and {first_name} cannot be one run: one {what}; `loadgen compare` sets two beside"
                )


def _shares(runs: Mapping[str, Run]) -> list[Share]:
    """Return the runs on one axis of time, which begins with the first of them."""
    starts_s = {name: _start_s(run) for name, run in runs.items()}
    known = [start_s for start_s in starts_s.values() if start_s is not None]
    first_s = min(known, default=0.0)
    return [
        Share(name, run.plan, run.host, run.events, 0.0 if (start_s := starts_s[name]) is None else start_s - first_s)
        for name, run in runs.items()
    ]


def _start_s(run: Run) -> float | None:
    """Return when the load of a run started by its host's clock, seconds since 1970; None where it does not say."""
    if (start := run.start) and start.at_ns is not None:
        return start.at_ns / NS_PER_S
    try:
        return datetime.fromisoformat(run.host.started_at or "").timestamp()
    except ValueError:
        return None


def _remarks(runs: Mapping[str, Run]) -> Iterator[Event]:
    """Yield what a reader of the whole has to know about how it was made."""
    yield Event(event="note", text=f"merged from {len(runs)} run directories, which were made without a coordinator")
    if any(run.plan.expect for run in runs.values()):
        yield Event(event="note", text="the expectations of the runs are about each of them; its own summary has them")
    if rough := [name for name, run in runs.items() if run.start is None]:
        text = f"when {' and '.join(rough)} started is known to a second at best: files of an earlier version"
        yield Event(event="note", text=text)
    apart_s = [share.offset_s for share in _shares(runs)]
    if (most_s := max(apart_s)) > _APART_S:
        yield Event(event="note", text=f"the runs started up to {seconds(most_s)} apart, by the clocks of their hosts")


def lines_of(runs: Mapping[str, Run], shares: Sequence[Share], interval_s: float) -> Iterator[Line]:
    """Yield the series of the whole."""
    pairs = {name: len(run.plan.pairs) for name, run in runs.items()}
    agents = series.Agents(pairs, interval_s, [share.offset_s for share in shares])
    for index, (run, share) in enumerate(zip(runs.values(), shares, strict=True)):
        for line in run.series:
            agents.add(index, line)
        agents.end(index, lost=not share.ended)
    yield from agents.lines()


def _common_name(runs: Mapping[str, Run]) -> str:
    """Return the name of the scenario, or the names of several."""
    return "-and-".join(dict.fromkeys(run.plan.name for run in runs.values()))[:_NAME_MAX]
