"""Connection tracking: how many entries a plan needs of the table, and the churn rate that the table allows.

An entry begins with a connection's first packet and stays after its end, as the timeout of its last state says:
120 s after a close by FIN from either side, 10 s after a reset, 30 s after the last datagram of UDP. A new one on
the same four-tuple takes the old entry's place. So in churn a table of N entries that are kept L seconds allows N / L
connections per second for ever, and N at once before that. Where it is full, packets that would begin a connection are
dropped; now and then the kernel then evicts entries of closed connections (gc_worker(), Linux 4.12), and a burst gets
through.

Sources: Documentation/networking/nf_conntrack-sysctl.rst; tcp_timeouts and nf_conntrack_tcp_packet() in
net/netfilter/nf_conntrack_proto_tcp.c; __nf_conntrack_alloc() in net/netfilter/nf_conntrack_core.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.capacity.demands import due_of_churn_ns, first_too_soon, most_within, setting
from loadgen.capacity.resources import TRACKING, Resource
from loadgen.format import rate
from loadgen.kernel.host import HostFacts
from loadgen.model import CloseMode, Plan, Transport

_PREFIX: Final = "net.netfilter.nf_conntrack_"
#: The kernel's defaults of these settings, in seconds.
DEFAULTS_S: Final = {
    f"{_PREFIX}tcp_timeout_time_wait": 120,
    f"{_PREFIX}tcp_timeout_close": 10,
    f"{_PREFIX}udp_timeout": 30,
}


def timeout_name(plan: Plan) -> str:
    """Return the setting that says how long an entry stays after a connection of this plan has ended."""
    return timeout_after(plan.close) if plan.transport is Transport.TCP else f"{_PREFIX}udp_timeout"


def timeout_after(close: CloseMode) -> str:
    """Return the setting that says how long an entry stays after a TCP connection was closed so."""
    return f"{_PREFIX}tcp_timeout_{'close' if close is CloseMode.RST else 'time_wait'}"


def remembered_s(plan: Plan, facts: HostFacts) -> int:
    """Return how long an entry stays after a connection of this plan has ended, in seconds."""
    name = timeout_name(plan)
    return setting(facts, name) or DEFAULTS_S[name]


def of_tracking(plan: Plan, facts: HostFacts) -> Iterator[Resource]:
    """Yield the entries of the connection tracking table, unless it is known that nothing is tracked."""
    count, size = (setting(facts, f"{_PREFIX}{key}") for key in ("count", "max"))
    if not size or (facts.tracks_connections is False and not count):
        return
    free = max(size - count, 0)
    if facts.tracks_connections is None and not count:
        # An empty table of a namespace that may track nothing at all: no limit of the plan.
        yield Resource(
            TRACKING, "conntrack", None, free, note="nf_conntrack_max; not known whether this load is tracked"
        )
    elif plan.churn is None:
        yield Resource(TRACKING, "conntrack", plan.connections, free, free, "nf_conntrack_max")
    else:
        yield _of_churn(plan, facts, free)


def _of_churn(plan: Plan, facts: HostFacts, free: int) -> Resource:
    kept_s = remembered_s(plan, facts)
    per_s = free / kept_s
    note = f"nf_conntrack_max; each entry stays {kept_s:,} s after its connection: {rate(per_s)} can go on for ever"
    if plan.capacity <= free:  # an entry for each four-tuple, and no more
        note = f"nf_conntrack_max; an entry for each of {plan.capacity:,} four-tuples is the most there can be"
        return Resource(TRACKING, "conntrack", plan.capacity, free, note=note)
    assert plan.churn
    if plan.churn.arrivals is None:
        return Resource(TRACKING, "conntrack", None, free, free, note, per_s=per_s)
    due_ns = due_of_churn_ns(plan)
    needed, at = min(most_within(due_ns, kept_s), plan.capacity), first_too_soon(due_ns, free, kept_s) or free
    return Resource(TRACKING, "conntrack", needed, free, at, note, per_s=per_s)
