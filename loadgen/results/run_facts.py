"""The figures of a run that the reasoning of a verdict reads, each computed once.

Pure: a summary, its plan and the facts of the host in, numbers out. Where a counter was not sampled, or belongs to a
namespace that loadgen does not see, the figure is None: unknown is not zero.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from loadgen.capacity.limits import LIMIT_OF_OUTCOME, LIMITS
from loadgen.capacity.nat import ports_of
from loadgen.capacity.nat_address import outsides
from loadgen.capacity.remedies import Situation
from loadgen.format import latency
from loadgen.kernel import neighbours, retransmission
from loadgen.kernel.port_holders import LISTENER
from loadgen.kernel.retransmission import INITIAL_S, SynTimes
from loadgen.model import Plan, Transport
from loadgen.outcomes import Outcome
from loadgen.results import cost
from loadgen.results.cost import Rise
from loadgen.results.schema.host import Host
from loadgen.results.schema.kernel import KernelCounts, SinkKernelCounts
from loadgen.results.schema.run import ErrorCount, RunSummary
from loadgen.results.schema.sides import PairResult
from loadgen.strategies import PortScope

#: Limits that an errno of an attempt without a port points at.
WALLS: Final = frozenset({LIMIT_OF_OUTCOME[Outcome.NO_FREE_FOUR_TUPLE], LIMIT_OF_OUTCOME[Outcome.NO_FREE_PORT]})
#: System calls on open connections: a failure in them is a lost connection, not a failed attempt.
_ON_OPEN: Final = frozenset({"recv", "send", "tls"})
#: Share of heartbeats without an answer in time that is more than a passing delay.
_MISSED_SHARE: Final = 0.01
#: A connect that took this long or longer was answered after its SYN was sent again. The clock of the kernel's timer is
#: coarse, hence the slack.
SYN_AGAIN_S: Final = 0.95 * INITIAL_S
#: A connect that takes this many times its round trip, and this much longer, microseconds, spent the time on this host:
#: on loopback its system calls alone take four times the round trip, which is a few microseconds.
_OWN_FACTOR: Final = 4.0
_OWN_US_MIN: Final = 1000.0
#: Where the search begins is known, so a smaller rise shows it than one that may have any cause.
_SEARCH_FACTOR: Final = 2.0
#: Counters of a listener that dropped a SYN, or the ACK that would have completed a connection, snmp_counter.rst.
_OVERFLOWS: Final = ("TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop")
#: Counters of segments that were rejected for their time stamp.
_OLDER_STAMPS: Final = ("TcpExt.PAWSTimewait", "TcpExt.PAWSEstabRejected")


class PortSpace(NamedTuple):
    """A space of ports: a pair, or a source that shares none. opened: the most at once."""

    name: str
    opened: int
    capacity: int
    failed: int


@dataclass(frozen=True)
class RunFacts:
    """A run, and what its numbers say before any limit is judged."""

    summary: RunSummary
    plan: Plan
    host: Host

    # --- The run as a whole -----------------------------------------------------------------------

    @property
    def predicted(self) -> int | None:
        """Connections that the plan had room for; None: no limit was predicted."""
        if self.plan.churn:
            return self.plan.ceiling.established if self.plan.ceiling else None
        return min(self.plan.capacity, self.plan.connections)

    @property
    def observed(self) -> int:
        """The most connections that were open at once; of churn, those established."""
        if self.plan.churn:
            return self.summary.outcomes.established
        return self.summary.open.peak

    @property
    def tcp(self) -> bool:
        """True unless the run was over UDP, which has no SYN, no queue and no TIME-WAIT."""
        return self.plan.transport is Transport.TCP

    @property
    def lost_a_sink(self) -> bool:
        """True if a sink of the run ended before it, and no target is another program."""
        because = self.summary.incomplete_because or ""
        of_agents = (f"agent {agent.name} " for agent in self.plan.agents if agent.plan.guests)
        return because.startswith(("sink ", *of_agents)) and all(target.sink for target in self.plan.targets)

    @property
    def not_started(self) -> int:
        """Arrivals that were never begun."""
        return self.summary.arrivals.not_started

    @cached_property
    def counts(self) -> Counter[str]:
        """Connections by the limit that their (system call, errno) points at."""
        counts: Counter[str] = Counter()
        for error in self.summary.errors:
            counts[pointed_at(error)] += error.count
        # A time-out may end an attempt, or an open connection that waits for an answer.
        lost = sum(error.count for error in self.summary.errors if error.syscall in _ON_OPEN)
        unanswered = min(max(self.summary.open.lost - lost, 0), counts["blackhole"])
        counts["unanswered"] += unanswered
        counts["blackhole"] -= unanswered
        counts["wrong-reply"] += self.wrong
        return +counts

    @property
    def denied_in_passing(self) -> int:
        """Attempts of churn without a port, too few to be a limit: none was predicted, and that came true."""
        churn, ceiling = self.summary.churn, self.plan.ceiling
        if not churn or not churn.as_predicted or ceiling is None or ceiling.per_s:
            return 0
        return sum(self.counts[name] for name in WALLS)

    @property
    def held_up_by_exchanges(self) -> bool:
        """True of churn where exchanges without an answer took half of its room, each for the scenario's timeout."""
        churn = self.summary.churn
        if not churn:
            return False
        return 2 * self.counts["unanswered"] * self.plan.timeout_s >= self.plan.connections * churn.lasted_s

    @property
    def silent(self) -> int:
        """Attempts that timed out."""
        return self.counts["blackhole"]

    @property
    def wrong(self) -> int:
        """Wrong replies; with heartbeats, of which a connection makes many, at most one for each connection."""
        if not self.tcp:  # where a late reply counts as wrong, and any may get lost
            return 0
        heartbeat, traffic = self.summary.heartbeat, self.summary.traffic
        wrong = traffic.wrong if traffic else 0
        return min(wrong, heartbeat.connections) if heartbeat else wrong

    @property
    def missed(self) -> int:
        """Heartbeats that had no answer when the next was due; 0 below the share of a passing delay."""
        heartbeat = self.summary.heartbeat
        if heartbeat is None or not self.tcp:
            return 0
        return heartbeat.missed if heartbeat.missed > _MISSED_SHARE * (heartbeat.missed + heartbeat.sent) else 0

    @property
    def answered(self) -> int:
        """Replies that open connections were given, which shows that the target accepts."""
        traffic, heartbeat = self.summary.traffic, self.summary.heartbeat
        return (traffic.replies if traffic else 0) + (heartbeat.answered if heartbeat else 0)

    def target(self, limit: str) -> str:
        """Return the target to name with a limit: that of all failed attempts, or "the targets".

        What becomes of open connections is not counted by target; there only a single target of the plan is named.
        """
        rows = () if LIMITS[limit].of_open else self.summary.sources
        names = {row.target for row in rows if row.failed} or {str(target.endpoint) for target in self.plan.targets}
        return names.pop() if len(names) == 1 else "the targets"

    def situation(self, limit: str) -> Situation:
        """Return the facts that remedies for a limit are computed from."""
        return Situation(
            self.plan,
            self.host.facts(self.plan.ports),
            short=max((self.plan.scheduled or 0) - self.observed, 0),
            errnos=frozenset(error.errno for error in self.summary.errors),
            target=self.target(limit),
            time_wait=self.time_wait,
            listening=self.stolen_ports,
        )

    @property
    def paused(self) -> tuple[str, ...]:
        """Times when loadgen was stopped, in words: then what it measured says nothing of its speed."""
        return self.summary.generator.paused

    @property
    def established_any(self) -> bool:
        """True if any connection opened."""
        return self.summary.outcomes.established > 0

    @cached_property
    def cost_rise(self) -> Rise | None:
        """The occupancy from which on a connection cost at least four times as much; None: there is none."""
        return self._rise(cost.RISE_FACTOR)

    @cached_property
    def cost_rise_of_search(self) -> Rise | None:
        """The same of a smaller rise, for a strategy whose search is known to begin at that occupancy."""
        return self._rise(_SEARCH_FACTOR)

    def _rise(self, factor: float) -> Rise | None:
        return cost.rise(self.summary.cost_us, lasting=1 if self.plan.churn else 2, factor=factor)

    @property
    def cliff_at(self) -> float | None:
        """The share of the ports in use from which on the strategy's search is long; None: it does not search."""
        return self.plan.strategy.over(self.plan.transport).cliff_at

    @property
    def past_cliff(self) -> bool:
        """True if the ports in use are past the share from which on the strategy's search is long."""
        cliff_at = self.cliff_at
        return cliff_at is not None and any(
            space.opened > cliff_at * space.capacity for space in self.spaces if space.capacity
        )

    @property
    def search_begins(self) -> float:
        """The place in `cost_us` where the search begins, in tenths; of the ports in churn, else of the connections."""
        plan = self.plan
        return 10 * (self.cliff_at or 0) * (1.0 if plan.churn else plan.capacity / max(plan.connections, 1))

    @property
    def kernel_us(self) -> float | None:
        """CPU time of a connection inside system calls, microseconds; None: not measured."""
        generator, established = self.summary.generator, self.summary.outcomes.established
        if generator.user_cpu_s is None or not established:
            return None
        return max(generator.cpu_s - generator.user_cpu_s, 0.0) / established * 1e6

    @property
    def delayed_here(self) -> str:
        """Words with the figures where a median connect took much longer than its round trip; "": none did.

        The kernel measures the round trip when the answer comes in, so what is beyond it passed on this host. Not where
        the answer came to a SYN that was sent again.
        """
        connect, network = self.summary.latency_us.connect, self.summary.latency_us.network
        if network is None or connect.p50 >= SYN_AGAIN_S * 1e6:
            return ""
        if connect.p50 < max(_OWN_FACTOR * network.p50, network.p50 + _OWN_US_MIN):
            return ""
        return f"a connect took {latency(connect.p50)} at the median, of which the network took {latency(network.p50)}"

    @property
    def stolen_ports(self) -> tuple[int, ...]:
        """Ports at which a probe could not listen because something else than a listener has them."""
        ports = (
            int(probe.endpoint.rpartition(":")[2])
            for probe in self.summary.probes.values()
            if probe.endpoint and (probe.held_by is None or set(probe.held_by) - {LISTENER})
        )
        return tuple(sorted(set(ports)))

    # --- Source ports -----------------------------------------------------------------------------

    @cached_property
    def spaces(self) -> list[PortSpace]:
        """The spaces of ports, each with what was opened in it at most, and what failed."""
        spaces: dict[str, tuple[int, int, int]] = {}
        scope = self.plan.strategy.over(self.plan.transport).scope
        names = {PortScope.PAIR: "{source} -> {target}", PortScope.SOURCE: "{source}", PortScope.HOST: "{host}"}
        for row in self.summary.sources:
            name = names[scope].format(source=row.place, target=row.target, host=row.agent or "this host")
            opened, _, failed = spaces.get(name, (0, 0, 0))
            spaces[name] = (opened + row.peak_open, row.capacity, failed + row.failed)
        return [PortSpace(name, *numbers) for name, numbers in spaces.items()]

    @cached_property
    def time_wait(self) -> int:
        """The most sockets in TIME-WAIT while connections were opened: those of the drain came too late."""
        return self.summary.kernel.ramp_peak.get("sockstat.tcp_tw", 0)

    @property
    def waiting(self) -> int:
        """Attempts that held a four-tuple without being open: SYN-SENT does."""
        return self.silent + self.summary.outcomes.in_flight

    # --- Counters, by the namespace they are of ---------------------------------------------------

    @property
    def sampled(self) -> bool:
        """True if the kernel's counters of the load's namespace are known, so that one that is not there is 0."""
        kernel = self.summary.kernel
        return bool(kernel.delta or kernel.peak or kernel.sampling)

    def moved(self, name: str) -> int:
        """Return the increase of a counter in the load's namespace."""
        return self.summary.kernel.delta.get(name, 0)

    @cached_property
    def syns_again(self) -> int | None:
        """SYNs (and SYN-ACKs) of this side that were sent again; None: not sampled."""
        return self.moved("TcpExt.TCPSynRetrans") if self.sampled else None

    @property
    def syn_times(self) -> SynTimes | None:
        """When this host sends a SYN without an answer again, by its settings; None: not known, or of several hosts."""
        return None if self.plan.agents else retransmission.of_settings(self.host.sysctls)

    @cached_property
    def late(self) -> int:
        """Connections that were established only after their SYN had been sent again.

        The time alone does not show it: a target may be far away, and answers wait for a process that is stopped. So
        none where the kernel says that nothing was sent again, or, after a pause, does not say.
        """
        if not self.tcp or self.syns_again == 0 or (self.paused and self.syns_again is None):
            return 0
        counted = self.summary.outcomes.late
        if counted is not None:
            return counted
        connect = self.summary.latency_us.connect
        shares = ((connect.p50, 0.5), (connect.p90, 0.1), (connect.p99, 0.01), (connect.p999, 0.001))
        share = next((share for value, share in shares if value >= SYN_AGAIN_S * 1e6), 0.0)
        return int(share * connect.count)

    @property
    def late_s(self) -> float:
        """The 99th percentile of connect where that is a connection of `late`; else 0."""
        p99_s = self.summary.latency_us.connect.p99 / 1e6
        return p99_s if self.late and p99_s >= SYN_AGAIN_S else 0.0

    @cached_property
    def listener(self) -> Mapping[str, int] | None:
        """Counters of the namespace in which all targets listen; None where some of them are out of sight.

        A sink of loadgen lives in this namespace or, in a veth lab, in that of the sinks; an address of loopback
        leads to this namespace.
        """
        if not self.sampled or not all(self._in_sight(target) for target in self._failing_targets):
            return None
        kernel = self.summary.kernel
        return kernel.sink.delta if kernel.sink else kernel.delta

    @property
    def kernel_of_targets(self) -> str:
        """The release of the kernel on which all targets are, which is this host's; "": another's, or not known."""
        here = not self.plan.agents and all(self._in_sight(row.target) for row in self.summary.sources)
        return self.host.kernel if here else ""

    @property
    def _failing_targets(self) -> set[str]:
        rows = self.summary.sources
        return {row.target for row in rows if row.failed} or {row.target for row in rows}

    def _in_sight(self, target: str) -> bool:
        for planned in self.plan.targets:
            if str(planned.endpoint) == target and not planned.sink:
                address = ipaddress.ip_address(planned.endpoint.address.partition("%")[0])
                return address.is_loopback and self.summary.kernel.sink is None
        return True

    @cached_property
    def overflows(self) -> int | None:
        """Packets that the listeners' queues had no room for; None: the listeners are out of sight."""
        if self.listener is None:
            return None
        return max(self.listener.get(name, 0) for name in _OVERFLOWS)

    @cached_property
    def challenged(self) -> int:
        """SYNs that met a connection which the listener's side still had open, so that its answer was no SYN-ACK.

        The kernel answers with a challenge ACK (RFC 5961 4, tcp_validate_incoming()), this side resets the old
        connection, and the next SYN opens. 0 where the listeners are out of sight.
        """
        return self.listener.get("TcpExt.TCPSYNChallenge", 0) if self.listener else 0

    @property
    def where_listener(self) -> str:
        """The namespace that `listener` is of, in words."""
        if self.plan.agents:
            names = [agent.name for agent in self.plan.agents if agent.plan.sinks]
            return f"on agent {names[0]}" if len(names) == 1 else "on the agents"
        return "in the sinks' namespace" if self.summary.kernel.sink else "in this namespace"

    # --- Connection tracking ----------------------------------------------------------------------

    @property
    def behind_nat(self) -> bool:
        """True of a run through the gateway of a lab that translates, and whose counters are known."""
        return self.plan.nat is not None and self.summary.kernel.gateway is not None

    @property
    def where_tracked(self) -> str:
        """The words for the namespace whose tracking counts: the gateway's, "" for that of the load."""
        return " at the gateway" if self.behind_nat else ""

    @property
    def _tracker(self) -> KernelCounts | SinkKernelCounts:
        """The counts of the namespace that tracks the connections: the gateway's, else that of the load."""
        return self.summary.kernel.gateway or self.summary.kernel

    def tracking_moved(self, name: str) -> int:
        """Return the increase of a counter of connection tracking."""
        return self._tracker.delta.get(f"conntrack.{name}", 0)

    @property
    def losses_are_counted(self) -> bool:
        """True if it is known what the table of connection tracking dropped."""
        return self.host.tracking_counters or self.behind_nat

    @cached_property
    def tracked(self) -> tuple[int, int]:
        """(entries of the connection tracking table with this run's in it, its size); (0, 0) without table or size.

        As sampled; of a run without samples as the host had it before, and one more for each connection.
        """
        peak = self._tracker.peak
        if "conntrack.max" in peak:
            entries, size = peak.get("conntrack.count", 0), peak["conntrack.max"]
            return (entries, size) if entries and size else (0, 0)
        settings = (self.host.sysctls.get(f"net.netfilter.nf_conntrack_{key}", "") for key in ("count", "max"))
        count, size = (int(text) if text.isdecimal() else 0 for text in settings)
        return (count + self.observed, size) if count and size else (0, 0)

    @property
    def own_neighbours(self) -> tuple[int, int]:
        """(most neighbours of both namespaces of a lab, size of the table that they are in), of the fuller table.

        (0, 0) where neither was counted, or the size is not known.
        """
        sink = self.summary.kernel.sink
        sides = [self.summary.kernel.peak, sink.peak if sink else {}]
        tables = []
        for prefix, name in zip(neighbours.FILES, neighbours.SIZES.values(), strict=True):
            size = self.host.sysctls.get(name, "")
            tables.append((sum(side.get(f"{prefix}.own", 0) for side in sides), int(size) if size.isdecimal() else 0))
        return max(filter(all, tables), key=lambda table: table[0] / table[1], default=(0, 0))

    @property
    def dropped_by_tracking(self) -> int:
        """Packets that the table had no room for: `drop` also counts those that translation found no port for."""
        return max(self.tracking_moved("drop") - self.tracking_moved("insert_failed"), 0)

    @cached_property
    def nat_use(self) -> tuple[int, int, str]:
        """(the most ports of the gateway that one space had in use, its ports, its name); (0, 0, "") without a NAT.

        A space is an outside address and a target. Connections whose outside address is not known for sure are
        counted where the hash puts them.
        """
        nat = self.plan.nat
        if nat is None:
            return 0, 0, ""
        used: Counter[str] = Counter()
        by_target: dict[str, list[PairResult]] = {}
        for row in self.summary.sources:
            by_target.setdefault(row.target, []).append(row)
        for target, rows in by_target.items():
            host = target.rpartition(":")[0].strip("[]")
            for row, address in zip(rows, outsides(nat, [row.source for row in rows], host), strict=True):
                whose = f"{row.agent}: " if row.agent else ""  # each agent has a gateway of its own
                used[f"{whose}{address} -> {target}"] += row.peak_open
        name, count = max(used.items(), key=lambda item: item[1])
        return count, ports_of(nat), name

    @cached_property
    def behind_in_time(self) -> int | None:
        """SYNs that met TIME-WAIT at the listeners with an older time stamp; None: that cannot be seen.

        The counters have every segment with an older time stamp, and the FINs of a drain may overtake each other, so
        only what was counted while connections were opened is of SYNs.

        Source: tcp_timewait_state_process(), net/ipv4/tcp_minisocks.c; PAWSTimewait since Linux 6.15.
        """
        if self.listener is None:
            return None
        kernel = self.summary.kernel
        counted = (kernel.sink or kernel).opening
        return None if counted is None else sum(counted.get(name, 0) for name in _OLDER_STAMPS)

    # --- Sources and targets ----------------------------------------------------------------------

    @cached_property
    def partly(self) -> list[PairResult]:
        """Pairs of which some connections opened, and some did not."""
        return [row for row in self.summary.sources if row.established and row.failed]

    @cached_property
    def by_source(self) -> tuple[list[str], list[str]]:
        """(source addresses that connected always, those that never did), in the order of the plan."""
        sums: dict[str, list[int]] = {}
        for row in self.summary.sources:
            counts = sums.setdefault(row.place, [0, 0])
            counts[0] += row.established
            counts[1] += row.failed
        good = [source for source, (established, failed) in sums.items() if established and not failed]
        bad = [source for source, (established, failed) in sums.items() if failed and not established]
        return good, bad

    @cached_property
    def on_loopback(self) -> bool:
        """True if no packet leaves this host, so that nothing lies between both ends but its own kernel."""
        targets = {str(target.endpoint): target for target in self.plan.targets}
        return all(
            ipaddress.ip_address(targets[name].endpoint.address.partition("%")[0]).is_loopback
            for name in self._failing_targets
            if name in targets
        )


def pointed_at(error: ErrorCount) -> str:
    """Return the limit that the outcome of an error points at, before the rules look closer."""
    try:
        return LIMIT_OF_OUTCOME[Outcome(error.outcome)]
    except ValueError:  # of a newer version
        return "other"


def same(numbers: Iterable[int], slack: float = 0.02) -> int | None:
    """Return the mean of numbers that are all within a share of it, None where they differ more."""
    values = list(numbers)
    if not values:
        return None
    mean = sum(values) / len(values)
    return round(mean) if all(abs(value - mean) <= max(slack * mean, 1) for value in values) else None
