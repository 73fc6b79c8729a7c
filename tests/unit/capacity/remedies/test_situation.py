"""The plan after a change is the one that loadgen would make, or none where loadgen would refuse it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadgen.capacity.remedies.situation import (
    PlanChange,
    Situation,
    following,
    further_targets,
    in_ranges,
    last_source,
    may_take,
    widest_range,
)
from loadgen.model import Endpoint, Plan, PortRange, Strategy, Target, Transport
from loadgen.results.schema import files
from loadgen.results.schema.host import Host

from .situations import HOST, ONE, TARGETS


def situation(plan: Plan = ONE, **host: Any) -> Situation:
    return Situation(plan, files.convert({**HOST, **host}, Host).facts(plan.ports), 0)


KERNEL = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",))
APART = replace(ONE, strategy=Strategy.EXPLICIT, ports=PortRange(20_000, 20_099), own_ports=True, port_blocking=False)


@pytest.mark.parametrize(
    ("plan", "change", "host"),
    [
        (KERNEL, PlanChange(sources=("127.0.0.3",)), {}),  # connect() alone takes the address of the route
        (APART, PlanChange(strategy=Strategy.LATE_RANGE), {}),  # outside ip_local_port_range
        (replace(ONE, port_blocking=False), PlanChange(strategy=Strategy.EXPLICIT), {}),  # blocks others' ports
        (ONE, PlanChange(strategy=Strategy.LATE_RANGE), {"port_range_option": False}),
        (replace(ONE, transport=Transport.UDP), PlanChange(strategy=Strategy.REUSEADDR), {}),
        (replace(ONE, workers=30_000), PlanChange(strategy=Strategy.LATE_RANGE), {}),  # a slice of ports for each
        (APART, PlanChange(ports=PortRange(80, 90)), {"unprivileged_port_start": 1024}),
        (ONE, PlanChange(sources=tuple(str(n) for n in range(65_536))), {}),
    ],
)
def test_what_loadgen_would_refuse_is_no_plan(plan: Plan, change: PlanChange, host: dict[str, Any]) -> None:
    assert situation(plan, **host).after(change) is None


def test_addresses_of_different_routes_are_not_all_bound_for_each_target() -> None:
    """127.0.0.1 reaches no other host, so a strategy that binds it for each target fails there."""
    routed = replace(KERNEL, sources=("10.0.0.1", "127.0.0.1"), targets=TARGETS, routes=("10.0.0.1", "127.0.0.1"))
    assert situation(routed).after(PlanChange(strategy=Strategy.LATE_RANGE)) is None
    assert situation(KERNEL).after(PlanChange(strategy=Strategy.LATE_RANGE))


def test_a_change_to_another_strategy_brings_ports_that_it_can_keep_to() -> None:
    late = situation(APART).change_to(Strategy.LATE_RANGE)
    assert late
    assert late.keys == {"sources.strategy": "late-range", "sources.ports": "32768-60999"}
    explicit = situation(replace(ONE, port_blocking=False)).change_to(Strategy.EXPLICIT)
    assert explicit
    assert explicit.keys == {"sources.strategy": "explicit", "sources.ports": "1024-32767"}
    everything = {"port_range": {"low": 1024, "high": 65_535}}
    whole = replace(ONE, port_blocking=False, ports=PortRange(1024, 65_535))
    assert situation(whole, **everything).change_to(Strategy.EXPLICIT) is None


@pytest.mark.parametrize(("start", "low"), [(0, 1024), (1024, 1024), (5000, 5000)])
def test_the_widest_range_leaves_out_what_only_root_may_bind(start: int, low: int) -> None:
    assert widest_range(start) == PortRange(low, 65_535)


def test_following_addresses_are_none_of_a_target_and_end_with_the_address_space() -> None:
    plan = replace(ONE, targets=(Target(Endpoint("127.0.0.3", 9000), sink=False),))
    assert following(last_source(plan), plan, 2) == ("127.0.0.4", "127.0.0.5")
    last = replace(ONE, sources=("255.255.255.254",))
    assert following(last_source(last), last, 3) == ("255.255.255.255",)


@pytest.mark.parametrize(
    ("source", "in_lab", "free"),
    [
        ("127.0.0.2", False, True),
        ("198.18.0.2", False, True),
        ("10.1.2.3", False, False),
        ("10.1.2.3", True, False),
        ("fd00::2", False, False),
        ("fd00::2", True, True),
    ],
)
def test_addresses_that_may_be_another_hosts_are_not_taken(source: str, in_lab: bool, free: bool) -> None:
    plan = replace(ONE, sources=(source,), in_lab=in_lab, targets=(Target(Endpoint(source, 1), sink=False),))
    assert may_take(plan, last_source(plan), following(last_source(plan), plan, 2)) is free


def test_addresses_are_written_as_ranges() -> None:
    assert in_ranges(["127.0.0.3", "127.0.0.2", "127.0.0.9", "::1"]) == ["127.0.0.2-127.0.0.3", "127.0.0.9", "::1"]


def test_targets_beside_several_are_for_the_reader_to_name() -> None:
    assert further_targets(replace(ONE, targets=TARGETS), 2)[1] == {}
