"""The conduct of one share: an ordinary run, paced by orders and told in reports.

No wait is without a bound: a share waits for orders while they come. One that hears none for the time of its lease, or
whose input ends, closes its connections by itself, as by Ctrl-C, and keeps what it has measured.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Raw

from loadgen import crash, scenario, shortage
from loadgen import format as fmt
from loadgen.cluster.messages import (
    LEASE_S,
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
    Prepare,
    Ready,
    SeriesLine,
    Start,
)
from loadgen.cluster.outbox import Outbox
from loadgen.cluster.split import settings_of, share_of
from loadgen.cluster.streams import OrderStream, ReportStream
from loadgen.control.dry_run import Permissions, Planner
from loadgen.control.matrix import with_overrides
from loadgen.control.orchestrator import Options, Orchestrator, Result
from loadgen.control.pace import RunPace
from loadgen.control.witness import Witness
from loadgen.errors import ExitCode, InterruptedRunError, LoadgenError
from loadgen.model import Plan
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from loadgen.scenario import ScenarioSpec

_T = TypeVar("_T")
#: A share that was told to stop, and is then left alone, stops at once after this time.
_DRAIN_S: Final = 5.0
#: Time for the last reports to be read.
_FLUSH_S: Final = 5.0


async def conduct(orders_fd: int, reports_fd: int, *, lease_s: float = LEASE_S) -> ExitCode:
    """Conduct the share that the first order describes, and return the exit code that its last report has.

    orders_fd: a pipe or socket to read `messages.Order` from. reports_fd: where to write `messages.Report`. lease_s:
    see `messages.LEASE_S`. Every error is in the last report, `Ended`. SIGTERM is an interrupt.
    """
    reports = ReportStream(reports_fd, Outbox())
    conductor = Conductor(reports, lease_s)
    try:
        orders = OrderStream(orders_fd, conductor.obey, conductor.give_up)
    except LoadgenError as error:
        ended = _failed(error)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, conductor.interrupt)
        lease = asyncio.create_task(conductor.watch_lease())
        ended = await conductor.run()
        lease.cancel()
        orders.close()
    reports.report(ended)
    await reports.close(_FLUSH_S)
    return ExitCode(ended.exit_code)


class Conductor(Witness, RunPace):
    """Obeys orders, conducts the run, and reports it. Create it on a running loop, then await `run` once."""

    def __init__(self, reports: ReportStream, lease_s: float) -> None:
        self._report, self._lease_s = reports.report, lease_s
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._prepare: asyncio.Future[Prepare | None] = self._loop.create_future()
        self._start: asyncio.Future[int] = self._loop.create_future()
        self._hold: asyncio.Future[None] = self._loop.create_future()
        #: Interrupts the run, with the reason; None: there is none.
        self._stop: Callable[[str], None] | None = None
        self._close: asyncio.Future[None] = self._loop.create_future()
        self._finish: asyncio.Future[int] = self._loop.create_future()
        self._interrupts = 0
        #: Why the share stopped by itself, as a clause; empty: it did not.
        self._lost = ""
        self._path = ""

    def obey(self, order: Order) -> None:
        """Do what an order says; one that is repeated changes nothing, except for an interrupt."""
        self._heard_s = self._loop.time()
        match order:
            case Prepare():
                _settle(self._prepare, order)
            case Start():
                _settle(self._start, order.at_ns)
            case Hold():
                _settle(self._hold, None)
            case Close():
                _settle(self._close, None)
            case Finish():
                _settle(self._finish, order.established)
            case Interrupt():
                self.interrupt()
            case Continue():
                pass

    def interrupt(self, because: str = "interrupted") -> None:
        """See `Orchestrator.interrupt`; before there is a run, there will be none."""
        self._interrupts += 1
        if self._stop:
            self._stop(because)
        else:
            _settle(self._prepare, None)

    async def watch_lease(self) -> None:
        """Give up when no order has come for the time of the lease."""
        while (left_s := self._heard_s + self._lease_s - self._loop.time()) > 0:
            await asyncio.sleep(left_s)
        self.give_up(f"the coordinator was not heard from for {self._lease_s:g} s")

    def give_up(self, because: str) -> None:
        """Stop the load, and after some seconds the share, because no order will come. Only the first time counts.

        Until then the sinks wait for connections of other agents to end, which have lost the coordinator as well.
        """
        if self._lost:
            return
        self._lost = because
        _settle(self._close, None)
        _settle(self._finish, 0)
        if not self._interrupts:
            self.interrupt(because)
        self._loop.call_later(_DRAIN_S, self.interrupt)

    async def run(self) -> Ended:
        """Conduct the share to its end and return the last report."""
        try:
            prepare = await self._prepare
            if prepare is None:
                raise InterruptedRunError("interrupted before any load")
            if prepare.only_plan:
                return await self._plan(prepare)
            return self._ended(await self._orchestrator(prepare).execute())
        except LoadgenError as error:
            return _failed(error, self._path, self._lost)
        except Exception as error:
            return _failed(shortage.of(error) or LoadgenError(crash.told(error)), self._path, self._lost)
        finally:
            self._stop = None

    async def _plan(self, prepare: Prepare) -> Ended:
        """Report what the share needs of this host. Raises: LoadgenError."""
        permissions = Permissions(prepare.allow, prepare.authorized, prepare.port_blocking)
        planner = Planner(self._share(prepare), (), permissions)
        self._stop = lambda _: planner.interrupt()
        self._report(Assessed(assessment=_raw(await planner.execute())))
        return Ended(exit_code=ExitCode.FINE)

    def _orchestrator(self, prepare: Prepare) -> Orchestrator:
        """Return the run of the share. Raises: ScenarioError, UsageError."""
        portion = prepare.portion
        head = f"# the share of agent {fmt.on_one_line(portion.name)}: {portion.weight} of {portion.total}\n"
        options = Options(
            results=Path(prepare.results),
            allow=prepare.allow,
            authorized=prepare.authorized,
            port_blocking=prepare.port_blocking,
            force=prepare.force,
        )
        orchestrator = Orchestrator(
            self._share(prepare),
            head + with_overrides((*prepare.settings, *settings_of(portion)), prepare.scenario),
            options,
            observer=self._wrote,
            notice=lambda _: None,  # each is an event
            pace=self,
            witness=self,
        )
        self._stop = orchestrator.interrupt
        return orchestrator

    @staticmethod
    def _share(prepare: Prepare) -> ScenarioSpec:
        """Return the part of the scenario. Raises: ScenarioError, UsageError."""
        settings = (*prepare.settings, *settings_of(prepare.portion))
        return share_of(scenario.parse(prepare.scenario, prepare.origin, settings), prepare.portion)

    def planned(self, plan: Plan, host: Mapping[str, object], path: Path) -> None:
        """Report the plan."""
        self._path = str(path.absolute())
        self._tell_plan(plan, host)

    def _tell_plan(self, plan: Plan, host: Mapping[str, object]) -> None:
        self._report(Planned(plan=_raw(files.plan_of(plan)), host=_raw(host)))

    async def start(self) -> int:
        """Report that every process is ready, and return the instant that is ordered."""
        self._report(Ready(path=self._path))
        return await self._start

    async def opened(self) -> None:
        """Report that every arrival is answered, and return when the hold is ordered."""
        self._report(Opened())
        await self._hold

    async def closing(self) -> None:
        """Report that the connections expect to be closed, and return when the sinks are ordered to do so."""
        self._report(Closing())
        await self._close

    async def drained(self) -> int:
        """Report that only connections of other agents are left, and return how many there were once all are closed."""
        self._report(Drained())
        return await self._finish

    def began(self, due_ns: int, begun_ns: int) -> None:
        """Report when the load began."""
        self._report(Began(due_ns=due_ns, begun_ns=begun_ns))

    def happened(self, event: Event) -> None:
        """Report an event."""
        self._report(Happened(event=_raw(event)))

    def _wrote(self, _: Plan, line: Line) -> None:
        self._report(SeriesLine(line=_raw(line)))

    def _ended(self, result: Result) -> Ended:
        code = result.exit_code
        if self._lost and code is ExitCode.INTERRUPTED:  # by no user
            code = ExitCode.FINE if result.record.complete else ExitCode.INCOMPLETE
        return Ended(exit_code=code, path=str(result.path.absolute()), text=_on_one_line("\n".join(result.problems)))


def _settle(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():
        future.set_result(value)


def _failed(error: LoadgenError, path: str = "", lost: str = "") -> Ended:
    """Return the report of an error. lost: why the share stopped by itself."""
    code = ExitCode.INCOMPLETE if lost and error.exit_code is ExitCode.INTERRUPTED else error.exit_code
    return Ended(exit_code=code, path=path, text=_on_one_line(f"{lost}\n{error}"))


def _on_one_line(text: str) -> str:
    return "; ".join(line for line in text.splitlines() if line)


def _raw(value: object) -> Raw:
    """Return a value as the line that a run directory would have of it."""
    return Raw(files.line_of(value)[:-1])
