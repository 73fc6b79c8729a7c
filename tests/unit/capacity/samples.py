"""Plans and assessments of short scenarios on a made-up host, for the tests of capacity."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, Assessment, assess, make_plan
from loadgen.errors import CapacityError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimits
from loadgen.model import Plan, PortRange
from loadgen.scenario import ScenarioSpec

LAB, HOST = Allowances(in_lab=True), Allowances(in_lab=False)


SOURCE = ("127.0.0.2",)


FACTS: dict[str, Any] = {
    "kernel": "6.18.0",
    "machine": "x86_64",
    "cpus": 2,
    "memory_available_bytes": 24_000_000_000,
    "descriptors": 20_000,
    "files_free": 10_000_000,
    "port_range": PortRange(32_768, 60_999),
    "reserved_ports": (),
    "unprivileged_port_start": 1024,
    "privileged": False,
    "listeners": (),
    "missing_sources": (),
    "default_sources": ("127.0.0.1",),
    "late_bind": True,
    "port_range_option": True,
    "sysctls": {},
}


WIDE: dict[str, Any] = {"port_range": PortRange(1024, 65_535)}


FIN_ACROSS = """
name: churn
sources: {addresses: 198.18.0.1}
targets: [{address: "198.19.0.1:9000", sink: true}]
lab: {topology: veth}
"""


def plan(
    connections: int = 100,
    sources: Sequence[str] = SOURCE,
    *,
    targets: Sequence[str] = ("127.0.0.1:9000",),
    sink: bool = False,
    strategy: str = "late-range",
    ports: str = "",
    more: str = "",
    allowances: Allowances = LAB,
    **facts: Any,
) -> Plan:
    scenario = parsed(
        f"""
name: plan
sources: {{addresses: ["127.0.0.2", "::1"], strategy: {strategy}{f', ports: "{ports}"' if ports else ""}}}
targets: [{", ".join(f'{{address: "{target}", sink: {str(sink).lower()}}}' for target in targets)}]
connections: 1
{more}
"""
    ).model_copy(update={"connections": connections})
    return make_plan(scenario, sources, HostFacts(**{**FACTS, **facts}), allowances)


@cache
def parsed(text: str) -> ScenarioSpec:
    return scenarios.parse(text)


def addresses(count: int) -> tuple[str, ...]:
    first = int(ipaddress.IPv4Address("127.1.0.0"))
    return tuple(str(ipaddress.IPv4Address(first + n)) for n in range(count))


def refused(*args: Any, **options: Any) -> CapacityError:
    with pytest.raises(CapacityError) as caught:
        plan(*args, **options)
    error = caught.value
    assert error.needed > error.available
    assert error.remedy
    assert f"{error.resource}: need {error.needed:,}, have {error.available:,}; {error.remedy}" == str(error)
    return error


def assessed(
    connections: int = 100,
    sources: Sequence[str] = SOURCE,
    *,
    targets: Sequence[str] = ("127.0.0.1:9000",),
    sink: bool = False,
    strategy: str = "late-range",
    more: str = "",
    limits: HostLimits | None = None,
    allowances: Allowances = LAB,
    **facts: Any,
) -> Assessment:
    scenario = parsed(
        f"""
name: plan
sources: {{addresses: ["127.0.0.2", "::1"], strategy: {strategy}}}
targets: [{", ".join(f'{{address: "{target}", sink: {str(sink).lower()}}}' for target in targets)}]
connections: 1
{more}
"""
    ).model_copy(update={"connections": connections})
    return assess(scenario, sources, HostFacts(**{**FACTS, **facts}), allowances, limits)


def churned(more: str, **sysctls: str) -> Assessment:
    facts = {
        **FACTS,
        "port_range": PortRange(40_000, 40_099),
        "sysctls": {"net.ipv4." + key: value for key, value in sysctls.items()},
    }
    return assess(scenarios.parse(FIN_ACROSS + more), ("198.18.0.1",), HostFacts(**facts), LAB)
