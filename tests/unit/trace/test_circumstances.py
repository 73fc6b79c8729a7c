"""The circumstances that a scenario is written from, and the scenario that it becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen import scenario as scenarios
from loadgen.errors import UsageError
from loadgen.model import CloseMode, PortRange
from loadgen.reproduce import writing
from loadgen.strategies import TABLE, Strategy, Transport
from loadgen.trace import circumstances
from loadgen.trace.ways import Way

from .test_account import BOUND, WAY, account


def test_the_way_with_most_connects_is_the_one_that_is_written() -> None:
    many, udp = replace(WAY, count=9), replace(WAY, count=99, transport=Transport.UDP)
    accounts = [account(way) for way in (udp, WAY, many, replace(WAY, count=999, strategy=None, unseen=("bind",)))]
    assert circumstances.main_way(accounts).way == many
    with pytest.raises(UsageError, match="no way with a strategy"):
        circumstances.main_way(accounts[-1:])


def test_each_value_has_its_place() -> None:
    way = replace(BOUND, strategy=Strategy.BIND, count=1001, closed=1001, open_max=1, span_s=2.0, close=CloseMode.FIN)
    made = circumstances.of_way(account(way), {"net.ipv4.tcp_tw_reuse": "1", "kernel.other": "1"})
    assert (made.limit, made.fails, made.strategy) == ("time-wait", ("bind", "EADDRINUSE"), Strategy.BIND)
    assert (made.sources, made.targets, made.ports) == (("10.0.0.5",), ("10.0.0.7:80",), PortRange(32_768, 60_999))
    assert (made.churn, made.rate_per_s, made.close) == (True, 500.0, CloseMode.FIN)
    assert made.sysctls == {"net.ipv4.tcp_tw_reuse": "1"}
    assert all("client[4711]" in made.because[name] for name in ("limit", "strategy", "sources", "targets", "churn"))


def test_a_rate_that_the_ports_can_bear_is_left_out() -> None:
    way = replace(BOUND, strategy=Strategy.BIND, count=1001, closed=1001, open_max=1, span_s=2.0)
    assert circumstances.of_way(account(way), {}).rate_per_s == 500.0
    assert circumstances.of_way(account(replace(way, span_s=4.0)), {}).rate_per_s is None


def test_what_is_not_known_is_left_out() -> None:
    made = circumstances.of_way(account(WAY), {})
    assert (made.churn, made.rate_per_s, made.close, made.source_port, made.sources) == (None, None, None, None, ())


def _bound(strategy: Strategy) -> Way:
    way = replace(BOUND if strategy.row.binds_address else WAY, strategy=strategy)
    return replace(way, source_port=40_000, named=2, named_range=(40_000, 40_001)) if strategy.row.names_ports else way


@pytest.mark.parametrize("strategy", list(TABLE))
def test_every_strategy_becomes_a_scenario(strategy: Strategy) -> None:
    text = writing.write(circumstances.of_way(account(_bound(strategy)), {}))
    parsed = scenarios.parse(text)
    assert parsed.sources.strategy is strategy
    assert "client[4711]" in text
