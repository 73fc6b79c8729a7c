"""Entries that a plan needs of the tables of neighbours: where it connects, where sinks answer, and those of others."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity import Allowances, Assessment, assess
from loadgen.capacity.neighbours import family_met, notes, wanted
from loadgen.capacity.resources import NEIGHBOURS, NEIGHBOURS_OF_IPV6, Resource
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimit, HostLimits
from loadgen.kernel.neighbours import SIZES

from .samples import FACTS, LAB, parsed

V4, V6 = SIZES


def limits(size: int = 50, used: int = 0) -> HostLimits:
    return HostLimits(neighbours=tuple(HostLimit(size, used, name) for name in SIZES.values()))


def of_segment(
    sources: int = 1,
    targets: int = 1,
    connections: int = 0,
    more: str = "",
    *,
    known: HostLimits | None = None,
    six: bool = False,
    on_link: bool = True,
    allowances: Allowances = LAB,
    **facts: Any,
) -> Assessment:
    """A plan whose targets are on the link, and its sources, too, with loadgen's own sinks."""
    first, target = ("fd00:1::1", "fd00:2::1") if six else ("198.18.0.1", "198.19.0.1")
    ends = [str(ipaddress.ip_address(target) + n) for n in range(targets)]
    places = [f"[{end}]:9000" if six else f"{end}:9000" for end in ends]
    scenario = parsed(
        f"""
name: segment
lab: {{topology: segment}}
sources: {{addresses: "{first}-{ipaddress.ip_address(first) + sources - 1}"}}
targets: [{", ".join(f'{{address: "{place}", sink: true}}' for place in places)}]
connections: {connections or max(sources, targets)}
{more}
"""
    )
    host = HostFacts(**{**FACTS, "next_hops": tuple(ends), "sources_on_link": on_link, **facts})
    return assess(scenario, scenario.sources.expanded, host, allowances, known or limits())


def line(found: Assessment, name: str = NEIGHBOURS) -> Resource | None:
    return next((resource for resource in found.resources if resource.name == name), None)


@pytest.mark.parametrize(("sources", "targets"), [(49, 1), (1, 49), (25, 25)])
def test_what_fits_stops_no_connection(sources: int, targets: int) -> None:
    """More connections between the same addresses need no more entries."""
    found = of_segment(sources, targets, 3_000)
    row = line(found)
    assert row
    assert (row.needed, row.available, row.at, row.short) == (50, 50, None, False)
    assert found.possible
    assert not found.plan.notes


@pytest.mark.parametrize(("sources", "targets"), [(60, 1), (1, 60)])
@pytest.mark.parametrize(("used", "opened"), [(0, 49), (10, 39), (60, 0)])
def test_the_others_of_a_full_table_find_no_room(sources: int, targets: int, used: int, opened: int) -> None:
    """One entry is that of the end with one address; those that others have now may make room."""
    found = of_segment(sources, targets, known=limits(50, used))
    row = line(found)
    assert row
    assert (row.needed, row.available) == (61, max(50 - used, 0))
    assert (found.prediction.limit, found.prediction.at, found.prediction.slack) == ("neighbours", opened, used)
    assert any("whole host" in note for note in found.plan.notes)


def test_each_address_has_its_share_of_the_connections() -> None:
    assert of_segment(60, 1, 600).prediction.at == 490
    weighted = of_segment(60, 1, 600, known=limits(1000))
    assert weighted.possible


def test_who_asks_for_the_failure_may_fill_the_table() -> None:
    """Attempts beyond it fail, and others of the host are kept from it for a time, so a plain run is refused."""
    refusal = of_segment(60).refusal
    assert refusal
    assert SIZES[V4] in str(refusal)
    assert "topology: veth" in str(refusal)
    assert of_segment(60, more="expect: [outcomes.failed >= 1]").refusal is None
    assert of_segment(60, allowances=Allowances(in_lab=True, force=True)).refusal is None


def test_each_family_has_a_table_of_its_own() -> None:
    found = of_segment(60, six=True)
    row = line(found, NEIGHBOURS_OF_IPV6)
    assert row
    assert (row.needed, row.at) == (61, 49)
    assert line(found) is None
    assert family_met(found.plan, found.facts, "") == V6
    assert family_met(found.plan, found.facts, NEIGHBOURS) == V4


def test_what_rests_makes_room_in_a_long_run() -> None:
    """Entries are safe for 20 s; after that any number of the others may open."""
    long = of_segment(60, more="timeout: 21s")
    assert (long.prediction.at, long.prediction.slack) == (49, 11)
    paced = of_segment(60, more="arrival: {rate: 2/s}\ntimeout: 1s")
    assert (paced.prediction.at, paced.prediction.slack, paced.prediction.at_s) == (49, 11, 25.0)
    assert of_segment(60, more="arrival: {rate: 20/s}\ntimeout: 1s").prediction.slack == 0


def test_a_datagram_that_finds_no_room_leaves_its_socket_connected() -> None:
    row = line(of_segment(60, more="transport: udp"))
    assert row
    assert (row.needed, row.at, row.shortage) == (61, None, None)


def test_a_gateway_is_one_neighbour() -> None:
    """And no line of the plan, where there is nothing else on the link."""
    assert line(of_segment(1, 60, next_hops=("198.18.0.9",) * 60, on_link=False)) is None
    mixed = line(of_segment(1, 60, next_hops=("198.18.0.9",) * 59 + ("198.19.0.60",), on_link=False))
    assert mixed
    assert mixed.needed == 2


def test_sinks_elsewhere_have_tables_of_their_own() -> None:
    row = line(of_segment(60, 30, 1_800, on_link=False))
    assert row
    assert (row.needed, row.at) == (30, None)
    assert line(of_segment(60, 30, next_hops=("",) * 30)) is None


def test_what_cannot_be_seen_is_said() -> None:
    hidden = of_segment(60, known=HostLimits())
    assert line(hidden) is None
    assert [SIZES[V4] in note for note in hidden.plan.notes] == [True]
    assert not of_segment(60, known=HostLimits(), on_link=False).plan.notes
    unrouted = of_segment(60, next_hops=())
    assert line(unrouted) is None
    assert ["routes" in note for note in unrouted.plan.notes] == [True]
    assert list(notes(unrouted.plan, unrouted.facts, HostLimits())) == []


def test_only_addresses_that_are_connected_count() -> None:
    """Fifty of a thousand sources, one connection each."""
    found = of_segment(1000, 1, 50, known=limits(51))
    assert len(wanted(found.plan, found.facts, V4)) == 51
    assert found.possible


def test_churn_goes_through_all_addresses() -> None:
    scenario = "churn: {duration: 2s, concurrency: 8}"
    text = f"""
name: churn
lab: {{topology: segment}}
sources: {{addresses: 198.18.0.1-198.18.0.60}}
targets: [{{address: "198.19.0.1:9000", sink: true}}]
{scenario}
"""
    parsed_text = parsed(text)
    host = HostFacts(**{**FACTS, "next_hops": ("198.19.0.1",), "sources_on_link": True})
    found = assess(parsed_text, parsed_text.sources.expanded, host, LAB, limits())
    row = line(found)
    assert row
    assert (row.needed, row.short) == (61, True)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 400), st.integers(0, 60))
def test_no_more_opens_than_there_are_connections(sources: int, targets: int, connections: int, used: int) -> None:
    found = of_segment(sources, targets, connections, known=limits(50, used))
    row = line(found)
    assert row
    assert row.needed is not None
    assert 2 <= row.needed <= sources + targets
    if row.at is None:
        assert row.needed <= row.available
    else:
        assert 0 <= row.at < connections
