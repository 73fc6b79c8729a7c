"""loadgen as a library: a scenario goes in, a result comes back.

Nothing is printed here, no signal handler is installed and the process is never ended. What loadgen cannot do is a
`LoadgenError`, as on the command line; what the load met is in the result, whatever it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from loadgen import event_loop
from loadgen import scenario as scenarios
from loadgen.control import matrix as matrices
from loadgen.control.orchestrator import Options, Orchestrator, Result
from loadgen.errors import LoadgenError, UsageError
from loadgen.results.schema import files
from loadgen.scenario.yaml_document import printable

if TYPE_CHECKING:
    from loadgen.model import Plan
    from loadgen.results.schema.line import Line
    from loadgen.watch.snapshot import Snapshot

__all__ = ["LoadgenError", "Result", "Scenario", "look", "run", "run_async"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that was read and checked, with its overrides. Made by `load`, `parse` or `of`.

    text: as it was given, which is what the run directory keeps.
    """

    text: str = field(repr=False)
    overrides: tuple[str, ...] = field(repr=False)
    whole: scenarios.ScenarioSpec
    cells: tuple[scenarios.Cell, ...]

    @classmethod
    def load(cls, path: str | PathLike[str], changes: Mapping[str, Any] | None = None) -> Scenario:
        """The scenario in a YAML file.

        changes: other values for keys of it by dotted path, `{"sources.strategy": "late"}`.
        Raises: ScenarioError, with the place in the file.
        """
        return cls._read(scenarios.read_bytes(Path(path)), printable(str(path)), changes)

    @classmethod
    def parse(cls, text: str, changes: Mapping[str, Any] | None = None) -> Scenario:
        """The scenario in a YAML text. changes, Raises: as `load`."""
        # A lone surrogate is no UTF-8 either, and refused with its place.
        return cls._read(text.encode(errors="surrogatepass"), "scenario", changes)

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Scenario:
        """The scenario with these keys, which may be nested and have any value that JSON has. Raises: as `load`."""
        return cls.parse(json.dumps(keys, indent=2, ensure_ascii=False) + "\n")  # JSON is YAML

    @classmethod
    def _read(cls, data: bytes, name: str, changes: Mapping[str, Any] | None) -> Scenario:
        overrides = tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (changes or {}).items())
        whole, cells = scenarios.parse_cells(data, name, overrides)
        return cls(data.decode(), overrides, whole, cells)


class How(TypedDict, total=False):
    """How to run, beside the scenario; every key may be left out.

    results: where the run directory is made, `results` in the working directory.
    allow: networks beyond loopback that may be sent to. authorized: global addresses among them, too.
    port_blocking, force: as the options of `loadgen run`, --allow-port-blocking and --force.
    on_line, on_notice: called as the run goes, with each line of the series and with what happens in words. They
    must return at once.
    """

    results: str | PathLike[str]
    allow: Sequence[str]
    authorized: bool
    port_blocking: bool
    force: bool
    on_line: Callable[[dict[str, Any]], None]
    on_notice: Callable[[str], None]


def run(scenario: Scenario, **how: Unpack[How]) -> Result:
    """Run a scenario, or every cell of a matrix, to its end, on an event loop of its own.

    A KeyboardInterrupt closes all that is open before it goes on its way. What `on_line` or `on_notice` raises ends the
    run as an interrupt does, with a summary of what was measured, and is raised then.

    Raises: LoadgenError for whatever stops the run before any load; what goes wrong later is in the result.
        UsageError inside a running event loop: await `run_async` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UsageError("run() would stop this event loop until the load is over; write: await run_async(...)")
    # Not asyncio.run: that takes the handler of SIGINT for itself.
    with _event_loop() as loop:
        task = loop.create_task(run_async(scenario, **how))
        try:
            return loop.run_until_complete(task)
        except BaseException:
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            raise


async def run_async(scenario: Scenario, **how: Unpack[How]) -> Result:
    """Run a scenario as `run` does, on the event loop that runs already, asyncio's or uvloop's.

    Cancelled, it closes all that is open."""
    options = Options(
        results=Path(how.get("results", "results")),
        allow=tuple(how.get("allow", ())),
        authorized=how.get("authorized", False),
        port_blocking=how.get("port_blocking", False),
        force=how.get("force", False),
    )
    view = _Callbacks(how.get("on_line"), how.get("on_notice"))
    conductor: Orchestrator | matrices.Matrix
    if scenario.cells:
        order = matrices.Order(scenario.whole, scenario.cells, scenario.text, scenario.overrides)
        conductor = matrices.Matrix(order, options, view=view.of_cell, say=view.notice)
    else:
        given = matrices.with_overrides(scenario.overrides, scenario.text)
        conductor = Orchestrator(scenario.whole, given, options, observer=view.update, notice=view.notice)
    view.on_failure = conductor.interrupt
    try:
        result = await conductor.execute()
    except LoadgenError:
        if view.failure is None:
            raise
    if view.failure:
        raise view.failure
    return result


def look(destination: str = "", *, source: str = "", pid: int = 0) -> Snapshot:
    """How full each destination is in the network namespace of this process now, as `loadgen watch --once` has it.

    destination: `10.0.0.7:443`, `10.0.0.0/24` or `:443`; empty: all. source: an address or network. pid: only
    those groups in which this process has a socket.

    Raises: UsageError for an address that is none. HostError when the kernel has no such sockets to ask.
    """
    from loadgen.watch import filters
    from loadgen.watch.snapshot import Watcher

    try:
        ends = filters.GroupFilter(
            filters.network(source) if source else None, *(filters.destination(destination) if destination else ())
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    with Watcher(ends, pid=pid) as watcher:
        return watcher.snapshot()


_Told = TypeVar("_Told")


class _Callbacks:
    """Hands lines and notices of a run to the caller's functions, until one of them fails.

    failure: what it raised. on_failure: called then; ends the run.
    """

    def __init__(
        self, on_line: Callable[[dict[str, Any]], None] | None, on_notice: Callable[[str], None] | None
    ) -> None:
        self._on_line, self._on_notice = on_line, on_notice
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] = lambda: None

    def update(self, _plan: Plan, line: Line) -> None:
        if self._on_line:
            self._call(self._on_line, files.plain(line))

    def notice(self, text: str) -> None:
        if self._on_notice:
            self._call(self._on_notice, text)

    def _call(self, function: Callable[[_Told], None], told: _Told) -> None:
        if self.failure is None:
            try:
                function(told)
            except Exception as error:  # of the caller's, and so not for the run to judge
                self.failure = error
                self.on_failure()

    @contextmanager
    def of_cell(self) -> Iterator[_Callbacks]:
        yield self


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = event_loop.new()
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
