"""The chart of a search: each trial by its value, with latency and failures beside the outcome; SVG without a script.

Across is the value of the key, on one axis for all panels; down, in the first panel, the order of the trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from loadgen import format as fmt
from loadgen.find import answer
from loadgen.results.schema.find import VALUE_MAX, VALUE_MIN, FindSummary, SearchResult, TrialResult, TrialStatus

#: Pixels: the width of the view box, the plot in it, a panel, the space between panels, and text.
_WIDTH, _LEFT, _RIGHT, _PANEL, _GAP, _LINE = 900, 110, 880, 130, 34, 16
_MARKS_MAX: Final = 6
#: From this ratio of the highest to the lowest value on the axis is logarithmic.
_WIDE: Final = 8.0
_CLASSES: Final = {TrialStatus.HELD: "held", TrialStatus.FAILED: "failed", TrialStatus.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True)
class _Across:
    """Value -> pixels."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[float]) -> _Across:
        low, high = min(values), max(values)
        if low == high:
            return cls(low * 0.9, high * 1.1, logarithmic=False)
        return cls(low, high, logarithmic=high / low >= _WIDE)

    def place(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return _LEFT + share * (_RIGHT - _LEFT)

    def marks(self) -> list[float]:
        """Values at equal distances, of three digits at most."""
        shares = [n / (_MARKS_MAX - 1) for n in range(_MARKS_MAX)]
        if self.logarithmic:
            exact = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            exact = [self.low + (self.high - self.low) * share for share in shares]
        rounded = [float(f"{value:.3g}") for value in exact]
        return [value for value in dict.fromkeys(rounded) if self.low <= value <= self.high]


def chart(summary: FindSummary, search: SearchResult) -> Markup:
    """Return the chart of one search; empty without trials."""
    trials = search.trials
    if not trials:
        return Markup("")
    extra = [value for value in (search.predicted,) if value is not None and VALUE_MIN <= value <= VALUE_MAX]
    across = _Across.of([*(trial.value for trial in trials), *extra])
    panels = [
        _panel(0, "trial", trials, across, lambda trial: float(trial.number), lambda value: f"{value:.0f}", down=True),
    ]
    if any(trial.connect_p99_us is not None for trial in trials):
        panels.append(
            _panel(len(panels), "connect p99", trials, across, lambda trial: trial.connect_p99_us, fmt.latency)
        )
    if any(trial.failed_share for trial in trials):
        panels.append(_panel(len(panels), "failed", trials, across, lambda trial: trial.failed_share, fmt.percent))
    bottom = len(panels) * (_PANEL + _GAP)
    lines = [_upright(across, search.predicted, bottom, "predicted")] if extra else []
    lines += [_upright(across, value, bottom, "edge") for value in (search.low, search.high) if value is not None]
    labels = [
        Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(
            across.place(mark), bottom + _LINE - 8, fmt.visible(answer.value_text(summary, mark))
        )
        for mark in across.marks()
    ]
    return Markup('<svg class="trials" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, bottom + _LINE, _label(summary, search), Markup("").join([*lines, *panels, *labels])
    )


def _panel(
    row: int,
    title: str,
    trials: Sequence[TrialResult],
    across: _Across,
    height_of: Callable[[TrialResult], float | None],
    text: Callable[[float], str],
    *,
    down: bool = False,
) -> Markup:
    """Return one panel: a dot for each trial that has the figure. down: the first value stands at the top."""
    top = row * (_PANEL + _GAP) + 12
    known = [(trial, height) for trial in trials if (height := height_of(trial)) is not None]
    highest = max((height for _, height in known), default=0.0) or 1.0

    def place(height: float) -> float:
        share = height / highest
        return top + _PANEL * (share if down else 1 - share)

    dots = [
        Markup('<g><title>{}</title><circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"/></g>').format(
            _about(trial), _CLASSES[trial.outcome], across.place(trial.value), place(height)
        )
        for trial, height in known
    ]
    ticks = [
        Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text class="y" x="{3}" y="{4:.1f}">{5}</text>'
        ).format(_LEFT - 6, _RIGHT + 8, place(height), _LEFT - 12, place(height) + 4, text(height))
        for height in dict.fromkeys((1.0 if down else 0.0, highest))
    ]
    name = Markup('<text class="name" x="0" y="{:.1f}">{}</text>').format(top + _PANEL / 2, title)
    return Markup("").join([name, *ticks, *dots])


def _upright(across: _Across, value: float | None, bottom: int, kind: str) -> Markup:
    x = across.place(value or across.low)
    return Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="4" y2="{}"/>').format(kind, x, x, bottom - _GAP + 14)


def _about(trial: TrialResult) -> str:
    """Return a trial in one line, shown when the pointer is on its dot."""
    return fmt.visible(f"trial {trial.number}: {trial.outcome}" + (f", {trial.reason}" if trial.reason else ""))


def _label(summary: FindSummary, search: SearchResult) -> str:
    """Return the chart as text for a screen reader."""
    held = sum(trial.outcome is TrialStatus.HELD for trial in search.trials)
    failed = sum(trial.outcome is TrialStatus.FAILED for trial in search.trials)
    return fmt.visible(f"{len(search.trials)} trials by {summary.key}: {held} held, {failed} failed. {search.text}")
