"""One agent of a run as the coordinator knows it: what it has reported, and whether it still answers.

Pure: reports and times in, a state out. The coordinator does the calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loadgen.cluster.connection import Agent, ClockDifference
from loadgen.cluster.messages import LOST_S, SUSPECT_S, Began, Ended, Portion
from loadgen.model import Plan
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line


@dataclass
class Participant:
    """An agent that takes part.

    index: its place among the agents. clock: its clocks less those of the coordinator. heard_s: when it last answered,
    by the clock of the event loop. received: reports that were taken. line: the last of its series. lost_because: why
    it counts as lost; "": it does not. assessment: where only that was asked for, as `loadgen plan --json` has it.
    early: events before the run directory of the whole was there.
    """

    agent: Agent
    index: int
    portion: Portion
    clock: ClockDifference
    heard_s: float
    received: int = 0
    plan: Plan | None = None
    host: Host = field(default_factory=Host)
    assessment: dict[str, Any] | None = None
    early: list[Event] = field(default_factory=list)
    ready: bool = False
    began: Began | None = None
    opened: bool = False
    closing: bool = False
    drained: bool = False
    line: Line | None = None
    came_to_its_end: bool = False
    ended: Ended | None = None
    suspect: bool = False
    lost_because: str = ""

    @property
    def name(self) -> str:
        """The name of the agent, as its directory has it."""
        return self.agent.file_name

    @property
    def lost(self) -> bool:
        """True once nothing more is expected of it."""
        return bool(self.lost_because)

    @property
    def over(self) -> bool:
        """True if its share has ended, or it was lost."""
        return self.lost or self.ended is not None

    @property
    def left(self) -> bool:
        """True once it has no connection to the sinks of others any more: its share is over, or only its sinks are."""
        return self.over or self.drained

    def established_at(self, server: Participant) -> int:
        """Return its connections to the sinks of another, as far as it has told."""
        if self.plan is None or server.plan is None or self.line is None or self is server:
            return 0
        own = {target.endpoint for target in self.plan.targets if target.sink}
        served = {target.endpoint for target in server.plan.targets if target.sink} - own
        pairs = zip(self.plan.pairs, self.line.pairs, strict=True)
        return sum(counts.established for (_, target), counts in pairs if target in served)

    def wait_s(self, now_s: float) -> float:
        """Return how long the next call may take, in seconds: until the agent is suspect, and then until it is lost."""
        return max(min(SUSPECT_S, self.heard_s + LOST_S - now_s), 0.05)

    def heard(self, now_s: float) -> bool:
        """Note an answer; return whether it was suspect before."""
        back, self.heard_s, self.suspect = self.suspect, now_s, False
        return back

    def silent(self, now_s: float) -> bool:
        """Note a call without an answer; return whether the agent is suspect now and was not before."""
        silent_s = now_s - self.heard_s
        if silent_s >= LOST_S - 0.05:
            self.lost_because = f"it has not answered for {silent_s:.0f} s: it is stopped, or cut off"
        before, self.suspect = self.suspect, silent_s >= SUSPECT_S - 0.05
        return self.suspect and not before and not self.lost
