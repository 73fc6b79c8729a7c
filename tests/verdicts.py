"""Summaries of runs that a verdict is to be found for, with sums that hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target
from loadgen.results.run_facts import RunFacts
from loadgen.results.schema import files
from loadgen.results.schema.files import Json
from loadgen.results.schema.host import Host
from loadgen.results.schema.run import RunSummary
from loadgen.results.verdict import decide
from tests import samples
from tests.plans import plan_of

#: The default range from two sources to two targets: four spaces of 28,232.
PLAN = plan_of(
    connections=1000,
    sources=("127.0.0.2", "127.0.0.3"),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=False), Target(Endpoint("127.0.0.1", 9001), sink=False)),
    strategy=Strategy.LATE,
    ports=PortRange(32_768, 60_999),
    capacity_per_pair=28_232,
    close=CloseMode.FIN,
    in_flight_max=256,
)
#: One source, one target, 100 ports: a wall that 150 connections run into.
WALL = replace(
    PLAN,
    connections=150,
    sources=("127.0.0.2",),
    targets=PLAN.targets[:1],
    ports=PortRange(40_000, 40_099),
    capacity_per_pair=100,
)
BIND = replace(WALL, strategy=Strategy.BIND, targets=PLAN.targets)
EXPLICIT = replace(WALL, strategy=Strategy.EXPLICIT)
#: The same to a target on another host, whose counters are out of sight.
FAR = replace(PLAN, targets=(Target(Endpoint("198.18.1.1", 9000), sink=False),))
HOST = {
    "descriptors": 20_000,
    "port_range": {"low": 32_768, "high": 60_999},
    "reserved_ports": [],
    "listeners": [],
    "unprivileged_port_start": 1024,
    "missing_sources": [],
    "port_range_option": True,
    "sysctls": {
        "net.core.somaxconn": "4096",
        "net.ipv4.tcp_tw_reuse": "2",
        "net.ipv4.tcp_timestamps": "1",
        "net.netfilter.nf_conntrack_count": "0",
        "net.netfilter.nf_conntrack_max": "262144",
        "net.ipv4.neigh.default.gc_thresh3": "1024",
        "fs.file-max": "2466183",
    },
}
TRACKED = {
    **HOST,
    "sysctls": {"net.netfilter.nf_conntrack_count": "1000", "net.netfilter.nf_conntrack_max": "1024"},
}
OVERFLOW = {"TcpExt.ListenOverflows": 512, "TcpExt.ListenDrops": 512}
AGAIN = {"TcpExt.TCPSynRetrans": 40}

TUPLE = ("connect", "EADDRNOTAVAIL", "no-free-four-tuple")
PORT = ("bind", "EADDRINUSE", "no-free-port")
SILENT = ("wait", "ETIMEDOUT", "timed-out")
REFUSED = ("connect", "ECONNREFUSED", "refused")
SELF = ("getsockname", "SELF", "self-connect")
EOF = ("recv", "EOF", "lost")


def facts(changes: Json, plan: Plan, host: Json) -> RunFacts:
    """A recorded summary and host with these parts instead of theirs."""
    summary = merged(files.plain(samples.summary({"probes": {}, "kernel.delta": {}, "kernel.peak": {}})), changes)
    return RunFacts(files.convert(summary, RunSummary), plan, files.convert(host, Host))


def decided(changes: Json, plan: Plan, host: Json) -> Any:
    """The verdict of `facts` as JSON."""
    run = facts(changes, plan, host)
    return files.plain(decide(run.summary, run.plan, run.host))


#: Keys that are data; what has them is replaced as a whole.
OPEN_ENDED: Final = ("delta", "opening", "peak", "ramp_peak", "probes")


def merged(whole: Json, changes: Json) -> dict[str, Any]:
    inner = {key: value for key, value in changes.items() if isinstance(value, dict) and key not in OPEN_ENDED}
    parts = {key: merged(whole[key] or {}, value) for key, value in inner.items() if key in whole}
    return {**whole, **changes, **parts}


def connects(*, p50_us: float, network_us: float) -> dict[str, Any]:
    """The latencies of 1,000 connections of which the network took a part."""
    rows = {"connect": p50_us, "network": network_us}
    percentiles = ("p50", "p90", "p99", "p999", "max")
    return {"latency_us": {name: {**dict.fromkeys(percentiles, us), "count": 1000} for name, us in rows.items()}}


def run(
    *errors: tuple[tuple[str, str, str], int],
    plan: Plan = PLAN,
    opened: int | None = None,
    not_started: int = 0,
    in_flight: int = 0,
    because: str | None = None,
    untrusted: str = "",
    paused: str = "",
    hold_s: float = 0.0,
    delta: Mapping[str, int] = {},
    opening: Mapping[str, int] | None = None,
    time_wait: int = 0,
    p99_s: float = 0.001,
    overtaken: int | None = None,
    cost_us: Sequence[float] = (),
) -> dict[str, Any]:
    """A summary whose sums hold.

    `opened` is the most at once where that is not all established, `opening` the part of `delta` that was counted
    before the drain where that is not all of it.
    """
    lost = sum(count for (*_, outcome), count in errors if outcome in ("lost", "certificate", "tls"))
    failed = sum(count for (*_, outcome), count in errors) - lost
    established = max(plan.connections - not_started - in_flight - failed, 0)
    peak = established if opened is None else opened
    rows = [
        {
            "source": source,
            "target": str(target),
            "capacity": plan.capacity_per_pair,
            "peak_open": peak // len(plan.pairs),
            "established": established // len(plan.pairs),
            "failed": -(-failed // len(plan.pairs)),
        }
        for source, target in plan.pairs
    ]
    return {
        "complete": because is None,
        "incomplete_because": because,
        "arrivals": {
            "scheduled": plan.connections,
            "started": max(plan.connections - not_started, 0),
            "not_started": not_started,
        },
        "outcomes": {"established": established, "failed": failed, "in_flight": in_flight, "overtaken": overtaken},
        "cost_us": list(cost_us),
        "errors": [
            {"syscall": syscall, "errno": number, "outcome": outcome, "count": count}
            for (syscall, number, outcome), count in errors
        ],
        "open": {"peak": peak, "end_of_hold": max(peak - lost, 0), "lost": lost},
        "rate_per_s": {"established_mean": 12_345.6, "established_peak": 20_000.0},
        "phases": {"ramp_s": 1.0, "hold_s": hold_s, "drain_s": 0.1},
        "latency_us": {"connect": {"p50": 80.0, "p99": p99_s * 1e6, "count": established}},
        "sources": rows,
        # The drain of a run leaves TIME-WAIT as well, which must not count.
        "kernel": {
            "delta": dict(delta),
            "opening": dict(delta if opening is None else opening),
            "peak": {"sockstat.tcp_tw": time_wait + peak},
            "ramp_peak": {"sockstat.tcp_tw": time_wait},
        },
        "generator": {
            "trustworthy": not (untrusted or paused),
            "reasons": [reason for reason in (paused, untrusted) if reason],
            "paused": [paused] if paused else [],
        },
    }
