"""The control plane: scenario -> lab -> plan -> processes -> run directory.

One orchestrator on one event loop. It starts sinks and workers, waits until all are ready, and gives them one common
instant to start at. From then on it observes: once per interval it adds the workers' blocks up and writes a line of the
series, and it notices lost processes. When every arrival is answered it holds the connections, then has them closed.

It prints nothing and installs no signal handler; the caller may call `interrupt`, once to drain early, twice to stop at
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from loadgen import crash, reserve, shortage
from loadgen import format as fmt
from loadgen.clock import NS_PER_S, now_ns
from loadgen.control import name_resolution
from loadgen.control.kernel_samples import KernelSampler
from loadgen.control.pace import RunPace, Unpaced
from loadgen.control.prepare import prepare
from loadgen.control.run_record import RunRecord
from loadgen.control.sinks import SINK, Sinks
from loadgen.control.snapshots import Snapshots
from loadgen.control.watching import LOOK_S, Watch
from loadgen.control.witness import Witness
from loadgen.errors import (
    ExitCode,
    IncompleteError,
    InterruptedRunError,
    LoadgenError,
)
from loadgen.kernel.host import HostFacts
from loadgen.model import CloseMode, Phase, Plan, ProbeWhen, Shard
from loadgen.processes.fleet import GONE, Fleet, Member
from loadgen.processes.shared_memory import Blocks
from loadgen.results import matrix as matrices
from loadgen.results import run_directory
from loadgen.results.block import block_dtype
from loadgen.results.schema import files
from loadgen.results.schema.counters import POSITION
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import UNREAD, Line, WorkersAlive
from loadgen.results.schema.run import RunSummary
from loadgen.results.schema.sides import ProbeResult
from loadgen.scenario import ScenarioSpec
from loadgen.sink.certificates import Certificates, issue
from loadgen.worker.shard import sizes_of

WORKER: Final = "worker"
_T = TypeVar("_T")

#: Time for the "start" messages to reach all processes before the common instant.
_START_DELAY_NS: Final = 20_000_000
_READY_TIMEOUT_S: Final = 60.0
#: The event of an interrupt, after the reason.
_DRAINED: Final = "drained early"
#: Turns of the event loop in which it calls the handlers of signals that came while it was held up.
_TURNS: Final = 3
#: A probe gives up by itself before this.
_PROBE_TIMEOUT_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line for a run; a scenario cannot set them."""

    results: Path = Path("results")
    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False
    #: Run although the plan predicts that a limit is met.
    force: bool = False
    #: Open one connection from each source to each target instead, as a smoke test.
    once: bool = False
    #: The run directory itself, for a cell of a matrix; None: a new one under `results`.
    at: Path | None = None
    #: Told the directory of the run, of the matrix or of the search as soon as it is made, and then those of its runs.
    opened: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its directory, its summary as read back from there, and the exit code."""

    path: Path
    record: files.Summary
    exit_code: ExitCode
    error: LoadgenError | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as summary.json has it."""
        plain: dict[str, Any] = files.plain(self.record)
        return plain

    @property
    def verdict(self) -> str:
        """The verdict in one sentence: the limit that stopped the run; of a matrix, its main result."""
        return self.record.verdict.text

    @property
    def problems(self) -> list[str]:
        """A sentence on each problem: what cut the run short, each expectation that failed. Empty if there is none."""
        reasons = [str(self.error)] if self.error else []
        if not self.record.complete:
            reasons.append(f"incomplete: {self.record.incomplete_because}")
        reasons += [
            f"expected {row.expression}, observed {fmt.scalar(row.observed)}"
            for row in matrices.all_expectations(self.record)
            if not row.passed
        ]
        # If every cell of a matrix was skipped, the verdict says so.
        return reasons if reasons or self.exit_code is ExitCode.FINE else [self.verdict]


#: Called with the plan and every line of the series; must return at once.
Observer = Callable[[Plan, Line], None]


class Orchestrator:
    """One run of one scenario. Create it, then await `execute` once."""

    def __init__(
        self,
        scenario: ScenarioSpec,
        scenario_text: str,
        options: Options,
        *,
        observer: Observer,
        notice: Callable[[str], None],
        answers: name_resolution.ResolvedNames | None = None,
        pace: RunPace | None = None,
        witness: Witness | None = None,
    ) -> None:
        """answers: the addresses of the names among the targets; None: they are looked up. pace: None: unpaced."""
        self._answers = answers
        self._pace, self._witness = pace or Unpaced(), witness or Witness()
        self._begun = False
        self._scenario, self._text, self._options = scenario, scenario_text, options
        self._observer, self._notice = observer, notice
        self._interrupts, self._because = 0, ""
        self._phase = Phase.RAMP
        #: The processes without which there is nothing to go on for.
        self._main = WORKER
        self._snapshots: Snapshots | None = None
        self._fleet: Fleet | None = None
        #: Closes the memory shared with workers and sinks: many runs in one process would exhaust its descriptors.
        self._shared = ExitStack()
        self._telemetry: KernelSampler | None = None
        self._record = RunRecord(
            notice, lambda: self._fleet.notify() if self._fleet else None, happened=self._witness.happened
        )

    def interrupt(self, because: str = "interrupted") -> None:
        """Once: stop opening, drain and report. Twice: stop at once. Safe from a signal handler of the loop.

        When the load is over it only changes the exit code: the results are complete, and are written. because: the
        beginning of the event, for the first time.
        """
        self._interrupts += 1
        self._because = self._because or because
        if self._phase is Phase.DONE:
            return
        if self._snapshots and self._interrupts <= 2:  # before the load the error says so
            text = f"{because}; {_DRAINED}" if self._interrupts == 1 else "interrupted again; stopped at once"
            self._record.event("interrupted", text)
        if self._fleet:
            if self._interrupts > 1:
                self._fleet.kill()
            self._fleet.notify()

    async def execute(self) -> Result:
        """Run to the end and return the result.

        Raises: LoadgenError for an error before any load. Later errors are in the result, beside what was measured.
        """
        try:
            return await self._execute()
        except LoadgenError:
            raise
        except Exception as error:
            if refused := shortage.of(error):
                raise refused from error
            raise

    async def _execute(self) -> Result:
        if self._answers is None:
            self._answers = await name_resolution.look_up(self._scenario.names, enough=lambda: bool(self._interrupts))
        allowed, authorized = self._options.allow, self._options.authorized
        self._scenario = name_resolution.judge(self._scenario, self._answers, allowed=allowed, authorized=authorized)
        reserve.take()
        self._fleet = fleet = Fleet(self._on_lost, self._on_zygote_lost, on_paused=self._on_paused)
        heartbeats = {WORKER: self._heartbeats, SINK: lambda: self._sinks.heartbeats()}
        self._watch = Watch(fleet, heartbeats, self._record.event)
        try:
            plan, facts = await self._plan(fleet)
            if self._interrupts:
                raise InterruptedRunError("interrupted before any load")
            self._open_run_directory(plan, facts)
            await self._start_processes(fleet, plan, facts)
            await self._conduct(fleet, plan)
        except IncompleteError as error:
            if self._interrupts:
                raise InterruptedRunError("interrupted before any load") from error
            raise
        except LoadgenError:
            raise
        except Exception as error:
            if not self._snapshots or not self._record.writer:
                raise
            # What was measured until now is worth a summary, which is incomplete without the event "ended".
            self._record.not_foreseen(error)
            self._record.event("failed", str(self._record.bug))
        finally:
            await self._release(fleet)
        path, summary = self._record.conclude()
        result = Result(path, summary, self._exit_code(summary), self._record.error)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if not self._interrupts:
            return result
        return replace(result, exit_code=ExitCode.INTERRUPTED)

    async def _release(self, fleet: Fleet) -> None:
        """End the processes and free the memory; what fails here costs no results."""

        async def stop() -> None:
            if not await fleet.stop() and self._phase is Phase.DONE:
                self._record.event("zygote-lost", f"{fleet.zygote} was stopped when the run ended, and was killed")

        for release in (self._telemetry.close if self._telemetry else None, stop, self._shared.close):
            try:
                if release and (waiting := release()):
                    await waiting
            except OSError as error:
                self._record.event("note", f"at the end of the run the kernel refused a call: {error.strerror}")
            except Exception as error:
                self._record.not_foreseen(error)
        self._snapshots = None

    def _open_run_directory(self, plan: Plan, facts: HostFacts) -> None:
        writer = run_directory.RunWriter(
            self._options.results, self._scenario.name, self._options.at, private=self._scenario.holds_secrets
        )
        writer.write_scenario(self._text)
        writer.write_plan(plan)
        host = {"started_at": writer.started_at, **facts.to_json()}
        writer.write_host(host)
        self._record.writer = writer
        self._options.opened(writer.path)
        self._witness.planned(plan, host, writer.path)
        crash.keep_in(str(writer.path.absolute()))
        for note in plan.notes:
            self._record.event("note", note)

    async def _plan(self, fleet: Fleet) -> tuple[Plan, HostFacts]:
        environment = await prepare(
            fleet, self._scenario, self._answers or {}, notice=self._notice, enough=lambda: bool(self._interrupts)
        )
        if self._options.once:
            environment = environment.once()
        self._scenario = environment.scenario
        self._port_range = environment.facts.port_range
        assessment = environment.assess(port_blocking=self._options.port_blocking, force=self._options.force)
        plan, self._certificates = _certified(assessment.insist())
        await environment.require_free(fleet, plan)
        return plan, environment.facts

    async def _start_processes(self, fleet: Fleet, plan: Plan, facts: HostFacts) -> None:
        strangers = len(self._scenario.probes) + self._scenario.guests.addresses
        strangers += len(plan.nat.addresses) if plan.nat else 0
        self._main = SINK if plan.only_listens else WORKER
        self._sinks = Sinks(fleet, plan, strangers=strangers, certificates=self._certificates)
        self._shared.callback(self._sinks.close)
        entered = "loadgen.lab.namespace:in_sinks" if self._scenario.has_cable else None
        await self._sinks.start(facts.descriptors, facts.cpus, entered=entered, timeout_s=_READY_TIMEOUT_S)
        self._at_once = plan.workers if plan.stages or plan.churn else facts.cpus
        blocks = max(plan.workers, 1)  # of a plan that only listens one with nothing in it
        self._blocks = Blocks.create("loadgen-workers", block_dtype(len(plan.pairs)), blocks)
        self._shared.callback(self._blocks.close)
        await fleet.start(
            WORKER,
            "loadgen.worker.worker:main",
            [Shard(plan, index) for index in range(plan.workers)],
            facts.descriptors,
            blocks_fd=self._blocks.fd,
            timeout_s=_READY_TIMEOUT_S,
        )

    async def _conduct(self, fleet: Fleet, plan: Plan) -> None:
        """Ramp, hold, drain, or churn, with a line of the series per interval and at the end of each phase."""
        self._phase = Phase.CHURN if plan.churn else Phase.RAMP
        notice = partial(self._record.event, "note")
        if plan.profile:
            await self._until(fleet, (), lambda: False, plan.profile.init_s)
        instant_ns = await self._paced(fleet, partial(self._until, fleet, ()), self._pace.start())
        # After the wait: what the kernel counts meanwhile is not of this run.
        apart, behind_nat = self._scenario.has_cable, self._scenario.nat is not None
        self._telemetry = await KernelSampler.start(fleet, apart=apart, notice=notice, behind_nat=behind_nat)
        self._record.start_ns = now_ns() + _START_DELAY_NS if instant_ns is None else instant_ns
        self._record.started()
        self._snapshots = snapshots = Snapshots(
            self._blocks, sizes_of(plan), start_ns=self._record.start_ns, capacity=plan.capacity if plan.churn else None
        )
        if self._interrupts:
            self._record.event("interrupted", f"{self._because}; {_DRAINED}")
        record = partial(self._record_line, fleet, plan, snapshots)
        together = not self._interrupts  # else other hosts have opened nothing, and are not waited for
        served = bool(plan.guests) and together
        if not self._interrupts:
            fleet.tell(SINK, do="start", at_ns=self._record.start_ns)
        watchers = [
            asyncio.create_task(self._every(plan.interval_s, record)),
            asyncio.create_task(self._every(LOOK_S, self._look)),
        ]
        for watcher in watchers:
            watcher.add_done_callback(lambda _: fleet.notify())
        until = partial(self._until, fleet, watchers)

        def established() -> int:
            return int(snapshots.counters()[:, POSITION["established"]].sum())

        def still_open() -> int:
            return int(snapshots.counters()[:, POSITION["open"]].sum())

        def at_once() -> bool:
            return self._interrupts > 1

        others = 0

        async def settle() -> None:
            await self._sinks.settle(established() + others, stalled=lambda: self._watch.stalled(SINK), enough=at_once)

        async def close_first() -> None:
            if together:
                await self._paced(fleet, partial(self._until, fleet, watchers, interrupts=2), self._pace.closing())
            self._sinks.close_first()

        try:
            await self._open(fleet, until)
            record()
            if not plan.churn and not self._interrupts:
                await self._paced(fleet, until, self._pace.opened())
            if not plan.churn and established():
                self._phase = Phase.HOLD
                fleet.tell(WORKER, do="hold")
                await until(lambda: False, plan.hold_s)
                record()
            elif not plan.churn and not self._interrupts and not plan.only_listens:
                notice("no connection opened, so there is nothing to hold")
            if plan.only_listens and served:
                self._phase = Phase.CHURN if plan.churn else Phase.HOLD
                if plan.close is CloseMode.TARGET:
                    await close_first()
                others = await self._served(fleet, watchers)
                record()
            self._phase = Phase.DRAIN
            await self._probe(fleet, ProbeWhen.HOLD)
            if self._interrupts < 2:
                if plan.close is not CloseMode.TARGET:
                    fleet.tell(SINK, do="drain")
                over_s = 0.0 if self._interrupts else _fall_s(plan)
                fleet.tell(WORKER, do="drain", over_s=over_s)
                if over_s:
                    await until(lambda: fleet.all_of(WORKER, {"drained"}), over_s)
                    fleet.tell(WORKER, do="drain", over_s=0.0)  # of no effect but after an interrupt
                if plan.close is CloseMode.TARGET and not plan.only_listens:  # not before every worker expects it
                    await self._watch.progress(WORKER, {"closing", "drained"}, still_open, enough=at_once)
                    await close_first()
                await self._watch.progress(WORKER, {"drained"}, still_open, enough=at_once)
                if not plan.only_listens and served:
                    others = await self._served(fleet, watchers)
                await settle()
                await self._probe(fleet, ProbeWhen.AFTER)
                await settle()
                await self._watch.give_up_stalled(SINK)
            record()
        finally:
            for watcher in watchers:
                watcher.cancel()
        await self._watch.told()
        self._watch.tell_survived()
        self._phase = Phase.DONE
        record(final=True)
        if not self._record.failure:
            self._record.event("ended", "the run came to its end")

    async def _open(self, fleet: Fleet, until: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        """Start the workers, and return when all are done or none can make progress.

        All start at the same instant if they share a schedule or a closed loop. Else as many as there are cores, and
        the next whenever one is done: more at a time would only compete for the cores and their caches.
        """
        workers = fleet.alive(WORKER)
        started = 0
        while started < len(workers) and not self._interrupts:
            over = _count_over(workers)
            for member in workers[started : over + self._at_once]:
                if member.state != GONE:
                    fleet.tell_one(member, do="start", at_ns=self._record.start_ns)
                started += 1
            await until(lambda over=over: _count_over(workers) > over)  # type: ignore[misc]
            if _count_over(workers) == over:  # cut short
                break
        await until(lambda: fleet.all_of(WORKER, {"opened"}))

    async def _paced(
        self, fleet: Fleet, until: Callable[[Callable[[], bool]], Awaitable[None]], step: Coroutine[Any, Any, _T]
    ) -> _T | None:
        """Wait for a step of the pace and return its result; None if the wait is cut short."""
        waiting = asyncio.ensure_future(step)
        waiting.add_done_callback(lambda _: fleet.notify())
        try:
            await until(waiting.done)
            return waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()

    async def _until(
        self,
        fleet: Fleet,
        watchers: Sequence[asyncio.Task[None]],
        done: Callable[[], bool],
        timeout_s: float | None = None,
        *,
        kind: str = "",
        interrupts: int = 1,
    ) -> None:
        """Wait for `done`, the time, this number of interrupts, a failure, or until no process of a kind is left.

        kind: "": workers, or sinks where the plan has no workers.
        """

        def over() -> bool:
            cut_short = self._interrupts >= interrupts or self._record.failure or not fleet.alive(kind or self._main)
            return bool(done() or cut_short) or any(watcher.done() for watcher in watchers)

        await fleet.wait(over, timeout_s)
        for watcher in watchers:
            if watcher.done():  # only an exception ends one, and it is a bug in loadgen
                watcher.result()

    async def _served(self, fleet: Fleet, watchers: Sequence[asyncio.Task[None]]) -> int:
        """Wait until no other host has a connection to the sinks; return how many those established there."""
        until = partial(self._until, fleet, watchers, kind=SINK, interrupts=2)
        return await self._paced(fleet, until, self._pace.drained()) or 0

    async def _probe(self, fleet: Fleet, when: ProbeWhen) -> None:
        """Run the probes of this moment, one after the other, and record the result of each."""

        def over() -> bool:
            return bool(self._interrupts or self._record.failure)

        for spec in self._scenario.probes:
            if spec.when is not when or over():
                continue
            probe = self._scenario.probe(spec, self._port_range)
            try:
                answer = await fleet.ask("loadgen.control.probe:main", probe, enough=over, timeout_s=_PROBE_TIMEOUT_S)
            except LoadgenError as error:
                answer = {"report": "failed", "text": str(error)}
            except OSError as error:
                answer = {"report": "failed", "text": error.strerror}
            if answer is None:
                answer = {"report": "failed", "text": "it gave no answer"}
            if answer["report"] == "failed":
                text = f"probe {spec.name} could not run: {answer['text']}"
                at_s = self._record.since_start_s(now_ns())
                self._record.keep(Event(event="probe", text=text, t_s=at_s, name=spec.name, reason=answer["text"]))
                continue
            result = files.convert(answer["result"], ProbeResult)
            text = f"probe {spec.name}: {result.established or 0:,} of {spec.count:,} succeeded{_failures(result)}"
            self._record.keep(
                Event(
                    event="probe",
                    text=text,
                    t_s=self._record.since_start_s(now_ns()),
                    name=spec.name,
                    result=result,
                    target=str(probe.target),
                    sources=answer["sources"],
                )
            )

    async def _every(self, interval_s: float, do: Callable[[], None]) -> None:
        """Call `do` once per interval, at multiples of the interval, so that a slow disk shifts nothing."""
        beat, interval_ns = self._record.start_ns, int(interval_s * NS_PER_S)
        while True:
            beat += interval_ns
            if (late_ns := now_ns() - beat) > 0:  # after a pause, each beat that is past would repeat the same line
                beat += -(-late_ns // interval_ns) * interval_ns
            await asyncio.sleep((beat - now_ns()) / NS_PER_S)
            do()

    def _heartbeats(self) -> NDArray[np.int64]:
        assert self._snapshots
        beats: NDArray[np.int64] = self._snapshots.counters()[:, POSITION["heartbeat_ns"]]
        return beats

    def _look(self) -> None:
        self._watch.look(may_give_up=self._phase is not Phase.HOLD)
        self._tell_begun()

    def _tell_begun(self) -> None:
        if self._begun or not self._snapshots:
            return
        begun_ns = self._snapshots.first_started_ns()
        if self._main == SINK and now_ns() >= self._record.start_ns:  # nothing is late where nothing is opened
            begun_ns = self._record.start_ns
        if begun_ns:
            self._begun = True
            self._witness.began(self._record.start_ns, begun_ns)

    def _on_paused(self, paused_s: float) -> None:
        if self._snapshots:  # before the load nothing was measured
            text = f"paused for {fmt.seconds(paused_s)}: loadgen was stopped (Ctrl-Z or SIGSTOP), and its load with it"
            self._record.event("paused", text)

    def _on_lost(self, member: Member) -> None:
        """Count what a lost process held as lost now, and report the loss once it is known how it ended."""
        when = f"in phase {self._phase}" if self._snapshots else "before the start"
        if member.kind == WORKER and self._snapshots and (held := self._snapshots.lose(member.index)):
            when += f" while it held {held:,} connections"
        self._watch.lost(member, when)

    def _on_zygote_lost(self, text: str) -> None:
        if self._snapshots:  # before the load the error says so
            self._record.event("zygote-lost", f"{text} in phase {self._phase}, and they with it")

    def _record_line(self, fleet: Fleet, plan: Plan, snapshots: Snapshots, *, final: bool = False) -> None:
        if self._record.failure and not final:
            return
        line = snapshots.take(
            self._phase,
            now_ns(),
            workers=WorkersAlive(alive=len(fleet.alive(WORKER)), stalled=len(self._watch.stalled(WORKER))),
            sink=self._sinks.now(final=final),
            kernel=self._telemetry.now(final=final) if self._telemetry else UNREAD,
        )
        self._record.line(line)
        self._observer(plan, line)
        self._tell_begun()

    def _exit_code(self, summary: RunSummary) -> ExitCode:
        if self._interrupts:
            return ExitCode.INTERRUPTED
        if error := self._record.error:
            return error.exit_code
        if not summary.complete:
            return ExitCode.INCOMPLETE
        if not all(expectation.passed for expectation in summary.expect):
            return ExitCode.EXPECTATION
        return ExitCode.FINE


def _certified(plan: Plan) -> tuple[Plan, Certificates | None]:
    """Return the plan, and certificates for the sinks that speak TLS.

    The plan trusts them if the scenario names no authority and every target is a sink of loadgen. It has no private
    key, because it is written to disk.
    """
    if not any(target.sink and target.behaviour.tls for target in plan.targets):
        return plan, None
    names = [name for target in plan.targets for name in (target.host, target.endpoint.address) if name]
    if plan.tls and plan.tls.server_name:
        names.append(plan.tls.server_name)
    certificates = issue(list(dict.fromkeys(names)))
    if plan.tls and not plan.tls.ca and all(target.sink for target in plan.targets):
        plan = replace(plan, tls=replace(plan.tls, ca=certificates.ca_pem))
    return plan, certificates


def _fall_s(plan: Plan) -> float:
    """Return how long the close of held connections is to take, seconds."""
    return plan.profile.ramp_down_s if plan.profile and not plan.churn else 0.0


def _count_over(workers: Sequence[Member]) -> int:
    return sum(member.state in ("opened", GONE) for member in workers)


def _failures(result: ProbeResult) -> str:
    """Return the failures of a probe as a phrase: "; bind EADDRINUSE 20 times"."""
    failures = [
        f"{syscall} {name} {count:,} times"
        for syscall, numbers in (result.errors or {}).items()
        for name, count in numbers.items()
    ]
    return "".join(f"; {text}" for text in (*failures, result.holders) if text)
