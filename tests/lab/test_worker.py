"""A plan carried out by real workers: nothing more, nothing less, and never before it is due."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections import Counter as Tally
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import pytest
import uvloop
from msgspec import UNSET

from loadgen.arrivals import due_ns
from loadgen.clock import now_ns
from loadgen.kernel import sockstat
from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Engine, PortRange, Shard, Stage, Strategy, Target
from loadgen.results.block import Latency, consistent_breakdown, consistent_counters
from loadgen.results.schema.counters import POSITION
from loadgen.results.schema.sides import NotAttributed
from loadgen.worker.shard import slice_of
from tests.plans import plan_of

from .support import PROC_NET, Crew, accept_all, listen, on_loop, reset, until

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
MakeListeners = Callable[..., list[socket.socket]]

SOURCES: Final = ("127.0.0.1", "127.0.0.2")
TARGETS: Final = (Endpoint("127.0.0.1", 9000), Endpoint("127.0.0.3", 9001))
FORTY: Final = PortRange(40000, 40039)

pytestmark = pytest.mark.lab("40000 40039")


@pytest.fixture
def run(_lab: None) -> Run:
    """On uvloop alone: the workers know no other, whatever leads them."""
    return lambda body: on_loop(body, uvloop.new_event_loop)


def seen_by(listeners: list[socket.socket], counts: list[int]) -> Tally[tuple[str, str, int, int]]:
    """Every four-tuple that reached the listeners, and how often it did."""
    found: Tally[tuple[str, str, int, int]] = Tally()
    for listener, count in zip(listeners, counts, strict=True):
        target, target_port = listener.getsockname()
        for sock in accept_all(listener, count):
            source, source_port = sock.getpeername()
            found[source, target, source_port, target_port] += 1
            reset(sock)
    return found


@pytest.mark.parametrize("connections", [160, 99, 6])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_three_workers_open_exactly_the_plan(
    strategy: Strategy, connections: int, run: Run, listeners: MakeListeners
) -> None:
    """Evenly over the pairs, to the single connection, up to a range that is full to the last port (160)."""
    sources = SOURCES if strategy is not Strategy.KERNEL else SOURCES[:1]
    targets = TARGETS if strategy is not Strategy.KERNEL else (TARGETS[0], Endpoint("127.0.0.1", 9001))
    if strategy in (Strategy.KERNEL, Strategy.BIND, Strategy.REUSEADDR, Strategy.EXCLUSIVE):
        connections //= 2  # one source, or each port once for both targets
    made = listeners(*targets)
    plan = plan_of(
        connections=connections,
        sources=sources,
        targets=tuple(Target(endpoint, sink=False) for endpoint in targets),
        strategy=strategy,
        ports=FORTY,
        workers=3,
    )
    pairs = len(plan.pairs)

    async def body() -> None:
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.scheduled, line.started, line.established) == (connections,) * 3
            assert (line.failed, line.not_started, line.errors) == (0, 0, ())
            assert (
                crew.blocks.records["totals"]["counters"][:, :, POSITION["established"]].max(axis=1).tolist()
                == crew.sizes
            )
            by_pair = [pair.established for pair in line.pairs]
            assert by_pair == [connections // pairs + (pair < connections % pairs) for pair in range(pairs)]
            per_target = [sum(by_pair[: len(sources)]), sum(by_pair[len(sources) :])]
            found = seen_by(made, per_target)
            assert set(found.values()) == {1}
            reached = Tally((source, Endpoint(target, port)) for source, target, _, port in found)
            assert [reached[pair] for pair in plan.pairs] == by_pair

    run(body)


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_each_worker_keeps_to_its_slice(strategy: Strategy, run: Run, listeners: MakeListeners) -> None:
    """Three disjoint slices, the ports that the plan skips in none of them."""
    (listener,) = listeners(TARGETS[0])
    plan = plan_of(connections=36, strategy=strategy, ports=FORTY, skipped_ports=(40000, 40013, 40014, 40039))

    async def body(count: int, index: int) -> set[int]:
        async with Crew(replace(plan, workers=count)) as crew:
            members = await crew.muster()
            for member in members:
                if member.index != index:
                    member.link.send(do="drain", over_s=0.0)
            await crew.report("ready", "drained")
            members[index].link.send(do="start", at_ns=now_ns())
            assert await crew.fleet.wait(lambda: members[index].state == "opened", 20)
            return {port for _, _, port, _ in seen_by([listener], [crew.sizes[index]])}

    slices = [run(partial(body, 3, index)) for index in range(3)]
    assert set.union(*slices) == {*range(40000, 40040)} - {40000, 40013, 40014, 40039}
    assert [len(part) for part in slices] == [12, 12, 12]
    for index, part in enumerate(slices):
        assert all(port in slice_of(Shard(replace(plan, workers=3), index)) for port in part)


@pytest.mark.parametrize("close", [CloseMode.FIN, CloseMode.RST])
def test_a_drained_run_leaves_nothing_open(close: CloseMode, run: Run, listeners: MakeListeners) -> None:
    """Everything is closed by the workers themselves, and none of it is called lost."""
    (listener,) = listeners(TARGETS[0])

    async def body() -> None:
        async with Crew(plan_of(connections=40, ports=FORTY, workers=2, close=close)) as crew:
            await crew.muster()
            await crew.go()
            ends = accept_all(listener, 40)
            await crew.drain()
            line = crew.line()
            assert (line.open, line.lost, line.established) == (0, 0, 40)
            assert [pair.open for pair in line.pairs] == [0]
            for end in ends:
                end.close()
            until(lambda: sockstat.read(PROC_NET)["tcp_tw"] == (40 if close is CloseMode.FIN else 0))

    run(body)


def test_a_run_that_leaves_the_close_to_the_target_waits_for_it(run: Run, listeners: MakeListeners) -> None:
    """Drained is reported once the other side has closed every connection, and none is lost."""
    (listener,) = listeners(TARGETS[0])

    async def body() -> None:
        plan = plan_of(connections=40, ports=FORTY, workers=2, close=CloseMode.TARGET)
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            ends = accept_all(listener, 40)
            crew.fleet.tell("worker", do="drain", over_s=0.0)
            for end in ends:
                end.close()
            await crew.report("drained")
            line = crew.line()
            assert (line.open, line.lost, line.closed, line.errors) == (0, 0, 40, ())

    run(body)


@pytest.mark.parametrize("strategy", [Strategy.LATE_RANGE, Strategy.EXPLICIT])
def test_a_schedule_loses_no_port_that_was_made_ready_early(
    strategy: Strategy, run: Run, listeners: MakeListeners
) -> None:
    """Sockets are prepared before they are due, more than are due at a time: each port serves all the same."""
    listeners(TARGETS[0])
    stages = (Stage(400.0, 400.0, None),)

    async def body() -> None:
        plan = plan_of(connections=40, ports=FORTY, capacity_per_pair=40, stages=stages, strategy=strategy)
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.established, line.failed, line.not_started) == (40, 0, 0)
            await crew.drain()

    run(body)


@pytest.mark.lab(net__ipv4__tcp_tw_reuse="0")
@pytest.mark.parametrize("stages", [(), (Stage(1000.0, 1000.0, None),)], ids=["closed", "open"])
def test_churn_goes_through_every_port_once_and_then_asks_in_vain(
    stages: tuple[Stage, ...], run: Run, listeners: MakeListeners
) -> None:
    """Two workers, a fin each time: forty ports are forty connections until TIME-WAIT ends."""
    listeners(TARGETS[0])
    churn = Churn(duration_s=0.3, arrivals=300 if stages else None)

    async def body() -> None:
        plan = plan_of(connections=4, ports=FORTY, workers=2, close=CloseMode.FIN, stages=stages, churn=churn)
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.established, line.closed, line.open, line.lost) == (40, 40, 0, 0)
            assert line.failed > 0
            assert [error.errno for error in line.errors] == ["EADDRNOTAVAIL"]
            assert line.scheduled == line.started + line.not_started
            assert line.scheduled == 300 or not stages
            assert line.sustained_per_s == 0.0
            assert line.open_peak == 4 or (stages and 1 <= line.open_peak <= 4)
            await crew.drain()
            assert crew.line().closed == 40

    run(body)


@pytest.mark.lab(net__ipv4__tcp_tw_reuse="0")
@pytest.mark.parametrize("rest_s", [60.0, 0.0])
@pytest.mark.parametrize(("strategy", "workers"), [(Strategy.KERNEL, 1), (Strategy.LATE_RANGE, 2)])
def test_churn_has_its_cost_by_the_ports_that_rest(
    strategy: Strategy, workers: int, rest_s: float, run: Run, listeners: MakeListeners
) -> None:
    """Forty ports, each used once: every tenth of them has a cost, unless they are said not to rest."""
    listeners(TARGETS[0])
    plan = plan_of(
        connections=workers,
        strategy=strategy,
        ports=FORTY,
        capacity_per_pair=40,
        workers=workers,
        close=CloseMode.FIN,
        churn=Churn(duration_s=0.3),
        ceiling=Ceiling(per_s=None, established=None, because="", rest_s=rest_s),
    )

    async def body() -> None:
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert line.established == 40
            assert line.failed > 0
            assert len(line.cost_us) == (10 if rest_s else 0)
            assert all(cost > 0 for cost in line.cost_us)
            spent_us = 1e6 * line.cpu_s
            assert sum(4 * cost for cost in line.cost_us) < spent_us

    run(body)


def test_processor_time_is_complete_when_a_phase_ends(run: Run, listeners: MakeListeners) -> None:
    """Not only every tenth of a second: a short run has it, too, and the part outside system calls is of the same."""
    listeners(TARGETS[0])

    async def body() -> None:
        async with Crew(plan_of(connections=40, ports=FORTY)) as crew:
            await crew.muster()
            await crew.go()
            opened = consistent_counters(crew.blocks.records[0])
            marked_ns = crew.blocks.records[0]["marks_cpu_ns"][-1]
            await crew.drain()
            drained = consistent_counters(crew.blocks.records[0])
            cpu, user = POSITION["cpu_ns"], POSITION["user_cpu_ns"]
            assert marked_ns - 1000 <= opened[cpu] < drained[cpu]  # of getrusage(), to the microsecond
            assert all(0 <= counters[user] <= counters[cpu] for counters in (opened, drained))

    run(body)


@pytest.mark.lab(net__ipv4__tcp_tw_reuse="0")
def test_a_closed_loop_ends_when_its_time_is_up(run: Run, listeners: MakeListeners) -> None:
    """Also while everything waits for the other side, which does not close."""
    (listener,) = listeners(TARGETS[0])

    async def body() -> None:
        plan = plan_of(connections=3, ports=FORTY, close=CloseMode.TARGET, churn=Churn(duration_s=0.2))
        async with Crew(plan) as crew:
            await crew.muster()
            crew.begin()
            until(lambda: crew.line().open == 3)
            until(lambda: now_ns() > crew.start_ns + 300_000_000)
            ends = accept_all(listener, 3)
            for end in ends:
                end.close()
            await crew.report("opened")
            line = crew.line()
            assert (line.established, line.closed, line.lost) == (3, 3, 0)
            await crew.drain()

    run(body)


def test_connections_ended_by_the_target_are_lost(run: Run, listeners: MakeListeners) -> None:
    """Seen while they are held, by whichever worker has them, and told apart."""
    (listener,) = listeners(TARGETS[0])

    async def body() -> None:
        async with Crew(plan_of(connections=40, ports=FORTY, workers=2)) as crew:
            await crew.muster()
            await crew.go()
            ends = accept_all(listener, 40)
            for end in ends[:10]:
                end.close()
            for end in ends[10:15]:
                reset(end)
            async with asyncio.timeout(20):
                while crew.line().lost < 15:
                    await asyncio.sleep(0.01)
            line = crew.line()
            assert (line.established, line.open, line.lost) == (40, 25, 15)
            assert line.errors == (("recv", "EOF", "lost", 10), ("recv", "ECONNRESET", "lost", 5))
            for end in ends[15:]:
                end.close()

    run(body)


def test_what_the_plan_has_too_much_of_fails_and_is_counted(run: Run, listeners: MakeListeners) -> None:
    """50 connections over 40 ports: 40 are established, and 10 find no four-tuple."""
    listeners(TARGETS[0])

    async def body() -> None:
        async with Crew(plan_of(connections=50, ports=FORTY, workers=2)) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.established, line.failed, line.in_flight) == (40, 10, 0)
            assert line.errors == (("connect", "EADDRNOTAVAIL", "no-free-four-tuple", 10),)

    run(body)


# --- the schedule ---------------------------------------------------------------------------------


@pytest.mark.lab("40000 40499")
@pytest.mark.parametrize(
    "stages",
    [
        pytest.param((Stage(300.0, 300.0, None),), id="constant"),
        pytest.param((Stage(0.0, 600.0, 0.5), Stage(600.0, 0.0, 0.5)), id="up and down"),
    ],
)
def test_no_attempt_starts_before_it_is_due(stages: tuple[Stage, ...], run: Run) -> None:
    """Three workers follow one schedule: the n-th connection never comes before the n-th due time.

    That the last is established at all, and that each has a lateness of 0 or more, says that none was
    left out; how late they may be is a matter of the machine, and for the benchmarks.
    """
    count = 290
    due = due_ns(stages, count)

    async def body(listener: socket.socket) -> None:
        came: list[int] = []
        ends: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    ends.append(listener.accept()[0])
                except BlockingIOError:
                    return
                came.append(now_ns())

        loop = asyncio.get_running_loop()
        loop.add_reader(listener.fileno(), accept)
        try:
            plan = plan_of(connections=count, stages=stages, ports=PortRange(40000, 40499), workers=3)
            async with Crew(plan) as crew:
                await crew.muster()
                await crew.go()
                async with asyncio.timeout(20):
                    while len(came) < count:
                        await asyncio.sleep(0.01)
                line = crew.line()
                assert (line.established, line.not_started, line.errors) == (count, 0, ())
                assert all(np.array(came) >= due + crew.start_ns)
                latency = sum(consistent_breakdown(record)["latency"] for record in crew.blocks.records)
                assert [int(latency[row].sum()) for row in Latency][: Latency.NETWORK] == [count] * 3 + [0, 0, 0]
                # A tenth is read off the workers' marks, each a hundredth of a worker's own connections.
                tenths = (count * np.arange(1, 11) / 10).astype(int) - 1 - plan.workers
                assert len(line.tenths_s) == 10
                assert all(np.array(line.tenths_s) * 1e9 >= due[tenths] - 1000)
        finally:
            loop.remove_reader(listener.fileno())
            for end in ends:
                end.close()

    with listen(TARGETS[0]) as listener:
        run(lambda: body(listener))


def test_without_a_schedule_the_window_is_always_full(run: Run, listeners: MakeListeners) -> None:
    """As fast as answers come: those nobody answers make room when their time is up, and all get their turn."""
    listeners(TARGETS[0], backlog=0)

    async def body() -> None:
        plan = plan_of(connections=12, ports=FORTY, in_flight_max=4, timeout_s=0.2)
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert (line.started, line.not_started, line.in_flight) == (12, 0, 0)
            assert line.established >= 1
            assert line.errors == (("wait", "ETIMEDOUT", "timed-out", 12 - line.established),)

    run(body)


def test_arrivals_that_find_the_window_full_are_not_started(run: Run, listeners: MakeListeners) -> None:
    """The schedule is neither stretched nor silently thinned: each arrival is started or counted as not."""
    listeners(TARGETS[0], backlog=0)

    async def body() -> None:
        plan = plan_of(
            connections=40, ports=FORTY, in_flight_max=4, timeout_s=3.0, stages=(Stage(1000.0, 1000.0, None),)
        )
        async with Crew(plan) as crew:
            await crew.muster()
            await crew.go()
            line = crew.line()
            assert line.scheduled == 40 == line.started + line.not_started
            assert line.in_flight == 0
            assert 4 <= line.started < 12
            assert line.not_started > 28
            assert [error[:2] for error in line.errors] == [("wait", "ETIMEDOUT")]

    run(body)


def test_a_run_that_ends_early_counts_what_never_started(run: Run, listeners: MakeListeners) -> None:
    """Told to drain before anything was due: all of it is not started, and what was open is closed."""
    listeners(TARGETS[0])

    async def body() -> None:
        plan = plan_of(connections=40, ports=FORTY, workers=2, stages=(Stage(0.1, 0.1, None),))
        async with Crew(plan) as crew:
            await crew.muster()
            crew.begin()
            await crew.drain()
            line = crew.line()
            assert (line.started, line.not_started, line.open) == (0, 40, 0)

    run(body)


def test_attempts_under_way_at_the_end_stay_in_flight(run: Run, listeners: MakeListeners) -> None:
    """Nobody knows what would have become of them, and the sums say so."""
    listeners(TARGETS[0], backlog=0)

    async def body() -> None:
        async with Crew(plan_of(connections=10, ports=FORTY)) as crew:
            await crew.muster()
            crew.begin()
            async with asyncio.timeout(20):
                while crew.line().started < 10:
                    await asyncio.sleep(0.01)
            await crew.drain()
            line = crew.line()
            assert line.in_flight == 10 - line.established
            assert line.in_flight >= 8
            assert (line.failed, line.open) == (0, 0)

    run(body)


# --- a worker lost in the middle of it ---------------------------------------------------------------


@pytest.mark.lab("40000 40499")
def test_the_counts_of_a_killed_worker_are_kept(run: Run, listeners: MakeListeners) -> None:
    """In the middle of its ramp: what it had done stays counted, the rest is not started, the others go on."""
    listeners(TARGETS[0])

    async def body() -> None:
        plan = plan_of(connections=300, ports=PortRange(40000, 40499), workers=3, stages=(Stage(150.0, 150.0, None),))
        async with Crew(plan) as crew:
            members = await crew.muster()
            crew.begin()
            async with asyncio.timeout(20):
                while crew.blocks.records["totals"]["counters"][0, :, POSITION["established"]].max() < 20:
                    await asyncio.sleep(0.005)
            os.kill(members[0].pid, signal.SIGKILL)
            await crew.report("opened")
            assert await crew.fleet.wait(lambda: bool(crew.lost), 20)
            line = crew.line()
            assert line.scheduled == 300 == line.started + line.not_started
            assert 220 <= line.established < 300
            assert line.open == 200
            assert line.errors == ()

    run(body)


KILLED: Final[dict[str, dict[str, Any]]] = {
    "ramp": {"connections": 4000},
    "io_uring": {"connections": 4000, "engine": Engine.IO_URING},
    "churn": {"connections": 64, "churn": Churn(duration_s=20.0, exchanges=1)},
}


@pytest.mark.lab("10000 59999")
@pytest.mark.parametrize("kind", KILLED)
def test_killed_at_any_moment_a_worker_leaves_sums_that_hold(run: Run, listeners: MakeListeners, kind: str) -> None:
    """What it had not broken down by source and target is the difference, and said to be."""
    listeners(TARGETS[0], backlog=4096)
    moment = random.Random(kind)

    async def body() -> None:
        plan = plan_of(ports=PortRange(10000, 59999), workers=2, **KILLED[kind])
        async with Crew(plan, descriptors=20_000) as crew:
            members = await crew.muster()
            crew.begin()
            async with asyncio.timeout(20):
                while crew.line().established < moment.randint(100, 1500):
                    await asyncio.sleep(0)
            os.kill(members[0].pid, signal.SIGKILL)
            assert await crew.fleet.wait(lambda: bool(crew.lost), 20)
            line = crew.line()
            rest = NotAttributed(established=0, failed=0) if line.not_attributed is UNSET else line.not_attributed
            assert line.established == sum(pair.established for pair in line.pairs) + rest.established
            assert line.established == sum(line.latency_ns.of("connect").values()) + rest.established
            assert line.failed == sum(pair.failed for pair in line.pairs) + rest.failed
            assert line.failed + line.lost == sum(error.times for error in line.errors)

    run(body)
