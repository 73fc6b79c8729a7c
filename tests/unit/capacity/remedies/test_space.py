"""Remedies for source ports: what each says, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from loadgen.capacity.remedies import PortHolderKind, keep_for_listeners, listen_again
from loadgen.model import Endpoint, PortRange, Strategy, Target, Transport

from .situations import HOST, LATE_RANGE, ONE, TARGETS, sentences_of, situation_of, values_of


def test_the_way_past_28232() -> None:
    assert sentences_of(ONE, 31_768) == [
        "add 2 source addresses: +56,464",
        "widen ip_local_port_range to 1024-65535: +36,280",
        "add 2 targets, other addresses or ports: +56,464",
    ]
    sources, wider, _ = values_of(ONE, 31_768)
    assert sources.set == {"sources.addresses": ["127.0.0.2-127.0.0.4"]}
    assert wider.sysctls == {"net.ipv4.ip_local_port_range": "1024 65535"}
    assert wider.command == 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'


def test_bind_is_told_to_share_its_ports_first() -> None:
    plan = replace(ONE, strategy=Strategy.BIND, targets=TARGETS)
    assert sentences_of(plan, 20_000)[:2] == [
        f"use late-range ({LATE_RANGE}): each port serves every target: +28,232",
        "add 1 source address: +28,232",
    ]
    assert (
        "use late (a program: set IP_BIND_ADDRESS_NO_PORT before bind(address, 0)): each port"
        in sentences_of(plan, 20_000, {**HOST, "port_range_option": False})[0]
    )


def test_strategy_kernel_is_told_to_change_before_it_adds_addresses() -> None:
    """The source address is that of the route, so adding one alone is refused; what needs no change comes before."""
    plan = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",))
    wider, targets, sources = values_of(plan, 9)
    assert wider.sysctls
    assert "target," in targets.text
    assert sources.sentence == f"use late-range ({LATE_RANGE}) and add 1 source address: +28,232"
    assert sources.needs == {"sources.strategy": "late-range"}
    assert sources.set == {"sources.addresses": ["127.0.0.2-127.0.0.3"]}


def test_addresses_that_may_be_taken_are_not_named() -> None:
    """Of a network in use; the address beside ours may be another host's."""
    plan = replace(ONE, sources=("10.1.2.3",))
    (sources, *_) = values_of(plan, 9)
    assert (sources.set, sources.gain) == ({}, 28_232)
    assert sources.command == "ip address add ADDRESS/32 dev INTERFACE"


def test_a_source_is_added_for_the_family_that_most_targets_have() -> None:
    targets = (*TARGETS, Target(Endpoint("::1", 9000), sink=False))
    plan = replace(ONE, sources=("127.0.0.2", "::1"), targets=targets)
    (sources, *_) = values_of(plan, 9)
    assert (sources.set, sources.gain) == ({"sources.addresses": ["127.0.0.2-127.0.0.3", "::1"]}, 2 * 28_232)


def test_ports_that_are_closed_are_no_gain() -> None:
    """A listener at 22 is below the range, those at 8080 and 9000 are in it, 40000 is counted already."""
    plan = replace(ONE, capacity_per_pair=28_231, skipped_ports=(40_000,))
    listening = {**HOST, "listeners": [22, 8080, 9000, 40_000]}
    assert f"to 1024-65535: +{64_512 - 3 - 28_231:,}" in "\n".join(sentences_of(plan, 9, listening))


def test_a_range_that_is_wide_already_is_not_widened() -> None:
    plan = replace(ONE, strategy=Strategy.EXPLICIT, ports=PortRange(1024, 65_535), capacity_per_pair=64_512)
    assert sentences_of(plan, 9) == ["add 1 source address: +64,512", "add 1 target, another address or port: +64,512"]


def test_late_range_in_a_part_of_the_range_is_told_to_widen_ports_or_both() -> None:
    plan = replace(ONE, strategy=Strategy.LATE_RANGE, ports=PortRange(40_000, 40_099), capacity_per_pair=100)
    found = {remedy.sentence: remedy for remedy in values_of(plan, 9)}
    own = found[f"widen `ports` to 32768-60999, or leave it out: +{28_232 - 100:,}"]
    assert (own.set, own.sysctls) == ({"sources.ports": "32768-60999"}, {})
    both = found[f"widen ip_local_port_range and `ports` to 1024-65535: +{64_512 - 100:,}"]
    assert (both.set, set(both.sysctls)) == ({"sources.ports": "1024-65535"}, {"net.ipv4.ip_local_port_range"})


def test_ports_stay_outside_the_automatic_range_where_blocking_it_is_not_permitted() -> None:
    """A wider range of bound ports keeps beside ip_local_port_range, unless the plan's own are in it already."""
    apart = replace(
        ONE, strategy=Strategy.EXPLICIT, port_blocking=False, ports=PortRange(20_000, 20_099), capacity_per_pair=100
    )
    inside = replace(apart, ports=PortRange(40_000, 40_099))
    assert f"widen `ports` to 1024-32767: +{32_767 - 1024 + 1 - 100:,}" in sentences_of(apart, 9)
    assert f"widen `ports` to 1024-65535: +{64_512 - 100:,}" in sentences_of(inside, 9)


def test_a_plan_without_a_usable_port_is_told_to_widen_and_nothing_of_zero() -> None:
    plan = replace(
        ONE, ports=PortRange(9000, 9000), capacity_per_pair=0, targets=(structs.replace(TARGETS[0], sink=True),)
    )
    host = {**HOST, "port_range": {"low": 9000, "high": 9000}}
    assert sentences_of(plan, 9, host)[0] == "widen ip_local_port_range to 1024-65535: +64,511"
    assert not any(line.endswith("+0") for line in sentences_of(plan, 9, host))


def test_in_udp_a_wider_range_loses_the_ports_of_others() -> None:
    """Three of them, of which a listener of TCP is none."""
    plan = replace(ONE, transport=Transport.UDP)
    told = sentences_of(plan, 100, {**HOST, "listeners": [2000], "datagram_ports": [53, 2001, 2002, 2003]})
    assert "widen ip_local_port_range to 1024-65535: +36,277" in told
    assert not any("target," in remedy for remedy in told)  # one more of them gains nothing


# --- Ports that others hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "gain"),
    [(Strategy.LATE_RANGE, 50), (Strategy.LATE, 50), (Strategy.EXPLICIT, 100), (Strategy.BIND, 100)],
)
def test_bound_ports_are_closed_on_a_further_address_where_connect_chooses(strategy: Strategy, gain: int) -> None:
    """Half of a hundred ports are held: bind() on another address may have them all, connect() may not."""
    host = {**HOST, "port_range": {"low": 40_000, "high": 40_099}}
    plan = replace(ONE, strategy=strategy, ports=PortRange(40_000, 40_099), capacity_per_pair=100, connections=100)
    (sources,) = (remedy for remedy in values_of(plan, 50, host, "port-held") if remedy.set)
    assert (sources.set, sources.gain) == ({"sources.addresses": ["127.0.0.2-127.0.0.3"]}, gain)


@pytest.mark.parametrize(
    ("transport", "command"),
    [(Transport.TCP, "loadgen watch --once"), (Transport.UDP, "ss -uanp 'sport >= 32768 and sport <= 60999'")],
)
def test_the_holder_of_a_port_is_found_by_what_shows_bound_sockets(transport: Transport, command: str) -> None:
    assert values_of(replace(ONE, transport=transport), 9, limit="port-held")[0].command == command


def test_the_ports_of_services_are_kept_out_of_the_automatic_choice() -> None:
    """Beside those that are reserved already; and SO_REUSEADDR is needed on both sides."""
    host = {**HOST, "sysctls": {"net.ipv4.ip_local_reserved_ports": "8080"}}
    plan = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",))
    assert list(keep_for_listeners(situation_of(plan))) == []
    reserved, shared = keep_for_listeners(situation_of(plan, host=host, listening=(38_151, 40_051)))
    assert reserved.sysctls == {"net.ipv4.ip_local_reserved_ports": "8080,38151,40051"}
    assert "SO_REUSEADDR" in shared.text
    assert shared.set == {"sources.strategy": "late-range"}
    explicit = replace(plan, strategy=Strategy.EXPLICIT, routes=())
    (listener,) = keep_for_listeners(situation_of(explicit, listening=(1,)))
    assert listener.text.startswith("the service has to set SO_REUSEADDR")


# --- Targets --------------------------------------------------------------------------------------


def test_a_target_of_loadgen_gets_the_next_port_and_that_of_others_is_for_the_reader_to_name() -> None:
    own = replace(ONE, targets=(structs.replace(TARGETS[0], sink=True),))
    (targets,) = (remedy for remedy in values_of(own, 9) if "target," in remedy.text)
    assert (targets.set, targets.gain) == ({"targets.0.address": "127.0.0.1:9000-9001"}, 28_232)
    (theirs,) = (remedy for remedy in values_of(ONE, 9) if "target," in remedy.text)
    assert (theirs.set, theirs.gain) == ({}, 28_232)


def test_addresses_outside_a_lab_come_with_the_command_that_adds_them() -> None:
    """Those of RFC 2544 are free to use, and are not there until they are added."""
    plan = replace(ONE, sources=("198.18.0.2",), targets=(Target(Endpoint("198.18.1.1", 80), sink=False),))
    outside, inside = (values_of(changed, 9)[0] for changed in (plan, replace(plan, in_lab=True)))
    assert outside.set == inside.set == {"sources.addresses": ["198.18.0.2-198.18.0.3"]}
    assert (outside.command, inside.command) == ("ip address add ADDRESS/32 dev INTERFACE", "")
    routed = values_of(replace(plan, freebind=True), 9)[0]
    assert routed.command == "ip route add local ADDRESS/32 dev lo"


# --- What the owner of a program is told ----------------------------------------------------------


def test_a_leak_is_closed_before_anything_is_added() -> None:
    first = values_of(ONE, 1, close_wait=28_000)[0]
    assert first.sentence == "close each connection that the other side has closed: 28,000 are in CLOSE-WAIT: +28,000"
    assert not any("CLOSE-WAIT" in text for text in sentences_of(ONE, 1))


@pytest.mark.parametrize(
    ("port", "holder", "first", "never"),
    [
        (38_151, PortHolderKind.CONNECTION, "reserve the ports of services", "stop the process"),
        (38_151, PortHolderKind.UNKNOWN, "reserve the ports of services", "stop the process"),
        (38_151, PortHolderKind.LISTENER, "stop the process that has port 38151", "reserve"),
        (38_151, PortHolderKind.TIME_WAIT, "set SO_REUSEADDR on the listener", "reserve"),
        (80, PortHolderKind.UNKNOWN, "stop the process that has port 80", "reserve"),
    ],
)
def test_what_has_a_port_decides_how_a_service_gets_it(
    port: int, holder: PortHolderKind, first: str, never: str
) -> None:
    plan = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",))
    found = [remedy.text for remedy in listen_again(situation_of(plan, listening=(port,), holder=holder))]
    assert found[0].startswith(first)
    assert not any(text.startswith(never) for text in found)


def test_the_owner_of_a_program_is_not_told_of_a_scenario() -> None:
    plan = replace(ONE, strategy=Strategy.BIND, targets=TARGETS)
    told = [remedy.for_program for remedy in values_of(plan, 20_000, {**HOST, "port_range_option": False})]
    assert told[0]
    assert told[0].sentence == (
        "set IP_BIND_ADDRESS_NO_PORT before bind(address, 0): each port serves every target: +28,232"
    )
    assert not any("`" in one.text or one.text.startswith("use ") for one in told if one)
