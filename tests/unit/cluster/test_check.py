"""The preflight: each problem with its remedy, in the table and as JSON."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from loadgen.cluster import check
from loadgen.cluster.check import AgentCheck, Preflight
from loadgen.cluster.connection import PORT, Agent, ClockDifference
from loadgen.cluster.messages import AgentFacts
from loadgen.errors import UsageError
from loadgen.model import Endpoint

OWN = {"loadgen": "0.1.0", "python": "3.11.7", "distributed": "2026.8.0", "kernel": "6.18"}
FACTS = AgentFacts(
    name="a",
    host="host-a",
    pid=1,
    versions=OWN | {"kernel": "5.15"},
    cpus=4,
    descriptors=1_048_576,
    allow=(),
    authorized=False,
    now_ns=0,
    monotonic_ns=0,
)
CLOCK = ClockDifference(monotonic_ns=7, realtime_ns=300_000, error_ns=200_000)
A = Agent("a", "tls://10.0.0.1:4")


def with_version(**versions: str) -> AgentFacts:
    return msgspec.structs.replace(FACTS, versions={**FACTS.versions, **versions})


def test_an_agent_in_order_has_no_problems() -> None:
    assert check.problems_of(FACTS, CLOCK, OWN) == ()
    assert check.problems_of(with_version(python="3.11.2"), CLOCK, OWN) == ()


@pytest.mark.parametrize(
    ("facts", "clock", "words"),
    [
        (with_version(loadgen="0.2.0"), CLOCK, "loadgen 0.2.0, and 0.1.0 at the coordinator; install the same"),
        (with_version(distributed=""), CLOCK, "distributed (none), and 2026.8.0 at the coordinator"),
        (with_version(python="3.12.1"), CLOCK, "Python 3.12.1, and 3.11.7 at the coordinator; use one version"),
        (FACTS, replace(CLOCK, realtime_ns=-2_500_000_000), "its clock is -2.5 s off; set it: timedatectl"),
        (FACTS, replace(CLOCK, error_ns=40_000_000), "known to 40 ms only"),
        (msgspec.structs.replace(FACTS, descriptors=1024), CLOCK, "may have 1,024 files open at once; start it with"),
    ],
)
def test_each_problem_has_a_remedy(facts: AgentFacts, clock: ClockDifference, words: str) -> None:
    (problem,) = check.problems_of(facts, clock, OWN)
    assert words in problem
    assert "; " in problem


def test_names_that_several_agents_have() -> None:
    assert check.same_names((A, Agent("b", "x"))) == []
    assert check.same_names((A, Agent("a", "x"), Agent("a", "y"))) == [
        "3 agents are called a; give each another --name"
    ]


def test_where_to_listen() -> None:
    assert check.place_of(None, None) == Endpoint("127.0.0.1", PORT)
    assert check.place_of("0.0.0.0:1", None) == Endpoint("0.0.0.0", 1)
    assert check.place_of(None, "tls://h:1") == "tls://h:1"
    with pytest.raises(UsageError, match="leave one out"):
        check.place_of("0.0.0.0:1", "tls://h:1")
    with pytest.raises(UsageError, match="--listen: "):
        check.place_of("here", None)


def printed(found: Preflight) -> str:
    stream = io.StringIO()
    check.render(found, Console(file=stream, width=100))
    return stream.getvalue()


def test_all_well() -> None:
    found = Preflight("tls://10.0.0.9:1", OWN, (AgentCheck(A, FACTS, CLOCK, ()),), ())
    assert found.problems == ()
    text = printed(found)
    assert "host-a  as here   5.15    +0.3 ms ±0.2  4     1,048,576  loopback, labs" in text
    assert text.endswith("1 agent, all well\n")
    assert found.to_json()["agents"][0]["clock_error_ns"] == 200_000


def test_problems_are_listed_below_the_table_with_the_name_of_the_agent() -> None:
    allowing = msgspec.structs.replace(with_version(loadgen="0.2.0"), allow=("10.0.0.0/8",), authorized=True)
    agents = (AgentCheck(A, allowing, CLOCK, ("x; y",)), AgentCheck(Agent("b", "tls://10.0.0.2:5"), None, None, ("z",)))
    found = Preflight("tls://10.0.0.9:1", OWN, agents, ("of none",))
    text = printed(found)
    assert "loadgen 0.2.0" in text
    assert "10.0.0.0/8, authorized" in text
    assert "no answer" in text
    assert "problem: of none\nproblem: a: x; y\nproblem: b: z\n2 agents, 3 problems\n" in text
    assert found.to_json()["problems"] == ["of none", "a: x; y", "b: z"]
    assert found.to_json()["agents"][1]["answers"] is False
