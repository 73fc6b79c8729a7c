"""Conditions of `compare --fail-if`: `worse`, `worse: rate_per_s`, `connect_p99_us > 10%`.

Pure. Only a difference beyond noise meets a condition, whatever its value: what a second run of the same scenario
would meet as well is no regression.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.compare.comparison import BEYOND_NOISE, CompareResult, Comparison, Judgement, Row
from loadgen.errors import UsageError
from loadgen.results.measures import MEASURES
from loadgen.results.settings import named, short_keys
from loadgen.scenario.condition import OPERATORS, Condition

_WORSE: Final = re.compile(r" *worse *(?:: *([A-Za-z0-9_.]+) *)?")
_OF_A_KIND: Final = re.compile(r"failed\.[a-z_0-9]+\.[A-Z0-9]+")
_HOW: Final = "write worse, worse: NAME or NAME OP CHANGE, for example 'rate_per_s < -5%' or 'failed > 0'"


@dataclass(frozen=True, slots=True)
class CompareCondition:
    """One --fail-if."""

    text: str
    #: A figure; None: any of them.
    name: str | None
    #: Compares its change with `value`; None: the figure is worse.
    operator: str | None = None
    value: float = 0.0
    #: True if `value` is in percent of the base, not in the unit of the figure.
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> CompareCondition:
        """Read one condition. Raises: ValueError with the remedy."""
        if worse := _WORSE.fullmatch(text):
            return cls(text.strip(), _known(worse[1]) if worse[1] else None)
        try:
            condition = Condition.parse(text)
        except ValueError:
            raise ValueError(_HOW) from None
        value = condition.percent if condition.number is None else condition.number
        if value is None:
            raise ValueError(_HOW)
        return cls(condition.text, _known(condition.name), condition.operator, value, condition.number is None)

    def violation(self, comparison: Comparison) -> str | None:
        """Return a sentence on the changes that meet the condition; None if there are none.

        Raises: UsageError when the figure is not on both sides, so that it cannot pass for good news.
        """
        rows = {row.measure.name: row for row in comparison.rows}
        if self.name is None:
            met = [row for row in comparison.rows if row.judgement is Judgement.WORSE]
        elif (row := rows.get(self.name)) is not None and row.change is not None:
            met = [row] if self._is_met(row) else []
        elif self.name.startswith("failed."):
            return None  # a kind of failure that neither side saw
        else:
            raise UsageError(
                f"--fail-if {self.text}: {comparison.base.label} and {comparison.other.label} do not both have "
                f"{self.name}; choose a figure that both have"
            )
        if not met:
            return None
        doubt = f" (caveats: {len(comparison.caveats)})" if comparison.caveats else ""
        return f"--fail-if {self.text}: {comparison.other.label} has {'; '.join(row.told for row in met)}{doubt}"

    def _is_met(self, row: Row) -> bool:
        if self.operator is None:
            return row.judgement is Judgement.WORSE
        if row.judgement not in BEYOND_NOISE:
            return False
        assert row.change is not None
        percent = math.copysign(math.inf, row.change) if row.share is None else 100 * row.share
        return OPERATORS[self.operator](percent if self.percent else row.change, self.value)


def violations(result: CompareResult, conditions: Sequence[CompareCondition]) -> list[str]:
    """Return the violations in all groups, each with its cell. Raises: as `CompareCondition.violation` does."""
    short = short_keys([group.settings for group in result.groups])
    sentences = []
    for group in result.groups:
        where = f", with {named(group.settings, short)}" if group.settings else ""
        for comparison in group.comparisons:
            met = [violation for condition in conditions if (violation := condition.violation(comparison))]
            sentences += [f"{violation}{where}" for violation in met]
    return sentences


def _known(name: str) -> str:
    names = [measure.name for measure in MEASURES]
    if name in names or _OF_A_KIND.fullmatch(name):
        return name
    raise ValueError(f"no figure is called {name}; there are {', '.join(names)}, and failed.SYSCALL.ERRNO")
