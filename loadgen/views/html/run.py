"""The report: one HTML file that works offline, on paper, on a phone and without JavaScript.

The page states every figure in static HTML; charts are drawn by a script out of a block of JSON,
and are extra. Nothing is loaded: style, script and data are in the file, and the Content-Security-Policy
allows exactly those blocks by their hash and no connection at all. So there can be no style="" attribute
anywhere either; bars are SVG, whose width and height are attributes of their own.

Whatever comes from outside (scenario, host, errors, events) is text: Jinja escapes every expression, and
`visible` writes out the characters that could hide or reorder others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from loadgen import format as fmt
from loadgen.model import Headroom, Plan
from loadgen.results.run_directory import Run
from loadgen.results.schema.host import Host
from loadgen.results.schema.kernel import KernelCounts, SinkKernelCounts
from loadgen.results.schema.run import ErrorCount, Quantiles, RunSummary
from loadgen.results.schema.sides import PairResult
from loadgen.scenario import shown_text
from loadgen.views import summary_rows
from loadgen.views.charts import run as charts
from loadgen.views.charts.columns import Chart

HERE: Final = Path(__file__).parent
SOURCES_MAX: Final = 50
#: Rows of a long table that are there at once; the rest of it is folded away.
ROWS_OPEN: Final = 12
EVENTS_MAX: Final = 200
ERRORS_MAX: Final = 50
SCENARIO_CHARACTERS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One of the large figures at the top of the page. bad: it is bad news."""

    name: str
    value: str
    note: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class _Pair:
    """Connections of one or several (source, target) pairs, and how full these were."""

    source: str
    target: str
    capacity: int
    peak_open: int
    established: int
    failed: int
    share: float | None

    @classmethod
    def of(cls, pair: PairResult) -> _Pair:
        share = fmt.share(pair.peak_open, pair.capacity)
        return cls(pair.place, pair.target, pair.capacity, pair.peak_open, pair.established, pair.failed, share)

    @classmethod
    def of_all(cls, pairs: Sequence[_Pair]) -> _Pair:
        """Several as one row."""
        capacity, peak_open = sum(pair.capacity for pair in pairs), sum(pair.peak_open for pair in pairs)
        established, failed = sum(pair.established for pair in pairs), sum(pair.failed for pair in pairs)
        title, share = f"{fmt.count(len(pairs))} more pairs", fmt.share(peak_open, capacity) or 0.0
        return cls(title, "together", capacity, peak_open, established, failed, share)


@dataclass(frozen=True, slots=True)
class _Tenth:
    """One tenth of the established connections. share: its rate as a share of the highest."""

    upto: float
    seconds: float
    rate: float | None
    share: float | None


@dataclass(frozen=True, slots=True)
class _KernelSide:
    """The kernel's counts in one namespace; name: "" where there is only one. still: counters at rest."""

    name: str
    counts: KernelCounts | SinkKernelCounts
    delta: Sequence[tuple[str, int]]
    still: int


def render(run: Run, summary: RunSummary) -> str:
    """Return the whole page. summary: as written, or as `run.summarised()` folds it."""
    style, scripts, plan = _style(), _scripts(), run.plan
    drawn = charts.everything(run.series, run.events, plan, summary.steady)
    tenths, pairs = _tenths(summary), _pairs(summary)
    policy = (
        f"default-src 'none'; style-src {hash_of(style)}; script-src {' '.join(map(hash_of, scripts))};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        environment()
        .get_template("template.html.j2")
        .render(
            policy=policy,
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            payload=Markup(payload(drawn)),
            charts=_slots(drawn["charts"]),
            summary=summary,
            headline=summary_rows.headline(summary),
            limit=summary_rows.limit(summary),
            ruled_out=summary_rows.ruled_out(summary),
            incomplete=summary_rows.incomplete_because(summary),
            distrust=summary_rows.distrust(summary),
            expect_failed=sum(not expectation.passed for expectation in summary.expect),
            phases=summary_rows.phases(summary),
            figures=_figures(summary),
            churn=_churn(summary),
            steady=summary_rows.steady(summary),
            closed_loop=summary_rows.attempts(summary)[1] == "started",
            errors=_errors(summary),
            errors_max=ERRORS_MAX,
            latency=_latency(summary),
            tenths=tenths,
            tenths_ratio=_ratio(tenths),
            pairs=pairs,
            pairs_rest=_Pair.of_all(pairs[SOURCES_MAX:]) if len(pairs) > SOURCES_MAX else None,
            rows_open=ROWS_OPEN,
            sources_max=SOURCES_MAX,
            kernel=_kernel(summary.kernel),
            headroom=_headroom(plan.headroom),
            prediction=summary_rows.prediction(summary),
            notes=plan.notes,
            probes=summary_rows.probes(summary),
            agents=summary_rows.agents(summary),
            not_attributed=summary_rows.not_attributed(summary),
            proofs=summary_rows.proofs(summary),
            events=run.events,
            events_max=EVENTS_MAX,
            host=_host(run.host),
            plan=list(_plan(plan)),
            scenario=shown_text(run.scenario_text),
            scenario_max=SCENARIO_CHARACTERS_MAX,
        )
    )


def payload(data: object) -> str:
    """JSON that can stand inside a script element, whatever strings are in it.

    Only ASCII comes out (so U+2028 is an escape), and "<", ">" and "&" are escapes as well: neither
    "</script" nor "<!--" can appear. Raises: ValueError for NaN, which JSON does not have.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def hash_of(block: str) -> str:
    """The CSP source of an inline block: it covers every character between the tags."""
    digest = hashlib.sha256(block.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def read(name: str) -> str:
    """A file of this package."""
    return (HERE / name).read_text(encoding="utf-8")


def _style() -> str:
    return read("vendor/uplot/uPlot.min.css") + "\n" + read("report.css")


def _scripts() -> tuple[str, ...]:
    return uplot(), read("charts.js"), read("report.js")


def uplot() -> str:
    """The library of the charts with its licence, which travels with every copy; a report is one."""
    notice = f"/*\nuPlot {read('vendor/uplot/VERSION').strip()}\n{read('vendor/uplot/LICENSE')}*/\n"
    return notice + read("vendor/uplot/uPlot.iife.min.js")


@cache
def environment() -> Environment:
    """The environment that renders every page: each expression is made visible, then escaped."""

    def shown(value: object) -> object:
        """Applied to every {{ expression }} before it is escaped."""
        if isinstance(value, Markup):
            return value
        return fmt.visible(fmt.scalar(value))

    environment = Environment(
        loader=FunctionLoader(read),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=fmt.count,
        signed=fmt.signed,
        rate=fmt.rate,
        latency=fmt.latency,
        seconds=fmt.seconds,
        percent=fmt.percent,
    )
    environment.globals.update(bar=bar)
    return environment


def bar(share: float | None, tone: str = "blue") -> Markup:
    """A horizontal bar, `share` of 1 long; decoration beside the number it stands for."""
    width = 100 * min(max(share or 0.0, 0.0), 1.0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="10"/><rect class="{}" width="{}" height="10"/></svg>'
    ).format(tone, f"{width:.1f}")


def _churn(summary: RunSummary) -> list[summary_rows.SummaryRow]:
    """The rows about churn, with TIME-WAIT at the other side where that was counted."""
    rows, sinks = summary_rows.churn(summary), summary_rows.other_side(summary)
    return [*rows, summary_rows.SummaryRow("TIME-WAIT at the sinks", sinks)] if rows and sinks else rows


def _slots(drawn: Sequence[Chart]) -> dict[str, list[Chart]]:
    """The charts by section, in the order of charts.SLOTS."""
    by_name = {chart["id"]: chart for chart in drawn}
    sections: dict[str, list[Chart]] = {section: [] for _, section in charts.SLOTS}
    for name, section in charts.SLOTS:
        if name in by_name:
            sections[section].append(by_name[name])
    return sections


def _figures(summary: RunSummary) -> list[KeyFigure]:
    outcomes, opened, churn = summary.outcomes, summary.open, summary.churn
    pace, connect = summary.rate_per_s, summary.latency_us.connect
    planned, how = summary_rows.attempts(summary)
    worst = max(summary.errors, key=lambda error: error.count, default=None)
    why = f"mostly {worst.syscall} {worst.errno}" if outcomes.failed and worst else "attempts that ended in an error"
    concurrency = f"of {fmt.count(churn.concurrency)} at a time" if churn else ""
    return [
        KeyFigure("Established", fmt.count(outcomes.established), f"of {fmt.count(planned)} {how}"),
        KeyFigure("Failed", fmt.count(outcomes.failed), why, bool(outcomes.failed)),
        KeyFigure("Lost", fmt.count(opened.lost), "closed by the other side while held", bool(opened.lost)),
        KeyFigure(
            "Peak open",
            fmt.count(opened.peak),
            concurrency or f"{fmt.count(opened.end_of_hold)} at the end of hold",
        ),
        KeyFigure(
            "Rate",
            fmt.rate(churn.sustained_per_s if churn else pace.established_mean),
            f"{'sustained' if churn else 'mean over the ramp'}; peak {fmt.rate(pace.established_peak)}",
        ),
        KeyFigure(
            "Connect, median",
            fmt.latency(connect.p50),
            f"p99 {_unbroken(connect.p99)}, max {_unbroken(connect.max)}",
        ),
        *_carried(summary),
    ]


def _unbroken(us: float) -> str:
    return fmt.latency(us).replace(" ", "\u00a0")


def _carried(summary: RunSummary) -> Iterator[KeyFigure]:
    """Heartbeats, or else what the connections carried, if anything."""
    beats, row = summary.heartbeat, summary_rows.heartbeat(summary)
    if beats and row:
        missed = f"{fmt.count(beats.missed)} missed, {fmt.count(beats.wrong)} wrong"
        note = f"answered of {fmt.count(beats.sent)}; {missed}"
        yield KeyFigure("Heartbeats", fmt.count(beats.answered), note, row.tone == "bad")
    elif summary.traffic and (row := summary_rows.traffic(summary)):
        yield KeyFigure("Traffic", fmt.count(summary.traffic.replies), row.text, row.tone == "bad")


def _errors(summary: RunSummary) -> list[tuple[ErrorCount, float | None]]:
    """The kinds of error with their share, the most frequent first."""
    total = sum(error.count for error in summary.errors)
    errors = sorted(summary.errors, key=lambda error: -error.count)
    return [(error, fmt.share(error.count, total)) for error in errors]


def _latency(summary: RunSummary) -> list[tuple[str, str, Quantiles]]:
    """(kind, meaning, quantiles) of each latency that was measured."""
    meaning = {
        "lateness": "started − due: our own delay",  # noqa: RUF001 - a minus sign in running text
        "bind": "bind() that takes a port",
        "connect": "established − started",  # noqa: RUF001
        "network": "the handshake's round trip, measured by the kernel",
        "arrival": "established − due: free of coordinated omission",  # noqa: RUF001
        "exchange": "reply read − request written",  # noqa: RUF001
        "handshake": "TLS secured − established",  # noqa: RUF001
    }
    return [(kind, meaning[kind], values) for kind, values in summary_rows.latencies(summary)]


def _tenths(summary: RunSummary) -> list[_Tenth]:
    """How long each tenth of the established connections took, and its rate."""
    established, took_s = summary.outcomes.established, summary.tenths_s
    rates = [established / len(took_s) / time_s if established and time_s else None for time_s in took_s]
    highest = max((rate for rate in rates if rate is not None), default=None)
    if highest is None:
        return []
    return [
        _Tenth(established * place / len(took_s), time_s, rate, None if rate is None else fmt.share(rate, highest))
        for place, (time_s, rate) in enumerate(zip(took_s, rates, strict=True), start=1)
    ]


def _ratio(tenths: Sequence[_Tenth]) -> float:
    """The rate of the quickest tenth divided by that of the slowest."""
    rates = [tenth.rate for tenth in tenths if tenth.rate is not None]
    return max(rates) / min(rates) if rates else 1.0


def _pairs(summary: RunSummary) -> list[_Pair]:
    """The (source, target) pairs by occupancy, the fullest first."""
    pairs = map(_Pair.of, summary.sources)
    return sorted(pairs, key=lambda pair: (-(pair.share or 0), -pair.failed))


def _kernel(counts: KernelCounts) -> list[_KernelSide]:
    """Of each side's namespace: counters that changed, how many did not, the highest gauges, sockets by state."""
    sides: list[tuple[str, KernelCounts | SinkKernelCounts]] = [("clients' side" if counts.sink else "", counts)]
    if counts.sink:
        sides.append(("sinks' side", counts.sink))
    if counts.gateway:
        sides.append(("gateway", counts.gateway))
    return [
        _KernelSide(
            name,
            side,
            sorted((counter, value) for counter, value in side.delta.items() if value),
            sum(not value for value in side.delta.values()),
        )
        for name, side in sides
        if side.delta or side.peak
    ]


def _headroom(lines: Sequence[Headroom]) -> list[tuple[Headroom, float | None]]:
    """The lines of the plan with the share of each resource that is needed."""
    return [(line, fmt.share(line.needed, line.available)) for line in lines]


def _plan(plan: Plan) -> Iterator[tuple[str, str]]:
    """The plan in a few words; lists that may be long are counted."""
    churn = plan.churn
    yield "connections at a time" if churn else "connections", fmt.count(plan.connections)
    if churn:
        yield "churn", f"{fmt.seconds(churn.duration_s)}, {'closed' if churn.arrivals is None else 'open'} loop"
        if churn.arrivals is not None:
            yield "connections due", fmt.count(churn.arrivals)
    yield "protocol", plan.traffic.protocol
    yield "source addresses", fmt.count(len(plan.sources))
    yield "targets", fmt.count(len(plan.targets))
    yield "strategy", plan.strategy
    yield "source ports", str(plan.ports)
    yield "four-tuples per source and target", fmt.count(plan.capacity_per_pair)
    yield "close", plan.close
    yield "timeout", fmt.seconds(plan.timeout_s)
    yield "worker processes", fmt.count(plan.workers)
    yield "sink processes", fmt.count(plan.sinks)


def _host(host: Host) -> list[tuple[str, list[tuple[str, str]]]]:
    """The host as tables: single values first, then one table for each group of them."""
    facts = [(name, getattr(host, name)) for name in host.__struct_fields__]
    groups = [("Host", [(name, _fact(name, fact)) for name, fact in facts if not isinstance(fact, Mapping)])]
    groups += [
        (name, [(key, fmt.scalar(value)) for key, value in fact.items()])
        for name, fact in facts
        if isinstance(fact, Mapping)
    ]
    return [(name, rows) for name, rows in groups if rows]


def _fact(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(fmt.scalar, value))
    return fmt.size(value) if name.endswith("_bytes") and isinstance(value, int) else fmt.scalar(value)
