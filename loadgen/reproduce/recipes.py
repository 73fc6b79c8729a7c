"""For each limit the scenario in which the same attempts fail, for the same reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.time_wait import rest_of
from loadgen.model import CloseMode, Topology
from loadgen.reproduce.draft import CHOSEN, Draft, Noted, noted
from loadgen.reproduce.stage import NotReproducibleError, Stage

#: A scaled run finds its wall after this time, and goes on for a moment.
_WALL_S: Final = 1.5
_AFTER_S: Final = 0.5
#: Short connections that one machine opens and closes, at least.
_PACE_PER_S: Final = 3000

Build = Callable[[Stage], Draft]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a situation is rebuilt. how: for docs/scenario.md, what makes the limit appear."""

    build: Build
    how: str


def _expect(draft: Draft, stage: Stage, limit: str, *, error: str = "") -> Draft:
    """Add the expectations that only the same error and the same limit meet. error: "connect.ECONNREFUSED"."""
    if error:
        draft.expect[f"errors.{error} >= 1"] = stage.because("fails", otherwise="as the limit shows itself")
    draft.expect[f"verdict.limit == {limit}"] = stage.because("limit")
    return draft


def _port_error(stage: Stage) -> str:
    return stage.rules.ends_text.replace(" ", ".")


def _connections(stage: Stage) -> Noted:
    """Return more connections than fit: as many as were wanted, else a fifth more."""
    wanted, capacity = stage.circumstances.wanted, stage.capacity
    enough = capacity + max(capacity // 5, 5)
    if wanted and stage.scale.count(wanted) > capacity:
        number = stage.scale.count(wanted)
        return Noted(number, stage.because("wanted", stage.instead_of(number, wanted, "connections")))
    return Noted(enough, f"{CHOSEN}: a fifth more than the {capacity:,} that fit")


def _held_open(stage: Stage, limit: str, what: str) -> Draft:
    """Return connections that stay open until one finds no port."""
    draft = stage.draft(what)
    draft.keys["connections"] = _connections(stage)
    draft.keys["close"] = _close_of_held(stage)
    return _expect(draft, stage, limit, error=_port_error(stage))


def _close_of_held(stage: Stage) -> Noted:
    close = stage.circumstances.close or CloseMode.RST
    if stage.circumstances.transport.value == "udp":
        return Noted(CloseMode.FIN.value, "UDP has no other")
    return Noted(close.value, stage.because("close", otherwise="nothing stays behind in TIME-WAIT"))


def four_tuples(stage: Stage) -> Draft:
    """Return connections that stay open until a (source, target) has no port."""
    return _held_open(
        stage,
        "four-tuples",
        "Connections stay open until a source has one on every port to a target; the next connect() finds no "
        "free four-tuple.",
    )


def source_ports(stage: Stage) -> Draft:
    """Return connections that stay open until a source has bound every port."""
    return _held_open(
        stage,
        "source-ports",
        "Each connection takes a port of its source for itself, whatever the target; the next one finds no free port.",
    )


def time_wait(stage: Stage) -> Draft:
    """Return connections that are opened and closed until every port rests in TIME-WAIT."""
    stage = stage.over_cable()
    facts = stage.circumstances
    draft = stage.draft("Connections are short, and this side closes first, so that the ports rest in TIME-WAIT.")
    settings = {name: str(value.value) for name, value in draft.sysctls.items()}
    loopback = stage.ends.topology is Topology.LOOPBACK
    resting_s, reason = rest_of(stage.strategy.row.time_wait, settings, loopback=lambda: loopback)
    if not resting_s:
        raise NotReproducibleError(
            f"with strategy {stage.strategy} no port rests in TIME-WAIT ({reason}); name another limit or strategy"
        )
    if facts.source_port:
        churn, arrival = {"duration": Noted("2s", CHOSEN), "concurrency": Noted(1, "one connection at a time")}, 5.0
        draft.keys["churn"] = Noted(churn)
        draft.keys["arrival"] = Noted({"rate": _rate(arrival)}, f"{CHOSEN}: the client comes back at once")
    else:
        draft.keys.update(_churn(stage, resting_s))
    draft.keys["close"] = Noted(CloseMode.FIN.value, "the side that closes first keeps TIME-WAIT")
    return _expect(draft, stage, "time-wait", error=_port_error(stage))


def _churn(stage: Stage, resting_s: float) -> dict[str, Noted]:
    """Return churn that meets a full TIME-WAIT, in proportion to its ceiling as far as that takes seconds only."""
    facts, scale = stage.circumstances, stage.scale
    in_use = min(scale.count(facts.in_use or 0), stage.capacity - 1) or min(8, stage.capacity)
    keys = {}
    wall_s = _WALL_S
    if facts.rate_per_s:
        there = stage.capacity * len(scale.theirs) / len(scale.ours)
        wall_s = there / facts.rate_per_s  # the same in a scaled range
        why = stage.because("rate_per_s")
        if wall_s > (resting_s if stage.full_size else _WALL_S):
            wall_s = resting_s / 2 if stage.full_size else _WALL_S
            reason = f"TIME-WAIT of {resting_s:g} s does not shrink"
            if stage.full_size:
                reason = f"fewer than {fmt.rate(stage.capacity / resting_s)} never fill the ports"
            why = f"{why}; more than in proportion, because {reason}"
        elif scale.is_smaller:
            why = f"{why}; {fmt.rate(facts.rate_per_s)} there"
        keys["arrival"] = Noted({"rate": Noted(_rate(stage.capacity / wall_s), why)})
    elif stage.full_size:
        wall_s = stage.capacity / _PACE_PER_S
    lasts_s = math.ceil(wall_s + _AFTER_S)
    held = stage.because("in_use", stage.instead_of(in_use, facts.in_use or 0, "connections"))
    churn = {
        "duration": Noted(f"{lasts_s}s", f"{CHOSEN}: the ports are used up, and more are wanted"),
        "concurrency": Noted(in_use, held) if not facts.rate_per_s else Noted(stage.capacity, "at most; see arrival"),
    }
    return {"churn": Noted(churn), **keys}


def _rate(per_s: float) -> str:
    return f"{max(per_s, 0.1):.1f}".removesuffix(".0") + "/s"


def refused(stage: Stage) -> Draft:
    """Return connections to a target where nothing listens."""
    draft = stage.resized(None).draft("Nothing listens at the target.", sink=False)
    draft.keys.update(noted({"connections": Noted(5, f"{CHOSEN}: each of them is refused")}))
    return _expect(draft, stage, "refused", error="connect.ECONNREFUSED")


#: By the limit of the situation.
RECIPES: Final[dict[str, Recipe]] = {
    "four-tuples": Recipe(four_tuples, "more connections than a (source, target) has ports"),
    "source-ports": Recipe(source_ports, "more connections than a source has ports, each of which it binds"),
    "time-wait": Recipe(time_wait, "connections opened and closed until every port rests"),
    "refused": Recipe(refused, "a target without a listener"),
}
