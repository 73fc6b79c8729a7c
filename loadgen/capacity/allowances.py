"""Permissions that only the command line can give."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowances:
    """The permissions of one command line; a scenario cannot give them.

    in_lab: the run has a network namespace of its own, so it cannot disturb other processes.
    force: run although the plan meets a limit, where a run survives it.
    """

    in_lab: bool
    port_blocking: bool = False
    extend_sources: bool = False
    force: bool = False
