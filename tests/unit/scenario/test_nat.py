"""`lab.nat`: what the gateway of a lab does, and every mistake with its place and its fix."""

from __future__ import annotations

import pytest

from loadgen import scenario
from loadgen.errors import ScenarioError
from loadgen.model import Nat, NatFlag, NatKind, PortRange
from loadgen.scenario.nat import DEFAULT_ADDRESSES

SCENARIO = """\
name: x
lab: {{topology: {topology}, nat: {nat}}}
sources: {{addresses: 198.18.0.2-3}}
targets: [{{address: "198.19.0.1:9000", sink: true}}]
connections: 1
"""


def parsed(nat: str) -> Nat:
    found = scenario.parse(SCENARIO.format(topology="nat", nat=nat)).nat
    assert found is not None
    return found


def message(nat: str, topology: str = "nat") -> str:
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(SCENARIO.format(topology=topology, nat=nat))
    return str(caught.value)


def test_a_gateway_has_defaults() -> None:
    """As well where the key is left out."""
    text = SCENARIO.format(topology="nat", nat="{}")
    assert parsed("{}") == Nat(NatKind.SNAT, DEFAULT_ADDRESSES)
    assert scenario.parse(text.replace(", nat: {}", "")).nat == parsed("{}")
    assert scenario.parse(text.replace("topology: nat, nat: {}", "topology: veth")).nat is None


def test_every_key_is_carried_into_the_plan() -> None:
    assert parsed(
        "{addresses: 192.0.2.4-6, ports: 20000-20099, flags: [fully-random, persistent], "
        "timeouts: {time_wait: 10s, established: 5m, close: 1s}}"
    ) == Nat(
        NatKind.SNAT,
        ("192.0.2.4", "192.0.2.5", "192.0.2.6", "2001:db8::1"),
        PortRange(20_000, 20_099),
        (NatFlag.FULLY_RANDOM, NatFlag.PERSISTENT),
        {
            "nf_conntrack_tcp_timeout_established": 300,
            "nf_conntrack_tcp_timeout_time_wait": 10,
            "nf_conntrack_tcp_timeout_close": 1,
        },
    )
    assert parsed("{kind: masquerade}").kind is NatKind.MASQUERADE


@pytest.mark.parametrize(
    ("nat", "place", "fix"),
    [
        ("{addresses: [192.0.2.1, 192.0.2.3]}", "lab.nat.addresses", "write one range"),
        ("{addresses: [192.0.2.1, 192.0.2.1]}", "lab.nat.addresses", "write one range"),
        ("{addresses: 10.0.0.1}", "lab.nat.addresses", "192.0.2.0/24"),
        ("{addresses: '2001:db8::ffff:fffe-2001:db8::1:0:1'}", "lab.nat.addresses", "/96"),
        ("{addresses: eth0}", "lab.nat.addresses", "write addresses"),
        ("{addresses: 198.18.128.0/18}", "lab.nat.addresses", "at most 4,096"),
        ("{addresses: 198.18.0.1-2}", "lab.nat.addresses", "198.18.0.2 is a source or a target"),
        ("{addresses: 198.19.0.1}", "lab.nat.addresses", "198.19.0.1 is a source or a target"),
        ("{kind: masquerade, addresses: 192.0.2.1}", "lab.nat.addresses", "or write kind: snat"),
        ("{kind: dnat}", "lab.nat.kind", "snat"),
        ("{flags: [random-fully]}", "lab.nat.flags.0", "write fully-random"),
        ("{flags: [sticky]}", "lab.nat.flags.0", "persistent"),
        ("{flags: [random, random]}", "lab.nat.flags", "write it once"),
        ("{flags: [random, fully-random]}", "lab.nat.flags", "write one of the two"),
        ("{ports: 0-9}", "lab.nat.ports", "port"),
        ("{timeouts: {closed: 1s}}", "lab.nat.timeouts", 'did you mean "close"'),
        ("{timeouts: {close: 1500ms}}", "lab.nat.timeouts.close", "whole seconds"),
        ("{timeouts: {close: 0s}}", "lab.nat.timeouts.close", "1s"),
        ("{timeouts: 5s}", "lab.nat.timeouts", "a mapping"),
    ],
)
def test_a_mistake_has_its_place_and_its_fix(nat: str, place: str, fix: str) -> None:
    said = message(nat)
    assert f" {place}: " in said
    assert fix in said.partition(place)[2]


def test_only_a_gateway_translates() -> None:
    assert "topology: nat" in message("{ports: 5}", "veth")
    assert "topology: nat" in message("{ports: 5}", "loopback")
