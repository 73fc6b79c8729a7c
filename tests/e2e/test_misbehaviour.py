"""Targets that misbehave, and what a run makes of each: outcomes that add up, and a verdict that fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from .conftest import Loadgen, assert_adds_up

COUNT: Final = 40
RESET: Final = {("connect", "ECONNRESET"), ("send", "ECONNRESET"), ("recv", "ECONNRESET")}
SILENCE: Final = {("wait", "ETIMEDOUT")}
CLOSED: Final = {("recv", "EOF")}


@dataclass(frozen=True)
class Case:
    """How a target behaves, and of all connections: how many ended in these ways, and how many were answered."""

    name: str
    target: dict[str, Any]
    ended: int
    ways: set[tuple[str, str]]
    replies: int
    limits: set[str]
    scenario: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("never accepts", {"sink": True, "accept": False}, COUNT, SILENCE, 0, {"unanswered"}),
    Case("resets", {"sink": {"reset": True}}, COUNT, RESET, 0, {"reset", "lost"}),
    Case("drops a share", {"sink": {"drop": "25%"}}, COUNT // 4, RESET, 3 * COUNT // 4, {"reset", "lost"}),
    Case("never answers", {"sink": {"speaks": "nothing"}}, COUNT, SILENCE, 0, {"unanswered"}),
    Case("never reads", {"sink": {"read": "0/s"}}, COUNT, SILENCE, 0, {"unanswered"}),
    Case("answers too late", {"sink": {"delay": "5s"}}, COUNT, SILENCE, 0, {"unanswered"}),
    Case(
        "reads too slowly",
        {"sink": {"read": "100/s"}},
        COUNT,
        SILENCE,
        0,
        {"unanswered"},
        {"protocol": {"name": "echo", "size": 10_000}},
    ),
    Case("closes after a while", {"sink": {"close_after": "500ms"}}, COUNT, CLOSED, COUNT, {"lost"}),
    Case(
        "closes after three requests",
        {"sink": {"close_after_requests": 3}},
        COUNT,
        CLOSED,
        3 * COUNT,
        {"lost"},
        {"heartbeat": {"every": "200ms"}},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_target_that_misbehaves(loadgen: Loadgen, case: Case) -> None:
    keys = {
        "targets": [{"address": "127.0.0.1:9000", **case.target}],
        "connections": COUNT,
        "protocol": "echo",
        "hold": "2s",
        "timeout": "1s",
        "workers": 1,
        "sinks": 1,
        "close": "rst",
    }
    done = loadgen("run", loadgen.scenario(**keys | case.scenario), "--json", "--quiet")
    summary = done.summary
    # A reset may come before connect() is known to have succeeded; if all do, nothing has opened.
    assert done.code == (0 if summary["outcomes"]["established"] else 99), done.err
    assert_adds_up(summary)
    ways = {(error["syscall"], error["errno"]): error["count"] for error in summary["errors"]}
    assert sum(ways.values()) == summary["outcomes"]["failed"] + summary["open"]["lost"] == case.ended
    assert set(ways) <= case.ways
    assert summary["open"]["end_of_hold"] == COUNT - case.ended
    assert summary["traffic"]["replies"] >= case.replies
    assert summary["traffic"]["wrong"] == 0
    assert summary["verdict"]["limit"] in case.limits
    assert summary["sink"]["agrees"], summary["sink"]["text"]
    if case.replies == 0:
        assert summary["traffic"]["replies"] == 0


def test_a_slow_target_is_not_a_bad_one(loadgen: Loadgen) -> None:
    """Slow, but within the timeout: nothing ends, and the latency of an exchange says what it cost."""
    done = loadgen(
        "run",
        loadgen.scenario(
            targets=[{"address": "127.0.0.1:9000", "sink": {"read": "400/s"}}],
            connections=COUNT,
            protocol={"name": "echo", "size": 100},
            sinks=1,
        ),
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    summary = done.summary
    assert (summary["outcomes"]["established"], summary["errors"]) == (COUNT, [])
    assert summary["latency_us"]["exchange"]["p50"] >= 180_000  # 20 bytes each 50 ms, the first at once
    assert summary["verdict"]["limit"] == "none"


def test_an_https_target_that_closes_first(loadgen: Loadgen) -> None:
    """With the answer to the last request, so that nothing is lost, and TIME-WAIT stays on its side."""
    done = loadgen(
        "run",
        loadgen.scenario(
            targets=[{"address": "127.0.0.1:8443", "sink": {"speaks": "http", "tls": True, "body": 100}}],
            connections=None,
            churn={"duration": "1s", "concurrency": 4, "exchanges": 3},
            protocol="http",
            tls={"resume": True},
            close="target",
            workers=1,
            sinks=2,
        ),
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    summary = done.summary
    established = summary["outcomes"]["established"]
    assert summary["errors"] == []
    # Up to four are under way at the end of the duration, and make no further exchange then.
    assert 0 < 3 * established - 2 * 4 <= summary["traffic"]["replies"] <= 3 * established
    assert summary["traffic"]["handshakes"] == established
    assert 0 < summary["traffic"]["resumed"] <= established - 1
    # Those four close first, with the session tickets of TLS unread, which is an RST and leaves no TIME-WAIT.
    assert established - 4 <= summary["churn"]["time_waits"] <= established
    assert summary["sink"]["agrees"], summary["sink"]["text"]
