"""Expectations of a run: `outcomes.failed == 0`, read and held against a summary.

Comparisons of one number or name in summary.json with one constant, and no more: for arithmetic there is the summary
as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from loadgen.outcomes import LIMITS
from loadgen.scenario.condition import OPERATORS, Condition
from loadgen.scenario.nearest import nearest

#: Keys of the summary that hold one of a few names; elsewhere a name has to be in quotes.
_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "verdict.limit": LIMITS,
    "prediction.limit": LIMITS,
    "prediction.observed_limit": LIMITS,
}
#: Keys that say how many connections opened.
_OPENED: Final = ("outcomes.established", "open.peak", "open.end_of_hold")
_HOW: Final = (
    f"write PATH OP VALUE with OP one of {' '.join(OPERATORS)}, as in outcomes.failed == 0 "
    'or verdict.limit == "four-tuples"'
)
#: Keys of the answer of a search that `find.expect` may be about.
ANSWER_KEYS: Final = ("value", "low", "high", "limit", "predicted", "for_ever", "against")
_NAMES_OF_ANSWER: Final[Mapping[str, Sequence[str]]] = {"limit": (*LIMITS, "mixed")}
_HOW_OF_ANSWER: Final = (
    f"write KEY OP VALUE with KEY one of {', '.join(ANSWER_KEYS)}, and OP one of {' '.join(OPERATORS)}, as in "
    "value <= 206 or limit == time-wait; with a matrix cells.0.value <= 206"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of `expect:`: a number or a name in the summary, and the value it is compared with."""

    path: str
    operator: str
    value: float | str
    text: str

    @classmethod
    def parse(cls, text: object) -> Expectation:
        """Read one line. Raises: ValueError with the remedy: another shape, an unknown limit, an order of names."""
        return cls._of(text, _NAMES, _HOW)

    @classmethod
    def of_answer(cls, text: object) -> Expectation:
        """Read one line of `find.expect`, about the answer of a search. Raises: ValueError with the remedy."""
        expectation = cls._of(text, _NAMES_OF_ANSWER, _HOW_OF_ANSWER)
        key = expectation.path.split(".")[2 if expectation.cell is not None else 0 :]
        if len(key) != 1 or key[0] not in ANSWER_KEYS:
            raise ValueError(f"an answer has no {'.'.join(key) or 'such value'}; {nearest('.'.join(key), ANSWER_KEYS)}")
        return expectation

    @classmethod
    def _of(cls, text: object, names: Mapping[str, Sequence[str]], how: str) -> Expectation:
        try:
            condition = Condition.parse(text)
        except ValueError:
            raise ValueError(how) from None
        return cls(condition.name, condition.operator, _value_of(condition, names, how), condition.text)

    @property
    def cell(self) -> int | None:
        """The number of the cell in cells.INDEX.PATH; None of any other path."""
        head, index, *_ = [*self.path.split("."), ""]
        return int(index) if head == "cells" and index.isdecimal() else None

    @property
    def names_a_failure(self) -> bool:
        """True if it holds only when something fails: a limit, any `errors.…`, failed or never started but "none"."""
        if self.path == "verdict.limit":
            return (self.value == "none") == (self.operator == "!=")
        about_failure = self.path.startswith("errors") or self.path in ("outcomes.failed", "arrivals.not_started")
        return about_failure and not (self.operator in ("==", "<=") and self.value == 0)

    def names_limit(self, limit: str) -> bool:
        """Return True if it holds only for a run that ends at this limit."""
        return (self.path, self.operator, self.value) == ("verdict.limit", "==", limit)

    @property
    def allows_for_no_connection(self) -> bool:
        """True if it speaks of connections that fail, or says how many are to open."""
        return self.names_a_failure or self.path in _OPENED

    def check(self, summary: Mapping[str, Any]) -> tuple[bool, float | str | None]:
        """Return whether `summary` meets it, and the number or name at its path; (False, None) if there is none.

        `errors` is a list in the summary and addressed as errors.SYSCALL.ERRNO, as errors.SYSCALL or
        as errors: the sum of the counts, 0 when nothing failed that way. The same goes for
        probes.NAME.errors of a probe that ran. agents.NAME.PATH is PATH in the share of that agent.
        """
        observed = self._observed(summary)
        if isinstance(self.value, str):
            name = observed if isinstance(observed, str) else None
            return name is not None and OPERATORS[self.operator](name, self.value), name
        if not isinstance(observed, (int, float)) or observed != observed:  # a NaN is no number either
            return False, None
        return OPERATORS[self.operator](observed, self.value), float(observed)

    def _observed(self, summary: Mapping[str, Any]) -> object:
        agents = summary.get("agents", ()) if self.path.startswith("agents.") else ()
        for agent in sorted(agents, key=lambda agent: -len(agent["name"])):  # a name may begin with another one
            if self.path.startswith(f"agents.{agent['name']}."):
                own = replace(self, path=self.path.removeprefix(f"agents.{agent['name']}."))
                return own._observed(agent)
        steps = self.path.split(".")
        errors = summary.get("errors")
        if steps[0] == "errors" and isinstance(errors, list):
            wanted = steps[1:]
            return sum(
                error["count"] for error in errors if [error["syscall"], error["errno"]][: len(wanted)] == wanted
            )
        if len(steps) > 2 and steps[0] == "probes" and steps[2] == "errors":
            return _probe_errors(_value_at(summary, steps[:3]), steps[3:])
        return _value_at(summary, steps)


#: Held against each run that ends with no connection, unless a line of its own allows for that: it measured nothing.
SOMETHING_OPENED: Final = Expectation("outcomes.established", ">", 0.0, "outcomes.established > 0")


def _value_of(condition: Condition, named: Mapping[str, Sequence[str]], how: str) -> float | str:
    """Return the constant of a condition. Raises: ValueError with the remedy."""
    within = condition.name.startswith(("cells.", "agents."))
    names = next(
        (
            names
            for path, names in named.items()
            if condition.name == path or (within and condition.name.endswith(f".{path}"))
        ),
        None,
    )
    if condition.number is not None:
        return condition.number
    word = condition.word if condition.is_quoted or names else None
    if word is None:
        raise ValueError(how)
    if not condition.is_equality:
        raise ValueError(f"a name is compared with == or !=, not with {condition.operator}")
    if names and word not in names:
        raise ValueError(f"there is no limit {word}; {nearest(word, names)}")
    return word


def _probe_errors(errors: object, wanted: Sequence[str]) -> object:
    """Return the sum of the errors that a probe counted; None for a probe that could not run."""
    if not isinstance(errors, Mapping):
        return None
    return sum(
        count
        for syscall, numbers in errors.items()
        for number, count in numbers.items()
        if [syscall, number][: len(wanted)] == list(wanted)
    )


def _value_at(value: object, steps: Sequence[str]) -> object:
    """Return the value at a path; a key may hold dots itself ("TcpExt.TWRecycled"), shorter keys first."""
    if not steps:
        return value
    if isinstance(value, Mapping):
        for count in range(1, len(steps) + 1):
            key = ".".join(steps[:count])
            if key in value and (inner := _value_at(value[key], steps[count:])) is not None:
                return inner
    return None
