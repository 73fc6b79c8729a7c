"""The run directory of a run on several hosts, and in it a copy of the share of each agent.

The copies are written from the reports as they come, line by line, so that they are there whatever becomes of an agent
or of the coordinator. Summary and report of the whole are then made from them, by the code that merges directories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loadgen.control.run_record import RunRecord, report_of
from loadgen.errors import UsageError
from loadgen.results import run_directory
from loadgen.results.merging import whole
from loadgen.results.merging.series import Agents
from loadgen.results.merging.whole import Share
from loadgen.results.run_directory import RunWriter
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary

if TYPE_CHECKING:
    from loadgen.cluster.member import Participant
    from loadgen.model import Plan


class WholeRecord(RunRecord):
    """The record of the whole and of its shares. Create it, then `open` it once every agent has a plan."""

    def __init__(self, notice: Callable[[str], None], on_failure: Callable[[], None]) -> None:
        super().__init__(notice, on_failure)
        self._copies: list[RunWriter] = []

    def open(
        self,
        results: Path,
        scenario_text: str,
        plan: Plan,
        members: Sequence[Participant],
        *,
        private: bool,
        at: Path | None = None,
    ) -> None:
        """Make the directories, that of the whole below `results` or at this path. Raises: ResultsError."""
        writer = RunWriter(results, plan.name, at, private=private)
        shares = []
        for member in members:
            assert member.plan
            copy = RunWriter(results, plan.name, run_directory.agent_path(writer.path, member.name), private=private)
            copy.write_scenario(scenario_text)
            copy.write_plan(member.plan)
            copy.write_host(files.plain(member.host))
            self._copies.append(copy)
            shares.append(Share(member.name, member.plan, member.host, ()))
        writer.write_scenario(scenario_text)
        writer.write_plan(plan)
        writer.write_host({**files.plain(whole.host_of(shares)), "started_at": writer.started_at})
        self.writer = writer
        for note in plan.notes:
            self.event("note", note)
        self.series = Agents(
            {member.name: len(member.plan.pairs) for member in members if member.plan}, plan.interval_s
        )

    def line_of(self, member: Participant, line: Line) -> None:
        """Keep a line of a share."""
        self._keep_for(member, lambda copy: copy.append_series(line))
        self.series.add(member.index, line)

    def event_of(self, member: Participant, event: Event, *, tell: bool = True) -> None:
        """Keep an event of a share, and as one of the whole if it is to be told there."""
        self._keep_for(member, lambda copy: copy.append_event(event))
        for told in whole.event_of(member.name, event) if tell else ():
            self.keep(told)

    def began(self, member: Participant) -> None:
        """Keep when a share began, by the coordinator's clock."""
        assert member.began
        at_ns = self.wall_ns + member.began.begun_ns - member.began.due_ns
        event = Event(
            event="started", text="the load starts", t_s=0.0, at_ns=at_ns, clock_error_ns=member.clock.error_ns
        )
        self._keep_for(member, lambda copy: copy.append_event(event))

    def conclude(self) -> tuple[Path, RunSummary]:
        """Make summary and report of each share, then of the whole. Raises: as `RunRecord.conclude`."""
        for copy in self._copies:
            self._save_to(copy, RunWriter.close)
            try:
                run = run_directory.read(copy.path)
                summary = run.summarised()
                self._save_to(copy, partial(RunWriter.write_summary, summary=summary))
                self._save_to(copy, partial(RunWriter.write_report, html=report_of(run, summary)))
            except (UsageError, OSError) as error:
                self.not_foreseen(error)
        return super().conclude()

    def _keep_for(self, member: Participant, write: Callable[[RunWriter], None]) -> None:
        if self._copies:
            self._save_to(self._copies[member.index], write)

    @property
    def wall_ns(self) -> int:
        """The start by the wall clock, nanoseconds since 1970."""
        return self.wall_of(self.start_ns)
