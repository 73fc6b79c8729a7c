"""The summary of a search on the terminal: the answer, then one row for each trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadgen import format as fmt
from loadgen.find import answer
from loadgen.results.schema.find import FindKind, FindSummary, SearchResult, TrialResult, TrialStatus
from loadgen.results.settings import named, short_keys
from loadgen.views import summary_rows
from loadgen.views.text.layout import LABEL_WIDTH, StyledLine, labelled, show, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

#: Trials that contradict an answer, as a share of all: more is a sign of trials that err one time in ten or more often,
#: at which a lead of two is wrong in a tenth of all searches (docs/decisions/0033).
NOISY_SHARE: Final = 0.06
_HEADS: Final = ("trial", "value", "outcome", "rate", "failed", "p99", "limit")
_TONES: Final = {TrialStatus.HELD: "good", TrialStatus.FAILED: "bad", TrialStatus.UNKNOWN: "head"}


def render(summary: FindSummary, console: Console, *, report: str | None = None) -> None:
    """Print the answer and the trials to a console, as wide as that is but between 40 and 100 columns."""
    show(lines(summary, report, width_of(console)), console, verdict=summary_rows.headline(summary))


def lines(summary: FindSummary, report: str | None = None, width: int = 80) -> list[StyledLine]:
    """Return the search in lines of at most `width` columns."""
    text: list[StyledLine] = [("verdict", line) for line in wrapped(summary_rows.headline(summary), "", width)]
    incomplete = summary_rows.incomplete_because(summary)
    if incomplete is not None:
        text += labelled("INCOMPLETE", incomplete, width, "bad")
    short = short_keys([search.settings for search in summary.searches])
    for cell, search in enumerate(summary.searches):
        text.append(("", ""))
        if search.settings:
            text += [("head", line) for line in wrapped(named(search.settings, short), f"cell {cell}: ", width)]
        text += _answer(summary, search, width)
        text.append(("", ""))
        text += _trials(summary, search, width)
    if summary.effects:
        text.append(("", ""))
        for effect in summary.effects:
            text += labelled("effect", effect, width)
    text.append(("", ""))
    for result in summary.expect:
        tone = "good" if result.passed else "bad"
        text += labelled("expect", summary_rows.expectation(result), width, tone)
    if report:
        text.append(("", "report".ljust(LABEL_WIDTH) + fmt.visible(report)))
    return text


def _answer(summary: FindSummary, search: SearchResult, width: int) -> list[StyledLine]:
    rows = labelled("found", interval(summary, search), width)
    if search.predicted is not None:
        rows += labelled("predicted", answer.value_text(summary, search.predicted), width)
    if search.for_ever is not None:
        lasting = (
            f"{answer.value_text(summary, search.for_ever)} by the plan; a port rests for longer than a trial lasts"
        )
        rows += labelled("for ever", lasting, width)
    rows += labelled("limit", search.limit, width)
    if search.remedy:
        rows += labelled("remedy", search.remedy, width)
    if search.kind is FindKind.FOUND:
        rows += labelled("sure", sureness(summary, search), width)
    return rows


def interval(summary: FindSummary, search: SearchResult) -> str:
    """Return the interval of a search, and how it ended: 463/s to 472/s (found)."""
    low, high = (answer.value_text(summary, value) for value in (search.low, search.high))
    match search.kind:
        case FindKind.BELOW:
            return f"less than {answer.value_text(summary, summary.start)} (below)"
        case FindKind.ABOVE:
            return f"{answer.value_text(summary, summary.stop)} or more (above)"
        case _ if search.low is None and search.high is None:
            return "nothing (undecided)"
        case _ if search.high is None:
            return f"{low} or more ({search.kind})"
        case _ if search.low is None:
            return f"less than {high} ({search.kind})"
        case _:
            return f"{low} to {high} ({search.kind})"


def sureness(summary: FindSummary, search: SearchResult) -> str:
    """Return how sure the ends are: the lead that they have, and the trials that contradict them."""
    lead = f"each end by a lead of {fmt.many(summary.agree, 'trial')} or more"
    against = f"{fmt.count(search.against)} of {fmt.many(len(search.trials), 'trial')} against it"
    noisy = search.against > NOISY_SHARE * len(search.trials)
    advice = f"; more sure with --set find.agree={summary.agree + 1}, or with longer trials" if noisy else ""
    return f"{lead}, {against}{advice}"


def _trials(summary: FindSummary, search: SearchResult, width: int) -> list[StyledLine]:
    rows = [_row(summary, trial) for trial in search.trials]
    columns = [max(len(row[n]) for row in (_HEADS, *rows)) for n in range(len(_HEADS))]
    text: list[StyledLine] = [("head", _joined(_HEADS, columns)[:width])]
    for trial, row in zip(search.trials, rows, strict=True):
        text.append((_TONES[trial.outcome], fmt.visible(_joined(row, columns))[:width]))
        if trial.outcome is TrialStatus.UNKNOWN and trial.reason:
            text += labelled("", trial.reason, width)
    return text


def _joined(row: tuple[str, ...], columns: list[int]) -> str:
    return "  ".join(
        word.ljust(size) if n in (2, 6) else word.rjust(size)
        for n, (word, size) in enumerate(zip(row, columns, strict=True))
    ).rstrip()


def _row(summary: FindSummary, trial: TrialResult) -> tuple[str, ...]:
    return (
        str(trial.number),
        answer.value_text(summary, trial.value),
        trial.outcome.value,
        fmt.rate(trial.established_per_s),
        fmt.percent(trial.failed_share),
        fmt.latency(trial.connect_p99_us, "us"),
        trial.limit or "",
    )
