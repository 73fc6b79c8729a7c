"""The report of `loadgen plan` as text: a verdict, the resources as a table, and the remedies, on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from loadgen import format as fmt
from loadgen.results.settings import named, short_keys
from loadgen.views.text.layout import StyledLine, labelled, listed, numbered, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS: Final = (("needed", 15), ("available", 16), ("share", 9), ("allows", 14))
_NAME_WIDTH: Final = 25
_NOTES_MAX: Final = 6

#: A part of the plain JSON that `control.dry_run` makes; every key is there.
Report = Mapping[str, Any]


def render(report: Report, console: Console) -> None:
    """Print a report (loadgen.plan/1) to a console."""
    show(_lines(report, width_of(console)), console)


def plan_lines(report: Report, *, width: int = 80) -> list[str]:
    """The same as lines; those of the table may be as wide as 80 columns."""
    return [line for _, line in _lines(report, width)]


def _lines(report: Report, width: int) -> list[StyledLine]:
    verdict: list[StyledLine] = [("verdict", line) for line in wrapped(report["verdict"], "", width)]
    if "cells" in report:
        return [*verdict, ("", ""), *_matrix(report, width)]
    if "agents" in report:
        return [*verdict, ("", ""), *_agents(report, width)]
    return [
        *verdict,
        ("", ""),
        *_table(report),
        *_facts(report, width),
        *listed("notes", report["notes"][:_NOTES_MAX], width),
        *numbered("remedies", map(_remedy, report["remedies"]), width),
    ]


def _remedy(remedy: Report) -> str:
    allows = "" if remedy["allows"] is None else f", {fmt.count(remedy['allows'])} in all"
    return f"{remedy['text']}{allows}"


def _agents(report: Report, width: int) -> list[StyledLine]:
    """A line for each agent of several, then all about the first that cannot run its share."""
    text: list[StyledLine] = []
    for agent in report["agents"]:
        how, tone = ("possible", "") if agent["possible"] else ("impossible", "bad")
        limit = f"{agent['limit']} at {fmt.count(agent['at_connections'])}" if agent["limit"] else "see below"
        text += labelled(agent["agent"], f"{how}, {limit}: {fmt.count(agent['connections'])} connections", width, tone)
    if impossible := next((agent for agent in report["agents"] if not agent["possible"]), None):
        text += [("", ""), ("head", f"agent {impossible['agent']}"), *_lines(impossible, width)]
    return text


def _matrix(report: Report, width: int) -> list[StyledLine]:
    """A line for each cell, then all about the first that is impossible."""
    cells = report["cells"]
    text: list[StyledLine] = []
    keys = short_keys([cell["settings"] for cell in cells])
    for cell in cells:
        settings = named(cell["settings"], keys) if cell["settings"] else "every round"
        how, tone = ("possible", "") if cell["possible"] else ("impossible", "bad")
        limit = f"{cell['limit']} at {fmt.count(cell['at_connections'])}" if cell["limit"] else "see below"
        text += labelled(f"cell {cell['cell']}", f"{how}, {limit}: {settings}", width, tone)
    if impossible := next((cell for cell in cells if not cell["possible"]), None):
        text += [("", ""), ("head", f"cell {impossible['cell']}"), *_lines(impossible, width)]
    return text


def _table(report: Report) -> list[StyledLine]:
    rows = report["resources"]
    if not rows:
        return []
    head = "resource".ljust(_NAME_WIDTH) + "".join(f"{name:>{wide}}" for name, wide in _COLUMNS)
    text: list[StyledLine] = [("head", head)]
    for row in rows:
        amount = fmt.size if row["resource"].endswith("bytes") else fmt.count
        share = row["share"]
        cells = (
            amount(row["needed"]),
            amount(row["available"]),
            fmt.percent(share) if share is None or share <= 10 else f"{fmt.count(round(share))} x",
            fmt.count(row["allows"]),
        )
        name = row["resource"].removesuffix(", bytes")
        values = "".join(f"{value:>{wide}}" for value, (_, wide) in zip(cells, _COLUMNS, strict=True))
        text.append(("bad" if row["short"] else "row", name.ljust(_NAME_WIDTH) + values))
    text.append(("", ""))
    return text


def _facts(report: Report, width: int) -> list[StyledLine]:
    reasons = [
        f"{row['resource']}: {row['note']}"
        for index, row in enumerate(report["resources"])
        if row["note"] and (row["short"] or not index)
    ]
    text = listed("because", reasons, width)
    plan, host = report["plan"], report["host"]
    if plan:
        skipped = f"{fmt.count(plan['skipped_ports'])} of these held or reserved"
        sources = (
            f"{fmt.count(plan['sources'])} to {fmt.many(plan['targets'], 'target')} by {plan['strategy']} over "
            f"{plan['transport']}, ports {plan['ports']} ({skipped}), close {plan['close']}"
        )
        text += labelled("sources", sources, width)
        processes = f"{fmt.many(plan['workers'], 'worker')}, {fmt.many(plan['sinks'], 'sink')}"
        text += labelled("processes", f"{processes} on {fmt.count(host['cpus'])} cores", width)
        if not report["possible"] and not plan["schedule"] and report["at_connections"]:
            text += labelled("when", "as soon as this machine gets there: there is no arrival schedule", width)
    limits = {name: fmt.count(limit) for name, limit in host["descriptors"].items()}
    descriptors = (
        f"soft {limits['soft']} (raised to hard), hard {limits['hard']}, "
        f"fs.nr_open {limits['nr_open']}, fs.file-max {limits['file_max']}"
    )
    text += labelled("descriptors", descriptors, width)
    text += listed("routes", map(_route, report["routes"]), width)
    where = "in a namespace of its own" if host["in_lab"] else "on the host itself"
    features = [
        f"{name} {'yes' if host[key] else 'no'}"
        for name, key in (("IP_LOCAL_PORT_RANGE", "port_range_option"), ("IP_BIND_ADDRESS_NO_PORT", "late_bind"))
    ]
    return text + labelled("kernel", f"Linux {host['kernel']}, {where}; {', '.join(features)}", width)


def _route(route: Report) -> str:
    more = route["targets"] - 1
    return f"{route['first']}{f' and {fmt.count(more)} more addresses' if more else ''}: {route['way']}"
