"""A search to make: a new one, or one that its directory continues, and what the directory says of it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loadgen import scenario as scenarios
from loadgen.control import name_resolution
from loadgen.control.matrix import with_overrides
from loadgen.control.orchestrator import Observer, Options, Result
from loadgen.errors import HostError, LoadgenError, UsageError
from loadgen.results import search_directory
from loadgen.results.schema.find import FindPlan
from loadgen.results.schema.matrix_plan import CellPlan
from loadgen.scenario import Cell, FindSpec, ScenarioSpec


class TrialRun(Protocol):
    """A run on this host or on several."""

    def interrupt(self, because: str = "interrupted") -> None:
        """Once: drain. Twice: stop. because: the beginning of the event, for the first time."""

    async def execute(self) -> Result:
        """Run to the end. Raises: LoadgenError."""


class Conducted(Protocol):
    """Makes the run of one trial."""

    def __call__(
        self, overrides: tuple[str, ...], options: Options, *, observer: Observer, notice: Callable[[str], None]
    ) -> TrialRun:
        """Return the run of the scenario with these overrides, which are those of the search and of the trial."""


@dataclass(frozen=True, slots=True)
class FindOrder:
    """A search to make: a new one, or one to continue.

    text, file: the scenario as given, and its name in messages. cells: of its matrix, none without one. elsewhere:
    makes the run of a trial on other hosts; None: on this one. writer: of the directory of a search to continue.
    """

    scenario: ScenarioSpec
    cells: tuple[Cell, ...]
    text: str
    file: str
    overrides: tuple[str, ...] = ()
    elsewhere: Conducted | None = None
    writer: search_directory.SearchWriter | None = None
    answers: name_resolution.ResolvedNames = field(default_factory=dict)

    @property
    def find(self) -> FindSpec:
        """The search as the scenario has it."""
        assert self.scenario.find
        return self.scenario.find


def resume(path: Path) -> FindOrder:
    """Return the search in a directory, to be continued. The directory is locked from now on.

    Raises: UsageError when there is none that can be gone on with; HostError on another kernel.
    """
    if not search_directory.is_search(path):
        raise UsageError(
            f"{path} is no search that could be resumed (no find.json in it); give a directory that `loadgen find` "
            "made, or run the search anew"
        )
    writer = search_directory.SearchWriter(path.parent, path.name, at=path)
    try:
        written = search_directory.read(path)
        plan = written.plan
        text = written.scenario_text.removeprefix(with_overrides(plan.overrides, ""))
        whole, cells = scenarios.parse_cells(text, str(path / "scenario.yaml"), plan.overrides)
        order = FindOrder(
            whole, cells, text, str(path / "scenario.yaml"), plan.overrides, writer=writer, answers=dict(plan.resolved)
        )
        if whole.find is None or _as_planned(order, plan) != plan:
            raise UsageError(
                f"{path}: scenario.yaml now means another search than find.json says was begun; put scenario.yaml "
                f"back, or run it anew: loadgen find {path}/scenario.yaml"
            )
        if plan.kernel != platform.release():
            raise HostError(
                f"{path} was begun on kernel {plan.kernel}, this is {platform.release()}: trials of two kernels "
                f"cannot be compared; go on under that kernel, or run it anew: loadgen find {path}/scenario.yaml"
            )
    except LoadgenError:
        writer.close()
        raise
    return order


def _as_planned(order: FindOrder, plan: FindPlan) -> FindPlan:
    """Return the plan of an order, with the moment, the kernel and the addresses of another plan."""
    return planned(order, plan.started_at, plan.kernel, dict(plan.resolved))


def planned(order: FindOrder, started_at: str, kernel: str, resolved: name_resolution.ResolvedNames) -> FindPlan:
    """Return the plan of a search. started_at: RFC 3339. kernel: release, as uname(2) has it."""
    find = order.find
    return FindPlan(
        scenario=order.scenario.name,
        started_at=started_at,
        kernel=kernel,
        overrides=tuple(map(scenarios.kept_setting, order.overrides)),
        key=find.vary,
        unit=find.start.unit,
        whole=find.whole,
        start=find.start.number,
        stop=find.stop.number,
        precision=find.precision,
        agree=find.agree,
        trials_max=find.trials,
        mode=find.mode.value,
        at_least=find.at_least.number if find.at_least else None,
        expect=tuple(row.text for row in find.expect),
        cells=tuple(CellPlan(settings=cell.settings) for cell in order.cells) or (CellPlan(settings={}),),
        scenario_sha256=hashlib.sha256(written_text(order).encode()).hexdigest(),
        resolved=resolved,
    )


def written_text(order: FindOrder) -> str:
    """Return the scenario of an order as it is written to the directory."""
    return with_overrides(order.overrides, order.text)
