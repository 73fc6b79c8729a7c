"""A comparison as one HTML file that loads nothing: the verdict, the figures, and the charts laid over each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup

from loadgen.compare.comparable import Side
from loadgen.compare.comparison import CompareResult, Comparison, Group, Judgement, Row
from loadgen.compare.differences import Difference
from loadgen.results.measures import rate_per_s
from loadgen.results.settings import named, short_keys
from loadgen.results.spread import NOISE
from loadgen.views.charts import compare
from loadgen.views.charts.columns import Series
from loadgen.views.charts.compare import Drawn
from loadgen.views.html import run as html
from loadgen.views.text.compare import change, figure, judged, value_of

#: Of one comparison, on the page.
DIFFERENCES_MAX: Final = 200
_TONES: Final = {Judgement.BETTER: "good", Judgement.WORSE: "bad"}


def page(result: CompareResult, series: Mapping[str, Series]) -> str:
    """The whole page.

    series: the lines of each run by the name it has in the result; cells of a matrix are not drawn, and need none.
    """
    drawn = compare.everything(_drawn(result.groups[0], series)) if len(result.groups) == 1 and series else []
    style = "\n".join(map(html.read, ("vendor/uplot/uPlot.min.css", "report.css", "matrix.css")))
    scripts = [html.uplot(), html.read("charts.js"), html.read("report.js")] if drawn else []
    short = short_keys([group.settings for group in result.groups])
    comparisons = [one for group in result.groups for one in group.comparisons]
    allowed = " ".join(map(html.hash_of, scripts)) or "'none'"
    return (
        html.environment()
        .get_template("compare.html.j2")
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; script-src {allowed}; img-src data:;"
            " base-uri 'none'; form-action 'none'",
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            payload=Markup(html.payload({"charts": drawn, "phases": [], "marks": []})),
            charts=drawn,
            headline=result.verdict,
            names=list(result.names.items()),
            left_out=list(result.left_out),
            doubtful=sum(bool(one.caveats) for one in comparisons),
            several=len(comparisons) > 1,
            repeated=any(len(side.runs) > 1 for group in result.groups for side in group.sides),
            groups=[
                {
                    "name": named(group.settings, short),
                    "comparisons": [_comparison(one) for one in group.comparisons],
                }
                for group in result.groups
            ],
            noise=f"{100 * NOISE:g} %",
        )
    )


def _drawn(group: Group, series: Mapping[str, Series]) -> list[Drawn]:
    return [Drawn(side.label, [series[run.name] for run in side.runs], _middle(side)) for side in group.sides]


def _middle(side: Side) -> int:
    """Which of the runs has the middle rate; of an even number the slower of the two."""

    def rate(index: int) -> float:
        return rate_per_s(side.runs[index].summary)

    return sorted(range(len(side.runs)), key=rate)[(len(side.runs) - 1) // 2]


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "base": one.base.label,
        "other": one.other.label,
        "verdict": one.verdict,
        "overall": one.overall,
        "caveats": list(one.caveats),
        "rows": [_row(row, one) for row in one.rows],
        "differences": [_difference(row) for row in one.differences[:DIFFERENCES_MAX]],
        "more": max(len(one.differences) - DIFFERENCES_MAX, 0),
    }


def _row(row: Row, one: Comparison) -> dict[str, Any]:
    unit = row.measure.unit
    texts = {}
    for side, spread in (("base", row.base), ("other", row.other)):
        whole, middle = (figure(spread, unit, with_range=both, micro="µs") for both in (True, False))
        texts[side] = {"text": middle, "apart": whole.removeprefix(middle).strip(" ()")}
    return {
        "title": row.measure.title,
        **texts,
        "change": change(row),
        "judgement": judged(row, one),
        "tone": _TONES.get(row.judgement, ""),
    }


def _difference(one: Difference) -> dict[str, str]:
    return {"part": one.part.value, "key": one.key, "base": value_of(one.base), "other": value_of(one.other)}
