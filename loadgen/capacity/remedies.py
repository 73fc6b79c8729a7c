"""What would move a limit, best first, each with what it would gain. Pure arithmetic and words.

A gain is a difference of two capacities as the plan counts them: connections with the change less
connections without. So "+56,464" can be checked with `loadgen plan`, and is no promise beyond that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from loadgen.capacity.time_wait import ceiling
from loadgen.format import rate_text
from loadgen.model import CloseMode, Plan, PortRange, Strategy, Transport

_UNPRIVILEGED_START: Final = 1024


class Remedy(NamedTuple):
    """A change in words, and the connections it adds to the plan's capacity; 0 where it is no sum."""

    text: str
    gain: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What there is to change, and how much is asked for.

    short: connections that were wanted and not open. errnos: names of all that was seen.
    """

    plan: Plan
    host: Mapping[str, Any]
    short: int
    errnos: frozenset[str]
    target: str
    time_wait: int

    def sysctl(self, name: str) -> str:
        """A setting of the run's namespace, "" where it is unknown."""
        return str(self.host.get("sysctls", {}).get(name, ""))


def ranked(limit: str, change: Change) -> list[Remedy]:
    """The remedies of a limit. What gains all that was short comes first; the cheaper to do before the dearer."""
    found = _MAKERS.get(limit, _nothing)(change)
    return sorted(found, key=lambda remedy: 0 < remedy.gain < change.short)


def _nothing(_: Change) -> list[Remedy]:
    return []


def _capacity(change: Change) -> list[Remedy]:
    ways = (_share_ports, _more_sources, _wider_range, _more_targets, _flat_cost)
    return [remedy for way in ways for remedy in way(change)]


def _share_ports(change: Change) -> list[Remedy]:
    plan = change.plan
    gain = plan.capacity_per_pair * (len(plan.pairs) - plan.spaces)
    if plan.shares_ports or not gain:
        return []
    names = plan.strategy is Strategy.EXCLUSIVE or plan.transport is Transport.UDP
    name = "explicit" if names else _late(change)
    return [Remedy(f"use {name}: each port serves every target: +{gain:,}", gain)]


def _more_sources(change: Change) -> list[Remedy]:
    plan = change.plan
    per_source = plan.capacity_per_pair * (len(plan.targets) if plan.shares_ports else 1)
    if not per_source:
        return []
    count = max(1, math.ceil(change.short / per_source))
    gain = count * per_source
    addresses = "1 source address" if count == 1 else f"{count:,} source addresses"
    how = f"use {_late(change)} and add" if plan.strategy is Strategy.KERNEL else "add"
    return [Remedy(f"{how} {addresses}: +{gain:,}", gain)]


def _wider_range(change: Change) -> list[Remedy]:
    plan, host = change.plan, change.host
    start = _UNPRIVILEGED_START
    if plan.strategy.row.names_ports:
        start = max(start, int(host.get("unprivileged_port_start", start)))
    wide = PortRange(start, 65535)
    others = "datagram_ports" if plan.transport is Transport.UDP else "listeners"
    closed = set(host.get(others, ())) | {target.endpoint.port for target in plan.targets if target.sink}
    if not plan.strategy.row.names_ports:
        closed |= set(host.get("reserved_ports", ()))
    usable = len(wide) - sum(port in wide for port in closed)
    gain = (usable - plan.capacity_per_pair) * plan.spaces
    if gain <= 0 or wide.low > plan.ports.low:
        return []
    what = "`ports`" if plan.strategy.row.names_ports else "ip_local_port_range"
    if plan.strategy is Strategy.LATE_RANGE and host.get("port_range", asdict(plan.ports)) != asdict(plan.ports):
        what += " and `ports`"
    return [Remedy(f"widen {what} to {wide}: +{gain:,}", gain)]


def _more_targets(change: Change) -> list[Remedy]:
    plan = change.plan
    gain = plan.capacity_per_pair * len(set(plan.sources))
    if not plan.shares_ports or not gain:
        return []
    return [Remedy(f"add 1 target, another address or port: +{gain:,}", gain)]


def _flat_cost(change: Change) -> list[Remedy]:
    if change.plan.strategy not in (Strategy.KERNEL, Strategy.LATE) or not change.host.get("port_range_option", True):
        return []
    if change.plan.transport is Transport.UDP:  # where the search begins anywhere, and knows no parity
        return []
    return [
        Remedy(
            "use late-range: the same capacity, connect cost flat instead of up to a hundredfold past half of the range"
        )
    ]


def _late(change: Change) -> str:
    return "late-range" if change.host.get("port_range_option", True) else "late"


def _port_held(change: Change) -> list[Remedy]:
    ports = change.plan.ports
    protocol = "u" if change.plan.transport is Transport.UDP else "t"
    found = [Remedy(f"see who holds them: ss -{protocol}anp 'sport >= {ports.low} and sport <= {ports.high}'")]
    if change.plan.strategy.row.names_ports:
        found.append(Remedy("move `ports` to where nobody listens, and outside ip_local_port_range"))
    else:
        found.append(
            Remedy("keep bound ports out of the range: a port somebody bound is closed to automatic choice everywhere")
        )
    return found + _more_sources(change)


def _faster_churn(change: Change) -> list[Remedy]:
    """What would lift the ceiling that TIME-WAIT puts on churn, each with the ceiling it would put instead."""
    plan, sysctls = change.plan, dict(change.host.get("sysctls", {}))
    assert plan.churn
    now = ceiling(plan, plan.churn, sysctls)
    if now.per_s is None:
        return []
    reuse = {**sysctls, "net.ipv4.tcp_tw_reuse": "1", "net.ipv4.tcp_timestamps": "1"}
    sooner = {**reuse, "net.ipv4.tcp_tw_reuse_delay": "100"}
    ways: list[tuple[str, Plan, Mapping[str, str]]] = [
        ("set net.ipv4.tcp_timestamps=1 and net.ipv4.tcp_tw_reuse=1", plan, reuse),
        ("set net.ipv4.tcp_tw_reuse_delay=100 (Linux 6.14)", plan, sooner),
        ("have the other side close first (`close: target`)", replace(plan, close=CloseMode.TARGET), sysctls),
        ("use `close: rst`", replace(plan, close=CloseMode.RST), sysctls),
        (f"use {_late(change)}", replace(plan, strategy=Strategy(_late(change))), reuse),
        ("use explicit, with timestamps", replace(plan, strategy=Strategy.EXPLICIT), reuse),
    ]
    found = []
    best = now.per_s
    for text, changed, settings in ways:
        per_s = ceiling(changed, plan.churn, settings).per_s
        if per_s is None or per_s > best:
            best = per_s or best
            found.append(Remedy(f"{text}: {_ceiling_text(now.per_s)} becomes {_ceiling_text(per_s)}"))
    per_s = ceiling(plan, plan.churn, sysctls, times=2).per_s
    found.append(
        Remedy(f"use twice as many source addresses: {_ceiling_text(now.per_s)} becomes {_ceiling_text(per_s)}")
    )
    return found


def _ceiling_text(per_s: float | None) -> str:
    return "no ceiling" if per_s is None else rate_text(per_s)


def _time_wait(change: Change) -> list[Remedy]:
    if change.plan.churn:
        return _faster_churn(change)
    plan, gain = change.plan, min(change.time_wait, change.short)
    found = []
    if plan.close is CloseMode.FIN:
        found.append(
            Remedy(f"use `close: rst`, which leaves nothing in TIME-WAIT: up to +{gain:,} in the next run", gain)
        )
    if not plan.shares_ports:
        name = _late(change)
        found.append(Remedy(f"use {name} or explicit: {plan.strategy} never takes a port out of TIME-WAIT"))
    elif change.sysctl("net.ipv4.tcp_timestamps") == "0":
        found.append(Remedy("set net.ipv4.tcp_timestamps=1: without it no four-tuple leaves TIME-WAIT early"))
    elif not plan.strategy.row.names_ports and change.sysctl("net.ipv4.tcp_tw_reuse") != "1":
        found.append(Remedy("set net.ipv4.tcp_tw_reuse=1: a four-tuple in TIME-WAIT can be had again after 1 s"))
    return [*found, Remedy("wait 60 s, the length of TIME-WAIT, before the next run"), *_more_sources(change)]


def _descriptors(change: Change) -> list[Remedy]:
    found = []
    lowered, limit = change.plan.descriptor_limit, change.host.get("descriptors")
    if lowered and limit and lowered < limit:
        found.append(Remedy(f"leave `descriptors: {lowered}` out of the scenario: +{limit - lowered:,} in each worker"))
    else:
        found += [Remedy(f"use `workers: {change.plan.workers + 1}`: +{limit:,} descriptors")] if limit else []
        found.append(Remedy(f"raise the hard limit of open files (ulimit -Hn{f', now {limit:,}' if limit else ''})"))
    if "ENFILE" in change.errnos:
        found.insert(0, Remedy(f"raise fs.file-max, now {change.sysctl('fs.file-max') or 'too low'}"))
    return found


def _source_address(change: Change) -> list[Remedy]:
    missing = (change.host.get("missing_sources") or change.plan.sources)[0]
    return [Remedy(f"add the address: ip address add {missing}/{128 if ':' in missing else 32} dev lo")]


def _backlog(change: Change) -> list[Remedy]:
    somaxconn = change.sysctl("net.core.somaxconn")
    cap = f", which net.core.somaxconn caps (here {int(somaxconn):,})" if somaxconn.isdecimal() else ""
    return [
        Remedy("make the target accept faster, or with more processes"),
        Remedy(f"raise the target's listen backlog{cap}"),
        Remedy("lower the arrival rate, or `in_flight`, to what the target accepts"),
    ]


def _blackhole(change: Change) -> list[Remedy]:
    return [
        Remedy("see whether SYNs arrive and answers leave (tcpdump at the target): a firewall may drop them"),
        Remedy(f"see that {change.target} has a way back to every source address (ip route get, there)"),
        Remedy(f"raise `timeout` above {change.plan.timeout_s:g} s if the target is only slow"),
    ]


def _refused(change: Change) -> list[Remedy]:
    found = [Remedy(f"start the server at {change.target}; a refusal means that nothing listens there")]
    if not any(target.sink for target in change.plan.targets):
        found.append(Remedy("or write `sink: true` at the target, and loadgen listens there itself"))
    return found


def _self_connect(change: Change) -> list[Remedy]:
    return [
        Remedy(f"start the server at {change.target}"),
        Remedy(f"keep target ports outside {change.plan.ports}, where source ports are taken from"),
    ]


def _lost(change: Change) -> list[Remedy]:
    found = []
    if "EOF" in change.errnos:
        found.append(Remedy("look at the target's idle time-out, its limit of connections and its log"))
    if "ECONNRESET" in change.errnos:
        found.append(Remedy("look for a crash of the target, or a firewall that forgets idle connections"))
    if "ECONNREFUSED" in change.errnos:
        found.append(Remedy(f"start the server at {change.target}; nothing has that port there"))
    return found


def _tls(change: Change) -> list[Remedy]:
    found = []
    if "CERTIFICATE_UNKNOWN_ISSUER" in change.errnos:
        found.append(Remedy("name the file of the target's authority in `tls.ca`"))
    if "CERTIFICATE_WRONG_NAME" in change.errnos:
        found.append(Remedy("name whom the certificate is for in `tls.server_name`"))
    if any(errno.startswith("CERTIFICATE") for errno in change.errnos):
        found.append(Remedy("or take every certificate with `tls.verify` false"))
    if "NOT_TLS" in change.errnos:
        found.append(Remedy(f"leave out `tls`, or name the port on which {change.target} speaks it"))
    return found or [Remedy(f"compare what both sides offer: openssl s_client -connect {change.target}")]


def _unanswered(change: Change) -> list[Remedy]:
    return [
        Remedy("look for the target's limit of connections: those beyond it may be kept waiting (a proxy's maxconn)"),
        Remedy(f"raise `timeout` above {change.plan.timeout_s:g} s, or `heartbeat.every`, if the target is only slow"),
    ]


def _conntrack(change: Change) -> list[Remedy]:
    size = change.sysctl("net.netfilter.nf_conntrack_max")
    return [
        Remedy(f"raise net.netfilter.nf_conntrack_max{f', now {int(size):,}' if size.isdecimal() else ''}"),
        Remedy("leave the load untracked (nft: a `notrack` rule in a raw chain)"),
    ]


def _in_flight(change: Change) -> list[Remedy]:
    key = "churn.concurrency" if change.plan.churn else "in_flight"
    return [Remedy(f"raise `{key}`"), Remedy("lower the rate"), Remedy("find out why the target answers late")]


def _say(*texts: str) -> Callable[[Change], list[Remedy]]:
    return lambda _: [Remedy(text) for text in texts]


_MAKERS: Final[Mapping[str, Callable[[Change], list[Remedy]]]] = {
    "four-tuples": _capacity,
    "source-ports": _capacity,
    "port-held": _port_held,
    "time-wait": _time_wait,
    "source-address": _source_address,
    "descriptors": _descriptors,
    "backlog": _backlog,
    "blackhole": _blackhole,
    "refused": _refused,
    "self-connect": _self_connect,
    "lost": _lost,
    "tls": _tls,
    "unanswered": _unanswered,
    "wrong-reply": _say(
        "look at what the target answers, and at its log: it may be a limit of connections, or a login it wants",
        "or mend what `protocol` expects",
    ),
    "conntrack": _conntrack,
    "memory": _say("open fewer connections", "raise net.ipv4.tcp_mem, or the memory limit of the control group"),
    "unreachable": _say("see which way packets take: ip route get TARGET from SOURCE"),
    "forbidden": _say("look for a rule that forbids it: nft list ruleset, eBPF at the control group, SELinux"),
    "reset": _say("look at the target's log: it takes connections and drops them at once"),
    "in-flight": _in_flight,
    "generator": _say("lower the rate", "run on a machine with more cores, or with less else to do"),
    "incomplete": _say("look at events.jsonl for the process that was lost, then run again"),
}
