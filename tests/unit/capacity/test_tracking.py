"""Entries of connection tracking that a plan needs: held connections, and churn whose entries stay after the close."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.capacity import Assessment, assess, tracking
from loadgen.capacity.resources import TRACKING, Resource
from loadgen.kernel.host import HostFacts
from loadgen.model import CloseMode, PortRange, Transport
from tests.plans import plan_of

from .samples import FACTS, FIN_ACROSS, LAB, assessed


def settings(count: int, size: int, **more: int) -> dict[str, str]:
    return {f"net.netfilter.nf_conntrack_{key}": str(n) for key, n in {"count": count, "max": size, **more}.items()}


def table(found: Assessment) -> Resource | None:
    return next((resource for resource in found.resources if resource.name == TRACKING), None)


def churned(more: str, size: int = 50, **facts: Any) -> Assessment:
    """Churn with 100 ports on a host that tracks; its table has room for `size`."""
    facts = {"tracks_connections": True, "sysctls": settings(0, size), **facts}
    host = HostFacts(**{**FACTS, "port_range": PortRange(40_000, 40_099), **facts})
    return assess(scenarios.parse(FIN_ACROSS + more), ("198.18.0.1",), host, LAB)


@pytest.mark.parametrize("tracked", [True, None])
def test_what_is_tracked_already_leaves_less_room(*, tracked: bool | None) -> None:
    found = assessed(101, sysctls=settings(10, 110), tracks_connections=tracked)
    assert (found.prediction.limit, found.prediction.at, found.refusal) == ("conntrack", 100, None)
    assert not found.possible


def test_an_empty_table_counts_where_a_rule_tracks() -> None:
    found = assessed(111, sysctls=settings(0, 110), tracks_connections=True)
    assert (found.prediction.limit, found.prediction.at) == ("conntrack", 110)
    assert table(assessed(111, sysctls=settings(0, 110), tracks_connections=False)) is None
    assert table(assessed(111, tracks_connections=True)) is None  # a kernel without the table
    assert table(assessed(111, sysctls=settings(0, 0), tracks_connections=True)) is None  # 0: no maximum


def test_an_empty_table_that_may_be_of_no_use_is_shown_and_limits_nothing() -> None:
    found = assessed(111, sysctls=settings(0, 110), tracks_connections=None)
    row = table(found)
    assert row
    assert (row.needed, row.available, row.at, row.short) == (None, 110, None, False)
    assert "not known" in row.note
    assert found.possible


@pytest.mark.parametrize(
    ("close", "transport", "name", "default"),
    [
        (CloseMode.FIN, Transport.TCP, "tcp_timeout_time_wait", 120),
        (CloseMode.TARGET, Transport.TCP, "tcp_timeout_time_wait", 120),
        (CloseMode.RST, Transport.TCP, "tcp_timeout_close", 10),
        (CloseMode.FIN, Transport.UDP, "udp_timeout", 30),
    ],
)
def test_an_entry_stays_as_long_as_its_last_state_says(
    close: CloseMode, transport: Transport, name: str, default: int
) -> None:
    plan = plan_of(close=close, transport=transport)
    assert tracking.timeout_name(plan) == f"net.netfilter.nf_conntrack_{name}"
    assert tracking.remembered_s(plan, HostFacts(**FACTS)) == default
    assert tracking.remembered_s(plan, HostFacts(**{**FACTS, "sysctls": settings(0, 1, **{name: 7})})) == 7


def test_a_closed_loop_has_a_rate_that_can_go_on() -> None:
    found = churned("churn: {duration: 50s, concurrency: 8}\nclose: target")
    row = table(found)
    assert row
    assert (row.needed, row.available, row.at) == (None, 50, 50)
    assert row.per_s == pytest.approx(50 / 120)
    assert found.possible
    assert found.verdict == (
        "possible; the first limit would be connection tracking: after 50 connections the table is full, "
        "and 0.417/s can go on for ever"
    )
    assert "each entry stays 120 s" in row.note
    assert churned("churn: {duration: 50s, concurrency: 8}\nclose: rst").verdict.endswith("5/s can go on for ever")


OPEN = "churn: {duration: 10s, concurrency: 8}\narrival: {rate: RATE/s}\nclose: rst"


def test_an_open_loop_says_which_connection_finds_the_table_full() -> None:
    """20/s, each kept for 10 s: 200 entries, and room for 50."""
    found = churned(OPEN.replace("RATE", "20"))
    row = table(found)
    assert row
    assert (row.needed, row.available, row.at, row.short) == (100, 50, 50, True)  # 100 four-tuples are all there are
    assert (found.prediction.limit, found.prediction.possible, found.prediction.at_s) == ("conntrack", False, 2.55)
    assert found.verdict == (
        "impossible: the connection tracking table is full after 50 of 200 connections, in second 2.5; "
        "5/s can go on for ever"
    )
    assert found.refusal is None  # churn is not refused for a limit that it exists to measure


def test_an_open_loop_below_the_rate_fits() -> None:
    found = churned(OPEN.replace("RATE", "4"))
    row = table(found)
    assert row
    assert (row.needed, row.short) == (40, False)
    assert found.verdict == (
        "possible; the first limit would be connection tracking: 40 of 50 are in use or kept at a time; "
        "5/s can go on for ever"
    )


def test_no_more_entries_than_four_tuples() -> None:
    """A connection on the four-tuple of an old entry takes its place."""
    found = churned("churn: {duration: 50s, concurrency: 8}\nclose: target", size=100)
    row = table(found)
    assert row
    assert (row.needed, row.available, row.at) == (100, 100, None)
    assert found.prediction.limit == "four-tuples"
