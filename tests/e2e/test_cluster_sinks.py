"""Runs on several agents of which one listens for the others, as processes.

On loopback all agents share a namespace. Where it matters whose kernel counts what, each host has a namespace of its
own, and a bridge joins them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.cluster import certificates

from .conftest import (
    Done,
    Loadgen,
    Namespace,
    Process,
    Running,
    assert_adds_up,
    environment,
    limit_of,
    lines_of,
    wait_until,
)

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")

_HERE: Final = "127.0.0.1:9786"
_TARGET: Final = "127.0.0.9:9000"
#: A process with a network namespace of its own, loopback up, that lives until its standard input closes.
_HOST: Final = """
import sys
from loadgen.lab import namespace
namespace.enter({})
print("ready", flush=True)
sys.stdin.read()
"""


def shares(*names: str) -> dict[str, Any]:
    """A share for each agent, with a source address of its own: 127.0.1.1 and so on."""
    return {"shares": [{"name": name, "sources": f"127.0.1.{number}"} for number, name in enumerate(names, 1)]}


class Cluster:
    """Agents and a coordinator in one namespace."""

    def __init__(self, loadgen: Loadgen, namespace: Namespace) -> None:
        self.loadgen, self.enter = loadgen, namespace.enter
        self.agents: dict[str, Running] = {}

    def scenario(self, **changes: Any) -> Path:
        """Two agents open 300 connections to a third."""
        keys: dict[str, Any] = {
            "lab": None,
            "targets": [{"address": _TARGET, "sink": {"agents": ["c"]}}],
            "connections": 300,
            "hold": "500ms",
            "agents": shares("a", "b"),
        }
        return self.loadgen.scenario(**(keys | changes))

    def start(self, scenario: Path, *of_agents: str, names: str = "abc") -> Running:
        """Start agents with these arguments, and the run."""
        for name in names:
            command = ["agent", "--coordinator", f"tcp://{_HERE}", "--name", name, "--once", "--results", f"of-{name}"]
            self.agents[name] = self.loadgen.start(*command, *of_agents, prefix=self.enter)
        command = ["run", str(scenario), "--agents", str(len(names)), "--listen", _HERE, "--json"]
        return self.loadgen.start(*command, prefix=self.enter)

    def own(self, name: str) -> Path:
        """The run directory that an agent made itself."""
        (path,) = (self.loadgen.home / f"of-{name}").iterdir()
        return path


@pytest.fixture
def cluster(loadgen: Loadgen, namespace: Namespace) -> Cluster:
    return Cluster(loadgen, namespace)


def summary_of(done: Done, code: int = 0) -> dict[str, Any]:
    """The summary of a run that ended so."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert_adds_up(done.summary)
    return done.summary


def agents_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the summary of the whole has of each agent."""
    return {agent["name"]: agent for agent in summary["agents"]}


def test_two_agents_connect_to_a_third(cluster: Cluster) -> None:
    """The sinks of the third see every connection of the other two, and end after them."""
    done = cluster.start(cluster.scenario()).finish()
    summary = summary_of(done)
    assert summary["complete"]
    assert summary["outcomes"]["established"] == 300
    assert summary["open"]["lost"] == 0
    sink = summary["sink"]
    assert (sink["accepted"], sink["agrees"], sink["open_peak"]) == (300, True, 300)
    assert {row["source"]: row["accepted"] for row in sink["sources"]} == {"127.0.1.1": 150, "127.0.1.2": 150}
    assert limit_of(summary) == "none"
    assert summary["prediction"]["as_predicted"]
    of = agents_of(summary)
    assert [of[name]["outcomes"]["established"] for name in "abc"] == [150, 150, 0]
    assert of["c"]["verdict"]["text"].startswith("300 connections of other agents accepted")
    plan = json.loads((done.run / "agents" / "c" / "plan.json").read_text())
    assert (plan["connections"], plan["workers"], plan["guests"], plan["sources"]) == (0, 0, 300, [])
    for name in "ab":
        plan = json.loads((done.run / "agents" / name / "plan.json").read_text())
        assert (plan["sinks"], [target["sink"] for target in plan["targets"]]) == (0, [False])
        assert "guests" not in plan
    phases = [line["phase"] for line in lines_of(done.run / "series.jsonl")]
    assert list(dict.fromkeys(phases)) == ["ramp", "hold", "drain", "done"]


def test_one_that_only_listens_has_an_ordinary_run_directory(cluster: Cluster, loadgen: Loadgen) -> None:
    cluster.start(cluster.scenario()).finish()
    own = cluster.own("c")
    assert {path.name for path in own.iterdir()} == {
        *("events.jsonl", "host.json", "plan.json", "report.html", "scenario.yaml", "series.jsonl", "summary.json")
    }
    series = lines_of(own / "series.jsonl")
    assert {line["phase"] for line in series} == {"ramp", "hold", "drain", "done"}
    assert max(line["sink"]["open"] for line in series) == 300
    assert series[-1]["sink"]["open"] == 0
    assert series[-1]["kernel"]["delta"]["Tcp.PassiveOpens"] >= 300
    again = loadgen("report", own, "--json")
    assert (again.code, again.summary["sink"]["agrees"]) == (0, None)
    assert "300 connections. Other agents opened all of them" in again.summary["sink"]["text"]
    merged = loadgen("report", *(cluster.own(name) for name in "abc"), "--merge", loadgen.home / "merged", "--json")
    assert merged.code == 0, merged.err
    assert (merged.summary["sink"]["accepted"], merged.summary["sink"]["agrees"]) == (300, True)


def test_one_with_a_share_does_both(cluster: Cluster) -> None:
    """Its own connections and those of the other go to its sinks, which end last."""
    scenario = cluster.scenario(agents=shares("a", "c"), connections=100)
    summary = summary_of(cluster.start(scenario, names="ac").finish())
    assert summary["complete"]
    assert [agents_of(summary)[name]["outcomes"]["established"] for name in "ac"] == [50, 50]
    assert (summary["sink"]["accepted"], summary["sink"]["agrees"]) == (100, True)


@pytest.mark.parametrize("close", ["fin", "rst", "target"])
def test_churn_is_served_to_its_end(cluster: Cluster, close: str) -> None:
    scenario = cluster.scenario(
        connections=None,
        hold=None,
        churn={"duration": "1s", "concurrency": 50},
        arrival={"rate": "400/s"},
        protocol="echo",
        close=close,
    )
    done = cluster.start(scenario).finish()
    summary = summary_of(done)
    assert summary["complete"]
    assert (summary["arrivals"]["scheduled"], summary["outcomes"]["established"]) == (400, 400)
    assert summary["traffic"]["replies"] == 400
    assert (summary["sink"]["accepted"], summary["sink"]["agrees"]) == (400, True)
    phases = [line["phase"] for line in lines_of(done.run / "series.jsonl")]
    assert list(dict.fromkeys(phases)) == ["churn", "drain", "done"]


@pytest.mark.parametrize("names", ["abc", "ac"])
def test_sinks_close_first_once_every_client_expects_it(cluster: Cluster, names: str) -> None:
    """No client takes it for a loss, also where the agent that listens is one of them."""
    clients = names if names == "ac" else "ab"
    done = cluster.start(cluster.scenario(close="target", agents=shares(*clients)), names=names).finish()
    summary = summary_of(done)
    assert summary["complete"]
    assert (summary["outcomes"]["established"], summary["open"]["lost"]) == (300, 0)
    assert (summary["sink"]["accepted"], summary["sink"]["agrees"]) == (300, True)


def test_an_interrupt_has_the_sinks_close_first_all_the_same(cluster: Cluster) -> None:
    run = cluster.start(cluster.scenario(close="target", hold="2h"))
    run.until_holding()
    run.signal(signal.SIGINT)
    summary = summary_of(run.finish(), 130)
    assert (summary["open"]["lost"], summary["sink"]["accepted"]) == (0, 300)


def test_datagrams_are_served(cluster: Cluster) -> None:
    summary = summary_of(cluster.start(cluster.scenario(transport="udp", protocol="echo")).finish())
    assert summary["complete"]
    assert (summary["sink"]["accepted"], summary["sink"]["agrees"]) == (300, True)


def test_an_interrupt_drains_the_others_before_the_sinks_end(cluster: Cluster) -> None:
    run = cluster.start(cluster.scenario(hold="2h"))
    run.until_holding()
    run.signal(signal.SIGINT)
    summary = summary_of(run.finish(), 130)
    assert summary["open"]["lost"] == 0
    assert summary["outcomes"]["established"] == summary["sink"]["accepted"] == 300
    assert lines_of(run.run / "series.jsonl")[-1]["sink"]["open"] == 0


def listener(cluster: Cluster, run: Running) -> tuple[Process, list[Process]]:
    """The agent that only listens, once it does, and all below it."""
    process = cluster.agents["c"].process
    below = run.until(
        lambda: [each for each in process.descendants() if each.listens] and process.descendants(), "sink of the agent"
    )
    run.seen.update(below)
    return process, below


def test_a_listener_that_is_killed_is_missed(cluster: Cluster) -> None:
    """The run says so and comes to an end, and nothing of the listener runs on."""
    run = cluster.start(cluster.scenario(hold="1s"))
    process, below = listener(cluster, run)
    run.until_holding()
    os.kill(process.pid, signal.SIGKILL)
    summary = summary_of(run.finish(), 4)
    assert "agent c was lost" in summary["incomplete_because"]
    assert "what listened there for the others is missing from now on" in summary["incomplete_because"]
    assert summary["outcomes"]["established"] == 300
    assert summary["sink"]["agrees"] in (True, None)
    wait_until(lambda: not any(each.alive for each in below), "end of its processes", 20)


def test_a_share_that_listens_ends_with_its_coordinator(cluster: Cluster) -> None:
    """Within its lease and the time to drain; and it keeps what it has counted."""
    run = cluster.start(cluster.scenario(hold="2h"))
    _, below = listener(cluster, run)
    run.until_holding()
    run.process.signal(signal.SIGKILL)
    wait_until(lambda: not any(each.alive for each in below), "end of its processes", 25)
    summary = json.loads((cluster.own("c") / "summary.json").read_text())
    assert not summary["complete"]
    assert summary["sink"]["accepted"] == 300


def test_an_address_of_another_host_is_refused_by_name(cluster: Cluster) -> None:
    scenario = cluster.scenario(targets=[{"address": "10.9.9.9:9000", "sink": {"agents": ["c"]}}])
    done = cluster.start(scenario, "--allow", "10.9.9.0/24").finish()
    assert done.code == 3, done.err
    assert "agent c" in done.err
    assert "cannot listen on 10.9.9.9:9000: EADDRNOTAVAIL; address 10.9.9.9 is not on this host" in done.err
    assert "ip address add 10.9.9.9/32" in done.err


def test_a_name_that_no_agent_has_is_refused(cluster: Cluster) -> None:
    scenario = cluster.scenario(targets=[{"address": _TARGET, "sink": {"agents": ["sink-*"]}}])
    done = cluster.start(scenario).finish()
    assert done.code == 2, done.err
    assert "sink.agents: no agent is called sink-*; there are a, b, c" in done.err


def test_without_agents_loadgen_listens_itself(loadgen: Loadgen, namespace: Namespace) -> None:
    scenario = loadgen.scenario(lab=None, targets=[{"address": _TARGET, "sink": {"agents": ["c"]}}])
    done = loadgen("run", scenario, "--json", prefix=namespace.enter)
    summary = summary_of(done)
    assert (summary["sink"]["accepted"], summary["sink"]["agrees"]) == (200, True)
    notes = [event["text"] for event in lines_of(done.run / "events.jsonl") if event["event"] == "note"]
    assert any(f"this run has no agents, so loadgen listens at {_TARGET} itself" in note for note in notes)


@pytest.fixture
def hosts() -> Iterator[Mapping[str, tuple[str, ...]]]:
    """A prefix for each of four hosts at one bridge: hub (10.9.0.1), a (10.9.0.2), b (10.9.0.3) and c (10.9.0.4)."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to join namespaces")
    with ExitStack() as stack:
        pids: dict[str, int] = {}
        for name in ("hub", "a", "b", "c"):
            holder = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
                )
            )
            assert holder.stdin
            assert holder.stdout
            stack.callback(holder.stdin.close)
            assert holder.stdout.readline() == b"ready\n"
            pids[name] = holder.pid
        prefixes = {name: ("nsenter", "-t", str(pid), "-n") for name, pid in pids.items()}

        def ip(host: str, *args: str) -> None:
            subprocess.run([*prefixes[host], "ip", *args], check=True)

        ip("hub", "link", "add", "bridge", "type", "bridge")
        ip("hub", "address", "add", "10.9.0.1/24", "dev", "bridge")
        ip("hub", "link", "set", "bridge", "up")
        for number, name in enumerate("abc", 2):
            peer = ("peer", "name", "eth0", "netns", str(pids[name]))
            ip("hub", "link", "add", f"to-{name}", "type", "veth", *peer)
            ip("hub", "link", "set", f"to-{name}", "master", "bridge", "up")
            ip(name, "address", "add", f"10.9.0.{number}/24", "dev", "eth0")
            ip(name, "link", "set", "eth0", "up")
        yield prefixes


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip: apt install iproute2")
@pytest.mark.parametrize("late", [False, True])
def test_a_backlog_is_the_limit_of_the_whole(
    loadgen: Loadgen, hosts: Mapping[str, tuple[str, ...]], late: bool
) -> None:
    """Clients on two hosts only see time-outs, or late connects; the counters of the third make it certain."""
    certificates.write(loadgen.home / "certs", ["a", "b", "c"])
    accepts = {"accept_after": "1s"} if late else {"accept": False}
    scenario = loadgen.scenario(
        lab=None,
        sources={"addresses": "eth0"},
        targets=[
            {"address": "10.9.0.4:9000", "backlog": 8, **accepts, "sink": {"agents": ["c"]}},
        ],
        connections=60,
        sinks=1,
        timeout="10s" if late else "3s",
        expect=["verdict.limit == backlog"],
    )
    for name in "abc":
        command = ["agent", "--coordinator", "tls://10.9.0.1:9786", "--name", name, "--certs", "certs", "--once"]
        loadgen.start(*command, "--allow", "10.9.0.0/24", "--results", f"of-{name}", prefix=hosts[name])
    command = ["run", str(scenario), "--agents", "3", "--listen", "10.9.0.1:9786", "--certs", "certs", "--json"]
    summary = summary_of(loadgen(*command, prefix=hosts["hub"]))
    verdict = summary["verdict"]
    assert (verdict["limit"], verdict["confidence"]) == ("backlog", "certain")
    assert "ListenOverflows" in " ".join(verdict["evidence"])
    assert summary["kernel"]["delta"]["TcpExt.ListenOverflows"] > 0
    assert not verdict.get("findings"), "what was open to each client is decided"
    if not late:
        assert (summary["prediction"]["limit"], summary["prediction"]["as_predicted"]) == ("backlog", True)
    of = agents_of(summary)
    for name in "ab":
        assert of[name]["verdict"]["confidence"] != "certain"
        assert of[name]["outcomes"]["late" if late else "failed"] > 0
    assert of["c"]["verdict"]["limit"] == "none"
