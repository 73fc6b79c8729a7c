"""Every scenario that is shipped, run as a user would: exit code 0, and the numbers that it is about."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from .conftest import CHECKOUT, Loadgen, assert_adds_up, assert_one_message, limit_of

#: What each must have in its summary: a number, or the least and the most it may be.
NUMBERS: dict[str, dict[str, Any]] = {
    "wall-28k": {"outcomes.established": 28_232, "open.peak": 28_232, "verdict.limit": "four-tuples"},
    "wall-64k": {"outcomes.established": 64_512, "open.peak": 64_512, "verdict.limit": "four-tuples"},
    "wall-64k-lifted": {"outcomes.established": 70_000, "outcomes.failed": 0, "sink.source_ports": 70_000},
    "four-tuple": {"outcomes.established": 40, "sink.source_ports": 20},
    "eaddrinuse": {
        "outcomes.established": 100,
        "sink.source_ports": 100,
        "probes.somebody-else": {
            "established": 0,
            "failed": 20,
            "errors": {"connect": {"EADDRNOTAVAIL": 20}},
            "source_ports": 0,
        },
        "probes.somebody-else-later": {"established": 20, "failed": 0, "errors": {}, "source_ports": 20},
    },
    "eaddrinuse-lifted": {"outcomes.established": 200, "probes.somebody-else.failed": 20},
    "reuseaddr-2014": {"outcomes.established": 100, "sink.source_ports": 100},
    "reuseaddr-2014-autobind": {"outcomes.established": (101, 150), "sink.source_ports": 100},
    "share-ports": {"outcomes.established": 100, "sink.source_ports": 10},
    "share-ports-exclusive": {"outcomes.established": 10, "sink.source_ports": 10},
    "reuseport-uid": {
        "outcomes.established": 20,
        "probes.same-user.source_ports": 20,
        "probes.other-user.errors": {"bind": {"EADDRINUSE": 20}},
    },
    "time-wait-server": {
        "probes.without.errors": {"bind": {"EADDRINUSE": 1}},
        "probes.without.held_by": {"time-wait": 1},
        "probes.with.established": 1,
    },
    "late-bind": {"outcomes.established": 40, "sink.source_ports": 20, "probes.somebody-else.source_ports": 20},
    "port-range": {"outcomes.established": 100, "outcomes.retried": 0, "generator.workers": 4},
    "udp-ports": {
        "outcomes.established": 20,
        "sink.accepted": 20,
        "sink.source_ports": 20,
        "verdict.limit": "source-ports",
        "traffic.lost": (10, 50),
        "traffic.wrong": 0,
    },
    "mixed-port-states": {
        "outcomes.established": 20,
        "probes.meanwhile.errors": {"connect": {"EADDRNOTAVAIL": 20}},
        "probes.afterwards.established": 20,
    },
    "self-connect": {"outcomes.established": 0, "outcomes.failed": 50, "open.peak": 0},
    "backlog": {"outcomes.established": 30, "outcomes.failed": 10, "latency_us.connect.max": (1_000_000, 5_000_000)},
    "dropping-server": {"open.end_of_hold": 180, "sink.accepted": 200, "outcomes.established": (180, 200)},
    "slow-server": {
        "outcomes.established": 100,
        "verdict.limit": "none",
        "latency_us.exchange.p50": (95_000, 5_000_000),
    },
    "tls-resumption": {"traffic.resumed": (80, 99), "traffic.tls": True, "sink.accepted": (90, 100)},
    "nat-ports": {"outcomes.established": 100, "outcomes.failed": 50, "prediction.as_predicted": True},
    "nat-two-targets": {"outcomes.established": 200, "sink.source_ports": 100, "sink.agrees": True},
    "nat-time-wait": {"outcomes.in_flight": 0, "latency_us.connect.max": (950_000, 30_000_000)},
    "fd-limit": {"outcomes.established": (250, 299), "open.lost": 0, "verdict.limit": "descriptors"},
}
#: The verdict of each. Of dropping-server it is `reset` or `lost`, whatever came first.
VERDICTS = {
    "wall-28k": "four-tuples",
    "wall-64k": "four-tuples",
    "wall-64k-lifted": "none",
    "four-tuple": "four-tuples",
    "eaddrinuse": "source-ports",
    "eaddrinuse-lifted": "none",
    "reuseaddr-2014": "source-ports",
    "reuseaddr-2014-autobind": "four-tuples",
    "share-ports": "none",
    "share-ports-exclusive": "source-ports",
    "reuseport-uid": "none",
    "time-wait-server": "none",
    "late-bind": "four-tuples",
    "port-range": "none",
    "udp-ports": "source-ports",
    "mixed-port-states": "none",
    "self-connect": "self-connect",
    "backlog": "backlog",
    "slow-server": "none",
    "tls-resumption": "none",
    "nat-ports": "nat-ports",
    "nat-two-targets": "none",
    "nat-time-wait": "target-time-wait",
    "fd-limit": "descriptors",
}
#: What makes the others small, and the verdict of each of their cells.
SMALL: dict[str, tuple[dict[str, str], list[str]]] = {
    "past-64k": ({"connections": "8000", "hold": "1s"}, ["none"]),
    # Enough ports that the search costs five times as much as all else: other tests share the cores.
    "parity-cliff": (
        {"connections": "5900", "lab.sysctls.net.ipv4.ip_local_port_range": "10000 15999"},
        ["port-search", "port-search", "port-search", "none", "none"],
    ),
    "tw-reuse": (
        {
            "repeat": "1",
            "matrix.lab.sysctls.net.ipv4.tcp_tw_reuse": "[1]",
            "matrix.lab.sysctls.net.ipv4.tcp_tw_reuse_delay": "[1000]",
            "churn.duration": "2s",
        },
        ["time-wait", "none", "none", "none"],
    ),
    "tw-reuse-full": (
        {"churn.duration": "2s", "lab.sysctls.net.ipv4.ip_local_port_range": "40000 40499"},
        ["time-wait"] * 3,
    ),
}
#: Fills a table of the whole host: an incident that runs alone, tests/incidents/neighbour-table-segment.
ALONE = {"neighbour-table"}
#: Run elsewhere: the main job and a million (at a small scale, with the heartbeat) in test_run.py, the parity cliff in
#: test_matrix.py, the churn of those that take seconds as they are in test_churn.py, those behind a NAT in
#: test_nat.py.
IN_CHURN = {"tw-buckets", "fin-timeout", "timestamps"}
BEHIND_NAT = {"nat-random-fully", "nat-conntrack-timeouts"}
#: Searches, and what makes them short: bounds from which a few trials lead to the limit, and ends far from it, so that
#: a busy machine does not change the answer. They prove themselves with find.expect.
SEARCHES: dict[str, dict[str, str]] = {
    "find-backlog": {"from": "95", "to": "110"},
    "find-held": {"from": "200", "precision": "6%"},
    "find-nat-ports": {"from": "98", "to": "104"},
    "find-churn-ceiling": {"from": "190/s", "to": "235/s", "precision": "25%"},
    "find-open-rate": {"from": "190/s", "to": "235/s", "precision": "25%"},
    "find-reuse": {"from": "45/s", "to": "225/s", "precision": "30%"},
}
#: The longest takes a third of it.
SEARCH_S = 110.0
IN_OTHER_FILES = IN_CHURN | ALONE | BEHIND_NAT
ELSEWHERE = {"past-64k", "parity-cliff", "tw-reuse", "tw-reuse-full", "million", *SEARCHES} | IN_OTHER_FILES
NEEDS_ROOT = {"reuseport-uid"}


def number(summary: Any, path: str) -> Any:
    """What lies at a dotted path."""
    for step in path.split("."):
        summary = summary[step]
    return summary


def test_no_scenario_is_forgotten() -> None:
    assert set(NUMBERS) - set(VERDICTS) == {"dropping-server"}
    assert ELSEWHERE - set(SMALL) == {"million", *SEARCHES} | IN_OTHER_FILES
    shipped = {path.stem for path in (CHECKOUT / "scenarios").glob("*.yaml")}
    assert set(NUMBERS) <= shipped
    assert shipped - set(NUMBERS) <= ELSEWHERE, "say here what it must show"


def test_every_scenario_is_in_the_documentation() -> None:
    text = (CHECKOUT / "docs" / "scenarios.md").read_text()
    for name in {*NUMBERS, *ELSEWHERE}:
        assert f"(../scenarios/{name}.yaml)" in text


def require_nft(name: str) -> None:
    """Skip a scenario with a gateway or with rules where nft(8) is missing."""
    text = (CHECKOUT / "scenarios" / f"{name}.yaml").read_text()
    if ("topology: nat" in text or "rules" in text) and not shutil.which("nft"):
        pytest.skip("needs nft: apt install nftables")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_scenario_proves_itself(loadgen: Loadgen, namespaces_by_root: bool, name: str) -> None:
    if name in NEEDS_ROOT and not namespaces_by_root:
        pytest.skip("inside a user namespace there is no second user")
    require_nft(name)
    done = loadgen("run", CHECKOUT / "scenarios" / f"{name}.yaml", "--json", "--quiet")
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert all(expectation["passed"] for expectation in summary["expect"])
    assert summary["sink"] is None or summary["sink"]["agrees"], summary["sink"]["text"]
    for path, expected in NUMBERS[name].items():
        found = number(summary, path)
        low, high = expected if isinstance(expected, tuple) else (expected, expected)
        assert found == expected or (isinstance(expected, tuple) and low <= found <= high), (path, found)
    if name in VERDICTS:
        assert limit_of(summary) == VERDICTS[name], summary["verdict"]["text"]


@pytest.mark.parametrize("name", SMALL)
def test_a_scenario_keeps_its_verdict_at_a_small_scale(loadgen: Loadgen, name: str) -> None:
    """The expectations are about the full scale; the verdict is the same."""
    changes, limits = SMALL[name]
    words = [word for key, value in {**changes, "expect": "[]"}.items() for word in ("--set", f"{key}={value}")]
    done = loadgen("run", CHECKOUT / "scenarios" / f"{name}.yaml", *words, "--json", "--quiet")
    assert done.code == 0, done.err
    runs = (
        [run for cell in done.summary["cells"] for run in cell["runs"]] if "cells" in done.summary else [done.summary]
    )
    assert [limit_of(run) for run in runs] == limits, [run["verdict"]["text"] for run in runs]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_proves_itself(loadgen: Loadgen, name: str) -> None:
    require_nft(name)
    words = [word for key, value in SEARCHES[name].items() for word in ("--set", f"find.{key}={value}")]
    done = loadgen.start("find", CHECKOUT / "scenarios" / f"{name}.yaml", *words, "--json", "--quiet").finish(SEARCH_S)
    assert done.code == 0, done.err or done.out
    summary = done.summary
    assert {search["kind"] for search in summary["searches"]} == {"found"}
    assert summary["expect"]
    assert all(expectation["passed"] for expectation in summary["expect"])
    if name == "find-reuse":
        assert "tcp_tw_reuse=1 lifts arrival.rate from" in summary["verdict"]["text"]


def test_a_search_whose_answer_is_another_one_fails(loadgen: Loadgen) -> None:
    path = CHECKOUT / "scenarios" / "find-backlog.yaml"
    short = ("--from", "99", "--to", "102", "--set", "find.expect=[value == 101, limit == backlog]")
    done = loadgen("find", path, *short, "--json", "--quiet")
    assert done.code == 99, done.err
    assert [(row["passed"], row["observed"]) for row in done.summary["expect"]] == [(False, 100), (True, "backlog")]


def test_a_search_is_no_run_and_becomes_one_without_find(loadgen: Loadgen) -> None:
    path = CHECKOUT / "scenarios" / "find-backlog.yaml"
    refused = loadgen("run", path)
    assert refused.code == 2
    assert f"loadgen find {path}" in assert_one_message(refused)
    done = loadgen("run", path, "--set", "find=null", "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 40


def test_a_report_made_later_knows_the_probes(loadgen: Loadgen) -> None:
    """They are in the events, and summed up from there."""
    done = loadgen("run", CHECKOUT / "scenarios" / "time-wait-server.yaml", "--json", "--quiet")
    probes = done.summary["probes"]
    (done.run / "summary.json").unlink()
    again = loadgen("report", done.run, "--json")
    assert again.code == 0, again.err
    assert again.summary["probes"] == probes


@pytest.mark.usefixtures("_user_namespaces")
def test_a_user_who_does_not_exist_is_said_and_fails_the_expectation(loadgen: Loadgen) -> None:
    """Inside a user namespace with one user in it, as every ordinary user's lab is."""
    scenario = loadgen.scenario(
        connections=1,
        probes=[{"name": "stranger", "when": "hold", "uid": 65534}],
        expect=["probes.stranger.errors == 0"],
    )
    done = loadgen("run", scenario, "--json", prefix=("unshare", "-Ur"))
    assert done.code == 99, done.err
    (stranger,) = done.summary["probes"].values()
    assert stranger.keys() == {"reason"}
    assert "65534" in stranger["reason"]
    assert stranger["reason"].endswith("EINVAL")
    assert stranger["reason"] in done.err
    assert done.summary["expect"] == [{"expression": "probes.stranger.errors == 0", "passed": False, "observed": None}]


def test_slices_outside_the_port_range_are_refused(loadgen: Loadgen) -> None:
    """The kernel would ignore such a bound silently, and hand out other ports."""
    path = CHECKOUT / "scenarios" / "port-range.yaml"
    done = loadgen("run", path, "--set", "sources.ports=30000-30099")
    assert done.code == 3
    message = assert_one_message(done)
    assert "ports 30000-30099 reach outside ip_local_port_range (40000-40099)" in message
    assert "silently ignores" in message


def test_too_few_descriptors_are_refused_unless_that_is_expected(loadgen: Loadgen) -> None:
    path = CHECKOUT / "scenarios" / "fd-limit.yaml"
    refused = loadgen("run", path, "--set", "expect=[]")
    assert refused.code == 3
    assert "need 400, have 236; use `workers: 2`" in assert_one_message(refused)
    done = loadgen("run", loadgen.scenario(descriptors=128, connections=200), "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 200
    assert done.summary["generator"]["workers"] == 4


@pytest.fixture
def namespaces_by_root() -> bool:
    """Whether labs are made without a user namespace."""
    return os.geteuid() == 0
