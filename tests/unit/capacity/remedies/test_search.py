"""Remedies for the kernel's search: each with the share of the ports that would be in use, and none for more cores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadgen.capacity.remedies import Remedy
from loadgen.capacity.time_wait import ceiling
from loadgen.model import Churn, Strategy, Traffic

from .situations import HOST, ONE, sentences_of, values_of

KERNEL = replace(ONE, strategy=Strategy.KERNEL, routes=("127.0.0.2",), connections=28_000)


def searched(plan: Any = KERNEL, **known: Any) -> list[Remedy]:
    return values_of(plan, 0, limit="port-search", **known)


def test_a_search_is_avoided_or_shortened() -> None:
    strategies = [remedy.set.get("sources.strategy") for remedy in searched()]
    assert strategies == ["late-range", None, None, None, "explicit", "exclusive"]
    assert not any("core" in text for text in sentences_of(KERNEL, 0, limit="port-search"))


def test_each_says_which_share_of_the_ports_it_leads_to() -> None:
    """28,000 of 28,232 ports: half of that with twice the ports, 43 % of the widest range."""
    claims = [remedy.claim for remedy in searched() if remedy.claim]
    assert [(round(claim.before or 0, 3), round(claim.after or 0, 3)) for claim in claims] == [
        (0.992, 0.496),
        (0.992, 0.496),
        (0.992, 0.434),
    ]


@pytest.mark.parametrize("strategy", [Strategy.BIND, Strategy.LATE, Strategy.KERNEL, Strategy.REUSEADDR])
def test_what_is_added_keeps_the_ports_below_the_share_at_which_the_search_begins(strategy: Strategy) -> None:
    """A quarter for reuseaddr, half for the others; the widest range does what it can."""
    plan = replace(KERNEL, strategy=strategy, routes=() if strategy.row.binds_address else KERNEL.routes)
    begins_at = strategy.row.tcp.cliff_at
    assert begins_at
    added = [remedy for remedy in searched(plan) if remedy.claim and "widen" not in remedy.text]
    assert added
    assert all(remedy.claim and remedy.claim.after and remedy.claim.after <= begins_at for remedy in added)


def test_a_strategy_without_a_search_has_nothing_to_shorten() -> None:
    assert searched(replace(ONE, strategy=Strategy.LATE_RANGE)) == []


def test_in_churn_ports_that_rest_are_in_use_too() -> None:
    """And exclusive, which never takes a port out of TIME-WAIT, is no remedy."""
    churn = Churn(10.0)
    plan = replace(KERNEL, connections=64, churn=churn, traffic=Traffic("http"))
    plan = replace(plan, ceiling=ceiling(plan, churn, HOST["sysctls"]))
    found = searched(plan, time_wait=20_000)
    assert "exclusive" not in [remedy.set.get("sources.strategy") for remedy in found]
    assert {"churn.exchanges": 10} in [remedy.set for remedy in found]
    (reset,) = (remedy for remedy in found if remedy.set == {"close": "rst"})
    assert reset.claim
    assert (reset.claim.before, reset.claim.after) == (20_064 / 28_232, 64 / 28_232)
