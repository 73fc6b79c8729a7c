"""A worker's part of a plan: all parts together are the plan, and nobody's part overlaps another's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from loadgen import arrivals
from loadgen.arrivals import due_ns, interleaved, shard_sizes
from loadgen.errors import CapacityError
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Shard, Stage, Strategy, Target
from loadgen.worker.shard import may_self_connect, order_of, schedule_of, sizes_of, slice_of
from tests.plans import plan_of

PLAN = plan_of(
    connections=100,
    sources=("127.0.0.2", "127.0.0.3", "::1"),
    targets=(Target(Endpoint("127.0.0.2", 40_005), sink=False), Target(Endpoint("::1", 9000), sink=False)),
    ports=PortRange(40_000, 40_009),
    capacity_per_pair=10,
    close=CloseMode.FIN,
    workers=2,
)
STAGES = (Stage(0.0, 50.0, 1.0), Stage(50.0, 50.0, None))


def shards(plan: Plan) -> list[Shard]:
    return [Shard(plan, index) for index in range(plan.workers)]


@settings(max_examples=25)
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


@settings(max_examples=25)
@given(st.integers(0, 500), st.integers(1, 5), st.integers(1, 7))
def test_the_workers_of_all_hosts_together_have_the_schedule(connections: int, workers: int, hosts: int) -> None:
    due = []
    for host in range(hosts):
        stages, carry = interleaved(STAGES, before=host, weight=1, total=hosts)
        size = arrivals.part(connections, host, hosts)
        plan = replace(PLAN, connections=size, workers=workers, stages=stages, arrival_carry=carry)
        due += [schedule_of(shard) for shard in shards(plan)]
    assert np.allclose(np.sort(np.concatenate(due)), due_ns(STAGES, connections), rtol=1e-12, atol=50)


@settings(max_examples=30)
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


@settings(max_examples=30)
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


WEIGHTED = replace(
    PLAN,
    targets=(
        Target(Endpoint("127.0.0.1", 9000), sink=False, weight=3),
        Target(Endpoint("127.0.0.1", 9001), sink=False),
        Target(Endpoint("::1", 9000), sink=False, weight=2),
    ),
)


def test_without_different_weights_there_is_no_other_order() -> None:
    assert PLAN.weights == (1, 1, 1)
    assert order_of(Shard(PLAN, 0)) is None
    alike = tuple(structs.replace(target, weight=7) for target in PLAN.targets)
    assert order_of(Shard(replace(PLAN, targets=alike), 0)) is None


def test_every_pair_has_the_weight_of_its_target() -> None:
    assert WEIGHTED.weights == (3, 3, 1, 1, 2)


@given(st.integers(0, 300), st.integers(1, 9))
def test_all_workers_together_keep_to_the_weights(connections: int, workers: int) -> None:
    plan = replace(WEIGHTED, connections=connections, workers=workers)
    sizes = sizes_of(plan)
    assert sum(sizes) == connections
    assert max(sizes) - min(sizes) <= 1
    taken: Counter[int] = Counter()
    for shard in shards(plan):
        order = order_of(shard)
        assert order is not None
        taken.update(islice(order, sizes[shard.index]))
    for pair, weight in enumerate(plan.weights):
        assert abs(taken[pair] - connections * weight / 10) <= 2
