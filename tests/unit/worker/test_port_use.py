"""CPU time by ports in use: the cost of a connection stands under the occupancy at which it was made, nowhere else."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadgen.model import Ceiling, Churn, CloseMode, Plan, Strategy
from loadgen.results.block import TENTHS, block_dtype
from loadgen.results.schema.counters import POSITION
from loadgen.worker.port_use import PortUse, port_use_of
from tests.plans import plan_of

S = 1_000_000_000
CHEAP_US, DEAR_US = 10, 400
PORTS = 2000


def simulated(gaps_us: list[int], rest_ms: int) -> tuple[NDArray[np.int64], float]:
    """Connections, each closed at once, that cost CHEAP_US up to half of the ports and DEAR_US past it.

    gaps_us: between two connections, for each five hundredth of them; where no port is left the next one waits for it.
    Returns: what PortUse wrote, and the highest share of the ports that was in use.
    """
    spent = np.zeros((TENTHS, 2), dtype=np.int64)
    use = PortUse(PORTS, rest_ms * 1_000_000, spent)
    made_us: list[int] = []
    now_us, cpu_us, fullest = 10**9, 0, 0.0
    for gap_us in gaps_us:
        for _ in range(PORTS // 4):
            now_us += gap_us
            if len(made_us) >= PORTS:
                now_us = max(now_us, made_us[-PORTS] + rest_ms * 1000)
            in_use = len(made_us) - bisect_right(made_us, now_us - rest_ms * 1000)
            fullest = max(fullest, in_use / PORTS)
            cpu_us += DEAR_US if 2 * in_use >= PORTS else CHEAP_US
            made_us.append(now_us)
            if len(made_us) % use.step == 0:
                made = len(made_us)
                use.note(now_us * 1000, cpu_us * 1000, established=made, open_now=1, closed=made - 1, denials=0)
    return spent, fullest


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([1, 20, 200, 1500]), min_size=2, max_size=16), st.sampled_from([1, 50, 1000, 60_000]))
def test_the_cost_stands_under_the_occupancy_it_was_paid_at(gaps_us: list[int], rest_ms: int) -> None:
    spent, fullest = simulated(gaps_us, rest_ms)
    for tenth, (cpu_ns, connections) in enumerate(spent.tolist()):
        if not connections:
            continue
        assert tenth / TENTHS <= fullest + 0.01
        cost_us = cpu_ns / connections / 1000
        if tenth <= 3:
            assert cost_us == CHEAP_US
        elif tenth >= 6:
            assert cost_us == DEAR_US
        else:
            assert CHEAP_US <= cost_us <= DEAR_US
    # A tenth that was passed through at once in the first pass is known.
    assert all(spent[: int(fullest * TENTHS), 1] > 0)


def test_the_time_without_a_port_is_no_cost_of_a_connection() -> None:
    spent = np.zeros((TENTHS, 2), dtype=np.int64)
    use = PortUse(100, 60 * S, spent)
    for made in range(1, 101):
        use.note(made * 1000, made * 1000, established=made, open_now=0, closed=made, denials=0)
    first_pass = spent.copy()
    assert first_pass.tolist() == [[9000, 9]] + [[10_000, 10]] * 9
    use.note(61 * S, 3 * S, established=101, open_now=0, closed=101, denials=40)
    assert np.array_equal(spent, first_pass)


def test_ports_that_are_back_too_soon_make_the_account_void() -> None:
    """130 of 100 ports in use is impossible, and then less was in use before, too."""
    spent = np.zeros((TENTHS, 2), dtype=np.int64)
    use = PortUse(100, 60 * S, spent)
    for made in range(1, 1000):
        use.note(made * 1000, made * 1000, established=made, open_now=0, closed=made, denials=0)
        assert spent.any() == (10 < made <= 120) or made <= 10
    assert not spent.any()


def churning(workers: int, strategy: Strategy = Strategy.KERNEL, rest_s: float = 60.0) -> Plan:
    ceiling = Ceiling(per_s=1.0, established=None, because="", rest_s=rest_s)
    return replace(plan_of(workers=workers, strategy=strategy), close=CloseMode.FIN, churn=Churn(1.0), ceiling=ceiling)


def test_without_ports_that_rest_there_is_no_account() -> None:
    blocks = np.zeros(1, dtype=block_dtype(1))
    assert port_use_of(replace(churning(1), churn=None, ceiling=None), 0, blocks) is None
    assert port_use_of(churning(1, rest_s=0.0), 0, blocks) is None
    assert port_use_of(churning(1), 0, blocks) is not None


@pytest.mark.parametrize(("strategy", "tenth"), [(Strategy.KERNEL, 7), (Strategy.LATE_RANGE, 1)])
def test_where_the_kernel_picks_the_ports_those_of_all_workers_count(strategy: Strategy, tenth: int) -> None:
    """Two workers; the other one has half of all ports open or resting, and this one uses an eighth of all."""
    plan = churning(2, strategy)
    blocks = np.zeros(2, dtype=block_dtype(len(plan.pairs)))
    blocks[0]["updates"] = 3
    blocks[0]["totals"]["counters"][1][[POSITION["open"], POSITION["closed"]]] = 10, plan.capacity // 2 - 10
    use = port_use_of(plan, 1, blocks)
    assert use is not None
    for made in range(0, plan.capacity // 4, max(use.step, 1)):
        use.note(S + made, made, established=made, open_now=0, closed=made, denials=0)
    filled = np.flatnonzero(blocks[1]["port_use"][:, 1])
    assert not blocks[0]["port_use"].any()
    if strategy is Strategy.KERNEL:
        assert filled.tolist()[0] == 5
        assert filled.tolist()[-1] == tenth
    else:
        assert filled.tolist()[0] == 0
        assert filled.tolist()[-1] < 5
