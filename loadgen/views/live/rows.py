"""The rows that a terminal shows of a run.

Which rows there are follows from the plan, and the rest of them from what the figures say: so nothing moves while
a run goes on, but for the kinds of errors at the end, whose places are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from loadgen import format as fmt
from loadgen import styles
from loadgen.model import Ceiling, Plan, Transport
from loadgen.results.schema.line import SinkLine
from loadgen.views.live import wording
from loadgen.views.live.figures import Failures, Figures, MedianAndTail
from loadgen.views.live.frame import Blank, Gauge, Head, Labelled, TableRow
from loadgen.views.live.occupancy import Occupancy

#: The rank of each row of errors, the worst first; there are no more rows.
_ERROR_RANKS: Final = (4, 12, 15, 16)
ERRORS_MAX: Final = len(_ERROR_RANKS)
#: Spaces of four-tuples that are shown even where other rows have to give way for them.
_SPACES_MIN: Final = 3
#: Agents with a row of their own.
AGENTS_MAX: Final = 8
#: Fuller than these is close to a limit, at it; as in `loadgen watch`.
_TIGHT, _FULL = 0.7, 0.9


def rows(plan: Plan, figures: Figures, height: int) -> list[TableRow]:
    """All of them, from top to bottom; of spaces as many as a terminal of that height has lines left."""
    upper: list[TableRow] = [
        Head(0, wording.name(plan), wording.PHASES[figures.phase], f"{figures.t_s:.1f} s"),
        Gauge(1, "", 0, figures.share, wording.left(figures.left).ljust(len("about 99 s left"))),
        *_counts(plan, figures),
        *_latencies(plan, figures),
        *_surroundings(plan, figures),
        *_workers(plan, figures),
        *_agents(figures),
    ]
    lower = list(_failures(figures.failures))
    return [*upper, *_spaces(figures.occupancy, height - len(upper) - len(lower)), *lower]


def _counts(plan: Plan, figures: Figures) -> Iterator[TableRow]:
    line, pace = figures.line, figures.pace
    whole = f"{plan.connections:,}"
    opened = Text(f"{line.open:{len(whole)},} of {whole}", style=styles.STRONG)
    if plan.churn:
        established = Text(f"{line.established:,} established", style=styles.STRONG)
        yield Labelled(2, "churn", [established, Text(f"{line.closed:,} closed")])
    yield Labelled(5 if plan.churn else 2, "open", [opened])
    failed = Text(f"{line.failed:,}", style=styles.BAD if line.failed else "")
    yield Labelled(6, "failed", [failed, _bad(line.lost, "lost"), Text(f"{fmt.rate(pace.failed_per_s)} failing")])
    rate = [Text(fmt.rate(pace.established_per_s))]
    if plan.stages:
        rate.append(Text("" if figures.due_per_s is None else f"of {fmt.rate(figures.due_per_s)} due"))
    yield Labelled(3, "rate", rate)
    yield Labelled(10, "in flight", [Text(f"{line.in_flight:,}")])
    if plan.ceiling:
        yield Labelled(10, "predicted", _predicted(plan.ceiling))


def _predicted(ceiling: Ceiling) -> list[Text]:
    """The most that can go on for ever, and why."""
    most = "no limit" if ceiling.per_s is None else f"at most {fmt.rate(ceiling.per_s)}"
    return [Text(f"{most}: {ceiling.because}")]


def _latencies(plan: Plan, figures: Figures) -> Iterator[TableRow]:
    line, spreads = figures.line, figures.pace.spreads
    if plan.strategy.row.binds_port:
        yield Labelled(7, "bind", _spread(spreads.get("bind")))
    yield Labelled(7, "connect", _spread(spreads.get("connect")))
    if plan.tls:
        yield Labelled(11, "handshake", _spread(spreads.get("handshake")))
    if plan.traffic:
        wrong = [_bad(line.wrong, "wrong")]
        if plan.transport is Transport.UDP:
            wrong.append(_bad(line.unanswered, "unanswered"))
        yield Labelled(9, "exchange", _spread(spreads.get("exchange")) + wrong)
    if plan.heartbeat:
        beats = [Text(f"{line.beats:,} sent"), _bad(line.missed, "missed")]
        yield Labelled(10, "heartbeat", [*beats, Text(f"{line.beating:,} connections")])
    if plan.stages:
        yield Labelled(11, "lateness", _spread(spreads.get("lateness")))


def _spread(spread: MedianAndTail | None) -> list[Text]:
    p50, p99 = (wording.latency(us) for us in ((spread.p50_us, spread.p99_us) if spread else (None, None)))
    return [Text(f"p50 {p50:>8}"), Text(f"p99 {p99:>8}")]


def _surroundings(plan: Plan, figures: Figures) -> Iterator[TableRow]:
    if plan.sinks:
        sink = figures.line.sink or SinkLine(open=0, accepted=0)
        yield Labelled(12, "sink", [Text(f"{sink.open:,} open"), Text(f"{sink.accepted:,} accepted")])
    if plan.transport is Transport.TCP:
        yield Labelled(8, "TIME-WAIT", [Text(part) for part in wording.time_wait(figures.time_wait)])


def _workers(plan: Plan, figures: Figures) -> Iterator[TableRow]:
    workers = figures.line.workers
    alive = wording.MISSING if workers is None else f"{workers.alive:,}"
    parts = [Text(f"{alive} of {plan.workers:,}")]
    if workers and workers.alive < plan.workers:
        parts.append(_bad(plan.workers - workers.alive, "lost"))
    if workers and workers.stalled:
        parts.append(_bad(workers.stalled, "stalled"))
    yield Labelled(8, "workers", [*parts, Text(wording.cpu(figures.pace.cpu_cores))])
    lag_us = figures.lag.p99_us if figures.lag else None
    yield Labelled(9, "loop lag", [Text(f"p99 {wording.latency(lag_us):>8}")])


def _agents(figures: Figures) -> Iterator[TableRow]:
    """A row for each agent of several, those in trouble before the others where there are too many."""
    agents = figures.line.of_agents
    troubled = sorted(agents, key=lambda agent: not wording.in_trouble(agent))
    shown = [agent for agent in agents if agent in troubled[:AGENTS_MAX]]
    names = max((cell_len(wording.one_line(agent.name)) for agent in shown), default=0)
    for agent in shown:
        name = wording.one_line(agent.name)
        style = styles.BAD if wording.in_trouble(agent) else ""
        state = Text(f"{name}{' ' * (names - cell_len(name))} {wording.state_of(agent)}", style=style)
        failed = _bad(agent.failed, "failed")
        yield Labelled(7, "agent", [state, Text(f"{agent.open:,} open"), failed])
    if len(agents) > len(shown):
        yield Labelled(13, "", [Text(f"and {len(agents) - len(shown):,} more agents")])


def _spaces(occupancy: Occupancy, room: int) -> Iterator[TableRow]:
    """The fullest spaces, in at most `room` lines, and the number of others."""
    room = max(room, _SPACES_MIN)
    shown = occupancy.fullest[: room if occupancy.spaces <= room else room - 1]
    names = max((len(space.name) for space in shown), default=0)
    for place, space in enumerate(shown):
        style = styles.BAD if space.share >= _FULL else styles.TIGHT if space.share >= _TIGHT else ""
        yield Gauge(13 if place else 4, space.name, names, space.share, f"{space.open:,} of {space.capacity:,}", style)
    if shown and occupancy.spaces > len(shown):
        more, emptiest = f"and {occupancy.spaces - len(shown):,} more", fmt.percent(occupancy.emptiest)
        yield Labelled(13, "", [Text(more), Text(f"the emptiest {emptiest}")])


def _failures(errors: Sequence[Failures]) -> Iterator[TableRow]:
    """The last block: it alone grows, into places that are kept for it."""
    shown = errors[:ERRORS_MAX]
    names = [wording.one_line(f"{error.syscall} {error.errno}") for error in shown]
    name_width = max(map(cell_len, names), default=0)
    count_width = max((len(f"{error.count:,}") for error in shown), default=0)
    for place, rank in enumerate(_ERROR_RANKS):
        if place >= len(shown):
            yield Blank(rank)
            continue
        error = shown[place]
        name = Text(names[place] + " " * (name_width - cell_len(names[place])), style=styles.BAD)
        more = [f"{error.count:{count_width},}", fmt.rate(error.per_s), wording.one_line(f"({error.outcome})")]
        yield Labelled(rank, "error", [name, *map(Text, more)])
    left_out = len(errors) - len(shown)
    yield Labelled(17, "", [Text(f"and {left_out} more kinds")]) if left_out else Blank(17)


def _bad(count: int, what: str) -> Text:
    return Text(f"{count:,} {what}", style=styles.BAD if count else "")
