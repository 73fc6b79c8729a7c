"""--fail-if: what can be written, and when it is met."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from loadgen.errors import HostError
from loadgen.strategies import Strategy, Transport
from loadgen.watch.conditions import WatchCondition
from loadgen.watch.owners import Ownership
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.sources import SourceUsage

Make = Callable[..., Usage]
MakeSnapshot = Callable[..., Snapshot]
MakeSource = Callable[..., SourceUsage]


@pytest.fixture
def busy(usage: Make, snapshot: MakeSnapshot) -> Snapshot:
    """Two groups, each the worst in something."""
    return snapshot(
        usage(95, time_wait=5, exhausts_in_s=41.0, source="127.0.0.2"),
        usage(500, usable=1000, time_wait=300, exhausts_in_s=600.0, destination="::1"),
        bound=Bound(3, (40_001,), Ownership()),
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("used > 80%", "95%, 95 of 100 ports, from 127.0.0.2 to 127.0.0.1:9000"),
        ("used>=94.5%", "95%, 95 of 100 ports, from 127.0.0.2 to 127.0.0.1:9000"),
        ("free <= 5", "5 free, from 127.0.0.2 to 127.0.0.1:9000"),
        ("in_use > 199", "200 in use, from 127.0.0.1 to [::1]:9000"),
        ("time_wait == 300", "300 in TIME-WAIT, from 127.0.0.1 to [::1]:9000"),
        ("exhausts_in < 60s", "exhausted in 41.0 s, from 127.0.0.2 to 127.0.0.1:9000"),
        ("exhausts_in <= 1m", "exhausted in 41.0 s, from 127.0.0.2 to 127.0.0.1:9000"),
        ("bound != 0", "3 bound, unconnected sockets"),
        ("  in_use < 1k ", "200 in use, from 127.0.0.1 to [::1]:9000"),
    ],
)
def test_the_worst_group_is_named(busy: Snapshot, text: str, found: str) -> None:
    assert str(WatchCondition.parse(text).violation(busy)) == f"--fail-if {text.strip()}: {found}"


@pytest.mark.parametrize(
    "text",
    ["used > 95%", "free < 5", "in_use > 200", "time_wait > 300", "exhausts_in < 41s", "bound > 3", "in_use > 1_000"],
)
def test_not_met(busy: Snapshot, text: str) -> None:
    assert WatchCondition.parse(text).violation(busy) is None


def test_a_source_address_can_be_the_fullest_row(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> None:
    """UDP, and TCP that was bound early: their ports are used up whatever the destination."""
    groups = [usage(10, destination_port=port) for port in range(9000, 9009)]
    early = source(90, strategy=Strategy.BIND, because="said so")
    late = source(90)
    udp = source(95, transport=Transport.UDP, exhausts_in_s=8.0)

    def met(text: str, seen: Snapshot) -> str:
        return str(WatchCondition.parse(text).violation(seen) or "")

    assert met("used > 80%", snapshot(*groups, sources=(early,))) == (
        "--fail-if used > 80%: 90%, 90 of 100 ports, TCP sockets of 127.0.0.1, whatever the destination"
    )
    assert met("free < 11", snapshot(*groups, sources=(early,)))
    assert not met("used > 80%", snapshot(*groups, sources=(late,))), "ports of late binding are not used up"
    assert met("source_used > 80%", snapshot(*groups, sources=(late,)))
    seen = snapshot(*groups, udp=(udp,))
    assert "UDP sockets of 127.0.0.1" in met("used > 80%", seen)
    assert met("exhausts_in < 9s", seen)
    assert not met("used > 80%", snapshot(*groups, udp=None))


def test_without_connections_everything_is_free(snapshot: MakeSnapshot) -> None:
    empty = snapshot()
    for text in ("used > 0%", "in_use > 0", "time_wait > 0", "exhausts_in < 1h", "bound > 0", "free < 100"):
        assert WatchCondition.parse(text).violation(empty) is None
    assert str(WatchCondition.parse("free <= 100").violation(empty)) == "--fail-if free <= 100: 100 free"


def test_what_does_not_grow_is_not_exhausted(usage: Make, snapshot: MakeSnapshot) -> None:
    assert WatchCondition.parse("exhausts_in < 1h").violation(snapshot(usage(99))) is None
    assert WatchCondition.parse("exhausts_in < 1s").violation(snapshot(usage(100, exhausts_in_s=0.0)))


def test_unknown_bound_sockets_are_no_pass(snapshot: MakeSnapshot) -> None:
    with pytest.raises(HostError, match=r"cannot say whether --fail-if bound is met: Linux 6\.8 does"):
        WatchCondition.parse("bound > 0").violation(snapshot(bound=None, bound_unknown="Linux 6.8 does"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write NAME OP VALUE"),
        ("used", "write NAME OP VALUE"),
        ("used 80%", "write NAME OP VALUE"),
        ("used => 80%", "write NAME OP VALUE"),
        ("load > 80%", "one of used, free, in_use, time_wait, exhausts_in, source_used, bound"),
        ("used > 80", "a share from 0% to 100%"),
        ("used > 101%", "a share from 0% to 100%"),
        ("used > -1%", "a share from 0% to 100%"),
        ("free < 10%", "a whole number"),
        ("free < many", "a whole number"),
        ("in_use > -5", "a whole number"),
        ("exhausts_in < 60", "write 30s, 2m or 500ms"),
        ("exhausts_in > 60s", "write < or <="),
        ("used > 80% " + "x" * 300, "write NAME OP VALUE"),
    ],
)
def test_what_cannot_be_meant(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        WatchCondition.parse(text)
