"""From scenario text to ScenarioSpec: every key, every mistake with its place and its remedy."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from loadgen.errors import ScenarioError
from loadgen.model import (
    CloseMode,
    Endpoint,
    PortRange,
    Stage,
    Strategy,
    Topology,
    Transport,
)
from loadgen.scenario import Fallback, ScenarioSpec, parse
from loadgen.scenario.expect import Expectation
from loadgen.scenario.fields import VETH_NETWORKS

from .support import EVERYTHING, PROBED, SMALLEST, refusal


def test_the_smallest_scenario_has_these_defaults() -> None:
    found = parse(SMALLEST)
    assert (found.name, found.description, found.lab, found.arrival) == ("small", "", None, None)
    assert (found.hold_s, found.timeout_s, found.interval_s) == (0.0, 10.0, 0.5)
    assert (found.close, found.in_flight, found.expect) == (CloseMode.FIN, 256, ())
    assert (found.sources.strategy, found.sources.ports) == (Strategy.LATE_RANGE, None)
    assert not found.targets[0].sink


def test_everything_that_can_be_written() -> None:
    found = parse(EVERYTHING)
    assert found.lab is not None
    assert (found.lab.topology, found.lab.fallback) == (Topology.LOOPBACK, Fallback.HOST)
    assert found.lab.sysctls == {"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "1024 65535"}
    assert found.sources.expanded == ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.1.1", "127.0.1.2")
    assert (found.sources.strategy, found.sources.ports) == (Strategy.EXPLICIT, PortRange(40000, 40099))
    assert [target.endpoint for target in found.every_target] == [
        Endpoint("127.0.0.1", 9000),
        Endpoint("127.0.0.1", 9001),
    ]
    assert [target.sink for target in found.targets] == [True, False]
    assert found.connections == 100_000
    assert found.arrival is not None
    assert found.arrival.stages == (Stage(0.0, 20_000.0, 5.0), Stage(20_000.0, 20_000.0, None))
    assert (found.hold_s, found.timeout_s, found.interval_s) == (90.0, 3.0, 0.25)
    assert (found.close, found.in_flight) == (CloseMode.RST, 1024)
    assert found.expect[1] == Expectation(
        "errors.connect.EADDRNOTAVAIL", "<=", 1000.0, "errors.connect.EADDRNOTAVAIL <= 1_000"
    )


def test_a_scenario_cannot_be_changed() -> None:
    found = parse(EVERYTHING)
    with pytest.raises(ValidationError):
        found.connections = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.expect[0].value = 5  # type: ignore[misc] # that it cannot is the test


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        ("127.0.0.2", "127.0.0.1:9", True),
        ("127.0.0.0/24", "127.255.0.1:9", True),
        ("[127.0.0.2, 10.0.0.1]", "127.0.0.1:9", False),
        ("127.0.0.2", "10.0.0.1:9", False),
        ("[127.0.0.2, lo]", "127.0.0.1:9", False),
        ("'::1'", "'[::1]:9'", False),
        ("126.255.255.255-127.0.0.5", "127.0.0.1:9", False),
    ],
)
def test_the_fallback_to_the_host_stays_on_its_loopback(source: str, target: str, allowed: bool) -> None:
    text = f"""\
name: x
connections: 1
lab: {{fallback: host}}
sources: {{addresses: {source}}}
targets: [{{address: {target}}}]
"""
    if allowed:
        assert parse(text)
        return
    error = refusal(text)
    assert "127.0.0.0/8" in error.message
    assert (error.line, error.column) == (3, 17)


def test_families_must_be_able_to_meet() -> None:
    both = SMALLEST.replace("127.0.0.2", "[127.0.0.2, '::1']")
    assert parse(both.replace('"127.0.0.1:9000"', '"[::1]:80"')).every_target[0].endpoint == Endpoint("::1", 80)
    only_six = SMALLEST.replace("127.0.0.2", "'::1'")
    assert "no source address is IPv4" in refusal(only_six).message
    assert parse(only_six.replace("'::1'", "eth0")), "what eth0 has is not known here"


@pytest.mark.parametrize(
    ("target", "lab", "end"),
    [
        ("[::1]:80", "", "add one to sources.addresses"),
        ("[fd00::1]:80", "", "add one to sources.addresses, and --allow fd00::1/128"),
        ("[2001:db8::1]:80", "lab: {}\n", "add one to sources.addresses, and --allow 2001:db8::1/128"),
        ("[fd00::1]:80", "lab: {topology: veth}\n", "add one to sources.addresses"),
    ],
)
def test_a_family_without_a_source_says_what_else_the_target_needs(target: str, lab: str, end: str) -> None:
    """Only then would the flag be asked for, one message later."""
    with pytest.raises(ScenarioError) as caught:
        parse(SMALLEST.replace("127.0.0.1:9000", target) + lab)
    assert any(mistake.message.endswith(end) for mistake in caught.value.mistakes), caught.value


NAMED = """\
name: named
sources: {addresses: 127.0.0.2}
targets:
  - {address: "redis.internal:6379-6380", weight: 3, sink: true}
  - {address: "127.0.0.1:9000-9002"}
  - {address: "redis.internal:7000"}
connections: 10
"""


def test_a_target_is_one_for_each_port_and_each_address_of_its_name() -> None:
    found = parse(NAMED)
    assert found.names == ("redis.internal",)
    resolved = found.resolved({"redis.internal": ["10.0.0.5", "fd00::5"]})
    assert [(str(one.endpoint), one.weight, one.sink, one.host) for one in resolved.every_target] == [
        ("10.0.0.5:6379", 3, True, "redis.internal"),
        ("10.0.0.5:6380", 3, True, "redis.internal"),
        ("[fd00::5]:6379", 3, True, "redis.internal"),
        ("[fd00::5]:6380", 3, True, "redis.internal"),
        ("127.0.0.1:9000", 1, False, ""),
        ("127.0.0.1:9001", 1, False, ""),
        ("127.0.0.1:9002", 1, False, ""),
        ("10.0.0.5:7000", 1, False, "redis.internal"),
        ("[fd00::5]:7000", 1, False, "redis.internal"),
    ]


def test_a_name_that_nobody_has_resolved_is_no_target() -> None:
    found = parse(NAMED)
    found.resolved({"redis.internal": ["10.0.0.5"]})
    with pytest.raises(KeyError):
        assert found.every_target


@pytest.mark.parametrize(
    ("lab", "address", "reason"),
    [
        ("", "10.0.0.5", ""),
        ("lab: {}", "127.0.0.9", ""),
        ("lab: {}", "::1", ""),
        ("lab: {}", "10.0.0.5", "leads nowhere"),
        ("lab: {fallback: host}", "127.9.9.9", ""),
        ("lab: {fallback: host}", "::1", "127.0.0.0/8"),
    ],
)
def test_what_a_name_may_turn_out_to_be_in_a_lab(lab: str, address: str, reason: str) -> None:
    misfit = parse(NAMED + lab).misfit(address)
    assert reason in misfit
    assert bool(reason) == bool(misfit)


def test_what_a_name_may_turn_out_to_be_across_a_cable() -> None:
    text = """
name: named
lab: {topology: veth}
sources: {addresses: 198.18.0.1-2}
targets: [{address: "redis.internal:6379", sink: true}]
connections: 10
"""
    found = parse(text)
    assert found.misfit("198.18.0.3") == ""
    assert "on the other end already" in found.misfit("198.18.0.2")
    assert "198.18.0.0/15" in found.misfit("127.0.0.1")


SEGMENT = """name: segment
lab: {topology: segment}
sources: {addresses: [198.18.0.1, "fd00::1-fd00::1000"]}
targets: [{address: "198.19.0.1:80", sink: true}]
connections: 10
"""


def test_a_segment_takes_what_a_cable_takes_and_not_too_much_of_ipv6() -> None:
    assert parse(SEGMENT).has_cable
    assert parse(SEGMENT).lab_networks == VETH_NETWORKS
    for old, new, place, message in (
        ("198.18.0.1,", "127.0.0.2,", (3, 22), "a segment lab takes addresses of 198.18.0.0/15"),
        ("198.18.0.1,", "eth0,", (3, 22), "a segment lab has no interface that you know"),
        ("fd00::1000", "fd00::1001", (3, 22), "4,097 IPv6 addresses are too many for a segment; write at most 4,096"),
        ("198.19.0.1:80", "127.0.0.1:80", (4, 21), "a segment lab takes addresses of 198.18.0.0/15"),
        ("198.19.0.1:80", "198.18.0.1:80", (4, 21), "on the other end already"),
        ("sink: true", "sink: false", (4, 11), "nothing else listens in a segment lab; write sink: true"),
        ("segment}", "segment, fallback: host}", (2, 26), "leave it out"),
    ):
        with pytest.raises(ScenarioError) as caught:
            parse(SEGMENT.replace(old, new))
        mistakes = {(mistake.line, mistake.column): mistake.message for mistake in caught.value.mistakes}
        assert message in mistakes[place]


@pytest.mark.parametrize(("source", "target"), [("127.0.0.3", "127.0.0.1:6379"), ("", "[::1]:6379")])
def test_a_probe_takes_the_first_address_of_its_own_family(source: str, target: str) -> None:
    text = PROBED.replace("127.0.0.1:9000", "redis.internal:6379").replace("127.0.0.2", "[127.0.0.2, '::1']")
    text += f"  - {{name: a, when: hold{f', strategy: late, source: {source}' if source else ''}}}"
    found = parse(text).resolved({"redis.internal": ["::1", "127.0.0.1"]})
    assert str(found.probe(found.probes[0], PortRange(1, 2)).target) == target


UDP = """name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
transport: udp
"""


def udp_changed(old: str, new: str) -> ScenarioSpec:
    assert old in UDP
    return parse(UDP.replace(old, new, 1), "s.yaml", ())


def test_tcp_is_what_it_is_without_a_word() -> None:
    assert udp_changed("transport: udp\n", "").transport is Transport.TCP
    assert parse(UDP, "s.yaml", ()).transport is Transport.UDP


@pytest.mark.parametrize("strategy", [strategy for strategy in Strategy if strategy is not Strategy.REUSEADDR])
def test_these_strategies_go_with_udp(strategy: Strategy) -> None:
    assert udp_changed("127.0.0.2", f"127.0.0.2, strategy: {strategy}").sources.strategy is strategy


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sink: true", "sink: {drop: 25%}"),
        ("sink: true", "sink: {speaks: nothing}"),
        ("transport: udp", "transport: udp\nclose: fin"),
        ("transport: udp", "transport: udp\nprotocol: {name: echo, size: 65507}"),
        ("transport: udp", "transport: udp\nheartbeat: {every: 1s}"),
        ("connections: 10", "churn: {duration: 1s}\nprotocol: echo"),
    ],
)
def test_this_goes_with_udp(old: str, new: str) -> None:
    assert udp_changed(old, new).transport is Transport.UDP


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        (
            "127.0.0.2",
            "127.0.0.2, strategy: reuseaddr",
            "write late-range, late, explicit, reuseport, exclusive, bind or kernel",
        ),
        ("transport: udp", "transport: udp\nclose: rst", "leave close out"),
        ("transport: udp", "transport: udp\nclose: target", "leave close out"),
        ("transport: udp", "transport: udp\nprobes: [{name: a, when: after}]", "probes make connections of TCP"),
        ("transport: udp", "transport: udp\nprotocol: {name: echo, size: 65508}", "room for 65,507 bytes"),
        ("sink: true", "sink: true, backlog: 4", "UDP accepts nothing"),
        ("sink: true", "sink: true, accept: false", "UDP accepts nothing"),
        ("sink: true", "sink: true, accept_after: 1s", "UDP accepts nothing"),
        ("sink: true", "sink: {delay: 5ms}", "a sink of UDP sends back"),
        ("sink: true", "sink: {reset: true}", "a sink of UDP sends back"),
        ("sink: true", "sink: {speaks: http}", "a sink of UDP sends back"),
        ("transport: udp", "transport: sctp", "transport"),
    ],
)
def test_this_does_not_go_with_udp(old: str, new: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        udp_changed(old, new)
    assert hint in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("sources", "ports", "pairs"),
    [
        ("127.1.0.0/16", "9000-9999", 65_534_000),
        ("127.1.0.0/16", "9000-9002", 196_602),
        ("127.1.0.0/16", "9000-9001", 0),
    ],
)
def test_pairs_that_could_not_be_planned_are_refused_at_once(sources: str, ports: str, pairs: int) -> None:
    text = SMALLEST.replace("127.0.0.2", sources).replace("127.0.0.1:9000", f"127.0.0.1:{ports}")
    if not pairs:
        assert parse(text)
        return
    message = refusal(text).message
    assert f"65,534 source addresses to {pairs // 65_534:,} targets are {pairs:,} pairs" in message
    assert "at most 131,072 pairs" in message


def test_a_smoke_test_keeps_each_connection_and_drops_the_load() -> None:
    spec = parse(
        "{name: a, sources: {addresses: 127.0.0.2-3, strategy: late}, transport: tcp, timeout: 3s, protocol: echo,"
        " targets: [{address: '127.0.0.1:9000', weight: 3}, {address: '127.0.0.1:9001'}], close: target,"
        " churn: {}, arrival: {rate: 100/s}, profile: {sustain: 10s}, expect: [outcomes.established > 1000]}"
    )
    assert spec.phases
    once = spec.once(4)
    assert (once.connections, once.churn, once.stages, once.phases, once.held_s) == (4, None, (), None, 0.0)
    assert [target.weight for target in once.targets] == [1, 1]
    assert [each.text for each in once.expect] == ["outcomes.failed == 0", "outcomes.established == 4"]
    assert (once.sources, once.timeout_s, once.protocol) == (spec.sources, 3.0, spec.protocol)
    assert once.close is CloseMode.FIN, "only a sink of ours closes held connections when told to"
