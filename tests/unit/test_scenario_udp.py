"""`transport: udp` in a scenario: what goes with it, and what is refused, with the change that mends it."""

from __future__ import annotations

import pytest

from loadgen.errors import ScenarioError
from loadgen.model import Strategy, Transport
from loadgen.scenario import Scenario, parse

SMALL = """name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
transport: udp
"""


def changed(old: str, new: str) -> Scenario:
    assert old in SMALL
    return parse(SMALL.replace(old, new, 1), "s.yaml", ())


def test_tcp_is_what_it_is_without_a_word() -> None:
    assert changed("transport: udp\n", "").transport is Transport.TCP
    assert parse(SMALL, "s.yaml", ()).transport is Transport.UDP


@pytest.mark.parametrize("strategy", [strategy for strategy in Strategy if strategy is not Strategy.REUSEADDR])
def test_these_strategies_go_with_udp(strategy: Strategy) -> None:
    assert changed("127.0.0.2", f"127.0.0.2, strategy: {strategy}").sources.strategy is strategy


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
    assert changed(old, new).transport is Transport.UDP


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("127.0.0.2", "127.0.0.2, strategy: reuseaddr", "write late-range, late, bind, kernel, explicit, reuseport"),
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
        changed(old, new)
    assert hint in str(caught.value)
    assert str(caught.value).isprintable()
