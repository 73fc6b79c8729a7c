"""Changes that would move a limit, as values: settings of the scenario, sysctls, a command, and the gain.

A gain is a difference of two capacities: the plan with the change made, less the plan without, by the arithmetic of
`loadgen.capacity.ports`. So it is what `loadgen plan --set ...` says, and no promise beyond that.

`loadgen.capacity.limits` says which of these functions belong to which limit.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from loadgen.arrivals import shard_sizes
from loadgen.capacity import addresses, ports
from loadgen.capacity.processes import (
    RESERVED_DESCRIPTORS,
    descriptors_per_worker,
    held_by_sinks,
    share_of_sinks,
    sinks_needed,
    workers_needed,
)
from loadgen.capacity.resources import HOST_DESCRIPTORS, MEMORY, SINK_DESCRIPTORS, WORKER_DESCRIPTORS, WORKER_PORTS
from loadgen.capacity.time_wait import ceiling
from loadgen.format import rate
from loadgen.kernel import missing_help
from loadgen.kernel.host import HostFacts
from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Plan, PortRange, Strategy, Target, Transport
from loadgen.strategies import TABLE, TimeWaitReuse

#: Networks whose addresses a scenario may use without asking: loopback, and RFC 2544's for benchmarks.
_FREE_NETWORKS: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("198.18.0.0/15"))
_RANGE: Final = "net.ipv4.ip_local_port_range"
_REUSE_DELAY: Final = "net.ipv4.tcp_tw_reuse_delay"
#: The reader fills in the address and the interface.
ADD_ADDRESS: Final = "ip address add ADDRESS/{bits} dev INTERFACE"
_ADDRESS_BITS: Final = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change and its gain.

    set: keys of the scenario and their values, as `--set` takes them. sysctls: settings of the run's namespace, in a
    lab under `lab.sysctls`. command: a shell command for the host; a lab does without. needs: keys of the scenario
    that have to be set first, without which the change has no effect; empty: an alternative to the others.
    gain: connections that it adds to the plan's capacity; None: it cannot be computed.
    """

    text: str
    set: Mapping[str, Any] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    needs: Mapping[str, Any] = field(default_factory=dict)
    gain: int | None = None

    @property
    def sentence(self) -> str:
        """The change in words, and the gain where there is one."""
        return f"{self.text}: +{self.gain:,}" if self.gain else self.text

    def to_json(self) -> Mapping[str, object]:
        """Return plain values, as summary.json has them."""
        return {
            "text": self.sentence,
            "set": dict(self.set),
            "sysctls": dict(self.sysctls),
            "command": self.command,
            "needs": dict(self.needs),
            "gain": self.gain,
        }


@dataclass(frozen=True, slots=True)
class Situation:
    """A plan, its host, and the shortage.

    short: connections that were asked for and cannot open, or did not.
    resource, note: the line of the plan that is short, and what it says beside its numbers; "": a run met the limit.
    errnos: names of all errors that a run saw. target: the target that failed, in words.
    time_wait: sockets in TIME-WAIT while connections were opened.
    """

    plan: Plan
    facts: HostFacts
    short: int
    resource: str = ""
    note: str = ""
    errnos: frozenset[str] = frozenset()
    target: str = ""
    time_wait: int = 0

    def sysctl(self, name: str) -> str:
        """Return a setting of the run's namespace, "" where it is unknown."""
        return self.facts.sysctls.get(name, "")

    def supply(
        self,
        *,
        strategy: Strategy | None = None,
        sources: Sequence[str] = (),
        targets: Sequence[Target] = (),
        port_range: PortRange | None = None,
    ) -> ports.PortSupply:
        """Return the ports of the plan with some of it changed.

        strategy: instead of the plan's. sources, targets: beside the plan's. port_range: instead of the ports and of
        ip_local_port_range.
        """
        plan, used = self.plan, strategy or self.plan.strategy
        return ports.supply_of(
            used,
            plan.transport,
            port_range or plan.ports,
            (*plan.sources, *sources),
            (*plan.targets, *targets),
            () if used.row.binds_address else (*plan.routes, *(plan.routes[:1] * len(targets))),
            replace(self.facts, port_range=port_range) if port_range else self.facts,
        )

    def changed(self, change: Mapping[str, Any]) -> Plan:
        """Return the plan with other values of `close` and `sources.strategy`."""
        plan = self.plan
        strategy = Strategy(change.get("sources.strategy", plan.strategy))
        return replace(
            plan,
            close=CloseMode(change.get("close", plan.close)),
            strategy=strategy,
            capacity_per_pair=self.supply(strategy=strategy).usable,
            routes=() if strategy.row.binds_address else plan.routes,
        )


RemedyMaker = Callable[[Situation], Iterator[Remedy]]


# --- Strategies to change to ----------------------------------------------------------------------


def _available(situation: Situation) -> Iterator[Strategy]:
    """Yield the strategies that the transport offers and this kernel has, in the order of the table."""
    for name, row in TABLE.items():
        offered = situation.plan.transport is Transport.TCP or row.udp is not None
        if offered and ports.lacking_option(name, situation.facts) is None:
            yield name


def sharing(situation: Situation) -> Strategy | None:
    """Return a strategy whose ports serve every target, of the plan's kind where there is one."""
    transport, names = situation.plan.transport, situation.plan.strategy.row.names_ports
    strategies = [name for name in _available(situation) if name.over(transport).shares_ports]
    return next((name for name in strategies if name.row.names_ports == names), strategies[0] if strategies else None)


def binding(situation: Situation) -> Strategy | None:
    """Return a strategy that lets the scenario choose source addresses."""
    return next((name for name in _available(situation) if name.row.binds_address), None)


def _blocking(situation: Situation, strategy: Strategy) -> str:
    """Return a remark on a strategy that closes ports to other processes, where the plan's does not."""
    opens = strategy.row.names_ports and not situation.plan.strategy.row.names_ports
    return " (outside a lab with --allow-port-blocking)" if opens else ""


# --- Four-tuples and source ports -----------------------------------------------------------------


def more_ports(situation: Situation) -> Iterator[Remedy]:
    """Get more connections from the same ports, or more ports."""
    if situation.resource == WORKER_PORTS:  # a plan with more workers than ports
        usable = situation.plan.capacity_per_pair
        yield Remedy(f"use at most {usable:,} workers", set={"workers": usable} if usable else {})
        yield from wider_range(situation)
        return
    plan = situation.plan
    ways = [better_strategy, more_sources, wider_ports, wider_range, more_targets]
    if plan.strategy.row.binds_address and plan.strategy.over(plan.transport).shares_ports:
        ways.append(ways.pop(0))  # it gains little or nothing, and no other needs it
    for way in ways:
        yield from way(situation)


def better_strategy(situation: Situation) -> Iterator[Remedy]:
    """Share ports between targets, or do without the long search for a free one."""
    plan = situation.plan
    rules = plan.strategy.over(plan.transport)
    other = sharing(situation)
    if other is None or other is plan.strategy:
        return
    gain, flat = situation.supply(strategy=other).capacity - plan.capacity, other.over(plan.transport).cliff_at is None
    change = {"sources.strategy": other.value}
    if not rules.shares_ports and gain > 0:
        text = f"use {other}{_blocking(situation, other)}: each port serves every target"
        yield Remedy(text, set=change, gain=gain)
    elif rules.cliff_at is not None and flat and gain >= 0:
        capacity = "" if gain else " the same capacity,"
        text = f"use {other}:{capacity} connect cost flat instead of up to a hundredfold near the end of the range"
        yield Remedy(text, set=change, gain=gain or None)


def more_sources(situation: Situation) -> Iterator[Remedy]:
    """Add source addresses; connect() alone takes the address of the route, so it needs another strategy first."""
    plan = situation.plan
    used = plan.strategy if plan.strategy.row.binds_address else binding(situation)
    if used is None:
        return
    needs = {} if used is plan.strategy else {"sources.strategy": used.value}
    last = _last_of_most_useful_family(plan)
    before, following = situation.supply(strategy=used).capacity, tuple(_following(last, plan, 1))
    each = situation.supply(strategy=used, sources=following).capacity - before
    if each <= 0:
        return
    count = max(1, math.ceil((plan.capacity + situation.short - before) / each))
    gain = before + count * each - plan.capacity
    how = f"use {used} and add" if needs else "add"
    text = f"{how} 1 source address" if count == 1 else f"{how} {count:,} source addresses"
    added = tuple(_following(last, plan, count))
    if _is_free(last) and len(added) == count:
        yield Remedy(text, set=_addresses(plan, added), needs=needs, gain=gain)
    else:
        command = ADD_ADDRESS.format(bits=_ADDRESS_BITS[last.version])
        yield Remedy(text, command=command, needs=needs, gain=gain)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _last_of_most_useful_family(plan: Plan) -> _Address:
    """Return the highest source address, of the family that most targets have."""
    families = [target.endpoint.family for target in plan.targets]
    sources = [source for source in plan.sources if Endpoint(source, 0).family in families]
    family = max((Endpoint(source, 0).family for source in sources or plan.sources), key=families.count)
    return max(ipaddress.ip_address(source) for source in plan.sources if Endpoint(source, 0).family == family)


def _following(last: _Address, plan: Plan, count: int) -> Iterator[str]:
    """Yield the addresses after one, none of them a target's; fewer where the address space ends."""
    taken = {target.endpoint.address for target in plan.targets}
    number, end = int(last), (1 << _ADDRESS_BITS[last.version]) - 1
    while count and number < end:
        number += 1
        address = str(type(last)(number))
        if address not in taken:
            count -= 1
            yield address


def _is_free(address: _Address) -> bool:
    return any(address in network for network in _FREE_NETWORKS)


def _addresses(plan: Plan, added: Sequence[str]) -> Mapping[str, Any]:
    """Return the setting of `sources.addresses` with the added ones, neighbours as ranges."""
    ranges: list[list[_Address]] = []
    for address in sorted((ipaddress.ip_address(text) for text in (*plan.sources, *added)), key=_version_and_number):
        if ranges and ranges[-1][1].version == address.version and int(ranges[-1][1]) + 1 == int(address):
            ranges[-1][1] = address
        else:
            ranges.append([address, address])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
    return {"sources.addresses": texts}


def _version_and_number(address: _Address) -> tuple[int, int]:
    return address.version, int(address)


def widest_range(unprivileged_port_start: int) -> PortRange:
    """Return the widest range that ip_local_port_range can be set to, well-known ports left out."""
    return PortRange(max(unprivileged_port_start, 1024), 65_535)


def wider_ports(situation: Situation) -> Iterator[Remedy]:
    """Widen `ports` to the whole of ip_local_port_range."""
    plan, automatic = situation.plan, situation.facts.port_range
    if not plan.strategy.row.narrows_range or plan.ports == automatic:
        return
    gain = situation.supply(port_range=automatic).capacity - plan.capacity
    if gain > 0:
        yield Remedy(f"widen `ports` to {automatic}, or leave it out", set={"sources.ports": str(automatic)}, gain=gain)


def wider_range(situation: Situation) -> Iterator[Remedy]:
    """Widen ip_local_port_range, or `ports`, or both."""
    plan, automatic = situation.plan, situation.facts.port_range
    names, wide = plan.strategy.row.names_ports, widest_range(situation.facts.unprivileged_port_start)
    gain = situation.supply(port_range=wide).capacity - plan.capacity
    if gain <= 0 or wide.low > plan.ports.low:
        return
    own = names or (plan.strategy.row.narrows_range and plan.ports != automatic)
    change = {"sources.ports": str(wide)} if own else {}
    sysctls = {} if names or automatic == wide else {_RANGE: f"{wide.low} {wide.high}"}
    whats = [*(["ip_local_port_range"] if sysctls else []), *(["`ports`"] if change else [])]
    apart = names and not (plan.ports.low <= automatic.high and automatic.low <= plan.ports.high)
    remark = " (outside a lab with --allow-port-blocking)" if apart else ""
    text = f"widen {' and '.join(whats)} to {wide}{remark}"
    yield Remedy(text, set=change, sysctls=sysctls, command=_sysctl_command(sysctls), gain=gain)


def sysctl_command(name: str, value: str) -> str:
    """Return the shell command that sets a sysctl until the next boot."""
    quoted = f'"{value}"' if not value or " " in value else value
    return f"sysctl -w {name}={quoted}"


def _sysctl_command(sysctls: Mapping[str, str]) -> str:
    return "; ".join(sysctl_command(name, value) for name, value in sysctls.items())


def more_targets(situation: Situation) -> Iterator[Remedy]:
    """Add a target, where a port serves each of them."""
    plan = situation.plan
    first = plan.targets[0].endpoint
    used = {target.endpoint.port for target in plan.targets}
    port = next(port for port in range(1, 65_536) if port not in used)
    another = Target(Endpoint(first.address, port), sink=False)
    gain = situation.supply(targets=[another]).capacity - plan.capacity
    if gain > 0:
        yield Remedy("add 1 target, another address or port", gain=gain)


# --- Ports that others have -----------------------------------------------------------------------


def free_held_ports(situation: Situation) -> Iterator[Remedy]:
    """Find the process that holds the ports, or use other ports."""
    used, protocol = situation.plan.ports, "u" if situation.plan.transport is Transport.UDP else "t"
    command = f"ss -{protocol}anp 'sport >= {used.low} and sport <= {used.high}'"
    yield Remedy(f"see who holds them: {command}", command=command)
    if situation.plan.strategy.row.names_ports:
        yield Remedy("move `ports` to where nothing listens, and outside ip_local_port_range")
    else:
        yield Remedy("keep bound ports out of the range: a bound port is closed to automatic choice on every address")
    yield from more_sources(situation)


def end_time_wait(situation: Situation) -> Iterator[Remedy]:
    """Leave nothing in TIME-WAIT, take ports out of it, or wait for its end."""
    if situation.plan.churn:
        yield from faster_churn(situation, situation.plan.churn)
        return
    plan, row = situation.plan, situation.plan.strategy.row
    if plan.close is CloseMode.FIN:
        most = min(situation.time_wait, situation.short)
        text = f"use `close: rst`, which leaves nothing in TIME-WAIT: up to {most:,} more in the next run"
        yield Remedy(text, set={"close": CloseMode.RST.value})
    if row.time_wait in (TimeWaitReuse.NEVER, TimeWaitReuse.AUTOBIND_REUSE):
        if other := sharing(situation):
            text = f"use {other}{_blocking(situation, other)}: {plan.strategy} never takes a port out of TIME-WAIT"
            yield Remedy(text, set={"sources.strategy": other.value})
    elif situation.sysctl("net.ipv4.tcp_timestamps") == "0":
        yield _sysctl("net.ipv4.tcp_timestamps", "1", "without it no four-tuple leaves TIME-WAIT early")
    elif row.time_wait is TimeWaitReuse.TW_REUSE and situation.sysctl("net.ipv4.tcp_tw_reuse") != "1":
        yield _sysctl("net.ipv4.tcp_tw_reuse", "1", "a four-tuple in TIME-WAIT can be had again after 1 s")
    yield Remedy("wait 60 s, the length of TIME-WAIT, before the next run", command="sleep 60")
    yield from more_sources(situation)


def _sysctl(name: str, value: str, because: str) -> Remedy:
    sysctls = {name: value}
    return Remedy(f"set {name}={value}: {because}", sysctls=sysctls, command=_sysctl_command(sysctls))


def faster_churn(situation: Situation, churn: Churn) -> Iterator[Remedy]:
    """Lift the ceiling that TIME-WAIT puts on churn; each with the ceiling it would put instead."""
    plan, sysctls = situation.plan, situation.facts.sysctls
    now = ceiling(plan, churn, sysctls)
    if now.per_s is None:
        return
    best = now.per_s
    for change, wanted in _churn_changes(situation):
        missing = {name: value for name, value in wanted.items() if sysctls.get(name) != value}
        after = ceiling(situation.changed(change), churn, {**sysctls, **missing})
        if after.per_s is not None and after.per_s <= best:
            continue
        best = after.per_s or best
        text, command = _change_text(change, missing), _sysctl_command(missing)
        yield _lifted(Remedy(text, set=change, sysctls=missing, command=command), now, after)
    if plan.strategy.row.binds_address:
        last = _last_of_most_useful_family(plan)
        added = tuple(_following(last, plan, len(plan.sources)))
        change = _addresses(plan, added) if _is_free(last) and len(added) == len(plan.sources) else {}
        twice = ceiling(plan, churn, sysctls, times=2)
        yield _lifted(Remedy("use twice as many source addresses", set=change), now, twice)


def _churn_changes(situation: Situation) -> Iterator[tuple[Mapping[str, Any], dict[str, str]]]:
    """Yield settings of the scenario and sysctls that may let a port serve again sooner, the cheaper first."""
    timestamps = {"net.ipv4.tcp_timestamps": "1"}
    reuse = {**timestamps, "net.ipv4.tcp_tw_reuse": "1"}
    yield {}, reuse
    if situation.sysctl(_REUSE_DELAY):  # Linux 6.14
        yield {}, {**reuse, _REUSE_DELAY: "100"}
    for close in (CloseMode.TARGET, CloseMode.RST):
        yield {"close": close.value}, {}
    for rule, sysctls in ((TimeWaitReuse.TW_REUSE, reuse), (TimeWaitReuse.AT_ONCE, timestamps)):
        for name in _available(situation):
            if name.row.time_wait is rule and name.row.binds_address:
                yield {"sources.strategy": name.value}, sysctls
                break


def _lifted(remedy: Remedy, now: Ceiling, after: Ceiling) -> Remedy:
    """Return the remedy with both ceilings in its text, and with its gain in connections where both are known."""
    gain = None
    if now.established is not None and after.established is not None:
        gain = max(after.established - now.established, 0) or None
    text = f"{remedy.text}: {_ceiling_text(now.per_s)} becomes {_ceiling_text(after.per_s)}"
    return replace(remedy, text=text, gain=gain)


def _change_text(change: Mapping[str, Any], sysctls: Mapping[str, str]) -> str:
    texts = [f"use `{key.rpartition('.')[2]}: {value}`" for key, value in change.items()]
    if sysctls:
        texts.append("set " + " and ".join(f"{name}={value}" for name, value in sysctls.items()))
    return ", and ".join(texts)


def _ceiling_text(per_s: float | None) -> str:
    return "no ceiling" if per_s is None else rate(per_s)


# --- Other resources of this host -----------------------------------------------------------------


def more_descriptors(situation: Situation) -> Iterator[Remedy]:
    """Share them between more processes, or raise the limit that is short."""
    plan, facts, resource = situation.plan, situation.facts, situation.resource
    if resource == HOST_DESCRIPTORS or "ENFILE" in situation.errnos:
        now = situation.sysctl("fs.file-max")
        yield Remedy(f"raise fs.file-max, now {now or 'too low'}", command="sysctl -w fs.file-max=NUMBER")
    if resource == HOST_DESCRIPTORS:
        yield Remedy("open fewer connections")
        return
    if resource == SINK_DESCRIPTORS:
        yield from _per_sink(situation)
    elif resource in ("", WORKER_DESCRIPTORS):
        yield from _per_worker(situation)
    if not (plan.descriptor_limit and plan.descriptor_limit < facts.descriptors):
        now = f", now {facts.descriptors:,}" if facts.descriptors else ""
        yield Remedy(f"raise the hard limit of open files (ulimit -Hn{now})", command="ulimit -Hn NUMBER")


def _per_sink(situation: Situation) -> Iterator[Remedy]:
    plan = situation.plan
    room = situation.facts.descriptors - RESERVED_DESCRIPTORS - sum(target.sink for target in plan.targets)
    if room < 1:
        yield Remedy("name fewer targets")
        return
    held = held_by_sinks(plan.connections, share_of_sinks(plan.pairs, plan.targets), plan.transport)
    needed = sinks_needed(held, room)
    yield Remedy(f"use `sinks: {needed}`, or leave it out", set={"sinks": needed})


def _per_worker(situation: Situation) -> Iterator[Remedy]:
    plan, facts = situation.plan, situation.facts
    lowered = plan.descriptor_limit
    if lowered and lowered < facts.descriptors:
        gained = facts.descriptors - lowered
        yield Remedy(
            f"leave `descriptors: {lowered}` out of the scenario: {gained:,} more in each worker",
            set={"descriptors": facts.descriptors},
        )
    each = descriptors_per_worker(plan.engine, lowered or facts.descriptors)
    needed = workers_needed(plan.connections, plan.sharded_spaces, each) if each > 0 else 0
    if needed > plan.workers:
        sizes = shard_sizes(plan.connections, plan.sharded_spaces, plan.workers)
        gain = sum(max(size - each, 0) for size in sizes)
        yield Remedy(f"use `workers: {needed}`, or leave it out", set={"workers": needed}, gain=gain)


def add_source_address(situation: Situation) -> Iterator[Remedy]:
    """Do what lets the first missing address be used; it depends on the reason why it is missing."""
    plan = situation.plan
    missing = addresses.first_missing(situation.facts)  # none where the address went away during the run
    for change in missing_help.helps(missing or addresses.unexplained(plan.sources[0], freebind=plan.freebind)):
        yield Remedy(change.sentence, set=change.set, sysctls=change.sysctls, command=change.command)


def more_memory(situation: Situation) -> Iterator[Remedy]:
    """Raise the memory of the machine, of the control group, or of TCP."""
    yield Remedy("open fewer connections")
    if situation.resource == MEMORY:
        yield Remedy("give the machine, or the control group, more memory")
    else:
        yield Remedy("raise net.ipv4.tcp_mem, or the memory limit of the control group")


def more_tracking(situation: Situation) -> Iterator[Remedy]:
    """Enlarge the table, or leave the load out of it."""
    size = situation.sysctl("net.netfilter.nf_conntrack_max")
    now = f", now {int(size):,}" if size.isdecimal() else ""
    yield Remedy(
        f"raise net.netfilter.nf_conntrack_max{now}", command="sysctl -w net.netfilter.nf_conntrack_max=NUMBER"
    )
    yield Remedy("leave the load untracked (nft: a `notrack` rule in a raw chain)")


def fewer_processes(situation: Situation) -> Iterator[Remedy]:
    """Raise the limit, or use fewer workers and sinks."""
    yield Remedy(f"raise {situation.note}")
    yield Remedy("use fewer workers and sinks")


# --- The other side, the network, and loadgen itself ----------------------------------------------


def faster_accept(situation: Situation) -> Iterator[Remedy]:
    """Make the target accept as fast as connections come."""
    somaxconn = situation.sysctl("net.core.somaxconn")
    cap = f", which net.core.somaxconn caps (here {int(somaxconn):,})" if somaxconn.isdecimal() else ""
    yield Remedy("make the target accept faster, or with more processes")
    yield Remedy(f"raise the target's listen backlog{cap}")
    yield Remedy("lower the arrival rate, or `in_flight`, to what the target accepts")


def shorter_search(situation: Situation) -> Iterator[Remedy]:
    """Do without the kernel's search, or leave it more free ports."""
    yield from more_ports(situation)


def more_nat_ports(situation: Situation) -> Iterator[Remedy]:
    """Give the translation of this host more ports, or leave the load out of it."""
    yield Remedy(
        "give the rule that rewrites sources more ports or addresses: nft list ruleset", command="nft list ruleset"
    )
    yield Remedy(f"leave connections to {situation.target} out of the translation")


def more_neighbours(_: Situation) -> Iterator[Remedy]:
    """Enlarge the table, or use addresses that need no entry of their own."""
    yield Remedy(
        "raise net.ipv4.neigh.default.gc_thresh3 on the host or router whose table is full",
        command="sysctl -w net.ipv4.neigh.default.gc_thresh3=NUMBER",
    )
    yield Remedy("route the source addresses as a prefix through this host, which needs one neighbour in all")


def find_loss(situation: Situation) -> Iterator[Remedy]:
    """Find the place where packets are lost."""
    yield Remedy(f"see which SYNs arrive (tcpdump here and at {situation.target}); a box between drops the others")
    yield Remedy("see whether a box on the way drops a SYN whose four-tuple it still remembers; use other source ports")


def wider_path(situation: Situation) -> Iterator[Remedy]:
    """Find the box that holds the number, or use another source or target."""
    yield Remedy("raise the limit on the way: ports of a NAT gateway, its table, the target's limit for each client")
    yield from more_sources(situation)
    yield from more_targets(situation)


def find_silence(situation: Situation) -> Iterator[Remedy]:
    """Find where packets are lost."""
    yield Remedy("see whether SYNs arrive and answers leave (tcpdump at the target): a firewall may drop them")
    yield Remedy(f"see that {situation.target} has a way back to every source address (ip route get, there)")
    yield Remedy(f"raise `timeout` above {situation.plan.timeout_s:g} s if the target is only slow")


def start_server(situation: Situation) -> Iterator[Remedy]:
    """Start a listener at the target."""
    yield Remedy(f"start the server at {situation.target}; nothing listens there, or a firewall rejects")
    if not any(target.sink for target in situation.plan.targets):
        yield Remedy("or write `sink: true` at the target, and loadgen listens there itself")


def leave_target_ports(situation: Situation) -> Iterator[Remedy]:
    """Keep source ports apart from target ports."""
    yield Remedy(f"start the server at {situation.target}")
    yield Remedy(f"keep target ports outside {situation.plan.ports}, where source ports are taken from")


def look_at_losses(situation: Situation) -> Iterator[Remedy]:
    """Advise by the errno with which connections ended."""
    if "EOF" in situation.errnos:
        yield Remedy("look at the target's idle time-out, its limit of connections and its log")
    if "ECONNRESET" in situation.errnos:
        yield Remedy("look for a crash of the target, or a firewall that forgets idle connections")
    if "ECONNREFUSED" in situation.errnos:
        yield Remedy(f"start the server at {situation.target}; nothing has that port there")


def mend_tls(situation: Situation) -> Iterator[Remedy]:
    """Advise by the reasons for which handshakes failed."""
    errnos = situation.errnos
    remedies = []
    if "CERTIFICATE_UNKNOWN_ISSUER" in errnos:
        remedies.append(Remedy("name the file of the target's authority in `tls.ca`"))
    if "CERTIFICATE_WRONG_NAME" in errnos:
        remedies.append(Remedy("give the name that the certificate is for in `tls.server_name`"))
    if any(name.startswith("CERTIFICATE") for name in errnos):
        remedies.append(Remedy("or take every certificate with `tls.verify` false", set={"tls.verify": False}))
    if "NOT_TLS" in errnos:
        remedies.append(Remedy(f"leave out `tls`, or name the port on which {situation.target} speaks it"))
    command = f"openssl s_client -connect {situation.target}"
    yield from remedies or [Remedy(f"compare what both sides offer: {command}", command=command)]


def wait_for_answers(situation: Situation) -> Iterator[Remedy]:
    """Find why the target does not answer."""
    timeout_s = situation.plan.timeout_s
    yield Remedy("look for the target's limit of connections: those beyond it may be kept waiting (a proxy's maxconn)")
    yield Remedy(f"raise `timeout` above {timeout_s:g} s, or `heartbeat.every`, if the target is only slow")


def wider_window(situation: Situation) -> Iterator[Remedy]:
    """Allow more attempts at a time, or fewer arrivals."""
    yield Remedy(f"raise `{'churn.concurrency' if situation.plan.churn else 'in_flight'}`")
    yield Remedy("lower the rate")
    yield Remedy("find out why the target answers late")


def sentences(*texts: str) -> RemedyMaker:
    """Return a maker of remedies that are only text."""
    return lambda _: (Remedy(text) for text in texts)
