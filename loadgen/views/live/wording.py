"""Figures as text, where both views show the same."""

from __future__ import annotations

from typing import Final

from loadgen import format as fmt
from loadgen.model import Phase, Plan
from loadgen.results.schema.line import AgentTally
from loadgen.views.live.figures import TimeWait
from loadgen.views.live.schedule import TimeLeft

PHASES: Final = {
    Phase.RAMP: "opening",
    Phase.HOLD: "holding",
    Phase.CHURN: "churning",
    Phase.DRAIN: "closing",
    Phase.DONE: "done",
}
#: Stands for a figure that was not measured; a terminal may have nothing but ASCII.
MISSING: Final = "-"


#: States of an agent that are no phase.
_IN_TROUBLE: Final = {"suspect": "does not answer", "lost": "lost"}


def in_trouble(agent: AgentTally) -> bool:
    """Return whether an agent does not answer, or was lost."""
    return agent.state in _IN_TROUBLE


def state_of(agent: AgentTally) -> str:
    """The phase of an agent's share, or its trouble."""
    return _IN_TROUBLE.get(agent.state) or PHASES[Phase(agent.state)]


def one_line(text: str) -> str:
    """Text from outside on one line, unable to drive a terminal."""
    return fmt.visible(" ".join(text.split()))


def name(plan: Plan) -> str:
    """Of the scenario."""
    return one_line(plan.name)


def left(time: TimeLeft | None) -> str:
    """`20 s left`, `about 12 min 05 s left`; empty where it is unknown."""
    if time is None:
        return ""
    seconds = f"{time.seconds:.0f} s" if time.seconds < 119.5 else fmt.seconds(time.seconds)
    return f"{'about ' if time.estimated else ''}{seconds} left"


def latency(us: float | None) -> str:
    """Three digits and the unit that suits them."""
    return MISSING if us is None else fmt.latency(us, "us")


def cpu(cores: float | None) -> str:
    """Of all workers, in cores."""
    return f"CPU {MISSING if cores is None else f'{cores:.2f}'} cores"


def time_wait(sockets: TimeWait | None) -> list[str]:
    """Here, at the sinks where they have a namespace of their own, and recycled."""
    if sockets is None:
        return [MISSING]
    parts = [f"{sockets.here:,}"]
    if sockets.at_sinks is not None:
        parts.append(f"{sockets.at_sinks:,} at the sinks")
    return [*parts, f"{sockets.recycled:,} recycled"]
