"""The shape of `kernel` in a summary: counters and gauges of the kernel."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.results.schema.values import Amount, Count, Shape


class States(Shape, frozen=True, kw_only=True):
    """Sockets of TCP by state, when most were counted."""

    t_s: Amount
    """when that was, seconds from the start"""
    counts: Mapping[str, Count]
    """sockets by state: established, time_wait, ..."""


class Sampling(Shape, frozen=True, kw_only=True):
    """Cost of sampling the kernel."""

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


class SinkKernelCounts(Shape, frozen=True, kw_only=True):
    """The same in the namespace of the sinks, where that is another, or of a gateway."""

    delta: Mapping[str, int]
    """what was added to each counter since the start"""
    peak: Mapping[str, int]
    """the highest of each gauge"""
    states: States | None
    """null: never counted"""
    opening: Mapping[str, int] | None = None
    """the part of delta that was added while connections were opened; null: not written"""


class KernelCounts(Shape, frozen=True, kw_only=True):
    """Kernel counters of the run's namespace; only those that moved."""

    delta: Mapping[str, int]
    """what was added to each counter since the start, by name: TcpExt.TWRecycled, ..."""
    peak: Mapping[str, int]
    """the highest of each gauge, by name: sockstat.tcp_tw, ..."""
    ramp_peak: Mapping[str, int]
    """the highest of each gauge while connections were opened"""
    opening: Mapping[str, int] | None = None
    """the part of delta that was added while connections were opened; null: not written"""
    states: States | None
    """null: never counted"""
    sink: SinkKernelCounts | None = None
    """only where the sinks have a namespace of their own"""
    gateway: SinkKernelCounts | None = None
    """only behind the gateway of a lab: what its connection tracking counted"""
    sampling: Sampling | None
    """null: no line says so"""
