"""Remedies for descriptors, tables and translation of this host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.capacity.resources import NEIGHBOURS
from loadgen.model import Churn, CloseMode, Endpoint, Target

from .situations import HOST, ONE, TARGETS, sentences_of, values_of

TABLE = {"net.netfilter.nf_conntrack_max": "262144", "net.netfilter.nf_conntrack_count": "144"}


def test_a_limit_the_scenario_set_itself_is_to_be_left_out() -> None:
    host = {**HOST, "descriptors": 20_000}
    (lowered, *_) = values_of(replace(ONE, descriptor_limit=300, connections=200), 9, host, "descriptors")
    assert lowered.sentence == "leave `descriptors: 300` out of the scenario: 19,700 more in each worker"
    assert lowered.set == {"descriptors": 20_000}
    (workers, *_) = values_of(ONE, 9, host, "descriptors")
    assert workers.sentence == f"use `workers: 2`, or leave it out: +{28_232 - 19_936:,}"
    assert workers.set == {"workers": 2}


def test_without_a_limit_of_its_own_a_worker_is_told_of_the_hard_limit() -> None:
    """Beside more workers: which of the two can be had, the user knows."""
    lines = sentences_of(replace(ONE, workers=1), 100, {**HOST, "descriptors": 20_000}, limit="descriptors")
    assert "raise the hard limit of open files (ulimit -Hn, now 20,000; docker run --ulimit nofile=NUMBER)" in lines


# --- Connection tracking --------------------------------------------------------------------------

#: Sixteen times the default range, more than the table has entries.
OWN = (Target(TARGETS[0].endpoint, sink=True),)
CHURN = replace(
    ONE, targets=OWN, sources=tuple(f"127.0.1.{n}" for n in range(1, 17)), churn=Churn(50.0), close=CloseMode.TARGET
)


def test_closed_connections_that_the_table_remembers_are_a_ceiling() -> None:
    """262,000 entries, each kept for 120 s by default; a tenth or twelfth of that with the remedies."""
    tracked = values_of(CHURN, 0, {**HOST, "sysctls": TABLE}, "conntrack")
    claims = {remedy.text.partition(":")[0]: remedy.claim for remedy in tracked if remedy.claim}
    sooner, reset, larger, alive = claims.values()
    assert [claim.before for claim in claims.values() if claim] == [pytest.approx(262_000 / 120, abs=0.01)] * 4
    assert sooner
    assert reset
    assert larger
    assert alive
    assert (sooner.after, reset.after) == (26_200.0, 26_200.0)
    assert larger.after is None  # 524,144 entries: one for each four-tuple
    assert alive.after == pytest.approx(10 * 262_000 / 120, abs=0.1)


def test_entries_end_as_soon_as_the_schedule_asks_for() -> None:
    """5,000/s of 262,000 entries: none may stay longer than 52 s."""
    plan = replace(CHURN, churn=Churn(50.0, arrivals=250_000))
    (sooner, *_) = values_of(plan, 0, {**HOST, "sysctls": TABLE}, "conntrack")
    assert sooner.sysctls == {"net.netfilter.nf_conntrack_tcp_timeout_time_wait": "52"}


def test_a_table_grows_to_a_power_of_two_with_room_for_the_plan() -> None:
    (larger, untracked) = values_of(replace(ONE, connections=600_000), 9, {**HOST, "sysctls": TABLE}, "conntrack")
    assert larger.command == "sysctl -w net.netfilter.nf_conntrack_max=1048576"
    assert larger.gain == 1_048_576 - 262_144
    assert "notrack" in untracked.text


def test_each_further_target_has_translated_ports_of_its_own() -> None:
    """A hundred of 150 connections opened, which is what the rule has ports for."""
    *_, target = values_of(replace(ONE, connections=150), 50, limit="nat-ports")
    assert target.gain == 100


def test_a_table_of_neighbours_has_to_exceed_the_addresses() -> None:
    plan = replace(ONE, sources=tuple(f"10.1.{n // 250}.{n % 250}" for n in range(3_000)), targets=TARGETS)
    (larger, *_) = values_of(plan, 9, limit="neighbours")
    assert larger.command == "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096"
    assert "3,000" in sentences_of(plan, 9, limit="neighbours")[0]


# --- Neighbours -----------------------------------------------------------------------------------

SEGMENT = replace(
    ONE,
    sources=tuple(f"198.18.{n // 250}.{n % 250 + 1}" for n in range(1_200)),
    targets=(Target(Endpoint("198.19.0.1", 9000), sink=True),),
    connections=1_200,
)
ON_LINK = {**HOST, "next_hops": ["198.19.0.1"], "sysctls": {"net.ipv4.neigh.default.gc_thresh3": "1024"}}


def test_a_full_table_of_this_host_is_enlarged_or_a_gateway_comes_between() -> None:
    larger, veth = values_of(SEGMENT, 180, {**ON_LINK, "sources_on_link": True}, "neighbours")
    assert larger.command.endswith("sysctl -w net.ipv4.neigh.default.gc_thresh3=4096")
    assert "now 1,024, to 4,096" in larger.text
    assert (veth.set, veth.program) == ({"lab.topology": "veth"}, None)
    for remedy in (larger, veth):
        assert remedy.claim
        assert (remedy.gain, remedy.claim.before, remedy.claim.after) == (180, 1_020, 1_200)


def test_targets_on_a_link_are_reached_through_a_gateway() -> None:
    """Where a plan says so: then the table is that of this host."""
    _, gateway = values_of(SEGMENT, 180, ON_LINK, "neighbours", resource=NEIGHBOURS)
    assert "gateway" in gateway.text
    elsewhere = sentences_of(SEGMENT, 180, ON_LINK, "neighbours")
    assert any("on the host or router whose table is full" in line for line in elsewhere)
