"""A worker's part of a plan: all parts together are the plan, and nobody's part overlaps another's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.arrivals import due_ns, shard_sizes
from loadgen.errors import CapacityError
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Shard, Stage, Strategy, Target
from loadgen.worker import may_self_connect, schedule_of, slice_of

PLAN = Plan(
    name="parts",
    connections=100,
    sources=("127.0.0.2", "127.0.0.3", "::1"),
    targets=(Target(Endpoint("127.0.0.2", 40_005), sink=False), Target(Endpoint("::1", 9000), sink=False)),
    strategy=Strategy.LATE_RANGE,
    ports=PortRange(40_000, 40_009),
    skipped_ports=(),
    capacity_per_pair=10,
    stages=(),
    hold_s=0.0,
    close=CloseMode.FIN,
    timeout_s=10.0,
    in_flight_max=256,
    interval_s=0.5,
    workers=2,
    sinks=0,
)
STAGES = (Stage(0.0, 50.0, 1.0), Stage(50.0, 50.0, None))


def shards(plan: Plan) -> list[Shard]:
    return [Shard(plan, index) for index in range(plan.workers)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.integers(1, 12), st.booleans())
def test_all_schedules_together_are_the_schedule(connections: int, workers: int, staged: bool) -> None:
    plan = replace(PLAN, connections=connections, workers=workers, stages=STAGES if staged else ())
    parts = [schedule_of(shard) for shard in shards(plan)]
    assert [len(part) for part in parts] == shard_sizes(connections, len(plan.pairs), workers)
    whole = np.sort(np.concatenate(parts))
    expected = due_ns(STAGES, connections) if staged else np.zeros(connections, dtype=np.int64)
    assert np.array_equal(whole, expected)
    for part in parts:
        assert part.dtype == np.int64
        assert np.all(np.diff(part) >= 0)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 60),
    st.integers(1, 12),
    st.sets(st.integers(40_000, 40_060), max_size=20),
    st.sampled_from([Strategy.LATE_RANGE, Strategy.EXPLICIT]),
)
def test_all_slices_together_are_the_ports_and_none_is_in_two(
    size: int, workers: int, skipped: set[int], strategy: Strategy
) -> None:
    ports = PortRange(40_000, 39_999 + size)
    usable = [port for port in range(ports.low, ports.high + 1) if port not in skipped]
    plan = replace(PLAN, ports=ports, skipped_ports=tuple(sorted(skipped)), workers=workers, strategy=strategy)
    if len(usable) < workers:
        with pytest.raises(CapacityError):
            slice_of(Shard(plan, 0))
        return
    slices = [slice_of(shard) for shard in shards(plan)]
    found = [port for part in slices for port in range(part.low, part.high + 1) if port not in skipped]
    assert found == usable


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 1000))
def test_a_worker_has_ports_enough_for_its_part_of_any_pair(size: int, workers: int, share: int) -> None:
    """Up to a range that is full to the last port."""
    workers = min(workers, size)
    pairs = len(PLAN.pairs)
    connections = share % (size * pairs + 1)
    plan = replace(PLAN, ports=PortRange(40_000, 39_999 + size), connections=connections, workers=workers)
    for index, attempts in enumerate(shard_sizes(connections, pairs, workers)):
        assert -(-attempts // pairs) <= len(slice_of(Shard(plan, index)))


@pytest.mark.parametrize("strategy", [Strategy.KERNEL, Strategy.LATE])
def test_the_kernels_own_choice_knows_no_slices(strategy: Strategy) -> None:
    plan = replace(PLAN, strategy=strategy)
    assert [slice_of(shard) for shard in shards(plan)] == [PLAN.ports, PLAN.ports]


def test_a_connection_can_meet_itself_where_source_and_target_are_one() -> None:
    """Pairs go target by target. Only the second worker's slice has port 40005; 9000 is in nobody's."""
    assert [may_self_connect(shard) for shard in shards(PLAN)] == [[False, False, False], [True, False, False]]
    late = replace(PLAN, strategy=Strategy.LATE)
    assert [may_self_connect(shard) for shard in shards(late)] == [[True, False, False]] * 2
