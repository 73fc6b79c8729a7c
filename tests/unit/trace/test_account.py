"""The account of a way on a host: ports, the error it ends with, TIME-WAIT, and what is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import Missing, MissingReason
from loadgen.model import CloseMode, Endpoint
from loadgen.strategies import TABLE, PortScope, Strategy, Transport
from loadgen.trace.account import WayAccount, of_way, of_ways
from loadgen.trace.ways import Way
from tests.unit.capacity.samples import FACTS

WAY: Final = Way(
    command="client",
    pid=4711,
    transport=Transport.TCP,
    strategy=Strategy.KERNEL,
    beside=(),
    calls=("socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3", "connect(3, ...) = 0"),
    source="",
    source_port=None,
    ports=None,
    target="10.0.0.7",
    target_port=80,
    targets=1,
    failed={},
    count=1,
)
BOUND: Final = replace(WAY, source="10.0.0.5", source_port=0, sources=1)


def account(way: Way, **facts: Any) -> WayAccount:
    merged = {**FACTS, "default_sources": ("10.0.0.5",), **facts}
    return of_way(way, HostFacts(**merged), Endpoint("10.0.0.7", 80), 1024)


@pytest.mark.parametrize("strategy", [name for name, row in TABLE.items() if not row.names_ports])
def test_an_automatic_port_comes_from_the_range_of_the_namespace(strategy: Strategy) -> None:
    found = account(replace(BOUND, strategy=strategy), reserved_ports=(40_000, 40_001), listeners=(50_000, 80, 50_001))
    assert found.ports
    assert found.ports.capacity == 28_232 - 4
    assert found.ports.scope is strategy.over(Transport.TCP).scope
    assert found.ends_with == strategy.over(Transport.TCP).ends_text
    assert found.limit == ("four-tuples" if found.ports.scope is PortScope.PAIR else "source-ports")


def test_udp_has_its_own_rules_and_no_time_wait() -> None:
    found = account(replace(WAY, transport=Transport.UDP), datagram_ports=(40_000,), listeners=(50_000,))
    assert found.ports
    assert (found.ports.capacity, found.ports.scope, found.ends_with) == (28_231, PortScope.HOST, "connect EAGAIN")
    assert (found.rest_s, found.churn_per_s) == (None, None)


def test_an_unknown_strategy_has_no_account() -> None:
    found = account(replace(WAY, strategy=None, unseen=("bind",)))
    assert (found.ports, found.ends_with, found.remedies) == (None, "", ())
    reuse = replace(BOUND, transport=Transport.UDP, strategy=Strategy.REUSEADDR)
    assert account(reuse).ports is None


@pytest.mark.parametrize(
    ("asked", "capacity"),
    [((40_000, 40_009), 10), ((40_000, 40_010), 10), ((40_000, 40_000), 1), ((0, 40_009), 7_242), ((100, 200), 28_232)],
)
def test_the_range_of_a_socket_counts_where_it_lies_inside_the_other(asked: tuple[int, int], capacity: int) -> None:
    way = replace(BOUND, strategy=Strategy.LATE_RANGE, ports=asked)
    ports = account(way).ports
    assert ports
    assert ports.capacity == capacity


@pytest.mark.parametrize(("named", "count", "capacity"), [(1, 5, 1), (1, 1, None), (3, 5, None)])
def test_of_ports_that_a_program_names_only_one_that_returns_is_counted(
    named: int, count: int, capacity: int | None
) -> None:
    way = replace(BOUND, strategy=Strategy.EXPLICIT, source_port=40_000, named=named, named_range=(40_000, 40_002))
    ports = account(replace(way, count=count)).ports
    assert ports
    assert (ports.capacity, ports.ports, ports.scope) == (capacity, None, PortScope.PAIR)


def test_the_first_data_with_the_syn_ends_in_the_call_that_sends_it() -> None:
    sent = replace(WAY, beside=("Fast Open",), calls=("socket() = 3", "sendto(3, ..., MSG_FASTOPEN) = 1"))
    assert account(sent).ends_with == "sendto EADDRNOTAVAIL"
    assert account(replace(WAY, beside=("Fast Open",))).ends_with == "connect EADDRNOTAVAIL"


@pytest.mark.parametrize(
    ("strategy", "sysctls", "rest_s"),
    [
        (Strategy.KERNEL, {"net.ipv4.tcp_tw_reuse": "2"}, 60.0),
        (Strategy.KERNEL, {"net.ipv4.tcp_tw_reuse": "1"}, 1.0),
        (Strategy.KERNEL, {"net.ipv4.tcp_tw_reuse": "1", "net.ipv4.tcp_timestamps": "0"}, 60.0),
        (Strategy.BIND, {"net.ipv4.tcp_tw_reuse": "1"}, 60.0),
        (Strategy.EXPLICIT, {"net.ipv4.tcp_tw_reuse": "0"}, 0.0),
    ],
)
def test_how_long_a_port_rests_depends_on_the_strategy_and_the_settings_here(
    strategy: Strategy, sysctls: dict[str, str], rest_s: float
) -> None:
    assert account(replace(BOUND, strategy=strategy), sysctls=sysctls).rest_s == rest_s


def test_on_loopback_a_port_is_free_again_after_a_second() -> None:
    loopback = replace(BOUND, source="127.0.0.2", target="127.0.0.1")
    assert account(loopback, sysctls={"net.ipv4.tcp_tw_reuse": "2"}).rest_s == 1.0


def test_short_connections_end_in_time_wait_unless_the_other_side_closes() -> None:
    churn = replace(WAY, count=9, closed=9, open_max=1)
    found = account(churn)
    assert found.limit == "time-wait"
    assert found.churn_per_s == 470.533
    assert any("keep connections alive" in remedy.text for remedy in found.remedies)
    assert all(remedy.gain is None for remedy in found.remedies)
    assert account(replace(churn, close=CloseMode.TARGET)).limit == "four-tuples"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Strategy.KERNEL, ["widen ip_local_port_range to 1024-65535", "add 1 target"]),
        (Strategy.BIND, ["set IP_BIND_ADDRESS_NO_PORT", "add 1 source address"]),
        (Strategy.LATE, ["add 1 source address"]),
    ],
)
def test_remedies_are_those_of_a_plan_that_meets_the_limit(strategy: Strategy, words: list[str]) -> None:
    way = BOUND if strategy.row.binds_address else WAY
    texts = [remedy.text for remedy in account(replace(way, strategy=strategy)).remedies]
    for part in words:
        assert any(part in text for text in texts), texts


def test_a_program_that_shares_no_port_is_told_how() -> None:
    way = replace(BOUND, strategy=Strategy.EXCLUSIVE, source_port=40_000, named=2, named_range=(40_000, 40_001))
    texts = [remedy.text for remedy in account(way).remedies]
    assert any("set SO_REUSEADDR before bind(address, port)" in text for text in texts)


def test_a_narrow_range_is_widened_first() -> None:
    way = replace(BOUND, strategy=Strategy.LATE_RANGE, ports=(40_000, 40_009))
    (remedy,) = account(way).remedies
    assert remedy.gain == 28_222


def test_an_early_bind_to_several_targets_gains_a_range_for_each() -> None:
    first, *_ = account(replace(BOUND, strategy=Strategy.BIND, targets=4)).remedies
    assert first.gain == 3 * 28_232


OFF = Missing("::1", MissingReason.IPV6_OFF, "lo", 128)
TO_SIX = replace(WAY, target="::1", source="", source_port=None, count=5, failed={("connect", "EADDRNOTAVAIL"): 5})


@pytest.mark.parametrize(
    ("way", "unusable"),
    [
        (TO_SIX, True),
        (replace(TO_SIX, source="::1", count=0, failed={("bind", "EADDRNOTAVAIL"): 5}), True),
        (replace(TO_SIX, count=6), False),  # one connect() found a port
        (replace(TO_SIX, failed={("connect", "ECONNREFUSED"): 5}), False),
    ],
)
def test_an_address_that_cannot_be_used_is_no_shortage_of_ports(
    monkeypatch: pytest.MonkeyPatch, way: Way, *, unusable: bool
) -> None:
    asked: list[str] = []

    def reasons(addresses: Sequence[str], *, freebind: bool) -> tuple[Missing, ...]:  # noqa: ARG001 - as the original
        asked.extend(addresses)
        return (OFF,)

    monkeypatch.setattr("loadgen.kernel.missing.reasons", reasons)
    monkeypatch.setattr("loadgen.trace.account._facts", lambda *_: HostFacts(**{**FACTS, "default_sources": ("",)}))
    (found,) = of_ways([way], {})
    assert bool(found.unusable) is unusable
    assert asked == (["::1"] if unusable else [])
    if unusable:
        assert found.limit == "source-address"
        assert "IPv6 is off" in found.unusable
        assert found.remedies[0].text.startswith("use 127.0.0.1")
