"""What many hosts cost: agents that wait, the coordinator of twenty, and a rate divided over two agents.

    python -m bench.cluster [--rounds N] [--agents N] [--only agents|rates]

Agents and coordinator are processes of this machine, in a network namespace of the harness with loopback alone, and
talk by mutual TLS as on several hosts; every share makes its load in a lab of its own. Memory is Pss, in which pages
that several processes share count as a part of each. The coordinator's processor time is that of its process while all
agents hold their connections and write a line a second each, over the time of that.

The rate: a run with so many workers on one host, and with one worker each on as many agents, in turn and in turning
order. What counts is the ratio inside a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.figures import Spread
from bench.host import enter_namespace, machine, set_up_namespace
from bench.output import machine_text
from bench.processes import cpu_s, pss_bytes
from loadgen.cluster import certificates
from loadgen.errors import ExitCode, LoadgenError

_AT: Final = "127.0.0.1:9786"
#: No step takes a third of it.
_GIVE_UP_S: Final = 120.0
_POLL_S: Final = 0.05
#: After the last agent has joined or begun to hold, and for the measurement.
_SETTLE_S: Final = 3.0
_MEASURE_S: Final = 15.0
#: Connections that each agent holds while the coordinator is measured, and those of a run for its rate.
_HELD: Final = 100
_CONNECTIONS: Final = 30_000
_DIVIDED_BY: Final = 2
#: What can be measured alone.
ONLY: Final = ("agents", "rates")
#: What is measured, its unit and its goal, and whether that is the most or the least.
GOALS: Final = {
    "idle agent": ("MB", 60.0, False),
    "coordinator": ("MB", 150.0, False),
    "coordinator's processor time": ("% of a core", 5.0, False),
    "rate, divided / on one host": ("", 0.95, True),
}


@dataclass(slots=True)
class Measured:
    """Every value, round by round."""

    agent_mb: list[float]
    coordinator_mb: list[float]
    coordinator_percent: list[float]
    divided_per_s: list[float]
    local_per_s: list[float]

    def spreads(self) -> dict[str, Spread]:
        """What is compared with the goals."""
        ratios = [ours / theirs for ours, theirs in zip(self.divided_per_s, self.local_per_s, strict=True)]
        values = (self.agent_mb, self.coordinator_mb, self.coordinator_percent, ratios)
        return {name: Spread.of(found) for name, found in zip(GOALS, values, strict=True) if found}


def scenario(connections: int, *, workers: int, sinks: int, hold_s: float) -> dict[str, Any]:
    """Held connections in a lab, without a schedule; one side closes them and no TIME-WAIT is left."""
    return {
        "name": "cluster",
        "lab": {},
        "sources": {"addresses": "127.0.1.1-127.0.1.2"},
        "targets": [{"address": "127.0.0.1:9000", "sink": True}],
        "connections": connections,
        "workers": workers,
        "sinks": sinks,
        "interval": "1s",
        "hold": f"{hold_s:g}s",
        "close": "rst",
    }


def lines_of(spreads: dict[str, Spread]) -> list[str]:
    """A line for each measurement: the median, how far it reached, its goal, and whether that is met."""
    lines = []
    for name, spread in spreads.items():
        unit, goal, least = GOALS[name]
        met = spread.median >= goal if least else spread.median <= goal
        text = f"{spread.median:.2f} {unit}".strip()
        wanted = f"{'at least' if least else 'at most'} {goal:g}"
        verdict = "met" if met else "missed"
        lines.append(f"{name:<30} {text:>18}   ({spread.low:.2f} to {spread.high:.2f}; goal: {wanted}, {verdict})")
    return lines


class Bench:
    """Agents and coordinators in a directory of their own."""

    def __init__(self, home: Path, agents: int) -> None:
        self.home, self.names = home, [f"agent-{number:02}" for number in range(1, agents + 1)]
        self.certs = home / "certs"
        certificates.write(self.certs, self.names)

    @contextmanager
    def agents(self, names: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Start agents, and end them after the block."""
        with ExitStack() as stack:
            started = []
            for name in names:
                options = ["--coordinator", f"tls://{_AT}", "--name", name, "--results", str(self.home / name)]
                agent = self._start(name, "agent", *options, "--certs", str(self.certs))
                stack.callback(_ended, agent)
                started.append(agent)
            yield started

    def coordinate(self, count: int, plan: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start a run of so many agents."""
        options = ["--agents", str(count), "--listen", _AT, "--certs", str(self.certs), "--wait", "60s"]
        return self._run(plan, *options)

    def alone(self, plan: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start a run on one host."""
        return self._run(plan)

    def _run(self, plan: dict[str, Any], *options: str) -> subprocess.Popen[bytes]:
        file = self.home / "scenario.yaml"
        file.write_text(json.dumps(plan))
        out = tempfile.mkdtemp(dir=self.home)
        return self._start("run", "run", str(file), *options, "--quiet", "--json", "--out", out)

    def _start(self, name: str, *args: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.out").open("wb") as out, (self.home / f"{name}.err").open("wb") as err:
            return subprocess.Popen([sys.executable, "-m", "loadgen", *args], stdout=out, stderr=err)

    def said(self, name: str) -> str:
        """What a process has written on stderr."""
        return (self.home / f"{name}.err").read_text()

    def rate_per_s(self, running: subprocess.Popen[bytes]) -> float:
        """Wait for the end of a run; return how fast it opened its connections. Raises: LoadgenError."""
        code = running.wait(_GIVE_UP_S)
        if code:
            raise LoadgenError(f"a run ended with {code}: {self.said('run').strip()}")
        return float(json.loads((self.home / "run.out").read_text())["rate_per_s"]["established_mean"])

    def until(self, holds: Callable[[], bool], what: str, running: subprocess.Popen[bytes]) -> None:
        """Wait for something. Raises: LoadgenError if the run ends before, or it takes too long."""
        deadline_s = time.monotonic() + _GIVE_UP_S
        while not holds():
            if running.poll() is not None or time.monotonic() > deadline_s:
                raise LoadgenError(f"there was no {what}: {self.said('run').strip()}")
            time.sleep(_POLL_S)

    def holding(self) -> bool:
        """Whether the latest run holds all of its connections: its series says so."""
        found = max(self.home.glob("tmp*/*/series.jsonl"), key=lambda path: path.stat().st_mtime, default=None)
        lines = found.read_text().splitlines(keepends=True) if found else []
        return any(json.loads(line)["phase"] == "hold" for line in lines if line.endswith("\n"))


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _mb(pid: int) -> float:
    return pss_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text()) / 1e6


def _cpu_s(pid: int) -> float:
    return cpu_s(Path(f"/proc/{pid}/stat").read_text())


def measure_many(bench: Bench, measured: Measured) -> None:
    """One agent that waits, then all of them in a run."""
    plan = scenario(_HELD * len(bench.names), workers=1, sinks=1, hold_s=_MEASURE_S + 2 * _SETTLE_S)
    coordinator = bench.coordinate(len(bench.names), plan)
    first, *others = bench.names
    try:
        with bench.agents([first]) as (agent,):
            bench.until(lambda: "has joined" in bench.said(first), "first agent", coordinator)
            time.sleep(_SETTLE_S)
            measured.agent_mb.append(_mb(agent.pid))
            with bench.agents(others):
                bench.until(bench.holding, "hold", coordinator)
                time.sleep(_SETTLE_S)
                before_s, spent_s = time.monotonic(), _cpu_s(coordinator.pid)
                time.sleep(_MEASURE_S)
                spent_s = _cpu_s(coordinator.pid) - spent_s
                measured.coordinator_percent.append(100 * spent_s / (time.monotonic() - before_s))
                measured.coordinator_mb.append(_mb(coordinator.pid))
                bench.rate_per_s(coordinator)
    finally:
        _ended(coordinator)


def measure_rates(bench: Bench, measured: Measured, *, divided_first: bool) -> None:
    """The same connections by the same workers on one host, and divided over agents."""

    def divided() -> None:
        plan = scenario(_CONNECTIONS, workers=1, sinks=1, hold_s=0.5)
        with bench.agents(bench.names[:_DIVIDED_BY]):
            measured.divided_per_s.append(bench.rate_per_s(bench.coordinate(_DIVIDED_BY, plan)))

    def local() -> None:
        plan = scenario(_CONNECTIONS, workers=_DIVIDED_BY, sinks=_DIVIDED_BY, hold_s=0.5)
        measured.local_per_s.append(bench.rate_per_s(bench.alone(plan)))

    for step in (divided, local) if divided_first else (local, divided):
        step()


def run(rounds: int, agents: int, only: str | None) -> None:
    """Measure and print. only: one of ONLY. Raises: LoadgenError."""
    measured, host = Measured([], [], [], [], []), machine()
    with tempfile.TemporaryDirectory(prefix="loadgen-bench-") as folder:
        bench = Bench(Path(folder), agents)
        for number in range(rounds):
            said = []
            if only != "rates":
                measure_many(bench, measured)
                said += [f"agent {measured.agent_mb[-1]:.1f} MB, coordinator {measured.coordinator_mb[-1]:.1f} MB"]
                said += [f"{measured.coordinator_percent[-1]:.1f} % of a core"]
            if only != "agents":
                measure_rates(bench, measured, divided_first=bool(number % 2))
                said += [
                    f"{measured.divided_per_s[-1]:,.0f}/s divided",
                    f"{measured.local_per_s[-1]:,.0f}/s on one host",
                ]
            print(f"round {number + 1} of {rounds}: {', '.join(said)}", file=sys.stderr)
    print(f"{agents} agents, medians of {rounds} rounds")
    print("\n".join(lines_of(measured.spreads())))
    if measured.local_per_s:
        divided, local = statistics.median(measured.divided_per_s), statistics.median(measured.local_per_s)
        print(f"{'connections per second':<30} {divided:,.0f} divided, {local:,.0f} on one host")
    print(machine_text(host))


def main(arguments: Sequence[str]) -> int:
    """Parse, move into a namespace, measure; every failure is one sentence on stderr and an exit code."""
    parser = argparse.ArgumentParser(prog="bench.cluster", description="what many hosts cost")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default 5, a minute each)")
    parser.add_argument("--agents", type=int, default=20, metavar="N", help="agents of one coordinator (default 20)")
    parser.add_argument("--only", choices=ONLY, help="memory and processor time of agents and coordinator, or rates")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 1 <= options.rounds <= 100 or not _DIVIDED_BY <= options.agents <= 100:
        parser.error(f"--rounds must be 1 to 100, --agents {_DIVIDED_BY} to 100")
    try:
        if not options.inside:
            enter_namespace(arguments, "bench.cluster")
        set_up_namespace()
        run(options.rounds, options.agents, options.only)
    except LoadgenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.FINE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
