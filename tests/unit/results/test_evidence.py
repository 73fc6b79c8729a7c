"""The weight of the figures for each limit, and what rules one out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadgen.capacity.limits import LIMITS
from loadgen.model import Endpoint, Nat, NatKind, PortRange, Strategy, Target, Transport
from loadgen.results.evidence import RULES
from loadgen.results.merging.whole import plan_of
from loadgen.results.weighing import Weight
from tests.verdicts import AGAIN, FAR, HOST, OVERFLOW, PLAN, SILENT, TRACKED, WALL, connects, facts, run

#: 28,000 of 28,232 ports of one source, by a strategy that searches from half of them on.
SEARCHING = replace(PLAN, strategy=Strategy.LATE, connections=28_000, sources=("127.0.0.2",), targets=PLAN.targets[:1])
UDP = replace(PLAN, transport=Transport.UDP)


def rows(*counts: tuple[int, int]) -> dict[str, Any]:
    """A summary with (established, failed) of a source each."""
    errors = [{"syscall": "wait", "errno": "ETIMEDOUT", "outcome": "timed-out", "count": sum(f for _, f in counts)}]
    return run(plan=FAR) | {
        "outcomes": {"established": sum(e for e, _ in counts), "failed": errors[0]["count"], "overtaken": 0},
        "errors": errors,
        "sources": [
            {
                "source": f"198.18.{n // 250}.{n % 250 + 2}",
                "target": "198.18.1.1:9000",
                "capacity": 28_232,
                "peak_open": established,
                "established": established,
                "failed": failed,
            }
            for n, (established, failed) in enumerate(counts)
        ],
    }


def late(**figures: float) -> dict[str, Any]:
    """1,000 connections, and arrivals that started late."""
    return run() | {"generator": {"trustworthy": False, "reasons": ["late"], **figures}}


def costing(*cost_us: float) -> dict[str, Any]:
    return run(plan=SEARCHING, cost_us=cost_us)


def filled(at_clients: int, at_sinks: int) -> dict[str, Any]:
    """Neighbours of both namespaces of a lab, on a host with room for 1,024 that was full."""
    kernel = {"delta": {"neigh.table_fulls": 9}, "peak": {"neigh.own": at_clients}}
    kernel["sink"] = {"delta": {}, "peak": {"neigh.own": at_sinks}, "states": None}  # type: ignore[dict-item]
    found = run((SILENT, 5), plan=FAR)
    return {**found, "kernel": {**found["kernel"], **kernel}}


#: Through a gateway with 100 ports for one target.
BEHIND = replace(
    FAR,
    connections=150,
    sources=("198.18.0.2", "198.18.0.3"),
    nat=Nat(NatKind.SNAT, ("192.0.2.1",), PortRange(20_000, 20_099)),
)


def translated(opened: int, *, entries: int = 100, **moved: int) -> dict[str, Any]:
    """150 connections through that gateway, of which some opened; its table has room for 1,024."""
    counters = {"insert_failed": 150, "drop": 150, **moved}
    found = rows((opened // 2, 75 - opened // 2), (opened - opened // 2, 75 - (opened - opened // 2)))
    for index, row in enumerate(found["sources"]):
        row["source"] = BEHIND.sources[index]
    kernel = {
        "delta": {"TcpExt.TCPSynRetrans": 100},
        "gateway": {
            "delta": {f"conntrack.{name}": count for name, count in counters.items() if count},
            "peak": {"conntrack.count": entries, "conntrack.max": 1_024},
            "states": None,
        },
    }
    return found | {"kernel": kernel}


CASES = [
    ("backlog", run((SILENT, 5), delta=OVERFLOW), PLAN, Weight.SHOWN),
    ("backlog", run((SILENT, 5)), PLAN, "ListenOverflows +0 in this namespace"),
    ("backlog", run((SILENT, 5), plan=FAR), FAR, Weight.POSSIBLE),
    ("backlog", run(plan=FAR, p99_s=1.02, delta=AGAIN), FAR, Weight.SUPPORTED),
    ("syn-loss", run(p99_s=1.02, delta=AGAIN), PLAN, Weight.SUPPORTED),
    ("syn-loss", run(p99_s=1.02), PLAN, "no SYN was sent again"),
    ("syn-loss", run((SILENT, 5), delta=AGAIN), PLAN, "no connection opened late"),
    ("syn-loss", run((SILENT, 5), delta=AGAIN), replace(PLAN, timeout_s=0.5), Weight.POSSIBLE),
    ("syn-loss", run((SILENT, 1000), delta=AGAIN), PLAN, "no connection opened at all"),
    ("conntrack", run((SILENT, 5)), PLAN, "tracks no connections"),
    ("conntrack", run((SILENT, 5), delta={"conntrack.drop": 5}), PLAN, Weight.STRONG),
    ("conntrack", run((SILENT, 5), delta={"conntrack.drop": 5, "conntrack.insert_failed": 5}), PLAN, "tracks no"),
    ("nat-ports", run((SILENT, 5), delta={"conntrack.drop": 15, "conntrack.insert_failed": 15}), PLAN, Weight.STRONG),
    ("nat-ports", run((SILENT, 50), delta={"conntrack.drop": 1, "conntrack.insert_failed": 1}), PLAN, Weight.SUPPORTED),
    ("nat-ports", run((SILENT, 5), delta={"conntrack.drop": 15}), PLAN, "insert_failed +0"),
    ("nat-ports", translated(100), BEHIND, Weight.SHOWN),
    ("nat-ports", translated(50), BEHIND, Weight.SUPPORTED),
    ("nat-ports", translated(100, insert_failed=0), BEHIND, "at the gateway"),
    ("nat-ports", translated(100, insert_failed=3, drop=3), BEHIND, Weight.STRONG),
    ("conntrack", translated(100), BEHIND, "the table had room"),
    ("conntrack", translated(60, entries=1_000, insert_failed=0), BEHIND, Weight.SHOWN),
    ("conntrack", translated(60, entries=1_000, insert_failed=0, drop=0), BEHIND, "none was dropped"),
    ("syn-loss", translated(100), BEHIND, "the gateway dropped"),
    ("syn-loss", run(p99_s=1.02, delta=AGAIN | {"TcpExt.PAWSTimewait": 40}), PLAN, "older time stamp"),
    ("target-time-wait", run(p99_s=1.02, delta=AGAIN | {"TcpExt.PAWSTimewait": 40}), PLAN, Weight.SHOWN),
    ("target-time-wait", run(p99_s=1.02, delta=AGAIN | {"TcpExt.PAWSEstabRejected": 40}), PLAN, Weight.SHOWN),
    ("target-time-wait", run(p99_s=1.02, delta=AGAIN | {"TcpExt.PAWSTimewait": 1}), PLAN, Weight.SUPPORTED),
    (
        "target-time-wait",
        run(p99_s=1.02, delta=AGAIN | {"TcpExt.PAWSTimewait": 40}, opening=AGAIN),
        PLAN,
        "PAWSTimewait +0",
    ),
    ("target-time-wait", run(p99_s=1.02, delta=AGAIN), PLAN, "PAWSTimewait +0"),
    ("target-time-wait", run(plan=FAR, p99_s=1.02, delta=AGAIN), FAR, Weight.NOTHING),
    ("neighbours", rows(*[(1, 0)] * 1_000, *[(0, 1)] * 500), FAR, Weight.STRONG),
    ("neighbours", rows(*[(1, 0)] * 300, *[(0, 1)] * 500), FAR, Weight.SUPPORTED),
    ("neighbours", rows(*[(1, 0)] * 30, *[(0, 1)] * 500), FAR, "no table of neighbours is that small"),
    ("neighbours", rows(*[(1, 0)] * 1_000, (1, 1), *[(0, 1)] * 500), FAR, "connected at times"),
    ("neighbours", run((SILENT, 5)), PLAN, "loopback has no neighbours"),
    ("neighbours", run((SILENT, 5), plan=FAR, delta={"neigh.table_fulls": 9}), FAR, Weight.STRONG),
    ("neighbours", run((SILENT, 50), plan=FAR, delta={"neigh.table_fulls": 9}), FAR, Weight.SUPPORTED),
    ("neighbours", filled(1_000, 20), FAR, Weight.SHOWN),
    ("neighbours", filled(700, 20), FAR, Weight.STRONG),
    ("neighbours", run((SILENT, 5), delta={"neigh.table_fulls": 9}), PLAN, "loopback has no neighbours"),
    ("path-limit", rows((100, 50)), FAR, Weight.SUPPORTED),
    ("path-limit", rows((0, 50)), FAR, "no connection opened at all"),
    ("path-limit", rows((50, 0), (0, 50)), FAR, "connections that opened and others that did not"),
    ("path-limit", rows((100, 50)) | {"outcomes": {"established": 100, "overtaken": 20}}, FAR, "followed by others"),
    ("path-limit", rows((100, 50)) | {"outcomes": {"established": 100}}, FAR, Weight.POSSIBLE),
    ("path-limit", rows((900, 5)) | {"outcomes": {"established": 900}}, FAR, Weight.NOTHING),
    ("blackhole", rows((50, 0), (0, 50)), FAR, Weight.SUPPORTED),
    ("blackhole", rows((50, 50)), FAR, Weight.NOTHING),
    ("port-search", costing(*[100.0] * 5, *[600.0] * 5), SEARCHING, Weight.SHOWN),
    ("port-search", costing(*[100.0] * 3, *[600.0] * 7), SEARCHING, Weight.STRONG),
    ("port-search", costing(*[100.0] * 5, *[300.0] * 5), SEARCHING, Weight.STRONG),
    ("port-search", costing(*[100.0] * 5, *[180.0] * 5), SEARCHING, Weight.STRONG),
    ("port-search", costing(*[100.0] * 4, 190.0, *[180.0] * 5), SEARCHING, Weight.SUPPORTED),
    ("port-search", costing(*[100.0] * 5, *[120.0] * 5), SEARCHING, "about the same at every occupancy"),
    ("port-search", costing(), SEARCHING, Weight.POSSIBLE),
    ("port-search", costing(*[100.0] * 8, *[600.0] * 2), SEARCHING, "the cost rose long after 50.0 %"),
    ("port-search", costing(*[100.0] * 10), SEARCHING, "about the same at every occupancy"),
    ("port-search", run(cost_us=[100.0] * 5 + [600.0] * 5), replace(PLAN, strategy=Strategy.EXPLICIT), "not search"),
    ("generator", run(), PLAN, "kept up"),
    ("generator", run(untrusted="late"), PLAN, Weight.SUPPORTED),
    ("generator", late(cpu_s=4.0, user_cpu_s=3.0), PLAN, Weight.STRONG),
    ("generator", late(cpu_s=0.06, user_cpu_s=0.01), PLAN, Weight.STRONG),
    ("generator", late(cpu_s=4.0, user_cpu_s=1.0), PLAN, Weight.SUPPORTED),
    ("generator", late(cpu_s=4.0, user_cpu_s=1.0) | connects(p50_us=2_000, network_us=30), PLAN, Weight.STRONG),
    ("generator", late(cpu_s=4.0, user_cpu_s=1.0) | connects(p50_us=2_000, network_us=900), PLAN, Weight.SUPPORTED),
    ("generator", late(cpu_s=4.0, user_cpu_s=1.0) | connects(p50_us=900, network_us=3), PLAN, Weight.SUPPORTED),
    ("generator", late(cpu_s=4.0, user_cpu_s=1.0) | connects(p50_us=1_000_000, network_us=3), PLAN, Weight.SUPPORTED),
    ("generator", costing(*[100.0] * 5, *[600.0] * 5) | {"generator": {"trustworthy": False, "reasons": ["late"]}},
        SEARCHING, "the kernel took the time"),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "found", "plan", "weight"), CASES)
def test_the_weight_of_the_figures(limit: str, found: dict[str, Any], plan: Any, weight: Weight | str) -> None:
    """A text is what rules the limit out."""
    indication = RULES[limit](facts(found, plan, HOST))
    if isinstance(weight, str):
        assert weight in indication.refuted
        assert (indication.weight, indication.supports) == (Weight.NOTHING, ())
    else:
        assert (indication.weight, indication.refuted) == (weight, "")
        assert bool(indication.supports) == (weight >= Weight.SUPPORTED)


def test_every_rule_has_cases_on_both_sides() -> None:
    assert {limit for limit, *_ in CASES} == set(RULES) <= set(LIMITS)
    for limit in set(RULES) - {"blackhole"}:  # which only says what was seen
        weights = [weight for name, *_, weight in CASES if name == limit]
        assert any(isinstance(weight, str) for weight in weights)
        assert any(isinstance(weight, Weight) and weight >= Weight.SUPPORTED for weight in weights)


def test_a_table_that_was_full_when_sampled_is_shown_by_what_it_dropped() -> None:
    assert RULES["conntrack"](facts(run((SILENT, 5)), PLAN, TRACKED)).weight is Weight.STRONG
    dropped = run((SILENT, 5), delta={"conntrack.early_drop": 3})
    assert RULES["conntrack"](facts(dropped, PLAN, TRACKED)).weight is Weight.SHOWN


def test_a_table_that_is_nearly_full_and_drops_nothing_is_ruled_out_where_drops_are_counted() -> None:
    counted = {**TRACKED, "tracking_counters": True}
    assert "none was dropped" in RULES["conntrack"](facts(run((SILENT, 5)), PLAN, counted)).refuted
    dropped = run((SILENT, 5), delta={"conntrack.drop": 9})
    assert RULES["conntrack"](facts(dropped, PLAN, counted)).weight is Weight.SHOWN


def test_syns_that_meet_an_old_connection_are_not_lost() -> None:
    """As a port used again before the other side has closed: it answers with a challenge ACK."""
    found = run(p99_s=1.02, delta={**AGAIN, "TcpExt.TCPSYNChallenge": 40})
    assert "still had open" in RULES["syn-loss"](facts(found, PLAN, HOST)).refuted


@pytest.mark.parametrize("limit", ["backlog", "syn-loss"])
def test_over_udp_nothing_is_late(limit: str) -> None:
    """A reply that is late is no SYN that was sent again."""
    assert facts(run(p99_s=3.0, delta=AGAIN), UDP, HOST).late == 0
    assert RULES[limit](facts(run(plan=UDP, p99_s=3.0, delta=AGAIN), UDP, HOST)).weight < Weight.SUPPORTED


def test_a_listener_elsewhere_is_out_of_sight_though_another_is_near() -> None:
    """Counters of this namespace say nothing of the far one."""
    both = replace(PLAN, targets=(PLAN.targets[0], Target(Endpoint("198.18.1.1", 9000), sink=False)))
    assert facts(run((SILENT, 5), plan=both, delta=OVERFLOW), both, HOST).overflows is None
    assert facts(run((SILENT, 5), plan=WALL, delta=OVERFLOW), WALL, HOST).overflows == 512


def test_of_a_run_on_several_hosts_the_queue_of_an_agent_that_listens_is_in_sight() -> None:
    """The client alone knows of no queue; the sums have the counters of the host where it is."""
    client = replace(FAR, sinks=0)
    target = Target(Endpoint("198.18.1.1", 9000), sink=True, accept_after_s=None)
    server = replace(FAR, connections=0, sources=(), targets=(target,), workers=0, sinks=1, guests=FAR.connections)
    whole = plan_of("x", [("a", client), ("c", server)])
    found = run((SILENT, 5), plan=whole, delta=OVERFLOW)
    assert facts(found, client, HOST).overflows is None
    assert facts(found, whole, HOST).overflows == 512
    indication = RULES["backlog"](facts(found, whole, HOST))
    assert indication.weight is Weight.SHOWN
    assert "512 packets found the listener's queue full on agent c (ListenOverflows)" in indication.supports
    lost = found | {"complete": False, "incomplete_because": "agent c was lost: it is gone; what listened there"}
    assert facts(lost, whole, HOST).lost_a_sink
    assert not facts(lost | {"incomplete_because": "agent a was lost: it is gone"}, whole, HOST).lost_a_sink
