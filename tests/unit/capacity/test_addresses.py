"""Source addresses of a plan: missing ones are refused, and loopback is extended where it has to be."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, addresses, make_plan
from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.model import Plan, PortRange, Strategy

from .samples import FACTS, LAB, SOURCE, plan


def extended(connections: int, sources: Sequence[str], **facts: Any) -> Plan:
    return plan(connections, sources, allowances=Allowances(in_lab=False, extend_sources=True), **facts)


def test_the_kernels_own_choice_needs_the_source_of_the_route() -> None:
    assert plan(sources=("127.0.0.1",), strategy="kernel").strategy is Strategy.KERNEL
    with pytest.raises(UsageError, match=r"gives 127\.0\.0\.1 for 127\.0\.0\.1:9000; write `addresses: \[127\.0\.0\.1"):
        plan(strategy="kernel")
    with pytest.raises(UsageError, match="leaves the source address to the route"):
        plan(sources=("127.0.0.1", "127.0.0.2"), strategy="kernel")


def test_the_kernels_own_choice_without_a_route_says_so() -> None:
    with pytest.raises(HostError, match="route"):
        plan(strategy="kernel", default_sources=("",))


def test_the_kernels_own_choice_cannot_be_extended() -> None:
    allowances = Allowances(in_lab=False, extend_sources=True)
    with pytest.raises((CapacityError, UsageError)):
        plan(60_000, ("127.0.0.1",), strategy="kernel", allowances=allowances)


def test_missing_addresses_are_named_with_the_command_that_adds_them() -> None:
    with pytest.raises(HostError, match=r"address 10\.0\.0\.1 is not on this host; .*add 10\.0\.0\.1/32 dev lo"):
        plan(missing_sources=("10.0.0.1",))
    with pytest.raises(HostError, match=r"fd00::1 and 1,022 more is not .*add fd00::1/128 dev lo"):
        plan(missing_sources=("fd00::1", "fd00::2", "fd00::3"), missing_count=1_023)
    with pytest.raises(HostError, match="names no source address"):
        plan(sources=())


def test_addresses_that_need_only_a_route_are_missing_without_one() -> None:
    found = scenarios.parse(
        "name: x\nsources: {addresses: 'fd00::/126', freebind: true}\ntargets: [{address: '[::1]:9'}]\nconnections: 1\n"
    )
    assert make_plan(found, found.sources.expanded, HostFacts(**FACTS), LAB).freebind
    facts = HostFacts(**{**FACTS, **missing(MissingReason.NOT_ROUTED, "fd00::1")})
    with pytest.raises(HostError, match=r"is not routed to this host; .*ip route add local fd00::1/128 dev lo"):
        make_plan(found, found.sources.expanded, facts, LAB)


REASONS = {
    ("fd00::1", MissingReason.ABSENT, "eth0"): ("is not on this host", "ip address add fd00::1/64 dev eth0"),
    ("fd00::1", MissingReason.NEEDS_FREEBIND, "lo"): ("is routed to this host", "`sources.freebind: true`"),
    ("fd00::1", MissingReason.TENTATIVE, "eth0"): (
        "tentative",
        "sleep 2, or .*ip address del fd00::1/64 dev eth0; ip address add fd00::1/64 dev eth0 nodad$",
    ),
    ("fd00::1", MissingReason.DUPLICATE, "eth0"): ("found another host", "use another address"),
    ("fd00::1", MissingReason.INTERFACE_DOWN, "eth0"): ("interface eth0 is down", "ip link set eth0 up$"),
    ("::1", MissingReason.IPV6_OFF, "lo"): (
        "IPv6 is off on interface lo",
        r"use 127\.0\.0\.1 instead of ::1.*sysctl -w net\.ipv6\.conf\.lo\.disable_ipv6=0$",
    ),
    ("fd00::1", MissingReason.IPV6_OFF, "eth0.5"): (
        "IPv6 is off on interface eth0.5",
        r"sysctl -w net\.ipv6\.conf\.eth0/5\.disable_ipv6=0; ip address add fd00::1/64 dev eth0\.5$",
    ),
    ("fd00::1", MissingReason.IPV6_OFF, "all"): ("off on every interface", r"net\.ipv6\.conf\.all\.disable_ipv6=0"),
    ("fd00::1", MissingReason.NO_IPV6, "lo"): ("runs without IPv6", "use IPv4 addresses"),
    ("::1", MissingReason.NO_IPV6, "lo"): ("runs without IPv6", r"use 127\.0\.0\.1 instead of ::1"),
}


def missing(reason: MissingReason, address: str, interface: str = "lo", count: int = 1) -> dict[str, Any]:
    """The facts of a host without this address."""
    because = (Missing(address, reason, interface, 64 if interface != "lo" else 128),)
    return {"missing_sources": (address,), "missing_because": because, "missing_count": count}


@pytest.mark.parametrize("case", REASONS, ids=str)
def test_every_reason_has_its_own_words_and_help(case: tuple[str, MissingReason, str]) -> None:
    address, reason, interface = case
    says, helps = REASONS[case]
    facts = missing(reason, address, interface)
    with pytest.raises(HostError, match=f"^source address {address}:? .*{says}.*; .*{helps}"):
        plan(sources=(address,), targets=("[::1]:9000",), **facts)
    assert addresses.because(HostFacts(**{**FACTS, **facts})).startswith(f"source address {address}")


def test_every_reason_is_tested() -> None:
    assert {reason for _, reason, _ in REASONS} == set(MissingReason) - {MissingReason.NOT_ROUTED}


def test_without_a_missing_address_there_is_nothing_to_say() -> None:
    facts = HostFacts(**FACTS)
    assert (addresses.absent(facts), addresses.because(facts), addresses.first_missing(facts)) == (None, "", None)


def test_the_kernels_own_choice_is_not_blamed_for_an_address_that_is_missing() -> None:
    """Without IPv6 connect() finds no source, and beside a tentative address it takes another."""
    facts = missing(MissingReason.IPV6_OFF, "::1")
    for others in ("", "fd00::9"):
        with pytest.raises(HostError, match="IPv6 is off on interface lo"):
            plan(sources=("::1",), targets=("[::1]:9000",), strategy="kernel", default_sources=(others,), **facts)


def test_a_run_may_insist_on_an_address_that_is_missing() -> None:
    facts = missing(MissingReason.TENTATIVE, "::1")
    force = Allowances(in_lab=True, force=True)
    insisting = plan(sources=("::1",), targets=("[::1]:9000",), allowances=force, **facts)
    expecting = plan(
        sources=("::1",), targets=("[::1]:9000",), more="expect: [verdict.limit == source-address]", **facts
    )
    for made in (insisting, expecting):
        assert made.prediction
        assert (made.prediction.limit, made.prediction.at) == ("source-address", 0)
    with pytest.raises(HostError):
        plan(sources=("::1",), targets=("[::1]:9000",), more="expect: [verdict.limit == four-tuples]", **facts)


def test_an_interface_without_an_address_of_a_targets_family_is_refused() -> None:
    with pytest.raises(HostError, match=r"no source address is IPv6, as \[::1\]:9000 is"):
        plan(targets=("127.0.0.1:9000", "[::1]:9000"))
    with pytest.raises(HostError, match=r"IPv6 is off here .*sysctl -w net\.ipv6\.conf\.all\.disable_ipv6=0"):
        plan(targets=("[::1]:9000",), sysctls={"net.ipv6.conf.all.disable_ipv6": "1"})


@settings(max_examples=25)
@given(st.integers(1, 5000), st.integers(1, 100), st.sets(st.integers(1, 1000), min_size=1, max_size=5))
def test_more_sources_make_up_for_a_narrower_range(connections: int, ports: int, last: set[int]) -> None:
    """They are all loopback addresses, none twice, those asked for first, and no more than needed."""
    first = int(ipaddress.IPv4Address("127.0.0.0"))
    asked = [str(ipaddress.IPv4Address(first + n)) for n in last]
    made = extended(connections, asked, port_range=PortRange(40_000, 39_999 + ports))
    assert list(made.sources[: len(asked)]) == asked
    assert len(set(made.sources)) == len(made.sources) == max(len(asked), -(-connections // ports))
    assert all(ipaddress.IPv4Address(source) in ipaddress.ip_network("127.0.0.0/8") for source in made.sources)
    assert bool(made.notes) == (len(made.sources) > len(asked))


def test_enough_sources_are_left_as_they_are() -> None:
    made = extended(10, ("127.0.0.9", "127.0.0.2"))
    assert (made.sources, made.notes) == (("127.0.0.9", "127.0.0.2"), ())
    assert plan(10, ("127.0.0.9",)).sources == ("127.0.0.9",)


def test_sources_do_not_run_over_the_end_of_loopback() -> None:
    with pytest.raises(CapacityError, match=r"source addresses: need 10, have 2; start lower in 127\.0\.0\.0/8"):
        extended(10, ("127.255.255.253",), port_range=PortRange(40_000, 40_000))


def test_the_broadcast_address_of_loopback_is_no_source() -> None:
    with pytest.raises(CapacityError):
        extended(3, ("127.255.255.253",), port_range=PortRange(40_000, 40_000))


def test_no_number_of_sources_makes_up_for_a_range_without_a_port() -> None:
    with pytest.raises(CapacityError):
        extended(1, SOURCE, port_range=PortRange(40_000, 40_000), listeners=(40_000,))
