"""Remedies for TIME-WAIT: each with the ceiling it would put instead, and all that this ceiling needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from loadgen.capacity.remedies import Quantity, Remedy
from loadgen.capacity.time_wait import ceiling
from loadgen.model import Churn, CloseMode, Endpoint, Plan, PortRange, SinkBehaviour, Stage, Strategy, Target, Traffic

from .situations import HOST, ONE, TARGETS, sentences_of, values_of

TW_REUSE = "net.ipv4.tcp_tw_reuse"
#: Neither end is a loopback address, so that tcp_tw_reuse=2, the default, reuses nothing.
ACROSS = replace(ONE, sources=("198.18.0.2",), targets=(Target(Endpoint("198.18.1.1", 80), sink=True),))


@pytest.mark.parametrize(
    ("change", "sysctls", "first"),
    [
        ({}, {}, "set net.ipv4.tcp_tw_reuse=1"),
        ({}, {"net.ipv4.tcp_timestamps": "0"}, "set net.ipv4.tcp_timestamps=1"),
        ({}, {TW_REUSE: "1"}, "wait 60 s"),
        ({"strategy": Strategy.EXPLICIT}, {}, "wait 60 s"),
        ({"strategy": Strategy.BIND}, {}, "use late-range ("),
        ({"sources": ("127.0.0.2",), "targets": TARGETS[:1]}, {}, "wait 60 s"),  # reused after 1 s already
    ],
)
def test_ports_in_time_wait(change: dict[str, Any], sysctls: dict[str, str], first: str) -> None:
    """Whether a port can be had again early depends on who chose it, and on two settings."""
    host = {**HOST, "sysctls": {**HOST["sysctls"], **sysctls}}
    found = sentences_of(replace(ACROSS, **change), 70, host, "time-wait", time_wait=80)
    assert found[0].startswith(first)
    assert "add 1 source address: +28,232" in found


def test_ports_that_rest_are_the_gain_of_having_them_again() -> None:
    """Of a run, no more of them than its missing ports: others in TIME-WAIT are not its own."""
    (reuse, *_) = values_of(ACROSS, 70, limit="time-wait", time_wait=80)
    assert (reuse.sysctls, reuse.gain) == ({TW_REUSE: "1"}, 70)


LONG = Churn(100.0)


def churning(plan: Plan = ACROSS, churn: Churn = LONG, host: dict[str, Any] = HOST, **changes: Any) -> list[Remedy]:
    changed = replace(plan, churn=churn, connections=25, **changes)
    changed = replace(changed, ceiling=ceiling(changed, churn, host["sysctls"]))
    return values_of(changed, 0, host, "time-wait")


def test_the_fixes_that_are_accepted_most_often_come_first() -> None:
    """Keep connections alive, have ports again sooner, a wider range."""
    first, second, third, *others = churning(traffic=Traffic("http"))
    assert first.set == {"churn.exchanges": 10}
    assert second.sysctls == {TW_REUSE: "1"}
    assert third.sysctls == {"net.ipv4.ip_local_port_range": "1024 65535"}
    assert any("target," in remedy.text for remedy in others)
    assert any("source address" in remedy.text for remedy in others)


def test_a_strategy_that_may_reuse_names_the_sysctl_without_which_it_may_not() -> None:
    """Off loopback; on loopback it needs none."""
    for plan, sysctls in ((ACROSS, {TW_REUSE: "1"}), (ONE, {})):
        first = churning(plan, strategy=Strategy.BIND)[0]
        assert (first.set, first.sysctls) == ({"sources.strategy": "late-range"}, sysctls)
        assert all(f"{name}={value}" in first.text for name, value in sysctls.items())


def test_a_shorter_delay_comes_with_the_setting_that_it_needs() -> None:
    host = {**HOST, "sysctls": {**HOST["sysctls"], "net.ipv4.tcp_tw_reuse_delay": "1000"}}
    (delay,) = (remedy for remedy in churning(host=host) if "delay" in remedy.text)
    assert delay.sysctls == {TW_REUSE: "1", "net.ipv4.tcp_tw_reuse_delay": "100"}
    assert delay.claim
    assert (delay.claim.before, delay.claim.after) == (470.533, 282_320.0)
    assert not any("delay" in remedy.text for remedy in churning(host=host, strategy=Strategy.BIND))


def test_every_setting_that_a_ceiling_is_computed_with_is_named() -> None:
    off = {**HOST, "sysctls": {TW_REUSE: "0", "net.ipv4.tcp_timestamps": "0"}}
    found = {remedy.set.get("sources.strategy"): remedy for remedy in churning(host=off, strategy=Strategy.BIND)}
    assert found["explicit"].sysctls == {"net.ipv4.tcp_timestamps": "1"}
    assert found["late-range"].sysctls == {"net.ipv4.tcp_timestamps": "1", TW_REUSE: "1"}


def test_connect_alone_is_told_to_change_before_it_takes_another_address() -> None:
    *_, sources = churning(strategy=Strategy.KERNEL, routes=("198.18.0.2",))
    assert sources.needs == {"sources.strategy": "late-range"}
    assert sources.text.startswith("use late-range (")
    assert sources.claim
    assert (sources.claim.before, sources.claim.after) == (470.533, 941.067)


# --- Keep-alive -----------------------------------------------------------------------------------


def kept(**options: Any) -> Remedy:
    return next(remedy for remedy in churning(**options) if remedy.text.startswith("keep"))


def test_each_exchange_more_is_one_request_more_for_the_same_connections() -> None:
    remedy = kept(churn=Churn(100.0, exchanges=3), traffic=Traffic("http"))
    assert remedy.set == {"churn.exchanges": 30}
    assert remedy.claim
    assert remedy.claim.quantity is Quantity.REQUESTS
    assert [remedy.claim.before, remedy.claim.after] == pytest.approx([3 * 470.533, 30 * 470.533])


def test_a_schedule_is_slowed_down_so_that_its_requests_stay_as_many() -> None:
    """Of 1,000/s the ports give 471/s, so three exchanges on each of a third of the connections are enough."""
    remedy = kept(churn=Churn(100.0, arrivals=100_000), traffic=Traffic("http"), stages=(Stage(1000.0, 1000.0, None),))
    assert remedy.set == {"churn.exchanges": 3, "arrival.rate": "333.333/s"}


def test_a_schedule_of_fewer_than_one_connection_is_not_written() -> None:
    """A reconnect on one port: 15 of them in 3 s, which one connection carries."""
    remedy = kept(
        churn=Churn(3.0, arrivals=15),
        stages=(Stage(5.0, 5.0, None),),
        ports=PortRange(40_000, 40_000),
        own_ports=True,
        capacity_per_pair=1,
        traffic=Traffic("http"),
    )
    assert (remedy.set, remedy.claim) == ({}, None)


def test_connections_that_carry_nothing_need_a_protocol_first() -> None:
    """Which a sink of loadgen speaks; of another server it is for the reader to say."""
    assert kept().needs == {"protocol": "echo"}
    assert kept(targets=(Target(Endpoint("198.18.1.1", 80), sink=False),)).set == {}


def test_a_server_that_closes_after_each_request_keeps_nothing_alive() -> None:
    closing = structs.replace(ACROSS.targets[0], behaviour=SinkBehaviour(close_after_requests=1))
    assert not any(remedy.text.startswith("keep") for remedy in churning(targets=(closing,), traffic=Traffic("http")))


def test_a_remedy_that_lifts_nothing_is_none() -> None:
    """With a reset there is no ceiling to lift."""
    assert churning(close=CloseMode.RST) == []
