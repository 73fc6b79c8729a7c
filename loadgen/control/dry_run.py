"""What `loadgen plan` says: the assessment of a scenario, or of each cell of its matrix, without any load.

A report is plain JSON (schema loadgen.plan/1), and what the screen shows is made of that.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadgen.capacity import Assessment, Resource
from loadgen.capacity.remedies import Change, ranked
from loadgen.control import name_resolution
from loadgen.control.prepare import Site, survey
from loadgen.errors import ExitCode, HostError, IncompleteError, InterruptedRunError, UsageError
from loadgen.model import Plan
from loadgen.processes.fleet import Fleet
from loadgen.scenario import Cell, Scenario

SCHEMA: Final = "loadgen.plan/1"
#: Routes that are named; more than these are only counted.
_ROUTES_MAX: Final = 8

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the command line permits, as for a run."""

    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False


class Planner:
    """One scenario, or the cells of one. Create it and `execute` it on a running event loop, once."""

    def __init__(
        self, scenario: Scenario, cells: Sequence[Cell], permissions: Permissions, *, only: int | None = None
    ) -> None:
        """only: the one cell to look at. Raises: UsageError when there is no such cell."""
        if only is not None and only not in range(len(cells)):
            there = f"cells 0 to {len(cells) - 1}" if cells else "no cells, because there is no matrix"
            raise UsageError(f"--cell {only}: there are {there}; leave --cell out, or name one of these")
        self._scenario, self._cells, self._permissions, self._only = scenario, cells, permissions, only
        self._interrupted = False
        self._fleet: Fleet | None = None
        #: As it was given to us: whoever starts a fleet raises it to the hard limit.
        self._soft_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def interrupt(self) -> None:
        """Stop at once; safe from a signal handler of the loop."""
        self._interrupted = True
        if self._fleet:
            self._fleet.kill()
            self._fleet.notify()

    async def execute(self) -> Report:
        """The report.

        Raises: UsageError for what cannot be meant or may not be loaded, HostError for a name without an address,
            LabForbiddenError where no namespace can be made, InterruptedRunError.
        """
        if self._only is not None:
            cell = self._cells[self._only]
            return {**await self._one(cell.scenario), "cell": self._only, "settings": cell.settings}
        if not self._cells:
            return await self._one(self._scenario)
        cells = [
            {**await self._one(cell.scenario), "cell": index, "settings": cell.settings}
            for index, cell in enumerate(self._cells)
        ]
        impossible = sum(not cell["possible"] for cell in cells)
        verdict = (
            f"impossible: {impossible} of {len(cells)} cells" if impossible else f"possible: all {len(cells)} cells"
        )
        return {
            "schema": SCHEMA,
            "scenario": self._scenario.name,
            "possible": not impossible,
            "verdict": verdict,
            "cells": cells,
        }

    async def _one(self, scenario: Scenario) -> Report:
        def enough() -> bool:
            return self._interrupted

        permissions = self._permissions
        answers = await name_resolution.look_up(scenario.names, enough=enough)
        judged = name_resolution.judge(scenario, answers, allowed=permissions.allow, authorized=permissions.authorized)
        self._fleet = fleet = Fleet(lambda _: None)
        try:
            # What is worth a sentence is among its notes.
            site = await survey(fleet, judged, answers, notice=lambda _: None, enough=enough)
            addresses = list(dict.fromkeys(target.endpoint.address for target in site.scenario.every_target))
            ways = await fleet.zygote.call("loadgen.kernel.ways:to", addresses)
            found = await self._judged(fleet, site)
        except IncompleteError as error:
            if self._interrupted:
                raise InterruptedRunError("interrupted") from error
            raise
        finally:
            await fleet.stop()
        routes = _routes(addresses, [str(way) for way in ways])
        head = {**_head(site, self._soft_descriptors), "routes": routes}
        if isinstance(found, HostError):  # there is nothing to count
            return {**head, "possible": False, "verdict": f"impossible: {found}", "refused": str(found)}
        return {**head, **report_of(found, site)}

    async def _judged(self, fleet: Fleet, site: Site) -> Assessment | HostError:
        """The assessment, or why there can be none: a feature or a route that is not there, a port that is taken."""
        try:
            found = site.assess(port_blocking=self._permissions.port_blocking)
            if found.refusal is None:
                await site.require_free(fleet, found.plan)
        except HostError as error:
            return error
        return found


def exit_code(report: Report) -> ExitCode:
    """Fine when all of it is possible."""
    return ExitCode.FINE if report["possible"] else ExitCode.HOST


def _head(site: Site, soft_descriptors: int) -> Report:
    facts = site.facts
    return {
        "schema": SCHEMA,
        "scenario": site.scenario.name,
        "limit": None,
        "at_connections": None,
        "at_s": None,
        "connections": site.scenario.most_open,
        "refused": None,
        "resources": [],
        "remedies": [],
        "notes": list(site.notes),
        "plan": None,
        "host": {
            "kernel": facts.kernel,
            "in_lab": site.in_lab,
            "cpus": facts.cpus,
            "descriptors": {
                "soft": soft_descriptors,
                "hard": facts.descriptors,
                "nr_open": _number(facts.sysctls.get("fs.nr_open")),
                "file_max": _number(facts.sysctls.get("fs.file-max")),
            },
            "ip_local_port_range": str(facts.port_range),
            "late_bind": facts.late_bind,
            "port_range_option": facts.port_range_option,
            "missing_sources": list(facts.missing_sources),
        },
    }


def report_of(found: Assessment, site: Site) -> Report:
    """What the assessment adds to the head of a report."""
    plan, said = found.plan, found.prediction
    return {
        "possible": found.possible,
        "verdict": found.verdict,
        "limit": "source-address" if found.absent else said.limit,
        "at_connections": 0 if found.absent else said.at,
        "at_s": said.at_s,
        "refused": str(found.refusal) if found.refusal else None,
        "resources": [_line(resource) for resource in found.in_order],
        "remedies": [] if found.absent else _remedies(found, site),
        "notes": list(plan.notes),
        "plan": _in_short(plan),
    }


def _line(resource: Resource) -> Report:
    share = resource.share
    return {
        "resource": resource.name,
        "limit": resource.limit,
        "needed": resource.needed,
        "available": resource.available,
        "share": None if share is None else round(share, 4),
        "allows": resource.at,
        "short": resource.short,
        "note": resource.note,
    }


def _in_short(plan: Plan) -> Report:
    return {
        "sources": len(plan.sources),
        "targets": len(plan.targets),
        "strategy": plan.strategy.value,
        "transport": plan.transport.value,
        "ports": str(plan.ports),
        "skipped_ports": len(plan.skipped_ports),
        "four_tuples_per_pair": plan.capacity_per_pair,
        "spaces": plan.spaces,
        "workers": plan.workers,
        "sinks": plan.sinks,
        "close": plan.close.value,
        "schedule": bool(plan.stages),
        "churn": plan.churn is not None,
    }


def _remedies(found: Assessment, site: Site) -> list[Report]:
    """What moves the first limit, best first, with the connections there would then be room for."""
    plan, first = found.plan, found.first
    at = first.at or 0
    change = Change(
        plan,
        site.facts.to_json(),
        short=max(plan.connections - at, 0),
        errnos=frozenset(),
        target=str(plan.targets[0].endpoint),
        time_wait=0,
    )
    lines: list[Report] = []
    if first.shortage and first.limit not in ("four-tuples", "source-ports"):
        lines.append({"text": first.shortage.remedy, "allows": None})
    lines += [
        {"text": remedy.text, "allows": at + remedy.gain if remedy.gain else None}
        for remedy in ranked(first.limit, change)
    ]
    return lines


def _routes(addresses: Sequence[str], ways: Sequence[str]) -> list[Report]:
    """Targets by the way that packets take to them; the way with most targets first."""
    found: dict[str, list[str]] = {}
    for address, way in zip(addresses, ways, strict=True):
        found.setdefault(way, []).append(address)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))[:_ROUTES_MAX]
    return [{"way": way, "first": targets[0], "targets": len(targets)} for way, targets in ordered]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
