"""Where nothing is drawn over: about one line per second, the same words at the same places so that grep finds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.text import Text

from loadgen import format as fmt
from loadgen.model import Plan
from loadgen.results.schema.line import Line
from loadgen.views.live import wording
from loadgen.views.live.figures import LATENCIES, Figures, Recall
from loadgen.views.live.rows import ERRORS_MAX
from loadgen.views.live.view import NoticesOnly

#: Lines are at least this far apart, but for the first of a phase; a little less than a second, which no beat keeps
#: exactly.
_APART_MIN_S: Final = 0.9
#: And at most this far: CI systems take a job for hung after ten minutes without a word.
_APART_MAX_S: Final = 60.0


class LinePace:
    """How far lines are apart: a second in the first minute, later a sixtieth of the time so far, at most a minute.

    So a log has less than 300 lines after an hour, and grows by one in each minute after that. The time is that of all
    runs of one command: a matrix of short runs is no reason to begin anew.
    """

    def __init__(self) -> None:
        self._runs_before_s = self._this_run_s = 0.0

    def apart_s(self, t_s: float) -> float:
        """Return the seconds between two lines now. t_s: since the start of this run."""
        if t_s < self._this_run_s:
            self._runs_before_s += self._this_run_s
        self._this_run_s = t_s
        return min(max((self._runs_before_s + t_s) / 60, _APART_MIN_S), _APART_MAX_S)


class PlainLines(NoticesOnly):
    """About one line per second, fewer in a long run: for a log, a pipe, a CI job."""

    def __init__(self, console: Console, pace: LinePace | None = None) -> None:
        super().__init__(console)
        self._recall = Recall()
        self._printed: Line | None = None
        self._pace = pace or LinePace()

    def update(self, plan: Plan, line: Line) -> None:
        """Print the line, if it is due."""
        apart_s = self._pace.apart_s(line.t_s)
        last = self._printed
        if last and last.phase is line.phase and line.t_s - last.t_s < apart_s:
            self._recall.pass_over(line)
            return
        self._printed = line
        text = ", ".join(_parts(plan, self._recall.figures(plan, line)))
        self._console.print(Text(text), soft_wrap=True)


def _parts(plan: Plan, figures: Figures) -> Iterator[str]:
    """The parts that every line has, then those that a run may have."""
    line, pace = figures.line, figures.pace
    head = f"{figures.t_s:7.1f} s  {wording.PHASES[figures.phase]:8} "
    rate = fmt.rate(pace.established_per_s)
    if figures.due_per_s is not None:
        rate += f" of {fmt.rate(figures.due_per_s)} due"
    if plan.churn:
        if plan.ceiling and plan.ceiling.per_s is not None:
            rate += f" (predicted at most {fmt.rate(plan.ceiling.per_s)})"
        yield f"{head}{line.established:>9,} established"
        yield rate
        yield f"{line.open:,} open"
    else:
        yield f"{head}{line.open:>9,} open of {plan.connections:,}"
        yield rate
    yield f"{line.in_flight:,} in flight"
    yield f"{line.failed:,} failed"
    yield f"{line.lost:,} lost"
    if left := wording.left(figures.left):
        yield left
    if figures.occupancy.fullest:
        fullest = figures.occupancy.fullest[0]
        yield f"fullest {fullest.name} {fmt.percent(fullest.share)}"
    if line.sink:
        yield f"sink {line.sink.open:,}"
    if figures.time_wait:
        yield "TIME-WAIT " + ", ".join(wording.time_wait(figures.time_wait))
    for name in LATENCIES:
        if spread := pace.spreads.get(name):
            yield f"{name} p50 {spread.p50_us:,.0f} us p99 {spread.p99_us:,.0f} us"
    if figures.lag:
        yield f"lag p99 {figures.lag.p99_us:,.0f} us"
    if pace.cpu_cores is not None:
        yield wording.cpu(pace.cpu_cores)
    yield from _trouble(plan, figures)


def _trouble(plan: Plan, figures: Figures) -> Iterator[str]:
    for agent in filter(wording.in_trouble, figures.line.of_agents):
        yield f"agent {wording.one_line(agent.name)} {wording.state_of(agent)}"
    workers = figures.line.workers
    if workers and workers.alive < plan.workers:
        yield f"{workers.alive:,} of {plan.workers:,} workers"
    if workers and workers.stalled:
        yield f"{workers.stalled:,} stalled"
    for error in figures.failures[:ERRORS_MAX]:
        rate = f" ({fmt.rate(error.per_s)})" if error.per_s else ""
        yield wording.one_line(f"{error.syscall} {error.errno} {error.count:,}{rate}")
