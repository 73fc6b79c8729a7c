"""The shape of the counts of each side: `sources`, `not_attributed`, `sink` and `probes` of a summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loadgen.results.schema.values import Count, Shape


class PairResult(Shape, frozen=True, kw_only=True):
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
    agent: str = ""
    """of a run of several agents, the one that made them"""

    @property
    def place(self) -> str:
        """The source, and with several agents whose it is."""
        return f"{self.agent}: {self.source}" if self.agent else self.source


class NotAttributed(Shape, frozen=True, kw_only=True):
    """Counts that are in the totals and not broken down.

    A worker breaks its counts down ten times a second. So in a line of the series some of the last tenth of a second
    may be missing in `pairs` and `latency_ns`, and for good those of a worker that was killed.
    """

    established: Count
    """connections whose source, target and latency are not known"""
    failed: Count
    """attempts whose source and target are not known"""


class SinkSource(Shape, frozen=True, kw_only=True):
    """Counts of a sink for one source address."""

    source: str
    """address; others: all of those beyond the rows of the table"""
    accepted: Count
    """connections; over UDP endpoints"""
    source_ports: Count
    """distinct ports"""


class Datagrams(Shape, frozen=True, kw_only=True):
    """Datagrams at a sink of UDP."""

    received: Count
    """datagrams"""
    answered: Count
    """of these"""
    dropped: Count
    """of these, on purpose"""


class SinkResult(Shape, frozen=True, kw_only=True):
    """Counts of the listening side, probes included."""

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
    sources: tuple[SinkSource, ...]
    """by source address"""
    datagrams: Datagrams | None = None
    """only over UDP"""
    failures: Mapping[str, Count] = {}
    """failures that the sinks survived, by place and reason: accept4 EMFILE"""


class ProbeResult(Shape, frozen=True, kw_only=True):
    """A probe's counts, or the reason why it could not run and no count."""

    established: Count | None = None
    """connections, or listeners, that it got"""
    failed: Count | None = None
    """attempts that failed"""
    errors: Mapping[str, Mapping[str, Count]] | None = None
    """failures by system call and errno"""
    source_ports: Count | None = None
    """distinct source ports of its connections"""
    endpoint: str | None = None
    """address and port that it could not listen on"""
    held_by: Mapping[str, Count] | None = None
    """where it could not listen because the port was in use, the sockets that have it: listener, connection, time-wait,
    bound"""
    reason: str | None = None
    """why it could not run"""

    @property
    def holders(self) -> str:
        """The sockets that had the port, in words: "held by 1 connection"; "" where that is not known."""
        sorts = (
            _HOLDERS.get(sort, sort).format("1" if count == 1 else f"{count:,}", "" if count == 1 else "s")
            for sort, count in (self.held_by or {}).items()
        )
        return f"held by {', '.join(sorts)}" if self.held_by else ""


_HOLDERS: Final = {
    "listener": "{} listener{}",
    "connection": "{} connection{}",
    "time-wait": "{} socket{} in TIME-WAIT",
    "bound": "{} bound socket{}",
}
