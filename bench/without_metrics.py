"""What measuring costs: loadgen with the latency part of its recorder replaced by nothing.

loadgen has no switch that turns recording off, and this is none: it works from outside. `environment` makes
a folder with a sitecustomize.py, which Python imports when it starts (site in the standard library), and in
the zygote, before any worker is forked, that calls `install`. The other processes stay as they are.

Gone: whatever copies latencies, sorts them into histograms and notes the event loop's lag. Left: the counters
and the hundredths, without which there would be no rate, and two clock readings and one store into an array
for each connection, which stand in the connector itself.

The difference is smaller than what two runs differ by on a shared machine, so `recorder_us` measures the recorder
by itself, too: the calls of a batch without the sockets between them.
"""

from __future__ import annotations

import os
import time
from array import array
from pathlib import Path
from typing import Final

import numpy as np

from bench.host import ROOT
from loadgen.metrics.recorder import Recorder, block_dtype

#: Set by the harness alone; without it the sitecustomize.py does nothing.
SWITCH: Final = "LOADGEN_BENCH_WITHOUT_METRICS"

#: A worker's batch, the batches of 64,000 connections, and how often that is measured.
_BATCH, _BATCHES, _TRIES = 64, 1000, 5

_SITECUSTOMIZE = f"""\
import os, sys

if os.environ.get("{SWITCH}") == "1" and "loadgen.launch.zygote" in sys.orig_argv:
    from bench.without_metrics import install

    install()
"""


def environment(folder: Path) -> dict[str, str]:
    """What to add to the environment of `loadgen run`; writes a file into `folder`, which has to stay for the run."""
    Path(folder, "sitecustomize.py").write_text(_SITECUSTOMIZE)
    # The repository, too: -m puts the working directory on the path only after sitecustomize was imported.
    paths = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {SWITCH: "1", "PYTHONPATH": os.pathsep.join(paths)}


def install(recorder: type[Recorder] | None = None) -> None:
    """Replace the methods: in this process and all that are forked from it, or of a class derived for the purpose."""
    recorder = recorder or Recorder

    def end_batch(self: Recorder, started: int, pending: int, at_ns: int, *, scheduled: bool) -> None:  # noqa: ARG001
        # The position is left at 0, so the next batch overwrites this one and nothing is ever there to sort.
        self.started += started
        self.established += pending
        self.open += pending
        if self.open > self.open_peak:
            self.open_peak = self.open
        if pending:
            self.last_established_ns = at_ns

    def nothing(self: Recorder, value: int = 0) -> None:
        """Record nothing."""

    replacements = {
        "end_batch": end_batch,
        "_sort_latencies": nothing,
        "record_lag": nothing,
        "record_exchange": nothing,
    }
    for name, function in replacements.items():
        if not hasattr(recorder, name):
            raise AttributeError(f"Recorder has no {name} any more: bench/without_metrics.py is out of date")
        setattr(recorder, name, function)


class Bare(Recorder):
    """A recorder without latencies beside the real one."""

    __slots__ = ()


install(Bare)


def recorder_us(recorder: type[Recorder]) -> float:
    """CPU time that a connection costs in the recorder, in microseconds; the least of some tries.

    The calls are those of Connector.open_batch for a batch as the worker makes it; storing the connect time is the
    connector's and not counted. Deterministic but for the machine; a tenth of a second.
    """
    tries = []
    for _ in range(_TRIES):
        block = np.zeros(1, dtype=block_dtype(1))[0]
        used = recorder(block, scheduled=_BATCH * _BATCHES)
        connect_ns = used.begin_batch(_BATCH)[1]
        # Connect times as they are: none alike, so that they fall into as many buckets.
        connect_ns[:] = array("q", (30_000 + 97 * n for n in range(len(connect_ns))))
        begun = time.thread_time_ns()
        for _ in range(_BATCHES):
            *_, n = used.begin_batch(_BATCH)
            used.end_batch(_BATCH, n + _BATCH, 1, scheduled=False)
        used.publish_all()
        tries.append(time.thread_time_ns() - begun)
    return min(tries) / 1e3 / (_BATCH * _BATCHES)
