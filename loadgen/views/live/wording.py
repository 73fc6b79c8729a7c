"""Figures as text, where both views say the same."""

from __future__ import annotations

from typing import Final

from loadgen import format as fmt
from loadgen.model import Phase, Plan
from loadgen.views.live.figures import TimeWait
from loadgen.views.live.schedule import Left

PHASES: Final = {
    Phase.RAMP: "opening",
    Phase.HOLD: "holding",
    Phase.CHURN: "churning",
    Phase.DRAIN: "closing",
    Phase.DONE: "done",
}
#: For what was not measured; a terminal may have nothing but ASCII.
MISSING: Final = "-"


def one_line(text: str) -> str:
    """Other people's text so that it cannot drive a terminal, or take more than its line."""
    return fmt.visible(" ".join(text.split()))


def name(plan: Plan) -> str:
    """Of the scenario."""
    return one_line(plan.name)


def left(found: Left | None) -> str:
    """`20 s left`, `about 12 min 05 s left`; nothing where nobody knows."""
    if found is None:
        return ""
    seconds = f"{found.seconds:.0f} s" if found.seconds < 119.5 else fmt.seconds(found.seconds)
    return f"{'about ' if found.estimated else ''}{seconds} left"


def latency(us: float | None) -> str:
    """Three digits and the unit that suits them."""
    return MISSING if us is None else fmt.latency(us, "us")


def cpu(cores: float | None) -> str:
    """Of all workers, in cores."""
    return f"CPU {MISSING if cores is None else f'{cores:.2f}'} cores"


def time_wait(found: TimeWait | None) -> list[str]:
    """Here, at the sinks where they have a namespace of their own, and recycled."""
    if found is None:
        return [MISSING]
    said = [f"{found.here:,}"]
    if found.at_sinks is not None:
        said.append(f"{found.at_sinks:,} at the sinks")
    return [*said, f"{found.recycled:,} recycled"]
