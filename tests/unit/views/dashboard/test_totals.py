"""Counters that never go backwards, whatever a run is followed by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import histogram
from loadgen.views.dashboard.totals import Key, Totals

from .samples import line


def test_a_run_is_added_to_the_runs_before_it() -> None:
    totals = Totals()
    totals.add(line(established=300))
    totals.add(line(established=500, errors=[["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 4]]))
    assert totals.of(("established",)) == 500
    totals.next_run()
    assert totals.of(("established",)) == 500
    totals.add(line(established=20))
    assert totals.of(("established",)) == 520
    assert totals.of(("error", "connect", "EADDRNOTAVAIL", "no-free-four-tuple")) == 4
    assert totals.of(("nothing",)) == 0


def test_histograms_are_those_of_the_run_and_of_all() -> None:
    totals = Totals()
    totals.add(line())
    totals.add(line(latency_ns={"connect": {"1780": 1, "1790": 2}}))
    totals.next_run()
    totals.add(line(latency_ns={"connect": {"1780": 5}, "exchange": {"9": 1}}))
    assert histogram.sparse(totals.of_run("connect")) == {"1780": 5}
    assert histogram.sparse(totals.histogram("connect")) == {"1780": 506, "1790": 2}
    assert histogram.sparse(totals.histogram("exchange")) == {"9": 1}
    assert histogram.sparse(totals.histogram("handshake")) == {}
    assert histogram.sparse(totals.histogram("lag")) == {"1780": 21}


def test_both_sides_of_a_cable_are_counted_apart() -> None:
    totals = Totals()
    totals.add(line(kernel={"delta": {"TcpExt.TW": 3}, "sink": {"delta": {"TcpExt.TW": 8}}}))
    assert totals.of(("kernel", "clients", "TcpExt.TW")) == 3
    assert totals.of(("kernel", "sinks", "TcpExt.TW")) == 8


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000), st.sampled_from([None, "bind", "connect"]))))
def test_nothing_ever_goes_backwards(steps: list[tuple[bool, int, str | None]]) -> None:
    """Neither between runs, nor when a line has less than the one before it, or nothing at all."""
    totals = Totals()
    before: dict[Key, float] = {}
    for another, count, syscall in steps:
        if another:
            totals.next_run()
        errors = [[syscall, "EADDRINUSE", "no-free-port", count]] if syscall else []
        totals.add(line(established=count, errors=errors, sink=None, kernel={}))
        now = totals.now()
        assert all(now[key] >= value for key, value in before.items())
        before = now
