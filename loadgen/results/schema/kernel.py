"""The shape of `kernel` in a summary: what the kernel counted."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from loadgen.results.schema.values import Amount, Count, strict


@strict
class States(TypedDict):
    """Sockets of TCP by state, when most were counted."""

    t_s: Amount
    """when that was, seconds from the start"""
    counts: dict[str, Count]
    """sockets by state: established, time_wait, ..."""


@strict
class Sampling(TypedDict):
    """What looking at the kernel cost."""

    samples: Count
    """lines of the series"""
    listings: Count
    """of sockets by state"""
    cpu_s: Amount
    """CPU time of both, seconds"""
    run_cpu_s: Amount | None
    """CPU time of all processes of the run that lived to its end, seconds; null of a run that was killed"""
    share: Amount | None
    """cpu_s / run_cpu_s"""
    share_of_a_core: Amount | None
    """cpu_s / the time the run took"""


@strict
class SinkKernel(TypedDict):
    """The same in the namespace of the sinks, where that is another."""

    delta: dict[str, int]
    """what was added to each counter since the start"""
    peak: dict[str, int]
    """the highest of each gauge"""
    states: States | None
    """null: never counted"""


@strict
class Kernel(TypedDict):
    """What the kernel counted inside the run's namespace; only what moved is there."""

    delta: dict[str, int]
    """what was added to each counter since the start, by name: TcpExt.TWRecycled, ..."""
    peak: dict[str, int]
    """the highest of each gauge, by name: sockstat.tcp_tw, ..."""
    ramp_peak: dict[str, int]
    """the highest of each gauge while connections were opened"""
    states: States | None
    """null: never counted"""
    sink: NotRequired[SinkKernel]
    """only where the sinks have a namespace of their own"""
    sampling: Sampling | None
    """null: no line says so"""
