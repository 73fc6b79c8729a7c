"""With the recorder patched, everything is counted and no latency kept; in its own process, as it cannot be undone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.without_metrics import SWITCH, Bare, environment, recorder_us
from loadgen.metrics.recorder import Recorder

#: What a worker does with its recorder, and what is in its block then.
USE = """
import sys
import numpy as np
from loadgen.metrics.recorder import Counter, Recorder, block_dtype, consistent_counters
block = np.zeros(1, dtype=block_dtype(1))[0]
recorder = Recorder(block, scheduled=20)
for batch in range(2):
    lateness, connect, arrival, n = recorder.begin_batch(10)
    for position in range(n, n + 10):
        connect[position] = lateness[position] = arrival[position] = 1000
    until = recorder.mark(10, 5_000)
    recorder.end_batch(10, n + 10, 5_000, scheduled=True)
recorder.record_established(0, 1, 2, 3)
recorder.record_lag(4)
recorder.publish_all()
counters = consistent_counters(block)
print(counters[Counter.ESTABLISHED], counters[Counter.STARTED], counters[Counter.OPEN], counters[Counter.OPEN_PEAK],
      int((block["marks_ns"] > 0).sum()), int(block["latency"].sum()), int(block["lag"].sum()))
"""


def use(tmp_path: Path, *names: str, switch: str = "1") -> list[int]:
    """Run USE in a Python whose command line has these words; the numbers that it prints."""
    variables = {**os.environ, **environment(tmp_path), SWITCH: switch}
    command = [sys.executable, "-c", USE, *names]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


def test_in_the_zygote_counts_stay_and_latencies_go(tmp_path: Path) -> None:
    assert use(tmp_path, "loadgen.launch.zygote") == [21, 20, 21, 21, 100, 0, 0]


@pytest.mark.parametrize(("names", "switch"), [((), "1"), (("loadgen.launch.zygote",), "0")])
def test_elsewhere_and_unasked_nothing_is_patched(tmp_path: Path, names: tuple[str, ...], switch: str) -> None:
    assert use(tmp_path, *names, switch=switch) == [21, 20, 21, 21, 100, 63, 1]


def test_the_recorder_alone_costs_more_with_latencies_than_without() -> None:
    """And of the order of a microsecond: a figure in the wrong unit would be a thousand times that."""
    assert 0 < recorder_us(Bare) < recorder_us(Recorder) < 50
