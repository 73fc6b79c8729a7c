"""Remedies: what would gain how much, as a difference of two plans."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.remedies import Change, ranked
from loadgen.model import Churn, CloseMode, Endpoint, Plan, PortRange, Strategy, Target, Transport

TARGETS = (Target(Endpoint("127.0.0.1", 9000), sink=False), Target(Endpoint("127.0.0.1", 9001), sink=False))
#: The default range, one source, one target.
ONE = Plan(
    name="r",
    connections=28_232,
    sources=("127.0.0.2",),
    targets=TARGETS[:1],
    strategy=Strategy.LATE,
    ports=PortRange(32_768, 60_999),
    skipped_ports=(),
    capacity_per_pair=28_232,
    stages=(),
    hold_s=0.0,
    close=CloseMode.FIN,
    timeout_s=10.0,
    in_flight_max=256,
    interval_s=0.5,
    workers=1,
    sinks=0,
)
HOST = {
    "port_range": {"low": 32_768, "high": 60_999},
    "reserved_ports": [],
    "listeners": [],
    "unprivileged_port_start": 1024,
    "port_range_option": True,
    "sysctls": {"net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_timestamps": "1"},
}


def remedies(
    plan: Plan, short: int, host: dict[str, Any] = HOST, limit: str = "four-tuples", **changes: Any
) -> list[str]:
    """What a plan that is `short` connections too small is told."""
    known: dict[str, Any] = {"errnos": frozenset(), "target": "127.0.0.1:9000", "time_wait": 0, **changes}
    return [remedy.text for remedy in ranked(limit, Change(plan, host, short=short, **known))]


def test_the_way_past_28232() -> None:
    assert remedies(ONE, 31_768) == [
        "add 2 source addresses: +56,464",
        "widen ip_local_port_range to 1024-65535: +36,280",
        "use late-range: the same capacity, connect cost flat instead of up to a hundredfold past half of the range",
        "add 1 target, another address or port: +28,232",
    ]


def test_bind_is_told_to_share_its_ports_first() -> None:
    plan = replace(ONE, strategy=Strategy.BIND, targets=TARGETS)
    assert remedies(plan, 20_000)[:2] == [
        "use late-range: each port serves every target: +28,232",
        "add 1 source address: +28,232",
    ]
    assert "use late: each port" in remedies(plan, 20_000, {**HOST, "port_range_option": False})[0]


def test_kernel_cannot_choose_its_source_address() -> None:
    assert remedies(replace(ONE, strategy=Strategy.KERNEL), 9)[0] == "use late-range and add 1 source address: +28,232"


def test_ports_that_are_closed_are_no_gain() -> None:
    """A listener at 22 is below the range, those at 8080 and 9000 are in it, 40000 is counted already."""
    plan = replace(ONE, capacity_per_pair=28_231, skipped_ports=(40_000,))
    listening = {**HOST, "listeners": [22, 8080, 9000, 40_000]}
    assert f"to 1024-65535: +{64_512 - 3 - 28_231:,}" in "\n".join(remedies(plan, 9, listening))


def test_a_range_that_is_wide_already_is_not_widened() -> None:
    plan = replace(ONE, strategy=Strategy.EXPLICIT, ports=PortRange(1024, 65_535), capacity_per_pair=64_512)
    assert remedies(plan, 9) == ["add 1 source address: +64,512", "add 1 target, another address or port: +64,512"]


def test_late_range_in_a_part_of_the_range_is_told_to_widen_both() -> None:
    plan = replace(ONE, strategy=Strategy.LATE_RANGE, ports=PortRange(40_000, 40_099), capacity_per_pair=100)
    assert f"widen ip_local_port_range and `ports` to 1024-65535: +{64_512 - 100:,}" in remedies(plan, 9)


def test_a_plan_without_a_usable_port_is_told_to_widen_and_nothing_of_zero() -> None:
    plan = replace(ONE, capacity_per_pair=0)
    assert remedies(plan, 9)[0] == "widen ip_local_port_range to 1024-65535: +64,512"
    assert not any(line.endswith("+0") for line in remedies(plan, 9))


@pytest.mark.parametrize(
    ("change", "sysctls", "first"),
    [
        ({}, {}, "use `close: rst`"),
        ({"close": CloseMode.RST}, {}, "set net.ipv4.tcp_tw_reuse=1"),
        ({"close": CloseMode.RST}, {"net.ipv4.tcp_timestamps": "0"}, "set net.ipv4.tcp_timestamps=1"),
        ({"close": CloseMode.RST}, {"net.ipv4.tcp_tw_reuse": "1"}, "wait 60 s"),
        ({"close": CloseMode.RST, "strategy": Strategy.EXPLICIT}, {}, "wait 60 s"),
        ({"close": CloseMode.RST, "strategy": Strategy.BIND}, {}, "use late-range or explicit: bind never takes"),
    ],
)
def test_ports_in_time_wait(change: dict[str, Any], sysctls: dict[str, str], first: str) -> None:
    """Whether a port can be had again early depends on who chose it, and on two settings."""
    host = {**HOST, "sysctls": {**HOST["sysctls"], **sysctls}}  # type: ignore[dict-item] # a dict of mixed values
    found = remedies(replace(ONE, **change), 70, host, "time-wait", time_wait=80)
    assert found[0].startswith(first)
    assert found[-1] == "add 1 source address: +28,232" or found[0] == found[-1]


def test_a_limit_the_scenario_set_itself_is_to_be_left_out() -> None:
    lowered = remedies(replace(ONE, descriptor_limit=300), 9, {**HOST, "descriptors": 20_000}, "descriptors")
    assert lowered[0] == "leave `descriptors: 300` out of the scenario: +19,700 in each worker"
    assert (
        remedies(ONE, 9, {**HOST, "descriptors": 20_000}, "descriptors")[0] == "use `workers: 2`: +20,000 descriptors"
    )


plans = st.builds(
    lambda strategy, sources, targets, ports, connections, close: replace(
        ONE,
        strategy=strategy,
        sources=tuple(f"127.0.0.{2 + n}" for n in range(sources)),
        targets=tuple(Target(Endpoint("127.0.0.1", 9000 + n), sink=False) for n in range(targets)),
        ports=PortRange(30_000, 30_000 + ports - 1),
        capacity_per_pair=ports,
        connections=connections,
        close=close,
    ),
    st.sampled_from(Strategy),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(1, 2000),
    st.sampled_from(CloseMode),
)


@given(plans, st.integers(1, 5000))
def test_a_gain_is_added_capacity(plan: Plan, short: int) -> None:
    """The plan with the change made, less the plan without."""
    for line in remedies(plan, short):
        if not (gained := re.search(r"\+([\d,]+)$", line)):
            continue
        gain = int(gained[1].replace(",", ""))
        strategy = Strategy(named[1]) if (named := re.match(r"use ([a-z-]+)", line)) else plan.strategy
        changed = replace(plan, strategy=strategy)
        if added := re.search(r"add ([\d,]+) source", line):
            more = tuple(f"127.0.1.{n % 250}.{n}" for n in range(int(added[1].replace(",", ""))))
            changed = replace(changed, sources=plan.sources + more)
            assert gain >= short
        elif "target," in line:
            changed = replace(changed, targets=(*plan.targets, Target(Endpoint("127.0.0.9", 1), sink=False)))
        elif "widen" in line:
            changed = replace(changed, capacity_per_pair=64_512)
        assert gain == changed.capacity - plan.capacity, line


def test_in_udp_a_wider_range_loses_the_ports_of_others() -> None:
    """Three of them, of which a listener of TCP is none."""
    plan = replace(ONE, transport=Transport.UDP)
    told = remedies(plan, 100, {**HOST, "listeners": [2000], "datagram_ports": [53, 2001, 2002, 2003]})
    assert "widen ip_local_port_range to 1024-65535: +36,277" in told
    assert not any("target" in remedy for remedy in told)  # one more of them gains nothing


def test_twice_the_addresses_of_loopback_are_loopback_too() -> None:
    """With tcp_tw_reuse=2, the default, a four-tuple is had again sooner on loopback only."""
    churning = replace(ONE, churn=Churn(3.0, 0, None), sources=("127.0.1.1",))
    assert remedies(churning, 1, limit="time-wait")[-1] == (
        "use twice as many source addresses: 28,232/s becomes 56,464/s"
    )
