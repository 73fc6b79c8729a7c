"""The summary of a run on a terminal: the verdict, then the numbers behind it, at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.results.schema.run import RunSummary
from loadgen.views import summary_rows
from loadgen.views.summary_rows import SummaryRow
from loadgen.views.text.layout import LABEL_WIDTH, StyledLine, labelled, listed, numbered, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

ERRORS_MAX: Final = 6


def render(summary: RunSummary, console: Console, *, report: str | None = None) -> None:
    """Print the summary to a console, as wide as that is but between 40 and 100 columns.

    report: path of the HTML page, if any.
    """
    show(lines(summary, report, width_of(console)), console, verdict=summary_rows.headline(summary))


def lines(summary: RunSummary, report: str | None = None, width: int = 80) -> list[StyledLine]:
    """The summary as lines of at most `width` columns, but for the path of the report, which stays in one piece."""
    verdict = wrapped(summary_rows.headline(summary), "", width)
    text: list[StyledLine] = [("verdict", line) for line in verdict]
    incomplete = summary_rows.incomplete_because(summary)
    if incomplete is not None:
        text += labelled("INCOMPLETE", incomplete, width, "bad")
    text.append(("", ""))
    text += _connections(summary, width)
    text += _row(summary_rows.prediction(summary), width)
    text += _churn(summary, width)
    text += _row(summary_rows.steady(summary), width)
    text += _row(summary_rows.gateway(summary), width)
    text += _pace(summary, width)
    text += _latency(summary, width)
    text += _errors(summary, width)
    text += _agents(summary, width)
    text += listed("probes", (f"{row.label}: {row.text}" for row in summary_rows.probes(summary)), width)
    text += _expectations(summary, width)
    distrust = summary_rows.distrust(summary)
    if distrust is not None:
        text += labelled("generator", "NOT TRUSTWORTHY: " + "; ".join(distrust), width, "bad")
    text += listed("evidence", _evidence(summary), width)
    text += listed("ruled out", summary_rows.ruled_out(summary), width)
    text += listed("decide by", summary.verdict.decide_by, width)
    text += numbered("remedies", summary.verdict.remedies, width)
    text += _proofs(summary, width)
    if report:
        # Not wrapped, so that a double click selects it.
        text.append(("", "report".ljust(LABEL_WIDTH) + fmt.on_one_line(report)))
    return text


def _row(row: SummaryRow | None, width: int) -> list[StyledLine]:
    return labelled(row.label, row.text, width, row.tone) if row else []


def _evidence(summary: RunSummary) -> list[str]:
    """The evidence of the verdict without the counts of errors, which stand above it."""
    errors = tuple(f"{error.syscall} {error.errno} " for error in summary.errors)
    return [fact for fact in summary.verdict.evidence if not fact.startswith(errors)]


_AGENT_COLUMNS: Final = (12, 9, 11, 11, 11)


def _agents(summary: RunSummary, width: int) -> list[StyledLine]:
    """A table of the shares of several agents; the name of one that is longer than its column has a line of its own."""
    rows = summary_rows.agents(summary)
    if not rows:
        return []
    heads = zip(("established", "failed", "peak open", "rate", "connect"), _AGENT_COLUMNS, strict=True)
    text: list[StyledLine] = [
        ("head", "agents".ljust(LABEL_WIDTH) + "".join(f"{name:>{wide}}" for name, wide in heads) + "  limit")
    ]
    for row in rows:
        name, tone = f"  {row.name}", "" if row.complete else "bad"
        if len(name) >= LABEL_WIDTH:
            text.append((tone, name[:width]))
            name = ""
        cells = zip((row.established, row.failed, row.peak, row.rate, row.connect_p50), _AGENT_COLUMNS, strict=True)
        text.append(
            (tone, name.ljust(LABEL_WIDTH) + "".join(f"{cell:>{wide}}" for cell, wide in cells) + f"  {row.limit}")
        )
    return text


_PROOF_COLUMNS: Final = (14, 14, 14)


def _proofs(summary: RunSummary, width: int) -> list[StyledLine]:
    """A table of the remedies that were tried, the claimed gain beside the measured one."""
    rows = summary_rows.proofs(summary)
    if not rows:
        return []
    heads = zip(("claimed", "measured", "limit then"), _PROOF_COLUMNS, strict=True)
    head = "proved".ljust(LABEL_WIDTH) + "".join(f"{name:>{wide}}" for name, wide in heads)
    text: list[StyledLine] = [("head", head)]
    for row in rows:
        cells = zip((row.claimed, row.measured, row.limit), _PROOF_COLUMNS, strict=True)
        figures = f"  {row.number}".ljust(LABEL_WIDTH) + "".join(f"{cell:>{wide}}" for cell, wide in cells)
        text.append(("good" if row.ok else "bad", f"{figures}  {row.shows}"))
        if row.note:
            text += labelled("", row.note, width, "bad")
    return text


def _connections(summary: RunSummary, width: int) -> list[StyledLine]:
    outcomes = summary.outcomes
    planned, how = summary_rows.attempts(summary)
    first = f"{fmt.count(outcomes.established)} established of {fmt.count(planned)} {how}"
    for name, value in (("not started", summary.arrivals.not_started), ("in flight", outcomes.in_flight)):
        if value:
            first += f", {fmt.count(value)} {name}"
    second = (
        f"{fmt.count(outcomes.failed)} failed, {fmt.count(summary.open.lost)} lost while held, "
        f"at most {fmt.count(summary.open.peak)} open"
    )
    return [
        *listed("connections", (first, second), width),
        *_row(summary_rows.not_attributed(summary), width),
        *_row(summary_rows.traffic(summary), width),
        *_row(summary_rows.heartbeat(summary), width),
        *_sink(summary, width),
    ]


def _sink(summary: RunSummary, width: int) -> list[StyledLine]:
    """The counts of the other side, and whether they agree with ours."""
    sink = summary.sink
    if not sink:
        return []
    heard = f"{fmt.count(sink.accepted)} accepted, at most {fmt.count(sink.open_peak)} open"
    if sink.datagrams:
        heard = f"{fmt.count(sink.accepted)} endpoints heard, {fmt.count(sink.datagrams.received)} datagrams"
    if sink.agrees:
        return labelled("other side", f"{heard}; both sides agree", width)
    reason = sink.text or "no reason given"
    if sink.agrees is None:
        return labelled("other side", f"{heard}; not counted to the end: {reason}", width)
    return labelled("other side", f"{heard}; THE SIDES DISAGREE: {reason}", width, "bad")


def _churn(summary: RunSummary, width: int) -> list[StyledLine]:
    """The rows about churn, and TIME-WAIT at the other side of any run."""
    rows = summary_rows.churn(summary)
    text = [line for row in rows for line in _row(row, width)]
    sinks = summary_rows.other_side(summary)
    if sinks is not None:
        text += labelled("  at sinks", sinks, width) if rows else labelled("TIME-WAIT", f"at the sinks {sinks}", width)
    return text


def _pace(summary: RunSummary, width: int) -> list[StyledLine]:
    pace = summary.rate_per_s
    mean, peak = fmt.rate(pace.established_mean), fmt.rate(pace.established_peak)
    # The mean of churn is in its own lines.
    rate = f"{peak} peak" if summary.churn else f"{mean} mean over the ramp, {peak} peak"
    times = [f"{name} {fmt.seconds(time_s)}" for name, time_s in summary_rows.phases(summary)]
    times.append(f"{fmt.seconds(summary.duration_s)} in all")
    return labelled("rate", rate, width) + labelled("time", ", ".join(times), width)


_QUANTILES: Final = ("p50", "p90", "p99", "p99.9", "max")
#: Their places, the most important first.
_IMPORTANT: Final = (0, 2, 4, 1, 3)
_QUANTILE_WIDTH: Final = 10


def _latency(summary: RunSummary, width: int) -> list[StyledLine]:
    """A table of the quantiles that a terminal has room for."""
    measured = summary_rows.latencies(summary)
    if not measured:
        return []
    shown = sorted(_IMPORTANT[: (width - LABEL_WIDTH) // _QUANTILE_WIDTH])
    text = [("head", "latency".ljust(LABEL_WIDTH) + _right(_QUANTILES[place] for place in shown))]
    for kind, us in measured:
        values = [fmt.latency(value, "us") for value in (us.p50, us.p90, us.p99, us.p999, us.max)]
        text.append(("", f"  {kind}".ljust(LABEL_WIDTH) + _right(values[place] for place in shown)))
    return text


def _right(values: Iterable[str]) -> str:
    return "".join(f"{value:>{_QUANTILE_WIDTH}}" for value in values).rstrip()


def _errors(summary: RunSummary, width: int) -> list[StyledLine]:
    errors = sorted(summary.errors, key=lambda error: -error.count)
    texts = [
        f"{fmt.count(error.count):>9}  {error.syscall} {error.errno} ({error.outcome})" for error in errors[:ERRORS_MAX]
    ]
    if rest := errors[ERRORS_MAX:]:
        texts.append(f"{fmt.count(sum(error.count for error in rest)):>9}  of {len(rest)} other kinds")
    return listed("errors", texts, width)


def _expectations(summary: RunSummary, width: int) -> list[StyledLine]:
    text: list[StyledLine] = []
    for expectation in summary.expect:
        label, tone = "" if text else "expect", "good" if expectation.passed else "bad"
        text += labelled(label, summary_rows.expectation(expectation), width, tone)
    return text
