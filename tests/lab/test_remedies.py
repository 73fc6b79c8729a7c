"""Remedies tried with real sockets: the run that met a limit, and the same run in a fresh lab with the change.

A claimed gain comes within a tenth, in churn within a fifth. A ceiling that is gone, or higher than this machine is
quick, is proved by a limit that is met no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from loadgen import api
from loadgen.control.prove import settings_of
from loadgen.results.proof import compared, gained, trials
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.run import RemedyResult, RunSummary

PORTS: Final = {"net.ipv4.ip_local_port_range": "40000 40049"}
#: Fifty ports, one source and one target of loadgen's own.
HELD: Final = {
    "name": "held",
    "lab": {"sysctls": PORTS},
    "sources": {"addresses": ["127.0.0.2"]},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 90,
    "close": "rst",
}
#: The same over a cable, opened and closed for two seconds, so that each port is used once.
CHURN: Final = {
    "name": "churn",
    "lab": {"topology": "veth", "sysctls": PORTS},
    "sources": {"addresses": ["198.18.0.2"]},
    "targets": [{"address": "198.18.1.1:80", "sink": {"speaks": "http"}}],
    "protocol": "http",
    "churn": {"duration": "2s", "concurrency": 4},
}


def scenario(base: dict[str, Any], strategy: str, **changes: Any) -> dict[str, Any]:
    return {**base, "sources": {**base["sources"], "strategy": strategy}, **changes}


def run(keys: dict[str, Any], results: Path, settings: dict[str, Any] | None = None) -> RunSummary:
    whole = api.Scenario.parse(api.Scenario.of(keys).text, settings or {})
    summary = api.run(whole, results=results, force=True).record
    assert isinstance(summary, RunSummary)
    assert summary.complete
    return summary


def proofs(keys: dict[str, Any], limit: str, results: Path, most: int = 9) -> dict[str, ProofResult]:
    """What the best remedies of a run came to that a lab can try, by their sentences."""
    first = run(keys, results)
    assert first.verdict.limit == limit
    return {remedy.text: tried(keys, first, remedy, results) for remedy in trials(first)[:most]}


def tried(keys: dict[str, Any], first: RunSummary, remedy: RemedyResult, results: Path) -> ProofResult:
    settings = settings_of(remedy)
    return compared(first, remedy, run(keys, results, settings), settings=settings, run="")


@pytest.mark.parametrize(
    ("strategy", "changes", "limit"),
    [
        ("late-range", {}, "four-tuples"),
        ("kernel", {"sources": {"addresses": ["127.0.0.1"], "strategy": "kernel"}}, "four-tuples"),
        ("bind", {"targets": [{"address": "127.0.0.1:9000-9001", "sink": True}]}, "source-ports"),
        ("exclusive", {}, "source-ports"),
        ("explicit", {}, "four-tuples"),
    ],
)
def test_more_connections_come_as_they_are_claimed(
    strategy: str, changes: dict[str, Any], limit: str, tmp_path: Path
) -> None:
    """To the last one: ports are counted, and nothing here is a matter of pace."""
    found = proofs(scenario(HELD, strategy, **changes), limit, tmp_path)
    assert len(found) >= 2
    for sentence, proof in found.items():
        assert (proof.before, proof.claimed, proof.measured) == (50, 90, 90), sentence
        assert proof.limit != limit, sentence


@pytest.mark.parametrize(("strategy", "most"), [("kernel", 9), ("bind", 2)])
def test_a_ceiling_on_churn_is_lifted_as_it_is_claimed(strategy: str, most: int, tmp_path: Path) -> None:
    """A gain that this machine has the pace for comes within a fifth; every other lifts the limit."""
    found = proofs(scenario(CHURN, strategy), "time-wait", tmp_path, most)
    assert len(found) == most
    assert {sentence: proof.limit for sentence, proof in found.items() if not proof.ok} == {}
    figures = {sentence: proof for sentence, proof in found.items() if (proof.claimed or 9_999) <= 1_000}
    assert figures
    assert [sentence for sentence, proof in figures.items() if not gained(proof)] == []


def test_a_schedule_is_kept_by_connections_that_are_kept(tmp_path: Path) -> None:
    """A hundred a second are due where the ports give fifty: fewer connections, as many requests, none denied."""
    lab = {"topology": "veth", "sysctls": {**PORTS, "net.ipv4.tcp_tw_reuse": 1}}
    keys = scenario(CHURN, "late-range", arrival={"rate": "100/s"}, lab=lab)
    first = run(keys, tmp_path)
    assert first.verdict.limit == "time-wait"
    (kept,) = (remedy for remedy in trials(first) if "churn.exchanges" in remedy.set)
    assert kept.set == {"churn.exchanges": 3, "arrival.rate": "33.3333/s"}
    then = run(keys, tmp_path, settings_of(kept))
    assert then.outcomes.failed == 0
    assert then.verdict.limit != first.verdict.limit
    assert then.traffic
    assert then.traffic.replies >= 0.9 * 200
