"""Remedies are values: a change of the scenario or of the host, and what it gains as a difference of two plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, Assessment, assess
from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.capacity.remedies import Remedy, Situation, widest_range
from loadgen.errors import UsageError
from loadgen.kernel.host import HostFacts
from loadgen.model import Churn, CloseMode, Endpoint, Plan, PortRange, Strategy, Target, Transport
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from loadgen.results.schema.run import RunSummary
from loadgen.results.verdict import decide
from tests import samples
from tests.plans import plan_of

TARGETS = (Target(Endpoint("127.0.0.1", 9000), sink=False), Target(Endpoint("127.0.0.1", 9001), sink=False))
#: The default range, one source, one target.
ONE = plan_of(
    connections=28_232,
    sources=("127.0.0.2",),
    targets=TARGETS[:1],
    strategy=Strategy.LATE,
    ports=PortRange(32_768, 60_999),
    capacity_per_pair=28_232,
    close=CloseMode.FIN,
)
HOST: dict[str, Any] = {
    "port_range": {"low": 32_768, "high": 60_999},
    "reserved_ports": [],
    "listeners": [],
    "unprivileged_port_start": 1024,
    "port_range_option": True,
    "sysctls": {"net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_timestamps": "1"},
}
FLAT = "connect cost flat instead of up to a hundredfold near the end of the range"


def values(
    plan: Plan, short: int, host: Mapping[str, Any] = HOST, limit: str = "four-tuples", **known: Any
) -> list[Remedy]:
    """The remedies of a plan that is `short` connections too small."""
    situation = Situation(plan, files.convert(host, Host).facts(plan.ports), short, target="127.0.0.1:9000", **known)
    return EVERY_LIMIT[limit].remedies(situation)


def remedies(
    plan: Plan, short: int, host: Mapping[str, Any] = HOST, limit: str = "four-tuples", **known: Any
) -> list[str]:
    """The same as sentences."""
    return [remedy.sentence for remedy in values(plan, short, host, limit, **known)]


def test_the_way_past_28232() -> None:
    assert remedies(ONE, 31_768) == [
        "add 2 source addresses: +56,464",
        "widen ip_local_port_range to 1024-65535: +36,280",
        f"use late-range: the same capacity, {FLAT}",
        "add 1 target, another address or port: +28,232",
    ]
    sources, wider, flat, _ = values(ONE, 31_768)
    assert sources.set == {"sources.addresses": ["127.0.0.2-127.0.0.4"]}
    assert wider.sysctls == {"net.ipv4.ip_local_port_range": "1024 65535"}
    assert wider.command == 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
    assert (flat.set, flat.gain) == ({"sources.strategy": "late-range"}, None)


def test_bind_is_told_to_share_its_ports_first() -> None:
    plan = replace(ONE, strategy=Strategy.BIND, targets=TARGETS)
    assert remedies(plan, 20_000)[:2] == [
        "use late-range: each port serves every target: +28,232",
        "add 1 source address: +28,232",
    ]
    assert "use late: each port" in remedies(plan, 20_000, {**HOST, "port_range_option": False})[0]


def test_strategy_kernel_is_told_to_change_before_it_adds_addresses() -> None:
    """The source address is that of the route, so adding one alone is refused."""
    plan = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",))
    strategy, sources, *_ = values(plan, 9)
    assert strategy.set == {"sources.strategy": "late-range"}
    assert sources.sentence == "use late-range and add 1 source address: +28,232"
    assert sources.needs == strategy.set
    assert sources.set == {"sources.addresses": ["127.0.0.2-127.0.0.3"]}


def test_addresses_that_may_be_taken_are_not_named() -> None:
    """Of a network in use; the address beside ours may be another host's."""
    plan = replace(ONE, sources=("10.1.2.3",))
    (sources, *_) = values(plan, 9)
    assert (sources.set, sources.gain) == ({}, 28_232)
    assert sources.command == "ip address add ADDRESS/32 dev INTERFACE"


def test_a_source_is_added_for_the_family_that_most_targets_have() -> None:
    targets = (*TARGETS, Target(Endpoint("::1", 9000), sink=False))
    plan = replace(ONE, sources=("127.0.0.2", "::1"), targets=targets)
    (sources, *_) = values(plan, 9)
    assert (sources.set, sources.gain) == ({"sources.addresses": ["127.0.0.2-127.0.0.3", "::1"]}, 2 * 28_232)


def test_ports_that_are_closed_are_no_gain() -> None:
    """A listener at 22 is below the range, those at 8080 and 9000 are in it, 40000 is counted already."""
    plan = replace(ONE, capacity_per_pair=28_231, skipped_ports=(40_000,))
    listening = {**HOST, "listeners": [22, 8080, 9000, 40_000]}
    assert f"to 1024-65535: +{64_512 - 3 - 28_231:,}" in "\n".join(remedies(plan, 9, listening))


def test_a_range_that_is_wide_already_is_not_widened() -> None:
    plan = replace(ONE, strategy=Strategy.EXPLICIT, ports=PortRange(1024, 65_535), capacity_per_pair=64_512)
    assert remedies(plan, 9) == ["add 1 source address: +64,512", "add 1 target, another address or port: +64,512"]


def test_late_range_in_a_part_of_the_range_is_told_to_widen_ports_or_both() -> None:
    plan = replace(ONE, strategy=Strategy.LATE_RANGE, ports=PortRange(40_000, 40_099), capacity_per_pair=100)
    found = {remedy.sentence: remedy for remedy in values(plan, 9)}
    own = found[f"widen `ports` to 32768-60999, or leave it out: +{28_232 - 100:,}"]
    assert (own.set, own.sysctls) == ({"sources.ports": "32768-60999"}, {})
    both = found[f"widen ip_local_port_range and `ports` to 1024-65535: +{64_512 - 100:,}"]
    assert (both.set, set(both.sysctls)) == ({"sources.ports": "1024-65535"}, {"net.ipv4.ip_local_port_range"})


def test_ports_moved_into_the_automatic_range_are_said_to_block_others() -> None:
    """Which the command line has to allow; where they are in it already, it has."""
    apart = replace(ONE, strategy=Strategy.EXPLICIT, ports=PortRange(20_000, 20_099), capacity_per_pair=100)
    inside = replace(apart, ports=PortRange(40_000, 40_099))
    assert any("--allow-port-blocking" in line for line in remedies(apart, 9))
    assert not any("--allow-port-blocking" in line for line in remedies(inside, 9))


def test_a_plan_without_a_usable_port_is_told_to_widen_and_nothing_of_zero() -> None:
    plan = replace(
        ONE, ports=PortRange(9000, 9000), capacity_per_pair=0, targets=(structs.replace(TARGETS[0], sink=True),)
    )
    host = {**HOST, "port_range": {"low": 9000, "high": 9000}}
    assert remedies(plan, 9, host)[0] == "widen ip_local_port_range to 1024-65535: +64,511"
    assert not any(line.endswith("+0") for line in remedies(plan, 9, host))


@pytest.mark.parametrize(
    ("change", "sysctls", "first"),
    [
        ({}, {}, "use `close: rst`"),
        ({"close": CloseMode.RST}, {}, "set net.ipv4.tcp_tw_reuse=1"),
        ({"close": CloseMode.RST}, {"net.ipv4.tcp_timestamps": "0"}, "set net.ipv4.tcp_timestamps=1"),
        ({"close": CloseMode.RST}, {"net.ipv4.tcp_tw_reuse": "1"}, "wait 60 s"),
        ({"close": CloseMode.RST, "strategy": Strategy.EXPLICIT}, {}, "wait 60 s"),
        ({"close": CloseMode.RST, "strategy": Strategy.BIND}, {}, "use late-range: bind never takes"),
    ],
)
def test_ports_in_time_wait(change: dict[str, Any], sysctls: dict[str, str], first: str) -> None:
    """Whether a port can be had again early depends on who chose it, and on two settings."""
    host = {**HOST, "sysctls": {**HOST["sysctls"], **sysctls}}
    found = remedies(replace(ONE, **change), 70, host, "time-wait", time_wait=80)
    assert found[0].startswith(first)
    assert "add 1 source address: +28,232" in found


def test_a_limit_the_scenario_set_itself_is_to_be_left_out() -> None:
    host = {**HOST, "descriptors": 20_000}
    (lowered, *_) = values(replace(ONE, descriptor_limit=300, connections=200), 9, host, "descriptors")
    assert lowered.sentence == "leave `descriptors: 300` out of the scenario: 19,700 more in each worker"
    assert lowered.set == {"descriptors": 20_000}
    (workers, *_) = values(ONE, 9, host, "descriptors")
    assert workers.sentence == f"use `workers: 2`, or leave it out: +{28_232 - 19_936:,}"
    assert workers.set == {"workers": 2}


def test_in_udp_a_wider_range_loses_the_ports_of_others() -> None:
    """Three of them, of which a listener of TCP is none."""
    plan = replace(ONE, transport=Transport.UDP)
    told = remedies(plan, 100, {**HOST, "listeners": [2000], "datagram_ports": [53, 2001, 2002, 2003]})
    assert "widen ip_local_port_range to 1024-65535: +36,277" in told
    assert not any("target," in remedy for remedy in told)  # one more of them gains nothing


def test_twice_the_addresses_of_loopback_are_loopback_too() -> None:
    """With tcp_tw_reuse=2, the default, a four-tuple is had again sooner on loopback only."""
    churning = replace(ONE, churn=Churn(3.0, 0, None), sources=("127.0.1.1",))
    text = "use twice as many source addresses: 28,232/s becomes 56,464/s"
    (twice,) = (remedy for remedy in values(churning, 1, limit="time-wait") if remedy.text == text)
    assert twice.set == {"sources.addresses": ["127.0.1.1-127.0.1.2"]}


def test_a_faster_churn_names_every_setting_that_its_ceiling_is_reckoned_with() -> None:
    """A strategy that may reuse needs the sysctls, too."""
    plan = replace(ONE, churn=Churn(3.0, 0, None), sources=("10.0.0.1",), strategy=Strategy.BIND)
    off = {**HOST, "sysctls": {"net.ipv4.tcp_tw_reuse": "0", "net.ipv4.tcp_timestamps": "0"}}
    found = {remedy.set.get("sources.strategy"): remedy for remedy in values(plan, 1, off, "time-wait")}
    assert found["explicit"].sysctls == {"net.ipv4.tcp_timestamps": "1"}


def test_a_remedy_is_plain_values() -> None:
    for limit in EVERY_LIMIT:
        for remedy in values(replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",)), 9, limit=limit):
            plain = remedy.to_json()
            assert json.loads(json.dumps(plain)) == plain
            assert plain["text"]


# --- A gain is what a plan with the change says ----------------------------------------------------

FACTS = HostFacts(
    kernel="6.18.0",
    machine="x86_64",
    cpus=2,
    memory_available_bytes=24_000_000_000,
    descriptors=20_000,
    files_free=10_000_000,
    port_range=PortRange(40_000, 40_099),
    reserved_ports=(40_007,),
    unprivileged_port_start=1024,
    privileged=False,
    listeners=(22, 5000, 40_003),
    missing_sources=(),
    default_sources=("127.0.0.2",),
    late_bind=True,
    port_range_option=True,
    sysctls={},
    datagram_ports=(53, 6000, 40_004, 40_005),
)
LAB = Allowances(in_lab=True)


def planned(scenario: Mapping[str, Any], changes: Mapping[str, Any], facts: HostFacts) -> Assessment:
    """What `loadgen plan` says of a scenario with some `--set`."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    made = scenarios.parse(json.dumps(scenario), overrides=overrides)
    facts = replace(facts, default_sources=("127.0.0.2",) * len(made.every_target))
    return assess(made, made.sources.expanded, facts, LAB)


def with_remedy(remedy: Remedy, facts: HostFacts) -> tuple[dict[str, Any], HostFacts]:
    """The settings to plan with, and the host, after a remedy and what it needs."""
    if port_range := remedy.sysctls.get("net.ipv4.ip_local_port_range"):
        low, high = map(int, port_range.split())
        facts = replace(facts, port_range=PortRange(low, high))
    return {**remedy.needs, **remedy.set}, facts


def room(assessment: Assessment) -> int:
    return next(resource.available for resource in assessment.resources if resource.name == "four-tuples")


@st.composite
def too_large(draw: st.DrawFn) -> tuple[dict[str, Any], HostFacts]:
    """A scenario that asks for more connections than there are four-tuples, and a host."""
    transport = draw(st.sampled_from(Transport))
    strategy = draw(st.sampled_from([name for name in Strategy if transport is Transport.TCP or name.row.udp]))
    sources = draw(st.integers(1, 4)) if strategy.row.binds_address else 1
    low, high = draw(st.integers(39_000, 40_020)), draw(st.integers(40_060, 41_000))
    facts = replace(FACTS, port_range=PortRange(low, high), port_range_option=draw(st.booleans()))
    scenario: dict[str, Any] = {
        "name": "gain",
        "sources": {"addresses": [f"127.0.0.{2 + n}" for n in range(sources)], "strategy": strategy.value},
        "targets": [{"address": f"127.0.0.1:{40_010 + n}"} for n in range(draw(st.integers(1, 4)))],
        "transport": transport.value,
        "connections": draw(st.integers(40_000, 60_000)),  # no host drawn here has as many
    }
    if strategy.row.names_ports and draw(st.booleans()):
        scenario["sources"]["ports"] = "40020-40080"
    if strategy.row.narrows_range and facts.port_range_option and draw(st.booleans()):
        scenario["sources"]["ports"] = "40020-40040"
    return scenario, facts


@settings(max_examples=150)
@given(too_large())
def test_a_remedy_gains_exactly_what_it_says(case: tuple[dict[str, Any], HostFacts]) -> None:
    """Applied with what it needs, and planned again; and without what it needs it is refused."""
    scenario, facts = case
    before = planned(scenario, {}, facts)
    tried = 0
    for remedy in before.remedies:
        if not (remedy.set or remedy.sysctls) or remedy.gain is None:
            continue
        changes, changed_facts = with_remedy(remedy, facts)
        assert room(planned(scenario, changes, changed_facts)) - room(before) == remedy.gain, remedy.sentence
        if remedy.needs:
            with pytest.raises(UsageError):
                planned(scenario, remedy.set, changed_facts)
        tried += 1
    assert tried, [remedy.sentence for remedy in before.remedies]


@settings(max_examples=100)
@given(too_large())
def test_a_plan_a_refusal_and_a_verdict_advise_the_same(case: tuple[dict[str, Any], HostFacts]) -> None:
    """The run that met the wall where the plan saw it: the same values, and the refusal names the first of them."""
    scenario, facts = case
    assessment = planned(scenario, {}, facts)
    wall, plan = assessment.first, assessment.plan
    verdict = files.plain(decide(run_into(plan, wall.at or 0), plan, files.convert(facts.to_json(), Host)))
    assert verdict["limit"] == wall.limit
    assert verdict["remedies_detail"] == [remedy.to_json() for remedy in assessment.remedies]
    assert verdict["remedies"] == [remedy.sentence for remedy in assessment.remedies]
    sufficient = [line for line, value in zip(verdict["remedies"], assessment.remedies, strict=True) if value.gain]
    assert str(assessment.refusal).partition("; ")[2].startswith(sufficient[0])


def run_into(plan: Plan, at: int) -> RunSummary:
    """The summary of a run that opened as many connections as there was room for."""
    rules = plan.strategy.over(plan.transport)
    syscall, number = rules.ends_text.split()
    failed = plan.connections - at
    changes = {
        "arrivals": {"scheduled": plan.connections, "started": plan.connections, "not_started": 0},
        "outcomes": {"established": at, "failed": failed, "in_flight": 0, "retried": 0},
        "errors": [{"syscall": syscall, "errno": number, "outcome": rules.outcome.value, "count": failed}],
        "open": {"peak": at, "end_of_hold": at, "lost": 0},
        "sources": rows(plan.pairs, plan.capacity_per_pair, at, failed),
        "probes": {},
        "kernel.delta": {},
        "kernel.peak": {},
        "kernel.ramp_peak": {},
    }
    return samples.summary(changes)


def rows(pairs: Sequence[tuple[str, Endpoint]], capacity: int, opened: int, failed: int) -> list[dict[str, Any]]:
    return [
        {
            "source": source,
            "target": str(target),
            "capacity": capacity,
            "peak_open": opened // len(pairs) + (index < opened % len(pairs)),
            "established": opened // len(pairs) + (index < opened % len(pairs)),
            "failed": failed // len(pairs),
        }
        for index, (source, target) in enumerate(pairs)
    ]


@pytest.mark.parametrize(("start", "low"), [(0, 1024), (1024, 1024), (5000, 5000)])
def test_the_widest_range_leaves_out_what_only_root_may_bind(start: int, low: int) -> None:
    assert widest_range(start) == PortRange(low, 65_535)


def test_without_a_limit_of_its_own_a_worker_is_told_of_the_hard_limit() -> None:
    """Beside more workers: which of the two can be had, the user knows."""
    lines = remedies(replace(ONE, workers=1), 100, {**HOST, "descriptors": 20_000}, limit="descriptors")
    assert "raise the hard limit of open files (ulimit -Hn, now 20,000)" in lines
