"""The report of a day: how long it takes to make from a series of 86,400 lines, and how large it is.

    python -m bench.day [--lines N] [--keep DIRECTORY]

The series is made and not waited for: that of a real run of some seconds, with churn and a line per second, is repeated
with its running totals carried on. What a line costs to read and to draw is then as in the run, and only the times are
made up. The exit code is 0 where both limits are kept, 1 where one is not, 3 where no run can be made here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from loadgen.errors import ExitCode
from loadgen.results.schema.counters import SERIES_COUNTERS

LINES: Final = 86_400
SECONDS_MAX: Final = 20.0
REPORT_BYTES_MAX: Final = 500_000

_RUN_S: Final = 12
_SCENARIO: Final = f"""
name: day
lab: {{}}
sources: {{addresses: 127.0.1.1-127.0.1.4}}
targets: [{{address: "127.0.0.1:9000", sink: true}}]
churn: {{duration: {_RUN_S}s, concurrency: 64}}
arrival: {{rate: 200/s}}
close: rst
interval: 1s
workers: 2
sinks: 1
"""
#: Of a line of a series, beside its counters: lists of rows that end with counts since the beginning of the run.
_TALLIES: Final = ("errors", "pairs")

#: Running totals of a line.
_TOTALS: Final = ("t_s", "scheduled", *(row.name for row in SERIES_COUNTERS))

Json = dict[str, Any]
Rows = Sequence[Sequence[Any]]


def stretched(lines: Sequence[Json], count: int) -> Iterator[Json]:
    """Yield `count` lines: the first and the last of `lines`, and between them those of the first phase, in turn.

    lines: at least three, as in series.jsonl. Raises: ValueError if none but the first is of its phase.
    """
    first, *others, last = lines
    between = [line for line in others if line["phase"] == first["phase"]]
    if not between:
        raise ValueError(f"a series of {len(lines)} lines has too few of one phase; make a longer run")
    step = between[-1]
    yield first
    for number in range(count - 2):
        laps, at = divmod(number, len(between))
        yield _later(between[at], first, step, laps)
    yield _later(last, first, step, (count - 2) // len(between))


def _later(line: Json, first: Json, step: Json, laps: int) -> Json:
    """Return a line as it would be after `laps` more times of what happened between `first` and `step`."""
    carried = {name: line[name] + laps * (step[name] - first[name]) for name in _TOTALS}
    tallies = {name: _tallies(line[name], first[name], step[name], laps) for name in _TALLIES}
    return {**line, **carried, **tallies}


def _tallies(rows: Rows, first: Rows, step: Rows, laps: int) -> Rows:
    """Carry the counts of rows on: of each pair, known by its place, or of each error, known by its names."""
    before, after = _counts(first), _counts(step)
    carried = []
    for key, counts in _counts(rows).items():
        zeros = (0,) * len(counts)
        added = zip(counts, before.get(key, zeros), after.get(key, zeros), strict=True)
        carried.append([*key[1:], *(count + laps * (b - a) for count, a, b in added)])
    return carried


def _counts(rows: Rows) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Return the numbers of each row by its names; where it has none, by its place."""
    found = {}
    for place, row in enumerate(rows):
        names = [value for value in row if isinstance(value, str)]
        found[("" if names else place, *names)] = tuple(value for value in row if isinstance(value, int))
    return found


def make(directory: Path, lines: int) -> Path:
    """Make a run, and stretch its series. Return the run directory. Raises: CalledProcessError."""
    scenario = directory / "day.yaml"
    scenario.write_text(_SCENARIO)
    command = [sys.executable, "-m", "loadgen", "run", str(scenario), "--out", str(directory), "--json", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (run,) = (path for path in directory.iterdir() if path.is_dir())
    series = run / "series.jsonl"
    recorded = [json.loads(line) for line in series.read_text().splitlines()]
    with series.open("w") as file:
        for line in stretched(recorded, lines):
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    (run / "summary.json").unlink()
    (run / "report.html").unlink()
    return run


def main() -> int:
    """Make the day and its report, and print what it took."""
    parser = argparse.ArgumentParser(prog="bench.day", description="how long the report of a day takes, and its size")
    parser.add_argument("--lines", type=int, default=LINES, help=f"lines of the series (default {LINES:,})")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="where the run directory stays (default: nowhere)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loadgen-day-") as scratch:
        directory = given.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            run = make(directory, given.lines)
        except subprocess.CalledProcessError as error:
            return int(error.returncode)
        begun_s = time.monotonic()
        reporter = subprocess.Popen([sys.executable, "-m", "loadgen", "report", str(run)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(reporter.pid, 0)
        took_s = time.monotonic() - begun_s
        if code := os.waitstatus_to_exitcode(status):
            return code
        size = (run / "report.html").stat().st_size
        print(f"series   {given.lines:,} lines, {(run / 'series.jsonl').stat().st_size / 1e6:,.0f} MB")
        print(f"report   {took_s:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of CPU time), limit {SECONDS_MAX:g} s")
        print(f"size     {size / 1e3:,.0f} kB, limit {REPORT_BYTES_MAX / 1e3:g} kB")
        print(f"memory   {usage.ru_maxrss / 1024:,.0f} MiB at most")
        return ExitCode.FINE if took_s < SECONDS_MAX and size < REPORT_BYTES_MAX else ExitCode.BUG


if __name__ == "__main__":
    sys.exit(main())
