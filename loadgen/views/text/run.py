"""What a person sees when a run ends: a verdict, then the numbers behind it, at 80 columns.

`summary_lines` says it in plain text; `render` prints the same lines and adds weight and colour, so
that nothing is lost in a pipe, with NO_COLOR or on a terminal without colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from loadgen import format as fmt
from loadgen.views import summary_rows

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
    found: list[Line] = [("verdict", line) for line in wrapped(summary_rows.headline(summary), "", width)]
    incomplete = summary_rows.incomplete_because(summary)
    if incomplete is not None:
        found += labelled("INCOMPLETE", incomplete, width, "bad")
    found.append(("", ""))
    found += _connections(summary, width)
    if planned := summary_rows.prediction(summary):
        found += labelled("planned", planned[0], width, planned[1])
    found += _churn(summary, width)
    found += _pace(summary, width)
    found += _latency(summary)
    found += _errors(summary, width)
    found += _probes(summary, width)
    found += _expectations(summary, width)
    distrust = summary_rows.distrust(summary)
    if distrust is not None:
        found += labelled("generator", "NOT TRUSTWORTHY: " + "; ".join(distrust), width, "bad")
    found += _verdict(summary, width)
    if report:
        # In one piece however long it is, so that it can be picked up with a double click.
        found.append(("", "report".ljust(LABEL_WIDTH) + fmt.on_one_line(report)))
    return found


def _verdict(summary: Mapping[str, Any], width: int) -> list[Line]:
    """What shows the limit, without the counts of errors that stand above it, and what would move it."""
    verdict = fmt.part(summary, "verdict")
    errors = tuple(f"{row.get('syscall')} {row.get('errno')} " for row in fmt.rows(summary, "errors"))
    evidence = [fact for fact in map(str, fmt.items(verdict, "evidence")) if not fact.startswith(errors)]
    found: list[Line] = []
    for index, fact in enumerate(evidence):
        found += labelled("evidence" if index == 0 else "", fact, width)
    for index, remedy in enumerate(fmt.items(verdict, "remedies")):
        first = f"{'remedies' if index == 0 else '':{LABEL_WIDTH}}{index + 1}. "
        found += [("", line) for line in wrapped(str(remedy), first, width)]
    return found


def _connections(summary: Mapping[str, Any], width: int) -> list[Line]:
    arrivals, outcomes = fmt.part(summary, "arrivals"), fmt.part(summary, "outcomes")
    opened, sink = fmt.part(summary, "open"), fmt.part(summary, "sink")
    planned, how = summary_rows.attempts(summary)
    first = f"{fmt.count(outcomes.get('established'))} established of {fmt.count(planned)} {how}"
    for name, value in (
        ("not started", arrivals.get("not_started")),
        ("in flight", outcomes.get("in_flight")),
    ):
        if fmt.number(value):
            first += f", {fmt.count(value)} {name}"
    second = [
        f"{fmt.count(outcomes.get('failed'))} failed",
        f"{fmt.count(opened.get('lost'))} lost while held",
        f"at most {fmt.count(opened.get('peak'))} open",
    ]
    found = labelled("connections", first, width) + labelled("", ", ".join(second), width)
    if carried := summary_rows.traffic(summary):
        found += labelled("traffic", carried[0], width, "" if carried[1] else "bad")
    beat = summary_rows.heartbeat(summary)
    if beat:
        found += labelled("heartbeat", beat[0], width, "" if beat[1] else "bad")
    if sink:
        agrees, cut_off = sink.get("agrees") is True, sink.get("agrees", False) is None
        accepted, peak = fmt.count(sink.get("accepted")), fmt.count(sink.get("open_peak"))
        head = "not counted to the end" if cut_off else "THE SIDES DISAGREE"
        reason = "both sides agree" if agrees else f"{head}: {sink.get('text') or 'no reason given'}"
        had = fmt.part(sink, "datagrams")
        first = (
            f"{accepted} endpoints heard, {fmt.count(had.get('received'))} datagrams"
            if had
            else f"{accepted} accepted, at most {peak} open"
        )
        said = f"{first}; {reason}"
        found += labelled("other side", said, width, "" if agrees or cut_off else "bad")
    return found


def _churn(summary: Mapping[str, Any], width: int) -> list[Line]:
    """What opening and closing all the time came to, and what TIME-WAIT there was at the other side of any run."""
    rows = summary_rows.churn(summary)
    found: list[Line] = []
    for label, said, tone in rows:
        found += labelled(label, said, width, tone)
    elsewhere = summary_rows.other_side(summary)
    if elsewhere is not None:
        label, said = ("  at sinks", elsewhere) if rows else ("TIME-WAIT", f"at the sinks {elsewhere}")
        found += labelled(label, said, width)
    return found


def _pace(summary: Mapping[str, Any], width: int) -> list[Line]:
    pace, phases = fmt.part(summary, "rate_per_s"), fmt.part(summary, "phases")
    took = [
        f"{name} {fmt.seconds(phases[f'{name}_s'])}"
        for name in ("ramp", "hold", "churn", "drain")
        if fmt.number(phases.get(f"{name}_s")) is not None
    ]
    if fmt.number(summary.get("duration_s")) is not None:
        took.append(f"{fmt.seconds(summary['duration_s'])} in all")
    found: list[Line] = []
    if pace:
        mean, peak = fmt.rate(pace.get("established_mean")), fmt.rate(pace.get("established_peak"))
        # The mean of churn is in its own lines.
        said = f"{peak} peak" if fmt.part(summary, "churn") else f"{mean} mean over the ramp, {peak} peak"
        found += labelled("rate", said, width)
    return found + (labelled("time", ", ".join(took), width) if took else [])


def _latency(summary: Mapping[str, Any]) -> list[Line]:
    keys = ("p50", "p90", "p99", "p999", "max")
    latency = fmt.part(summary, "latency_us")
    rows = [
        (kind, [fmt.latency(row.get(key), "us") for key in keys])
        for kind in ("lateness", "connect", "arrival", "handshake", "exchange")
        if (row := fmt.part(latency, kind)) and fmt.number(row.get("count")) != 0
    ]
    if not rows:
        return []
    head = "latency".ljust(LABEL_WIDTH) + "".join(f"{name:>10}" for name in ("p50", "p90", "p99", "p99.9", "max"))
    return [("head", head)] + [
        ("", f"  {kind}".ljust(LABEL_WIDTH) + "".join(f"{value:>10}" for value in values)) for kind, values in rows
    ]


def _errors(summary: Mapping[str, Any], width: int) -> list[Line]:
    rows = sorted(fmt.rows(summary, "errors"), key=lambda row: -(fmt.number(row.get("count")) or 0))
    found: list[Line] = []
    for index, row in enumerate(rows[:ERRORS_MAX]):
        said = f"{fmt.count(row.get('count')):>9}  {row.get('syscall')} {row.get('errno')}"
        if row.get("outcome"):
            said += f" ({row['outcome']})"
        found += labelled("errors" if index == 0 else "", said, width)
    rest = rows[ERRORS_MAX:]
    if rest:
        said = f"{fmt.count(fmt.total(row.get('count') for row in rest)):>9}  of {len(rest)} other kinds"
        found += labelled("", said, width)
    return found


def _probes(summary: Mapping[str, Any], width: int) -> list[Line]:
    found: list[Line] = []
    for name, said in summary_rows.probes(summary):
        found += labelled("probes" if not found else "", f"{name}: {said}", width)
    return found


def _expectations(summary: Mapping[str, Any], width: int) -> list[Line]:
    found: list[Line] = []
    for index, row in enumerate(fmt.rows(summary, "expect")):
        passed = row.get("passed") is True
        said = f"{'pass' if passed else 'FAIL'}  {row.get('expression')}"
        said += f", observed {fmt.scalar(row.get('observed'))}"
        found += labelled("expect" if index == 0 else "", said, width, "good" if passed else "bad")
    return found


def labelled(label: str, text: str, width: int, tone: str = "") -> list[Line]:
    """A label and a text, the text in a column of its own however many lines it takes."""
    return [(tone, line) for line in wrapped(text, label.ljust(LABEL_WIDTH), width)]


def wrapped(text: str, first: str, width: int) -> list[str]:
    """A text in lines, the first after `first` and the others below it."""
    # One paragraph, made of visible characters: a run's name must not move the cursor.
    said = fmt.visible(" ".join(text.split("\n"))).replace("\t", " ")
    return textwrap.wrap(
        said, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    ) or [first.rstrip()]
