"""What a person sees when a run ends: a verdict, then the numbers behind it, at 80 columns.

`summary_lines` says it in plain text; `render` prints the same lines and adds weight and colour, so
that nothing is lost in a pipe, with NO_COLOR or on a terminal without colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from loadgen.report import words

if TYPE_CHECKING:
    from rich.console import Console

LABEL_WIDTH: Final = 13
WIDTH_MIN, WIDTH_MAX = 60, 100
ERRORS_MAX: Final = 6
#: The styles of rich; the label of each line is dim, whatever the line is.
_STYLES: Final = {"verdict": "bold", "row": "", "bad": "red", "good": "green", "head": "dim", "": ""}

#: (tone, line): a key of _STYLES, and the text.
Line = tuple[str, str]


def summary_lines(summary: Mapping[str, Any], *, report: str | None = None, width: int = 80) -> list[str]:
    """The summary as lines of at most `width` columns; `report` is the path of the HTML page, if any."""
    return [line for _, line in _lines(summary, report, width)]


def render(summary: Mapping[str, Any], console: Console, *, report: str | None = None) -> None:
    """Print the summary to a console, as wide as that is but between 60 and 100 columns."""
    show(_lines(summary, report, width_of(console)), console)


def width_of(console: Console) -> int:
    """How wide lines for this console should be."""
    return max(WIDTH_MIN, min(console.width, WIDTH_MAX))


def show(lines: Sequence[Line], console: Console) -> None:
    """Print lines to a console, whatever its encoding."""
    from rich.text import Text  # rich takes 50 ms that a `--json` run need not spend

    for tone, line in lines:
        # What the terminal's encoding lacks becomes an escape instead of an exception.
        text = Text(line.encode(console.encoding, "backslashreplace").decode(console.encoding), style=_STYLES[tone])
        if tone in ("", "good", "bad"):
            text.stylize("not bold dim" if tone == "" else "bold", 0, LABEL_WIDTH)
        console.print(text, soft_wrap=True, highlight=False, markup=False)


def _lines(summary: Mapping[str, Any], report: str | None, width: int) -> list[Line]:
    found: list[Line] = [("verdict", line) for line in wrapped(words.headline(summary), "", width)]
    incomplete = words.incomplete_because(summary)
    if incomplete is not None:
        found += labelled("INCOMPLETE", incomplete, width, "bad")
    found.append(("", ""))
    found += _connections(summary, width)
    if planned := words.prediction(summary):
        found += labelled("planned", planned[0], width, planned[1])
    found += _churn(summary, width)
    found += _pace(summary, width)
    found += _latency(summary)
    found += _errors(summary, width)
    found += _probes(summary, width)
    found += _expectations(summary, width)
    distrust = words.distrust(summary)
    if distrust is not None:
        found += labelled("generator", "NOT TRUSTWORTHY: " + "; ".join(distrust), width, "bad")
    found += _verdict(summary, width)
    if report:
        # In one piece however long it is, so that it can be picked up with a double click.
        found.append(("", "report".ljust(LABEL_WIDTH) + words.on_one_line(report)))
    return found


def _verdict(summary: Mapping[str, Any], width: int) -> list[Line]:
    """What shows the limit, without the counts of errors that stand above it, and what would move it."""
    verdict = words.part(summary, "verdict")
    errors = tuple(f"{row.get('syscall')} {row.get('errno')} " for row in words.rows(summary, "errors"))
    evidence = [fact for fact in map(str, words.items(verdict, "evidence")) if not fact.startswith(errors)]
    found: list[Line] = []
    for index, fact in enumerate(evidence):
        found += labelled("evidence" if index == 0 else "", fact, width)
    for index, remedy in enumerate(words.items(verdict, "remedies")):
        first = f"{'remedies' if index == 0 else '':{LABEL_WIDTH}}{index + 1}. "
        found += [("", line) for line in wrapped(str(remedy), first, width)]
    return found


def _connections(summary: Mapping[str, Any], width: int) -> list[Line]:
    arrivals, outcomes = words.part(summary, "arrivals"), words.part(summary, "outcomes")
    opened, sink = words.part(summary, "open"), words.part(summary, "sink")
    planned, how = words.attempts(summary)
    first = f"{words.count(outcomes.get('established'))} established of {words.count(planned)} {how}"
    for name, value in (
        ("not started", arrivals.get("not_started")),
        ("in flight", outcomes.get("in_flight")),
    ):
        if words.number(value):
            first += f", {words.count(value)} {name}"
    second = [
        f"{words.count(outcomes.get('failed'))} failed",
        f"{words.count(opened.get('lost'))} lost while held",
        f"at most {words.count(opened.get('peak'))} open",
    ]
    found = labelled("connections", first, width) + labelled("", ", ".join(second), width)
    if carried := words.traffic(summary):
        found += labelled("traffic", carried[0], width, "" if carried[1] else "bad")
    beat = words.heartbeat(summary)
    if beat:
        found += labelled("heartbeat", beat[0], width, "" if beat[1] else "bad")
    if sink:
        agrees, cut_off = sink.get("agrees") is True, sink.get("agrees", False) is None
        accepted, peak = words.count(sink.get("accepted")), words.count(sink.get("open_peak"))
        head = "not counted to the end" if cut_off else "THE SIDES DISAGREE"
        reason = "both sides agree" if agrees else f"{head}: {sink.get('text') or 'no reason given'}"
        had = words.part(sink, "datagrams")
        first = (
            f"{accepted} endpoints heard, {words.count(had.get('received'))} datagrams"
            if had
            else f"{accepted} accepted, at most {peak} open"
        )
        said = f"{first}; {reason}"
        found += labelled("other side", said, width, "" if agrees or cut_off else "bad")
    return found


def _churn(summary: Mapping[str, Any], width: int) -> list[Line]:
    """What opening and closing all the time came to, and what TIME-WAIT there was at the other side of any run."""
    rows = words.churn(summary)
    found: list[Line] = []
    for label, said, tone in rows:
        found += labelled(label, said, width, tone)
    elsewhere = words.other_side(summary)
    if elsewhere is not None:
        label, said = ("  at sinks", elsewhere) if rows else ("TIME-WAIT", f"at the sinks {elsewhere}")
        found += labelled(label, said, width)
    return found


def _pace(summary: Mapping[str, Any], width: int) -> list[Line]:
    pace, phases = words.part(summary, "rate_per_s"), words.part(summary, "phases")
    took = [
        f"{name} {words.seconds(phases[f'{name}_s'])}"
        for name in ("ramp", "hold", "churn", "drain")
        if words.number(phases.get(f"{name}_s")) is not None
    ]
    if words.number(summary.get("duration_s")) is not None:
        took.append(f"{words.seconds(summary['duration_s'])} in all")
    found: list[Line] = []
    if pace:
        mean, peak = words.rate(pace.get("established_mean")), words.rate(pace.get("established_peak"))
        # The mean of churn is in its own lines.
        said = f"{peak} peak" if words.part(summary, "churn") else f"{mean} mean over the ramp, {peak} peak"
        found += labelled("rate", said, width)
    return found + (labelled("time", ", ".join(took), width) if took else [])


def _latency(summary: Mapping[str, Any]) -> list[Line]:
    keys = ("p50", "p90", "p99", "p999", "max")
    latency = words.part(summary, "latency_us")
    rows = [
        (kind, [words.latency(row.get(key), "us") for key in keys])
        for kind in ("lateness", "connect", "arrival", "handshake", "exchange")
        if (row := words.part(latency, kind)) and words.number(row.get("count")) != 0
    ]
    if not rows:
        return []
    head = "latency".ljust(LABEL_WIDTH) + "".join(f"{name:>10}" for name in ("p50", "p90", "p99", "p99.9", "max"))
    return [("head", head)] + [
        ("", f"  {kind}".ljust(LABEL_WIDTH) + "".join(f"{value:>10}" for value in values)) for kind, values in rows
    ]


def _errors(summary: Mapping[str, Any], width: int) -> list[Line]:
    rows = sorted(words.rows(summary, "errors"), key=lambda row: -(words.number(row.get("count")) or 0))
    found: list[Line] = []
    for index, row in enumerate(rows[:ERRORS_MAX]):
        said = f"{words.count(row.get('count')):>9}  {row.get('syscall')} {row.get('errno')}"
        if row.get("outcome"):
            said += f" ({row['outcome']})"
        found += labelled("errors" if index == 0 else "", said, width)
    rest = rows[ERRORS_MAX:]
    if rest:
        said = f"{words.count(words.total(row.get('count') for row in rest)):>9}  of {len(rest)} other kinds"
        found += labelled("", said, width)
    return found


def _probes(summary: Mapping[str, Any], width: int) -> list[Line]:
    found: list[Line] = []
    for name, said in words.probes(summary):
        found += labelled("probes" if not found else "", f"{name}: {said}", width)
    return found


def _expectations(summary: Mapping[str, Any], width: int) -> list[Line]:
    found: list[Line] = []
    for index, row in enumerate(words.rows(summary, "expect")):
        passed = row.get("passed") is True
        said = f"{'pass' if passed else 'FAIL'}  {row.get('expression')}"
        said += f", observed {words.scalar(row.get('observed'))}"
        found += labelled("expect" if index == 0 else "", said, width, "good" if passed else "bad")
    return found


def labelled(label: str, text: str, width: int, tone: str = "") -> list[Line]:
    """A label and a text, the text in a column of its own however many lines it takes."""
    return [(tone, line) for line in wrapped(text, label.ljust(LABEL_WIDTH), width)]


def wrapped(text: str, first: str, width: int) -> list[str]:
    """A text in lines, the first after `first` and the others below it."""
    # One paragraph, made of visible characters: a run's name must not move the cursor.
    said = words.visible(" ".join(text.split("\n"))).replace("\t", " ")
    return textwrap.wrap(
        said, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    ) or [first.rstrip()]
