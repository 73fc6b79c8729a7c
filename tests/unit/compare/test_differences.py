"""What two runs were told, key by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.compare.differences import Difference, Part, between, host_of, leaves, plan_of, readable_scenario
from loadgen.compare.differences import scenario_of as read
from loadgen.control.matrix import _as_overrides, with_overrides
from loadgen.errors import ScenarioError
from loadgen.results.schema.host import Host
from tests import samples

TEXT = """\
# What it is for.
name: m
description: words
lab: {sysctls: {net.ipv4.tcp_tw_reuse: 1}}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 1_000
matrix: {connections: [1, 2]}
expect: [outcomes.failed == 0]
"""
PLAIN = {
    "name": "m",
    "lab.sysctls.net.ipv4.tcp_tw_reuse": 1,
    "targets.0.address": "127.0.0.1:9000",
    "targets.0.sink": True,
    "connections": 1000,
}

data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
)


def test_a_scenario_is_its_leaves() -> None:
    assert read(TEXT) == PLAIN


def test_options_that_stand_above_it_count() -> None:
    kept = with_overrides(["connections=7", "lab.sysctls.net.core.somaxconn=9", "hold=\n  1s"], TEXT)
    assert read(kept) == {**PLAIN, "connections": 7, "lab.sysctls.net.core.somaxconn": 9, "hold": "1s"}


def test_the_value_of_a_cell_wins_over_the_options_of_its_matrix() -> None:
    kept = _as_overrides({"connections": 2}) + with_overrides(["connections=7"], TEXT)
    assert read(kept)["connections"] == 2


def test_what_is_no_scenario_is_none() -> None:
    with pytest.raises(ScenarioError):
        read("a: [")
    assert readable_scenario("a: [") is None
    assert readable_scenario("") is None


def test_only_what_differs_is_found() -> None:
    found = between(Part.PLAN, {"a": 1, "b": 2, "c": [1]}, {"b": 3, "c": [1], "d": None})
    assert found == [
        Difference(Part.PLAN, "a", 1, None),
        Difference(Part.PLAN, "b", 2, 3),
        Difference(Part.PLAN, "d", None, None),
    ]
    assert found[0].to_json() == {"part": "plan", "key": "a", "base": 1, "other": None}


def test_words_of_a_plan_and_what_passes_on_a_host_are_no_difference() -> None:
    plan, host = samples.plan({"ports.low": 1}), samples.host({"sysctls": {"net.netfilter.nf_conntrack_count": "4"}})
    assert plan_of(plan)["ports.low"] == 1
    assert plan_of(plan) == plan_of(samples.plan({"ports.low": 1, "name": "x", "notes": ["y"], "expect": []}))
    assert host_of(host)["kernel"] == "6.18.44"
    assert not {"started_at", "memory_available_bytes", "files_free"} & host_of(host).keys()
    assert not any(key.startswith("sysctls.") for key in host_of(host))
    assert host_of(Host()) == {}


@given(st.dictionaries(st.text(min_size=1, max_size=3), data, max_size=4))
def test_nothing_differs_from_itself_and_no_leaf_is_a_mapping(found: dict[str, object]) -> None:
    flat = dict(leaves(found))
    assert between(Part.HOST, flat, flat) == []
    assert not any(isinstance(value, dict) for value in flat.values())
