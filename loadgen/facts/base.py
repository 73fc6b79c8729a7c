"""Facts and findings: the expected behaviour of a kernel, and the behaviour seen on this one.

A fact is a number, a sentence, and a function that provokes the behaviour and describes in a few words what it saw. The
description is compared with the expected one: equal is "holds", anything else "differs". Neither is a failure; a fact
fails only if its experiment could not be made.

A fact about a cost adds a figure in nanoseconds. The figure depends on the machine, so it is shown and never compared:
the description says in words, such as "grows", what is to be expected of any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from loadgen.errors import UsageError


class FactVerdict(StrEnum):
    """Result of the comparison between expected and seen."""

    HOLDS = "holds"
    DIFFERS = "differs"
    NOT_RUN = "not run"


def order_of(number: str) -> tuple[int, ...]:
    """Return the sort key of a fact's number, which puts 2.10 after 2.9."""
    return tuple(int(part) for part in number.split("."))


@dataclass(frozen=True, slots=True)
class Cost:
    """A measured cost.

    each_ns: nanoseconds for each of what `Fact.cost_what` names.
    count: the number of these in the measurement.
    ratio: time of the call with all of them, as a multiple of its time with none, or with one.
    """

    each_ns: float
    count: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of an experiment about a cost. seen: the description, without figures that depend on the machine."""

    seen: str
    cost: Cost


Experiment = Callable[[], str | Measured]


@dataclass(frozen=True, slots=True)
class Fact:
    """One behaviour of a kernel, with the experiment that shows it.

    number: "section.fact", both counted from 1; stable, so that it can be quoted.
    expected: the result of `run` on a kernel that behaves so.
    since: the first kernel known to, "6.18"; "" if no kernel in use is known to differ.
    source: where this is tested or written: a selftest or file of the kernel with function or commit, an RFC, a manual
        page.
    meaning: one sentence of advice for programs that open connections.
    sysctls: set in the fact's own network namespace before `run`.
    cost_what: the unit of the cost that `run` measures, "taken port that connect() looks at"; "" if it measures none.
    """

    number: str
    title: str
    expected: str
    since: str
    source: str
    meaning: str
    run: Experiment
    sysctls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cost_what: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key that puts 2.10 after 2.9."""
        return order_of(self.number)


@dataclass(frozen=True, slots=True)
class FactFinding:
    """The result of one fact.

    reason: why it was not run, or an explanation of the difference.
    cost: None if nothing was measured.
    """

    fact: Fact
    seen: str
    verdict: FactVerdict
    reason: str
    seconds: float
    cost: Cost | None = None


class SeenError(Exception):
    """Ends an experiment early; the message is its result, such as an option that the kernel lacks."""


class CannotRunError(Exception):
    """Ends an experiment that this host does not permit; the message tells what is missing."""


#: The setting that most experiments narrow to a hundred ports, far from those of listeners.
PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
_FACTS: dict[str, Fact] = {}


def ports(count: int, first: int = 40000) -> dict[str, str]:
    """Return the setting that leaves `count` ports to automatic choice."""
    return {PORT_RANGE: f"{first} {first + count - 1}"}


def fact(
    number: str,
    title: str,
    *,
    expected: str,
    meaning: str,
    source: str,
    since: str = "",
    sysctls: Mapping[str, str] | None = None,
    cost_what: str = "",
) -> Callable[[Experiment], Experiment]:
    """Register the decorated experiment. Default `sysctls`: a hundred ports, from 40000 on.

    Raises: ValueError for a number that another fact has.
    """

    def register(run: Experiment) -> Experiment:
        if number in _FACTS:
            raise ValueError(f"there are two facts {number}")
        settings = ports(100) if sysctls is None else dict(sysctls)
        _FACTS[number] = Fact(
            number, title, expected, since, source, meaning, run, MappingProxyType(settings), cost_what
        )
        return run

    return register


def registered() -> list[Fact]:
    """Return the facts of the modules imported so far, in numeric order."""
    return sorted(_FACTS.values(), key=lambda fact: fact.order)


def select(facts: list[Fact], selection: tuple[str, ...]) -> list[Fact]:
    """Return the facts with one of these numbers, or of one of these sections; without a selection all.

    Raises: UsageError for a number that matches no fact.
    """
    for number in selection:
        if not any(_matches(fact, number) for fact in facts):
            raise UsageError(f"there is no fact {number!r}; `loadgen facts --list` shows them all")
    return [fact for fact in facts if not selection or any(_matches(fact, number) for number in selection)]


def _matches(fact: Fact, number: str) -> bool:
    # Compare parts, not characters: "1" means 1.1 and 1.2, but neither 10.1 nor 11.2.
    return fact.number == number or fact.number.startswith(number.removesuffix(".") + ".")
