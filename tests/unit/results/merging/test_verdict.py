"""The verdict on the whole: that of the agents which met a limit of their own, or that on the sums."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from loadgen.results import summary as summaries
from loadgen.results.merging.verdict import decide, of_one_host
from loadgen.results.schema.run import AgentResult, VerdictResult
from tests import samples


def agent(
    name: str, limit: str = "none", established: int = 150, confidence: str = "certain", **more: Any
) -> AgentResult:
    whole = samples.summary(
        {"outcomes.established": established, "verdict.limit": limit, "verdict.text": f"{limit} text."}
    )
    found = summaries.share_of(name, f"agents/{name}", whole, error_ms=None)
    return structs.replace(found, verdict=structs.replace(found.verdict, confidence=confidence, **more))


def of_sums(limit: str = "none") -> VerdictResult:
    return structs.replace(samples.summary().verdict, limit=limit, text=f"Sums: {limit}.", observed=300, predicted=400)


def test_no_limit_anywhere_is_no_limit() -> None:
    assert decide(of_sums(), samples.summary(), [agent("a"), agent("b")]) == of_sums()


def test_a_limit_of_one_host_is_told_with_the_agents_that_met_it() -> None:
    wall = agent("b", "four-tuples", 100, evidence=("connect EADDRNOTAVAIL 50 times",))
    verdict = decide(of_sums("four-tuples"), samples.summary(), [agent("a"), wall, agent("c")])
    assert (verdict.limit, verdict.confidence, verdict.observed, verdict.predicted) == (
        "four-tuples",
        "certain",
        300,
        400,
    )
    assert verdict.text == "Agent b (1 of 3) met a limit. b: four-tuples text."
    assert verdict.evidence == ("b: connect EADDRNOTAVAIL 50 times",)


def test_of_different_limits_the_one_that_cost_most_is_named_and_the_others_are_findings() -> None:
    met = [agent("a", "descriptors", 140), agent("b", "four-tuples", 10), agent("c", "four-tuples", 20)]
    verdict = decide(of_sums("four-tuples"), samples.summary(), met)
    assert verdict.limit == "four-tuples"
    assert verdict.text.startswith("Agents b and c (2 of 3) met a limit. b: four-tuples text.")
    assert verdict.findings[0] == "Agent a (1 of 3) met descriptors: descriptors text."


def test_a_limit_of_the_target_is_that_of_the_sums_which_see_both_sides() -> None:
    met = [
        agent("a", "blackhole", 100, "open", candidates=("backlog", "blackhole")),
        agent("b", "blackhole", 90, "open", candidates=("backlog", "blackhole")),
    ]
    verdict = decide(of_sums("backlog"), samples.summary(), met)
    assert (verdict.limit, verdict.confidence) == ("backlog", of_sums().confidence)
    assert verdict.text == "Sums: backlog.", "which decides what was open to each of them"
    other = agent("c", "refused", 5)
    verdict = decide(of_sums("backlog"), samples.summary(), [*met, other])
    assert verdict.text.startswith("Sums: backlog. Agent c (1 of 3) met refused:")
    certain = [agent(name, "blackhole", 100) for name in "ab"]
    verdict = decide(of_sums("backlog"), samples.summary(), certain)
    assert verdict.text.startswith("Sums: backlog. Every agent met blackhole:")


def test_where_the_sums_tell_nothing_more_the_agents_speak() -> None:
    met = [agent("a", "blackhole", 100, "open", candidates=("backlog", "syn-loss")), agent("b")]
    verdict = decide(of_sums("none"), samples.summary(), met)
    assert (verdict.limit, verdict.confidence, verdict.candidates) == ("blackhole", "open", ("backlog", "syn-loss"))


def test_the_least_sure_agent_says_how_sure_the_whole_is() -> None:
    met = [agent("a", "time-wait", 10, "certain"), agent("b", "time-wait", 20, "likely")]
    assert decide(of_sums("time-wait"), samples.summary(), met).confidence == "likely"


def test_a_run_that_was_cut_off_was_cut_off_whatever_its_agents_met() -> None:
    cut = samples.summary({"complete": False, "incomplete_because": "agent b was lost"})
    verdict = decide(of_sums("incomplete"), cut, [agent("a", "four-tuples", 10), agent("b")])
    assert verdict.limit == "incomplete"
    assert verdict.findings[0].startswith("Agent a (1 of 2) met four-tuples")


def test_many_agents_are_named_shortly() -> None:
    met = [agent(f"h{n:02}", "four-tuples", n) for n in range(20)] + [agent("fine")]
    assert (
        "Agents h00, h01, h02, h03, h04 and 15 more (20 of 21) met"
        in decide(of_sums("four-tuples"), samples.summary(), met).text
    )


@pytest.mark.parametrize(
    ("limit", "alone"), [("four-tuples", True), ("generator", True), ("backlog", False), ("refused", False)]
)
def test_a_port_range_is_an_agents_and_a_backlog_is_the_targets(limit: str, alone: bool) -> None:
    assert of_one_host(limit) is alone
