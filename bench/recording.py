"""What recording latencies costs: connectors with and without it, batch by batch in turn, in one process.

Two whole runs cannot tell. On a shared machine the processor time of a connection moves by a tenth from run to
run and its rate by a third, and recording costs a hundredth. So the data plane of three workers runs here in one
process, each opening 64 connections in turn: what disturbs one disturbs the others as well, and the order turns,
too. Two record, one does not; the two that do the same are the control, which says how far to trust the third.

Without recording: latencies are neither copied nor sorted into histograms. Left are the counters, the hundredths,
and what stands in the connector itself: two clock readings and one store into an array for each connection.
`recorder_us` measures the recorder by itself, too: the calls of a batch without the sockets between them.
"""

from __future__ import annotations

import gc
import time
from array import array
from typing import Final

import numpy as np

from bench.cases import TARGET, Case
from bench.programs import c_sinks
from bench.samples import Recording
from loadgen import arrivals
from loadgen.errors import LoadgenError
from loadgen.model import CloseMode, Endpoint, PortRange, Strategy
from loadgen.processes.lifetime import raise_descriptor_limit
from loadgen.results.block import Latency, block_dtype, consistent_breakdown
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings, hold
from loadgen.worker.strategies import strategy_for

#: A worker's batch, and how many of them it makes in a tenth of a second, after which it publishes everything.
_BATCH, _PUBLISH = 64, 32
#: The batches of 64,000 connections, and how often the recorder alone is measured with them.
_BATCHES, _TRIES = 1000, 5


class Bare(Recorder):
    """A recorder that counts and keeps no latency."""

    def end_batch(self, started: int, pending: int, at_ns: int, *, scheduled: bool) -> None:  # noqa: ARG002
        """As Recorder, but the position is left at 0: the next batch overwrites this one, and nothing is to sort."""
        self.started += started
        self.established += pending
        self.open += pending
        if self.open > self.open_peak:
            self.open_peak = self.open
        if pending:
            self.last_established_ns = at_ns


#: Who takes part in a round, in the order of Recording's fields.
_ARMS: Final[tuple[type[Recorder], ...]] = (Recorder, Bare, Recorder)


class Arm:
    """The data plane of one worker, and the processor time it took."""

    def __init__(self, kind: type[Recorder], case: Case, ports: PortRange, connections: int) -> None:
        address, port = TARGET.split(":")
        pairs = [(source, Endpoint(address, int(port))) for source in case.sources]
        self.block = np.zeros(1, dtype=block_dtype(len(pairs)))[0]
        self.recorder = kind(self.block, scheduled=connections)
        self.cpu_ns = self._batches = 0
        settings = Settings(
            pairs=pairs,
            first_pair=0,
            self_connect=[False] * len(pairs),
            close=CloseMode.RST,
            timeout_s=case.give_up_s,
            in_flight_max=_BATCH,
            descriptors=case.connections + 1000,  # all arms share the numbers, with what this process has open
            schedule=hold(),
        )
        ports_of_arm = strategy_for(Strategy(case.strategy), case.sources, ports)
        self.connector = EpollConnector(settings, ports_of_arm, self.recorder)

    def open_batch(self) -> None:
        """One turn of this arm."""
        begun = time.thread_time_ns()
        self.connector.open_batch((0,) * _BATCH)
        self._batches += 1
        if self._batches % _PUBLISH == 0:
            self.recorder.publish_all()
        self.cpu_ns += time.thread_time_ns() - begun

    def cost_us(self, connections: int) -> float:
        """CPU time of a connection. Raises: LoadgenError when not all are open, or not recorded as they should be."""
        self.recorder.publish_all()
        kept, wanted = (
            int(consistent_breakdown(self.block)["latency"][Latency.CONNECT].sum()),
            connections * (type(self.recorder) is not Bare),
        )
        if self.recorder.open != connections or kept != wanted:
            raise LoadgenError(
                f"{self.recorder.open:,} of {connections:,} connections are open, and {kept:,} latencies were kept "
                f"where {wanted:,} were to be"
            )
        return self.cpu_ns / 1e3 / connections


def run_recording(case: Case) -> Recording:
    """One round: equal parts of the connections by each arm, against C sinks.

    Raises: LoadgenError when a connection failed or was lost.
    """
    raise_descriptor_limit()
    batches = case.connections // len(_ARMS) // _BATCH
    connections = batches * _BATCH
    with c_sinks(case):
        slices = arrivals.port_slices(PortRange(*case.ports), len(_ARMS))
        arms = [Arm(kind, case, ports, connections) for kind, ports in zip(_ARMS, slices, strict=True)]
        gc.collect()
        gc.freeze()  # as the zygote does before it forks workers
        for number in range(batches):
            for turn in range(len(arms)):
                arms[(number + turn) % len(arms)].open_batch()
        try:
            return Recording(*(arm.cost_us(connections) for arm in arms))
        finally:
            for arm in arms:
                while arm.connector.close_batch(_BATCH):
                    pass


def recorder_us(recorder: type[Recorder]) -> float:
    """CPU time that a connection costs in the recorder, in microseconds; the least of some tries.

    The calls are those of EpollConnector.open_batch for a batch as the worker makes it; storing the connect time is the
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
