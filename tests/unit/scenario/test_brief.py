"""A run in options becomes a valid scenario, and a mistake in it is told with the option that has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.errors import ScenarioError, UsageError
from loadgen.model import Strategy, Topology
from loadgen.scenario.brief import Brief, default_strategy, lab_source, lab_topology, write

HELD = Brief(name="open", target="127.0.0.1:9000", sources=("127.0.0.2-9",), connections=500)
CHURN = Brief(name="churn", target="127.0.0.1:9000", sources=("127.0.0.2",), duration="3s", concurrency=7)


def told(brief: Brief, *overrides: str) -> str:
    """The mistakes of a brief that is not valid."""
    written = write(brief, "Of a test.")
    with pytest.raises(ScenarioError) as caught:
        scenarios.parse(written.text, "it", overrides)
    return str(written.mistake(caught.value, "it"))


def test_every_option_of_held_connections_is_in_the_scenario() -> None:
    brief = replace(HELD, strategy="late", hold="1m30s", rate="5000/s", lab=True)
    scenario = scenarios.parse(write(brief, "Of a test.").text)
    assert (scenario.name, scenario.connections, scenario.hold_s) == ("open", 500, 90.0)
    assert scenario.sources.expanded == tuple(f"127.0.0.{last}" for last in range(2, 10))
    assert scenario.sources.strategy is Strategy.LATE
    assert scenario.arrival
    assert scenario.arrival.rate_per_s == 5000.0
    assert scenario.lab
    assert scenario.lab.topology is Topology.LOOPBACK
    assert scenario.targets[0].sink
    assert scenario.expect == ()


def test_every_option_of_churn_is_in_the_scenario() -> None:
    scenario = scenarios.parse(write(replace(CHURN, expects_none_failed=True), "Of a test.").text)
    assert scenario.churn
    assert (scenario.churn.duration_s, scenario.churn.concurrency) == (3.0, 7)
    assert (scenario.lab, scenario.arrival, scenario.targets[0].sink) == (None, None, False)
    assert [each.text for each in scenario.expect] == ["outcomes.failed == 0"]


@pytest.mark.parametrize("sources", [("127.0.0.2", "eth0"), ("::1",), ("10.0.0.0/28", "10.1.0.1-9")])
def test_sources_are_kept_as_they_are_written(sources: tuple[str, ...]) -> None:
    target = "[::1]:9000" if sources == ("::1",) else "10.9.0.1:9000"
    assert scenarios.parse(write(replace(HELD, sources=sources, target=target), "x").text).sources.addresses == sources


@given(name=st.text(max_size=20), rate=st.text(max_size=8), hold=st.text(max_size=8), source=st.text(max_size=20))
def test_no_text_of_an_option_becomes_another_key(name: str, rate: str, hold: str, source: str) -> None:
    """Whatever is written: it is the value of its key, or a mistake of an option, and never YAML of its own."""
    written = write(replace(HELD, name=name, rate=rate, hold=hold, sources=(source,)), "x")
    told = ""
    try:
        scenario = scenarios.parse(written.text, "it")
    except ScenarioError as error:
        told = str(written.mistake(error, "it"))
    else:
        assert (scenario.name, scenario.sources.addresses) == (name, (source,))
    assert all(line.startswith(("NAME: ", "--rate: ", "--hold: ", "--from: ")) for line in told.splitlines())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"connections": 0}, "--connections: write at least 1; got 0"),
        ({"hold": "5"}, '--hold: write 30s, 2m or 500ms; got "5"'),
        ({"rate": "fast"}, "--rate: "),
        ({"strategy": "lat"}, '--strategy: unknown word "lat"; did you mean "late"?'),
        ({"sources": ("10.0.0.256",)}, "--from: each number of an IPv4 address goes from 0 to 255"),
        ({"sources": ("::1",)}, "HOST:PORT: no source address is IPv4; add one to --from"),
        ({"name": "a/b"}, "NAME: write 1 to 64 letters"),
        ({"target": "198.18.0.1:80", "lab": True}, "--from: a veth lab takes addresses of 198.18.0.0/15"),
    ],
)
def test_a_mistake_names_its_option(changes: dict[str, Any], message: str) -> None:
    said = told(replace(HELD, **changes))
    assert said.startswith(message)
    assert "sources.addresses" not in said


def test_mistakes_of_churn_name_their_options() -> None:
    assert told(replace(CHURN, duration="1x")).startswith("--for: write 30s")
    assert told(replace(CHURN, concurrency=0)).startswith("--concurrency: write at least 1")
    assert told(replace(CHURN, rate="1/h")).startswith("--for: 0 connections are due in that time")


def test_all_mistakes_are_told_at_once() -> None:
    assert [line.split(":")[0] for line in told(replace(HELD, hold="1", connections=0)).split("\n")] == [
        "--connections",
        "--hold",
    ]


def test_a_mistake_of_set_keeps_its_place() -> None:
    assert told(HELD, "hold=1x").startswith("--set hold=1x: ")


@pytest.mark.parametrize(
    ("target", "topology", "source"),
    [
        ("127.0.0.1:9000", "loopback", "127.0.0.1"),
        ("[::1]:9000", "loopback", "::1"),
        ("198.18.0.1:9000-9009", "veth", "198.18.0.2"),
        ("198.19.0.1:9000", "veth", "198.18.0.1"),
        ("[fd00::1]:9000", "veth", "fd00::2"),
        ("[2001:2::7]:9000", "veth", "2001:2::1"),
    ],
)
def test_a_lab_is_made_for_the_target(target: str, topology: str, source: str) -> None:
    assert (lab_topology(target), lab_source(target)) == (topology, source)
    brief = replace(HELD, target=target, sources=(source,), strategy="kernel", lab=True)
    scenario = scenarios.parse(write(brief, "x").text)
    assert scenario.lab
    assert scenario.lab.topology == topology


@pytest.mark.parametrize("target", ["10.0.0.1:9000", "redis.internal:6379", "[fe80::1%eth0]:80"])
def test_no_lab_has_other_targets(target: str) -> None:
    with pytest.raises(UsageError, match="--lab: a lab has no"):
        lab_topology(target)


def test_without_sources_the_kernel_chooses() -> None:
    assert (default_strategy(()), default_strategy(("127.0.0.2",))) == ("kernel", "")


def test_comments_say_why_an_address_stands_there() -> None:
    text = write(replace(HELD, sources=("10.0.0.5",), found="routing picks it for 10.0.0.7"), "Head.\nMore.").text
    assert text.startswith("# Head.\n# More.\nname: open\n")
    assert "  # Routing picks it for 10.0.0.7.\n  addresses: 10.0.0.5\n" in text
