"""Runs beside other runs: each figure with its spread, and whether it is better, worse or within noise.

Pure. Several runs on a side are repetitions of one thing; what counts as a difference is what counts as
one between two cells of a matrix, see `spread.Spread.is_noise`. The first side is the base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from loadgen.compare import comparable, differences
from loadgen.compare.comparable import Side
from loadgen.compare.differences import Difference, Part
from loadgen.results.measures import MEASURES, Better, Measure, figure_text, kinds_of_failure
from loadgen.results.schema.values import Settings
from loadgen.results.spread import Spread, spread_of

SCHEMA: Final = "loadgen.compare/1"
#: Figures that the verdict names; the others are counted.
TOLD_MAX: Final = 3
#: Least difference of a tail where a side is a single run, as a share of the larger: three quarters are fourfold.
#: A stall of the machine, in one run and not in the next, doubles it.
TAIL_NOISE_OF_ONE: Final = 0.75


class Judgement(StrEnum):
    """Result for one figure. `better`, `worse` and `changed` are beyond noise."""

    BETTER = "better"
    WORSE = "worse"
    #: A figure with no better direction.
    CHANGED = "changed"
    #: The numbers differ, and could do so without any reason.
    NOISE = "within noise"
    #: The very same numbers.
    SAME = "same"
    #: One side has no such figure.
    UNKNOWN = "not on both"

    @property
    def mirrored(self) -> Judgement:
        """The judgement with base and other exchanged."""
        return {Judgement.BETTER: Judgement.WORSE, Judgement.WORSE: Judgement.BETTER}.get(self, self)


#: The verdict's remark on `NOISE_OF_ONE` and `TAIL_NOISE_OF_ONE`.
_FEW: Final = " With a single run on a side, only what doubled or halved counts (p99, p99.9 and lag: fourfold)."

#: Judgements that a second run of the same scenario would not have given.
BEYOND_NOISE: Final = (Judgement.BETTER, Judgement.WORSE, Judgement.CHANGED)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of two sides."""

    measure: Measure
    base: Spread | None
    other: Spread | None

    @property
    def judgement(self) -> Judgement:
        """The judgement of the other side's figure against the base's."""
        base, other, better = self.base, self.other, self.measure.better
        if base is None or other is None:
            return Judgement.UNKNOWN
        if (base.median, base.low, base.high) == (other.median, other.low, other.high):
            return Judgement.SAME
        if base.is_noise(other) or self._is_stall(base, other):
            return Judgement.NOISE
        if better is Better.NEITHER:
            return Judgement.CHANGED
        rises = other.median > base.median
        return Judgement.BETTER if rises == (better is Better.HIGHER) else Judgement.WORSE

    def _is_stall(self, base: Spread, other: Spread) -> bool:
        """Return whether a few slow moments in a single run could explain the difference."""
        alone = min(base.runs, other.runs) == 1
        return self.measure.tail and alone and base.share_of_difference(other) < TAIL_NOISE_OF_ONE

    @property
    def change(self) -> float | None:
        """The other side's figure less the base's; None where a side has no such figure."""
        return None if self.base is None or self.other is None else self.other.median - self.base.median

    @property
    def share(self) -> float | None:
        """The change as a share of the base; None where the base is 0 and the other side is not."""
        if self.change is None or self.base is None or (self.base.median == 0 and self.change != 0):
            return None
        return self.change / abs(self.base.median) if self.base.median else 0.0

    @property
    def told(self) -> str:
        """The row in a sentence: rate 12,000/s instead of 8,000/s (+50 %)."""
        if self.base is None or self.other is None:
            return f"{self.measure.title} not on both sides"
        share = "" if self.share is None else f" ({100 * self.share:+.0f} %)"
        before, after = (figure_text(spread.median, self.measure.unit, "us") for spread in (self.base, self.other))
        return f"{self.measure.title} {after} instead of {before}{share}"

    def to_json(self) -> Mapping[str, object]:
        """The row as JSON."""
        return {
            "name": self.measure.name,
            "title": self.measure.title,
            "unit": self.measure.unit.value,
            "better": self.measure.better.value,
            "aim": self.measure.aim,
            "base": asdict(self.base) if self.base else None,
            "other": asdict(self.other) if self.other else None,
            "change": self.change,
            "share": self.share,
            "judgement": self.judgement.value,
        }


@dataclass(frozen=True)
class Comparison:
    """One side beside the base. Make it with `compare`."""

    base: Side
    other: Side
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    #: Other possible reasons for the differences.
    caveats: tuple[str, ...] = ()

    @cached_property
    def single(self) -> bool:
        """True when a side has one run only, so that only a large difference counts."""
        return min(len(self.base.runs), len(self.other.runs)) == 1

    def found(self, judgement: Judgement) -> list[Row]:
        """Return the rows with a judgement: of those that differ the aims of a run, if there are any, else all."""
        differ = [row for row in self.rows if row.judgement in BEYOND_NOISE]
        aims = [row for row in differ if row.measure.aim]
        return [row for row in aims or differ if row.judgement is judgement]

    @property
    def overall(self) -> str:
        """One word on all figures: better, worse, mixed, changed, within noise or same."""
        better, worse = self.found(Judgement.BETTER), self.found(Judgement.WORSE)
        if better and worse:
            return "mixed"
        if better or worse:
            return (Judgement.BETTER if better else Judgement.WORSE).value
        if self.found(Judgement.CHANGED):
            return Judgement.CHANGED.value
        alike = all(row.judgement in (Judgement.SAME, Judgement.UNKNOWN) for row in self.rows)
        return (Judgement.SAME if alike else Judgement.NOISE).value

    @property
    def verdict(self) -> str:
        """The comparison in a sentence or two, which begin with the number of caveats."""
        count = len(self.caveats)
        head = f"With {'a caveat' if count == 1 else f'{count} caveats'}: " if count else ""
        return head + self._claim() + (_FEW if self.single else "")

    def _claim(self) -> str:
        base, other = self.base.label, self.other.label
        better, worse = self.found(Judgement.BETTER), self.found(Judgement.WORSE)
        if better and worse:
            return f"{other} is better than {base} in {_listed(better)}, and worse in {_listed(worse)}."
        if better or worse:
            word = "better" if better else "worse"
            return f"{other} is {word} than {base}: {_listed(better or worse)}."
        changed = self.found(Judgement.CHANGED)
        if changed:
            return f"{other} is neither better nor worse than {base}, but differs: {_listed(changed)}."
        if self.overall == Judgement.SAME.value:
            return f"{other} and {base} have the same figures."
        return f"{other} cannot be told from {base}: no figure differs beyond noise."

    def to_json(self) -> Mapping[str, object]:
        """The comparison as JSON."""
        return {
            "base": self.base.label,
            "other": self.other.label,
            "overall": self.overall,
            "verdict": self.verdict,
            "single": self.single,
            "caveats": list(self.caveats),
            "differences": [difference.to_json() for difference in self.differences],
            "figures": [row.to_json() for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Comparisons with one base: all runs, or of matrices the cells with the same settings."""

    comparisons: tuple[Comparison, ...]
    settings: Settings = field(default_factory=dict)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The base, and the sides that are compared with it."""
        return (self.comparisons[0].base, *(comparison.other for comparison in self.comparisons))

    def to_json(self) -> Mapping[str, object]:
        """The comparison as JSON."""
        return {
            "settings": dict(self.settings),
            "sides": [{"label": side.label, "runs": [run.name for run in side.runs]} for side in self.sides],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
        }


@dataclass(frozen=True, slots=True)
class CompareResult:
    """The comparisons of one call of compare.

    names: the argument that each letter stands for; A is the base. left_out: cells that only some of the sides have.
    """

    names: Mapping[str, str]
    groups: tuple[Group, ...]
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The sentence that stands first."""
        comparisons = [comparison for group in self.groups for comparison in group.comparisons]
        if len(comparisons) == 1:
            return comparisons[0].verdict
        if len(self.groups) == 1:
            return " ".join(comparison.verdict for comparison in comparisons)
        counts = Counter(comparison.overall for comparison in comparisons)
        doubtful = sum(bool(comparison.caveats) for comparison in comparisons)
        listed = ", ".join(f"{count} {overall}" for overall, count in counts.items())
        return f"Of {len(comparisons)} comparisons of cells: {listed}." + (
            f" {doubtful} of them with caveats." if doubtful else ""
        )

    def to_json(self) -> Mapping[str, object]:
        """The result as JSON, loadgen.compare/1."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "sides": [{"label": label, "name": name} for label, name in self.names.items()],
            "left_out": list(self.left_out),
            "groups": [group.to_json() for group in self.groups],
        }


def compare(base: Side, other: Side, *, anyway: Sequence[str] = ()) -> Comparison:
    """Compare one side with the base; `anyway`: reasons for which they should not be compared, as further caveats."""
    runs = [run.summary for run in (*base.runs, *other.runs)]
    measures = (*MEASURES, *kinds_of_failure(runs))
    rows = (Row(measure, _spread(base, measure), _spread(other, measure)) for measure in measures)
    first, second = base.runs[0], other.runs[0]
    parts = [
        (Part.SCENARIO, first.scenario or {}, second.scenario or {}),
        (Part.PLAN, differences.plan_of(first.plan), differences.plan_of(second.plan)),
        (Part.HOST, differences.host_of(first.host), differences.host_of(second.host)),
    ]
    return Comparison(
        base,
        other,
        tuple(row for row in rows if row.base or row.other),
        tuple(row for part, left, right in parts if left and right for row in differences.between(part, left, right)),
        (*anyway, *comparable.caveats(base, other)),
    )


def _spread(side: Side, measure: Measure) -> Spread | None:
    return spread_of([run.summary for run in side.runs], measure.find)


def _listed(rows: Sequence[Row]) -> str:
    rest = len(rows) - TOLD_MAX
    return "; ".join(row.told for row in rows[:TOLD_MAX]) + (f"; and {rest} more" if rest > 0 else "")
