"""The ports of a gateway's translation, as a plan needs them."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import scenario
from loadgen.capacity import Assessment, assess, nat
from loadgen.capacity.nat_address import outside
from loadgen.capacity.resources import NAT_PORTS, Resource
from loadgen.kernel.host import HostFacts
from loadgen.model import Nat, NatFlag, NatKind, PortRange
from tests.plans import plan_of

from .samples import FACTS, LAB

SCENARIO = """\
name: x
lab: {{topology: nat, nat: {nat}}}
sources: {{addresses: 198.18.0.2-9}}
targets: [{{address: "198.19.0.1:{ports}", sink: true}}]
{load}
"""
SOURCES = tuple(f"198.18.0.{n}" for n in range(2, 10))


def assessed(
    nat: str = "{ports: 20000-20099}", ports: str = "9000", load: str = "connections: 150", **facts: Any
) -> Assessment:
    host = HostFacts(**{**FACTS, "port_range": PortRange(40_000, 49_999), **facts})
    parsed = scenario.parse(SCENARIO.format(nat=nat, ports=ports, load=load))
    return assess(parsed, SOURCES, host, LAB)


def row(found: Assessment) -> Resource:
    (resource,) = (resource for resource in found.resources if resource.name == NAT_PORTS)
    return resource


def test_ports_count_once_for_each_target() -> None:
    found = assessed()
    assert (found.prediction.limit, found.prediction.at, found.possible) == ("nat-ports", 100, False)
    assert found.refusal
    two = assessed(ports="9000-9001")
    assert (two.possible, row(two).at) == (True, 200)
    assert (two.prediction.limit, two.prediction.at) == ("nat-ports", 200)


def test_without_ports_they_are_those_of_the_kernel() -> None:
    assert row(assessed("{}")).at == 64_512


def test_without_a_gateway_there_are_none() -> None:
    assert list(nat.of_nat(plan_of(), HostFacts(**FACTS))) == []


def test_outside_addresses_have_the_sources_that_the_hash_gives_them() -> None:
    """So two addresses have room for twice as many only where the sources are spread evenly."""
    found = assessed("{ports: 20000-20019, addresses: 192.0.2.1-2}")
    translation = found.plan.nat
    assert translation
    first = sum(outside(translation, source, "198.19.0.1") == "192.0.2.1" for source in SOURCES)
    shares = [150 * first // 8, 150 * (8 - first) // 8]
    assert row(found).at == sum(min(20, share) for share in shares)
    assert nat.fitting(plan_of(**{**vars_of(found), "connections": 1}), translation) == 20 * 8 // max(first, 8 - first)


def vars_of(found: Assessment) -> dict[str, Any]:
    return {name: getattr(found.plan, name) for name in ("sources", "targets", "nat")}


@pytest.mark.parametrize(
    ("flags", "addresses", "hosts", "exact"),
    [((), 1, 2, True), ((), 2, 1, True), ((), 2, 2, False), ((NatFlag.PERSISTENT,), 2, 2, True)],
)
def test_what_is_exact(flags: tuple[NatFlag, ...], addresses: int, hosts: int, exact: bool) -> None:
    translation = Nat(NatKind.SNAT, tuple(f"192.0.2.{n}" for n in range(1, addresses + 1)), flags=flags)
    targets = [f"198.19.0.{n}:9000" for n in range(1, hosts + 1)]
    text = SCENARIO.format(nat="{}", ports="9000", load="connections: 1")
    parsed = scenario.parse(
        text.replace(
            '[{address: "198.19.0.1:9000", sink: true}]',
            str([{"address": target, "sink": True} for target in targets]).replace("True", "true"),
        )
    )
    plan = plan_of(sources=SOURCES, targets=parsed.every_target)
    assert nat.is_exact(plan, translation) is exact


@pytest.mark.parametrize(("ports", "words"), [("20000-20127", "exactly"), ("20000-20128", "by chance")])
def test_the_last_ports_of_a_wide_range_are_found_by_chance(ports: str, words: str) -> None:
    assert words in row(assessed(f"{{ports: {ports}}}")).note


def test_one_client_keeps_its_ports_and_uses_all_of_them() -> None:
    """Two may want the same port, and with fully-random none keeps its own."""
    text = SCENARIO.format(nat="{NAT}", ports="9000", load="connections: 150")
    host = HostFacts(**{**FACTS, "port_range": PortRange(40_000, 49_999)})

    def note(sources: tuple[str, ...], keys: str) -> str:
        return row(assess(scenario.parse(text.replace("{NAT}", keys)), sources, host, LAB)).note

    assert "keeps its port" in note(SOURCES[:1], "{}")
    assert "by chance" in note(SOURCES[:2], "{}")
    assert "by chance" in note(SOURCES[:1], "{flags: [fully-random]}")
    assert "by chance" in note(SOURCES[:1], "{ports: 1024-45000}")


def test_ports_of_services_are_translated_among_themselves() -> None:
    text = SCENARIO.format(nat="{}", ports="9000", load="connections: 1")
    parsed = scenario.parse(text.replace("198.18.0.2-9}", "198.18.0.2-9, strategy: explicit, ports: 600-2000}"))
    host = HostFacts(**{**FACTS, "privileged": True})
    assert "below 1,024" in row(assess(parsed, SOURCES, host, LAB)).note


def test_churn_is_not_foretold() -> None:
    found = row(assessed(load="churn: {duration: 5s, concurrency: 8}\nclose: fin"))
    assert (found.at, found.needed, found.available) == (None, None, 100)
    assert "120 s" in found.note
    shorter = {"net.netfilter.nf_conntrack_tcp_timeout_time_wait": "5"}
    assert "5 s" in row(assessed(load="churn: {duration: 5s, concurrency: 8}\nclose: fin", sysctls=shorter)).note


def test_datagrams_beyond_the_ports_stop_no_connection() -> None:
    found = assessed(load="connections: 150\ntransport: udp")
    assert found.possible
    assert (row(found).at, row(found).needed, row(found).available) == (None, 150, 100)


def test_the_remedies_come_true_in_the_arithmetic() -> None:
    found = assessed()
    gains = {tuple(remedy.set): remedy.gain for remedy in found.remedies if remedy.set}
    assert gains[("lab.nat.ports",)] == 50
    assert gains[("targets.0.address",)] == 50
    (more,) = (remedy for remedy in found.remedies if "lab.nat.addresses" in remedy.set)
    assert more.gain == 50
    after = assessed(f"{{ports: 20000-20099, addresses: {more.set['lab.nat.addresses']}}}")
    assert after.possible
