"""The plan of a run on several hosts, from those of its agents: which limit the whole meets first, and where. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadgen import format as fmt
from loadgen.control.dry_run import SCHEMA

#: An agent's answer: a report of `loadgen plan` (loadgen.plan/1).
Report = Mapping[str, Any]


def whole_of(scenario: str, agents: Sequence[tuple[str, Report]]) -> dict[str, Any]:
    """Return the report of the whole, with that of each agent in `agents`.

    limit: of the agent that has least room for its share. at_connections: those that fit in all, each agent as far as
    its own limit; null where an agent could not be assessed.
    """
    rows = [{"agent": name, **report} for name, report in agents]
    impossible = [row for row in rows if not row["possible"]]
    planned = sum(row["connections"] for row in rows)
    unknown = [row for row in rows if row["at_connections"] is None]
    first = min((row for row in impossible or rows if row not in unknown), key=_room, default=None)
    at = sum(
        min(row["at_connections"], row["connections"]) if impossible else row["at_connections"]
        for row in rows
        if row not in unknown
    )
    return {
        "schema": SCHEMA,
        "scenario": scenario,
        "possible": not impossible,
        "verdict": _verdict(rows, impossible, first, planned, at),
        "limit": first["limit"] if first else None,
        "at_connections": None if unknown else at,
        "connections": planned,
        "agents": rows,
    }


def _room(row: Report) -> float:
    """Return how much of its share an agent has room for, of 1."""
    at: int = row["at_connections"]
    planned: int = row["connections"]
    return at / max(planned, 1)


def _verdict(rows: Sequence[Report], impossible: Sequence[Report], first: Report | None, planned: int, at: int) -> str:
    many = fmt.many(len(rows), "agent")
    if not impossible:
        where = f"; the first limit would be {first['limit']} on {first['agent']}" if first else ""
        return f"possible: {planned:,} connections on {many}{where}"
    names = ", ".join(row["agent"] for row in impossible)
    head = f"impossible on {names} ({len(impossible)} of {many})"
    if first is None:
        return f"{head}: {impossible[0]['refused']}"
    return f"{head}: {first['limit']} end at {at:,} of {planned:,} connections, first on {first['agent']}"
