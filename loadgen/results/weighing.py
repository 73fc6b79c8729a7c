"""How sure a limit is: the evidence for and against each of those that share a symptom, weighed against one another.

Of the limits that share a symptom, those that the evidence rules out are never named. The one with most evidence is
the limit. Where others have as much, or cannot be seen, the answer is open and names them. Where nothing tells, it is
the limit that the errno itself names, which only says what was seen.

The verdict of a run weighs the figures of the run, `loadgen explain` what was pasted; this is what both do with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.results.schema.run import Confidence, RefutedLimit


class Weight(IntEnum):
    """How much speaks for a limit."""

    NOTHING = 0
    POSSIBLE = 1
    """Nothing does, but the counters that would show it are out of sight."""
    SUPPORTED = 2
    """Facts that neighbours of the limit explain as well."""
    STRONG = 3
    """Facts that hardly anything else explains."""
    SHOWN = 4
    """Facts that nothing else explains."""


@dataclass(frozen=True, slots=True)
class Indication:
    """The weight of the facts for one limit, and their words.

    refuted: the fact that rules the limit out; "": none does.
    """

    weight: Weight = Weight.NOTHING
    supports: tuple[str, ...] = ()
    refuted: str = ""


NOTHING_KNOWN: Final = Indication()
#: Limits that say what was seen and not why, so that an errno alone never makes them certain.
_ONLY_SEEN: Final = ("blackhole", "generator")


def ruled_out(because: str) -> Indication:
    """Return the indication that rules a limit out by a fact."""
    return Indication(refuted=because)


@dataclass(frozen=True)
class Reasoned:
    """The limit, and how it was found.

    candidates: where it is open, the limits that are left, this one first. indication: of the limit. refuted: limits
    that share the symptom, and the facts that rule them out.
    """

    limit: str
    confidence: Confidence = "certain"
    indication: Indication = NOTHING_KNOWN
    candidates: tuple[str, ...] = ()
    refuted: tuple[RefutedLimit, ...] = ()


def weigh(symptom: str, judged: Mapping[str, Indication]) -> Reasoned:
    """Return the limit with most evidence among those that may be behind a symptom, of which there is one or more.

    symptom: the limit that the errno names, or any other word. judged: the candidates, in the order that decides a tie
    of what is named first.
    """
    refuted = tuple(
        RefutedLimit(limit=name, because=indication.refuted)
        for name, indication in judged.items()
        if indication.refuted
    )
    left = {name: indication for name, indication in judged.items() if not indication.refuted}
    if not left:  # the figures contradict each other; what was seen is all that is known
        return Reasoned(symptom if symptom in LIMITS else "none", "open", refuted=refuted)
    most = max(indication.weight for indication in left.values())
    named = [name for name, indication in left.items() if indication.weight == most]
    if most < Weight.SUPPORTED:
        # Nothing tells: the limit that the errno itself names, which only says what was seen.
        named = [symptom] if symptom in left else named[-1:]
    limit = named[0]
    if most >= Weight.STRONG and len(named) == 1:
        return Reasoned(limit, "certain" if most is Weight.SHOWN else "likely", left[limit], refuted=refuted)
    hidden = [name for name, indication in left.items() if indication.weight is Weight.POSSIBLE and name not in named]
    candidates = named if most >= Weight.STRONG else [*named, *hidden]
    if len(candidates) == 1:
        certain = symptom == limit and limit not in _ONLY_SEEN
        return Reasoned(limit, "certain" if certain else "likely", left[limit], refuted=refuted)
    return Reasoned(limit, "open", left[limit], tuple(candidates), refuted)
