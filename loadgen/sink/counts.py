"""Counters of the sink processes: the layout of their shared blocks, and totals over all processes.

A sink knows its clients by their source address. It counts the connections accepted from each and marks every source
port seen, so that a run can check that client and sink counted the same connections.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection
from enum import IntEnum
from errno import ECONNRESET, EHOSTUNREACH, ENETUNREACH, EPIPE, ETIMEDOUT, errorcode
from ssl import SSLError
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.processes.shared_memory import Blocks
from loadgen.results import copies

PORTS: Final = 65536
#: Longest text of an IPv6 address with a zone: INET6_ADDRSTRLEN + IFNAMSIZ.
_ADDRESS_SIZE: Final = 62
#: Kinds of failures that a process tells apart; the last row counts all further ones.
_FAILURE_KINDS: Final = 32
_FAILURE_SIZE: Final = 48
_OTHERS: Final = "other failures"
#: With these a read or write on an open connection says that the client or the path to it is gone (tcp(7)).
_BY_PEER: Final = frozenset({ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH})


class SinkCounter(IntEnum):
    """Positions in a sink's counters."""

    ACCEPTED = 0
    OPEN = 1
    ECHOED_BYTES = 2
    REFUSED_BY_LIMIT = 3
    HEARTBEAT_NS = 4
    DATAGRAMS = 5
    ANSWERED = 6
    DROPPED = 7


def block_dtype(sources: int) -> np.dtype[np.void]:
    """Return the layout of one sink process's block: a row per source address, the last for all further addresses.

    The counts of `_counts_dtype` are kept twice (`loadgen.results.copies`). seen: one bit for each source port of that
    address that a connection came from, set at once and so ahead of the counts, by a twentieth of a second at most.
    """
    return np.dtype(
        [
            ("updates", "i8"),
            ("counts", _counts_dtype(sources), (2,)),
            ("addresses", f"S{_ADDRESS_SIZE}", (sources,)),
            ("seen", "u1", (sources, PORTS // 8)),
        ]
    )


def _counts_dtype(sources: int) -> np.dtype[np.void]:
    """Return the layout of what a sink publishes: `accepted` over all rows is the counter of that name."""
    return np.dtype(
        [
            ("counters", "i8", (len(SinkCounter),)),
            ("accepted", "i8", (sources,)),
            ("failure_kinds", f"S{_FAILURE_SIZE}", (_FAILURE_KINDS,)),
            ("failures", "i8", (_FAILURE_KINDS,)),
        ]
    )


def publish(block: Any, counters: array[int], accepted: array[int], failures: SurvivedFailures) -> None:
    """Show the counts of one process to all readers at once; some microseconds."""
    counts = copies.idle(block, "updates", "counts")
    counts["counters"] = counters
    counts["accepted"] = accepted
    failures.write(counts)
    copies.turn(block, "updates")


def published(block: Any) -> Any:
    """Return what one process last published, as a record of `_counts_dtype`, all of the same instant."""
    return copies.consistent(block, "updates", "counts")


def counters(blocks: Blocks) -> NDArray[np.int64]:
    """Return int64 (processes, len(SinkCounter)), each row consistent in itself."""
    return np.array([published(record)["counters"] for record in blocks.records])


class SurvivedFailures:
    """Failures that one sink process survived, by place and reason: "accept4 ENOBUFS", "tls BAD_RECORD_TYPE".

    Each cost at most one connection. A client that leaves or resets is no failure.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._times = array("q", [0]) * _FAILURE_KINDS

    def add(self, where: str, error: BaseException | str) -> None:
        """Count one failure: by the errno of a system call, OpenSSL's reason, or the name of the class."""
        if isinstance(error, OSError) and error.errno in _BY_PEER and where in ("read", "write"):
            return
        kind = f"{where} {_reason(error)}"[:_FAILURE_SIZE]
        row = self._rows.get(kind)
        if row is None:
            if len(self._rows) >= _FAILURE_KINDS - 1:
                kind = _OTHERS
            row = self._rows.setdefault(kind, len(self._rows))
        self._times[row] += 1

    @property
    def times(self) -> dict[str, int]:
        """How often each kind was survived."""
        return {kind: self._times[row] for kind, row in self._rows.items()}

    def write(self, counts: Any) -> None:
        """Write the counts into a record of `_counts_dtype`."""
        if self._rows:
            counts["failure_kinds"][: len(self._rows)] = [kind.encode() for kind in self._rows]
            counts["failures"] = self._times


def _reason(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, SSLError):  # its reason is a word of OpenSSL's, its errno none
        return getattr(error, "reason", None) or type(error).__name__
    if isinstance(error, OSError) and error.errno:
        return errorcode.get(error.errno, str(error.errno))
    return type(error).__name__


def failures(blocks: Blocks) -> dict[str, int]:
    """Return how often each kind of failure was survived by all sink processes, the most frequent first."""
    times: Counter[str] = Counter()
    for counts in map(published, blocks.records):
        for row in np.flatnonzero(counts["failures"]):
            times[counts["failure_kinds"][row].decode()] += int(counts["failures"][row])
    return dict(times.most_common())


def totals(blocks: Blocks, gone: Collection[int] = ()) -> dict[str, int]:
    """Return {accepted, open} over all sink processes; processes that have exited (`gone`, by index) hold nothing."""
    per_process = counters(blocks)
    per_process[list(gone), SinkCounter.OPEN] = 0
    total = per_process.sum(axis=0)
    return {"accepted": int(total[SinkCounter.ACCEPTED]), "open": int(total[SinkCounter.OPEN])}


def heartbeats(blocks: Blocks) -> NDArray[np.int64]:
    """Return when each sink process last published its counters: int64 (processes,), nanoseconds."""
    return counters(blocks)[:, SinkCounter.HEARTBEAT_NS]


def still_open(blocks: Blocks, processes: Collection[int]) -> int:
    """Return the connections that these processes, by index, have open."""
    return int(counters(blocks)[list(processes), SinkCounter.OPEN].sum())


def datagrams(blocks: Blocks) -> dict[str, int]:
    """Return the UDP datagrams {received, answered, dropped} over all sink processes; dropped: on purpose."""
    total = counters(blocks).sum(axis=0)
    names = {"received": SinkCounter.DATAGRAMS, "answered": SinkCounter.ANSWERED, "dropped": SinkCounter.DROPPED}
    return {name: int(total[counter]) for name, counter in names.items()}


def by_source(blocks: Blocks) -> list[dict[str, Any]]:
    """Return {source, accepted, source_ports} for each source address, over all processes.

    source_ports counts distinct ports over the whole life of the sink, so it is below `accepted` where a port was
    used again or served several targets.
    """
    accepted: dict[str, int] = {}
    seen: dict[str, Any] = {}
    for record in blocks.records:
        counts = published(record)["accepted"]
        for row in np.flatnonzero(counts):
            address = record["addresses"][row].decode() or "others"
            accepted[address] = accepted.get(address, 0) + int(counts[row])
            seen[address] = record["seen"][row] | seen.get(address, 0)
    return [
        {"source": address, "accepted": count, "source_ports": int(np.unpackbits(seen[address]).sum())}
        for address, count in sorted(accepted.items())
    ]
