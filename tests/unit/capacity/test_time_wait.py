"""How soon a source port serves again, and what that leaves of churn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.time_wait import TIME_WAIT_S, came_true, ceiling, rest_s
from loadgen.model import Churn, CloseMode, Endpoint, Plan, Strategy, Target
from tests.plans import plan_of

DEFAULTS = {"tcp_timestamps": "1", "tcp_tw_reuse": "2", "tcp_tw_reuse_delay": "1000", "tcp_max_tw_buckets": "131072"}
BY_CONNECT = [Strategy.KERNEL, Strategy.LATE, Strategy.LATE_RANGE]
AT_ONCE = [Strategy.EXPLICIT, Strategy.REUSEPORT]
NEVER = [Strategy.BIND, Strategy.REUSEADDR, Strategy.EXCLUSIVE]


def plan(**changes: Any) -> Plan:
    whole = plan_of(
        connections=10,
        sources=("198.18.0.2",),
        targets=(Target(Endpoint("198.19.0.1", 9000), sink=True),),
        close=CloseMode.FIN,
        sinks=1,
    )
    return replace(whole, **changes)


def sysctls(**changes: object) -> dict[str, str]:
    return {f"net.ipv4.{name}": str(value) for name, value in {**DEFAULTS, **changes}.items()}


@pytest.mark.parametrize("strategy", BY_CONNECT)
@pytest.mark.parametrize(
    ("settings", "rests_s"),
    [
        ({"tcp_tw_reuse": 0}, TIME_WAIT_S),
        ({"tcp_tw_reuse": 1}, 1.0),
        ({"tcp_tw_reuse": 1, "tcp_tw_reuse_delay": 200}, 0.2),
        ({"tcp_tw_reuse": 1, "tcp_timestamps": 0}, TIME_WAIT_S),
        ({"tcp_tw_reuse": 2}, TIME_WAIT_S),
    ],
)
def test_a_port_that_connect_chooses_rests_as_tcp_tw_reuse_says(
    strategy: Strategy, settings: dict[str, int], rests_s: float
) -> None:
    assert rest_s(plan(strategy=strategy), sysctls(**settings))[0] == rests_s


@pytest.mark.parametrize(("source", "target"), [("127.0.0.2", "127.0.0.1"), ("::1", "::1")])
def test_tcp_tw_reuse_2_is_for_loopback_addresses(source: str, target: str) -> None:
    local = plan(sources=(source,), targets=(Target(Endpoint(target, 9000), sink=True),))
    assert rest_s(local, sysctls()) == (1.0, "tcp_tw_reuse=2 after 1,000 ms")


def test_a_kernel_without_the_delay_waits_a_second() -> None:
    settings = sysctls(tcp_tw_reuse=1)
    del settings["net.ipv4.tcp_tw_reuse_delay"]
    assert rest_s(plan(), settings)[0] == 1.0


@pytest.mark.parametrize("reuse", [0, 1, 2])
@pytest.mark.parametrize("strategy", AT_ONCE)
def test_a_port_that_bind_names_serves_at_once_whatever_tcp_tw_reuse_says(strategy: Strategy, reuse: int) -> None:
    assert rest_s(plan(strategy=strategy), sysctls(tcp_tw_reuse=reuse))[0] == 0
    assert rest_s(plan(strategy=strategy), sysctls(tcp_tw_reuse=reuse, tcp_timestamps=0))[0] == TIME_WAIT_S


@pytest.mark.parametrize("strategy", NEVER)
def test_bind_takes_nothing_out_of_time_wait(strategy: Strategy) -> None:
    assert rest_s(plan(strategy=strategy), sysctls(tcp_tw_reuse=1))[0] == TIME_WAIT_S


def test_autobind_reuse_makes_an_exception_for_reuseaddr() -> None:
    settings = sysctls(tcp_tw_reuse=0, ip_autobind_reuse=1)
    assert rest_s(plan(strategy=Strategy.REUSEADDR), settings)[0] == 0
    assert rest_s(plan(strategy=Strategy.BIND), settings)[0] == TIME_WAIT_S


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("close", [CloseMode.RST, CloseMode.TARGET])
def test_whoever_does_not_keep_time_wait_has_no_ceiling(strategy: Strategy, close: CloseMode) -> None:
    found = ceiling(plan(strategy=strategy, close=close), Churn(10.0), sysctls(tcp_tw_reuse=0, tcp_timestamps=0))
    assert (found.per_s, found.established) == (None, None)


def test_the_ceiling_is_ports_over_rest() -> None:
    never = ceiling(plan(), Churn(5.0), sysctls(tcp_tw_reuse=0))
    second = ceiling(plan(), Churn(4.5), sysctls(tcp_tw_reuse=1))
    fifth = ceiling(plan(), Churn(4.5), sysctls(tcp_tw_reuse=1, tcp_tw_reuse_delay=200))
    assert (never.per_s, never.established) == (1.667, 100)
    assert (second.per_s, second.established) == (100.0, 500)
    assert (fifth.per_s, fifth.established) == (500.0, 2300)
    assert second.because == "100 ports / 1 s: tcp_tw_reuse=1 after 1,000 ms"


def test_ports_count_once_for_each_pair_or_once_for_each_source() -> None:
    two = tuple(Target(Endpoint("198.19.0.1", port), sink=True) for port in (9000, 9001))
    shared = ceiling(plan(targets=two), Churn(1.0), sysctls(tcp_tw_reuse=0))
    alone = ceiling(plan(targets=two, strategy=Strategy.BIND), Churn(1.0), sysctls(tcp_tw_reuse=0))
    assert (shared.established, alone.established) == (200, 100)


def test_a_table_of_time_wait_smaller_than_the_ports_never_holds_them_all() -> None:
    assert ceiling(plan(), Churn(1.0), sysctls(tcp_tw_reuse=0, tcp_max_tw_buckets=99)).per_s is None
    assert ceiling(plan(), Churn(1.0), sysctls(tcp_tw_reuse=0, tcp_max_tw_buckets=100)).per_s == 1.667


@given(
    duration_s=st.floats(0.1, 1000),
    arrivals=st.none() | st.integers(0, 10**6),
    delay_ms=st.integers(1, 60_000),
    ports=st.integers(1, 64_512),
)
def test_no_more_is_predicted_than_the_ports_give_or_is_asked_for(
    duration_s: float, arrivals: int | None, delay_ms: int, ports: int
) -> None:
    settings = sysctls(tcp_tw_reuse=1, tcp_tw_reuse_delay=delay_ms)
    found = ceiling(plan(capacity_per_pair=ports), Churn(duration_s, arrivals=arrivals), settings)
    assert found.per_s is not None
    assert found.established is not None
    assert found.established <= ports * (1 + duration_s / (delay_ms / 1000)) + 1e-6
    assert arrivals is None or found.established <= arrivals
    assert arrivals is not None or found.established >= ports


@pytest.mark.parametrize(
    ("duration_s", "passes"), [(0.5, 1), (1.0, 1), (1.001, 2), (4.0, 4), (4.5, 5)], ids=lambda value: str(value)
)
def test_a_pass_that_could_only_begin_at_the_end_is_none(duration_s: float, passes: int) -> None:
    assert ceiling(plan(), Churn(duration_s), sysctls(tcp_tw_reuse=1)).established == 100 * passes


@pytest.mark.parametrize(
    ("established", "first_denied_s", "true"),
    [
        (500, 0.01, True),
        (496, 0.01, True),  # the last pass was cut off
        (400, 0.01, False),  # a port takes longer than a second to come back
        (520, 0.01, False),  # or less
        (300, None, True),  # the ports never ran out: something else was slower
    ],
)
def test_a_bounded_prediction(established: int, first_denied_s: float | None, *, true: bool) -> None:
    churn = Churn(4.5)
    whole = plan(churn=churn, ceiling=ceiling(plan(), churn, sysctls(tcp_tw_reuse=1)))
    assert came_true(whole, established=established, denied=900, first_denied_s=first_denied_s) is true


def test_a_minute_may_be_as_long_as_the_timer_wheel_makes_it() -> None:
    churn = Churn(130.0)
    whole = plan(churn=churn, ceiling=ceiling(plan(), churn, sysctls(tcp_tw_reuse=0)))
    assert whole.ceiling
    assert whole.ceiling.established == 300
    assert came_true(whole, established=300, denied=9, first_denied_s=1.0)
    assert not came_true(whole, established=200, denied=9, first_denied_s=1.0)


@pytest.mark.parametrize(("denied", "true"), [(0, True), (20, True), (21, False)])
def test_without_a_ceiling_the_ports_must_not_run_out(denied: int, *, true: bool) -> None:
    churn = Churn(4.5)
    whole = plan(close=CloseMode.RST, churn=churn, ceiling=ceiling(plan(close=CloseMode.RST), churn, sysctls()))
    assert came_true(whole, established=1000, denied=denied, first_denied_s=0.1) is true
