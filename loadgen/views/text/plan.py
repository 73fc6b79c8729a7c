"""What `loadgen plan` shows: a verdict, the resources as a table, and what would move the limit, on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from loadgen import format as fmt
from loadgen.results.settings import named, short_keys
from loadgen.views.text.run import Line, labelled, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS: Final = (("needed", 15), ("available", 16), ("share", 9), ("allows", 14))
_NAME_WIDTH: Final = 25
_NOTES_MAX: Final = 6


def render(report: Mapping[str, Any], console: Console) -> None:
    """Print a report (loadgen.plan/1) to a console."""
    show(_lines(report, width_of(console)), console)


def plan_lines(report: Mapping[str, Any], *, width: int = 80) -> list[str]:
    """The same as lines; those of the table may be as wide as 80 columns."""
    return [line for _, line in _lines(report, width)]


def _lines(report: Mapping[str, Any], width: int) -> list[Line]:
    if "cells" in report:
        return _matrix(report, width)
    found: list[Line] = [("verdict", line) for line in wrapped(fmt.scalar(report.get("verdict")), "", width)]
    found.append(("", ""))
    found += _table(report)
    found += _facts(report, width)
    for index, note in enumerate(fmt.items(report, "notes")[:_NOTES_MAX]):
        found += labelled("notes" if index == 0 else "", str(note), width)
    for index, remedy in enumerate(fmt.rows(report, "remedies")):
        said = str(remedy.get("text"))
        if fmt.number(remedy.get("allows")) is not None:
            said += f", {fmt.count(remedy['allows'])} in all"
        found += [("", line) for line in wrapped(said, f"{'remedies' if index == 0 else '':13}{index + 1}. ", width)]
    return found


def _matrix(report: Mapping[str, Any], width: int) -> list[Line]:
    """A line for each cell, then all about the first that is impossible."""
    cells = fmt.rows(report, "cells")
    found: list[Line] = [("verdict", line) for line in wrapped(fmt.scalar(report.get("verdict")), "", width)]
    found.append(("", ""))
    keys = short_keys([cell["settings"] for cell in cells])
    for cell in cells:
        settings = named(cell["settings"], keys) if cell["settings"] else "every round"
        how, tone = ("possible", "") if cell.get("possible") else ("impossible", "bad")
        limit = f"{cell.get('limit')} at {fmt.count(cell.get('at_connections'))}" if cell.get("limit") else "see below"
        found += labelled(f"cell {cell['cell']}", f"{how}, {limit}: {settings}", width, tone)
    if wrong := next((cell for cell in cells if not cell.get("possible")), None):
        found += [("", ""), ("head", f"cell {wrong['cell']}")]
        found += _lines(wrong, width)
    return found


def _table(report: Mapping[str, Any]) -> list[Line]:
    rows = fmt.rows(report, "resources")
    if not rows:
        return []
    head = "resource".ljust(_NAME_WIDTH) + "".join(f"{name:>{wide}}" for name, wide in _COLUMNS)
    found: list[Line] = [("head", head)]
    for row in rows:
        shown = fmt.size if str(row.get("resource")).endswith("bytes") else fmt.count
        share = fmt.number(row.get("share"))
        cells = (
            shown(row.get("needed")),
            shown(row.get("available")),
            fmt.percent(share) if share is None or share <= 10 else f"{share:,.0f} x",
            fmt.count(row.get("allows")),
        )
        name = str(row.get("resource")).removesuffix(", bytes")
        values = "".join(f"{value:>{wide}}" for value, (_, wide) in zip(cells, _COLUMNS, strict=True))
        found.append(("bad" if row.get("short") else "row", name.ljust(_NAME_WIDTH) + values))
    found.append(("", ""))
    return found


def _facts(report: Mapping[str, Any], width: int) -> list[Line]:
    found: list[Line] = []
    for index, row in enumerate(fmt.rows(report, "resources")):
        if row.get("note") and (row.get("short") or not index):
            found += labelled("because" if not found else "", f"{row.get('resource')}: {row['note']}", width)
    plan, host = fmt.part(report, "plan"), fmt.part(report, "host")
    if plan:
        counts = {key: fmt.count(plan.get(key)) for key in ("sources", "targets", "skipped_ports", "workers", "sinks")}
        how = {key: fmt.scalar(plan.get(key)) for key in ("strategy", "transport", "ports", "close")}
        said = (
            f"{counts['sources']} to {counts['targets']} targets by {how['strategy']} over {how['transport']}, ports "
            f"{how['ports']} ({counts['skipped_ports']} of these held or reserved), close {how['close']}"
        )
        found += labelled("sources", said, width)
        said = f"{counts['workers']} workers, {counts['sinks']} sinks on {fmt.count(host.get('cpus'))} cores"
        found += labelled("processes", said, width)
        if report.get("possible") is False and not plan.get("schedule") and fmt.number(report.get("at_connections")):
            found += labelled("when", "as soon as this machine gets there: there is no arrival schedule", width)
    limits = fmt.part(host, "descriptors")
    if limits:
        said = (
            f"soft {fmt.count(limits.get('soft'))} (raised to hard), hard {fmt.count(limits.get('hard'))}, "
            f"fs.nr_open {fmt.count(limits.get('nr_open'))}, fs.file-max {fmt.count(limits.get('file_max'))}"
        )
        found += labelled("descriptors", said, width)
    for index, route in enumerate(fmt.rows(report, "routes")):
        more = (fmt.number(route.get("targets")) or 1) - 1
        said = f"{route.get('first')}{f' and {more:,.0f} more addresses' if more else ''}: {route.get('way')}"
        found += labelled("routes" if index == 0 else "", said, width)
    where = "in a namespace of its own" if host.get("in_lab") else "on the host itself"
    features = [
        f"{name} {'yes' if host.get(key) else 'no'}"
        for name, key in (("IP_LOCAL_PORT_RANGE", "port_range_option"), ("IP_BIND_ADDRESS_NO_PORT", "late_bind"))
    ]
    return found + labelled("kernel", f"Linux {host.get('kernel')}, {where}; {', '.join(features)}", width)
