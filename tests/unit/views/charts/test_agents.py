"""Open connections of each agent over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loadgen.model import AgentPlan
from loadgen.views.charts.agents import AGENTS_SHOWN_MAX, opened
from tests import samples

TARGETS = samples.plan().targets[:1]
ONE = replace(samples.plan({"sources": ["127.0.1.1", "127.0.1.2"]}), targets=TARGETS)
OTHER = replace(samples.plan({"sources": ["127.0.1.1"]}), targets=TARGETS)
PLAN = replace(ONE, agents=(AgentPlan("a", ONE), AgentPlan("b", OTHER)))
T_S = np.array([0.5, 1.0])


def test_the_pairs_of_each_agent_are_added_up() -> None:
    chart = opened(T_S, [np.array([1.0, 2.0, 10.0]), np.array([3.0, 4.0, 20.0])], PLAN)
    assert chart is not None
    assert [each["label"] for each in chart["series"]] == ["a", "b"]
    assert chart["y"] == [[3, 7], [10, 20]]
    assert "b had at most 20" in chart["label"]


def test_a_line_that_says_nothing_of_pairs_is_left_out() -> None:
    chart = opened(T_S, [np.array([]), np.array([3.0, 4.0, 20.0])], PLAN)
    assert chart is not None
    assert (chart["x"], chart["y"]) == ([1], [[7], [20]])


def test_many_agents_are_three_lines() -> None:
    count = AGENTS_SHOWN_MAX + 1
    many = replace(PLAN, agents=tuple(AgentPlan(f"h{n}", OTHER) for n in range(count)))
    chart = opened(T_S, [np.arange(float(count))] * 2, many)
    assert chart is not None
    assert [each["label"] for each in chart["series"]] == ["least", "median", "most"]
    assert chart["y"] == [[0, 0], [4, 4], [8, 8]]


def test_a_run_of_one_host_has_none() -> None:
    assert opened(T_S, [np.array([1.0, 2.0])] * 2, ONE) is None
    assert opened(np.array([]), [], PLAN) is None


def test_an_agent_that_only_listens_has_no_line() -> None:
    """Wherever it stands among the others: it has no pairs."""
    serving = replace(ONE, sources=(), workers=0, guests=9)
    agents = (AgentPlan("c", serving), *PLAN.agents, AgentPlan("d", serving))
    lines = [np.array([1.0, 2.0, 10.0])] * 2
    with_them, without = opened(T_S, lines, replace(PLAN, agents=agents)), opened(T_S, lines, PLAN)
    assert with_them == without
