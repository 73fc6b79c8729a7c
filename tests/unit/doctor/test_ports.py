"""Limits of four-tuples, from values of /proc/sys to findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.doctor import ports
from loadgen.doctor.finding import Grade, LimitCheck, Purpose
from loadgen.model import CloseMode

from .reading import HOST, found


def test_the_default_range_is_a_wall_for_a_hundred_thousand() -> None:
    finding = found(ports.port_range)
    judgement = finding.judgement
    assert (finding.value, finding.verdict) == ("32768 60999", Grade.WALL)
    assert judgement.allows.startswith("28,232 connections per source address and destination (60,999 - 32,768 + 1)")
    assert "100,000 take 4 source addresses" in judgement.allows
    assert judgement.change.now == ('sysctl -w net.ipv4.ip_local_port_range="1024 65535"',)
    assert judgement.change.for_good == (
        "echo 'net.ipv4.ip_local_port_range = 1024 65535' >> /etc/sysctl.d/90-loadgen.conf",
        "sysctl --system",
    )
    assert judgement.gain == 64_512 - 28_232
    assert "100,000 still take 2 source addresses (ip address add ADDRESS/32 dev INTERFACE)" in judgement.gains


@pytest.mark.parametrize(
    ("connections", "pairs", "verdict"),
    [
        (28_232, 1, Grade.TIGHT),
        (28_233, 1, Grade.WALL),
        (25_000, 1, Grade.GOOD),
        (100_000, 4, Grade.GOOD),
        (112_929, 4, Grade.WALL),
    ],
)
def test_a_range_carries_as_many_as_it_has_ports_for_each_pair(connections: int, pairs: int, verdict: Grade) -> None:
    assert found(ports.port_range, Purpose(connections, pairs)).verdict is verdict


@given(st.integers(1024, 65535), st.integers(1024, 65535), st.integers(1, 10**6), st.integers(1, 100))
def test_what_a_wider_range_gains_is_a_difference_of_two_capacities(a: int, b: int, wanted: int, pairs: int) -> None:
    low, high = min(a, b), max(a, b)
    finding = found(ports.port_range, Purpose(wanted, pairs), sysctls={"ip_local_port_range": f"{low} {high}"})
    now, after = (high - low + 1) * pairs, 64_512 * pairs
    assert finding.judgement.gain == min(wanted, after) - min(wanted, now)
    assert (finding.verdict is Grade.WALL) == (now < wanted)


def test_of_the_widest_range_only_source_addresses_are_left_to_add() -> None:
    judgement = found(ports.port_range, sysctls={"ip_local_port_range": "1024 65535"}).judgement
    assert judgement.gain == 0
    assert judgement.change.now == ("ip address add ADDRESS/32 dev INTERFACE",)


def test_reserved_ports_are_counted_inside_the_range_only() -> None:
    reserved = {"ip_local_reserved_ports": "80,40000-40009,65000"}
    finding = found(ports.reserved_ports, sysctls=reserved)
    assert finding.judgement.allows.startswith("28,232 - 10 = 28,222 ports")
    assert finding.verdict is Grade.GOOD  # the range itself is the wall, with or without them


def test_reserved_ports_are_a_wall_where_they_are_what_is_missing() -> None:
    finding = found(ports.reserved_ports, Purpose(28_230), sysctls={"ip_local_reserved_ports": "40000-40009"})
    assert (finding.verdict, finding.judgement.gain) == (Grade.WALL, 8)
    assert finding.judgement.change.now == ('sysctl -w net.ipv4.ip_local_reserved_ports=""',)


def test_without_reserved_ports_it_says_what_they_are_for() -> None:
    finding = found(ports.reserved_ports, listeners=frozenset({22, 40_001}))
    assert (finding.value, finding.verdict) == ("none", Grade.GOOD)
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.ip_local_reserved_ports=22,40001",)


def test_listeners_in_the_range_are_named_and_taken_off() -> None:
    finding = found(ports.listeners, listeners=frozenset({22, 40_000, 40_001, 50_000}))
    assert (finding.value, finding.verdict) == ("40000-40001,50000", Grade.TIGHT)
    assert finding.judgement.allows.startswith("28,232 - 3 = 28,229 ports")
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.ip_local_reserved_ports=40000-40001,50000",)
    assert found(ports.listeners, Purpose(28_230), listeners=frozenset({40_000, 40_001, 50_000})).verdict is Grade.WALL
    assert found(ports.listeners, listeners=frozenset({22, 80})).value == "none"
    assert found(ports.listeners, listeners=frozenset(range(40_000, 40_020, 2))).value.endswith("40008...")


@pytest.mark.parametrize(
    ("settings", "verdict", "allows"),
    [
        ({"tcp_tw_reuse": "0"}, Grade.TIGHT, "28,232 / 60 s = 471/s per source"),
        ({"tcp_tw_reuse": "1"}, Grade.GOOD, "28,232 / 1 s = 28,232/s per source"),
        ({"tcp_tw_reuse": "1", "tcp_tw_reuse_delay": "100"}, Grade.GOOD, "28,232 / 0.1 s = 282,320/s"),
        ({"tcp_tw_reuse": "1", "tcp_timestamps": "0"}, Grade.TIGHT, "28,232 / 60 s = 471/s"),
        ({"tcp_tw_reuse": "2"}, Grade.TIGHT, "closed here first; between loopback addresses 28,232 / 1 s = 28,232"),
        ({"tcp_tw_reuse": "1", "tcp_tw_reuse_delay": "0"}, Grade.GOOD, "no ceiling on new connections per second"),
    ],
)
def test_how_soon_a_port_serves_again(settings: dict[str, str], verdict: Grade, allows: str) -> None:
    finding = found(ports.tw_reuse, sysctls=settings)
    assert finding.verdict is verdict
    assert allows in finding.judgement.allows


def test_tw_reuse_says_what_it_would_gain() -> None:
    assert found(ports.tw_reuse).judgement.gains == "471/s become 28,232/s"


def test_ports_that_nobody_can_have_do_not_count_for_churn() -> None:
    finding = found(ports.tw_reuse, sysctls={"tcp_tw_reuse": "1", "ip_local_reserved_ports": "40000-40031"})
    assert finding.judgement.allows.startswith("28,200 / 1 s")


def test_a_kernel_without_the_delay_has_no_verdict_on_it() -> None:
    sysctls = {name: value for name, value in HOST.sysctls.items() if not name.endswith("delay")}
    absent = ports.tw_reuse_delay.find(replace(HOST, sysctls=sysctls), Purpose())
    assert (absent.value, absent.verdict, absent.judgement.change.now) == ("not here", Grade.ABSENT, ())


def test_fin_timeout_is_said_not_to_shorten_time_wait() -> None:
    finding = found(ports.fin_timeout, sysctls={"tcp_fin_timeout": "5"})
    assert finding.verdict is Grade.GOOD
    assert "does NOT shorten TIME-WAIT, which is 60 s" in finding.judgement.allows


@pytest.mark.parametrize(
    ("limit", "setting", "value", "verdict"),
    [
        (ports.timestamps, "tcp_timestamps", "0", Grade.TIGHT),
        (ports.timestamps, "tcp_timestamps", "1", Grade.GOOD),
        (ports.timestamps, "tcp_timestamps", "2", Grade.GOOD),
        (ports.autobind_reuse, "ip_autobind_reuse", "0", Grade.GOOD),
        (ports.autobind_reuse, "ip_autobind_reuse", "1", Grade.TIGHT),
        (ports.tw_reuse_delay, "tcp_tw_reuse_delay", "1000", Grade.GOOD),
        (ports.tw_reuse_delay, "tcp_tw_reuse_delay", "5000", Grade.TIGHT),
    ],
)
def test_a_setting_is_judged_by_its_value(limit: LimitCheck, setting: str, value: str, verdict: Grade) -> None:
    assert found(limit, sysctls={setting: value}).verdict is verdict


def test_a_full_table_of_time_wait_protects_nothing() -> None:
    assert found(ports.tw_buckets).verdict is Grade.GOOD
    finding = found(ports.tw_buckets, Purpose(200_000))
    assert finding.verdict is Grade.TIGHT
    assert "68,928 of 200,000" in finding.judgement.allows
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.tcp_max_tw_buckets=262144",)


@pytest.mark.parametrize(
    ("start", "many", "verdict"),
    [("1024", "64,512", Grade.GOOD), ("0", "65,535", Grade.GOOD), ("32768", "32,768", Grade.TIGHT)],
)
def test_ports_that_anybody_may_name(start: str, many: str, verdict: Grade) -> None:
    finding = found(ports.unprivileged_start, sysctls={"ip_unprivileged_port_start": start})
    assert finding.verdict is verdict
    assert f"may bind() {many} ports" in finding.judgement.allows


def test_the_range_is_widened_no_further_than_unprivileged_ports_go() -> None:
    judgement = found(ports.port_range, sysctls={"ip_unprivileged_port_start": "20000"}).judgement
    assert judgement.change.now == ('sysctl -w net.ipv4.ip_local_port_range="20000 65535"',)


def test_what_rests_counts_where_it_is_what_is_missing() -> None:
    resting = {"tcp_inuse": 3, "tcp_tw": 5_000}
    finding = found(ports.time_wait, Purpose(25_000), sockets=resting)
    assert (finding.value, finding.verdict, finding.judgement.gain) == ("5,000", Grade.TIGHT, 1_768)
    assert "28,232 - 5,000 = 23,232 are left" in finding.judgement.allows
    assert found(ports.time_wait, Purpose(1_000), sockets=resting).verdict is Grade.GOOD
    assert found(ports.time_wait, Purpose(100_000), sockets=resting).verdict is Grade.GOOD  # the range is the wall
    assert found(ports.time_wait, sockets={}).verdict is Grade.ABSENT


def test_open_sockets_are_those_of_both_families() -> None:
    finding = found(ports.in_use)
    assert finding.value == "4"
    assert "9 in the whole machine" in finding.judgement.allows


def test_a_wider_range_gains_no_port_that_a_listener_has() -> None:
    judgement = found(ports.port_range, listeners=frozenset({22, 9000, 40_000})).judgement
    assert judgement.gain == 64_510 - 28_231
    assert judgement.gains.startswith("28,231 become 64,510 per source address and destination")


def test_without_timestamps_they_are_the_remedy_and_not_tw_reuse() -> None:
    judgement = found(ports.tw_reuse, sysctls={"tcp_tw_reuse": "1", "tcp_timestamps": "0"}).judgement
    assert judgement.allows.endswith("without tcp_timestamps it does nothing")
    assert judgement.change.now == ("sysctl -w net.ipv4.tcp_timestamps=1",)
    assert judgement.gains == "tcp_tw_reuse=1 takes effect"


def test_lowered_buckets_of_time_wait_are_a_warning() -> None:
    finding = found(
        ports.tw_buckets, Purpose(100), sysctls={"tcp_max_tw_buckets": "5000", "tcp_ehash_entries": "-262144"}
    )
    assert finding.verdict is Grade.TIGHT
    assert "lowered from 131,072, which frees no port sooner" in finding.judgement.allows
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.tcp_max_tw_buckets=131072",)
    assert found(ports.tw_buckets, Purpose(100), sysctls={"tcp_ehash_entries": "262144"}).verdict is Grade.GOOD


def test_at_a_rate_the_buckets_are_filled_by_a_minute_of_it() -> None:
    assert found(ports.tw_buckets, Purpose(1, rate_per_s=3_000)).verdict is Grade.TIGHT
    assert found(ports.tw_buckets, Purpose(1, rate_per_s=2_000)).verdict is Grade.GOOD
    assert found(ports.tw_buckets, Purpose(1, rate_per_s=3_000, close=CloseMode.RST)).verdict is Grade.GOOD


def test_udp_sockets_and_services_that_are_down_are_not_overlooked() -> None:
    finding = found(ports.listeners, udp_ports=frozenset({53, 40_000, 40_001}))
    assert finding.verdict is Grade.GOOD
    assert "2 UDP sockets without a peer are in the range" in finding.judgement.allows
    assert "name it with --services" in finding.judgement.allows
