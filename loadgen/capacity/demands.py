"""The demand of a plan on each resource but source ports: descriptors, processes, memory, tables, queues."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import format as fmt
from loadgen.arrivals import due_ns_of, shard_sizes
from loadgen.capacity.ports import PortSearch
from loadgen.capacity.processes import RESERVED_DESCRIPTORS, held_by_sinks, unlucky
from loadgen.capacity.resources import (
    HOST_DESCRIPTORS,
    LINK_DESCRIPTORS,
    MEMORY,
    PORT_SEARCH,
    PROCESS_DESCRIPTORS,
    SINK_DESCRIPTORS,
    TIME_WAIT_PORTS,
    WORKER_DESCRIPTORS,
    WORKER_PORTS,
    Resource,
    Shortage,
    most,
)
from loadgen.capacity.time_wait import TIME_WAIT_S, rest_s
from loadgen.clock import NS_PER_S
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimits
from loadgen.model import CloseMode, Engine, Plan, Transport

#: Kernel memory of one end of an idle connection; 6.2 KB for both ends were measured on Linux 6.18.
KERNEL_BYTES_PER_END: Final = 3_200
#: User memory of a held connection, and of a process that holds none yet.
USER_BYTES_PER_END: Final = 600
PROCESS_BYTES: Final = 25_000_000
#: Memory that OpenSSL keeps for one end of a TLS connection, after the handshake; 30 KB were measured with OpenSSL 3.0.
_TLS_BYTES_PER_END: Final = 31_000
#: Pages of TCP's memory for an exchange under way, one at each end; idle connections have none.
_PAGES_PER_EXCHANGE: Final = 2
#: epoll(7): of one user, whatever number of processes and epoll objects it has.
_WATCHES: Final = "fs.epoll.max_user_watches"
#: How long a sink may be busy elsewhere while connections gather in its accept queue.
_SINK_PAUSE_S: Final = 0.1
#: Arrivals of a schedule that are looked at; 32 MB of instants.
_ARRIVALS_MAX: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """The processes of a plan and what they may open.

    per_worker, per_sink: descriptors for connections. fixed_workers, fixed_sinks: the scenario gives the count.
    share: of the connections, that goes to loadgen's own sinks; with those of other hosts it may be more than all of
    them. opens: False where other hosts open all of them. short: the shortages of these counts by name, see
    `loadgen.capacity.processes`.
    """

    workers: int
    sinks: int
    per_worker: int
    per_sink: int
    fixed_workers: bool
    fixed_sinks: bool
    share: Fraction
    short: Mapping[str, Shortage]
    opens: bool = True

    def ends(self, connections: int, transport: Transport) -> int:
        """Return the descriptors of these connections, at both ends where the other end is a sink of loadgen."""
        accepted = 0 if transport is Transport.UDP else connections  # a datagram takes no descriptor over there
        return (connections if self.opens else 0) + int(accepted * self.share)


def of_descriptors(plan: Plan, counts: ProcessCounts, facts: HostFacts) -> Iterator[Resource]:
    """Yield the descriptors of each process, and of the whole host."""
    connections, short = plan.connections, counts.short
    if facts.descriptors <= RESERVED_DESCRIPTORS:
        shortage = Shortage(
            "descriptors of one process",
            RESERVED_DESCRIPTORS + 1,
            facts.descriptors,
        )
        yield Resource(PROCESS_DESCRIPTORS, "descriptors", shortage.needed, shortage.available, 0, shortage=shortage)
    if counts.opens:
        sizes = shard_sizes(connections, plan.sharded_spaces, counts.workers)
        yield Resource(
            WORKER_DESCRIPTORS,
            "descriptors",
            max(sizes),
            counts.per_worker,
            sum(min(size, max(counts.per_worker, 0)) for size in sizes) if "workers" in short else None,
            fmt.many(counts.workers, "worker") + ("" if counts.fixed_workers else ", and more where more are needed"),
            short.get("workers"),
            RESERVED_DESCRIPTORS * counts.workers,
        )
    if counts.sinks:
        yield Resource(
            SINK_DESCRIPTORS,
            "descriptors",
            -(-held_by_sinks(connections, counts.share, plan.transport) // counts.sinks),
            max(counts.per_sink, 0),
            0 if "sink" in short else _most_of_sinks(plan, counts) if "sinks" in short else None,
            fmt.many(counts.sinks, "sink") + ("" if counts.fixed_sinks else ", and more where more are needed"),
            short.get("sink") or short.get("sinks"),
        )
    ends = counts.ends(connections, plan.transport)
    shortage = Shortage(
        "descriptors of the whole host (fs.file-max)",
        ends,
        facts.files_free,
    )
    yield Resource(
        HOST_DESCRIPTORS,
        "descriptors",
        ends,
        facts.files_free,
        most(lambda count: counts.ends(count, plan.transport), facts.files_free),
        "fs.file-max",
        shortage if ends > facts.files_free else None,
    )
    links = counts.workers + counts.sinks + RESERVED_DESCRIPTORS
    shortage = Shortage(
        "descriptors of the orchestrator, one for each process",
        links,
        facts.descriptors,
    )
    too_many = links > facts.descriptors
    yield Resource(
        LINK_DESCRIPTORS,
        "descriptors",
        links,
        facts.descriptors,
        0 if too_many else None,
        "one for each process",
        shortage if too_many else None,
    )


def _most_of_sinks(plan: Plan, counts: ProcessCounts) -> int:
    def unluckiest(count: int) -> int:
        return math.ceil(unlucky(held_by_sinks(count, counts.share, plan.transport), counts.sinks))

    return most(unluckiest, counts.per_sink)


def of_ports_for_workers(plan: Plan, counts: ProcessCounts) -> Iterator[Resource]:
    """Yield the ports of a plan with more workers than ports, where each worker needs a slice of its own."""
    if shortage := counts.short.get("ports"):
        at = 0 if counts.fixed_workers else shortage.available * max(counts.per_worker, 0)
        yield Resource(WORKER_PORTS, "source-ports", shortage.needed, plan.capacity_per_pair, at, shortage=shortage)


def of_memory(plan: Plan, counts: ProcessCounts, facts: HostFacts, limits: HostLimits) -> Iterator[Resource]:
    """Yield the memory of the machine, and the pages that TCP may use."""
    per_end = KERNEL_BYTES_PER_END + USER_BYTES_PER_END + (_TLS_BYTES_PER_END if plan.tls else 0)
    processes = (counts.workers + counts.sinks) * PROCESS_BYTES

    def cost(connections: int) -> int:
        return counts.ends(connections, plan.transport) * per_end + processes

    memory, available = cost(plan.connections), facts.memory_available_bytes
    yield Resource(
        MEMORY,
        "memory",
        memory,
        available,
        most(cost, available),
        "kernel and processes, both ends",
        Shortage("bytes of memory", memory, available) if memory > available else None,
    )
    if limits.tcp_memory and plan.transport is Transport.TCP:
        under_way = min(plan.connections, counts.workers * plan.in_flight_max) if plan.traffic or plan.tls else 0
        yield Resource(
            "tcp_mem, pages",
            "memory",
            under_way * _PAGES_PER_EXCHANGE,
            limits.tcp_memory.free,
            note=f"data under way; {limits.tcp_memory.used:,} of {limits.tcp_memory.limit:,} in use now",
        )


def of_processes(counts: ProcessCounts, limits: HostLimits) -> Iterator[Resource]:
    """Yield the processes of a run: workers, sinks and the process they are forked from."""
    room = limits.processes
    if room is None:
        return
    needed = counts.workers + counts.sinks + 1
    shortage = Shortage("processes", needed, room.free)
    short = needed > room.free
    yield Resource(
        "processes", "processes", needed, room.free, 0 if short else None, room.name, shortage if short else None
    )


def of_watches(plan: Plan, counts: ProcessCounts, facts: HostFacts) -> Iterator[Resource]:
    """Yield the sockets that one user has watched by epoll(7): by the workers, without io_uring, and by the sinks."""
    limit = setting(facts, _WATCHES)
    if not limit:
        return

    def watched(connections: int) -> int:
        ends = counts.ends(connections, plan.transport)
        return ends if plan.engine is Engine.EPOLL or not counts.opens else ends - connections

    needed, at = watched(plan.connections), most(watched, limit)
    if not needed:
        return
    shortage = Shortage(f"sockets watched by epoll ({_WATCHES})", needed, limit, excusable=True)
    yield Resource(
        "watches of epoll",
        "watches",
        needed,
        limit,
        at,
        f"{_WATCHES}, of one user",
        shortage if needed > limit else None,
        slack=max(limit - at, 0),  # both ends want a watch, and whichever comes first has it
    )


def of_tables(plan: Plan, counts: ProcessCounts, facts: HostFacts) -> Iterator[Resource]:
    """Yield accept queues and sockets in TIME-WAIT."""
    somaxconn = setting(facts, "net.core.somaxconn")
    if counts.sinks and somaxconn and plan.transport is Transport.TCP:
        yield _accept_queues(plan, counts, somaxconn)
    buckets = setting(facts, "net.ipv4.tcp_max_tw_buckets")
    if buckets and plan.close is CloseMode.FIN and plan.transport is Transport.TCP:
        yield Resource(
            "TIME-WAIT sockets",
            "time-wait",
            _time_waits(plan),
            buckets,
            note="tcp_max_tw_buckets; what finds the table full is closed without TIME-WAIT",
        )


def _accept_queues(plan: Plan, counts: ProcessCounts, somaxconn: int) -> Resource:
    """Return the most connections that wait for accept(), and the room for them: the backlog of listen(2) and one."""
    sinks = [target for target in plan.targets if target.sink]
    room = sum((min(target.backlog or somaxconn, somaxconn) + 1) * counts.sinks for target in sinks)
    if len(sinks) == len(plan.targets) and all(target.accept_after_s is None for target in sinks):
        note = "they are never accepted"
        return Resource("accept queues", "backlog", plan.connections, room, room, note, slack=room)
    waiting: int | None
    fastest = max((max(stage.rate_start_per_s, stage.rate_end_per_s) for stage in plan.stages), default=None)
    if fastest is None and not counts.opens:
        waiting, note = None, "how many attempts are in flight is up to the other hosts"
    elif fastest is None:
        waiting, note = counts.workers * plan.in_flight_max, "all attempts that may be in flight"
    else:
        waiting, note = math.ceil(fastest * _SINK_PAUSE_S), f"what arrives in {_SINK_PAUSE_S * 1000:g} ms"
    note += f"; net.core.somaxconn {somaxconn:,}"
    needed = None if waiting is None else min(waiting, plan.connections)
    return Resource("accept queues", "backlog", needed, room, note=note)


def _time_waits(plan: Plan) -> int | None:
    """Return the most sockets in TIME-WAIT at a time; None in a closed loop, whose rate is not known before the run."""
    if plan.churn is None:
        return min(plan.connections, max(plan.capacity, 0))
    if plan.churn.arrivals is None:
        return None
    return min(most_within(due_of_churn_ns(plan), TIME_WAIT_S), plan.capacity)


def of_time_wait(plan: Plan, facts: HostFacts) -> Iterator[Resource]:
    """Yield the ports in use or in TIME-WAIT, for churn whose ports enter TIME-WAIT."""
    if not plan.churn or not plan.ceiling or plan.ceiling.per_s is None:
        return
    ports, note, per_s = plan.capacity, plan.ceiling.because, plan.ceiling.per_s
    if plan.churn.arrivals is None:
        yield Resource(TIME_WAIT_PORTS, "time-wait", None, ports, ports, note, per_s=per_s)
        return
    due_ns, resting_s = due_of_churn_ns(plan), rest_s(plan, facts.sysctls)[0]
    at = first_too_soon(due_ns, ports, resting_s) or ports
    yield Resource(TIME_WAIT_PORTS, "time-wait", most_within(due_ns, resting_s), ports, at, note, per_s=per_s)


def of_search(plan: Plan, search: PortSearch | None, facts: HostFacts) -> Iterator[Resource]:
    """Yield the ports that the kernel finds without a long search; further ones cost time, and stop no connection."""
    if search is None:
        return
    needed: int | None = plan.connections
    if plan.churn and plan.ceiling and plan.ceiling.per_s is not None:  # ports in TIME-WAIT are walked through, too
        open_loop = plan.churn.arrivals is not None
        needed = most_within(due_of_churn_ns(plan), rest_s(plan, facts.sysctls)[0]) if open_loop else None
    yield Resource(PORT_SEARCH, "port-search", needed, search.in_all, note=search.sentence)


def first_too_soon(due_ns: NDArray[np.int64], room: int, rest_s: float) -> int | None:
    """Return the number of the first attempt, from 0, that finds no room; None where each finds some.

    due_ns: instants in rising order. room: attempts that fit, each of which takes its place for rest_s.
    """
    if not 0 < room < due_ns.size:
        return None
    # An attempt finds no room when the one before it that had the same place is less than a rest ago.
    too_soon = due_ns[room:] - due_ns[: due_ns.size - room] < rest_s * NS_PER_S
    return room + int(too_soon.argmax()) if too_soon.any() else None


def most_within(due_ns: NDArray[np.int64], window_s: float) -> int:
    """Return the most of these instants, in rising order, that lie within a half-open window."""
    if not due_ns.size:
        return 0
    first = np.searchsorted(due_ns, due_ns - round(window_s * NS_PER_S), side="right")
    return int((np.arange(due_ns.size) + 1 - first).max())


def due_of_churn_ns(plan: Plan) -> NDArray[np.int64]:
    """Return when the arrivals of churn in an open loop are due, the first four million of them."""
    assert plan.churn
    count = min(plan.churn.arrivals or 0, _ARRIVALS_MAX)
    return due_ns_of(plan.stages, np.arange(count, dtype=np.int64), carry=plan.arrival_carry)


def second_of(plan: Plan, attempt: int) -> float | None:
    """Return when an attempt, counted from 0, is due, in seconds; None without a schedule, or where it ends before."""
    ends = bool(plan.stages) and plan.stages[-1].duration_s is not None
    if not plan.stages or (ends and attempt >= (plan.scheduled or 0)):
        return None
    due_ns = due_ns_of(plan.stages, np.array([attempt], dtype=np.int64), carry=plan.arrival_carry)
    return round(float(due_ns[0]) / NS_PER_S, 3)


def setting(facts: HostFacts, name: str) -> int:
    """Return a setting as a number; 0 where it is unknown."""
    text = facts.sysctls.get(name, "")
    return int(text) if text.isdecimal() else 0
