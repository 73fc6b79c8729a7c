"""The connector of a shard: an engine, what its connections carry, and their schedule, put together from the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any, Protocol

from loadgen import arrivals, protocols
from loadgen.model import Engine, Plan, Shard
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.freebind import Freebind
from loadgen.worker.heartbeat import Beats
from loadgen.worker.io_uring.connector import BATCH, UringConnector
from loadgen.worker.lifecycle import Lifecycle
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Schedule, Settings, Then, churn, hold
from loadgen.worker.shard import may_self_connect, order_of, sizes_of, slice_of
from loadgen.worker.strategies import SourcePorts, setup_of, strategy_for
from loadgen.worker.tls import TlsClient


class Connector(Protocol):
    """All connections of one worker, by any engine."""

    @property
    def lifecycle(self) -> Lifecycle[Any]:
        """The books: what is open and under way, and whether more may be started."""

    @property
    def heartbeat(self) -> Beats[Any] | None:
        """The heartbeat of held connections; None: they have none."""

    @property
    def needs_loop(self) -> bool:
        """True if callbacks of the event loop serve its connections, too: then the loop must not be kept waiting."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `drain_events` has something to do."""

    def prepare(self, count: int, at_once: int) -> int:
        """Prepare the next attempts until `count` are ready, now at most `at_once`; return how many more are ready."""

    def open_batch(self, due_ns: Sequence[int]) -> int:
        """Start one attempt for each due time; return the number started."""

    def drain_events(self) -> None:
        """Handle what the kernel has to report, without waiting."""

    def expire(self, now: int) -> None:
        """Give up what has waited longer than the scenario's timeout."""

    def close_batch(self, count: int) -> bool:
        """Close up to `count` connections; return True while some are left."""

    def give_up(self) -> None:
        """Count connections as lost that the target should have closed by now."""

    def abandon(self) -> None:
        """Close what has not become a connection; unanswered attempts stay counted as in flight."""


#: Makes the connector of a protocol that brings its own driver, see loadgen.protocols.base.OwnConnector.
MakeConnector = Callable[[Plan, Settings, SourcePorts, Recorder], Connector]


def connector_of(shard: Shard, recorder: Recorder, descriptors: int) -> Connector:
    """Return the connector of one shard. descriptors: no descriptor of this process reaches this number."""
    plan = shard.plan
    if plan.engine is Engine.IO_URING:
        return _uring_of(shard, recorder)
    settings, ports = settings_of(shard, descriptors), _source_ports_of(shard, recorder)
    if name := protocols.own_connector(plan.traffic):
        make: MakeConnector = resolve_name(name)
        return make(plan, settings, ports, recorder)
    connector = EpollConnector(settings, ports, recorder)
    exchange = protocols.make(plan.traffic)
    client = TlsClient(plan.tls, plan.pairs, plan.targets) if plan.tls else None
    if exchange or client or settings.schedule.then is Then.AWAIT_CLOSE:
        connector.driver = Exchanges(connector, exchange, client, plan.targets)
    return connector


def settings_of(shard: Shard, descriptors: int) -> Settings:
    """Return what the connector of a shard is made from."""
    plan = shard.plan
    return Settings(
        pairs=plan.pairs,
        first_pair=arrivals.first_pair(sizes_of(plan), plan.sharded_spaces, len(plan.pairs), shard.index),
        order=order_of(shard),
        self_connect=may_self_connect(shard),
        close=plan.close,
        timeout_s=plan.timeout_s,
        in_flight_max=plan.in_flight_max,
        descriptors=descriptors,
        transport=plan.transport,
        schedule=_schedule_of(shard),
    )


def _schedule_of(shard: Shard) -> Schedule:
    plan = shard.plan
    if plan.churn is None:
        return hold(plan.heartbeat)
    return churn(
        plan.close,
        exchanges=plan.churn.exchanges,
        open_max=arrivals.part(plan.connections, shard.index, plan.workers),
        searched_ports=1 if plan.strategy.row.slices_ports else len(slice_of(shard)),
        transport=plan.transport,
    )


def _source_ports_of(shard: Shard, recorder: Recorder) -> SourcePorts:
    plan = shard.plan
    sources = [source for source, _ in plan.pairs]
    ports = strategy_for(
        plan.strategy,
        sources,
        slice_of(shard),
        frozenset(plan.skipped_ports),
        churn=plan.churn is not None,
        transport=plan.transport,
        record_bind=recorder.record_bind,
    )
    return Freebind(ports, sources) if plan.freebind else ports


def _uring_of(shard: Shard, recorder: Recorder) -> UringConnector:
    """Return a connector with a slot for each connection that is open, on its way or prepared at once."""
    plan = shard.plan
    sources, skipped = [source for source, _ in plan.pairs], frozenset(plan.skipped_ports)
    setup = setup_of(plan.strategy, sources, slice_of(shard), skipped, freebind=plan.freebind)
    attempts = sizes_of(plan)[shard.index]
    slots = attempts + min(plan.in_flight_max, attempts) + BATCH
    return UringConnector(settings_of(shard, slots), setup, recorder)
