"""What only the command line can permit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the command line, and only the command line, permits.

    in_lab: the run has a namespace of its own, where it can be in nobody's way.
    force: run into a wall that a run survives, on purpose.
    """

    in_lab: bool
    port_blocking: bool = False
    extend_sources: bool = False
    force: bool = False
