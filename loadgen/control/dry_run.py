"""`loadgen plan`: assess a scenario, or each cell of its matrix, without any load.

The report is plain JSON (schema loadgen.plan/1); the text on the screen is rendered from it.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadgen.capacity import Assessment, Resource
from loadgen.control import name_resolution
from loadgen.control.prepare import Environment, prepare
from loadgen.errors import ExitCode, HostError, IncompleteError, InterruptedRunError, UsageError
from loadgen.model import Plan
from loadgen.processes.fleet import Fleet
from loadgen.scenario import Cell, ScenarioSpec

SCHEMA: Final = "loadgen.plan/1"
#: Maximum routes listed in the report.
_ROUTES_MAX: Final = 8

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Permissions:
    """Permissions given on the command line, the same as for a run."""

    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False


class Planner:
    """Plans a scenario or the cells of its matrix. Create it on a running event loop and call `execute` once."""

    def __init__(
        self, scenario: ScenarioSpec, cells: Sequence[Cell], permissions: Permissions, *, only: int | None = None
    ) -> None:
        """only: plan this cell alone. Raises: UsageError if there is no such cell."""
        if only is not None and only not in range(len(cells)):
            existing = f"cells 0 to {len(cells) - 1}" if cells else "no cells, because there is no matrix"
            raise UsageError(f"--cell {only}: there are {existing}; leave --cell out, or name one of these")
        self._scenario, self._cells, self._permissions, self._only = scenario, cells, permissions, only
        self._interrupted = False
        self._fleet: Fleet | None = None
        #: Read before the first fleet starts, which raises it to the hard limit.
        self._soft_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def interrupt(self) -> None:
        """Stop at once; safe from a signal handler of the loop."""
        self._interrupted = True
        if self._fleet:
            self._fleet.kill()
            self._fleet.notify()

    async def execute(self) -> Report:
        """Return the report.

        Raises: UsageError for an invalid scenario or a target that may not be loaded, HostError for a name without an
            address, LabForbiddenError if no namespace can be made, InterruptedRunError.
        """
        if self._only is not None:
            cell = self._cells[self._only]
            return {**await self._report(cell.scenario), "cell": self._only, "settings": cell.settings}
        if not self._cells:
            return await self._report(self._scenario)
        cells = [
            {**await self._report(cell.scenario), "cell": index, "settings": cell.settings}
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

    async def _report(self, scenario: ScenarioSpec) -> Report:
        def enough() -> bool:
            return self._interrupted

        permissions = self._permissions
        answers = await name_resolution.look_up(scenario.names, enough=enough)
        judged = name_resolution.judge(scenario, answers, allowed=permissions.allow, authorized=permissions.authorized)
        self._fleet = fleet = Fleet(lambda _: None)
        try:
            # Remarks are not printed: they are among the notes of the plan.
            environment = await prepare(fleet, judged, answers, notice=lambda _: None, enough=enough)
            addresses = list(dict.fromkeys(target.endpoint.address for target in environment.scenario.every_target))
            routes = await fleet.zygote.call("loadgen.kernel.route:to", addresses)
            assessment = await self._assess(fleet, environment)
        except IncompleteError as error:
            if self._interrupted:
                raise InterruptedRunError("interrupted") from error
            raise
        finally:
            await fleet.stop()
        head = {**_head(environment, self._soft_descriptors), "routes": _routes(addresses, list(map(str, routes)))}
        if isinstance(assessment, HostError):  # no assessment is possible
            return {**head, "possible": False, "verdict": f"impossible: {assessment}", "refused": str(assessment)}
        return {**head, **report_of(assessment)}

    async def _assess(self, fleet: Fleet, environment: Environment) -> Assessment | HostError:
        """Return the assessment, or the error that prevents one: a missing feature or route, a port in use."""
        try:
            assessment = environment.assess(port_blocking=self._permissions.port_blocking)
            if assessment.refusal is None:
                await environment.require_free(fleet, assessment.plan)
        except HostError as error:
            return error
        return assessment


def exit_code(report: Report) -> ExitCode:
    """Return FINE if every cell is possible, else HOST."""
    return ExitCode.FINE if report["possible"] else ExitCode.HOST


def _head(environment: Environment, soft_descriptors: int) -> Report:
    facts = environment.facts
    return {
        "schema": SCHEMA,
        "scenario": environment.scenario.name,
        "limit": None,
        "at_connections": None,
        "at_s": None,
        "connections": environment.scenario.most_open,
        "refused": None,
        "resources": [],
        "remedies": [],
        "notes": list(environment.notes),
        "plan": None,
        "host": {
            "kernel": facts.kernel,
            "in_lab": environment.in_lab,
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
            "missing_count": facts.missing_count,
            "missing_because": [source.reason.value for source in facts.missing_because],
        },
    }


def report_of(assessment: Assessment) -> Report:
    """Return the part of a report that comes from the assessment."""
    plan, prediction = assessment.plan, assessment.prediction
    return {
        "possible": assessment.possible,
        "verdict": assessment.verdict,
        "limit": prediction.limit,
        "at_connections": prediction.at,
        "at_s": prediction.at_s,
        "refused": str(assessment.refusal) if assessment.refusal else None,
        "resources": [_resource(resource) for resource in assessment.in_order],
        "remedies": _remedies(assessment),
        "notes": list(plan.notes),
        "plan": _plan_facts(plan),
    }


def _resource(resource: Resource) -> Report:
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


def _plan_facts(plan: Plan) -> Report:
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


def _remedies(assessment: Assessment) -> list[Report]:
    """Return remedies for the first limit, best first, as in a summary, with the connections that each would allow."""
    at = assessment.first.at or 0
    return [{**remedy.to_json(), "allows": at + remedy.gain if remedy.gain else None} for remedy in assessment.remedies]


def _routes(addresses: Sequence[str], routes: Sequence[str]) -> list[Report]:
    """Group targets by route, the route with most targets first."""
    targets_by_route: dict[str, list[str]] = {}
    for address, route in zip(addresses, routes, strict=True):
        targets_by_route.setdefault(route, []).append(address)
    ordered = sorted(targets_by_route.items(), key=lambda item: -len(item[1]))[:_ROUTES_MAX]
    return [{"way": route, "first": targets[0], "targets": len(targets)} for route, targets in ordered]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
