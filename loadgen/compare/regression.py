"""What a comparison is to be failed for: `worse`, `worse: rate_per_s`, `connect_p99_us > 10%`.

Pure. Whatever is written, only a difference beyond noise meets it: a condition that a second run of the same
would meet as well says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.compare.comparison import BEYOND_NOISE, Comparison, Judgement, Result, Row
from loadgen.errors import UsageError
from loadgen.results.measures import MEASURES
from loadgen.results.settings import named, short_keys
from loadgen.scenario.expect import Expectation

_WORSE: Final = re.compile(r" *worse *(?:: *([A-Za-z0-9_.]+) *)?")
_PERCENT: Final = re.compile(r"(.*[0-9]) ?% *")
_OF_A_KIND: Final = re.compile(r"failed\.[a-z_0-9]+\.[A-Z0-9]+")
_HOW: Final = "write worse, worse: NAME or NAME OP CHANGE, for example 'rate_per_s < -5%' or 'failed > 0'"


@dataclass(frozen=True, slots=True)
class Condition:
    """One --fail-if."""

    text: str
    #: A figure; None: any of them.
    name: str | None
    #: What its change is held against; None: it is worse.
    comparison: Expectation | None = None
    #: Whether the change is meant as percent of the base.
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition in a text. Raises: ValueError with what to write."""
        worse = _WORSE.fullmatch(text) if len(text) <= 200 else None
        if worse:
            return cls(text.strip(), _known(worse[1]) if worse[1] else None)
        percent = _PERCENT.fullmatch(text)
        try:
            comparison = Expectation.parse(percent[1] if percent else text)
        except ValueError:
            raise ValueError(_HOW) from None
        return cls(text.strip(), _known(comparison.path), comparison, percent is not None)

    def violation(self, comparison: Comparison) -> str | None:
        """What to complain of, if anything.

        Raises: UsageError when there is no such figure on both sides, so that nobody takes that for good news.
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
        if self.comparison is None:
            return row.judgement is Judgement.WORSE
        if row.judgement not in BEYOND_NOISE:
            return False
        assert row.change is not None
        percent = math.copysign(math.inf, row.change) if row.share is None else 100 * row.share
        return self.comparison.check({self.comparison.path: _finite(percent if self.percent else row.change)})[0]


def violations(result: Result, conditions: Sequence[Condition]) -> list[str]:
    """What to complain of in all of a comparison, with the cell it is about. Raises: as `Condition.violation` does."""
    short = short_keys([group.settings for group in result.groups])
    found = []
    for group in result.groups:
        where = f", with {named(group.settings, short)}" if group.settings else ""
        for one in group.comparisons:
            found += [f"{said}{where}" for condition in conditions if (said := condition.violation(one))]
    return found


def _finite(value: float) -> float:
    return max(min(value, 1e300), -1e300)


def _known(name: str) -> str:
    names = [one.name for one in MEASURES]
    if name in names or _OF_A_KIND.fullmatch(name):
        return name
    raise ValueError(f"no figure is called {name}; there are {', '.join(names)}, and failed.SYSCALL.ERRNO")
