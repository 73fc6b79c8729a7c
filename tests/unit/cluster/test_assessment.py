"""The plan of the whole: the limit of the agent with least room, and the connections that fit in all."""

from __future__ import annotations

from typing import Any

from loadgen.cluster.assessment import whole_of


def report(
    connections: int, at: int | None, limit: str | None = "four-tuples", refused: str | None = None
) -> dict[str, Any]:
    possible = at is not None and at >= connections
    return {"possible": possible, "connections": connections, "at_connections": at, "limit": limit, "refused": refused}


def test_where_all_fit_the_first_limit_is_that_of_least_room() -> None:
    whole = whole_of("s", [("a", report(100, 500)), ("b", report(100, 300, "descriptors"))])
    assert (whole["schema"], whole["scenario"], whole["possible"]) == ("loadgen.plan/1", "s", True)
    assert (whole["limit"], whole["at_connections"], whole["connections"]) == ("descriptors", 800, 200)
    assert whole["verdict"] == "possible: 200 connections on 2 agents; the first limit would be descriptors on b"
    assert [row["agent"] for row in whole["agents"]] == ["a", "b"]


def test_where_one_is_short_the_others_take_their_shares() -> None:
    whole = whole_of("s", [("a", report(100, 500)), ("b", report(100, 60)), ("c", report(100, 90))])
    assert (whole["possible"], whole["limit"], whole["at_connections"]) == (False, "four-tuples", 250)
    assert whole["verdict"] == (
        "impossible on b, c (2 of 3 agents): four-tuples end at 250 of 300 connections, first on b"
    )


def test_an_agent_that_could_not_be_assessed_says_why() -> None:
    refused = report(100, None, None, "no route to 10.9.9.9")
    whole = whole_of("s", [("a", report(100, 500)), ("b", refused)])
    assert (whole["possible"], whole["at_connections"], whole["limit"]) == (False, None, None)
    assert whole["verdict"] == "impossible on b (1 of 2 agents): no route to 10.9.9.9"
