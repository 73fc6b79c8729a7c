"""Open-loop arrival schedules and their division into shards: pure arithmetic, no clock, no sockets.

The schedule gives the due time of each attempt, independent of the target and of the generator's progress, so it can
be plotted and tested before anything is opened. Times are nanoseconds since the start of the run.

Sharding needs no coordinator: a worker computes from the plan and its own index which pairs of (source, target) it
serves, which arrivals of the schedule are its own, and which source ports no other worker uses. Attempts have two
numbers, both from 0: the global number is the place in the whole schedule, the local number counts the attempts of
one worker.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S
from loadgen.errors import CapacityError, ScenarioError
from loadgen.model import PortRange, Stage

#: An attempt that misses the end of a stage by less than a millionth of an arrival is due at that end. Without this
#: tolerance 100 attempts at 100/3 per second for 3 s would be 99, by rounding alone.
_SLACK = 1e-6


def due_ns(stages: Sequence[Stage], count: int) -> NDArray[np.int64]:
    """Return the due times of a whole schedule: attempt n is due when the area under the rate reaches n = 1..count.

    So at a constant rate of 10/s the first attempt is due after 0.1 s, and an arrival half finished
    at the end of one stage is finished in the next.

    Returns: int64 (count,), non-decreasing, nanoseconds since the start, rounded to the nearest.
    Raises: ScenarioError if the stages end before the last attempt is due, if a rate or duration is
        negative or not finite, or if a stage without an end is not the last or not of constant rate.
    """
    return due_ns_of(stages, np.arange(count, dtype=np.int64))


def due_ns_of(stages: Sequence[Stage], arrivals: NDArray[np.int64], *, carry: float = 0.0) -> NDArray[np.int64]:
    """Return the due times of some attempts: `due_ns(stages, ...)[arrivals]` without computing the others.

    arrivals: global numbers from 0, increasing, as `shard_arrivals` returns them. carry: area, in attempts, that is
    there at the start, 0 <= carry < 1; see `interleaved`.
    Returns: int64, the shape of `arrivals`, non-decreasing, nanoseconds since the start.
    Raises: ScenarioError, see `due_ns`, with the highest of `arrivals` as the last attempt; ValueError for such a carry
        as cannot be.
    """
    _check(stages)
    _check_carry(carry)
    due = np.empty(arrivals.size, dtype=np.int64)
    count = int(arrivals[-1]) + 1 if arrivals.size else 0
    passed = 0  # attempts due in earlier stages; `carry` is the area left over from these, less than one attempt
    start_ns = 0
    for stage in stages:
        mean_per_s = stage.rate_start_per_s / 2 + stage.rate_end_per_s / 2
        area = 0.0 if mean_per_s == 0 else mean_per_s * _seconds(stage)
        # A stage of rate 0 has no arrivals, not even one that the tolerance would put at its end.
        here = int(min(carry + area + _SLACK, count - passed)) if area else 0
        first, last = np.searchsorted(arrivals, (passed, passed + here))
        if first < last:
            reached = (arrivals[first:last] - passed).astype(np.float64) + (1 - carry)
            due[first:last] = start_ns + _since_stage_start_ns(stage, reached)
        passed += here
        if passed == count:
            break
        carry += area - here
        start_ns += round(_seconds(stage) * NS_PER_S)
    if passed < count:
        raise ScenarioError(
            f"the stages end with {passed:,} of {count:,} connections due; "
            "make the last stage longer, or leave out its duration"
        )
    # Non-decreasing by construction except for the last bit of a float, which matters only for attempts less than a
    # nanosecond apart.
    return np.maximum.accumulate(due)


def due_within(stages: Sequence[Stage], duration_s: float, *, carry: float = 0.0) -> int:
    """Return the number of attempts due in the first `duration_s` seconds of a schedule. carry: see `due_ns_of`.

    Raises: ScenarioError, see `due_ns`, for invalid stages; ValueError for a carry that cannot be.
    """
    _check_carry(carry)
    area = area_within(stages, duration_s)
    return int(carry + area + _SLACK) if area else 0  # no time at all completes no attempt, however little it lacks


def area_within(stages: Sequence[Stage], duration_s: float) -> float:
    """Return the area under the rate in the first `duration_s` seconds, in attempts, those not complete included.

    Raises: ScenarioError, see `due_ns`, for invalid stages.
    """
    _check(stages)
    area, left_s = 0.0, duration_s
    for stage in stages:
        length_s = min(_seconds(stage), left_s)
        share = 0.0 if stage.duration_s is None or not stage.duration_s else length_s / stage.duration_s
        rate_end_per_s = stage.rate_start_per_s + (stage.rate_end_per_s - stage.rate_start_per_s) * share
        area += length_s * (stage.rate_start_per_s + rate_end_per_s) / 2
        left_s -= length_s
    return area


def interleaved(stages: Sequence[Stage], *, before: int, weight: int, total: int) -> tuple[tuple[Stage, ...], float]:
    """Return the part of a schedule that one of several hosts takes: its stages, and the carry it begins with.

    before, weight, total: sums of weights: of the hosts before it, of itself, of all. Its rates are weight/total of the
    whole at every moment, so its arrivals are evenly spaced. Of n hosts of equal weight, host k (from 0) takes arrivals
    k, k + n, k + 2n, ... of the whole, each when it is due there.

    Source: its attempt j is due when carry + area * weight/total reaches j + 1, where `area` is that of the whole. With
    carry = 1 - (before + weight)/total that is at area = (before + weight)/weight + j * total/weight, which for equal
    weights is k + 1 + j*n: where the whole has its attempt k + j*n.
    Raises: ValueError unless weight is 1 or more and the weights fit into the total.
    """
    if before < 0 or weight < 1 or before + weight > total:
        raise ValueError(f"a weight of {weight} after {before} is no part of {total}")
    share = weight / total
    scaled = (Stage(each.rate_start_per_s * share, each.rate_end_per_s * share, each.duration_s) for each in stages)
    return tuple(scaled), (total - before - weight) / total


def _since_stage_start_ns(stage: Stage, area: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the time from the start of a stage until the area under its rate reaches each of `area` (> 0).

    From r0*t + (r1-r0)/(2*d)*t**2 = a follows, with x = a / (d*(r0+r1)/2) as the share of the whole
    area, t = d * x*(r0+r1) / (r0 + sqrt((1-x)*r0**2 + x*r1**2)). This form of the quadratic's root
    (Numerical Recipes 5.6) never subtracts two close numbers: it is accurate for a slope of 0, for any
    slope near it, and for a rate that starts or ends at 0.
    """
    if stage.duration_s is None:
        seconds = area / stage.rate_start_per_s
        if seconds[-1] >= _SECONDS_MAX:
            raise ScenarioError(f"at {stage.rate_start_per_s:g}/s the last connection would be due in centuries")
        since: NDArray[np.int64] = np.rint(seconds * NS_PER_S).astype(np.int64)
        return since
    # Only the ratio of the rates matters for the shape; scaled to 0..1 their squares cannot overflow.
    top = max(stage.rate_start_per_s, stage.rate_end_per_s)
    r0, r1 = stage.rate_start_per_s / top, stage.rate_end_per_s / top
    x = np.minimum(area / top / (stage.duration_s * (r0 + r1) / 2), 1.0)  # above 1 only by the tolerance
    root = np.sqrt((1 - x) * r0**2 + x * r1**2)
    length_ns = stage.duration_s * NS_PER_S
    since = np.rint(length_ns * (x * (r0 + r1) / (r0 + root))).astype(np.int64)
    return np.minimum(since, round(length_ns))


#: Maximum duration of all stages together, so that nanoseconds fit into an int64: 146 years.
_SECONDS_MAX = 2**62 / NS_PER_S


def _seconds(stage: Stage) -> float:
    return math.inf if stage.duration_s is None else stage.duration_s


def _check_carry(carry: float) -> None:
    if not 0 <= carry < 1:
        raise ValueError(f"a schedule cannot begin with {carry} of an attempt")


def _check(stages: Sequence[Stage]) -> None:
    total_s = 0.0
    for number, stage in enumerate(stages, 1):
        for rate in (stage.rate_start_per_s, stage.rate_end_per_s):
            if not 0 <= rate < math.inf:
                raise ScenarioError(f"stage {number} has a rate of {rate}/s; it must be finite and not below 0")
        if stage.duration_s is not None:
            total_s += stage.duration_s
            if not (stage.duration_s >= 0 and total_s < _SECONDS_MAX):
                raise ScenarioError(f"stage {number} cannot last {stage.duration_s} s")
        elif number < len(stages):
            raise ScenarioError(f"stage {number} has no duration, so stage {number + 1} would never start")
        elif stage.rate_start_per_s != stage.rate_end_per_s:
            raise ScenarioError(f"stage {number} has no duration, so its rate cannot change while it lasts")
        elif stage.rate_start_per_s == 0:
            raise ScenarioError(f"stage {number} has no duration and a rate of 0, so it would never end")


def shard_sizes(connections: int, pairs: int, workers: int) -> list[int]:
    """Return the number of attempts of each worker.

    If every pair has at least one connection per worker, each pair's connections are spread over the workers, the
    first workers getting one more: a worker's share of any pair is then at most its share of the ports (see
    `port_slices`), even if the range is full to the last port. With fewer connections the workers get equal parts of
    the whole, and no worker serves a pair twice.

    Returns: `workers` sizes with the sum `connections`.
    Raises: ValueError unless there is at least one pair and one worker, and no negative number.
    """
    return [_shard_size(connections, pairs, workers, index) for index in range(max(workers, 1))]


def largest_shard(connections: int, pairs: int, workers: int) -> int:
    """Return the largest of `shard_sizes`, the first; it never grows with the number of workers. Raises: ValueError."""
    return _shard_size(connections, pairs, workers, 0)


def _shard_size(connections: int, pairs: int, workers: int, index: int) -> int:
    if connections < 0 or pairs < 1 or workers < 1:
        raise ValueError(f"cannot spread {connections} connections over {pairs} pairs, {workers} workers")
    if connections < pairs * workers:
        return part(connections, index, workers)
    each, extra = divmod(connections, pairs)
    return extra * part(each + 1, index, workers) + (pairs - extra) * part(each, index, workers)


def part(whole: int, index: int, parts: int) -> int:
    """Return the size of one part if the first `whole % parts` parts are one larger than the others."""
    return whole // parts + (index < whole % parts)


def first_pair(sizes: Sequence[int], spaces: int, pairs: int, index: int) -> int:
    """Return the pair of a worker's first attempt; further attempts follow round robin.

    spaces: the `spaces` argument for which `sizes` were computed: the number of pairs, or of sources (the first
    `spaces` pairs then have one source each, and so on).

    This alone gives each pair exactly its number of connections. With many per pair every worker begins at pair 0, and
    its last, incomplete round stops just before the pairs that have one connection less; if sources were divided, each
    worker begins at another target, so that the incomplete rounds add up to whole ones. With few connections per pair
    each worker begins where the previous one ended.
    """
    if sum(sizes) < spaces * len(sizes):
        return sum(sizes[:index]) % pairs
    return index * spaces % pairs


class Turns:
    """The pair of each attempt for weighted pairs: a smooth weighted round robin, in closed form.

    weights: of each pair, 1 or more. Pairs of equal weight take turns, so that in any sequence of turns none of them
    gets more than one turn more than another; with a single weight this is the plain round robin. Different weights
    share the turns by repeated halving: of the first t turns, the lower half of the weights gets its share of t,
    rounded to whole turns, and so on within each half. After any number of turns a pair is less than 1.5 turns from
    its share with two different weights, and half a turn more for each doubling of the number of weights.

    There is no state from turn to turn, so a worker can begin anywhere at no cost.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        classes: dict[int, list[int]] = {}
        for pair, weight in enumerate(weights):
            classes.setdefault(weight, []).append(pair)
        self._classes = [classes[weight] for weight in sorted(classes)]
        totals = [weight * len(classes[weight]) for weight in sorted(classes)]
        shared = math.gcd(*totals)
        self._sums = [0, *accumulate(total // shared for total in totals)]

    @property
    def period(self) -> int:
        """Number of turns after which every weight has had exactly its share."""
        return self._sums[-1]

    def pair(self, turn: int) -> int:
        """Return the pair of a turn, counted from 0."""
        low, high, sums = 0, len(self._classes), self._sums
        while high - low > 1:
            middle = (low + high) // 2
            part, whole = sums[middle] - sums[low], sums[high] - sums[low]
            before = (2 * turn * part + whole) // (2 * whole)
            if (2 * (turn + 1) * part + whole) // (2 * whole) > before:
                turn, high = before, middle
            else:
                turn, low = turn - before, middle
        pairs = self._classes[low]
        return pairs[turn % len(pairs)]

    def following(self, turn: int) -> Iterator[int]:
        """Yield the pairs from that turn on, without end."""
        return map(self.pair, itertools.count(turn))


def first_turn(sizes: Sequence[int], turns: Turns, index: int) -> int:
    """Return the turn of a worker's first attempt: each worker continues where the previous one ends.

    So the turns of all workers together are consecutive. In a closed loop (sizes of 0) the end is unknown, and the
    workers begin at equal distances within the period.
    """
    return sum(sizes[:index]) or index * turns.period // len(sizes)


def shard_arrivals(sizes: Sequence[int], index: int) -> NDArray[np.int64]:
    """Return the global numbers of the attempts of worker `index`: its part of the schedule.

    Attempts are dealt like cards: the first of every worker, the second of every worker, and so on, skipping workers
    that have none left. So the workers share the rate evenly at every moment. Memory grows with the worker's own size;
    time with its size times the number of workers.

    Returns: int64 (sizes[index],), increasing, from 0; all workers' together are 0..sum(sizes)-1.
    """
    local = np.arange(sizes[index], dtype=np.int64)
    arrivals = local.copy()
    for worker, size in enumerate(sizes):
        if worker != index:
            # Attempts dealt to that worker before: its rounds so far, and the current one if its turn was earlier.
            arrivals += np.minimum(local + 1 if worker < index else local, size)
    return arrivals


def port_slices(ports: PortRange, workers: int, skipped: Container[int] = ()) -> list[PortRange]:
    """Return the ports of each worker: contiguous and disjoint, with equal numbers of usable ports.

    skipped: ports of the range that cannot be used (reserved, or held by a listener); a slice may contain them, but
    they do not count. The first slices have one usable port more, like the parts in `shard_sizes`: a pair with no more
    connections than there are usable ports gives no worker more than its slice holds.

    Raises: CapacityError if there are fewer usable ports than workers.
    """
    usable = [port for port in range(ports.low, ports.high + 1) if port not in skipped]
    if len(usable) < workers:
        raise CapacityError(
            "source ports, one per worker at least",
            needed=workers,
            available=len(usable),
            remedy=f"use at most {len(usable)} workers or a wider range than {ports}",
        )
    slices = []
    begin = 0
    for index in range(workers):
        end = begin + part(len(usable), index, workers)
        slices.append(PortRange(usable[begin], usable[end - 1]))
        begin = end
    return slices
