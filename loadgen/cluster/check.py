"""A look at the agents of a cluster before a run: what would stop it, and the remedy of each problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadgen import format as fmt
from loadgen import styles
from loadgen.cluster import calls
from loadgen.cluster.connection import PORT, Agent, ClockDifference, Cluster
from loadgen.cluster.messages import AgentFacts
from loadgen.errors import HostError, LoadgenError, UsageError
from loadgen.model import Endpoint
from loadgen.scenario import units

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]

#: Clocks further apart than this make times of one run disagree in its results.
_CLOCK_NS: Final = 1_000_000_000
#: A start on all agents within 50 ms needs clocks known better than that.
_ERROR_NS: Final = 25_000_000
#: A share of very few connections takes as many.
_DESCRIPTORS: Final = 10_000
#: Of versions: what differs in a way that keeps two processes from working together.
_COMPARED: Final = ("loadgen", "distributed")


@dataclass(frozen=True, slots=True)
class AgentCheck:
    """One agent. facts, clock: None if it did not answer. problems: sentences with their remedies."""

    agent: Agent
    facts: AgentFacts | None
    clock: ClockDifference | None
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        facts, clock = self.facts, self.clock
        return {
            "name": self.agent.name,
            "address": self.agent.address,
            "answers": facts is not None,
            "host": facts.host if facts else None,
            "versions": dict(facts.versions) if facts else None,
            "cpus": facts.cpus if facts else None,
            "descriptors": facts.descriptors if facts else None,
            "allow": list(facts.allow) if facts else None,
            "authorized": facts.authorized if facts else None,
            "clock_ns": clock.realtime_ns if clock else None,
            "clock_error_ns": clock.error_ns if clock else None,
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class Preflight:
    """All agents, and the problems that are of none of them. versions: the coordinator's own."""

    address: str
    versions: dict[str, str]
    agents: tuple[AgentCheck, ...]
    others: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem; those of an agent with its name."""
        return (*self.others, *(f"{one.agent}: {text}" for one in self.agents for text in one.problems))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "coordinator": self.address,
            "versions": self.versions,
            "agents": [one.to_json() for one in self.agents],
            "problems": list(self.problems),
        }


def place_of(listen: str | None, dask: str | None) -> Endpoint | str:
    """Return where to listen, or the address of a scheduler that runs already. Raises: UsageError."""
    if listen and dask:
        raise UsageError("--listen is for a scheduler of loadgen's own, and --dask names another; leave one out")
    if dask:
        return dask
    try:
        return units.listening_endpoint(listen) if listen else Endpoint("127.0.0.1", PORT)
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from None


def reaching(place: Endpoint | str, certificates: Path | None, notice: Say) -> AbstractAsyncContextManager[Cluster]:
    """Return the cluster of a place. Raises, when entered: as `Cluster.listening` and `Cluster.of`."""
    if isinstance(place, Endpoint):
        return Cluster.listening(place.address, place.port, certificates, notice)
    return Cluster.of(place, certificates, notice)


async def take(place: Endpoint | str, count: int, certificates: Path | None, wait_s: float, say: Say) -> Preflight:
    """Wait for that many agents, and ask each one. say: called with each line about those that come or are turned away.

    Raises: as `Cluster.listening` and `Cluster.of`; agents that are missing or silent are problems, and no errors.
    """
    others: list[str] = []

    def notice(sentence: str) -> None:
        others.append(sentence)
        say(sentence)

    async with reaching(place, certificates, notice) as cluster:
        try:
            found = await cluster.joined(count, wait_s, say)
        except HostError as error:
            others.append(str(error))
            found = await cluster.present()
        checks = tuple([await _checked(cluster, agent) for agent in found])
        return Preflight(cluster.address, calls.versions(), checks, (*others, *same_names(found)))


async def _checked(cluster: Cluster, agent: Agent) -> AgentCheck:
    try:
        facts = await cluster.facts(agent)
        clock = await cluster.offset_ns(agent)
    except LoadgenError as error:
        return AgentCheck(agent, None, None, (f"{error}; look at its process and the network to it",))
    return AgentCheck(agent, facts, clock, problems_of(facts, clock, calls.versions()))


def same_names(agents: tuple[Agent, ...]) -> list[str]:
    """Return a sentence for each name that several agents have."""
    names = [agent.name for agent in agents]
    return [
        f"{names.count(name)} agents are called {name}; give each another --name"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def problems_of(facts: AgentFacts, clock: ClockDifference, own: dict[str, str]) -> tuple[str, ...]:
    """Return what keeps an agent from taking part in a run. own: versions of the coordinator."""
    found = [
        f"{name} {facts.versions.get(name) or '(none)'}, and {own[name]} at the coordinator; install the same on both"
        for name in _COMPARED
        if facts.versions.get(name) != own[name]
    ]
    if _minor(facts.versions.get("python", "")) != _minor(own["python"]):
        found.append(
            f"Python {facts.versions.get('python')}, and {own['python']} at the coordinator; use one version on both"
        )
    if abs(clock.realtime_ns) - clock.error_ns > _CLOCK_NS:
        found.append(
            f"its clock is {fmt.signed(round(clock.realtime_ns / 1e9, 1))} s off; set it: timedatectl set-ntp true"
        )
    if clock.error_ns > _ERROR_NS:
        found.append(
            f"its clock is known to {clock.error_ns / 1e6:.0f} ms only, too little to start all agents together; "
            "use a link with shorter round trips"
        )
    if facts.descriptors < _DESCRIPTORS:
        found.append(
            f"its processes may have {facts.descriptors:,} files open at once; start it with more: ulimit -Hn, or "
            "LimitNOFILE= of its unit"
        )
    return tuple(found)


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def render(found: Preflight, console: Console) -> None:
    """Print the table and the problems below it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style=styles.STRONG)
    for head in ("agent", "host", "versions", "kernel", "clock", "cpus", "files", "allows"):
        table.add_column(head, overflow="fold")
    for one in found.agents:
        table.add_row(*(Text(fmt.visible(cell)) for cell in cells(one, found.versions)))
    if found.agents:
        console.print(table)
    for problem in found.problems:
        console.print(Text(f"problem: {fmt.visible(problem)}"), soft_wrap=True)
    many = fmt.many(len(found.agents), "agent")
    console.print(
        f"{many}, {fmt.many(len(found.problems), 'problem')}" if found.problems else f"{many}, all well",
        highlight=False,
    )


def cells(one: AgentCheck, own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the row of an agent. own: versions of the coordinator; those of the agent are shown where they differ."""
    if one.facts is None or one.clock is None:
        return (one.agent.name, one.agent.address.partition("://")[2], "no answer", *[fmt.MISSING] * 5)
    facts, clock = one.facts, one.clock
    other = [
        f"{name} {facts.versions.get(name) or fmt.MISSING}"
        for name in own
        if name != "kernel" and facts.versions.get(name) != own[name]
    ]
    return (
        one.agent.name,
        facts.host,
        ", ".join(other) or "as here",
        facts.versions.get("kernel") or fmt.MISSING,
        f"{clock.realtime_ns / 1e6:+.1f} ms ±{clock.error_ns / 1e6:.1f}",
        str(facts.cpus),
        f"{facts.descriptors:,}",
        (", ".join(facts.allow) or "loopback, labs") + (", authorized" if facts.authorized else ""),
    )
