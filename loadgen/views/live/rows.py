"""What a terminal shows of a run, row by row.

Which rows there are follows from the plan, and the rest of them from what the figures say: so nothing moves while
a run goes on, but for the kinds of errors at the end, whose places are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from loadgen import format as fmt
from loadgen.model import Ceiling, Plan, Transport
from loadgen.views.live import wording
from loadgen.views.live.figures import Failures, Figures, Spread
from loadgen.views.live.frame import Blank, Gauge, Head, Labelled, Row
from loadgen.views.live.occupancy import Occupancy

#: Of kinds of errors so many are shown, the worst first.
_ERROR_RANKS: Final = (4, 12, 15, 16)
ERRORS_MAX: Final = len(_ERROR_RANKS)
#: Of spaces of four-tuples so many even where other rows have to give way for them.
_SPACES_MIN: Final = 3
#: Fuller than these is yellow, red; as in `loadgen watch`.
_TIGHT, _FULL = 0.7, 0.9


def rows(plan: Plan, figures: Figures, height: int) -> list[Row]:
    """All of them, from top to bottom; of spaces as many as a terminal of that height has lines left."""
    upper: list[Row] = [
        Head(0, wording.name(plan), wording.PHASES[figures.phase], f"{figures.t_s:.1f} s"),
        Gauge(1, "", 0, figures.share, wording.left(figures.left).ljust(len("about 99 s left"))),
        *_counts(plan, figures),
        *_latencies(plan, figures),
        *_surroundings(plan, figures),
        *_workers(plan, figures),
    ]
    lower = list(_failures(figures.failures))
    return [*upper, *_spaces(figures.occupancy, height - len(upper) - len(lower)), *lower]


def _counts(plan: Plan, figures: Figures) -> Iterator[Row]:
    line, pace = figures.line, figures.pace
    whole = f"{plan.connections:,}"
    opened = Text(f"{line['open']:{len(whole)},} of {whole}", style="bold")
    if plan.churn:
        established = Text(f"{line['established']:,} established", style="bold")
        yield Labelled(2, "churn", [established, Text(f"{line.get('closed', 0):,} closed")])
    yield Labelled(5 if plan.churn else 2, "open", [opened])
    failed = Text(f"{line['failed']:,}", style="red" if line["failed"] else "")
    yield Labelled(6, "failed", [failed, _bad(line["lost"], "lost"), Text(f"{fmt.rate(pace.failed_per_s)} failing")])
    rate = [Text(fmt.rate(pace.established_per_s))]
    if plan.stages:
        rate.append(Text("" if figures.due_per_s is None else f"of {fmt.rate(figures.due_per_s)} due"))
    yield Labelled(3, "rate", rate)
    yield Labelled(10, "in flight", [Text(f"{line['in_flight']:,}")])
    if plan.ceiling:
        yield Labelled(10, "predicted", _predicted(plan.ceiling))


def _predicted(ceiling: Ceiling) -> list[Text]:
    """The most that can go on for ever, and why."""
    most = "no limit" if ceiling.per_s is None else f"at most {fmt.rate(ceiling.per_s)}"
    return [Text(f"{most}: {ceiling.because}")]


def _latencies(plan: Plan, figures: Figures) -> Iterator[Row]:
    line, spreads = figures.line, figures.pace.spreads
    yield Labelled(7, "connect", _spread(spreads.get("connect")))
    if plan.tls:
        yield Labelled(11, "handshake", _spread(spreads.get("handshake")))
    if plan.traffic:
        wrong = [_bad(line.get("wrong", 0), "wrong")]
        if plan.transport is Transport.UDP:
            wrong.append(_bad(line.get("unanswered", 0), "unanswered"))
        yield Labelled(9, "exchange", _spread(spreads.get("exchange")) + wrong)
    if plan.heartbeat:
        beats = [Text(f"{line.get('beats', 0):,} sent"), _bad(line.get("missed", 0), "missed")]
        yield Labelled(10, "heartbeat", [*beats, Text(f"{line.get('beating', 0):,} connections")])
    if plan.stages:
        yield Labelled(11, "lateness", _spread(spreads.get("lateness")))


def _spread(spread: Spread | None) -> list[Text]:
    p50, p99 = (wording.latency(us) for us in ((spread.p50_us, spread.p99_us) if spread else (None, None)))
    return [Text(f"p50 {p50:>8}"), Text(f"p99 {p99:>8}")]


def _surroundings(plan: Plan, figures: Figures) -> Iterator[Row]:
    if plan.sinks:
        sink = figures.line["sink"] or {"open": 0, "accepted": 0}
        yield Labelled(12, "sink", [Text(f"{sink['open']:,} open"), Text(f"{sink['accepted']:,} accepted")])
    if plan.transport is Transport.TCP:
        yield Labelled(8, "TIME-WAIT", [Text(said) for said in wording.time_wait(figures.time_wait)])


def _workers(plan: Plan, figures: Figures) -> Iterator[Row]:
    workers = figures.line["workers"]
    parts = [Text(f"{workers['alive']:,} of {plan.workers:,}")]
    if workers["alive"] < plan.workers:
        parts.append(_bad(plan.workers - workers["alive"], "lost"))
    if workers["stalled"]:
        parts.append(_bad(workers["stalled"], "stalled"))
    yield Labelled(8, "workers", [*parts, Text(wording.cpu(figures.pace.cpu_cores))])
    lag_us = figures.lag.p99_us if figures.lag else None
    yield Labelled(9, "loop lag", [Text(f"p99 {wording.latency(lag_us):>8}")])


def _spaces(found: Occupancy, room: int) -> Iterator[Row]:
    """The fullest, in so many lines, and how many more there are."""
    room = max(room, _SPACES_MIN)
    shown = found.fullest[: room if found.spaces <= room else room - 1]
    names = max((len(one.name) for one in shown), default=0)
    for place, one in enumerate(shown):
        style = "bold red" if one.share >= _FULL else "yellow" if one.share >= _TIGHT else "green"
        yield Gauge(13 if place else 4, one.name, names, one.share, f"{one.open:,} of {one.capacity:,}", style)
    if shown and found.spaces > len(shown):
        more, emptiest = f"and {found.spaces - len(shown):,} more", fmt.percent(found.emptiest)
        yield Labelled(13, "", [Text(more), Text(f"the emptiest {emptiest}")])


def _failures(found: Sequence[Failures]) -> Iterator[Row]:
    """The last block: it alone grows, into places that are kept for it."""
    shown = found[:ERRORS_MAX]
    names = [wording.one_line(f"{one.syscall} {one.errno}") for one in shown]
    name_width = max(map(cell_len, names), default=0)
    count_width = max((len(f"{one.count:,}") for one in shown), default=0)
    for place, rank in enumerate(_ERROR_RANKS):
        if place >= len(shown):
            yield Blank(rank)
            continue
        one = shown[place]
        name = Text(names[place] + " " * (name_width - cell_len(names[place])), style="red")
        more = [f"{one.count:{count_width},}", fmt.rate(one.per_s), wording.one_line(f"({one.outcome})")]
        yield Labelled(rank, "error", [name, *map(Text, more)])
    left_out = len(found) - len(shown)
    yield Labelled(17, "", [Text(f"and {left_out} more kinds")]) if left_out else Blank(17)


def _bad(count: int, what: str) -> Text:
    return Text(f"{count:,} {what}", style="bold red" if count else "")
