"""A line of events.jsonl: something that happened to a run or to a matrix."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.sides import ProbeResult
from loadgen.results.schema.values import Shape


class Event(Shape, frozen=True, kw_only=True):
    """Something that happened, in words for people and with what a program needs of it."""

    event: str
    """its kind: note, probe, proof, interrupted, worker-lost, ended, cell-started, ..."""
    text: str
    """one sentence"""
    t_s: float = -1.0
    """seconds after the start; a note of the plan may be older than it"""
    name: str | None = None
    """of a probe"""
    stopped: bool = False
    """of a process that gave no sign of life: it was stopped, by a signal or a debugger"""
    reason: str | None = None
    """why a probe could not run"""
    result: ProbeResult | None = None
    """counts of a probe"""
    target: str | None = None
    """of a probe: address and port"""
    sources: Mapping[str, int] | None = None
    """of a probe: connections by source address"""
    cell: int | None = None
    """of a matrix: number of the cell, from 0"""
    round: int | None = None
    """of a matrix: number of the round, from 1"""
    at_ns: int | None = None
    """of the start: nanoseconds since 1970, UTC, by the host's own clock"""
    clock_error_ns: int | None = None
    """of the start of an agent: how far its clock may be from the coordinator's"""
    proof: ProofResult | None = None
    """a remedy that was tried, and its result"""
