"""The words and numbers of the page, made anew for each frame: the script only puts them into place."""

from __future__ import annotations

from typing import Any, Final

from loadgen import format as fmt
from loadgen.model import Phase, Plan
from loadgen.results import histogram
from loadgen.results.schema.line import AgentTally, SinkLine, WorkersAlive
from loadgen.views.dashboard.watched import Notice, Watched
from loadgen.views.live import wording
from loadgen.views.live.figures import Figures, TimeWait
from loadgen.views.live.occupancy import SpaceUsage

#: Rows of errors and of sources, the worst first.
ROWS_MAX: Final = 20
#: A source this full is bad news.
_FULL: Final = 0.995

Figure = dict[str, Any]


def frame(watched: Watched, *, interrupts: int) -> dict[str, Any]:
    """All but the charts. interrupts: how often the run was asked to stop.

    {state, run, scenario, place, phase, share, time, left, figures, errors, agents, sources, notices, interrupts,
    ending}; share is the part of the phase that is done, of 1, and None before there is one. Text is made visible, not
    escaped.
    """
    ending = watched.ending
    head: dict[str, Any] = {
        "state": "over" if ending else "running" if watched.line else "starting",
        "run": watched.run,
        "place": fmt.visible(watched.place),
        "interrupts": interrupts,
        "notices": list(map(_notice, watched.notices)),
        "ending": {"text": fmt.visible(ending.text), "report": fmt.visible(ending.report), "code": ending.code}
        if ending
        else None,
    }
    plan, now = watched.plan, watched.figures
    if plan is None or now is None:
        empty = dict.fromkeys(("scenario", "phase", "time", "left"), "")
        return {**head, **empty, "share": None, "figures": [], "errors": [], "agents": [], "sources": []}
    return head | {
        "scenario": wording.name(plan),
        "phase": wording.PHASES[now.phase],
        "share": round(now.share, 4),
        "time": fmt.seconds(now.t_s),
        "left": wording.left(now.left),
        "figures": figures(watched, plan, now),
        "errors": [
            {
                "what": fmt.visible(f"{error.syscall} {error.errno}"),
                "outcome": fmt.visible(error.outcome),
                "count": fmt.count(error.count),
            }
            for error in now.failures[:ROWS_MAX]
        ],
        "agents": list(map(_agent, now.line.of_agents)),
        "sources": list(map(_source, now.occupancy.fullest[:ROWS_MAX])),
    }


def figures(watched: Watched, plan: Plan, now: Figures) -> list[Figure]:
    """The headline figures: id, name, value, a line of context, whether it is bad news."""
    line, workers, sink = now.line, now.line.workers, now.line.sink
    return [
        _figure(
            "open",
            "Open",
            fmt.count(line.open),
            f"of {fmt.count(plan.connections)} {'at a time' if plan.churn else 'planned'}",
        ),
        _figure(
            "established",
            "Established",
            fmt.count(line.established),
            f"{fmt.count(line.lost)} lost, {fmt.count(line.in_flight)} in flight",
            bad=bool(line.lost),
        ),
        _figure("rate", "Rate", fmt.rate(now.pace.established_per_s), _asked(plan, now)),
        _figure("failed", "Failed", fmt.count(line.failed), _worst(now), bad=bool(line.failed)),
        *_latencies(watched),
        *_occupancy(now),
        *_time_wait(now.time_wait),
        _figure("lag", "Event loop lag, p99", fmt.latency(now.lag.p99_us) if now.lag else fmt.MISSING, "of workers"),
        *([_workers(workers, plan, now)] if workers else []),
        *([_sink(sink)] if sink else []),
    ]


def _sink(sink: SinkLine) -> Figure:
    return _figure("sink", "Open at the sinks", fmt.count(sink.open), f"{fmt.count(sink.accepted)} accepted")


def _workers(workers: WorkersAlive, plan: Plan, now: Figures) -> Figure:
    lost = workers.alive < plan.workers and now.phase is not Phase.DONE
    note = f"{fmt.count(workers.stalled)} stalled, {wording.cpu(now.pace.cpu_cores)}"
    return _figure("workers", "Workers", f"{workers.alive} of {plan.workers}", note, bad=bool(workers.stalled) or lost)


def _figure(name: str, title: str, value: str, note: str = "", *, bad: bool = False) -> Figure:
    return {"id": name, "name": title, "value": value, "note": note, "bad": bad}


def _notice(notice: Notice) -> dict[str, str]:
    return {"at": "" if notice.t_s is None else fmt.seconds(notice.t_s), "text": fmt.visible(notice.text)}


def _agent(agent: AgentTally) -> dict[str, Any]:
    return {
        "agent": fmt.visible(agent.name),
        "state": wording.state_of(agent),
        "open": fmt.count(agent.open),
        "established": fmt.count(agent.established),
        "failed": fmt.count(agent.failed),
        "bad": wording.in_trouble(agent),
    }


def _source(usage: SpaceUsage) -> dict[str, Any]:
    return {
        "source": fmt.visible(usage.name),
        "open": fmt.count(usage.open),
        "capacity": fmt.count(usage.capacity),
        "share": round(usage.share, 4),
        "said": fmt.percent(usage.share),
        "full": usage.share >= _FULL,
    }


def _asked(plan: Plan, now: Figures) -> str:
    """The rate to compare with."""
    if now.due_per_s is not None:
        return f"{fmt.rate(now.due_per_s)} due"
    if plan.ceiling is None:
        return "established per second"
    return "no limit predicted" if plan.ceiling.per_s is None else f"at most {fmt.rate(plan.ceiling.per_s)} predicted"


def _worst(now: Figures) -> str:
    if not now.line.failed or not now.failures:
        return "attempts that ended in an error"
    worst = now.failures[0]
    return fmt.visible(f"mostly {worst.syscall} {worst.errno}")


def _latencies(watched: Watched) -> list[Figure]:
    """Binding a port, connecting, TLS and exchanges, over the whole run; those that were measured."""
    latencies = []
    titles = {"bind": "bind()", "connect": "Connect", "handshake": "TLS handshake", "exchange": "Exchange"}
    for kind, title in titles.items():
        counts = watched.totals.of_run(kind)
        if counts.any():
            p50, p99 = (fmt.latency(histogram.quantile_ns(counts, q) / 1e3) for q in (0.5, 0.99))
            longest = fmt.latency(histogram.max_ns(counts) / 1e3)
            latencies.append(_figure(kind, f"{title}, median", p50, f"p99 {p99}, max {longest}"))
    return latencies


def _occupancy(now: Figures) -> list[Figure]:
    if not now.occupancy.fullest:
        return []
    worst = now.occupancy.fullest[0]
    note = fmt.visible(f"{fmt.count(worst.open)} of {fmt.count(worst.capacity)}, {worst.name}")
    return [_figure("occupancy", "Fullest source", fmt.percent(worst.share), note, bad=worst.share >= _FULL)]


def _time_wait(sockets: TimeWait | None) -> list[Figure]:
    if sockets is None:
        return []
    at_sinks = "" if sockets.at_sinks is None else f"{fmt.count(sockets.at_sinks)} at the sinks, "
    note = f"{at_sinks}{fmt.count(sockets.recycled)} recycled"
    return [_figure("time-wait", "TIME-WAIT", fmt.count(sockets.here), note)]
