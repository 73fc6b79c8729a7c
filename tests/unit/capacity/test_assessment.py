"""The assessment of a plan: the limit that is met first, its verdict, and when a run is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.capacity import Allowances
from loadgen.errors import CapacityError
from loadgen.model import PortRange

from .samples import addresses, assessed, churned, plan, refused


@settings(max_examples=100)
@given(
    st.integers(1, 3_000),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(60, 500),
    st.integers(0, 5_000),
    st.integers(10_000_000, 200_000_000),
    st.sampled_from(["late-range", "late", "bind", "explicit"]),
    st.sampled_from(["", "workers: 2", "sinks: 1", "workers: 3\nsinks: 2"]),
    st.booleans(),
)
def test_the_first_limit_is_where_a_plan_begins_to_be_refused(
    connections: int,
    sources: int,
    ports: int,
    descriptors: int,
    files: int,
    memory: int,
    strategy: str,
    more: str,
    sink: bool,
) -> None:
    """What is called possible is planned, what is not is refused for that very reason, and what fits before it fits."""
    options: dict[str, Any] = {
        "strategy": strategy,
        "sink": sink,
        "more": more,
        "port_range": PortRange(40_000, 39_999 + ports),
        "descriptors": descriptors,
        "files_free": files,
        "memory_available_bytes": memory,
    }
    found = assessed(connections, addresses(sources), **options)
    first = found.first
    assert first.at is not None
    assert found.possible == (found.refusal is None) == (not first.short)
    assert found.prediction.possible == found.possible
    if found.possible:
        assert connections <= first.at
        assert plan(connections, addresses(sources), **options) == found.plan
        assert found.verdict.startswith("possible; the first limit would be ")
        return
    error = refused(connections, addresses(sources), **options)
    assert first.shortage
    assert str(error) == str(found.refusal)
    assert isinstance(found.refusal, CapacityError)
    assert (found.refusal.resource, found.refusal.needed) == (first.shortage.resource, first.shortage.needed)
    assert found.verdict.startswith("impossible: ")
    assert first.at < connections
    if first.at and first.name in ("four-tuples", "descriptors of the host", "memory, bytes"):
        # Fewer connections may need fewer processes, never more.
        assert assessed(first.at, addresses(sources), **options).first.name != first.name or (
            assessed(first.at, addresses(sources), **options).possible
        )


def test_a_verdict_names_the_limit_and_where_it_is() -> None:
    assert assessed(28_000).verdict == (
        "possible; the first limit would be four-tuples at 28,232 connections (you ask for 28,000)"
    )
    assert assessed(60_000).verdict == "impossible: four-tuples end at 28,232 of 60,000 connections"
    scheduled = assessed(60_000, more="arrival: {rate: 20000/s}")
    assert scheduled.verdict == "impossible: four-tuples end at 28,232 of 60,000 connections, in second 1.4"
    assert scheduled.prediction.at_s == pytest.approx(28_233 / 20_000, abs=1e-3)
    assert assessed(28_000, more="arrival: {rate: 20000/s}").prediction.at_s is None


def test_the_nearer_of_two_limits_is_the_first() -> None:
    both = assessed(60_000, files_free=20_000)
    assert (both.first.name, both.first.at) == ("descriptors of the host", 20_000)
    assert [resource.name for resource in both.in_order[:2]] == ["descriptors of the host", "four-tuples"]
    assert str(both.refusal).startswith("descriptors of the whole host (fs.file-max): need 60,000, have 20,000")


def test_a_strategy_that_binds_early_runs_out_of_source_ports() -> None:
    found = assessed(60_000, targets=("127.0.0.1:9000", "127.0.0.1:9001"), strategy="bind")
    assert (found.prediction.limit, found.prediction.at) == ("source-ports", 28_232)
    assert assessed(60_000, targets=("127.0.0.1:9000",)).prediction.limit == "four-tuples"


def test_force_excuses_walls_that_a_run_survives_and_no_others() -> None:
    force = Allowances(in_lab=True, force=True)
    assert assessed(28_233, allowances=force).refusal is None
    assert not assessed(28_233, allowances=force).possible
    assert assessed(2_000, more="workers: 1", descriptors=500, allowances=force).refusal is None
    for name, little in (("memory_available_bytes", 1), ("files_free", 50), ("descriptors", 60)):
        short: dict[str, Any] = {name: little}
        assert isinstance(assessed(100, allowances=force, **short).refusal, CapacityError)
    missing = assessed(missing_sources=("10.0.0.1",))
    assert str(missing.refusal) == str(missing.absent)
    assert missing.verdict.startswith("impossible: source address 10.0.0.1 is not on this host; add it with: ip addr")


def test_in_an_open_loop_the_concurrency_is_a_bound_and_asks_for_no_port() -> None:
    text = "churn: {{duration: 2s, concurrency: {0}}}\narrival: {{rate: 10/s}}\nclose: rst"
    for concurrency in (100, 101, 5_000):
        found = churned(text.format(concurrency))
        assert (found.refusal, found.possible) == (None, True)
        assert found.verdict == (
            f"possible; the first limit would be four-tuples at 100 connections at a time "
            f"(at most {concurrency:,} are open)"
        )
    closed = churned("churn: {duration: 2s, concurrency: 101}\nclose: rst")
    assert str(closed.refusal).startswith("four-tuples: need 101, have 100")


def test_in_a_closed_loop_the_ceiling_is_told_and_nothing_is_impossible() -> None:
    found = churned("churn: {duration: 2s, concurrency: 8}", tcp_tw_reuse="0")
    assert found.possible
    assert found.verdict == (
        "possible; the first limit would be TIME-WAIT: after 100 connections every port has been used once, "
        "and 1.67/s can go on for ever"
    )
    assert churned("churn: {duration: 2s, concurrency: 8}\nclose: rst").verdict == (
        "possible; the first limit would be four-tuples at 100 connections at a time (you ask for 8)"
    )
    assert not churned("churn: {duration: 2s, concurrency: 101}\nclose: rst").possible
