"""What a run is expected to do: `outcomes.failed == 0`, read and held against a summary.

Plain comparisons of one number in summary.json with one constant, and no more: whoever needs
arithmetic has the summary as JSON.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXPECTATION: Final = re.compile(
    r" *([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*) *(==|!=|<=|>=|<|>)"
    r" *([-+]?[0-9]{1,18}(?:_[0-9]{1,18}){0,6}(?:\.[0-9]{1,18})?) *"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of `expect:`, a number in the summary and what it must be."""

    path: str
    operator: str
    value: float
    text: str

    @classmethod
    def parse(cls, text: object) -> Expectation:
        """`outcomes.failed == 0` -> Expectation. Raises: ValueError for any other shape."""
        match = _EXPECTATION.fullmatch(text) if isinstance(text, str) and len(text) <= 300 else None
        if not match:
            raise ValueError(f"write PATH OP NUMBER with OP one of {' '.join(_COMPARE)}, as in outcomes.failed == 0")
        return cls(match[1], match[2], float(match[3]), match[0].strip())

    @property
    def names_a_failure(self) -> bool:
        """Whether it wants something to go wrong: any `errors.…`, failed or never started but "none of it"."""
        about_failure = self.path.startswith("errors") or self.path in ("outcomes.failed", "arrivals.not_started")
        return about_failure and not (self.operator in ("==", "<=") and self.value == 0)

    @property
    def allows_for_no_connection(self) -> bool:
        """True where it speaks of connections that fail, or says how many are to open."""
        return self.names_a_failure or self.path in ("outcomes.established", "open.peak", "open.end_of_hold")

    def check(self, summary: Mapping[str, Any]) -> tuple[bool, float | None]:
        """Whether `summary` meets it, and the number that was found; (False, None) if there is none.

        `errors` is a list in the summary and addressed as errors.SYSCALL.ERRNO, as errors.SYSCALL or
        as errors: the sum of the counts, 0 when nothing failed that way. The same goes for
        probes.NAME.errors of a probe that ran.
        """
        steps = self.path.split(".")
        listed = summary.get("errors")
        if steps[0] == "errors" and isinstance(listed, list):
            wanted = steps[1:]
            found: object = sum(
                entry["count"] for entry in listed if [entry["syscall"], entry["errno"]][: len(wanted)] == wanted
            )
        elif len(steps) > 2 and steps[0] == "probes" and steps[2] == "errors":
            found = _probe_errors(_walk(summary, steps[:3]), steps[3:])
        else:
            found = _walk(summary, steps)
        if not isinstance(found, (int, float)) or found != found:  # a NaN is no number either
            return False, None
        return bool(_COMPARE[self.operator](found, self.value)), float(found)


#: Held against each run that ends with no connection, unless a line of its own allows for that: it measured nothing.
SOMETHING_OPENED: Final = Expectation.parse("outcomes.established > 0")


def _probe_errors(errors: object, wanted: Sequence[str]) -> object:
    """The sum of what a probe counted, system call by system call; None of a probe that could not run."""
    if not isinstance(errors, Mapping):
        return None
    return sum(
        count
        for syscall, numbers in errors.items()
        for number, count in numbers.items()
        if [syscall, number][: len(wanted)] == list(wanted)
    )


def _walk(value: object, steps: Sequence[str]) -> object:
    """What lies at a dotted path; a key may hold dots itself ("TcpExt.TWRecycled"), shorter keys first."""
    if not steps:
        return value
    if isinstance(value, Mapping):
        for count in range(1, len(steps) + 1):
            key = ".".join(steps[:count])
            if key in value and (found := _walk(value[key], steps[count:])) is not None:
                return found
    return None
