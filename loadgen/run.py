"""The control plane: scenario -> lab -> plan -> processes -> run directory.

One orchestrator on one event loop. It starts sinks and workers, waits until all are ready, gives
them one common instant to start at, and from then on only looks: it adds the workers' blocks up
once per interval, writes the line down, and notices who is gone. When every arrival is answered it
lets the connections be held, then has them closed.

It prints nothing and installs no signal handler; whoever calls it may call `interrupt`, once to
drain early, twice to stop at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loadgen import arrivals, guard, rundir, sink
from loadgen.capacity import Allowances, make_plan, sink_endpoints
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import ExitCode, LabForbiddenError, LoadgenError, ResultsError
from loadgen.kernel import snmp, sockstat
from loadgen.kernel.host import HostFacts
from loadgen.launch.fleet import Fleet, Member, how_it_ended
from loadgen.metrics.recorder import Blocks, Counter, block_dtype
from loadgen.metrics.snapshot import Snapshots
from loadgen.metrics.summary import broken_invariants
from loadgen.model import Phase, Plan, Shard
from loadgen.scenario import Fallback, Scenario

WORKER: Final = "worker"
SINK: Final = "sink"

#: Time for the "start" messages to reach everybody before the common instant.
_START_DELAY_NS: Final = 20_000_000
_READY_TIMEOUT_S: Final = 60.0
#: A worker shows a sign of life ten times a second. After the first of these it is called stalled,
#: after the second the run goes on without it.
STALLED_AFTER_S: Final = 2.0
GIVEN_UP_AFTER_S: Final = 30.0
#: Closing takes some ten microseconds per connection.
_DRAIN_TIMEOUT_S: Final = 120.0
#: How long the sinks may take to see the last end of file.
_SINK_SETTLE_S: Final = 5.0
_SINK_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to a scenario; none of it can come from the scenario itself."""

    results: Path = Path("results")
    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its directory, its summary as read back from there, and how to exit."""

    path: Path
    summary: dict[str, Any]
    exit_code: ExitCode
    error: LoadgenError | None = None


#: Called with the plan and every line of the series; must return at once.
Observer = Callable[[Plan, dict[str, Any]], None]


class Orchestrator:
    """One run of one scenario. Create it and `execute` it on a running event loop, once."""

    def __init__(
        self,
        scenario: Scenario,
        scenario_text: str,
        options: Options,
        *,
        observer: Observer,
        notice: Callable[[str], None],
    ) -> None:
        self._scenario, self._text, self._options = scenario, scenario_text, options
        self._observer, self._notice = observer, notice
        self._interrupts = 0
        self._phase = Phase.RAMP
        self._failure: LoadgenError | None = None
        self._stalled: set[int] = set()
        self._sink_blocks: Blocks | None = None

    def interrupt(self) -> None:
        """Once: stop opening, drain and report. Twice: stop at once. Safe from a signal handler of the loop."""
        self._interrupts += 1
        if self._interrupts == 1:
            self._event("interrupted", "interrupted; drained early")
        else:
            self._fleet.kill()
        self._fleet.notify()

    async def execute(self) -> Result:
        """Run to the end and return what came of it.

        Raises: LoadgenError for whatever stops the run before any load. What goes wrong later is in
            the result, because by then there is something to show.
        """
        for target in self._scenario.targets:
            guard.check(target.endpoint.address, allowed=self._options.allow, authorized=self._options.authorized)
        self._writer: rundir.RunWriter | None = None
        self._start_ns = now_ns()
        self._fleet = Fleet(self._on_lost)
        try:
            plan, facts = await self._plan()
            self._writer = writer = rundir.RunWriter(self._options.results, self._scenario.name)
            writer.write_scenario(self._text)
            writer.write_plan(plan.to_json())
            writer.write_host({"started_at": writer.started_at, **facts.to_json()})
            for note in plan.notes:
                self._event("note", note)
            await self._start_processes(plan, facts)
            await self._conduct(plan)
        finally:
            await self._fleet.stop()
        return self._conclude(writer)

    async def _plan(self) -> tuple[Plan, HostFacts]:
        scenario, zygote = self._scenario, self._fleet.zygote
        in_lab = scenario.lab is not None
        if scenario.lab:
            sysctls = {name: str(value) for name, value in scenario.lab.sysctls.items()}
            try:
                await zygote.call("loadgen.lab.namespace:enter", sysctls)
            except LabForbiddenError as error:
                if scenario.lab.fallback is not Fallback.HOST:
                    raise
                in_lab = False
                self._notice(f"{error}. Running on the host's own loopback instead.")
        targets = [target.endpoint for target in scenario.targets]
        sources = scenario.sources.expanded
        if scenario.sources.interfaces:
            sources += await zygote.call("loadgen.kernel.host:interface_addresses", scenario.sources.interfaces)
        facts: HostFacts = await zygote.call("loadgen.kernel.host:read", sources, targets)
        fell_back = scenario.lab is not None and not in_lab
        allowances = Allowances(in_lab=in_lab, port_blocking=self._options.port_blocking, extend_sources=fell_back)
        plan = make_plan(scenario, sources, facts, allowances)
        if fell_back:
            note = f"no namespace here: ran on the host's own loopback with its port range {facts.port_range}"
            plan = replace(plan, notes=(note, *plan.notes))
        return plan, facts

    async def _start_processes(self, plan: Plan, facts: HostFacts) -> None:
        self._plan_made = plan
        endpoints = sink_endpoints(plan)
        if plan.sinks:
            rows = len(plan.sources) + 2  # one for strangers, one for those beyond
            self._sink_blocks = Blocks.create("loadgen-sinks", sink.block_dtype(rows), plan.sinks)
            await self._fleet.start(
                SINK,
                "loadgen.sink:main",
                [sink.SinkShard(endpoints, index, plan.sinks, rows, facts.descriptors) for index in range(plan.sinks)],
                blocks_fd=self._sink_blocks.fd,
                timeout_s=_READY_TIMEOUT_S,
            )
        self._blocks = Blocks.create("loadgen-workers", block_dtype(len(plan.pairs)), plan.workers)
        await self._fleet.start(
            WORKER,
            "loadgen.worker:main",
            [Shard(plan, index) for index in range(plan.workers)],
            facts.descriptors,
            blocks_fd=self._blocks.fd,
            timeout_s=_READY_TIMEOUT_S,
        )

    async def _conduct(self, plan: Plan) -> None:
        """Ramp, hold, drain, with a line of the series per interval and at the end of each phase."""
        fleet = self._fleet
        self._proc_net = Path(f"/proc/{fleet.zygote.pid}/net")
        self._kernel_before = snmp.read(self._proc_net)
        sizes = arrivals.shard_sizes(plan.connections, len(plan.pairs), plan.workers)
        self._start_ns = now_ns() + _START_DELAY_NS
        self._snapshots = Snapshots(self._blocks, sizes, start_ns=self._start_ns)
        fleet.tell(WORKER, do="start", at_ns=self._start_ns)
        ticker = asyncio.create_task(self._tick_forever(plan.interval_s))
        try:
            await self._until(lambda: fleet.all_of(WORKER, {"opened"}))
            self._end_phase(Phase.HOLD)
            await self._until(lambda: False, plan.hold_s)
            self._end_phase(Phase.DRAIN)
            if self._interrupts < 2:
                fleet.tell(WORKER, do="drain")
                await fleet.wait(lambda: fleet.all_of(WORKER, {"drained"}) or self._interrupts > 1, _DRAIN_TIMEOUT_S)
                await self._settle_sinks()
        finally:
            ticker.cancel()
        self._end_phase(Phase.DONE)
        self._record_line(final=True)
        self._event("ended", "the run came to its end")

    async def _until(self, done: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait for `done`, the time, an interrupt, a failure, or until no worker is left."""
        fleet = self._fleet
        await fleet.wait(
            lambda: bool(done() or self._interrupts or self._failure or not fleet.alive(WORKER)), timeout_s
        )

    async def _settle_sinks(self) -> None:
        """The clients are done; give the sinks a moment to read the last end of file."""
        if self._sink_blocks is None:
            return
        deadline = now_ns() + int(_SINK_SETTLE_S * NS_PER_S)
        while sink.totals(self._sink_blocks)["open"] and now_ns() < deadline and self._interrupts < 2:
            await asyncio.sleep(_SINK_POLL_S)

    async def _tick_forever(self, interval_s: float) -> None:
        """A line per interval, on the interval's own beat so that a slow disk shifts nothing."""
        beat = self._start_ns
        while True:
            beat += int(interval_s * NS_PER_S)
            await asyncio.sleep((beat - now_ns()) / NS_PER_S)
            self._watch_for_stalls()
            self._record_line()

    def _watch_for_stalls(self) -> None:
        counters = self._snapshots.counters()
        now = now_ns()
        for member in self._fleet.alive(WORKER):
            silent_s = (now - int(counters[member.index, Counter.HEARTBEAT_NS])) / NS_PER_S
            if silent_s < STALLED_AFTER_S:
                self._stalled.discard(member.index)
            elif member.index not in self._stalled:
                self._stalled.add(member.index)
                self._event(
                    "worker-stalled",
                    f"{member} gave no sign of life for {silent_s:.0f} s (stopped or starved)",
                )
            elif silent_s > GIVEN_UP_AFTER_S and self._phase is not Phase.HOLD:
                self._fleet.give_up(member)

    def _on_lost(self, member: Member) -> None:
        text = f"{member} was {how_it_ended(member)} in phase {self._phase}"
        if member.kind == WORKER:
            counts = self._snapshots.lose(member.index) if self._phase is not Phase.DONE else None
            text += f" while it held {counts:,} connections" if counts else ""
        self._event(f"{member.kind}-lost", text)

    def _end_phase(self, following: Phase) -> None:
        if self._phase is not Phase.DONE:
            self._record_line()
        self._phase = following

    def _record_line(self, *, final: bool = False) -> None:
        if self._failure:
            return
        line = self._snapshots.take(
            self._phase,
            now_ns(),
            workers={"alive": len(self._fleet.alive(WORKER)), "stalled": len(self._stalled)},
            sink=self._sink_now(final=final),
            kernel=self._kernel_now(),
        )
        self._save(lambda writer: writer.append_series(line))
        self._observer(self._plan_made, line)

    def _sink_now(self, *, final: bool) -> dict[str, Any] | None:
        if self._sink_blocks is None:
            return None
        now: dict[str, Any] = sink.totals(self._sink_blocks)
        if final:
            now["sources"] = sink.by_source(self._sink_blocks)
        return now

    def _kernel_now(self) -> dict[str, Any]:
        try:
            sockets, counters = sockstat.read(self._proc_net), snmp.read(self._proc_net)
        except (FileNotFoundError, ProcessLookupError):  # a second Ctrl-C has ended the zygote
            return {}
        return {
            "now": {f"sockstat.{name}": sockets[name] for name in ("tcp_inuse", "tcp_tw")},
            "delta": snmp.delta(self._kernel_before, counters),
        }

    def _event(self, event: str, text: str) -> None:
        at_s = round((now_ns() - self._start_ns) / NS_PER_S, 6)
        if event != "ended":
            self._notice(text)
        self._save(lambda writer: writer.append_event({"t_s": at_s, "event": event, "text": text}))

    def _save(self, write: Callable[[rundir.RunWriter], None]) -> None:
        """Write to the run directory; when that fails, remember why and bring the run to its end."""
        if self._writer is None or self._failure:
            return
        try:
            write(self._writer)
        except ResultsError as error:
            self._failure = error
            self._fleet.notify()

    def _conclude(self, writer: rundir.RunWriter) -> Result:
        """Read back what was written, and sum it up."""
        from loadgen.report import html  # jinja2 is needed now and not before

        run = rundir.read(writer.path)
        summary = run.summarised()
        if problems := broken_invariants(summary):
            self._failure = self._failure or LoadgenError(f"a bug in loadgen: {'; '.join(problems)}")
        self._save(lambda writer: writer.write_summary(summary))
        self._save(
            lambda writer: writer.write_report(
                html.render(summary, run.series, run.events, run.plan, run.host, run.scenario_text)
            )
        )
        writer.close()
        return Result(writer.path, summary, self._exit_code(summary), self._failure)

    def _exit_code(self, summary: dict[str, Any]) -> ExitCode:
        if self._interrupts:
            return ExitCode.INTERRUPTED
        if self._failure:
            return self._failure.exit_code
        if not summary["complete"]:
            return ExitCode.INCOMPLETE
        if not all(expectation["passed"] for expectation in summary["expect"]):
            return ExitCode.EXPECTATION
        return ExitCode.FINE
