"""What a person watches while a run goes on: a live table on a terminal, plain lines elsewhere.

Everything here goes to stderr, so that stdout stays the summary's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadgen.metrics import histogram
from loadgen.model import Ceiling, Phase, Plan

_WORDS = {
    Phase.RAMP: "opening",
    Phase.HOLD: "holding",
    Phase.CHURN: "churning",
    Phase.DRAIN: "closing",
    Phase.DONE: "done",
}
#: Of errors and of sources, a terminal shows this many, the worst first.
_ROWS_MAX = 4


class View(Protocol):
    """What `loadgen run` tells the person watching."""

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """A new line of the series."""

    def notice(self, text: str) -> None:
        """Something happened that is worth a sentence."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Quiet:
    """Says nothing but what went wrong."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """A sentence on a line of its own."""
        self._console.print(Text(f"loadgen: {text}"), soft_wrap=True)

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PlainLines(Quiet):
    """One line per interval: for a log, a pipe, a CI job."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rate = _Rate()

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """Print the line."""
        sink = f", sink {line['sink']['open']:,}" if line["sink"] else ""
        latency = "".join(f", {kind} p50 {p50:,.0f} us p99 {p99:,.0f} us" for kind, p50, p99 in _latencies_us(line))
        errors = "".join(f", {syscall} {number} {count:,}" for syscall, number, _, count in line["errors"][:_ROWS_MAX])
        rate = _per_s(self._rate.of(line))
        if plan.churn:
            if plan.ceiling and plan.ceiling.per_s is not None:
                rate += f" (predicted at most {_per_s(plan.ceiling.per_s)})"
            done = (
                f"{line['established']:>9,} established, {rate}, {line['open']:,} open, {line['in_flight']:,} in flight"
            )
            sink += "".join(f", {name} {said}" for name, said in _time_wait(line))
        else:
            done = f"{line['open']:>9,} open of {plan.connections:,}, {rate}"
        self._console.print(
            f"{line['t_s']:7.1f} s  {_WORDS[Phase(line['phase'])]:8} {done}, "
            f"{line['failed']:,} failed, {line['lost']:,} lost{sink}{latency}{errors}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


class LiveTable(Quiet):
    """A table that is drawn over itself."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rate = _Rate()
        self._hold_began_s: float | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(None, None, None)

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """Redraw."""
        self._live.update(self._render(plan, line), refresh=True)

    def _render(self, plan: Plan, line: dict[str, Any]) -> Group:
        phase = Phase(line["phase"])
        if phase is Phase.HOLD and self._hold_began_s is None:
            self._hold_began_s = line["t_s"]
        head = Table.grid(padding=(0, 2), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        head.add_row(
            f"[bold]{escape(plan.name)}[/]  {_WORDS[phase]}",
            self._progress(plan, phase, line),
            self._time(plan, phase, line),
        )
        body = Table.grid(padding=(0, 2))
        # Of a narrow terminal the numbers give way, not their names.
        body.add_column(style="dim", no_wrap=True, min_width=len("established") if plan.churn else None)
        body.add_column(no_wrap=True, overflow="ellipsis")
        lost = f"  [bold red]{line['lost']:,} lost[/]" if line["lost"] else ""
        failed = f"  [red]{line['failed']:,} failed[/]" if line["failed"] else "  0 failed"
        if plan.churn:
            body.add_row("time", f"{line['t_s']:.1f} of {plan.churn.duration_s:g} s")
            body.add_row("established", f"[bold]{line['established']:,}[/]{failed}{lost}")
        body.add_row("open", f"[bold]{line['open']:,}[/] of {plan.connections:,}{'' if plan.churn else failed + lost}")
        body.add_row("rate", f"{_per_s(self._rate.of(line))}   in flight {line['in_flight']:,}")
        if plan.ceiling:
            body.add_row("predicted", escape(_predicted(plan.ceiling)))
        for kind, p50, p99 in _latencies_us(line):
            body.add_row(kind, f"p50 {p50:,.0f} us   p99 {p99:,.0f} us")
        if line["sink"]:
            body.add_row("sink", f"{line['sink']['open']:,} open, {line['sink']['accepted']:,} accepted")
        if waiting := _time_wait(line):
            (_, here), *more = waiting
            body.add_row("TIME-WAIT", here + "".join(f"   {name} {said}" for name, said in more))
        for syscall, number, outcome, count in line["errors"][:_ROWS_MAX]:
            body.add_row("error", f"[red]{count:,}[/]  {escape(syscall)} {escape(number)}  ({escape(outcome)})")
        workers = line["workers"]
        stalled = f"  [red]{workers['stalled']} stalled[/]" if workers["stalled"] else ""
        body.add_row("workers", f"{workers['alive']} of {plan.workers}{stalled}")
        return Group(head, body)

    def _progress(self, plan: Plan, phase: Phase, line: dict[str, Any]) -> ProgressBar:
        if plan.churn and phase is Phase.CHURN:
            return ProgressBar(total=plan.churn.duration_s, completed=min(line["t_s"], plan.churn.duration_s))
        done = line["open"] if phase is Phase.DRAIN else line["established"] + line["failed"] + line["not_started"]
        return ProgressBar(total=plan.connections, completed=min(done, plan.connections))

    def _time(self, plan: Plan, phase: Phase, line: dict[str, Any]) -> str:
        if phase is Phase.HOLD and self._hold_began_s is not None:
            left_s = max(plan.hold_s - (line["t_s"] - self._hold_began_s), 0)
            return f"{left_s:.0f} s left"
        if phase is Phase.CHURN and plan.churn:
            return f"{max(plan.churn.duration_s - line['t_s'], 0):.0f} s left"
        return f"{line['t_s']:.1f} s"


class _Rate:
    """Connections per second since the line before; lines close together are taken as one."""

    def __init__(self) -> None:
        self._at_s, self._established, self._rate = 0.0, 0, 0.0

    def of(self, line: dict[str, Any]) -> float:
        elapsed_s = line["t_s"] - self._at_s
        if elapsed_s > 0.05:
            self._rate = (line["established"] - self._established) / elapsed_s
            self._at_s, self._established = line["t_s"], line["established"]
        return self._rate


def _latencies_us(line: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What was measured since the line before, of connecting, TLS and exchanges: name, p50, p99."""
    found = []
    for kind in ("connect", "handshake", "exchange"):
        counts = histogram.dense(line["latency_ns"].get(kind, {}))
        p50, p99 = histogram.quantile_ns(counts, 0.5) / 1e3, histogram.quantile_ns(counts, 0.99) / 1e3
        if p50:
            found.append((kind, p50, p99))
    return found


def _time_wait(line: dict[str, Any]) -> list[tuple[str, str]]:
    """TIME-WAIT here, at the sinks where they have a namespace of their own, and recycled; empty without any."""
    kernel = line["kernel"]
    sink = kernel.get("sink") or {}
    here, there = (side.get("now", {}).get("sockstat.tcp_tw", 0) for side in (kernel, sink))
    recycled = kernel.get("delta", {}).get("TcpExt.TWRecycled", 0)
    found = [("TIME-WAIT", f"{here:,}")] if here or there or recycled else []
    if there:
        found.append(("at the sinks", f"{there:,}"))
    if recycled:
        found.append(("recycled", f"{recycled:,}"))
    return found


def _per_s(rate: float) -> str:
    """With three digits where it is small: ports that rest a minute give less than one connection per second."""
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


def _predicted(ceiling: Ceiling) -> str:
    """The most that can go on for ever, and why."""
    most = "no limit" if ceiling.per_s is None else f"at most {_per_s(ceiling.per_s)}"
    return f"{most}: {ceiling.because}"


class Unheard:
    """Another view, for as long as somebody reads it: a closed or full stderr must not end a run."""

    def __init__(self, view: View) -> None:
        self.view: View | None = view

    def update(self, plan: Plan, line: dict[str, Any]) -> None:
        """As the other view."""
        self._do(lambda view: view.update(plan, line))

    def notice(self, text: str) -> None:
        """As the other view."""
        self._do(lambda view: view.notice(text))

    def __enter__(self) -> Unheard:
        self._do(lambda view: view.__enter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(lambda view: view.__exit__(None, None, None))

    def _do(self, show: Callable[[View], object]) -> None:
        if self.view is None:
            return
        try:
            show(self.view)
        except OSError:
            self.view = None


def view_for(console: Console, *, quiet: bool) -> Unheard:
    """The view that fits: a table on a terminal, lines in a file, nothing when asked for."""
    if quiet:
        return Unheard(Quiet(console))
    return Unheard(LiveTable(console) if console.is_terminal else PlainLines(console))
