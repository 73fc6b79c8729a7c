"""A share of a run, as an agent sees it: a process that reads orders and writes reports, each run in a lab of its own.

The tests are the agent. Every wait is for a report or for the end of a process.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pytest

from loadgen.cluster.messages import (
    Assessed,
    Began,
    Close,
    Closing,
    Continue,
    Drained,
    Ended,
    Finish,
    Happened,
    Hold,
    Interrupt,
    Opened,
    Order,
    Planned,
    Portion,
    Prepare,
    Ready,
    Report,
    SeriesLine,
    Start,
)
from loadgen.cluster.split import portions_of
from loadgen.model import Plan
from loadgen.results.schema import files

from .conftest import PATIENCE_S, Loadgen, Namespace, Process, assert_adds_up, environment, lines_of, wait_until

R = TypeVar("R", bound=Report)

_REPORTS: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)
#: A lease that a test can wait for. Processes that compete for two cores are not silent for that long.
_LEASE_S: Final = 3.0
#: Far enough ahead for an order to reach the processes of a share.
_AHEAD_NS: Final = 200_000_000
_SCENARIO: Final = {
    "name": "part",
    "lab": {"topology": "loopback"},
    "sources": {"addresses": "127.0.1.1"},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 200,
    "workers": 1,
    "interval": "50ms",
}


class Agent:
    """Starts a share, keeps it alive by `Continue` until told otherwise, and collects its reports."""

    def __init__(
        self, home: Path, name: str, *, lease_s: float | None = None, reads: bool = True, prefix: Sequence[str] = ()
    ) -> None:
        given = "" if lease_s is None else f"lease_s={lease_s}"
        code = f"import sys; from loadgen.cluster.share import main; sys.exit(main({given}))"
        command = ["-m", "loadgen.cluster.share"] if lease_s is None else ["-c", code]
        self.home, self.name = home, name
        self.results, self.errors = home / name, home / f"{name}.stderr"
        with self.errors.open("wb") as stderr:
            self.popen = subprocess.Popen(
                [*prefix, sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(),
                cwd=home,
            )
        assert self.popen.stdin
        assert self.popen.stdout
        self._orders, self._reports = self.popen.stdin, self.popen.stdout
        self._lock, self._silent = threading.Lock(), threading.Event()
        self.raw: list[bytes] = []
        self.seen: set[Process] = set()
        self._threads = [threading.Thread(target=self._keep_alive)]
        if reads:
            self._threads.append(threading.Thread(target=self._read))
        else:
            fcntl.fcntl(self._reports.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self._reports:
            self.raw.append(line)

    def _keep_alive(self) -> None:
        while not self._silent.wait(0.05):
            self.order(Continue())

    def order(self, order: Order) -> None:
        """Write an order, unless the share has ended."""
        with self._lock:
            try:
                self._orders.write(msgspec.json.encode(order) + b"\n")
                self._orders.flush()
            except (BrokenPipeError, ValueError):
                pass

    def prepare(self, portion: Portion | None = None, **changes: Any) -> None:
        """Order a share of the scenario of this module, with these keys changed (None: left out)."""
        keys = {key: value for key, value in (_SCENARIO | changes).items() if value is not None}
        self.order(self.preparation(json.dumps(keys), portion))

    def preparation(self, text: str, portion: Portion | None = None, **more: Any) -> Prepare:
        """The order to prepare."""
        portion = portion or Portion(name=self.name)
        return Prepare(scenario=text, origin="s.yaml", settings=(), portion=portion, results=str(self.results), **more)

    def start(self, at_ns: int | None = None) -> None:
        """Order the start."""
        self.order(Start(at_ns=at_ns or time.monotonic_ns() + _AHEAD_NS))

    def silent(self) -> None:
        """Order nothing any more, as an agent that is stopped or cut off."""
        self._silent.set()
        self._threads[0].join()

    def leave(self) -> None:
        """End the orders, as the kernel does when the agent is killed."""
        self.silent()
        self._orders.close()

    @property
    def reports(self) -> list[Report]:
        """The reports so far. Whatever else is on stdout fails the test."""
        return [_REPORTS.decode(line) for line in list(self.raw)]

    def all_of(self, kind: type[R]) -> list[R]:
        """The reports of one kind so far."""
        return [report for report in self.reports if isinstance(report, kind)]

    def until(self, kind: type[R], holds: Callable[[R], object] = lambda _: True) -> R:
        """The first report of a kind of which this is true."""
        return wait_until(lambda: next(filter(holds, self.all_of(kind)), None), f"{kind.__name__}")

    def until_phase(self, phase: str) -> None:
        """Wait for a line of the series in this phase."""
        wait_until(lambda: phase in self.phases(), f"line of the phase {phase}")

    def until_holding(self, **changes: Any) -> None:
        """Prepare, start, and hold for hours."""
        self.prepare(hold="2h", **changes)
        self.until(Ready)
        self.start()
        self.until(Opened)
        self.order(Hold())
        self.until_phase("hold")
        self.seen.update(Process.of(self.popen.pid).descendants())

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the series so far."""
        return [msgspec.json.decode(report.line) for report in self.all_of(SeriesLine)]

    def phases(self) -> set[str]:
        """The phases of these lines."""
        return {line["phase"] for line in self.lines()}

    def events(self) -> list[dict[str, Any]]:
        """The events so far."""
        return [msgspec.json.decode(report.event) for report in self.all_of(Happened)]

    def ended(self) -> Ended:
        """The last report, when the process has ended with the same code and has said nothing else anywhere."""
        code = self.popen.wait(PATIENCE_S)
        self.silent()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        *_, last = self.reports
        assert isinstance(last, Ended)
        assert code == last.exit_code
        assert "\n" not in last.text
        assert self.errors.read_text() == ""
        return last

    def summary(self) -> dict[str, Any]:
        """The summary in the run directory."""
        (path,) = self.results.glob("*/summary.json")
        summary: dict[str, Any] = json.loads(path.read_text())
        assert_adds_up(summary)
        return summary

    def close(self) -> None:
        """End what a failed test left, then see that no process is there."""
        if self.popen.poll() is None:
            self.seen.update(Process.of(self.popen.pid).descendants())
            self.popen.kill()
            self.popen.wait(PATIENCE_S)
        self.silent()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for stream in (self._orders, self._reports):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        wait_until(lambda: not any(process.alive for process in self.seen), "end of all processes")


Hire = Callable[..., Agent]


@pytest.fixture
def hire(tmp_path: Path) -> Iterator[Hire]:
    """Makes agents, and ends them."""
    agents: list[Agent] = []

    def made(name: str = "a", *, lease_s: float | None = None, reads: bool = True, prefix: Sequence[str] = ()) -> Agent:
        agents.append(Agent(tmp_path, name, lease_s=lease_s, reads=reads, prefix=prefix))
        return agents[-1]

    yield made
    for agent in agents:
        agent.close()


def kinds(reports: Sequence[Report]) -> list[type[Report]]:
    """The kinds of reports in order of first appearance."""
    return list(dict.fromkeys(type(report) for report in reports))


def test_two_shares_are_one_run(hire: Hire) -> None:
    """They begin at one instant, hold together, and their sums are the whole."""
    agents = [hire("a"), hire("b")]
    for agent, portion in zip(agents, portions_of({"a": 1, "b": 1}), strict=True):
        agent.prepare(
            portion, connections=301, arrival={"rate": "600/s"}, hold="100ms", expect=["outcomes.failed == 9"]
        )
    for agent in agents:
        agent.until(Ready)
    at_ns = time.monotonic_ns() + _AHEAD_NS
    for agent in agents:
        agent.start(at_ns)
    for agent in agents:
        agent.until(Opened)
        assert agent.phases() == {"ramp"}
    for agent in agents:
        agent.order(Hold())
    for agent in agents:
        assert agent.ended() == Ended(exit_code=0, path=agent.until(Ready).path)
        assert kinds(agent.reports)[:2] == [Planned, Ready]
        (began,) = agent.all_of(Began)
        assert began.due_ns == at_ns
        assert began.begun_ns >= at_ns
    summaries = [agent.summary() for agent in agents]
    assert [summary["outcomes"]["established"] for summary in summaries] == [151, 150]
    plans = [files.read(bytes(agent.until(Planned).plan), Plan) for agent in agents]
    assert [plan.connections for plan in plans] == [151, 150]
    assert [plan.arrival_carry for plan in plans] == [0.5, 0.0]
    assert {plan.expect for plan in plans} == {()}


def test_what_is_reported_is_what_is_written(hire: Hire) -> None:
    agent = hire()
    agent.prepare(hold="100ms")
    agent.start()
    agent.order(Hold())
    run = Path(agent.ended().path)
    assert run.parent == agent.results
    written = (run / "series.jsonl").read_bytes().splitlines()
    assert [bytes(report.line) for report in agent.all_of(SeriesLine)] == written
    assert [bytes(report.event) for report in agent.all_of(Happened)] == (
        run / "events.jsonl"
    ).read_bytes().splitlines()
    (planned,) = agent.all_of(Planned)
    assert msgspec.json.decode(planned.plan) == json.loads((run / "plan.json").read_text())
    assert msgspec.json.decode(planned.host) == json.loads((run / "host.json").read_text())
    assert (run / "scenario.yaml").read_text().startswith("# the share of agent a: 1 of 1\n")
    assert (run / "report.html").stat().st_size > 10_000


def test_a_share_holds_only_when_it_is_told_to(hire: Hire) -> None:
    """Where another host is slower, this one waits with its connections open."""
    agent = hire()
    agent.prepare(hold="100ms")
    agent.until(Ready)
    agent.start()
    agent.until(Opened)
    before = len(agent.all_of(SeriesLine))
    agent.until(SeriesLine, lambda _: len(agent.all_of(SeriesLine)) > before + 5)
    assert agent.phases() == {"ramp"}
    assert agent.lines()[-1]["open"] == 200
    agent.order(Hold())
    assert agent.ended().exit_code == 0


def test_churn_holds_nothing_and_waits_for_nothing(hire: Hire) -> None:
    agent = hire()
    agent.prepare(connections=None, churn={"duration": "300ms"}, arrival={"rate": "200/s"}, close="rst")
    agent.start()
    assert agent.ended().exit_code == 0
    assert agent.all_of(Opened) == []
    assert agent.summary()["outcomes"]["established"] == 60


def test_only_an_assessment_is_reported_where_no_more_is_asked(hire: Hire) -> None:
    agent = hire()
    agent.order(agent.preparation(json.dumps(_SCENARIO), only_plan=True))
    assert agent.ended() == Ended(exit_code=0)
    assert kinds(agent.reports) == [Assessed, Ended]
    (assessed,) = agent.all_of(Assessed)
    report = json.loads(bytes(assessed.assessment))
    assert (report["schema"], report["possible"], report["connections"]) == ("loadgen.plan/1", True, 200)
    assert report["host"]["kernel"] == os.uname().release
    assert not agent.results.exists()


def assert_stopped_by_itself(agent: Agent, loadgen: Loadgen, because: str) -> None:
    """The load is closed, and what was measured is there for `loadgen report`."""
    ended = agent.ended()
    assert ended.exit_code == 4
    assert because in ended.text
    (event,) = [event for event in agent.events() if event["event"] == "interrupted"]
    assert event["text"].startswith(because)
    summary = agent.summary()
    assert not summary["complete"]
    assert because in summary["incomplete_because"]
    assert lines_of(Path(ended.path) / "series.jsonl")[-1]["open"] == 0
    made_again = loadgen("report", ended.path, "--json")
    assert made_again.summary["outcomes"] == summary["outcomes"]


def test_the_end_of_orders_stops_the_load(hire: Hire, loadgen: Loadgen) -> None:
    """As the kernel ends them when the agent is killed."""
    agent = hire()
    agent.until_holding()
    agent.leave()
    assert_stopped_by_itself(agent, loadgen, "the coordinator or the agent is gone")


def test_silence_stops_the_load(hire: Hire, loadgen: Loadgen) -> None:
    """An agent that is stopped, or cut off from its coordinator, keeps the pipe open."""
    agent = hire(lease_s=_LEASE_S)
    agent.until_holding()
    agent.silent()
    assert_stopped_by_itself(agent, loadgen, f"the coordinator was not heard from for {_LEASE_S:g} s")


def test_silence_before_the_first_order(hire: Hire) -> None:
    agent = hire(lease_s=0.1)
    agent.silent()
    ended = agent.ended()
    assert (ended.exit_code, ended.path) == (4, "")
    assert ended.text == "the coordinator was not heard from for 0.1 s; interrupted before any load"


def test_silence_before_the_start(hire: Hire) -> None:
    """Every process waits, and none of them for ever."""
    agent = hire(lease_s=_LEASE_S)
    agent.prepare()
    agent.until(Ready)
    agent.silent()
    ended = agent.ended()
    assert ended.exit_code == 4
    assert "not heard from" in ended.text
    assert agent.lines()[-1]["started"] == 0
    assert not agent.summary()["complete"]


def test_silence_before_the_hold(hire: Hire) -> None:
    agent = hire(lease_s=_LEASE_S)
    agent.prepare(hold="2h")
    agent.until(Ready)
    agent.start()
    agent.until(Opened)
    agent.silent()
    assert agent.ended().exit_code == 4
    assert len([line for line in agent.lines() if line["phase"] == "hold"]) <= 1, "no time is spent in it"


def test_an_order_that_is_not_understood_stops_the_load(hire: Hire, loadgen: Loadgen) -> None:
    """A coordinator of another version must not believe that it is obeyed."""
    agent = hire()
    agent.until_holding()
    assert agent.popen.stdin
    agent.silent()
    agent.popen.stdin.write(b'{"do":"dance"}\n')
    agent.popen.stdin.flush()
    assert_stopped_by_itself(agent, loadgen, "an order was not understood")


def test_a_share_that_cannot_close_its_connections_stops_at_once(hire: Hire) -> None:
    """No order will come that would end it, and a worker that is stopped closes nothing."""
    agent = hire()
    agent.until_holding()
    (worker,) = (
        process
        for process in agent.seen
        if "zygote" in process.command and process.children() == [] and not process.listens
    )
    worker.signal(signal.SIGSTOP)
    agent.leave()
    ended = agent.ended()
    assert ended.exit_code == 4
    assert [event["event"] for event in agent.events()].count("interrupted") == 2
    assert agent.events()[-1]["event"] == "ended"


def test_an_interrupt_drains_and_a_second_one_stops(hire: Hire) -> None:
    once, twice = hire("once"), hire("twice")
    for agent in (once, twice):
        agent.until_holding()
        agent.order(Interrupt())
    twice.order(Interrupt())
    for agent in (once, twice):
        assert agent.ended().exit_code == 130
        assert agent.summary()["incomplete_because"].startswith("interrupted; drained early")
    assert [event["event"] for event in twice.events()].count("interrupted") == 2


def test_sigterm_is_an_interrupt(hire: Hire) -> None:
    agent = hire()
    agent.until_holding()
    agent.popen.send_signal(signal.SIGTERM)
    assert agent.ended().exit_code == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_of_a_terminal_are_the_agents(hire: Hire, number: signal.Signals) -> None:
    """Ctrl-C at the agent goes to its whole group; the agent orders what it means."""
    agent = hire()
    agent.until_holding()
    agent.popen.send_signal(number)
    agent.order(Interrupt())
    agent.ended()
    assert [event["event"] for event in agent.events()].count("interrupted") == 1


def test_an_interrupt_before_the_start(hire: Hire) -> None:
    agent = hire()
    agent.prepare()
    agent.until(Ready)
    agent.order(Interrupt())
    assert agent.ended().exit_code == 130
    assert agent.lines()[-1]["started"] == 0
    assert not agent.summary()["complete"]


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"connections": "many"}, 2, "s.yaml:1:"),
        ({"connections": 0, "hold": "never"}, 2, "s.yaml:1:"),
        ({"matrix": {"connections": [1, 2]}}, 2, "matrix: a run on several agents is one run"),
        ({"lab": None, "targets": [{"address": "192.0.2.1:9000"}]}, 2, "--allow"),
        ({"lab": {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40003"}}}, 3, "four-tuples: need 200"),
    ],
)
def test_what_cannot_be_is_refused_in_the_last_report(
    hire: Hire, changes: dict[str, Any], code: int, text: str
) -> None:
    agent = hire()
    agent.prepare(**changes)
    ended = agent.ended()
    assert ended.exit_code == code
    assert text in ended.text
    assert ended.path == ""
    assert agent.reports == [ended]


def test_a_file_gives_no_orders(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.touch()
    with orders.open() as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "loadgen.cluster.share"],
            stdin=stdin,
            capture_output=True,
            env=environment(),
            timeout=PATIENCE_S,
        )
    ended = _REPORTS.decode(done.stdout)
    assert isinstance(ended, Ended)
    assert (done.returncode, ended.exit_code) == (2, 2)
    assert "through a pipe" in ended.text


def test_reports_that_are_not_read_delay_nothing(hire: Hire) -> None:
    """The run comes to its end, and its directory has every line."""
    agent = hire(reads=False)
    agent.prepare(hold="1s")
    agent.start()
    agent.order(Hold())
    assert agent.popen.wait(PATIENCE_S) == 0
    assert agent.summary()["complete"]


def test_a_reader_that_is_gone_ends_nothing(hire: Hire) -> None:
    agent = hire(reads=False)
    assert agent.popen.stdout
    agent.popen.stdout.close()
    agent.prepare(hold="100ms")
    agent.start()
    agent.order(Hold())
    assert agent.popen.wait(PATIENCE_S) == 0
    assert agent.summary()["complete"]


def test_a_share_that_is_killed_leaves_no_process(hire: Hire) -> None:
    """The fixture looks whether any is left."""
    agent = hire()
    agent.until_holding()
    assert len(agent.seen) >= 3, "the process that forks, a worker and a sink"
    agent.popen.kill()
    agent.popen.wait(PATIENCE_S)
    wait_until(lambda: not any(process.alive for process in agent.seen), "end of all processes")


def test_a_share_whose_sinks_close_first_waits_for_the_others_to_expect_it(hire: Hire) -> None:
    agent = hire()
    agent.until_holding(close="target")
    agent.order(Interrupt())
    agent.until(Closing)
    before = len(agent.all_of(SeriesLine))
    agent.until(SeriesLine, lambda _: len(agent.all_of(SeriesLine)) > before + 3)
    assert agent.lines()[-1]["open"] == 200
    agent.order(Close())
    assert agent.ended().exit_code == 130
    assert agent.summary()["open"]["lost"] == 0


def test_without_orders_sinks_close_first_by_themselves(hire: Hire, loadgen: Loadgen) -> None:
    agent = hire()
    agent.until_holding(close="target")
    agent.leave()
    assert_stopped_by_itself(agent, loadgen, "the coordinator or the agent is gone")
    assert [event["event"] for event in agent.events()].count("interrupted") == 1, "it closes in time"


_LISTENING: Final = {"lab": None, "targets": [{"address": "127.0.0.1:9000", "sink": {"agents": ["c"]}}]}
_NOTHING: Final = Portion(name="c", index=1, of=1, before=1, weight=0, total=1)


@pytest.fixture
def serving(hire: Hire, namespace: Namespace) -> Agent:
    """A share that only listens, when it does."""
    agent = hire("c", prefix=namespace.enter)
    agent.prepare(_NOTHING, **_LISTENING)
    agent.until(Ready)
    agent.start()
    agent.until(Opened)
    agent.order(Hold())
    agent.until(Drained)
    return agent


def test_a_share_that_only_listens_serves_until_it_is_told_that_the_others_have_gone(serving: Agent) -> None:
    plan = files.read(bytes(serving.until(Planned).plan), Plan)
    assert (plan.connections, plan.workers, plan.guests) == (0, 0, 200)
    serving.until(Began)
    before = len(serving.all_of(SeriesLine))
    serving.until(SeriesLine, lambda _: len(serving.all_of(SeriesLine)) > before + 3)
    assert serving.phases() <= {"ramp", "hold"}
    serving.order(Finish(established=0))
    assert serving.ended().exit_code == 0
    assert serving.summary()["complete"]


def test_a_share_that_only_listens_is_interrupted_and_serves_those_that_drain(serving: Agent) -> None:
    serving.order(Interrupt())
    before = len(serving.all_of(SeriesLine))
    serving.until(SeriesLine, lambda _: len(serving.all_of(SeriesLine)) > before + 3)
    serving.order(Finish(established=0))
    assert serving.ended().exit_code == 130


def test_a_second_interrupt_ends_a_share_that_only_listens(serving: Agent) -> None:
    serving.order(Interrupt())
    serving.order(Interrupt())
    assert serving.ended().exit_code == 130


def test_without_orders_a_share_that_only_listens_ends(serving: Agent, loadgen: Loadgen) -> None:
    serving.leave()
    assert_stopped_by_itself(serving, loadgen, "the coordinator or the agent is gone")


def test_a_share_that_only_listens_is_interrupted_before_the_start(hire: Hire, namespace: Namespace) -> None:
    agent = hire("c", prefix=namespace.enter)
    agent.prepare(_NOTHING, **_LISTENING, close="target")
    agent.until(Ready)
    agent.order(Interrupt())
    assert agent.ended().exit_code == 130
