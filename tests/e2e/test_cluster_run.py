"""`loadgen run --agents`: one run on several agents, with the commands that a user types, over mutual TLS on loopback.

Each test has a network namespace of its own; each share has a lab of its own in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.cluster import certificates

from .conftest import Done, Loadgen, Namespace, Running, assert_adds_up, assert_one_message, lines_of

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")

HERE = "tls://127.0.0.1:9786"
Start = Callable[..., Running]


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    certificates.write(tmp_path / "certs", ["a", "b", "c", "gen-1", "gen-2"])
    return tmp_path / "certs"


@pytest.fixture
def agent(loadgen: Loadgen, namespace: Namespace, certs: Path) -> Start:
    """Starts an agent of that name, whose run directories are made in a directory of its own."""

    def start(name: str, *args: str) -> Running:
        command = ["agent", "--coordinator", HERE, "--name", name, "--certs", str(certs), "--results", f"of-{name}"]
        return loadgen.start(*command, *args, prefix=namespace.enter)

    return start


@pytest.fixture
def coordinate(loadgen: Loadgen, namespace: Namespace, certs: Path) -> Callable[..., Done]:
    """Runs a command on that many agents to its end."""

    def to_its_end(command: str, count: int, *args: str | Path, **scenario: Any) -> Done:
        path = loadgen.scenario(**scenario)
        chosen = ["--agents", str(count), "--certs", str(certs)]
        return loadgen.start(command, path, *chosen, *args, prefix=namespace.enter).finish()

    return to_its_end


def assert_same_events(copied: list[dict[str, Any]], own: list[dict[str, Any]]) -> None:
    """But for the start, which the copy has by the coordinator's clock, once the first attempt has begun."""
    assert [event for event in copied if event["event"] != "started"] == [
        event for event in own if event["event"] != "started"
    ]
    assert [event["event"] for event in copied].count("started") == 1


def test_two_agents_are_one_run(agent: Start, coordinate: Callable[..., Done], loadgen: Loadgen) -> None:
    agent("a"), agent("b")
    done = coordinate(
        "run",
        2,
        "--json",
        connections=301,
        arrival={"rate": "600/s"},
        protocol="echo",
        hold="300ms",
        expect=[
            "outcomes.established == 301",
            "open.peak == 301",
            "open.end_of_hold == 301",
            "agents.a.outcomes.failed == 0",
        ],
    )
    assert done.code == 0, done.summary["expect"]
    whole = done.summary
    assert_adds_up(whole)
    assert whole["complete"]
    assert [(one["name"], one["arrivals"]["scheduled"]) for one in whole["agents"]] == [("a", 151), ("b", 150)]
    assert whole["latency_us"]["connect"]["count"] == whole["traffic"]["replies"] == 301
    assert whole["sink"]["agrees"]
    assert whole["verdict"]["limit"] == "none"
    assert [row["passed"] for row in whole["expect"]] == [True] * 4
    assert all(one["started_ms"] is not None and one["clock_error_ms"] is not None for one in whole["agents"])
    (path,) = (loadgen.home / "results").iterdir()
    for name in "ab":
        (own,) = (loadgen.home / f"of-{name}").iterdir()
        copy = path / "agents" / name
        assert (
            json.loads((copy / "summary.json").read_text())["outcomes"]
            == (json.loads((own / "summary.json").read_text())["outcomes"])
        )
        assert (copy / "report.html").is_file()
        assert lines_of(copy / "series.jsonl") == lines_of(own / "series.jsonl"), "none was lost on the way"
        assert_same_events(lines_of(copy / "events.jsonl"), lines_of(own / "events.jsonl"))
    series = lines_of(path / "series.jsonl")
    assert {tally[0] for tally in series[-1]["agents"]} == {"a", "b"}
    assert [event["event"] for event in lines_of(path / "events.jsonl")].count("ended") == 1
    (path / "summary.json").unlink()
    again = loadgen("report", path, "--json")
    assert again.summary == whole, "the summary follows from the files alone"


def test_agents_serve_one_run_after_the_other(agent: Start, coordinate: Callable[..., Done]) -> None:
    agent("a"), agent("b")
    for _ in range(2):
        done = coordinate("run", 2, "--json", "--quiet")
        assert done.code == 0, done.err
        assert done.summary["outcomes"]["established"] == 200


def test_a_scenario_gives_agents_shares_sources_and_targets(agent: Start, coordinate: Callable[..., Done]) -> None:
    agent("gen-1"), agent("gen-2"), agent("c")
    done = coordinate(
        "run",
        3,
        "--json",
        connections=500,
        agents={
            "shares": [
                {"name": "gen-*", "weight": 2, "sources": "127.0.1.7"},
                {"name": "c", "targets": [{"address": "127.0.0.1:9100", "sink": True}]},
            ]
        },
    )
    assert done.code == 0, done.err
    rows = {(row["agent"], row["source"], row["target"], row["established"]) for row in done.summary["sources"]}
    assert rows == {
        ("gen-1", "127.0.1.7", "127.0.0.1:9000", 200),
        ("gen-2", "127.0.1.7", "127.0.0.1:9000", 200),
        ("c", "127.0.1.1", "127.0.0.1:9100", 100),
    }


def test_a_limit_of_one_agent_is_told_with_its_name(agent: Start, coordinate: Callable[..., Done]) -> None:
    agent("a"), agent("b")
    small = {"topology": "loopback", "sysctls": {"net.ipv4.ip_local_port_range": "40000 40149"}}
    shares = [{"name": "a", "sources": "127.0.1.1-2"}]
    done = coordinate("run", 2, "--force", "--json", lab=small, connections=400, agents={"shares": shares})
    assert done.code == 0, done.err
    whole = done.summary
    assert_adds_up(whole)
    assert whole["verdict"]["limit"] == "four-tuples"
    assert whole["verdict"]["text"].startswith("Agent b (1 of 2) met a limit. b: 150 of 200 connections opened")
    assert (whole["prediction"]["at_connections"], whole["prediction"]["as_predicted"]) == (350, True)


def test_a_plan_is_told_of_each_agent_and_of_the_whole(agent: Start, coordinate: Callable[..., Done]) -> None:
    agent("a"), agent("b")
    small = {"topology": "loopback", "sysctls": {"net.ipv4.ip_local_port_range": "40000 40149"}}
    shares = [{"name": "a", "sources": "127.0.1.1-2"}]
    done = coordinate("plan", 2, "--json", lab=small, connections=400, agents={"shares": shares})
    assert done.code == 3
    whole = done.summary
    assert (whole["possible"], whole["limit"], whole["at_connections"]) == (False, "four-tuples", 350)
    assert whole["verdict"] == (
        "impossible on b (1 of 2 agents): four-tuples end at 350 of 400 connections, first on b"
    )
    assert [(one["agent"], one["possible"], one["at_connections"]) for one in whole["agents"]] == [
        ("a", True, 300),
        ("b", False, 150),
    ]
    shown = coordinate("plan", 2, lab=small, connections=400, agents={"shares": shares})
    assert shown.code == 3
    assert "impossible, four-tuples at 150: 200 connections" in shown.out


@pytest.mark.parametrize(
    ("changes", "args", "code", "words"),
    [
        ({"connections": 2}, (), 2, "leave nothing to agent c"),
        ({"matrix": {"hold": ["0s", "1s"]}}, (), 2, "a run on several agents is one run"),
        ({"agents": {"shares": [{"name": "x*"}]}}, (), 2, "no agent is called x*; there are a, b, c"),
        ({"lab": None, "targets": [{"address": "10.9.9.9:80"}]}, (), 2, "agent a cannot run its share: 10.9.9.9 is"),
        ({}, ("--allow", "10.0.0.0/8"), 2, "given to each agent by its own operator"),
        ({}, ("--prove",), 2, "--prove is for a run on one host"),
        ({"expect": ["open.peak == 7"]}, ("--quiet",), 99, "FAIL  open.peak == 7, observed 200"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(
    agent: Start,
    coordinate: Callable[..., Done],
    changes: dict[str, Any],
    args: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    for name in "abc":
        agent(name)
    done = coordinate("run", 3, *args, **changes)
    assert done.code == code, done.err
    assert words in done.err + done.out
    assert "Traceback" not in done.err


def test_options_for_agents_alone_are_refused(loadgen: Loadgen) -> None:
    for option in (("--listen", "127.0.0.1:1"), ("--certs", "."), ("--dask", "tls://127.0.0.1:1"), ("--wait", "1s")):
        done = loadgen("run", loadgen.scenario(), *option)
        assert done.code == 2
        assert f"{option[0]} is for several hosts; add --agents N" in done.err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_file_that_is_no_text_is_refused_before_any_agent_is_asked(loadgen: Loadgen, command: str) -> None:
    (loadgen.home / "bad.yaml").write_bytes(b"name: \xff\xfe")
    done = loadgen(command, loadgen.home / "bad.yaml", "--agents", "2")
    assert done.code == 2
    assert "bad.yaml" in assert_one_message(done)


def test_agents_that_do_not_come_are_named_in_the_message(
    agent: Start, coordinate: Callable[..., Done], loadgen: Loadgen
) -> None:
    agent("a")
    done = coordinate("run", 2, "--wait", "3s", "--quiet")
    assert done.code == 3
    assert f"1 of 2 agents joined {HERE} within 3 s (a); start the others" in done.err.splitlines()[-1]
    assert not (loadgen.home / "results").exists()
    plain = loadgen("run", loadgen.scenario(), "--agents", "1", "--listen", "10.9.9.9:9786")
    assert plain.code == 2
    assert_one_message(plain)
