"""The lines of several runs added up to the lines of one, as they come.

Counters add, histograms add, and a peak is the peak of the sum. Lines of the whole stand one interval apart and, as in
the series of any run, at the end of each phase. Of an agent that was lost the counters stay, and what was a state of
its connections is gone with them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from msgspec import UNSET, UnsetType, structs

from loadgen.model import Phase
from loadgen.results.block import TENTHS
from loadgen.results.schema.counters import SERIES_COUNTERS
from loadgen.results.schema.line import (
    UNREAD,
    AgentTally,
    ErrorTally,
    KernelLine,
    LatencyNs,
    Line,
    PairTally,
    SamplingLine,
    SinkKernelLine,
    SinkLine,
    WorkersAlive,
)
from loadgen.results.schema.sides import Datagrams, NotAttributed, SinkSource

_OPENING: Final = (Phase.RAMP, Phase.CHURN)
#: How far a run is.
_ORDER: Final = {Phase.RAMP: 0, Phase.CHURN: 0, Phase.HOLD: 1, Phase.DRAIN: 2, Phase.DONE: 3}
_LATENCIES: Final = LatencyNs.__struct_fields__
_Number = TypeVar("_Number", int, float)
#: Latencies that a line has only where they were measured.
_OF_SOME_RUNS: Final = ("bind", "network")
_COUNTERS: Final = tuple(row.name for row in SERIES_COUNTERS if row.name != "open_peak")


class Agents:
    """Adds up the series of agents.

    pairs: by the name of each agent, how many (source, target) pairs its plan has. offsets_s: when each started,
    seconds after the first.
    """

    def __init__(self, pairs: Mapping[str, int], interval_s: float, offsets_s: Sequence[float] = ()) -> None:
        count = len(pairs)
        self._names, self._pairs, self._interval_s = tuple(pairs), tuple(pairs.values()), interval_s
        self._offsets_s = offsets_s or [0.0] * count
        self._waiting: list[deque[Line]] = [deque() for _ in range(count)]
        self._latest: list[Line | None] = [None] * count
        self._ended, self._lost, self._silent = [False] * count, [False] * count, [False] * count
        self._latency: dict[str, Counter[str]] = {name: Counter() for name in (*_LATENCIES, "lag")}
        self._t_s, self._changed, self._open_peak = 0.0, False, 0

    def add(self, index: int, line: Line) -> None:
        """Take the next line of an agent; it is part of the whole as soon as all have told of that time."""
        self._waiting[index].append(line)

    def end(self, index: int, *, lost: bool = False) -> None:
        """Expect no further line of an agent. lost: its process is gone, and its connections with it."""
        self._ended[index], self._lost[index] = True, lost or self._lost[index]

    def silent(self, index: int, *, silent: bool) -> None:
        """Do not wait for an agent that does not answer, until it does."""
        self._silent[index] = silent

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the whole that can be told by now; after the end of all agents, the last as well."""
        while (index := self._next()) is not None:
            yield from self._apply(index, self._waiting[index].popleft())
        if all(self._ended) and self._changed:
            yield self._whole()

    def _next(self) -> int | None:
        """Return the agent with the earliest line; None while one that goes on has told nothing of that time."""
        waiting = [index for index, lines in enumerate(self._waiting) if lines]
        states = zip(self._waiting, self._ended, self._silent, strict=True)
        if not waiting or any(not (lines or ended or silent) for lines, ended, silent in states):
            return None
        return min(waiting, key=lambda index: self._waiting[index][0].t_s + self._offsets_s[index])

    def _apply(self, index: int, line: Line) -> Iterator[Line]:
        t_s = line.t_s + self._offsets_s[index]
        phase = self._phase({index: line})
        if self._changed and (phase is not self._phase() or self._interval(t_s) > self._interval(self._t_s)):
            yield self._whole()
        self._latest[index], self._changed = line, True
        self._t_s = max(t_s, self._t_s)
        for name in _LATENCIES:
            self._latency[name].update(line.latency_ns.of(name))
        self._latency["lag"].update(line.lag_ns)

    def _interval(self, t_s: float) -> int:
        return round(t_s / self._interval_s)

    def _phase(self, instead: Mapping[int, Line] | None = None) -> Phase:
        """Return the phase of the whole. instead: lines in place of the latest of some agents.

        It opens while any agent does, and holds while all do: what is open at the end of its hold is all of it. One
        that was lost is in no phase.
        """
        replaced = instead or {}
        latest = [replaced.get(index, line) for index, line in enumerate(self._latest)]
        first = Phase.CHURN if any(line and line.phase is Phase.CHURN for line in latest) else Phase.RAMP
        going = {
            index: line.phase if line else first
            for index, line in enumerate(latest)
            if index in replaced or not self._lost[index] or self._waiting[index]
        }
        # One without pairs only listens, and closes what the others have left.
        connecting = {phase for index, phase in going.items() if self._pairs[index] or not any(self._pairs)}
        if not going:  # none but lost ones: the furthest that any came to
            return max((line.phase for line in latest if line), key=_ORDER.__getitem__, default=Phase.RAMP)
        phases = connecting or {Phase.DONE}
        if phases == {Phase.DONE}:
            phases = {phase if phase is Phase.DONE else Phase.DRAIN for phase in going.values()}
        earliest = min(phases, key=_ORDER.__getitem__)
        return earliest if len(phases) == 1 or earliest in _OPENING else Phase.DRAIN

    def _gone(self, index: int) -> bool:
        """Return whether an agent was lost before the time that the whole has come to."""
        last = self._latest[index]
        if not self._lost[index] or self._waiting[index]:
            return False
        return last is None or last.t_s + self._offsets_s[index] < self._t_s

    def _whole(self) -> Line:
        """Return the line of the whole for now, with the latencies since the one before."""
        parts = [(index, line) for index, line in enumerate(self._latest) if line]
        lines = [_without_connections(line) if self._gone(index) else line for index, line in parts]
        totals = {name: sum(getattr(line, name) for line in lines) for name in _COUNTERS}
        self._open_peak = max(self._open_peak, totals["open"])
        latency = {name: dict(self._latency[name]) for name in (*_LATENCIES, "lag")}
        self._latency, self._changed = {name: Counter() for name in latency}, False
        lag = latency.pop("lag")
        pairs = {index: line.pairs for (index, _), line in zip(parts, lines, strict=True)}
        return Line(
            t_s=round(self._t_s, 6),
            phase=self._phase(),
            scheduled=sum(line.scheduled for line in lines),
            ramp_s=max((line.ramp_s for line in lines), default=0.0),
            sustained_per_s=round(sum(line.sustained_per_s for line in lines), 3),
            first_denied_s=self._first_denied_s(),
            tenths_s=self._tenths_s(),
            cost_us=_costs(lines),
            errors=_errors(lines),
            pairs=tuple(
                pair
                for index, count in enumerate(self._pairs)
                for pair in pairs.get(index, (PairTally(0, 0, 0),) * count)
            ),
            not_attributed=_not_attributed(lines),
            latency_ns=_latency(latency),
            lag_ns=lag,
            cpu_s=round(sum(line.cpu_s for line in lines), 3),
            user_cpu_s=_sum_of_known(line.user_cpu_s for line in lines),
            overtaken=_sum_of_known(line.overtaken for line in lines),
            worker_cpu_s=tuple(spent for line in lines for spent in line.worker_cpu_s),
            workers=_workers(lines),
            agents=tuple(self._tally(index) for index in range(len(self._names))),
            sink=_sink([line.sink for line in lines if line.sink]),
            kernel=_kernel([line.kernel for line in lines]),
            open_peak=self._open_peak,
            **totals,
        )

    def _tally(self, index: int) -> AgentTally:
        line, gone = self._latest[index], self._gone(index)
        if line is None:
            return AgentTally(self._names[index], "lost" if gone else Phase.RAMP, 0, 0, 0)
        state = "lost" if gone else "suspect" if self._silent[index] else line.phase.value
        return AgentTally(self._names[index], state, line.established, line.failed, 0 if gone else line.open)

    def _first_denied_s(self) -> float | None:
        times = (
            line.first_denied_s + offset_s
            for line, offset_s in zip(self._latest, self._offsets_s, strict=True)
            if line and line.first_denied_s is not None
        )
        return min(times, default=None)

    def _tenths_s(self) -> tuple[float, ...]:
        """Return when each tenth of all connections was open: a tenth of an agent stands for as many of the whole."""
        marks = sorted(
            (t_s + offset_s, line.scheduled / TENTHS)
            for line, offset_s in zip(self._latest, self._offsets_s, strict=True)
            if line
            for t_s in line.tenths_s
        )
        scheduled = sum(line.scheduled for line in self._latest if line)
        reached = np.cumsum([size for _, size in marks])
        # Half a connection of slack: the sum of tenths is not exact in binary.
        places = np.searchsorted(reached, scheduled * np.arange(1, TENTHS + 1) / TENTHS - 0.5)
        return tuple(round(marks[place][0], 6) for place in places if place < len(marks))


def _latency(counts: Mapping[str, Mapping[str, int]]) -> LatencyNs:
    """Return the histograms by name, without those that not every run has."""
    return LatencyNs(**{name: found for name, found in counts.items() if found or name not in _OF_SOME_RUNS})


def _without_connections(line: Line) -> Line:
    """Return the last line of an agent that was lost: what it had not started never will be, and nothing is open."""
    return structs.replace(
        line,
        open=0,
        beating=0,
        not_started=max(line.scheduled - line.started, 0),
        pairs=tuple(pair._replace(open=0) for pair in line.pairs),
        workers=line.workers and WorkersAlive(alive=0, stalled=0),
        sink=line.sink and structs.replace(line.sink, open=0),
        kernel=structs.replace(
            line.kernel,
            now={},
            states=None,
            sink=line.kernel.sink and SinkKernelLine(delta=line.kernel.sink.delta),
            gateway=line.kernel.gateway and SinkKernelLine(delta=line.kernel.gateway.delta),
        ),
    )


def _costs(lines: Sequence[Line]) -> tuple[float, ...]:
    """Return the CPU time of a connection by tenths, of the agents that have come to each; weighted by connections."""
    costs = []
    for tenth in range(TENTHS):
        reached = [line for line in lines if len(line.cost_us) > tenth and line.scheduled]
        if not reached:
            break
        spent = sum(line.cost_us[tenth] * line.scheduled for line in reached)
        costs.append(round(spent / sum(line.scheduled for line in reached), 2))
    return tuple(costs)


def _errors(lines: Sequence[Line]) -> tuple[ErrorTally, ...]:
    kinds: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        for error in line.errors:
            kinds[error.syscall, error.errno, error.outcome] += error.times
    return tuple(
        ErrorTally(*kind, times) for kind, times in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    )


def _not_attributed(lines: Sequence[Line]) -> NotAttributed | UnsetType:
    known = [line.not_attributed for line in lines if line.not_attributed is not UNSET]
    if not known:
        return UNSET
    return NotAttributed(established=sum(rest.established for rest in known), failed=sum(rest.failed for rest in known))


def _sum_of_known(values: Iterable[_Number | UnsetType]) -> _Number | UnsetType:
    """Return the sum, unless one of them is not known."""
    known: list[_Number] = []
    for value in values:
        if isinstance(value, UnsetType):
            return UNSET
        known.append(value)
    return sum(known[1:], known[0]) if known else UNSET


def _workers(lines: Sequence[Line]) -> WorkersAlive | None:
    known = [line.workers for line in lines if line.workers]
    if not known:
        return None
    return WorkersAlive(alive=sum(each.alive for each in known), stalled=sum(each.stalled for each in known))


def _sink(sinks: Sequence[SinkLine]) -> SinkLine | None:
    """Return the counts of all sinks. A source address of two agents is one row, as at a sink that both reach."""
    if not sinks:
        return None
    accepted: Counter[str] = Counter()
    source_ports: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for sink in sinks:
        failures.update(sink.failures)
        for row in sink.sources or ():
            accepted[row.source] += row.accepted
            source_ports[row.source] += row.source_ports
    rows = tuple(SinkSource(source=name, accepted=accepted[name], source_ports=source_ports[name]) for name in accepted)
    known = [sink.datagrams for sink in sinks if sink.datagrams]
    return SinkLine(
        accepted=sum(sink.accepted for sink in sinks),
        open=sum(sink.open for sink in sinks),
        sources=rows if all(sink.sources is not None for sink in sinks) else None,
        datagrams=Datagrams(
            received=sum(each.received for each in known),
            answered=sum(each.answered for each in known),
            dropped=sum(each.dropped for each in known),
        )
        if known
        else None,
        failures=dict(failures),
    )


def _kernel(samples: Sequence[KernelLine]) -> KernelLine:
    """Return the counters of the namespaces of all agents together."""
    if not any(samples):
        return UNREAD
    here, at_sinks = _namespace(samples), [sample.sink for sample in samples if sample.sink]
    at_gateways = [sample.gateway for sample in samples if sample.gateway]
    costs = [sample.sampling for sample in samples if sample.sampling]
    run_cpu_s = [cost.run_cpu_s for cost in costs if cost.run_cpu_s is not None]
    sampling = SamplingLine(
        samples=sum(cost.samples for cost in costs),
        listings=sum(cost.listings for cost in costs),
        cpu_s=round(sum(cost.cpu_s for cost in costs), 3),
        run_cpu_s=round(sum(run_cpu_s), 3) if run_cpu_s and len(run_cpu_s) == len(costs) else None,
    )
    return KernelLine(
        **{name: getattr(here, name) for name in SinkKernelLine.__struct_fields__},
        sampling=sampling if costs else None,
        sink=_namespace(at_sinks) if at_sinks else None,
        gateway=_namespace(at_gateways) if at_gateways else None,
    )


def _namespace(samples: Sequence[SinkKernelLine]) -> SinkKernelLine:
    now: Counter[str] = Counter()
    delta: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for sample in samples:
        now.update(sample.now)
        delta.update(sample.delta)
        states.update(sample.states or {})
    listed = [sample.states_age_s for sample in samples if sample.states is not None]
    return SinkKernelLine(
        now=dict(now),
        delta=dict(delta),
        states=dict(states) if listed else None,
        states_age_s=max((age_s for age_s in listed if age_s is not None), default=None),
    )
