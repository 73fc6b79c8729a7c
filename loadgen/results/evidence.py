"""The evidence for and against each limit that a run may have met, by the figures of the run.

A limit that an errno names (refused, no descriptor) needs no rule here. The others share their symptom with
neighbours: a time-out may be a full queue, a lost packet or a full table on the way, and a slow run may be the
kernel's search for ports or loadgen itself. Each rule says what supports its limit, whether that alone shows it, and
what rules it out. What is ruled out is never named; where nothing rules a neighbour out, both stay.

Unknown is not zero: counters of a namespace that loadgen does not see neither support a limit nor rule it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from loadgen.format import percent
from loadgen.kernel.retransmission import INITIAL_S
from loadgen.results import cost
from loadgen.results.cost import Rise, Step
from loadgen.results.run_facts import SYN_AGAIN_S, RunFacts, same
from loadgen.results.weighing import NOTHING_KNOWN, Indication, Weight, ruled_out

#: A table this full had no room at the peaks between two samples.
_TABLE_FULL: Final = 0.95
#: A table this full at most had room all the time.
_TABLE_ROOM: Final = 0.9
#: A space of translated ports this full is full: of a wide range the kernel finds the last ones by chance.
_NAT_FULL: Final = 0.9
#: Losses that explain the packets of this share of the attempts explain the run.
_MOST: Final = 0.5
#: Sources that have to connect always before a table of neighbours is worth a thought: gc_thresh1, below which nothing
#: is ever removed, is 128 (Documentation/networking/ip-sysctl.rst).
_NEIGHBOURS_MIN: Final = 100
#: The default of gc_thresh3, and entries that other hosts of the segment may have in the same table.
_NEIGHBOURS_DEFAULT, _NEIGHBOURS_OTHERS = 1024, 64
#: Share of the attempts that may have been on their way when others opened, without being a sign.
_FEW: Final = 0.1
#: Share of the connections that is more than some lost packets, where the order of attempts is not known.
_MANY: Final = 0.2
#: Share of their CPU time that workers spend outside system calls when they themselves are what is slow.
_USER_SHARE: Final = 0.5
#: CPU time of a connection inside system calls that is nothing unusual: 30 to 60 us were measured on loopback, where
#: connect() runs both ends of the handshake.
_QUICK_US: Final = 100.0


Rule = Callable[[RunFacts], Indication]


def _backlog(run: RunFacts) -> Indication:
    if run.overflows is None:
        if run.late:
            return Indication(Weight.SUPPORTED, (_late(run),))
        if run.answered:
            return ruled_out(f"the target answered {run.answered:,} requests, so it accepts")
        return Indication(Weight.POSSIBLE)
    if not run.overflows:
        return ruled_out(f"the listener's queue was never full (ListenOverflows +0 {run.where_listener})")
    text = f"{run.overflows:,} packets found the listener's queue full {run.where_listener} (ListenOverflows)"
    most = run.overflows >= _MOST * (run.silent + run.late)
    return Indication(Weight.SHOWN if most else Weight.SUPPORTED, (text,))


def _late(run: RunFacts) -> str:
    again = f", with {run.syns_again:,} SYNs sent again" if run.syns_again else ""
    return f"{run.late:,} connections took the time of a repeated SYN, {SYN_AGAIN_S:g} s or longer{again}"


def _syn_loss(run: RunFacts) -> Indication:
    if run.syns_again == 0 and run.plan.timeout_s > INITIAL_S:
        return ruled_out("no SYN was sent again")
    if run.challenged and run.challenged >= _MOST * (run.syns_again or 0):
        return ruled_out(f"{run.challenged:,} SYNs met four-tuples that the other side still had open")
    if run.behind_in_time and run.behind_in_time >= _MOST * (run.silent + run.late):
        return ruled_out(f"{run.behind_in_time:,} SYNs met TIME-WAIT at the other side with an older time stamp")
    if run.behind_nat and run.tracking_moved("drop") >= _MOST * (run.syns_again or 0):
        return ruled_out(f"the gateway dropped {run.tracking_moved('drop'):,} of them (conntrack.drop)")
    if run.late:
        here = tuple(f"{_counted(run, name)} on the whole host" for name in ("softnet.dropped",) if run.moved(name))
        return Indication(Weight.SUPPORTED, (_late(run), *here))
    if not run.established_any:
        return ruled_out("no connection opened at all, and what is lost now and then gets through at times")
    if run.plan.timeout_s > INITIAL_S:
        return ruled_out("no connection opened late: some attempts lost every SYN, and the others none")
    return Indication(Weight.POSSIBLE)  # attempts were given up before their SYN could be sent again


def _conntrack(run: RunFacts) -> Indication:
    entries, size = run.tracked
    dropped, early = run.dropped_by_tracking, run.tracking_moved("early_drop")
    if size and entries >= _TABLE_FULL * size:
        if run.losses_are_counted and not dropped + early:
            return ruled_out(f"{_entries(run)}, and none was dropped for want of room")
        return Indication(Weight.SHOWN if dropped + early else Weight.STRONG, (_entries(run),))
    if run.silent and dropped >= run.silent:
        text = (
            f"conntrack.drop {dropped:+,}{run.where_tracked}: a packet was dropped for each attempt without an answer"
        )
        return Indication(Weight.STRONG, (text,))
    if size and entries < _TABLE_ROOM * size:
        return ruled_out(f"{_entries(run)}: the table had room")
    if run.sampled and not size:
        return ruled_out("this namespace tracks no connections")
    return NOTHING_KNOWN


def _entries(run: RunFacts) -> str:
    entries, size = run.tracked
    return f"about {entries:,} of {size:,} entries of nf_conntrack in use{run.where_tracked}"


def _nat_ports(run: RunFacts) -> Indication:
    failed = run.tracking_moved("insert_failed")
    if not failed:
        return ruled_out(f"no packet was dropped for want of a translated port (insert_failed +0{run.where_tracked})")
    if run.behind_nat:
        return _ports_of_gateway(run, failed)
    text = f"{_counted(run, 'conntrack.insert_failed')} and {_counted(run, 'conntrack.drop')} moved together"
    entries, size = run.tracked
    if size and entries >= _TABLE_ROOM * size:
        return Indication(Weight.SUPPORTED, (text,))
    facts = (text, f"{_entries(run)}: the table had room") if size else (text,)
    most = failed >= max(_MOST * (run.silent + run.late), 1)
    return Indication(Weight.SHOWN if most and size else Weight.STRONG if most else Weight.SUPPORTED, facts)


def _ports_of_gateway(run: RunFacts, failed: int) -> Indication:
    """failed: entries that the gateway could not make, because another had the translated port."""
    used, ports, name = run.nat_use
    text = f"{failed:,} SYNs found no free port at the gateway (insert_failed, drop)"
    if run.plan.churn:  # closed connections keep their ports for a time that is not counted
        return Indication(Weight.STRONG if failed >= _MOST * (run.silent + run.late) else Weight.SUPPORTED, (text,))
    facts = (text, f"{name}: {used:,} of {ports:,} ports of the NAT in use")
    if used < _NAT_FULL * ports:
        return Indication(Weight.SUPPORTED, facts)
    most = failed >= max(_MOST * (run.silent + run.late), 1)
    return Indication(Weight.SHOWN if most else Weight.STRONG, facts)


def _target_time_wait(run: RunFacts) -> Indication:
    behind = run.behind_in_time
    if behind is None:
        return NOTHING_KNOWN
    if not behind:
        return ruled_out(f"no SYN met TIME-WAIT with an older time stamp (PAWSTimewait +0 {run.where_listener})")
    text = f"{behind:,} SYNs met TIME-WAIT with an older time stamp {run.where_listener} (PAWSTimewait)"
    most = behind >= _MOST * (run.silent + run.late)
    return Indication(Weight.SHOWN if most else Weight.SUPPORTED, (text,))


def _neighbours(run: RunFacts) -> Indication:
    if run.on_loopback:
        return ruled_out("loopback has no neighbours")
    if fulls := run.moved("neigh.table_fulls") + run.moved("neigh6.table_fulls"):
        text = f"the table of neighbours of this host was full {fulls:,} times (table_fulls, of the whole host)"
        # The counter is of the whole host: it may be the entry of another program that found no room. Each attempt
        # that fails has met the full table at least once.
        if fulls < _MOST * (run.silent + run.counts["unreachable"]):
            return Indication(Weight.SUPPORTED, (text,))
        own, size = run.own_neighbours
        if size and own >= _TABLE_FULL * size:
            return Indication(Weight.SHOWN, (text, f"{own:,} of its {size:,} entries were of this run"))
        return Indication(Weight.STRONG, (text,))
    good, bad = run.by_source
    if not bad or not good:
        return ruled_out("no source address failed always while another connected always")
    if run.partly:
        return ruled_out(f"{run.partly[0].source} connected at times, and a neighbour is known or it is not")
    text = f"{len(good):,} source addresses connected always, the other {len(bad):,} never"
    if len(good) < _NEIGHBOURS_MIN:
        return ruled_out(f"{text}: no table of neighbours is that small")
    setting = run.host.sysctls.get("net.ipv4.neigh.default.gc_thresh3", "")
    sizes = {_NEIGHBOURS_DEFAULT, int(setting) if setting.isdecimal() else _NEIGHBOURS_DEFAULT}
    near = next((size for size in sorted(sizes) if size - _NEIGHBOURS_OTHERS <= len(good) <= size), None)
    if near is None:
        return Indication(Weight.SUPPORTED, (text,))
    return Indication(Weight.STRONG, (f"{text}, as with a gc_thresh3 of {near:,}",))


def _path_limit(run: RunFacts) -> Indication:
    if not run.established_any:
        return ruled_out("no connection opened at all")
    if not run.partly:
        return ruled_out("no source and target had connections that opened and others that did not")
    if 10 * run.late > run.silent:
        return ruled_out(f"{run.late:,} connections opened after a repeated SYN, so the way was not closed for good")
    overtaken = run.summary.outcomes.overtaken
    if overtaken is None:  # a summary of loadgen 0.1.0
        return Indication(Weight.POSSIBLE if run.silent >= _MANY * run.summary.outcomes.established else Weight.NOTHING)
    if overtaken > _FEW * run.silent:
        return ruled_out(f"{overtaken:,} attempts without an answer were followed by others that opened")
    return Indication(Weight.SUPPORTED, (through(run),))


def through(run: RunFacts) -> str:
    """Return how many connections something on the way let through, and of what."""
    rows = run.partly
    each = same(row.established for row in rows)
    if len(rows) == 1 or each is None:
        return f"{sum(row.established for row in rows):,} connections opened at once, and none after them"
    return f"{each:,} connections of each source and target opened at once, and none after them"


def _blackhole(run: RunFacts) -> Indication:
    never = [row for row in run.summary.sources if row.failed and not row.established]
    if not never:
        return NOTHING_KNOWN
    text = f"{len(never):,} of {len(run.summary.sources):,} pairs of source and target never connected"
    return Indication(Weight.SUPPORTED, (text,))


def _port_search(run: RunFacts) -> Indication:
    if run.cliff_at is None:
        return ruled_out(f"strategy {run.plan.strategy} does not search for a port")
    rise, begins = run.cost_rise_of_search, run.search_begins
    if rise is not None:
        if rise.tenth > begins + 1:
            return ruled_out(f"the cost rose long after {percent(run.cliff_at)} of the ports, where the search begins")
        fourfold = run.cost_rise is not None and rise.tenth >= begins - 1
        return Indication(Weight.SHOWN if fourfold else Weight.STRONG, _search_facts(run, rise, rise.tenth))
    if run.past_cliff:
        if not run.summary.cost_us:
            return Indication(Weight.POSSIBLE)
        if step := cost.step(run.summary.cost_us, begins):
            return Indication(Weight.STRONG if step.clear else Weight.SUPPORTED, _search_facts(run, step, begins))
    return ruled_out("a connection cost about the same at every occupancy")


def _search_facts(run: RunFacts, dearer: Rise | Step, tenth: float) -> tuple[str, ...]:
    """tenth: from which on a connection is dearer, 0 to 10."""
    plan = run.plan
    occupied = tenth / run.search_begins * (run.cliff_at or 0)
    text = (
        f"a connection cost {dearer.before_us:,.0f} us of CPU time, and {dearer.after_us:,.0f} us from about "
        f"{occupied * plan.capacity_per_pair:,.0f} of {plan.capacity_per_pair:,} ports in use on ({percent(occupied)})"
    )
    facts = [text]
    if bind := run.summary.latency_us.bind:
        facts.append(f"bind() took {bind.p50:,.0f} us at the median, {bind.p99:,.0f} us at the 99th percentile")
    return tuple(facts)


def _generator(run: RunFacts) -> Indication:
    generator = run.summary.generator
    if generator.trustworthy:
        return ruled_out("loadgen kept up")
    if run.paused:
        return ruled_out(f"it was stopped for a time: {run.paused[0]}")
    user_s, cpu_s = generator.user_cpu_s, generator.cpu_s
    if user_s is not None and cpu_s and user_s >= _USER_SHARE * cpu_s:
        text = f"{percent(user_s / cpu_s)} of the workers' CPU time was outside system calls"
        return Indication(Weight.STRONG, (*generator.reasons, text))
    search = _port_search(run)
    if search.weight >= Weight.STRONG:
        return ruled_out(f"the kernel took the time: {search.supports[0]}")
    if run.delayed_here:
        return Indication(Weight.STRONG, (*generator.reasons, run.delayed_here))
    if run.kernel_us is None or run.kernel_us > _QUICK_US:
        return Indication(Weight.SUPPORTED, generator.reasons)
    quick = f"the kernel was quick: a connection took {run.kernel_us:,.0f} us of it"
    return Indication(Weight.STRONG, (*generator.reasons, quick))


def _counted(run: RunFacts, name: str) -> str:
    return f"{name} {run.moved(name):+,}"


RULES: Final[Mapping[str, Rule]] = {
    "port-search": _port_search,
    "conntrack": _conntrack,
    "nat-ports": _nat_ports,
    "neighbours": _neighbours,
    "backlog": _backlog,
    "syn-loss": _syn_loss,
    "target-time-wait": _target_time_wait,
    "path-limit": _path_limit,
    "blackhole": _blackhole,
    "generator": _generator,
}
