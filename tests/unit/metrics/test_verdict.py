"""Which limit a run met, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.metrics.outcomes import Outcome
from loadgen.metrics.verdict import decide
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target

PLAN = Plan(
    name="v",
    connections=1000,
    sources=("127.0.0.2", "127.0.0.3"),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=False), Target(Endpoint("127.0.0.1", 9001), sink=False)),
    strategy=Strategy.LATE,
    ports=PortRange(40_000, 40_199),
    skipped_ports=(),
    capacity_per_pair=200,
    stages=(),
    hold_s=0.0,
    close=CloseMode.FIN,
    timeout_s=10.0,
    in_flight_max=256,
    interval_s=0.5,
    workers=1,
    sinks=0,
)


def summary(
    *errors: tuple[str, str, str, int],
    not_started: int = 0,
    complete: bool = True,
    untrusted: str = "",
    lost: int = 0,
    hold_s: float = 0.0,
) -> dict[str, Any]:
    established = 1000 - not_started - sum(count for *_, outcome, count in errors if outcome != "lost")
    names = ("syscall", "errno", "outcome", "count")
    return {
        "complete": complete,
        "arrivals": {"scheduled": 1000, "started": 1000 - not_started, "not_started": not_started},
        "outcomes": {"established": established, "failed": 1000 - not_started - established, "in_flight": 0},
        "errors": [dict(zip(names, error, strict=True)) for error in errors],
        "open": {"peak": established, "end_of_hold": established - lost, "lost": lost},
        "rate_per_s": {"established_mean": 12_345.6, "established_peak": 20_000.0},
        "phases": {"ramp_s": 1.0, "hold_s": hold_s, "drain_s": 0.1},
        "generator": {"trustworthy": not untrusted, "reasons": [untrusted] if untrusted else []},
    }


@pytest.mark.parametrize(
    ("found", "limit", "words"),
    [
        (summary(), "none", "no limit was met"),
        (summary(("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 200)), "four-tuples", "EADDRNOTAVAIL, 200 times"),
        (summary(("bind", "EADDRINUSE", "no-free-port", 200)), "source-ports", "no free source port"),
        (summary(("bind", "EADDRNOTAVAIL", "no-such-source", 5)), "source-address", "not on this host"),
        (summary(("socket", "EMFILE", "no-descriptor", 5)), "descriptors", "no descriptor"),
        (summary(("connect", "ENOBUFS", "no-memory", 5)), "memory", "no memory"),
        (summary(("connect", "ECONNREFUSED", "refused", 5)), "target", "the target refused"),
        (summary(("wait", "ETIMEDOUT", "timed-out", 5)), "target", "did not answer in time"),
        (summary(("connect", "ECONNRESET", "reset", 5)), "target", "reset the connection"),
        (summary(("connect", "ENETUNREACH", "unreachable", 5)), "target", "cannot be reached"),
        (summary(("connect", "EPERM", "forbidden", 5)), "permission", "forbade"),
        (summary(("getsockname", "SELF", "self-connect", 5)), "self-connect", "met themselves"),
        (summary(("recv", "EOF", "lost", 5), lost=5), "target", "closed connections while they were held"),
        (summary(("any", "OTHER", "other", 5)), "other", "no name for"),
        (summary(not_started=10), "in-flight", "10 of the connections were never started: 256 attempts"),
        (summary(not_started=10, complete=False), "none", "10 of the connections were never started"),
        (summary(untrusted="it slept"), "generator", "loadgen itself was the bottleneck: it slept"),
        (summary(("connect", "ECONNREFUSED", "refused", 5), untrusted="it slept"), "target", "refused"),
    ],
)
def test_the_limit_and_its_words(found: dict[str, Any], limit: str, words: str) -> None:
    verdict = decide(found, PLAN)
    assert verdict["limit"] == limit
    assert words in verdict["text"]


def test_the_most_frequent_error_decides() -> None:
    rare, frequent = ("connect", "ECONNREFUSED", "refused", 3), ("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 4)
    assert decide(summary(rare, frequent), PLAN)["limit"] == "four-tuples"


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ESTABLISHED])
def test_no_outcome_of_a_failure_is_without_words(outcome: Outcome) -> None:
    assert decide(summary(("connect", "EINVAL", outcome.value, 1)), PLAN)["limit"] != "none"


def test_the_sentence_begins_with_what_was_reached() -> None:
    text = decide(summary(hold_s=30.4), PLAN)["text"]
    assert text.startswith("1,000 of 1,000 connections opened at 12,346/s, held 30 s with none lost: ")
    lost = decide(summary(("recv", "EOF", "lost", 1200), lost=1200), PLAN)["text"]
    assert lost.startswith("1,000 of 1,000 connections opened at 12,346/s of which 1,200 were lost: ")
    assert text.endswith(".")
    assert lost.endswith(".")


def test_predicted_is_what_the_plan_had_room_for_and_observed_the_peak() -> None:
    """800 four-tuples for 1,000 connections."""
    verdict = decide(summary(("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 200)), PLAN)
    assert (verdict["predicted"], verdict["observed"]) == (800, 800)


def test_a_remedy_has_the_number() -> None:
    verdict = decide(summary(("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 200)), PLAN)
    assert verdict["remedies"] == ["add source addresses: each adds 400 connections"]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (("bind", "EADDRINUSE", "no-free-port", 9), "add source addresses"),
        (("socket", "EMFILE", "no-descriptor", 9), "ulimit -Hn"),
        (("bind", "EADDRNOTAVAIL", "no-such-source", 9), "ip address add 127.0.0.2 dev lo"),
        (("connect", "ECONNREFUSED", "refused", 9), "listen backlog"),
    ],
)
def test_a_limit_that_can_be_mended_says_how(error: tuple[str, str, str, int], remedy: str) -> None:
    assert any(remedy in found for found in decide(summary(error), PLAN)["remedies"])
    assert any("lower the rate" in found for found in decide(summary(untrusted="x"), PLAN)["remedies"])


def test_dropped_arrivals_have_a_remedy() -> None:
    assert "`in_flight`" in decide(summary(not_started=10), PLAN)["remedies"][0]
