"""The page of a search: the answer, the chart and the table of its trials. It needs no script."""

from __future__ import annotations

from markupsafe import Markup

from loadgen import format as fmt
from loadgen.find import answer
from loadgen.results.schema.find import FindKind, FindSummary
from loadgen.results.settings import named, short_keys
from loadgen.scenario import shown_text
from loadgen.views import summary_rows
from loadgen.views.charts import find as charts
from loadgen.views.html import run as html
from loadgen.views.text.find import interval, sureness


def page(summary: FindSummary, scenario_text: str) -> str:
    """Return the whole page."""
    style = "\n".join(html.read(name) for name in ("report.css", "matrix.css", "find.css"))
    short = short_keys([search.settings for search in summary.searches])
    return (
        html.environment()
        .get_template("find.html.j2")
        .render(
            policy=f"default-src 'none'; style-src {html.hash_of(style)}; img-src data:; base-uri 'none';"
            " form-action 'none'",
            style=Markup(style),
            summary=summary,
            headline=summary_rows.headline(summary),
            incomplete=summary_rows.incomplete_because(summary),
            failed=sum(not row.passed for row in summary.expect),
            precision=fmt.percent(summary.precision),
            bounds=f"{answer.value_text(summary, summary.start)} to {answer.value_text(summary, summary.stop)}",
            searches=[
                {
                    "index": index,
                    "name": named(search.settings, short),
                    "result": search,
                    "interval": interval(summary, search),
                    "predicted": None if search.predicted is None else answer.value_text(summary, search.predicted),
                    "sureness": sureness(summary, search),
                    "found": search.kind is FindKind.FOUND,
                    "chart": charts.chart(summary, search),
                    "trials": [(trial, answer.value_text(summary, trial.value)) for trial in search.trials],
                }
                for index, search in enumerate(summary.searches)
            ],
            scenario=shown_text(scenario_text)[: html.SCENARIO_CHARACTERS_MAX],
        )
    )
