"""A claim beside what came of it: the gain within a tenth, or the limit gone."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.results.proof import compared, gained, trials
from loadgen.results.schema import files
from loadgen.results.schema.proof import ProofResult
from loadgen.results.schema.run import RemedyResult, RunSummary
from tests import samples


def run(opened: int, *, limit: str = "source-ports", asked: int = 2_000, **more: Any) -> RunSummary:
    return samples.summary(
        {
            "arrivals": {"scheduled": asked, "started": asked, "not_started": 0},
            "outcomes.established": opened,
            "open.peak": opened,
            "verdict.limit": limit,
            **more,
        }
    )


def churned(established: int, replies: int, *, limit: str = "time-wait", loop: str = "closed") -> RunSummary:
    return samples.summary(
        {
            "outcomes.established": established,
            "arrivals.scheduled": 500,
            "traffic.replies": replies,
            "churn.loop": loop,
            "verdict.limit": limit,
        },
        "churn",
    )


def remedy(gain: int | None = None, **claim: Any) -> RemedyResult:
    plain: dict[str, Any] = {"text": "do it", "set": {}, "sysctls": {}, "command": "", "needs": {}, "gain": gain}
    return files.convert(plain | ({"claim": claim} if claim else {}), RemedyResult)


def proved(first: RunSummary, change: RemedyResult, tried: RunSummary | None, reason: str | None = None) -> ProofResult:
    return compared(first, change, tried, settings={}, run="proofs/1", reason=reason)


@pytest.mark.parametrize(
    ("measured", "limit", "ok", "came"),
    [
        (2_000, "none", True, True),
        (1_821, "source-ports", True, True),  # nine tenths of the gain
        (1_700, "source-ports", False, False),
        (1_700, "generator", True, False),  # another limit came first
    ],
)
def test_a_gain_comes_within_a_tenth_or_its_limit_is_gone(measured: int, limit: str, ok: bool, came: bool) -> None:
    """Of a gain larger than what was asked for, only the part that was asked for can come."""
    proof = proved(run(200), remedy(64_302), run(measured, limit=limit))
    assert (proof.before, proof.claimed, proof.measured) == (200, 2_000, measured)
    assert (proof.ok, gained(proof)) == (ok, came)


def test_a_remedy_without_a_figure_has_only_its_limit_to_move() -> None:
    assert proved(run(200), remedy(), run(200, limit="none")).ok
    assert not proved(run(200), remedy(), run(2_000)).ok


def test_in_churn_connections_are_counted_in_all() -> None:
    claim = {"quantity": "connections_per_s", "before": 3.3, "after": 200.0}
    proof = proved(churned(200, 200), remedy(800, **claim), churned(990, 990))
    assert (proof.quantity, proof.before, proof.claimed, proof.measured, proof.ok) == (
        "established",
        200,
        1_000,
        990,
        True,
    )


@pytest.mark.parametrize(("loop", "claimed"), [("closed", 2_000), ("open", 500)])
def test_connections_that_are_kept_are_compared_by_requests(loop: str, claimed: int) -> None:
    """In an open loop no more than it asks for."""
    claim = {"quantity": "requests_per_s", "before": 3.3, "after": 33.0}
    proof = proved(churned(200, 200, loop=loop), remedy(None, **claim), churned(200, 1_990, loop=loop))
    assert (proof.quantity, proof.before, proof.claimed, proof.measured) == ("requests", 200, claimed, 1_990)
    assert gained(proof)


@pytest.mark.parametrize(("opened", "came"), [(50, True), (56, False)])
def test_a_share_of_the_ports_has_to_fall(opened: int, came: bool) -> None:
    pair = {"source": "127.0.0.1", "target": "127.0.0.1:1", "established": 0, "failed": 0}
    first = run(99, sources=[{**pair, "capacity": 100, "peak_open": 99}])
    then = run(99, sources=[{**pair, "capacity": 100, "peak_open": opened}] * 2)
    proof = proved(first, remedy(None, quantity="occupancy", before=0.99, after=0.495), then)
    assert (proof.quantity, proof.claimed) == ("occupancy", 0.495)
    assert gained(proof) is came


def test_where_a_search_is_avoided_the_cost_of_a_connection_is_compared() -> None:
    """No figure was claimed, so its limit has to be gone."""
    first = run(2_000, limit="port-search", cost_us=[20.0] * 9 + [700.0])
    proof = proved(first, remedy(), run(2_000, limit="none", cost_us=[21.0] * 10))
    assert (proof.quantity, proof.before, proof.claimed, proof.measured) == ("cost_us", 700, None, 21)
    assert proof.ok


def test_a_trial_that_could_not_run_proves_nothing() -> None:
    proof = proved(run(200), remedy(100), None, "cannot set sysctl")
    assert (proof.measured, proof.limit, proof.ok, proof.reason) == (None, None, False, "cannot set sysctl")


def test_what_only_a_host_can_change_is_not_tried() -> None:
    changes: list[dict[str, Any]] = [
        {"command": "x"},
        {"set": {"close": "rst"}},
        {"sysctls": {"net.ipv4.tcp_tw_reuse": "1"}},
        {"sysctls": {"fs.file-max": "9"}},
    ]
    plain = [{**files.plain(remedy()), "text": str(number), **change} for number, change in enumerate(changes)]
    assert [one.text for one in trials(samples.summary({"verdict.remedies_detail": plain}))] == ["1", "2"]
