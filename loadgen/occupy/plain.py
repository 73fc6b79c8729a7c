"""The result as JSON; docs/occupy.md describes the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from loadgen.occupy.outcome import OccupyOutcome
from loadgen.occupy.prospect import Prospect

SCHEMA: Final = "loadgen.occupy/1"


def as_json(outcome: OccupyOutcome, netns: int | str | None) -> Mapping[str, Any]:
    """Return plain values. netns: the namespace as it was given; None: that of loadgen itself."""
    prospect = outcome.prospect
    request = prospect.request
    return {
        "schema": SCHEMA,
        "netns": None if netns is None else str(netns),
        "by": request.way.value,
        "transport": request.transport.value,
        "source": prospect.source or None,
        "target": str(request.target) if request.target else None,
        "leave": request.leave,
        "for_s": request.for_s,
        "ports": {
            "low": prospect.reading.ports.low,
            "high": prospect.reading.ports.high,
            "reserved": prospect.reading.reserved,
            "free": prospect.free,
            "shared": prospect.shared,
            "spared": prospect.spared,
        },
        "affected": _affected(prospect),
        "held": {
            "ports_max": outcome.held_max,
            "processes": prospect.processes,
            "duration_s": round(outcome.held_s, 3),
            "left_min": outcome.left_min,
            "left_max": outcome.left_max,
            "adjustments": outcome.adjustments,
            "connects": outcome.connects,
            "failures": [
                {"syscall": syscall, "errno": errno, "count": count}
                for (syscall, errno), count in sorted(outcome.failures.items())
            ],
        },
        "interrupted": outcome.interrupted,
        "after": {"free": outcome.free, "in_time_wait": outcome.in_time_wait},
        "counters": dict(outcome.counters),
        "connects_of_others": outcome.connects_of_others,
    }


def _affected(prospect: Prospect) -> Mapping[str, Any]:
    return {
        "processes": [asdict(process) for process in prospect.affected.processes],
        "unknown": prospect.affected.unknown,
        "reason": prospect.affected.reason,
    }
