"""What refuses a comparison, and what has to be said along with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from loadgen.compare.comparable import Side, caveats, refusals, time_wait_before
from loadgen.results.schema import files
from tests import samples

#: Its three differ by nothing but what a test changes.
HOST: Final = {"kernel": "6.1", "cpus": 2, "loadgen": "0.1.0", "sysctls": {"net.core.somaxconn": "4096"}}
RUN: Final = samples.subject(host_changes=HOST, plan_changes={"connections": 10, "capacity_per_pair": 1000})
BASE: Final = Side("A", (RUN,))


def other(
    summary: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Side:
    """Side B, one run with these values changed."""
    run = samples.subject(
        "b",
        summary or {},
        host_changes={**HOST, **(host or {})},
        plan_changes={"connections": 10, "capacity_per_pair": 1000, **(plan or {})},
    )
    return Side("B", (replace(run, **changes),))


def test_the_same_needs_no_word() -> None:
    assert refusals(BASE, other()) == caveats(BASE, other()) == []


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (
            other(plan={"churn": {"duration_s": 2.0}}),
            "connections: held open in A, opened and closed all the time (churn) in B",
        ),
        (other(plan={"transport": "udp"}), "transport: tcp in A, udp in B"),
        (
            other(summary={"arrivals.started": 0, "incomplete_because": "Ctrl-C"}),
            "b opened nothing, so it has no figures: Ctrl-C",
        ),
        (other(summary={"arrivals.started": 0}), "b opened nothing, so it has no figures"),
        (
            Side("B", (RUN, replace(RUN, name="c", scenario={"connections": 11}))),
            "c and a are no repetitions: their scenarios differ",
        ),
        (
            Side("B", (replace(RUN, scenario=None), replace(RUN, name="c", scenario=None, plan=samples.plan()))),
            "c and a are no repetitions: their scenarios differ",
        ),
    ],
)
def test_what_is_refused(side: Side, said: str) -> None:
    assert refusals(BASE, side) == [said]
    assert len(refusals(side, BASE)) == 1


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (other(host={"cpus": 4}), "the hosts differ: cpus: 2 in A, 4 in B"),
        (other(host={"kernel": "6.2"}), "the kernels differ: kernel: 6.1 in A, 6.2 in B"),
        (other(host={"loadgen": "0.2.0"}), "the versions differ: loadgen: 0.1.0 in A, 0.2.0 in B"),
        (
            other(host={"sysctls": {"net.core.somaxconn": "128"}}),
            "sysctls differ that no scenario sets: net.core.somaxconn",
        ),
        (other(plan={"connections": 1000}), "connections: 10 in A, 1,000 in B"),
        (
            other(summary={"traffic": {**files.plain(samples.summary({}, "tls").traffic), "protocol": "http"}}),
            "what connections carry: nothing in A, http over TLS in B",
        ),
        (other(summary={"complete": False, "incomplete_because": "Ctrl-C"}), "b is incomplete: Ctrl-C"),
        (
            other(summary={"generator.trustworthy": False, "generator.reasons": ["late"]}),
            "b was limited by loadgen itself, so its figures may be about that: late",
        ),
        (
            other(time_wait_before=11.0),
            "b began with 11 sockets in TIME-WAIT that were not its own; give it a lab, or wait a minute before it",
        ),
    ],
)
def test_what_is_said_along(side: Side, said: str) -> None:
    assert refusals(BASE, side) == []
    assert caveats(BASE, side) == [said]
    assert len(caveats(side, BASE)) == 1


def test_what_a_scenario_sets_or_only_one_version_asks_for_is_no_surprise() -> None:
    host = {"sysctls": {"net.core.somaxconn": "128", "net.ipv4.tcp_rfc1337": "0"}}
    assert caveats(BASE, other(host=host, scenario={"lab.sysctls.net.core.somaxconn": 128})) == []


def test_a_few_sockets_in_time_wait_are_everyday_life() -> None:
    assert caveats(BASE, other(time_wait_before=10.0)) == []


def test_a_side_whose_own_runs_had_two_kernels_is_told() -> None:
    side = Side("B", (RUN, replace(RUN, name="c", host=samples.host({**HOST, "kernel": "6.2"}))))
    assert caveats(BASE, side) == ["the kernels differ: kernel: 6.1 in A, 6.1 and 6.2 in B"]


@pytest.mark.parametrize(
    ("kernel", "count"),
    [
        ({}, 0),
        ({"now": {"sockstat.tcp_tw": 500}, "delta": {}}, 500),
        ({"now": {"sockstat.tcp_tw": 500}, "delta": {"TcpExt.TW": 200}}, 300),
        ({"now": {"sockstat.tcp_tw": 100}, "delta": {"TcpExt.TW": 200}}, 0),
    ],
)
def test_what_was_in_time_wait_before(kernel: dict[str, Any], count: float) -> None:
    assert time_wait_before(samples.line({"kernel": kernel})) == count
