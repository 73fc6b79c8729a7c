"""A fact and a finding: what a kernel is expected to do, and what this one did.

A fact is a number, a sentence, and a function that provokes the behaviour and says in a few words
what it saw. The words are compared with those expected: equal is "holds", anything else "differs".
Neither is a failure. A fact only fails to say anything when its experiment could not be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from loadgen.errors import UsageError


class Verdict(StrEnum):
    """How what was seen compares with what was expected."""

    HOLDS = "holds"
    DIFFERS = "differs"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a kernel does, with the experiment that shows it.

    number: "section.fact", both counted from 1; stable, so that it can be quoted.
    expected: what `run` answers on a kernel that does it.
    since: the first kernel known to, "6.18"; "" when no kernel in use is known to differ.
    meaning: one sentence for whoever opens connections.
    sysctls: set in the fact's own network namespace before `run`.
    """

    number: str
    title: str
    expected: str
    since: str
    meaning: str
    run: Callable[[], str]
    sysctls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts 2.10 behind 2.9."""
        return tuple(int(part) for part in self.number.split("."))


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one fact. `reason` says why it was not run, or what explains the difference."""

    fact: Fact
    seen: str
    verdict: Verdict
    reason: str
    seconds: float


class SeenError(Exception):
    """Ends an experiment early: the message is what was seen, such as an option the kernel lacks."""


class CannotRunError(Exception):
    """Ends an experiment that this host does not allow; the message says what is missing."""


#: The range of most experiments: a hundred ports, far from those that anything listens on.
PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
_FACTS: dict[str, Fact] = {}

Experiment = Callable[[], str]


def ports(count: int, first: int = 40000) -> dict[str, str]:
    """The setting that leaves automatic choice `count` ports."""
    return {PORT_RANGE: f"{first} {first + count - 1}"}


def fact(
    number: str,
    title: str,
    *,
    expected: str,
    meaning: str,
    since: str = "",
    sysctls: Mapping[str, str] | None = None,
) -> Callable[[Experiment], Experiment]:
    """Register the decorated experiment. Without `sysctls` there are a hundred ports, from 40000 on.

    Raises: ValueError for a number that another fact has.
    """

    def register(run: Experiment) -> Experiment:
        if number in _FACTS:
            raise ValueError(f"there are two facts {number}")
        settings = ports(100) if sysctls is None else dict(sysctls)
        _FACTS[number] = Fact(number, title, expected, since, meaning, run, MappingProxyType(settings))
        return run

    return register


def registered() -> list[Fact]:
    """The facts of the modules imported so far, in numeric order."""
    return sorted(_FACTS.values(), key=lambda fact: fact.order)


def select(facts: list[Fact], selection: tuple[str, ...]) -> list[Fact]:
    """The facts that have one of these numbers or are of one of these sections; all without a selection.

    Raises: UsageError for a number that matches none.
    """
    for number in selection:
        if not any(_matches(fact, number) for fact in facts):
            raise UsageError(f"there is no fact {number!r}; `loadgen facts --list` shows them all")
    return [fact for fact in facts if not selection or any(_matches(fact, number) for number in selection)]


def _matches(fact: Fact, number: str) -> bool:
    # By parts, not by characters: "1" means 1.1 and 1.2, but neither 10.1 nor 11.2.
    return fact.number == number or fact.number.startswith(number.removesuffix(".") + ".")
