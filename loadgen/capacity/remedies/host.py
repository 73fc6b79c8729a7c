"""Remedies for the other resources of this host: descriptors, memory, tables, processes, source addresses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from loadgen.arrivals import shard_sizes
from loadgen.capacity import addresses, neighbours
from loadgen.capacity.processes import (
    RESERVED_DESCRIPTORS,
    descriptors_per_worker,
    held_by_sinks,
    share_of_sinks,
    sinks_needed,
    workers_needed,
)
from loadgen.capacity.remedies.churn import CLOSES, keep_alive
from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy, sysctl_command, sysctl_commands
from loadgen.capacity.remedies.situation import PlanChange, Situation
from loadgen.capacity.resources import HOST_DESCRIPTORS, MEMORY, SINK_DESCRIPTORS, WORKER_DESCRIPTORS
from loadgen.capacity.tracking import remembered_s, timeout_name
from loadgen.format import rate
from loadgen.kernel import missing_help
from loadgen.kernel.host import HostFacts
from loadgen.kernel.neighbours import SIZES
from loadgen.model import Churn, CloseMode, Plan, family_of
from loadgen.scenario.fields import DESCRIPTORS_MAX, PROCESSES_MAX

_TABLE_SIZE: Final = "net.netfilter.nf_conntrack_max"
_TABLE_COUNT: Final = "net.netfilter.nf_conntrack_count"
_TCP_TIMEOUT: Final = "net.netfilter.nf_conntrack_tcp_timeout_"
_WATCHES: Final = "fs.epoll.max_user_watches"
#: How long the table keeps a closed connection with the remedy, where no schedule says how short it has to be.
_FORGOTTEN_S: Final = 10


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
        text = f"raise the hard limit of open files (ulimit -Hn{now}; docker run --ulimit nofile=NUMBER)"
        program = "raise the limit of open files of the process (ulimit -n, LimitNOFILE= of its unit)"
        yield Remedy(text, command="ulimit -Hn NUMBER", program=program)


def _per_sink(situation: Situation) -> Iterator[Remedy]:
    plan = situation.plan
    room = situation.facts.descriptors - RESERVED_DESCRIPTORS - sum(target.sink for target in plan.targets)
    if room < 1:
        yield Remedy("name fewer targets")
        return
    share = share_of_sinks(plan.pairs, plan.targets)
    held = held_by_sinks(plan.connections, share, plan.transport) + plan.guests
    needed = sinks_needed(held, room)
    if needed > PROCESSES_MAX:
        yield Remedy("open fewer connections, or listen elsewhere")
        return
    yield Remedy(f"use `sinks: {needed}`, or leave it out", set={"sinks": needed}, program=None)


def _per_worker(situation: Situation) -> Iterator[Remedy]:
    plan, facts = situation.plan, situation.facts
    lowered = plan.descriptor_limit
    if lowered and lowered < facts.descriptors:
        gained = facts.descriptors - lowered
        yield Remedy(
            f"leave `descriptors: {lowered}` out of the scenario: {gained:,} more in each worker",
            set={"descriptors": min(facts.descriptors, DESCRIPTORS_MAX)},
            program=None,
        )
    each = descriptors_per_worker(plan.engine, lowered or facts.descriptors)
    needed = workers_needed(plan.connections, plan.sharded_spaces, each) if each > 0 else 0
    if plan.workers < needed <= PROCESSES_MAX:
        sizes = shard_sizes(plan.connections, plan.sharded_spaces, plan.workers)
        gain = sum(max(size - each, 0) for size in sizes)
        text = f"use `workers: {needed}`, or leave it out"
        yield Remedy(text, set={"workers": needed}, gain=gain, program="use more processes")


def add_source_address(situation: Situation) -> Iterator[Remedy]:
    """Do what lets the first missing address be used; it depends on the reason why it is missing."""
    plan = situation.plan
    missing = addresses.first_missing(situation.facts)  # none where the address went away during the run
    for change in missing_help.helps(missing or addresses.unexplained(plan.sources[0], freebind=plan.freebind)):
        yield Remedy(
            change.sentence, set=change.set, sysctls=change.sysctls, command=change.command, program=change.program
        )


def more_watches(situation: Situation) -> Iterator[Remedy]:
    """Raise fs.epoll.max_user_watches, which exists once per host, epoll(7)."""
    now = _number(situation.sysctl(_WATCHES))
    # Each end of a connection is watched, and a sink of loadgen's has the other one.
    wanted = max(2 * now, 2 * situation.plan.connections)
    is_now = f", now {now:,}," if now else ""
    yield Remedy(f"raise {_WATCHES}{is_now} to {wanted:,}", command=sysctl_commands({_WATCHES: str(wanted)}))


def more_memory(situation: Situation) -> Iterator[Remedy]:
    """Raise the memory of the machine, of the control group, or of TCP."""
    yield Remedy("open fewer connections")
    if situation.resource == MEMORY:
        yield Remedy("give the machine, or the control group, more memory (docker run --memory)")
    else:
        yield Remedy("raise net.ipv4.tcp_mem, or the memory limit of the control group")


def more_tracking(situation: Situation) -> Iterator[Remedy]:
    """Have entries end sooner, enlarge the table, or leave the load out of it."""
    plan = situation.plan
    now = tracked_ceiling(plan, situation.facts) if plan.churn else None
    if plan.churn and now:
        yield from _sooner_forgotten(situation, plan.churn, now)
    yield from _larger_table(situation, now)
    if plan.churn and now:
        yield from keep_alive(situation, plan.churn, now)
    if not plan.nat:  # what is translated has to be tracked
        yield Remedy("leave the load untracked (nft: a `notrack` rule in a raw chain)")


def tracked_ceiling(plan: Plan, facts: HostFacts) -> float | None:
    """Return the churn that the tracking table allows for ever, in connections per second; None: it sets no limit.

    See `loadgen.capacity.tracking`. It never has more entries of a plan than the plan has four-tuples.
    """
    size, count = (_number(facts.sysctls.get(name, "")) for name in (_TABLE_SIZE, _TABLE_COUNT))
    free = max(size - count, 0)
    return free / remembered_s(plan, facts) if 0 < free < plan.capacity else None


def _sooner_forgotten(situation: Situation, churn: Churn, now: float) -> Iterator[Remedy]:
    """Shorten the time for which closed connections stay in the table, or close in a way that it forgets sooner."""
    plan, facts = situation.plan, situation.facts
    kept_s, name, wanted_s = remembered_s(plan, facts), timeout_name(plan), _FORGOTTEN_S
    if churn.arrivals:
        wanted_s = math.floor(now * kept_s / (churn.arrivals / churn.duration_s))
    if 1 <= wanted_s < kept_s:
        change = {name: str(wanted_s)}
        shorter = Remedy(f"set {name}={wanted_s}", sysctls=change, command=sysctl_commands(change))
        if plan.nat and (key := key_of_timeout(name)):
            shorter = replace(shorter, sysctls={}, set={key: f"{wanted_s}s"})
        yield _tracked(shorter, now, tracked_ceiling(plan, _with(facts, change)))
    if plan.close is not CloseMode.RST and (reset := situation.after(PlanChange(close=CloseMode.RST))):
        after = tracked_ceiling(reset, facts)
        if after is None or after > now:
            remedy = Remedy("use `close: rst`", set={"close": CloseMode.RST.value}, program=CLOSES[CloseMode.RST])
            remedy = remedy.adding(", after which an entry ends sooner")
            yield _tracked(remedy, now, after)


def key_of_timeout(name: str) -> str | None:
    """Return the key of a scenario that sets a time-out of connection tracking at a gateway; None: it has none."""
    short = name.removeprefix(_TCP_TIMEOUT)
    return None if short == name else f"lab.nat.timeouts.{short}"


def _tracked(remedy: Remedy, now: float, after: float | None) -> Remedy:
    """Return a remedy with the ceilings that the table puts on churn, before and after."""
    becomes = "no ceiling" if after is None else rate(after)
    return replace(remedy.adding(f": {rate(now)} becomes {becomes}"), claim=Claim(Quantity.CHURN, now, after))


def _larger_table(situation: Situation, now: float | None) -> Iterator[Remedy]:
    """Raise nf_conntrack_max, which exists once per host, to a power of two that has room for the plan."""
    plan, facts = situation.plan, situation.facts
    size, used = _number(situation.sysctl(_TABLE_SIZE)), _number(situation.sysctl(_TABLE_COUNT))
    if not size:
        yield Remedy(f"raise {_TABLE_SIZE}", command=f"sysctl -w {_TABLE_SIZE}=NUMBER")
        return
    wanted = max(2 * size, 1 << (used + plan.connections - 1).bit_length())
    larger = {_TABLE_SIZE: str(wanted)}
    remedy = Remedy(f"raise {_TABLE_SIZE}, now {size:,}, to {wanted:,}", command=sysctl_commands(larger))
    if now:
        yield _tracked(remedy, now, tracked_ceiling(plan, _with(facts, larger)))
    else:
        yield remedy if plan.churn else replace(remedy, gain=wanted - size)


def _with(facts: HostFacts, sysctls: Mapping[str, str]) -> HostFacts:
    return replace(facts, sysctls={**facts.sysctls, **sysctls})


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def fewer_processes(situation: Situation) -> Iterator[Remedy]:
    """Raise the limit, or use fewer workers and sinks."""
    limits = "the limit of processes: pids.max of the control group, ulimit -u, or kernel.pid_max"
    runtime = " (docker run --pids-limit)" if situation.note.endswith("pids.max") else ""
    yield Remedy(f"raise {situation.note or limits}{runtime}")
    yield Remedy("use fewer workers and sinks", program="use fewer processes")


def opened_in_each(situation: Situation) -> int:
    """Return the connections that each pair of source and target got; the least where they differ."""
    plan = situation.plan
    return max(plan.connections - situation.short, 0) // max(len(plan.pairs), 1)


def more_neighbours(situation: Situation) -> Iterator[Remedy]:
    """Enlarge the table, or use addresses that need no entry of their own."""
    if situation.resource or situation.facts.sources_on_link:
        yield from _more_neighbours_here(situation)
        return
    name = SIZES[family_of(situation.plan.sources[0])]
    count, size = len(situation.plan.sources), situation.sysctl(name)
    wanted = 1 << count.bit_length()
    now = f" (here {int(size):,})" if size.isdecimal() else ""
    yield Remedy(
        f"raise {name}{now} on the host or router whose table is full, above the {count:,} source addresses",
        command=sysctl_command(name, str(max(wanted, 2 * int(size)) if size.isdecimal() else wanted)),
    )
    yield Remedy("route the source addresses as a prefix through this host, which needs one neighbour in all")
    yield Remedy("use fewer source addresses on one segment, and more targets or a wider range of ports")


def _more_neighbours_here(situation: Situation) -> Iterator[Remedy]:
    """Yield the same where the table is that of this host."""
    plan, facts = situation.plan, situation.facts
    family = neighbours.family_met(plan, facts, situation.resource)
    name, count = SIZES[family], len(neighbours.wanted(plan, facts, family))
    # At least twice the need: others of this host are in the table, and above gc_thresh2 the kernel evicts early.
    size = 1 << (2 * count).bit_length()
    now = situation.sysctl(name)
    is_now = f", now {int(now):,}," if now.isdecimal() else ""
    claim = Claim(Quantity.CONNECTIONS, max(plan.connections - situation.short, 0), plan.connections)
    opens = Remedy("", gain=situation.short or None, claim=claim if situation.short and plan.churn is None else None)
    soft = name.replace("gc_thresh3", "gc_thresh2")
    yield replace(
        opens,
        text=f"raise {name}{is_now} to {size:,} on this host, and gc_thresh2 to half of that",
        command=sysctl_commands({soft: str(size // 2), name: str(size)}),
    )
    if facts.sources_on_link:
        text = "use `topology: veth`, where one neighbour stands for the whole other end"
        yield replace(opens, text=text, set={"lab.topology": "veth"}, program=None)
        return
    yield Remedy(f"reach the targets through a gateway, which is one neighbour instead of {count:,}")
