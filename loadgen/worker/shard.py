"""Everything a worker computes from its shard: number of attempts, due times, their order, source ports.

Pure arithmetic on `(plan, index)`, so every process gets the same answer without a message. The orchestrator uses
it too, without the data plane.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadgen import arrivals
from loadgen.model import Plan, PortRange, Shard


def sizes_of(plan: Plan) -> list[int]:
    """Return the number of attempts each worker has scheduled; 0 in a closed loop, which has no schedule.

    Evenly over the pairs; but where a port serves one target only and a worker has a slice of them,
    evenly over the sources, because the slice has to do for all targets of a source together. With weights
    every worker has an equal part of the whole, and divides it by them.
    """
    if plan.scheduled is None or not plan.workers:
        return [0] * plan.workers
    if plan.weighted:
        return [arrivals.part(plan.scheduled, index, plan.workers) for index in range(plan.workers)]
    return arrivals.shard_sizes(plan.scheduled, plan.sharded_spaces, plan.workers)


def schedule_of(shard: Shard) -> NDArray[np.int64]:
    """Return the due times of this shard's attempts, in ns after the start: zeros where nothing is scheduled.

    Returns: int64 (attempts of this shard,), non-decreasing.
    """
    plan = shard.plan
    sizes = sizes_of(plan)
    if not plan.stages:  # in a closed loop there are none
        return np.zeros(sizes[shard.index], dtype=np.int64)
    own = arrivals.shard_arrivals(sizes, shard.index)
    return arrivals.due_ns_of(plan.stages, own, carry=plan.arrival_carry)


def slice_of(shard: Shard) -> PortRange:
    """Return the source ports of this shard alone; all ports where the kernel chooses."""
    plan = shard.plan
    if not plan.strategy.row.slices_ports:
        return plan.ports
    return arrivals.port_slices(plan.ports, plan.workers, frozenset(plan.skipped_ports))[shard.index]


def may_self_connect(shard: Shard) -> list[bool]:
    """Return for each pair whether a connection's source could be its own target."""
    ports = slice_of(shard)
    return [source == target.address and target.port in ports for source, target in shard.plan.pairs]


def order_of(shard: Shard) -> Iterator[int] | None:
    """Return the pairs of this shard's attempts where they have different weights; None: round robin."""
    if not shard.plan.weighted:
        return None
    turns = arrivals.Turns(shard.plan.weights)
    return turns.following(arrivals.first_turn(sizes_of(shard.plan), turns, shard.index))
