"""The witness of a run: told of its plan, its beginning and its events as they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loadgen.model import Plan
from loadgen.results.schema.event import Event


class Witness:
    """Is told, and does nothing; override what is of interest. Each method must return at once."""

    def planned(self, plan: Plan, host: Mapping[str, object], path: Path) -> None:
        """The run directory is made, and has this plan in plan.json and this host in host.json."""

    def began(self, due_ns: int, begun_ns: int) -> None:
        """The load has begun: when it should, and when the first worker did, both on CLOCK_MONOTONIC in nanoseconds.

        Told within a second of it. A run without a first attempt, because it was interrupted, never tells it; one that
        only listens begins on time.
        """

    def happened(self, event: Event) -> None:
        """Something happened, and is in events.jsonl or will be; also once the run directory can take no more."""
