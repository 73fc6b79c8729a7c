"""The shape of what each side saw: `sources`, `sink` and `probes` of a summary."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from loadgen.results.schema.values import Count, strict


@strict
class Pair(TypedDict):
    """Connections from one source address to one target."""

    source: str
    """address"""
    target: str
    """address and port"""
    capacity: Count
    """four-tuples that the plan had for them"""
    peak_open: Count
    """the most open at once"""
    established: Count
    """connections"""
    failed: Count
    """attempts"""


@strict
class SinkSource(TypedDict):
    """What a sink saw of one source address."""

    source: str
    """address; others: all of those beyond the rows of the table"""
    accepted: Count
    """connections; over UDP endpoints"""
    source_ports: Count
    """distinct ports"""


@strict
class Datagrams(TypedDict):
    """Datagrams at a sink of UDP."""

    received: Count
    """datagrams"""
    answered: Count
    """of these"""
    dropped: Count
    """of these, on purpose"""


@strict
class Sink(TypedDict):
    """What the listening side counted, probes included."""

    accepted: Count
    """connections; over UDP endpoints that datagrams came from"""
    open_peak: Count
    """the most open at once"""
    end_of_hold: Count
    """open at the end of the hold"""
    agrees: bool | None
    """whether both sides counted the same; null when the run was cut off before both had counted to the end"""
    text: str
    """in words"""
    source_ports: Count
    """distinct pairs of source address and port"""
    sources: list[SinkSource]
    """by source address"""
    datagrams: NotRequired[Datagrams]
    """only over UDP"""


@strict
class ProbeResult(TypedDict):
    """What a probe saw."""

    established: Count
    """connections, or listeners, that could be had"""
    failed: Count
    """that could not"""
    errors: dict[str, dict[str, Count]]
    """failures by system call and errno"""
    source_ports: Count
    """distinct source ports of its connections"""


@strict
class ProbeReason(TypedDict):
    """Why a probe could not run."""

    reason: str
    """in words"""
