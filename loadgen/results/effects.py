"""The effect of each setting of a matrix in sentences: every cell beside the one that differs in one value.

Pure. A value is compared with the first of its list, which is the reference. A difference that could be noise is
called noise and never a difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen import format as fmt
from loadgen.model import Ceiling
from loadgen.results.measures import Find, Unit, figure_text, measure
from loadgen.results.schema.matrix import CellChange, SettingEffect, Strongest
from loadgen.results.schema.run import RunSummary
from loadgen.results.schema.values import Setting, Settings
from loadgen.results.settings import named, short_keys, value_text
from loadgen.results.spread import NOISE_OF_ONE, Spread, predicted, spread_of

#: Maximum sentences shown for one effect; further ones are counted.
TOLD_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class _Figure:
    """A number that may tell two cells apart."""

    name: str
    find: Find
    unit: Unit


_RATE: Final = _Figure("the rate", measure("rate_per_s").find, Unit.PER_S)
_SUSTAINED: Final = replace(_RATE, name="the sustained rate")
#: Figures compared between runs without churn; the rate last, because a sentence about noise quotes the last.
FIGURES: Final = (
    _Figure("connections established", measure("established").find, Unit.COUNT),
    _Figure("the cost of a connection in the last tenth", measure("cost_last_us").find, Unit.US),
    _Figure("the median time to connect", measure("connect_p50_us").find, Unit.US),
    _RATE,
)


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """A cell beside the cell that has the first value of one key instead (`reference`)."""

    cell: int
    reference: int
    key: str
    value: Setting
    instead_of: Setting
    noise: bool
    #: Sort key of changes: the difference as a share of the larger median, then as such.
    strength: tuple[float, float]
    text: str

    @property
    def change(self) -> CellChange:
        """The change as summary.json has it, inside its cell."""
        return CellChange(
            key=self.key,
            value=self.value,
            instead_of=self.instead_of,
            cell=self.reference,
            noise=self.noise,
            text=self.text,
        )


def changes(settings: Sequence[Settings], runs: Mapping[int, Sequence[RunSummary]]) -> list[ComparedCell]:
    """Compare every cell of `runs` with each one that differs in a single key, which has its first value there.

    settings: of all cells, in their order. runs: the summaries of the cells that came to their end.
    """
    short = short_keys(settings)
    index_of = {_frozen(cell): index for index, cell in enumerate(settings)}
    first: dict[str, Setting] = {}
    for cell in settings:
        for key, value in cell.items():
            first.setdefault(key, value)
    compared = []
    for index in sorted(runs):
        for key, value in settings[index].items():
            reference = index_of.get(_frozen({**settings[index], key: first[key]}))
            if reference is None or reference == index or reference not in runs:
                continue
            head = f"{short[key]}={value_text(value)} instead of {value_text(first[key])}"
            noise, strength, text = _strongest_difference(head, runs[reference], runs[index])
            compared.append(ComparedCell(index, reference, key, value, first[key], noise, strength, text))
    return compared


def effects(settings: Sequence[Settings], compared: Sequence[ComparedCell]) -> tuple[SettingEffect, ...]:
    """Return the changes by value: the strongest with the settings they hold under, and the number within noise.

    In the order of the keys, the first of which is the subject of a matrix; of one key the strongest first.
    """
    short = short_keys(settings)
    keys = list(short)
    grouped: dict[str, list[ComparedCell]] = {}
    for change in compared:
        grouped.setdefault(_frozen({"key": change.key, "value": change.value}), []).append(change)
    ranked = []
    for group in grouped.values():
        real = sorted(
            (change for change in group if not change.noise), key=lambda change: change.strength, reverse=True
        )
        noise = len(group) - len(real)
        strongest = tuple(_under(change, settings, short) for change in real[:TOLD_MAX])
        change = group[0]
        effect = SettingEffect(
            key=change.key,
            value=change.value,
            instead_of=change.instead_of,
            name=f"{short[change.key]}={value_text(change.value)} instead of {value_text(change.instead_of)}",
            combinations=len(group),
            noise=noise,
            strongest=strongest,
            more=len(real) - len(strongest),
            text=f"noise in {noise} of {len(group)} combinations",
        )
        strength = real[0].strength if real else (0.0, 0.0)
        ranked.append((keys.index(change.key), [-part for part in strength], effect))
    return tuple(effect for *_, effect in sorted(ranked, key=lambda row: row[:2]))


def _under(change: ComparedCell, settings: Sequence[Settings], short: Mapping[str, str]) -> Strongest:
    under = {key: value for key, value in settings[change.cell].items() if key != change.key}
    text = f"{change.text}, with {named(under, short)}" if under else change.text
    return Strongest(cell=change.cell, instead_of_cell=change.reference, under=under, text=text)


def _strongest_difference(
    head: str, before: Sequence[RunSummary], after: Sequence[RunSummary]
) -> tuple[bool, tuple[float, float], str]:
    """Return (noise, strength, sentence) of the strongest difference."""
    churn = all(run.churn for run in (*before, *after))
    best: tuple[tuple[float, float], _Figure, Spread, Spread] | None = None
    last: tuple[_Figure, Spread, Spread] | None = None
    for figure in (_SUSTAINED,) if churn else FIGURES:
        old, new = spread_of(before, figure.find), spread_of(after, figure.find)
        if old is None or new is None:
            continue
        last = figure, old, new
        strength = old.share_of_difference(new), abs(old.median - new.median)
        if not old.is_noise(new) and (best is None or strength > best[0]):
            best = strength, figure, old, new
    if best:
        strength, figure, old, new = best
        verb = "lifts" if new.median > old.median else "lowers"
        values = f"from {figure_text(old.median, figure.unit, 'us')} to {figure_text(new.median, figure.unit, 'us')}"
        return False, strength, f"{head} {verb} {figure.name} {values}{_prediction(before, after)}"
    assert last  # every run has a rate
    figure, old, new = last
    single = min(old.runs, new.runs) == 1
    cannot = f"; a single run cannot tell less than {NOISE_OF_ONE:.0%}".replace("%", " %") if single else ""
    values = f"{figure_text(old.median, figure.unit, 'us')} and {figure_text(new.median, figure.unit, 'us')}"
    return True, (0.0, 0.0), f"{head} makes no difference beyond noise ({values}{cannot})"


def _prediction(before: Sequence[RunSummary], after: Sequence[RunSummary]) -> str:
    old, new = predicted(before), predicted(after)
    return f" (predicted {_ceiling(old)} and {_ceiling(new)})" if old and new else ""


def _ceiling(ceiling: Ceiling) -> str:
    return "unlimited" if ceiling.per_s is None else fmt.rate(ceiling.per_s)


def _frozen(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)
