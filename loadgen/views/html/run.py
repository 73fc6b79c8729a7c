"""The report: one HTML file that works offline, on paper, on a phone and without JavaScript.

The page states what it is about in static HTML; charts are drawn by a script out of a block of JSON,
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
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from loadgen import format as fmt
from loadgen.views import summary_rows
from loadgen.views.charts import run
from loadgen.views.charts.columns import Chart
from loadgen.views.charts.latency import LATENCIES

HERE: Final = Path(__file__).parent
SOURCES_MAX: Final = 50
#: Rows of a long table that are there at once; the rest of it is folded away.
ROWS_OPEN: Final = 12
EVENTS_MAX: Final = 200
ERRORS_MAX: Final = 50
SCENARIO_CHARACTERS_MAX: Final = 60_000

Json = Mapping[str, Any]
Rows = Sequence[Json]


def render(summary: Json, series: Rows, events: Rows, plan: Json, host: Json, scenario_text: str) -> str:
    """The whole page. Every argument may lack keys, or be empty: what is there is shown.

    summary: summary.json (loadgen.summary/1). series, events: the lines of series.jsonl, events.jsonl.
    plan: plan.json. host: host.json. scenario_text: the YAML as given.
    """
    style, scripts = _style(), _scripts()
    drawn = run.everything(series, events, _ceiling_per_s(summary, plan), plan)
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
            page=_page(summary, plan),
            figures=_figures(summary),
            churn=_churn(summary),
            closed_loop=summary_rows.attempts(summary)[1] == "started",
            arrivals=fmt.part(summary, "arrivals"),
            outcomes=fmt.part(summary, "outcomes"),
            errors=_errors(summary),
            latency=_latency(summary),
            tenths=_tenths(summary),
            sources=_sources(summary),
            sink=_sink(summary),
            kernel=_kernel(summary),
            headroom=_headroom(plan),
            prediction=summary_rows.prediction(summary),
            notes=fmt.items(plan, "notes"),
            expect=_filled(fmt.rows(summary, "expect"), "expression", "passed", "observed"),
            probes=summary_rows.probes(summary),
            events=_events(events),
            host=_groups(host),
            plan=_plan(plan),
            generator=fmt.part(summary, "generator"),
            scenario=_cut(scenario_text),
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
    """What every page is rendered with: each expression made visible, then escaped."""

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


def _churn(summary: Json) -> list[tuple[str, str, str]]:
    """The rows about churn, with TIME-WAIT at the other side where that was counted."""
    rows, elsewhere = summary_rows.churn(summary), summary_rows.other_side(summary)
    return [*rows, ("TIME-WAIT at the sinks", elsewhere, "")] if rows and elsewhere else rows


def _ceiling_per_s(summary: Json, plan: Json) -> float | None:
    """The predicted ceiling, also of a run that left no summary; None where there is no limit."""
    for found in (fmt.part(summary, "churn"), plan):
        per_s = fmt.number(fmt.part(found, "ceiling").get("per_s"))
        if per_s is not None and per_s > 0:
            return per_s
    return None


def _slots(drawn: list[Chart]) -> dict[str, list[Chart]]:
    """The charts by section, in the order of run.SLOTS."""
    there = {chart["id"]: chart for chart in drawn}
    places: dict[str, list[Chart]] = {section: [] for _, section in run.SLOTS}
    for name, section in run.SLOTS:
        if name in there:
            places[section].append(there[name])
    return places


def _page(summary: Json, plan: Json) -> dict[str, Any]:
    """Title, badges and the sentences at the top."""
    verdict = fmt.part(summary, "verdict")
    limit = verdict.get("limit")
    failed = [row for row in fmt.rows(summary, "expect") if row.get("passed") is not True]
    expected = len(fmt.rows(summary, "expect"))
    phases = fmt.part(summary, "phases")
    return {
        "scenario": summary.get("scenario") or plan.get("name") or "unnamed scenario",
        "run": summary.get("run"),
        "started_at": summary.get("started_at"),
        "duration": fmt.seconds(summary.get("duration_s")),
        "headline": summary_rows.headline(summary),
        "incomplete": summary_rows.incomplete_because(summary),
        "distrust": summary_rows.distrust(summary),
        "limit": None if limit is None else "no limit reached" if limit == "none" else f"limit: {limit}",
        "limited": limit not in (None, "none"),
        "expected": expected,
        "expect_failed": len(failed),
        "predicted": verdict.get("predicted"),
        "observed": verdict.get("observed"),
        "evidence": fmt.items(verdict, "evidence"),
        "remedies": fmt.items(verdict, "remedies"),
        "phases": [
            (name, fmt.seconds(phases[f"{name}_s"]))
            for name in ("ramp", "hold", "churn", "drain")
            if fmt.number(phases.get(f"{name}_s")) is not None
        ],
    }


def _figures(summary: Json) -> list[dict[str, Any]]:
    """The key figures: label, value, a line of context, whether it is bad news."""
    outcomes, opened = fmt.part(summary, "outcomes"), fmt.part(summary, "open")
    planned, how = summary_rows.attempts(summary)
    churn = fmt.part(summary, "churn")
    pace, connect = (
        fmt.part(summary, "rate_per_s"),
        fmt.part(fmt.part(summary, "latency_us"), "connect"),
    )
    failed, lost = fmt.number(outcomes.get("failed")), fmt.number(opened.get("lost"))
    worst = max(fmt.rows(summary, "errors"), key=lambda row: fmt.number(row.get("count")) or 0, default=None)
    why = (
        f"mostly {worst.get('syscall')} {worst.get('errno')}" if failed and worst else "attempts that ended in an error"
    )

    def unbroken(us: object) -> str:
        return fmt.latency(us).replace(" ", "\u00a0")

    beat = fmt.part(summary, "heartbeat")
    beats = {
        "name": "Heartbeats",
        "value": fmt.count(beat.get("answered")),
        "note": f"answered of {fmt.count(beat.get('sent'))}; {fmt.count(beat.get('missed'))} missed, "
        f"{fmt.count(beat.get('wrong'))} wrong",
        "bad": (summary_rows.heartbeat(summary) or ("", True))[1] is False,
    }
    carried = summary_rows.traffic(summary)
    traffic = {
        "name": "Traffic",
        "value": fmt.count(fmt.part(summary, "traffic").get("replies")),
        "note": carried[0] if carried else "",
        "bad": carried is not None and not carried[1],
    }
    return [
        {
            "name": "Established",
            "value": fmt.count(outcomes.get("established")),
            "note": f"of {fmt.count(planned)} {how}",
            "bad": False,
        },
        {"name": "Failed", "value": fmt.count(failed), "note": why, "bad": bool(failed)},
        {
            "name": "Lost",
            "value": fmt.count(lost),
            "note": "closed by the other side while held",
            "bad": bool(lost),
        },
        {
            "name": "Peak open",
            "value": fmt.count(opened.get("peak")),
            "note": f"of {fmt.count(churn.get('concurrency'))} at a time"
            if churn
            else f"{fmt.count(opened.get('end_of_hold'))} at the end of hold",
            "bad": False,
        },
        {
            "name": "Rate",
            "value": fmt.rate(churn.get("sustained_per_s") if churn else pace.get("established_mean")),
            "note": f"{'sustained' if churn else 'mean over the ramp'}; peak {fmt.rate(pace.get('established_peak'))}",
            "bad": False,
        },
        {
            "name": "Connect, median",
            "value": fmt.latency(connect.get("p50")),
            "note": f"p99 {unbroken(connect.get('p99'))}, max {unbroken(connect.get('max'))}",
            "bad": False,
        },
        *([beats] if beat else [traffic] if carried else []),
    ]


def _errors(summary: Json) -> dict[str, Any]:
    """Error rows, most frequent first, and what the ones not shown add up to."""
    rows = sorted(fmt.rows(summary, "errors"), key=lambda row: -(fmt.number(row.get("count")) or 0))
    failed = fmt.total(row.get("count") for row in rows)
    return {
        "rows": [
            {**row, "share": fmt.share(row.get("count"), failed)}
            for row in _filled(rows[:ERRORS_MAX], "syscall", "errno", "outcome", "count")
        ],
        "more": len(rows[ERRORS_MAX:]),
        "more_count": fmt.total(row.get("count") for row in rows[ERRORS_MAX:]),
    }


def _filled(rows: Iterable[Json], *keys: str) -> list[dict[str, Any]]:
    """The rows with exactly these keys, None where one is missing."""
    return [{key: row.get(key) for key in keys} for row in rows]


def _latency(summary: Json) -> list[dict[str, Any]]:
    """The latency table; a kind without one measurement is left out."""
    keys = ("p50", "p90", "p99", "p999", "max", "count")
    meaning = {
        "lateness": "started − due: our own delay",  # noqa: RUF001 - a minus sign in running text
        "connect": "established − started",  # noqa: RUF001
        "arrival": "established − due: free of coordinated omission",  # noqa: RUF001
        "exchange": "reply read − request written",  # noqa: RUF001
        "handshake": "TLS secured − established",  # noqa: RUF001
    }
    latency = fmt.part(summary, "latency_us")
    return [
        {"kind": kind, "meaning": meaning[kind], **{key: fmt.part(latency, kind).get(key) for key in keys}}
        for kind in LATENCIES
        if fmt.part(latency, kind) and fmt.number(fmt.part(latency, kind).get("count")) != 0
    ]


def _tenths(summary: Json) -> dict[str, Any] | None:
    """How long each tenth of the established connections took, as a rate."""
    took_s = [fmt.number(value) for value in fmt.items(summary, "tenths_s")]
    established = fmt.number(fmt.part(summary, "outcomes").get("established"))
    pace = [established / len(took_s) / t if established and t and t > 0 else None for t in took_s]
    known = [value for value in pace if value is not None]
    if established is None or not known:
        return None
    return {
        "rows": [
            {
                "upto": established * (index + 1) / len(took_s),
                "seconds": t,
                "rate": value,
                "share": fmt.share(value, max(known)),
            }
            for index, (t, value) in enumerate(zip(took_s, pace, strict=True))
        ],
        "ratio": fmt.count(round(max(known) / min(known), 2)),
        "flat": max(known) <= 1.25 * min(known),
    }


def _sources(summary: Json) -> dict[str, Any] | None:
    """Sources by occupancy, fullest first; those past the fiftieth as one row."""
    keys = ("source", "target", "capacity", "peak_open", "established", "failed")
    rows = _filled(fmt.rows(summary, "sources"), *keys)
    if not rows:
        return None
    for row in rows:
        row["share"] = fmt.share(row["peak_open"], row["capacity"])
    rows.sort(key=lambda row: (-(row["share"] or 0), -(fmt.number(row["failed"]) or 0)))
    rest = rows[SOURCES_MAX:]
    more = None
    if rest:
        more = {key: fmt.total(row[key] for row in rest) for key in keys[2:]}
        more["share"] = fmt.share(more["peak_open"], more["capacity"]) or 0.0
    shares = [row["share"] for row in rows if row["share"] is not None]
    return {
        "open": rows[:ROWS_OPEN],
        "folded": rows[ROWS_OPEN:SOURCES_MAX],
        "more": more,
        "more_pairs": len(rest),
        "pairs": len(rows),
        "low": min(shares, default=None),
        "high": max(shares, default=None),
    }


def _sink(summary: Json) -> dict[str, Any] | None:
    """What the other side counted, source by source."""
    sink = fmt.part(summary, "sink")
    if not sink:
        return None
    rows = _filled(fmt.rows(sink, "sources"), "source", "accepted", "four_tuples")
    return {
        "agrees": sink.get("agrees"),
        "text": sink.get("text"),
        "accepted": sink.get("accepted"),
        "open_peak": sink.get("open_peak"),
        "rows": rows[:SOURCES_MAX],
        "more": len(rows[SOURCES_MAX:]),
        "more_accepted": fmt.total(row["accepted"] for row in rows[SOURCES_MAX:]),
    }


def _kernel(summary: Json) -> list[dict[str, Any]]:
    """Of each side's namespace: counters that changed, how many did not, the highest gauges, sockets by state."""
    ours = fmt.part(summary, "kernel")
    theirs = fmt.part(ours, "sink")
    found = []
    for side, kernel in (("clients' side" if theirs else "", ours), ("sinks' side", theirs)):
        delta, peak = fmt.part(kernel, "delta"), fmt.part(kernel, "peak")
        if delta or peak:
            found.append(
                {
                    "side": side,
                    "delta": sorted((name, value) for name, value in delta.items() if value != 0),
                    "still": sum(value == 0 for value in delta.values()),
                    "peak": sorted(peak.items()),
                    "states": list(fmt.part(fmt.part(kernel, "states"), "counts").items()),
                    "states_t_s": fmt.part(kernel, "states").get("t_s"),
                }
            )
    return found


def _headroom(plan: Json) -> list[dict[str, Any]]:
    rows = _filled(fmt.rows(plan, "headroom"), "resource", "needed", "available", "note")
    return [{**row, "share": fmt.share(row["needed"], row["available"])} for row in rows]


def _plan(plan: Json) -> list[tuple[str, str]]:
    """The plan in a few words; lists that may be long are counted."""
    ports, churn, named = fmt.part(plan, "ports"), fmt.part(plan, "churn"), []
    due = fmt.number(churn.get("arrivals"))
    for name, value in (
        ("connections at a time" if churn else "connections", fmt.count(plan.get("connections"))),
        (
            "churn",
            f"{fmt.seconds(churn.get('duration_s'))}, {'closed' if due is None else 'open'} loop" if churn else "",
        ),
        ("connections due", fmt.count(due)),
        ("protocol", fmt.part(plan, "traffic").get("protocol")),
        ("source addresses", fmt.count(len(fmt.items(plan, "sources")) or None)),
        ("targets", fmt.count(len(fmt.items(plan, "targets")) or None)),
        ("strategy", plan.get("strategy")),
        ("source ports", f"{ports['low']}-{ports['high']}" if "low" in ports and "high" in ports else None),
        ("four-tuples per source and target", fmt.count(plan.get("capacity_per_pair"))),
        ("close", plan.get("close")),
        ("timeout", fmt.seconds(plan.get("timeout_s"))),
        ("worker processes", fmt.count(plan.get("workers"))),
        ("sink processes", fmt.count(plan.get("sinks"))),
    ):
        if value not in (None, "", fmt.MISSING):
            named.append((name, str(value)))
    return named


def _events(events: Rows) -> dict[str, Any]:
    rows = _filled(events, "t_s", "event", "text")
    return {"rows": rows[:EVENTS_MAX], "more": len(rows[EVENTS_MAX:])}


def _groups(host: Json) -> list[tuple[str, list[tuple[str, str]]]]:
    """host.json as tables: the scalars at its top first, then one table for each object in it."""
    top = [(name, _of_host(name, value)) for name, value in host.items() if not isinstance(value, Mapping)]
    groups = [("Host", top)] if top else []
    groups += [(name, list(_leaves(value))) for name, value in host.items() if isinstance(value, Mapping)]
    return [(name, rows) for name, rows in groups if rows]


def _of_host(name: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(fmt.scalar(item) for item in value)
    return fmt.size(value) if name.endswith("_bytes") else fmt.scalar(value)


def _leaves(group: Json, prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _of_host(name, value)


def _cut(text: str) -> dict[str, Any]:
    """The scenario, or the beginning of a very long one."""
    return {"text": text[:SCENARIO_CHARACTERS_MAX], "more": max(len(text) - SCENARIO_CHARACTERS_MAX, 0)}
