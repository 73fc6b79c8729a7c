"""What recording costs: who keeps no latency counts all the same, and a round that is not what it should be is none."""

import numpy as np
import pytest

from bench.cases import METRICS
from bench.recording import Arm, Bare, recorder_us
from loadgen.errors import LoadgenError
from loadgen.model import PortRange
from loadgen.results.block import Latency, block_dtype, consistent_breakdown, consistent_counters
from loadgen.results.schema.counters import POSITION
from loadgen.worker.recorder import Recorder


def use(kind: type[Recorder]) -> tuple[list[int], int]:
    """What a worker does with its recorder: the counters, and how many latencies are in its block then."""
    block = np.zeros(1, dtype=block_dtype(1))[0]
    recorder = kind(block, scheduled=20)
    for _ in range(2):
        _, connect_ns, _, first = recorder.begin_batch(10)
        for position in range(first, first + 10):
            connect_ns[position] = 1000
        recorder.mark(10, 5_000)
        recorder.end_batch(10, first + 10, 5_000, scheduled=False)
    recorder.publish_all()
    counters = consistent_counters(block)
    assert (counters[POSITION["established"]], counters[POSITION["open_peak"]]) == (20, 20)
    assert (block["marks_ns"] > 0).all()
    return counters.tolist(), int(consistent_breakdown(block)["latency"][Latency.CONNECT].sum())


def test_without_recording_counts_stay_and_latencies_go() -> None:
    (counted, kept), (counted_bare, kept_bare) = use(Recorder), use(Bare)
    assert counted_bare == counted
    assert (kept, kept_bare) == (20, 0)


@pytest.mark.parametrize("kind", [Recorder, Bare])
def test_a_round_without_its_connections_is_none(kind: type[Recorder]) -> None:
    arm = Arm(kind, METRICS, PortRange(1024, 2047), 64)
    with pytest.raises(LoadgenError, match="0 of 64 connections are open"):
        arm.cost_us(64)


def test_a_round_that_recorded_what_it_should_not_is_none() -> None:
    arm = Arm(Bare, METRICS, PortRange(1024, 2047), 0)
    Recorder.end_batch(arm.recorder, 7, 7, 1, scheduled=False)
    with pytest.raises(LoadgenError, match="7 latencies were kept where 0 were to be"):
        arm.cost_us(0)


def test_the_recorder_alone_costs_more_with_latencies_than_without() -> None:
    """And of the order of a microsecond: a figure in the wrong unit would be a thousand times that."""
    assert 0 < recorder_us(Bare) < recorder_us(Recorder) < 50
