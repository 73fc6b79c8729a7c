"""Conditions of `explain --fail-if`: `used > 80%`, `limit == four-tuples`, held against an explanation.

used        share of its usable ports that the fullest space uses; of a source only where its ports are a limit
free        free ports of the space that has fewest
in_use      open connections of the space that has most
time_wait   connections in TIME-WAIT of the space that has most
findings    number of findings
limit       the limit of a finding, certain or likely
candidate   a limit that a finding names, however sure
unread      lines that were not understood
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadgen.capacity.limits import LIMITS
from loadgen.explain.explanation import Explanation, SpaceRow
from loadgen.format import count
from loadgen.scenario.condition import OPERATORS, Condition
from loadgen.watch.conditions import read_count, read_percent


@dataclass(frozen=True, slots=True)
class ExplainCondition:
    """One --fail-if: a name, an operator, and the value as a number, or as the name of a limit."""

    name: str
    operator: str
    value: float | str
    text: str

    @classmethod
    def parse(cls, text: str) -> ExplainCondition:
        """Read `used > 80%` or `limit == four-tuples`. Raises: ValueError with the remedy."""
        try:
            condition = Condition.parse(text)
            known = condition.name in _NUMBERS or condition.name in _NAMES
        except ValueError:
            known = False
        if not known:
            names = ", ".join((*_NUMBERS, *_NAMES))
            raise ValueError(f"write NAME OP VALUE with NAME one of {names}, for example 'used > 80%'")
        if condition.name in _NAMES:
            return cls(condition.name, condition.operator, _limit(condition), condition.text)
        number = _NUMBERS[condition.name]
        return cls(condition.name, condition.operator, number.read(condition), condition.text)

    def violation(self, explanation: Explanation) -> str:
        """Return in words how the explanation meets the condition; "" if it does not."""
        if isinstance(self.value, str):
            named = _NAMES[self.name](explanation)
            met = (self.value in named) == (self.operator == "==")
            return f"--fail-if {self.text}: {', '.join(sorted(named)) or 'no limit shows'}" if met else ""
        number = _NUMBERS[self.name]
        observed = number.worst(explanation)
        if observed is None or not OPERATORS[self.operator](observed, self.value):
            return ""
        return f"--fail-if {self.text}: {number.say(observed)}"


@dataclass(frozen=True, slots=True)
class _ExplainedNumber:
    """read: its value in a condition. worst: its value in an explanation; None: unknown. say: that value in words."""

    read: Callable[[Condition], float]
    worst: Callable[[Explanation], float | None]
    say: Callable[[float], str]


def _limit(condition: Condition) -> str:
    if not condition.is_equality or condition.word not in LIMITS:
        raise ValueError("write == or != and a limit of docs/verdict.md, for example 'limit == four-tuples'")
    return condition.word or ""


def _rows(explanation: Explanation) -> list[SpaceRow]:
    """Return the spaces whose ports are a limit."""
    return [row for row in explanation.spaces if row.is_limit]


def _most(value: Callable[[SpaceRow], float]) -> Callable[[Explanation], float | None]:
    return lambda explanation: max(map(value, _rows(explanation)), default=None)


_NUMBERS: Final = {
    "used": _ExplainedNumber(
        read_percent,
        _most(lambda row: 100 * row.used / row.usable if row.usable else 100.0),
        lambda percent: f"{percent:.4g}%",
    ),
    "free": _ExplainedNumber(
        read_count,
        lambda explanation: min((row.free for row in _rows(explanation)), default=None),
        lambda ports: f"{count(ports)} free",
    ),
    "in_use": _ExplainedNumber(read_count, _most(lambda row: row.in_use), lambda number: f"{count(number)} in use"),
    "time_wait": _ExplainedNumber(
        read_count, _most(lambda row: row.time_wait), lambda number: f"{count(number)} in TIME-WAIT"
    ),
    "findings": _ExplainedNumber(
        read_count,
        lambda explanation: len(explanation.findings),
        lambda number: f"{count(number)} finding{'s' * (number != 1)}",
    ),
    "unread": _ExplainedNumber(
        read_count,
        lambda explanation: explanation.more_unread + sum(one.last - one.first + 1 for one in explanation.unread),
        lambda number: f"{count(number)} lines were not understood",
    ),
}
_NAMES: Final[dict[str, Callable[[Explanation], set[str]]]] = {
    "limit": lambda explanation: {one.limit for one in explanation.findings if one.confidence != "open"},
    "candidate": lambda explanation: {
        name for one in explanation.findings for name in (one.candidates or (one.limit,))
    },
}
