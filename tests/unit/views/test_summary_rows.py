"""Sentences about one run that its text, its page and its CI summary share."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import format as fmt
from loadgen.model import Ceiling
from loadgen.views import summary_rows
from tests import samples

BECAUSE = "100 ports / 1 s: tcp_tw_reuse=1 after 1,000 ms"
TRAFFIC: dict[str, Any] = {
    "transport": "tcp",
    "protocol": "tcp",
    "tls": False,
    "handshakes": 0,
    "resumed": 0,
    "replies": 0,
    "wrong": 0,
}


US: dict[str, Any] = {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0, "count": 1}
PART: dict[str, Any] = {
    "reached": True,
    "from_s": 2.0,
    "to_s": 5.0,
    "established": 1413,
    "failed": 300,
    "lost": 3,
    "established_per_s": 471.0,
    "established_per_s_low": 400.0,
    "established_per_s_high": 500.0,
    "failed_share": 0.175,
    "open_low": 997,
    "open_high": 1000,
    "latency_us": {"connect": US, "arrival": US},
}


@pytest.mark.parametrize(
    ("run", "changes", "text"),
    [
        ("churn", {}, "2.00 s to 5.00 s: 471/s, 300 of 1,713 failed (17.5 %)"),
        ("churn", {"failed": 0, "failed_share": 0.0}, "2.00 s to 5.00 s: 471/s, 0 of 1,413 failed"),
        ("hold", {}, "2.00 s to 5.00 s: 997 to 1,000 open, 3 lost"),
        ("hold", {"open_low": 1000, "lost": 0}, "2.00 s to 5.00 s: 1,000 open, 0 lost"),
        ("churn", {"reached": False, "reason": "it is too short"}, "no steady state: it is too short"),
    ],
)
def test_the_steady_part(run: str, changes: dict[str, Any], text: str) -> None:
    summary = samples.summary({"steady": PART | changes}, run)
    assert summary_rows.steady(summary) == ("steady", text, "")
    assert summary_rows.steady(samples.summary({}, run)) is None


@pytest.mark.parametrize(("missed", "tone"), [(0, ""), (3, "bad")])
def test_heartbeats(missed: int, tone: str) -> None:
    beats = {"every_s": 1.0, "connections": 10_000, "sent": 600_000, "answered": 599_997, "missed": missed, "wrong": 0}
    text = f"600,000 sent by 10,000 connections, 599,997 answered, {missed} missed, 0 wrong"
    assert summary_rows.heartbeat(samples.summary({"heartbeat": beats})) == ("heartbeat", text, tone)
    assert summary_rows.heartbeat(samples.summary()) is None


@pytest.mark.parametrize(
    ("carried", "text", "tone"),
    [
        ({"protocol": "echo", "replies": 7}, "echo; 7 right replies, 0 wrong", ""),
        ({"tls": True, "handshakes": 9, "resumed": 8}, "TLS: 9 handshakes, 8 of them resumed", ""),
        (
            {"protocol": "http", "tls": True, "handshakes": 9, "replies": 5, "wrong": 4},
            "http over TLS: 9 handshakes, 0 of them resumed; 5 right replies, 4 wrong",
            "bad",
        ),
        (
            {"protocol": "echo", "transport": "udp", "replies": 1, "sent": 3, "answered": 1, "lost": 2},
            "echo over UDP; 1 right replies, 0 wrong, 2 of 3 lost",
            "",
        ),
    ],
)
def test_traffic(carried: dict[str, Any], text: str, tone: str) -> None:
    assert summary_rows.traffic(samples.summary({"traffic": TRAFFIC | carried})) == ("traffic", text, tone)


def test_connections_that_carry_nothing_have_no_such_row() -> None:
    assert summary_rows.traffic(samples.summary()) is None


def test_probes_tell_their_counts_or_why_there_are_none() -> None:
    probes = {
        "others": {"established": 0, "failed": 20, "errors": {"connect": {"EADDRNOTAVAIL": 20}}},
        "\u202ename": {"reason": "uid 65534 is not mapped here"},
    }
    assert summary_rows.probes(samples.summary({"probes": probes})) == [
        ("others", "0 succeeded; connect EADDRNOTAVAIL 20", ""),
        ("\\u202ename", "could not run: uid 65534 is not mapped here", ""),
    ]


@pytest.mark.parametrize(
    ("established", "per_s", "limit", "text"),
    [
        (140, 100.0, 100, "NOT as predicted: 140 established, at most 100 predicted"),
        (40, 100.0, 100, "NOT as predicted: 40 established, 100 predicted"),
        (40, 100.0, None, "NOT as predicted: 40 established"),
        (40, None, 100, "NOT as predicted: 40 established, 9 failed, no limit predicted"),
    ],
)
def test_a_ceiling_that_was_wrong_is_said(established: int, per_s: float | None, limit: int | None, text: str) -> None:
    ceiling = {"per_s": per_s, "established": limit, "because": BECAUSE}
    counts = {"outcomes.established": established, "outcomes.failed": 9}
    summary = samples.summary({**counts, "churn.ceiling": ceiling, "churn.as_predicted": False}, "churn")
    assert ("observed", text, "bad") in summary_rows.churn(summary)


def test_without_a_ceiling_nothing_was_predicted() -> None:
    keys = {"churn.ceiling": None, "churn.as_predicted": None, "churn.first_denied_s": None}
    rows = {row.label: row.text for row in summary_rows.churn(samples.summary(keys, "churn"))}
    assert not {"predicted", "observed"} & set(rows)
    assert rows["first denial"] == "none"


@pytest.mark.parametrize(
    ("ceiling", "text"),
    [
        (Ceiling(28 / 60, 28, "x"), "at most 0.467/s, 28 in all: x"),
        (Ceiling(100.0, None, "x"), "at most 100/s: x"),
        (Ceiling(None, 5_000, "a reset leaves no TIME-WAIT"), "no limit: a reset leaves no TIME-WAIT"),
    ],
)
def test_a_ceiling(ceiling: Ceiling, text: str) -> None:
    assert summary_rows.most(ceiling) == text


def test_a_run_without_churn_is_a_share_of_its_schedule() -> None:
    keys = {"arrivals": {"scheduled": 7, "started": 6, "not_started": 1}}
    assert summary_rows.churn(samples.summary()) == []
    assert summary_rows.attempts(samples.summary(keys)) == (7, "scheduled")
    assert summary_rows.attempts(samples.summary({**keys, "churn.loop": "open"}, "churn")) == (7, "scheduled")
    assert summary_rows.attempts(samples.summary({**keys, "churn.loop": "closed"}, "churn")) == (6, "started")


def test_time_wait_at_the_sinks_is_told_when_there_was_any() -> None:
    def of(counters: dict[str, int], peak: int, name: str = "hold") -> str | None:
        side = {"delta": counters, "peak": {"sockstat.tcp_tw": peak}, "states": None}
        return summary_rows.other_side(samples.summary({"kernel.sink": side}, name))

    assert of({"TcpExt.TW": 100}, 90) == "90 at once at most, 100 entered, 0 recycled, 0 overflows"
    assert of({"Tcp.InSegs": 3}, 0) is None
    assert of({}, 0, "churn") == "0 at once at most, 0 entered, 0 recycled, 0 overflows"
    assert summary_rows.other_side(samples.summary({"kernel.sink": None})) is None


def test_a_summary_without_a_reason_says_that_there_is_none() -> None:
    assert summary_rows.incomplete_because(samples.summary()) is None
    cut = samples.summary({"complete": False, "incomplete_because": None})
    assert summary_rows.incomplete_because(cut) == "the summary does not say why"
    assert summary_rows.distrust(samples.summary()) is None
    doubted = samples.summary({"generator.trustworthy": False, "generator.reasons": []})
    assert summary_rows.distrust(doubted) == ("the summary does not say why",)


def test_a_latency_that_was_not_measured_is_left_out() -> None:
    names = [name for name, _ in summary_rows.latencies(samples.summary(name="churn"))]
    assert names == ["connect", "arrival", "exchange"]


def test_the_phases_of_a_run_have_their_length() -> None:
    assert [name for name, _ in summary_rows.phases(samples.summary())] == ["ramp", "hold", "drain"]
    assert [name for name, _ in summary_rows.phases(samples.summary(name="churn"))] == ["churn", "drain"]


@pytest.mark.parametrize(("passed", "word"), [(True, "pass"), (False, "FAIL")])
def test_an_expectation(passed: bool, word: str) -> None:
    expected = {"expression": "open.lost == 0", "passed": passed, "observed": 28232}
    (result,) = samples.summary({"expect": [expected]}).expect
    assert summary_rows.expectation(result) == f"{word}  open.lost == 0, observed 28,232"


POSSIBLE = "no limit, the first would be four-tuples at 100 connections"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"at_s": 1.4, "possible": False, "observed_limit": "four-tuples", "as_predicted": True},
            (
                "four-tuples at 100 connections, 1.40 s after the start; observed four-tuples at 99: as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "none", "as_predicted": True},
            (
                f"{POSSIBLE}; observed no limit, 99 connections: as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "generator", "as_predicted": True},
            (
                f"{POSSIBLE}; observed generator at 99, which no plan foretells: otherwise as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "four-tuples", "as_predicted": True},
            ("four-tuples at 100 connections; observed four-tuples at 99: as predicted", "good"),
        ),
        (
            {"possible": True, "observed_limit": "incomplete", "as_predicted": None},
            (f"{POSSIBLE}; observed the run cut off at 99", ""),
        ),
        (
            {"possible": True, "observed_limit": "memory", "as_predicted": False},
            (
                f"{POSSIBLE}; observed memory at 99: NOT as predicted",
                "bad",
            ),
        ),
        (
            {"possible": False, "observed_limit": "interrupted", "as_predicted": None},
            ("four-tuples at 100 connections; observed interrupted at 99", ""),
        ),
    ],
)
def test_plan_versus_observed_in_words(found: dict[str, Any], said: tuple[str, str]) -> None:
    keys = {"limit": "four-tuples", "at_connections": 100, "at_s": None, "observed_at": 99, **found}
    assert summary_rows.prediction(samples.summary({"prediction": keys})) == ("planned", *said)


def test_a_plan_without_a_prediction_has_no_such_row() -> None:
    assert summary_rows.prediction(samples.summary({"prediction.limit": None})) is None


@pytest.mark.parametrize(
    ("proof", "claimed", "measured", "shows"),
    [
        ({}, "+1,800", "+1,790", "comes true"),
        ({"measured": 900.0, "limit": "generator"}, "+1,800", "+700", "limit gone"),
        ({"measured": 900.0, "ok": False, "limit": "source-ports"}, "+1,800", "+700", "DOES NOT"),
        ({"quantity": "requests"}, "+1,800 req.", "+1,790 req.", "comes true"),
        (
            {"quantity": "occupancy", "before": 0.99, "claimed": 0.5, "measured": 0.496},
            "50.0 %",
            "49.6 %",
            "comes true",
        ),
        (
            {"quantity": "cost_us", "before": 700.0, "claimed": None, "measured": 25.4},
            fmt.MISSING,
            "25.4 us",
            "limit gone",
        ),
        ({"measured": None, "ok": False, "limit": None, "reason": "no"}, "+1,800", fmt.MISSING, "DOES NOT"),
    ],
)
def test_a_trial_shows_the_claimed_gain_beside_the_measured(
    proof: dict[str, Any], claimed: str, measured: str, shows: str
) -> None:
    plain = {
        "remedy": "do it",
        "settings": {},
        "quantity": "connections",
        "before": 200.0,
        "claimed": 2_000.0,
        "measured": 1_990.0,
        "ok": True,
        "limit": "none",
        "run": "proofs/1",
    }
    (row,) = summary_rows.proofs(samples.summary({"proof": [plain | proof]}))
    assert (row.claimed, row.measured, row.shows) == (claimed, measured, shows)
    assert row.note == ("could not run: no" if "reason" in proof else "")
