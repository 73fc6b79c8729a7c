"""Lines of several agents added up: counters and histograms are sums at every moment, whatever the order of arrival."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from loadgen.model import Phase
from loadgen.results.fold import Fold
from loadgen.results.merging.series import Agents
from loadgen.results.schema.line import ErrorTally, KernelLine, LatencyNs, Line, PairTally, SinkKernelLine, SinkLine
from loadgen.results.schema.sides import SinkSource

PHASES = (Phase.RAMP, Phase.HOLD, Phase.DRAIN, Phase.DONE)


def line(t_s: float, phase: Phase = Phase.RAMP, opened: int = 0, **more: object) -> Line:
    counts = {"started": opened, "established": opened, "scheduled": 100, **more}
    base = Line(t_s=t_s, phase=phase, pairs=(PairTally(opened, 0, opened),), latency_ns=LatencyNs(), lag_ns={})
    return structs.replace(base, open=opened, **counts)


def merged(*series: Sequence[Line], lost: tuple[int, ...] = (), offsets_s: Sequence[float] = ()) -> list[Line]:
    agents = Agents({f"a{n}": 1 for n in range(len(series))}, 0.5, offsets_s)
    for index, lines in enumerate(series):
        for each in lines:
            agents.add(index, each)
        agents.end(index, lost=index in lost)
    return list(agents.lines())


@st.composite
def runs(draw: st.DrawFn) -> list[Line]:
    """A run with all phases: running totals that grow, and histograms of what is new."""
    lines, t_s, opened = [], 0.0, 0
    for phase in PHASES:
        for _ in range(draw(st.integers(1, 4))):
            t_s += draw(st.sampled_from((0.01, 0.5, 0.7)))
            opened += draw(st.integers(0, 20)) if phase is Phase.RAMP else 0
            latency = LatencyNs(connect={str(draw(st.integers(0, 5))): draw(st.integers(1, 9))})
            held = 0 if phase in (Phase.DRAIN, Phase.DONE) else opened
            lines.append(
                structs.replace(line(t_s, phase, opened, latency_ns=latency, lag_ns={"3": 1}), open=held, cpu_s=t_s)
            )
    return lines


@given(st.lists(runs(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_whole_is_the_sum_at_its_end_and_its_phases_come_in_order(
    series: list[list[Line]], rng: random.Random
) -> None:
    agents, waiting = Agents({f"a{n}": 1 for n in range(len(series))}, 0.5), [list(lines) for lines in series]
    found: list[Line] = []
    while any(waiting):  # as they come over the network: some agents are ahead of others
        index = rng.choice([index for index, lines in enumerate(waiting) if lines])
        agents.add(index, waiting[index].pop(0))
        if not waiting[index]:
            agents.end(index)
        found += agents.lines()
    assert found == merged(*series), "what is told does not depend on when each of them told it"
    last = found[-1]
    assert last.phase is Phase.DONE
    assert last.established == sum(lines[-1].established for lines in series)
    assert [pair.established for pair in last.pairs] == [lines[-1].established for lines in series]
    order = [PHASES.index(each.phase) for each in found]
    assert order == sorted(order)
    assert [each.t_s for each in found] == sorted(each.t_s for each in found)
    together = Fold.of(found)
    assert together.latency.sum() == sum(Fold.of(lines).latency.sum() for lines in series)
    assert together.lag.sum() == sum(len(lines) for lines in series)
    assert together.open_peak == max(each.open for each in found)


def test_the_whole_is_in_the_phase_of_the_last_agent_and_each_phase_has_its_last_line() -> None:
    first = [line(0.5, opened=10), line(0.6, opened=20), line(1.1, Phase.HOLD, 20)]
    second = [line(0.5, opened=1), line(1.0, opened=2), line(1.4, opened=3), line(1.5, Phase.HOLD, 3)]
    found = merged(first, second)
    assert [(each.t_s, each.phase, each.open) for each in found] == [
        (0.6, Phase.RAMP, 21),
        (1.1, Phase.RAMP, 22),
        (1.4, Phase.RAMP, 23),
        (1.5, Phase.HOLD, 23),
    ]


def test_the_hold_of_the_whole_ends_when_the_first_agent_closes() -> None:
    first = [line(1.0, Phase.HOLD, 20), line(1.5, Phase.DRAIN, 0), line(1.6, Phase.DONE, 0)]
    second = [line(1.1, Phase.HOLD, 3), line(1.7, Phase.HOLD, 3), line(1.8, Phase.DRAIN, 0), line(1.9, Phase.DONE, 0)]
    found = merged(first, second)
    assert [(each.phase, each.open) for each in found[-4:]] == [
        (Phase.HOLD, 23),
        (Phase.DRAIN, 3),
        (Phase.DRAIN, 0),
        (Phase.DONE, 0),
    ]


def test_a_lost_agent_ends_no_hold() -> None:
    found = merged([line(1.0, Phase.HOLD, 20)], [line(1.0, Phase.HOLD, 3), line(2.0, Phase.HOLD, 3)], lost=(0,))
    assert [(each.phase, each.open) for each in found[-2:]] == [(Phase.HOLD, 23), (Phase.HOLD, 3)]


def test_nothing_is_told_of_a_time_that_an_agent_has_not_come_to() -> None:
    agents = Agents({"a": 1, "b": 1}, 0.5)
    for t_s in (0.5, 1.0, 1.5):
        agents.add(0, line(t_s))
    assert list(agents.lines()) == []
    agents.add(1, line(1.0))
    assert [each.t_s for each in agents.lines()] == [0.5]
    agents.silent(1, silent=True)
    assert [each.t_s for each in agents.lines()] == [1.0], "but for one that does not answer"
    agents.end(1, lost=True)
    agents.end(0)
    assert [each.t_s for each in agents.lines()] == [1.5]


def test_each_agent_is_told_with_its_state() -> None:
    agents = Agents({"a": 1, "b": 1, "c": 1}, 0.5)
    agents.add(0, line(0.5, Phase.HOLD, 5))
    agents.add(1, line(0.5, opened=3, failed=2))
    agents.add(2, line(0.4, opened=7))
    agents.silent(1, silent=True)
    agents.end(2, lost=True)
    agents.add(0, line(1.0, Phase.HOLD, 6))
    (found,) = agents.lines()
    assert found.agents == (("a", "hold", 5, 0, 5), ("b", "suspect", 3, 2, 3), ("c", "lost", 7, 0, 0))


def test_of_an_agent_that_was_lost_the_counts_stay_and_the_connections_are_gone() -> None:
    kernel = KernelLine(now={"tw": 4}, delta={"a": 5}, states={"established": 9})
    sink = SinkLine(accepted=40, open=40)
    first = [line(0.5, opened=40, kernel=kernel, sink=sink), line(1.0, opened=40, kernel=kernel, sink=sink)]
    second = [line(0.5, opened=30, kernel=kernel, sink=sink)]
    before, after = merged(first, second, lost=(1,))
    assert (before.open, before.not_started) == (70, 0), "at the time of its last line it had them"
    assert (after.established, after.open, after.not_started) == (70, 40, 70)
    assert [pair.open for pair in after.pairs] == [40, 0]
    assert (after.kernel.now, after.kernel.delta) == ({"tw": 4}, {"a": 10})
    assert after.sink is not None
    assert (after.sink.accepted, after.sink.open) == (80, 40)
    assert after.phase is Phase.RAMP


def test_an_agent_without_a_line_has_its_place_among_the_pairs() -> None:
    agents = Agents({"a": 2, "b": 1}, 0.5)
    agents.end(0, lost=True)
    agents.add(1, line(0.5, opened=3))
    agents.end(1)
    (found,) = agents.lines()
    assert found.pairs == (PairTally(0, 0, 0), PairTally(0, 0, 0), PairTally(3, 0, 3))


def test_errors_sinks_and_kernels_are_added_up_by_name() -> None:
    def of(times: int) -> Line:
        return line(
            0.5,
            errors=(ErrorTally("connect", "ECONNREFUSED", "refused", times), ErrorTally("bind", "EADDRINUSE", "x", 1)),
            sink=SinkLine(
                accepted=times, open=0, sources=(SinkSource(source="10.0.0.1", accepted=times, source_ports=2),)
            ),
            kernel=KernelLine(
                delta={"a": times},
                now={"g": 1},
                sink=SinkKernelLine(delta={"b": times}),
                gateway=SinkKernelLine(now={"conntrack.count": times}, delta={"conntrack.drop": times}),
            ),
            first_denied_s=float(times),
            worker_cpu_s=(0.1 * times,),
        )

    (found,) = merged([of(2)], [of(3)], offsets_s=(0.0, 0.1))
    assert found.errors[0] == ("connect", "ECONNREFUSED", "refused", 5)
    assert found.errors[1].times == 2
    assert found.sink is not None
    assert found.sink.sources == (SinkSource(source="10.0.0.1", accepted=5, source_ports=4),)
    assert (found.kernel.delta, found.kernel.now) == ({"a": 5}, {"g": 2})
    assert found.kernel.sink is not None
    assert found.kernel.sink.delta == {"b": 5}
    assert found.kernel.gateway is not None
    assert (found.kernel.gateway.now, found.kernel.gateway.delta) == ({"conntrack.count": 5}, {"conntrack.drop": 5})
    assert found.first_denied_s == 2.0, "of the first agent, on the axis of the whole"
    assert found.worker_cpu_s == pytest.approx((0.2, 0.3))


def test_costs_are_weighted_and_tenths_are_those_of_all_connections() -> None:
    quick = line(1.0, scheduled=300, cost_us=(10.0,) * 10, tenths_s=tuple(0.1 * n for n in range(1, 11)))
    slow = line(1.0, scheduled=100, cost_us=(30.0,) * 5, tenths_s=(5.0,))
    (found,) = merged([quick], [slow])
    assert found.cost_us == (15.0,) * 5 + (10.0,) * 5
    assert len(found.tenths_s) == 7, "310 of 400 connections are open: 300 and a tenth of 100"
    assert found.tenths_s[0] == pytest.approx(0.2), "40 of the quick agent's 300"


def test_histograms_of_a_line_have_what_is_new_since_the_line_before() -> None:
    def of(t_s: float, bucket: str) -> Line:
        return line(t_s, latency_ns=LatencyNs(connect={bucket: 1}))

    found = merged([of(0.5, "1"), of(1.0, "2")], [of(0.5, "1"), of(1.0, "3")])
    assert [Counter(each.latency_ns.connect) for each in found] == [{"1": 2}, {"2": 1, "3": 1}]


def test_the_whole_is_in_the_phase_of_those_that_open_connections_and_not_of_one_that_only_listens() -> None:
    """Whose place has no pair: it holds until the others are gone, and then closes what they have left."""
    agents = Agents({"a": 1, "c": 0}, 0.5)
    listener = [structs.replace(line(t_s, phase), pairs=()) for t_s, phase in ((0.1, Phase.RAMP), (2.0, Phase.HOLD))]
    for each in listener:
        agents.add(1, each)
    for t_s, phase, opened in ((0.5, Phase.RAMP, 5), (1.0, Phase.HOLD, 5), (1.5, Phase.DRAIN, 0), (1.8, Phase.DONE, 0)):
        agents.add(0, line(t_s, phase, opened))
    agents.end(0)
    assert [(each.t_s, each.phase) for each in agents.lines()] == [
        (0.1, Phase.RAMP),
        (0.5, Phase.RAMP),
        (1.0, Phase.HOLD),
        (1.5, Phase.DRAIN),
    ]
    agents.add(1, structs.replace(line(2.1, Phase.DONE), pairs=()))
    agents.end(1)
    assert [each.phase for each in agents.lines()] == [Phase.DRAIN, Phase.DONE]


def test_a_whole_of_churn_has_no_ramp() -> None:
    agents = Agents({"a": 1, "b": 1}, 0.5)
    agents.add(0, line(0.1, Phase.CHURN))
    agents.add(1, line(0.7, Phase.CHURN))
    agents.add(0, line(1.0, Phase.CHURN))
    assert {each.phase for each in agents.lines()} == {Phase.CHURN}
