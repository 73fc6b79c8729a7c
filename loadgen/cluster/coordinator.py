"""The coordinator: one run on many hosts, from the agents that join to one summary.

It splits the scenario, has every agent prepare its share, and gives all of them one instant to start at. From then on
it only listens: each agent is asked for news about once a second, which also tells it that the coordinator is there.
The lines of all agents become the lines of the whole as they come. A share that is lost is never run elsewhere.

It prints nothing and installs no signal handler; the caller may call `interrupt`, as with one run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from loadgen import format as fmt
from loadgen import scenario
from loadgen.clock import now_ns
from loadgen.cluster import calls
from loadgen.cluster.assessment import whole_of
from loadgen.cluster.check import reaching
from loadgen.cluster.connection import Agent, Cluster
from loadgen.cluster.member import Participant
from loadgen.cluster.messages import (
    LOST_S,
    Assessed,
    Began,
    Close,
    Closing,
    Drained,
    Ended,
    Finish,
    Happened,
    Hold,
    Interrupt,
    News,
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
from loadgen.cluster.records import WholeRecord
from loadgen.cluster.split import dealt, settings_of, share_of
from loadgen.control.matrix import with_overrides
from loadgen.control.orchestrator import Observer, Options, Result
from loadgen.errors import (
    AgentSilentError,
    ExitCode,
    HostError,
    IncompleteError,
    InterruptedRunError,
    LoadgenError,
    UsageError,
)
from loadgen.model import CloseMode, Endpoint, Plan
from loadgen.results.merging import whole
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.scenario import ScenarioSpec
from loadgen.scenario.sections import OnLoss

_T = TypeVar("_T")
#: An agent that has no news answers after this time, so that one which is silent is noticed.
_LISTEN_S: Final = 1.0
#: During the load a pause between an answer and the next call, so that lines in quick succession come together.
_RUNNING_S: Final = 0.5
_LOOK_S: Final = 0.1
#: Time for the order to start to reach every agent, and more where their clocks are known less well.
_START_DELAY_NS: Final = 300_000_000
#: For an order during the load, and for the end of a share that is stopped at once.
_ORDER_S: Final = 3.0
_STOP_S: Final = 2.0
_REPORT: Final = msgspec.json.Decoder(Report)


@dataclass(frozen=True, slots=True)
class GivenScenario:
    """A scenario as the user gave it: its text, the name of its file, and the values of --set."""

    text: str
    origin: str
    settings: tuple[str, ...]

    def share(self, portion: Portion) -> ScenarioSpec:
        """Return the share of an agent. Raises: ScenarioError, UsageError."""
        return share_of(scenario.parse(self.text, self.origin, (*self.settings, *settings_of(portion))), portion)


class Coordinator:
    """One run on several agents. Create it, then await `execute` once."""

    def __init__(
        self,
        place: Endpoint | str,
        count: int,
        certificates: Path | None,
        given: GivenScenario,
        options: Options,
        *,
        wait_s: float,
        observer: Observer,
        notice: Callable[[str], None],
    ) -> None:
        """place: where to listen, or the address of a scheduler. count: agents to wait for, for wait_s at most."""
        self._place, self._count, self._certificates = place, count, certificates
        self._given, self._options, self._wait_s = given, options, wait_s
        self._observer, self._notice = observer, notice
        self._scenario = scenario.parse(given.text, given.origin, given.settings)
        self._run = secrets.token_hex(4)
        self._record = WholeRecord(notice, self._on_failure)
        self._members: tuple[Participant, ...] = ()
        self._changed = asyncio.Event()
        self._interrupts = 0
        self._started = self._done = self._ends_early = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._plan: Plan | None = None

    def interrupt(self, because: str = "interrupted") -> None:
        """Once: every agent closes its connections and reports. Twice: all stop at once. Safe from a signal handler.

        because: the beginning of the event, for the first time.
        """
        self._interrupts += 1
        if self._done:
            return
        if self._started and self._interrupts <= 2:
            text = f"{because}; drained early" if self._interrupts == 1 else "interrupted again; stopped at once"
            self._record.event("interrupted", text)
        if self._interrupts == 1:
            self._end_early()
        elif self._interrupts == 2:
            self._spawn(self._each(self._alive, self._stop))
        self._notify()

    async def execute(self) -> Result:
        """Run to the end and return the result.

        Raises: LoadgenError for an error before any load. Later errors are in the result, beside what was measured.
        """
        async with reaching(self._place, self._certificates, self._notice) as cluster:
            self._cluster = cluster
            try:
                await self._join(cluster)
                await self._prepare()
                await self._conduct()
            except Exception as error:
                if not self._started:
                    raise
                # What was measured until now is worth a summary, which is incomplete without the event "ended".
                self._record.not_foreseen(error)
                self._record.event("failed", str(self._record.bug))
            finally:
                await self._release()
        path, summary = self._record.conclude()
        return Result(path, summary, self._exit_code(summary.complete, summary.expect), self._record.error)

    async def plan(self) -> dict[str, Any]:
        """Return what `loadgen plan` tells of the whole, with that of each agent in `agents`; there is no load.

        Raises: LoadgenError, as `execute` before any load.
        """
        async with reaching(self._place, self._certificates, self._notice) as cluster:
            self._cluster = cluster
            try:
                await self._join(cluster)
                await self._unless_interrupted(self._each(self._members, partial(self._begin, only_plan=True)))
                await self._until(lambda: self._all(lambda member: member.over))
                self._insist("cannot plan its share", lambda member: member.assessment is None)
            finally:
                await self._release()
        return whole_of(self._scenario.name, [(member.name, member.assessment or {}) for member in self._members])

    # --- Before the load --------------------------------------------------------------------------

    async def _join(self, cluster: Cluster) -> None:
        agents = await self._unless_interrupted(cluster.agents(self._count, self._wait_s, self._notice))
        portions = self._portions(agents)
        clocks = await self._unless_interrupted(asyncio.gather(*map(cluster.offset_ns, agents)))
        now_s = asyncio.get_running_loop().time()
        self._members = tuple(
            Participant(agent, index, portion, clock, now_s)
            for index, (agent, portion, clock) in enumerate(zip(agents, portions, clocks, strict=True))
        )

    def _portions(self, agents: Sequence[Agent]) -> tuple[Portion, ...]:
        """Return the portion of each agent, checked before any of them does anything. Raises: LoadgenError."""
        portions = dealt(self._scenario, [agent.file_name for agent in agents])
        for portion in portions:
            try:
                self._given.share(portion)
            except LoadgenError as error:
                raise type(error)(f"agent {portion.name}: {error}") from error
        return portions

    async def _prepare(self) -> None:
        """Have every agent plan its share and start its processes. Raises: LoadgenError that names the agents."""
        await self._unless_interrupted(self._each(self._members, self._begin))
        await self._until(lambda: self._all(lambda member: member.plan is not None or member.over))
        self._insist("cannot run its share")
        self._plan = plan = whole.plan_of(
            self._scenario.name,
            [(member.name, member.plan) for member in self._members if member.plan],
            [expectation.text for expectation in self._scenario.expect],
        )
        self._record.open(
            self._options.results,
            self._scenario_text,
            plan,
            self._members,
            private=self._scenario.holds_secrets,
            at=self._options.at,
        )
        assert self._record.writer
        self._options.opened(self._record.writer.path)
        for member in self._members:
            for event in member.early:
                self._happened(member, event)
        await self._until(lambda: self._all(lambda member: member.ready) or self._any_over())
        self._insist("could not start its processes")

    @property
    def _scenario_text(self) -> str:
        return with_overrides(self._given.settings, self._given.text)

    async def _begin(self, member: Participant, *, only_plan: bool = False) -> None:
        """Have an agent start the process of its share, and ask it for news from then on. Raises: LoadgenError."""
        prepare = Prepare(
            scenario=self._given.text,
            origin=self._given.origin,
            settings=self._given.settings,
            portion=member.portion,
            results=".",
            port_blocking=self._options.port_blocking,
            force=self._options.force,
            only_plan=only_plan,
        )
        try:
            await self._call(member, calls.begin, msgspec.json.encode(prepare), timeout_s=LOST_S)
        except LoadgenError as error:
            raise _of_agent(member, error) from error
        member.heard(asyncio.get_running_loop().time())
        self._spawn(self._follow(member))  # at once: a share that hears nothing for LEASE_S ends

    def _insist(self, what: str, without: Callable[[Participant], bool] = lambda member: member.over) -> None:
        """Raise an error if an agent is without what it should have, or the run is interrupted."""
        if self._interrupts:
            raise InterruptedRunError("interrupted before any load")
        over = list(filter(without, self._members))
        if not over:
            return
        reasons = [f"agent {member.name} {what}: {_why(member)}" for member in over]
        codes = {member.ended.exit_code for member in over if member.ended}
        kind = {ExitCode.USAGE: UsageError, ExitCode.HOST: HostError}.get(
            ExitCode(next(iter(codes))) if len(codes) == 1 and not any(m.lost for m in over) else ExitCode.INCOMPLETE,
            IncompleteError,
        )
        raise kind("; ".join(reasons))

    # --- The load ---------------------------------------------------------------------------------

    async def _conduct(self) -> None:
        assert self._plan
        error_ns = max(member.clock.error_ns for member in self._members)
        self._record.start_ns = now_ns() + _START_DELAY_NS + 4 * error_ns
        self._started = True
        self._record.started()
        await self._each(self._alive, self._start)
        if not self._plan.churn:
            await self._until(lambda: self._all(lambda member: member.opened or member.over))
            await self._order_all(Hold())
        await self._finish()
        await self._until(lambda: self._all(lambda member: member.over), whatever=True)
        self._take_lines()
        if all(member.came_to_its_end for member in self._members) and not self._record.failure:
            self._record.event("ended", "the run came to its end")
        self._done = True

    async def _start(self, member: Participant) -> None:
        at_ns = self._record.start_ns + member.clock.monotonic_ns
        await self._order(member, Start(at_ns=at_ns))

    async def _finish(self) -> None:
        """Have the sinks close first where they do, and end those that serve others once these have gone."""
        assert self._plan

        def stopped() -> bool:
            return self._interrupts > 1 or bool(self._record.failure)

        async def order(members: Sequence[Participant], order_of: Callable[[Participant], Order]) -> None:
            async def deliver(member: Participant) -> None:
                while not (member.over or await self._order(member, order_of(member))):
                    pass

            await self._each([] if stopped() else members, deliver)

        def finish(member: Participant) -> Order:
            return Finish(established=sum(other.established_at(member) for other in self._members))

        if self._plan.close is CloseMode.TARGET:
            await self._until(
                lambda: stopped() or self._all(lambda member: member.closing or member.over), whatever=True
            )
            await order(self._members, lambda _: Close())
        if serving := [member for member in self._members if member.plan and member.plan.guests]:
            await self._until(lambda: stopped() or self._all(lambda member: member.left), whatever=True)
            await order(serving, finish)

    async def _order_all(self, order: Order) -> None:
        await self._each(self._alive, lambda member: self._order(member, order))

    async def _stop(self, member: Participant) -> None:
        with suppress(LoadgenError):
            await self._call(member, calls.stop, timeout_s=_STOP_S)

    async def _order(self, member: Participant, order: Order) -> bool:
        """Pass an order on, and return whether it arrived; if not, the agent is silent, and that is noticed."""
        with suppress(LoadgenError):
            await self._call(member, calls.order, msgspec.json.encode(order), timeout_s=_ORDER_S)
            return True
        return False

    # --- News -------------------------------------------------------------------------------------

    async def _follow(self, member: Participant) -> None:
        """Ask an agent for news until its share is over."""
        clock = asyncio.get_running_loop().time
        while not member.over:
            try:
                text = await self._call(
                    member, calls.poll, member.received, _LISTEN_S, timeout_s=member.wait_s(clock())
                )
            except AgentSilentError:
                if member.silent(clock()):
                    self._suspect(member, silent=True)
                if member.lost:
                    self._lose(member)
                continue
            except LoadgenError as error:
                member.lost_because = str(error)
                self._lose(member)
                return
            if member.heard(clock()):
                self._suspect(member, silent=False)
            news = msgspec.json.decode(text, type=News)
            for report in news.reports:
                self._take(member, _REPORT.decode(report))
            member.received += len(news.reports)
            if news.reports:
                self._take_lines()
                self._notify()
            if not self._preparing:
                await asyncio.sleep(_RUNNING_S)

    @property
    def _preparing(self) -> bool:
        return not self._started or any(not member.began and not member.over for member in self._members)

    def _take(self, member: Participant, report: Report) -> None:
        match report:
            case Planned():
                member.plan, member.host = files.read(report.plan, Plan), files.read(report.host, Host)
            case Assessed():
                member.assessment = msgspec.json.decode(report.assessment, type=dict[str, Any])
            case Ready():
                member.ready = True
            case Began():
                member.began = report
                self._record.began(member)
            case Opened():
                member.opened = True
            case Closing():
                member.closing = True
            case Drained():
                member.drained = True
            case SeriesLine():
                member.line = files.read(report.line, Line)
                self._record.line_of(member, member.line)
            case Happened():
                self._happened(member, files.read(report.event, Event))
            case Ended():
                self._end(member, report)

    def _happened(self, member: Participant, event: Event) -> None:
        if not self._plan:
            member.early.append(event)
            return
        if event.event == "started":  # by its own clock; `began` has it by ours
            return
        member.came_to_its_end = member.came_to_its_end or event.event == "ended"
        # What this side ordered, it has told itself; and a note of the plan is in the plan of the whole.
        own = event.event == "interrupted" and self._ends_early
        of_plan = event.event == "note" and member.plan is not None and event.text in member.plan.notes
        self._record.event_of(member, event, tell=not own and not of_plan)

    def _end(self, member: Participant, ended: Ended) -> None:
        member.ended = ended
        if not self._started or not self._plan:
            return
        self._record.series.end(member.index, lost=not member.came_to_its_end)
        if not member.came_to_its_end and not self._interrupts:
            self._miss(member, f"agent {member.name} ended early: {_why(member)}")

    def _take_lines(self) -> None:
        """Write the lines of the whole that are complete by now, and show them."""
        assert self._plan or not self._started
        for line in self._record.series.lines() if self._plan else ():
            self._record.line(line)
            assert self._plan
            self._observer(self._plan, line)

    def _suspect(self, member: Participant, *, silent: bool) -> None:
        if self._plan:
            self._record.series.silent(member.index, silent=silent)
        text = f"agent {member.name} has not answered for 3 s" if silent else f"agent {member.name} answers again"
        self._record.event("agent-suspect" if silent else "agent-back", text)
        self._take_lines()

    def _lose(self, member: Participant) -> None:
        """Go on without an agent, or stop, as the scenario says."""
        if self._plan:
            self._record.series.end(member.index, lost=True)
        if self._started:
            self._miss(member, f"agent {member.name} was lost: {member.lost_because}")
            self._take_lines()
        self._notify()

    def _miss(self, member: Participant, text: str) -> None:
        """Record that a part of the load is missing."""
        assert member.plan
        assert self._plan
        share = fmt.percent(member.plan.connections / max(self._plan.connections, 1))
        missing = "what listened there for the others" if member.plan.only_listens else f"{share} of the load"
        self._record.event("agent-lost", f"{text}; {missing} is missing from now on")
        spec = self._scenario.agents
        if spec and spec.on_loss is OnLoss.STOP and not self._ends_early:
            self._record.event("note", "agents.on_loss is stop, so the other agents close their connections")
            self._end_early()

    def _on_failure(self) -> None:
        """End the run when what it measures cannot be written, as one on a single host ends then."""
        if self._started:
            self._end_early()
        self._notify()

    def _end_early(self) -> None:
        """Have every agent close its connections and report, unless they were told before."""
        if not self._ends_early:
            self._ends_early = True
            self._spawn(self._order_all(Interrupt()))

    # --- Waiting ----------------------------------------------------------------------------------

    @property
    def _alive(self) -> list[Participant]:
        return [member for member in self._members if not member.over]

    def _all(self, holds: Callable[[Participant], bool]) -> bool:
        return all(map(holds, self._members))

    def _any_over(self) -> bool:
        return any(member.over for member in self._members)

    def _notify(self) -> None:
        self._changed.set()

    async def _until(self, done: Callable[[], bool], *, whatever: bool = False) -> None:
        """Wait for `done`, an interrupt or a failure; with `whatever` for `done` alone, and not long after a stop."""
        stopped_s: float | None = None
        clock = asyncio.get_running_loop().time
        while not done() and (whatever or not (self._interrupts or self._record.failure)):
            for task in self._tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            if whatever and self._interrupts > 1:
                stopped_s = stopped_s or clock()
                if clock() - stopped_s > _STOP_S:
                    return
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_S)

    async def _unless_interrupted(self, work: Awaitable[_T]) -> _T:
        """Return what `work` does. Raises: InterruptedRunError if an interrupt comes first."""
        working = asyncio.ensure_future(work)
        while not working.done() and not self._interrupts:
            await asyncio.wait([working], timeout=_LOOK_S)
        if not working.done():
            working.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await working
            raise InterruptedRunError("interrupted before any load")
        return working.result()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._notify())

    @staticmethod
    async def _each(members: Iterable[Participant], do: Callable[[Participant], Coroutine[Any, Any, Any]]) -> None:
        """Do something for several agents at once. Raises: the first error, after all have been tried."""
        results = await asyncio.gather(*(do(member) for member in members), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _call(
        self, member: Participant, function: Callable[..., Coroutine[Any, Any, _T]], *args: object, timeout_s: float
    ) -> _T:
        return await self._cluster.call(member.agent, function, self._run, *args, timeout_s=timeout_s)

    async def _release(self) -> None:
        """Have every agent forget the run, which ends what is left of it; those that are gone end it themselves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

        async def forget(member: Participant) -> None:
            with suppress(LoadgenError):
                await self._call(member, calls.done, timeout_s=_STOP_S)

        await self._each(self._members, forget)

    def _exit_code(self, complete: bool, expect: Sequence[Any]) -> ExitCode:
        if self._interrupts:
            return ExitCode.INTERRUPTED
        if error := self._record.error:
            return error.exit_code
        if not complete:
            return ExitCode.INCOMPLETE
        return ExitCode.FINE if all(row.passed for row in expect) else ExitCode.EXPECTATION


def _why(member: Participant) -> str:
    if member.lost_because:
        return member.lost_because
    return member.ended.text if member.ended and member.ended.text else "it did not say why"


def _of_agent(member: Participant, error: LoadgenError) -> LoadgenError:
    """Return an error with the name of the agent, unless it says so itself."""
    text = str(error)
    return error if f"agent {member.name}" in text else type(error)(f"agent {member.name}: {text}")
