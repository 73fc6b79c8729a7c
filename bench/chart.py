"""The ratios as one static SVG picture: a line for each case from the least to the most, a dot at the median.

Plain text, no script, no font of its own; colours follow the reader's light or dark setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.cases import LOADGEN

WIDTH, LABELS, RIGHT, ROW, TOP, BOTTOM = 860, 330, 130, 26, 58, 64
_STYLE = """\
svg { color-scheme: light dark; font: 13px system-ui, sans-serif }
.page { fill: #ffffff } text { fill: #1f2328 } .quiet { fill: #59636e } .grid { stroke: #d1d9e0 }
.one { stroke: #59636e } .range { stroke: #0969da } .dot { fill: #0969da } .goal { stroke: #bc4c00 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #2f353d }
  .one { stroke: #9198a1 } .range { stroke: #4493f8 } .dot { fill: #4493f8 } .goal { stroke: #f0883e }
}"""


def rows_of(summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, float], float | None]]:
    """Name, spread of the ratio and goal of every case that has one."""
    rows = []
    for summary in summaries:
        case, name = summary["case"], summary["label"]
        target = case["target"] if case["shows"] == "rates" else None
        if "ratio_by_round" in summary:
            of_what = ": connect p50" if case["shows"] == "latencies" else ""
            rows.append((name + of_what, summary["ratio_by_round"], target))
        if case["shows"] == "quarters" and "last_to_first" in summary.get(LOADGEN, {}):
            rows.append((f"{name}: last / first", summary[LOADGEN]["last_to_first"], case["target"]))
    return rows


def chart(summaries: Sequence[Mapping[str, Any]], footnote: str) -> str:
    """The picture; empty when no case has a ratio."""
    rows = rows_of(summaries)
    if not rows:
        return ""
    most = max(1.2, *(spread["high"] for _, spread, _ in rows))
    step = 0.2 if most <= 2 else 0.5 if most <= 5 else math.ceil(most / 10)
    end = math.ceil(most / step - 1e-9) * step
    bottom, plot = TOP + ROW * len(rows), WIDTH - LABELS - RIGHT

    def x(ratio: float) -> str:
        return f"{LABELS + plot * ratio / end:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + BOTTOM}"',
        f' viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" aria-labelledby="title">',
        f"<style>{_STYLE}</style>",
        '<title id="title">loadgen in ratios: to the C reference unless the line says otherwise</title>',
        f'<rect class="page" width="{WIDTH}" height="{bottom + BOTTOM}"/>',
        '<text x="16" y="26" font-weight="600">loadgen / C reference, connections per second</text>',
        '<text class="quiet" x="16" y="44">dot: median of the rounds; line: least to most; short mark: goal</text>',
    ]
    for tick in range(round(end / step) + 1):
        ratio = tick * step
        kind = "one" if math.isclose(ratio, 1) else "grid"
        parts.append(f'<line class="{kind}" x1="{x(ratio)}" x2="{x(ratio)}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="quiet" x="{x(ratio)}" y="{bottom + 18}" text-anchor="middle">{ratio:.1f}</text>')
    for index, (name, spread, target) in enumerate(rows):
        y = TOP + ROW * index + ROW / 2
        told = f"{spread['median']:.2f}"
        if spread["low"] != spread["high"]:
            told += f" ({spread['low']:.2f} - {spread['high']:.2f})"
        parts.append(f'<text x="{LABELS - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<line class="range" x1="{x(spread["low"])}" x2="{x(spread["high"])}" y1="{y}" y2="{y}" '
            'stroke-width="4" stroke-linecap="round" stroke-opacity="0.45"/>'
        )
        if target is not None:
            parts.append(
                f'<line class="goal" x1="{x(target)}" x2="{x(target)}" y1="{y - 8}" y2="{y + 8}" stroke-width="2"/>'
            )
        parts.append(f'<circle class="dot" cx="{x(spread["median"])}" cy="{y}" r="5"/>')
        parts.append(f'<text class="quiet" x="{WIDTH - RIGHT + 12}" y="{y + 4}">{told}</text>')
    parts.append(f'<text class="quiet" font-size="11" x="16" y="{bottom + BOTTOM - 14}">{escape(footnote)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
