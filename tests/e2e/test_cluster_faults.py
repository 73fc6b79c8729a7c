"""What goes wrong on several hosts: agents, shares and coordinators that are killed, stopped or cut off, in each phase.

Each host is a network namespace; see `hosts`. Every share makes its load in a lab of its own. Whatever happens, the
sums of the whole are right, it is said what is missing, nothing is run in place of what is lost, and nothing runs on.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.cluster.messages import LEASE_S, LOST_S, SUSPECT_S

from .conftest import Done, Process, assert_adds_up, assert_one_message, lines_of, mounted
from .hosts import PORT, Host, Network, network

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")

_CONNECTIONS: Final = 300
#: For what takes its own time beside that of the protocol, on a machine that is busy with other tests.
_SLACK_S: Final = 8.0
#: What is done at once is done within this time, seconds.
_PROMPT_S: Final = 3.0
#: A share that hears nothing any more may take as long to drain, and then for its last reports to be read; see
#: `loadgen.cluster.conductor`.
_DRAIN_S: Final = 5.0
_FLUSH_S: Final = 5.0
#: An agent without a coordinator stops its load within this time.
_STOPS_S: Final = 10.0
#: Of two keys that are pressed: closer together they would be one.
_APART_S: Final = 0.2
_SUMS: Final = {
    "arrivals": ("scheduled", "started", "not_started"),
    "outcomes": ("established", "failed", "in_flight", "retried"),
    "open": ("lost",),
}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Network]:
    """A host for the coordinator, and those of the agents a and b."""
    with network(tmp_path, 3) as made:
        yield made


@pytest.fixture
def many_hosts(tmp_path: Path) -> Iterator[Network]:
    """A host for the coordinator, and those of the agents a to d: one that stays, and one for each kind of a fault."""
    with network(tmp_path, 5) as made:
        yield made


class Whole:
    """A run on all hosts, under way."""

    def __init__(
        self,
        hosts: Network,
        *,
        start: Sequence[str] | None = None,
        prefix: Sequence[str] = (),
        options: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        """Start it.

        start: which agents to start of the two that are waited for, all unless told otherwise. prefix, options: of the
        coordinator. changes: of the scenario, which opens 100 connections a second for three seconds.
        """
        self.hosts, self.home = hosts, hosts.hosts[0]
        scenario = self.home.loadgen.scenario(
            **{"workers": 1, "connections": _CONNECTIONS, "arrival": {"rate": "100/s"}, "hold": "1500ms"} | changes
        )
        self.coordinator = self.home.coordinate(scenario, 2 if start else len(hosts.agents), *options, prefix=prefix)
        started = [host for host in hosts.agents if start is None or host.name in start]
        self.agents = {host.name: host.agent() for host in started}
        self.fault_s = 0.0

    def until(self, phase: str, *victims: Host) -> None:
        """Wait until the shares of these hosts are in a phase; a drain does not end by itself then."""
        for victim in victims:
            if phase == "ramp":
                self.until_own(victim, lambda line: line["established"] >= 10)
            else:
                self.until_own(victim, lambda line: line["phase"] == "hold")
        if phase == "drain":
            for worker in [worker for victim in victims for worker in self.workers(victim)]:
                worker.signal(signal.SIGSTOP)
            for victim in victims:
                self.until_own(victim, lambda line: line["phase"] == "drain")

    def until_own(self, host: Host, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for a line of the share of a host, as it writes it."""

        def found() -> bool:
            runs = list((host.loadgen.home / "results").glob("*/series.jsonl"))
            return any(holds(line) for run in runs for line in lines_of(run))

        self.coordinator.until(found, f"line of {host.name}")

    @staticmethod
    def workers(host: Host) -> list[Process]:
        """The processes of a share that connect: they hold no listening socket."""
        zygotes = [each for each in host.share() if "zygote" in each.command and each.parent == host.conductor().pid]
        return [child for zygote in zygotes for child in zygote.children() if not child.listens]

    def now(self) -> None:
        """Note that the fault comes now."""
        self.fault_s = time.time()

    def lost(self) -> set[str]:
        """The names of the agents that the coordinator has lost so far."""
        return {event["text"].split()[1] for event in self.home.events if event["event"] == "agent-lost"}

    def left_s(self, since_fault_s: float) -> float:
        """Return the seconds until so many after the fault."""
        return self.fault_s + since_fault_s - time.time()

    def event_s(self, kind: str, name: str = "") -> float:
        """When an event of the whole about an agent came, in seconds after the fault, by its own account."""
        events = self.home.events
        start = next(event for event in events if event["event"] == "started")
        event = next(event for event in events if event["event"] == kind and f"agent {name}" in event["text"])
        return float(start["at_ns"] / 1e9 + event["t_s"] - self.fault_s)

    def finish(self, code: int = 4, timeout_s: float = 40.0) -> dict[str, Any]:
        """The summary of the whole, after a look at what must hold whatever became of it."""
        done = self.coordinator.finish(timeout_s)
        assert done.code == code, done.err
        return checked(done)

    def interrupt(self) -> dict[str, Any]:
        """End it in its hold, as by Ctrl-C, however long others took until then; the summary: all was well before."""
        self.until("hold", *(host for host in self.hosts.agents if host.name in self.agents))
        self.coordinator.signal(signal.SIGINT)
        summary = self.finish(130)
        assert summary["incomplete_because"] == "interrupted; drained early"
        assert summary["outcomes"]["established"] == _CONNECTIONS
        assert summary["open"]["lost"] == 0
        return summary


def part(summary: dict[str, Any]) -> int:
    """The connections of each agent."""
    return _CONNECTIONS // len(summary["agents"])


def checked(done: Done) -> dict[str, Any]:
    """The summary of a run of several agents: everything that was due is in it once, and its agents add up to it."""
    summary = done.summary
    assert "Traceback" not in done.err
    assert json.loads((done.run / "summary.json").read_text()) == summary
    assert (done.run / "report.html").stat().st_size > 10_000
    assert_whole(summary)
    assert summary["arrivals"]["scheduled"] == _CONNECTIONS
    return summary


def assert_whole(summary: dict[str, Any]) -> None:
    """The sums of the whole and of each agent, and that the first are those of the others."""
    for one in (summary, *summary["agents"]):
        assert_adds_up(one)
    for group, names in _SUMS.items():
        for name in names:
            assert summary[group][name] == sum(agent[group][name] for agent in summary["agents"]), f"{group}.{name}"


def states(line: dict[str, Any]) -> set[tuple[str, str]]:
    """Each agent with its state in a line of the whole."""
    return {(name, state) for name, state, *_ in line["agents"]}


def agent_of(summary: dict[str, Any], name: str) -> dict[str, Any]:
    """The part of an agent in the summary of the whole."""
    found: dict[str, Any] = next(agent for agent in summary["agents"] if agent["name"] == name)
    return found


def assert_missing(summary: dict[str, Any], reasons: Mapping[str, str]) -> None:
    """That the whole says which agents it lacks and why, and that every other agent has its own share and not more."""
    assert not summary["complete"]
    because = summary["incomplete_because"]
    for agent in summary["agents"]:
        if reason := reasons.get(agent["name"]):
            assert f"agent {agent['name']} {reason}" in because
            assert not agent["complete"], agent["name"]
        else:
            assert f"agent {agent['name']} " not in because
            assert agent["complete"], agent["incomplete_because"]
            assert agent["outcomes"]["established"] == part(summary)
    assert because.count(f"; {100 / len(summary['agents']):.1f} % of the load is missing") == len(reasons)


def own_summary(host: Host) -> dict[str, Any]:
    """What the share of a host has left there; nothing was run there a second time."""
    summary: dict[str, Any] = json.loads((host.run / "summary.json").read_text())
    assert_adds_up(summary)
    return summary


def assert_stopped_by_itself(whole: Whole, host: Host) -> None:
    """That the share of a host began to close its connections in time, and says why."""
    events = host.events
    start = next(event for event in events if event["event"] == "started")
    stop = next(event for event in events if event["event"] == "interrupted")
    assert "the coordinator" in stop["text"]
    assert start["at_ns"] / 1e9 + stop["t_s"] - whole.fault_s < _STOPS_S


# --- An agent ---------------------------------------------------------------------------------------

phases = pytest.mark.parametrize("phase", ["ramp", "hold", "drain"])


@phases
def test_what_is_killed_is_missed_at_once(many_hosts: Network, phase: str) -> None:
    """Of b the agent, of c the share, of d both, and the share first.

    A share whose agent is gone closes its connections by itself, and keeps what it has measured.
    """
    whole, (_, b, c, d) = Whole(many_hosts), many_hosts.agents
    whole.until(phase, b, c, d)
    whole.now()
    whole.agents["b"].signal(signal.SIGKILL)
    for conductor in (c.conductor(), d.conductor()):
        conductor.signal(signal.SIGKILL)
    whole.agents["d"].signal(signal.SIGKILL)
    summary = whole.finish()
    gone = "was lost: agent {} is gone"
    reasons = {"b": gone.format("b"), "c": "ended early: the share was killed by SIGKILL", "d": ""}
    reasons["d"] = gone.format("d") if gone.format("d") in summary["incomplete_because"] else "ended early: the share"
    assert_missing(summary, reasons)
    for name in reasons:
        assert whole.event_s("agent-lost", name) < _PROMPT_S
    b.until_no_share(_DRAIN_S + _SLACK_S)
    assert_stopped_by_itself(whole, b)
    assert own_summary(b)["outcomes"]["established"] >= agent_of(summary, "b")["outcomes"]["established"]
    for host in many_hosts.agents:
        host.until_no_share(_SLACK_S)
        assert host.run
    for name in ("a", "c"):
        assert whole.agents[name].popen.poll() is None


@phases
def test_an_agent_that_falls_silent_is_suspect_and_then_lost(many_hosts: Network, phase: str) -> None:
    """The cable of b is cut, the agent of c is stopped, and of d the processes of its share, too.

    The coordinator shows them as suspect after 3 s and gives them up after 10 s. Shares that run have stopped their
    load by themselves by then, and the stopped one does so as soon as it goes on. An agent that comes back while the
    others still hold their connections takes no part any more.
    """
    whole, (a, b, c, d) = Whole(many_hosts, hold="25s" if phase == "hold" else "1500ms"), many_hosts.agents
    whole.until(phase, b, c, d)
    of_agents = [Process.of(whole.agents[host.name].popen.pid) for host in (c, d)]
    stopped = [*of_agents, *d.share()]
    whole.now()
    b.cut()
    for process in stopped:
        process.signal(signal.SIGSTOP)
    whole.coordinator.until_line("suspects", lambda line: states(line) >= {("b", "suspect"), ("c", "suspect")})

    def come_back() -> None:
        b.join()
        for process in stopped:
            process.signal(signal.SIGCONT)

    if phase == "hold":
        whole.coordinator.until(lambda: whole.lost() == {"b", "c", "d"}, "loss of three agents")
        come_back()
        # Whether the scheduler had given them up as well by then is a matter of moments; their shares end either way.
        for host in (b, c, d):
            host.until_no_share(LEASE_S + _DRAIN_S + _FLUSH_S + _SLACK_S)
    else:
        for host in (b, c):
            host.until_no_share(whole.left_s(LEASE_S + _DRAIN_S + _FLUSH_S + _SLACK_S))
    summary = whole.finish()
    assert_missing(summary, dict.fromkeys("bcd", "was lost: it has not answered for 10 s: it is stopped, or cut off"))
    for name in "bcd":
        # Both count from its last answer, of which there is one in two seconds at the least.
        assert SUSPECT_S - 2.0 < whole.event_s("agent-suspect", name) < SUSPECT_S + 1.0
        assert LOST_S - 2.0 < whole.event_s("agent-lost", name) < LOST_S + 1.0
    if phase != "hold":
        come_back()
    for host in many_hosts.agents:
        host.until_no_share(_DRAIN_S + _FLUSH_S + _SLACK_S)
    for host in (b, c):
        assert_stopped_by_itself(whole, host)
    for host in (b, c, d):
        assert own_summary(host)["outcomes"]["established"] >= agent_of(summary, host.name)["outcomes"]["established"]
        said = whole.agents[host.name]
        said.until(lambda said=said: "has gone" in said.err.read_text(), "end of the coordinator")  # type: ignore[misc]
    assert own_summary(a)["outcomes"] == agent_of(summary, "a")["outcomes"]


def test_an_agent_that_is_stopped_for_a_moment_goes_on(hosts: Network) -> None:
    """It is suspect meanwhile, and nothing is missing in the end."""
    whole, b = Whole(hosts), hosts.hosts[2]
    whole.until("ramp", b)
    agent = Process.of(whole.agents["b"].popen.pid)
    agent.signal(signal.SIGSTOP)
    whole.coordinator.until_event("agent-suspect", SUSPECT_S + _SLACK_S)
    agent.signal(signal.SIGCONT)
    summary = whole.finish(0)
    assert summary["complete"]
    assert summary["outcomes"]["established"] == _CONNECTIONS
    (back,) = (event for event in hosts.hosts[0].events if event["event"] == "agent-back")
    assert back["text"] == "agent b answers again"
    assert own_summary(b)["outcomes"] == agent_of(summary, "b")["outcomes"]


def test_an_agent_that_stands_still_before_the_start_is_waited_for(tmp_path: Path) -> None:
    """As long as one in the middle of the load: twenty agents that start on one host keep each other waiting."""
    with network(tmp_path, 3) as hosts:
        a, _ = hosts.agents
        whole = Whole(hosts, start=("b",))
        said = whole.coordinator.err
        whole.coordinator.until(lambda: "1 of 2 agents: b" in said.read_text(), "first agent")
        agent = Process.of(whole.agents["b"].popen.pid)
        agent.signal(signal.SIGSTOP)
        whole.agents["a"] = a.agent()
        whole.agents["a"].until(lambda: "joined" in whole.agents["a"].err.read_text(), "second agent")
        time.sleep(2 * SUSPECT_S)
        agent.signal(signal.SIGCONT)
        summary = whole.finish(0)
        assert summary["complete"]
        assert summary["outcomes"]["established"] == _CONNECTIONS


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_agent_that_is_lost_before_the_start_ends_the_run_before_any_load(
    hosts: Network, number: signal.Signals
) -> None:
    whole, (_, a, b) = Whole(hosts), hosts.hosts
    share = b.conductor()
    whole.agents["b"].signal(number)
    done = whole.coordinator.finish(LOST_S + 2 * _SLACK_S)
    assert done.code == 4, done.err
    because = "agent b is gone" if number is signal.SIGKILL else "it is stopped, or cut off"
    assert because in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    a.until_no_share(_SLACK_S)
    if number is signal.SIGSTOP:
        whole.agents["b"].popen.send_signal(signal.SIGCONT)
    # Its share may have heard from it last when the coordinator did; without a reader its last words take their time.
    b.until_no_share(LEASE_S + _DRAIN_S + _FLUSH_S + _SLACK_S)
    assert not share.alive
    for host in (a, b):
        for path in (host.loadgen.home / "results").glob("*/series.jsonl"):
            assert not any(line["started"] for line in lines_of(path))


def test_with_on_loss_stop_the_others_close_their_connections(hosts: Network) -> None:
    whole, b = Whole(hosts, hold="60s", agents={"on_loss": "stop"}), hosts.hosts[2]
    whole.until("hold", b)
    whole.now()
    whole.agents["b"].signal(signal.SIGKILL)
    summary = whole.finish(timeout_s=20)
    assert "agent b was lost: agent b is gone" in summary["incomplete_because"]
    assert any("agents.on_loss is stop" in event["text"] for event in hosts.hosts[0].events)
    assert agent_of(summary, "a")["outcomes"]["established"] == part(summary)
    assert summary["open"]["lost"] == 0
    for host in hosts.agents:
        host.until_no_share(_DRAIN_S + _SLACK_S)


def test_an_agent_that_joins_late_is_named_and_takes_no_part(tmp_path: Path) -> None:
    with network(tmp_path, 4) as hosts:
        a, _, late = hosts.agents
        whole = Whole(hosts, start=("a", "b"), hold="5m")
        whole.until("ramp", a)
        joined = late.agent()
        whole.coordinator.until(
            lambda: f"an agent at {late.address} has joined late" in whole.coordinator.err.read_text(), "late agent"
        )
        summary = whole.interrupt()
        assert [agent["name"] for agent in summary["agents"]] == ["a", "b"]
        # Some milliseconds, where no other test keeps the processors busy.
        assert max(agent["started_ms"] for agent in summary["agents"]) < 500
        assert not (late.loadgen.home / "results").exists()
        joined.until(lambda: "has gone" in joined.err.read_text(), "end of the coordinator")


# --- The coordinator ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "phase"), [("killed", "hold"), ("cut", "ramp")])
def test_agents_without_their_coordinator_stop_and_what_they_keep_can_be_merged(
    hosts: Network, how: str, phase: str
) -> None:
    whole, (home, a, b) = Whole(hosts, hold="60s"), hosts.hosts
    whole.until(phase, a, b)
    whole.now()
    if how == "killed":
        whole.coordinator.signal(signal.SIGKILL)
    else:
        home.cut()
    for host in (a, b):
        host.until_no_share(whole.left_s(LEASE_S + _DRAIN_S + _FLUSH_S + _SLACK_S))
        assert_stopped_by_itself(whole, host)
    parts = [own_summary(host) for host in (a, b)]
    merged = home.loadgen("report", a.run, b.run, "--merge", home.loadgen.home / "merged", "--json")
    assert merged.code == 0, merged.err
    assert_whole(merged.summary)
    for group, names in _SUMS.items():
        for name in names:
            assert merged.summary[group][name] == sum(one[group][name] for one in parts)
    assert merged.summary["arrivals"]["scheduled"] == _CONNECTIONS
    if how == "cut":  # what it has is a run, too: that of agents that fell silent
        summary = whole.finish()
        assert_missing(summary, dict.fromkeys("ab", "was lost: it has not answered for 10 s"))
        home.join()
    for host in (a, b):
        said = whole.agents[host.name]
        said.until(lambda said=said: "has gone" in said.err.read_text(), "end of the coordinator")  # type: ignore[misc]


def test_a_second_coordinator_that_wants_the_same_agents_is_refused(hosts: Network) -> None:
    """Another on the same address cannot listen, one elsewhere finds none, and one that finds them has to wait."""
    home, a, _ = hosts.hosts
    whole = Whole(hosts, hold="5m")
    whole.until("ramp", a)
    again = home.coordinate(home.loadgen.home / "scenario.yaml", 2, "--out", "second")
    assert "cannot listen on 10.77.0.1:9786 (Address already in use)" in assert_one_message(again.finish())
    elsewhere = a.coordinate(a.loadgen.scenario(), 2, "--wait", "1s", "--out", "second")
    done = elsewhere.finish()
    assert done.code == 3
    assert "0 of 2 agents joined tls://10.77.0.2:9786 within 1 s" in done.err
    asked = ["--agents", "2", "--dask", f"tls://{home.address}:{PORT}", "--certs", str(hosts.certs), "--out", "second"]
    there = a.start("run", a.loadgen.scenario(), *asked).finish()
    assert there.code == 3
    assert "agent a: a share of another run" in there.err
    assert "wait for its end" in there.err
    whole.interrupt()
    for host in (home, a):
        assert not (host.loadgen.home / "second").exists()


# --- Disks --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_disk_that_is_full_on_one_agent_ends_its_share_alone(hosts: Network, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    full = mounted(f"mount -t tmpfs -o size=64k,mode=777 tmpfs {disk}")
    whole = Whole(hosts, start=("a",), hold="4s")
    b = hosts.hosts[2]
    whole.agents["b"] = b.agent("--results", str(disk), prefix=full)
    summary = whole.finish()
    assert not summary["complete"]
    assert "agent b ended early: " in summary["incomplete_because"]
    assert "No space left on device" in summary["incomplete_because"]
    assert agent_of(summary, "a")["complete"]
    assert agent_of(summary, "a")["outcomes"]["established"] == part(summary)
    for host in hosts.agents:
        host.until_no_share(_SLACK_S)
        assert whole.agents[host.name].popen.poll() is None


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_disk_that_is_full_at_the_coordinator_ends_the_run(hosts: Network, tmp_path: Path) -> None:
    """The run ends, as one on a single host does; each agent keeps its own run directory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    full = mounted(f"mount -t tmpfs -o size=256k,mode=777 tmpfs {disk}")
    whole = Whole(hosts, hold="60s", prefix=full, options=("--out", str(disk)))
    done = whole.coordinator.finish(40)
    assert done.code == 3, done.err
    assert "No space left on device" in done.err
    assert "Traceback" not in done.err
    for host in hosts.agents:
        host.until_no_share(_DRAIN_S + _SLACK_S)
        assert own_summary(host)["outcomes"]["established"] > 0
        assert whole.agents[host.name].popen.poll() is None


# --- Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["ramp", "hold"])
def test_one_interrupt_has_all_close_their_connections_and_report(hosts: Network, phase: str) -> None:
    whole, (_, a, b) = Whole(hosts, hold="60s"), hosts.hosts
    whole.until(phase, a, b)
    whole.now()
    whole.coordinator.signal(signal.SIGINT)
    summary = whole.finish(130, 15)
    assert not summary["complete"]
    assert summary["incomplete_because"] == "interrupted; drained early"
    assert summary["open"]["lost"] == 0
    assert summary["outcomes"]["established"] == summary["arrivals"]["started"] > 0
    for host in (a, b):
        host.until_no_share(_SLACK_S)
        own = own_summary(host)
        assert own["outcomes"] == agent_of(summary, host.name)["outcomes"]
        assert whole.agents[host.name].popen.poll() is None


@pytest.mark.parametrize("phase", ["ramp", "drain"])
def test_two_interrupts_stop_all_at_once(hosts: Network, phase: str) -> None:
    """Within two seconds no process of any share is left, whatever they were at."""
    whole, (_, a, b) = Whole(hosts, hold="1500ms"), hosts.hosts
    whole.until(phase, a, b)
    whole.now()
    whole.coordinator.deliver(signal.SIGINT)
    time.sleep(_APART_S)
    whole.coordinator.deliver(signal.SIGINT)
    for host in (a, b):
        host.until_no_share(whole.left_s(2.0 + 1.0))
    summary = whole.finish(130, 10)
    assert not summary["complete"]
    assert "stopped at once" in summary["incomplete_because"] or "interrupted" in summary["incomplete_because"]
    for host in (a, b):
        assert whole.agents[host.name].popen.poll() is None
