"""Searches of the kernel that get long: for a free port in connect() and bind(), for a connection by its four-tuple.

Sources: __inet_hash_connect() and inet_pernet_hashinfo_alloc() in net/ipv4/inet_hashtables.c; tcp_set_hashinfo() in
net/ipv4/tcp_ipv4.c; ip-sysctl.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loadgen.doctor.finding import Grade, LimitCheck, LimitJudgement, Purpose, roomy, set_sysctl, setting
from loadgen.doctor.ports import EACH, more_addresses
from loadgen.doctor.reading import Reading
from loadgen.format import count
from loadgen.strategies import TABLE, PortScope, Strategy

_STEP: Final = "net.ipv4.ip_local_port_step_width"
_CHILD: Final = "net.ipv4.tcp_child_ehash_entries"
#: Entries of a bucket from which on finding a connection costs more than the rest of its packet.
_CHAIN_MAX: Final = 16


def _search(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Fact 1.3. Judged for connect() alone, which is what most programs do."""
    said = "; ".join(_search_begins(host.usable_ports))
    allows = f"beyond that each search for a free port first passes all taken ports of one parity; {said}"
    gains = (
        "a second source address, a second destination or a wider range stay below it; a program that sets "
        "IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE, as late-range does, or that names its ports, does not search"
    )
    slow = purpose.per_pair > search_at(host.usable_ports)
    return LimitJudgement(Grade.TIGHT if slow else Grade.GOOD, allows, more_addresses(), 0, gains)


def _search_begins(usable: int) -> Iterator[str]:
    """Yield the connections from which on the search is long, for each strategy that searches."""
    for strategy, row in TABLE.items():
        if row.tcp.cliff_at is not None:
            each = "of a source address" if row.tcp.scope is PortScope.SOURCE else EACH
            yield f"{strategy}: {count(int(usable * row.tcp.cliff_at))} {each}"


def search_at(usable: int) -> int:
    """Return the connections of a pair from which on connect() alone searches long."""
    return int(usable * (TABLE[Strategy.KERNEL].tcp.cliff_at or 1.0))


#: The name is that of the limit which a run meets.
port_search = LimitCheck("port-search", lambda host: f"from {count(search_at(host.usable_ports))} on", _search)


@setting(_STEP)
def _step_width(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Judged for connect() alone, as the search is."""
    width = host.number(_STEP)
    if not width:
        allows = "connect() goes from a taken port on to the next, so those after reserved ports are used more often"
        return LimitJudgement(Grade.GOOD, allows)
    allows = (
        f"connect() goes on from a taken port by a step that is random for each call, up to {count(width)}, so all are "
        "used alike; as many can be had, and late-range and explicit do not search"
    )
    slow = purpose.per_pair > search_at(host.usable_ports)
    allows += "; past half of the range each step is a jump through memory, and the search longer" if slow else ""
    gains = "a shorter search for the last ports of the range"
    return LimitJudgement(Grade.TIGHT if slow else Grade.GOOD, allows, set_sysctl(_STEP, 0), 0, gains)


#: Linux 7.1; without a row before.
step_width = replace(_step_width, asked=lambda host, _: _STEP in host.sysctls or _STEP in host.refused)


@setting(_CHILD)
def child_buckets(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Of network namespaces made in this one, as labs and containers are: a hash table of connections of their own."""
    own, change = host.number(_CHILD), set_sysctl(_CHILD, roomy(2 * purpose.connections))
    namespace, each = "a namespace made in this one (a lab, a container)", "in each with both ends of the purpose"
    if own:
        buckets, whose = roomy(own), f"has a table of connections of its own, and a tcp_max_tw_buckets of {own // 2:,}"
    else:
        buckets, whose = _buckets_of_host(host), "shares the host's table of connections"
    if not buckets:
        return LimitJudgement(Grade.GOOD, f"{namespace} {whose}", change)
    chain = 2 * purpose.connections / buckets
    allows = f"{namespace} {whose}: {count(buckets)} buckets, {chain:.1f} {each}"
    grade = Grade.TIGHT if chain > _CHAIN_MAX else Grade.GOOD
    return LimitJudgement(grade, allows, change, 0, "one connection in a bucket, in namespaces made after that")


def _buckets_of_host(host: Reading) -> int:
    """Return the size of the host's table; 0: this namespace has one of its own, and does not show it."""
    entries = host.number("net.ipv4.tcp_ehash_entries")  # negative where the table is the host's
    of_host = entries < 0 or "net.ipv4.tcp_mem" in host.sysctls  # which the initial namespace alone shows
    return abs(entries) if of_host else 0
