"""Processes of a plan: enough workers and sinks that none runs out of descriptors, and the cores are used."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Final

from loadgen import format as fmt
from loadgen.arrivals import largest_shard
from loadgen.capacity.resources import Shortage
from loadgen.kernel.host import HostFacts
from loadgen.model import DIRECT_DESCRIPTORS_MAX, Endpoint, Engine, Strategy, Target, Transport
from loadgen.scenario import ScenarioSpec

#: Descriptors that a worker or sink needs for itself: epoll objects, event loop, link, blocks, standard streams.
RESERVED_DESCRIPTORS: Final = 64
#: Below this many connections one worker is as fast as two, and starts sooner.
_SMALL: Final = 2_000
#: SO_REUSEPORT spreads by hash, so a sink's share is binomial; each sink has room for this many standard deviations.
_SINK_DEVIATIONS: Final = 6.0

Pair = tuple[str, Endpoint]


def descriptors_per_worker(engine: Engine, limit: int) -> int:
    """Return the connections that one worker can have with a limit of open files.

    By io_uring: a table of direct descriptors is as large as the limit at most and takes one descriptor itself; the
    connector leaves half of the limit for everything else.
    """
    own = limit - RESERVED_DESCRIPTORS
    return own if engine is Engine.EPOLL else min(own, DIRECT_DESCRIPTORS_MAX) * (own // 2)


def workers_needed(connections: int, spaces: int, descriptors: int) -> int:
    """Return the least number of workers of which none runs out of descriptors; `descriptors` is above 0."""
    # By bisection and of the largest shard only: a plan that is read back may say any number of connections.
    least, enough = max(1, -(-connections // descriptors)), max(1, connections)
    fits = partial(_fits, connections, spaces, descriptors)
    return least + bisect_left(range(least, enough), True, key=fits)


def _fits(connections: int, spaces: int, descriptors: int, workers: int) -> bool:
    return largest_shard(connections, spaces, workers) <= descriptors


def workers_of(
    scenario: ScenarioSpec, strategy: Strategy, spaces: int, usable: int, descriptors: int, facts: HostFacts
) -> tuple[int, dict[str, Shortage]]:
    """Return the number of workers: enough descriptors for all connections, and one per core for larger loads.

    Returns: the number, and its shortages by name: "workers" (their descriptors), "ports".
    """
    connections, short = scenario.most_open, dict[str, Shortage]()
    if descriptors < 1:  # told as "descriptors of one process", and there is nothing to divide by
        return scenario.workers or 1, short
    least = workers_needed(connections, spaces, descriptors)
    if scenario.workers and scenario.workers < least:
        short["workers"] = Shortage(
            f"descriptors of {fmt.many(scenario.workers, 'worker')}",
            needed=connections,
            available=scenario.workers * descriptors,
            excusable=True,
        )
    least = scenario.workers or least
    if strategy.row.slices_ports and least > usable:
        short["ports"] = Shortage("source ports, one per worker at least", least, usable)
    if scenario.workers:
        return scenario.workers, short
    if scenario.churn:  # each connection costs the other side as much as us, so half of the cores are its
        wanted = max(least, min(facts.cpus // 2, connections))
    else:
        wanted = least if connections < _SMALL else max(least, facts.cpus)
    return max(min(wanted, usable) if strategy.row.slices_ports else wanted, 1), short


def sinks_of(
    scenario: ScenarioSpec, targets: Sequence[Target], accepted: int, descriptors: int
) -> tuple[int, dict[str, Shortage]]:
    """Return the number of sinks: enough that even the one with most connections does not run out of descriptors.

    accepted: connections to all of them at a time. descriptors: of one process, without `RESERVED_DESCRIPTORS`.
    Returns: the number, and its shortages by name: "sink" (descriptors of one sink), "sinks" (of all).
    """
    listeners = sum(target.sink for target in targets)
    if not listeners:
        return 0, {}
    if descriptors - listeners < 1:
        shortage = Shortage(
            "descriptors of one sink",
            needed=RESERVED_DESCRIPTORS + listeners + 1,
            available=RESERVED_DESCRIPTORS + descriptors,
        )
        return scenario.sinks or 1, {"sink": shortage}
    descriptors -= listeners
    held = 0 if scenario.transport is Transport.UDP else accepted
    least = sinks_needed(held, descriptors)
    if scenario.sinks and scenario.sinks < least:
        shortage = Shortage(
            f"descriptors of {fmt.many(scenario.sinks, 'sink')}",
            needed=math.ceil(unlucky(held, scenario.sinks)) * scenario.sinks,
            available=scenario.sinks * descriptors,
        )
        return scenario.sinks, {"sinks": shortage}
    return scenario.sinks or least, {}


def sinks_needed(held: int, descriptors: int) -> int:
    """Return the least number of sinks of which none runs out of descriptors; `descriptors` is above 0."""
    least = 1
    while unlucky(held, least) > descriptors:
        least += 1
    return least


def held_by_sinks(connections: int, share: Fraction, transport: Transport) -> int:
    """Return the descriptors that these connections take in loadgen's sinks; over UDP one socket serves all clients."""
    return 0 if transport is Transport.UDP else math.ceil(connections * share)


def unlucky(held: int, sinks: int) -> float:
    """Return the connections to expect at the fullest sink when a hash distributes them."""
    return held / sinks + (_SINK_DEVIATIONS * math.sqrt(held / sinks) if sinks > 1 else 0)


def sinks_for_cores(scenario: ScenarioSpec, least: int, accepted: int, facts: HostFacts) -> int:
    """Return the number of sinks, raised above `least` where cores would be idle; 0 where none listens."""
    if not least or scenario.sinks:
        return least
    if scenario.churn:
        return max(least, facts.cpus // 2, 1)
    return least if accepted < _SMALL else max(least, facts.cpus)


def weights_of(pairs: Sequence[Pair], targets: Sequence[Target]) -> list[int]:
    """Return the weight of each pair, which is that of its target."""
    weight_of = {target.endpoint: target.weight for target in targets}
    return [weight_of[endpoint] for _, endpoint in pairs]


def share_of_sinks(pairs: Sequence[Pair], targets: Sequence[Target]) -> Fraction:
    """Return the share of all connections that goes to loadgen's own sinks; 0 without any pair."""
    sinks = {target.endpoint for target in targets if target.sink}
    weights = weights_of(pairs, targets)
    ours = sum(weight for (_, endpoint), weight in zip(pairs, weights, strict=True) if endpoint in sinks)
    return Fraction(ours, sum(weights)) if weights else Fraction()


def first_filled(connections: int, pairs: Sequence[Pair], targets: Sequence[Target], usable: int) -> list[str]:
    """Return a note where weights ask more of a pair than it has ports; no error, because the others take over."""
    weights = weights_of(pairs, targets)
    heaviest = max(weights)
    share = Fraction(connections * heaviest, sum(weights))
    if min(weights) == heaviest or share <= usable:
        return []
    source, target = pairs[weights.index(heaviest)]
    note = (
        f"the pair {source} to {target} (weight {heaviest}) fills first: its share is {math.ceil(share):,} connections "
        f"and its ports are {usable:,}; the other pairs take what is beyond them"
    )
    return [note]
