"""Ceilings on new connections per second, from values of /proc/sys to findings."""

from __future__ import annotations

import pytest

from loadgen.doctor import rates
from loadgen.doctor.finding import Grade, LimitCheck, Purpose
from loadgen.model import CloseMode

from .reading import HOST, found


def purpose(per_s: float, close: CloseMode = CloseMode.FIN, pairs: int = 1) -> Purpose:
    return Purpose(1, pairs, rate_per_s=per_s, close=close)


@pytest.mark.parametrize(
    ("per_s", "pairs", "verdict"),
    [
        (300, 1, Grade.GOOD),
        (331, 1, Grade.TIGHT),  # fine until a burst
        (470, 1, Grade.TIGHT),
        (471, 1, Grade.WALL),
        (471, 2, Grade.GOOD),
    ],
)
def test_ports_rest_a_minute_after_a_close_of_ours(per_s: float, pairs: int, verdict: Grade) -> None:
    finding = found(rates.time_wait, purpose(per_s, pairs=pairs))
    assert finding.verdict is verdict
    assert f"{28_232 * pairs:,} / 60 s = " in finding.judgement.allows
    assert f"{per_s:,}/s wanted" in finding.judgement.allows
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.tcp_tw_reuse=1",)
    assert f"{28_232 * pairs:,}/s, to destinations whose TCP has timestamps" in finding.judgement.gains
    assert "keep connections alive" in finding.judgement.gains


@pytest.mark.parametrize("close", [CloseMode.RST, CloseMode.TARGET])
def test_other_closes_leave_no_time_wait_here(close: CloseMode) -> None:
    assert found(rates.time_wait, purpose(50_000, close)).verdict is Grade.GOOD


@pytest.mark.parametrize(
    ("settings", "verdict", "command"),
    [
        ({"tcp_tw_reuse": "1"}, Grade.GOOD, 'ip_local_port_range="1024 65535"'),
        ({"tcp_timestamps": "0"}, Grade.WALL, "tcp_timestamps=1"),
        ({"tcp_tw_reuse": "1", "ip_local_port_range": "1024 65535"}, Grade.GOOD, "ip address add"),
        ({"tcp_max_tw_buckets": "1000"}, Grade.GOOD, ""),
    ],
)
def test_the_change_is_the_one_that_has_an_effect(settings: dict[str, str], verdict: Grade, command: str) -> None:
    judgement = found(rates.time_wait, purpose(500), sysctls=settings).judgement
    assert judgement.verdict is verdict
    assert len(judgement.change.now) == (1 if command else 0)
    assert all(command in now for now in judgement.change.now)


#: So many that the table has no room for all four-tuples.
MANY = 20
TRACKED = {"net.netfilter.nf_conntrack_count": "2144", "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "120"}


@pytest.mark.parametrize(
    ("per_s", "close", "verdict", "sums"),
    [
        (1_000, CloseMode.FIN, Grade.GOOD, "260,000 free entries / 120 s after the close = 2,167/s"),
        (2_000, CloseMode.TARGET, Grade.TIGHT, "/ 120 s"),
        (3_000, CloseMode.FIN, Grade.WALL, "/ 120 s"),
        (3_000, CloseMode.RST, Grade.GOOD, "/ 10 s after the close = 26,000/s"),
    ],
)
def test_tracked_connections_are_kept_after_their_close(
    per_s: float, close: CloseMode, verdict: Grade, sums: str
) -> None:
    finding = found(rates.tracking, purpose(per_s, close, MANY), sysctls=TRACKED)
    assert finding.verdict is verdict
    assert sums in finding.judgement.allows


def test_a_shorter_time_out_is_a_remedy_that_suffices() -> None:
    finding = found(rates.tracking, purpose(3_000, pairs=MANY), sysctls=TRACKED)
    assert finding.judgement.change.now == ("sysctl -w net.netfilter.nf_conntrack_max=1048576",)
    assert "nf_conntrack_tcp_timeout_time_wait=57;" in finding.judgement.gains
    shorter = {**TRACKED, "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "57"}
    assert found(rates.tracking, purpose(3_000, pairs=MANY), sysctls=shorter).verdict is Grade.GOOD


def test_a_four_tuple_has_one_entry_however_often_it_is_used() -> None:
    """A table with room for all four-tuples of the purpose is never full."""
    finding = found(rates.tracking, purpose(50_000, pairs=9), sysctls=TRACKED)
    assert (finding.verdict, finding.judgement.allows) == (
        Grade.GOOD,
        "no ceiling: 254,088 four-tuples have an entry each at most",
    )
    assert found(rates.tracking, purpose(50_000, pairs=10), sysctls=TRACKED).verdict is Grade.WALL


def test_without_tracking_it_is_not_in_the_way() -> None:
    for tracked, why in ((False, "nothing is tracked here now"), (None, "not known whether this host tracks")):
        finding = found(rates.tracking, purpose(50_000, pairs=MANY), tracked=tracked)
        assert finding.verdict is Grade.GOOD
        assert finding.judgement.allows.startswith(f"not in the way, {why}")
    assert found(rates.tracking, purpose(50_000, pairs=MANY), tracked=True).verdict is Grade.WALL


@pytest.mark.parametrize("limit", [rates.time_wait, rates.tracking])
def test_they_are_asked_for_with_a_rate_only(limit: LimitCheck) -> None:
    assert limit.asked(HOST, purpose(1))
    assert not limit.asked(HOST, Purpose())
