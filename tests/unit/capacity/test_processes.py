"""Workers and sinks of a plan: enough descriptors for each, no more workers than ports, the cores used."""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.arrivals import shard_sizes
from loadgen.capacity import RESERVED_DESCRIPTORS, make_plan
from loadgen.capacity.processes import workers_needed
from loadgen.errors import CapacityError
from loadgen.kernel.host import HostFacts
from loadgen.model import Plan, PortRange, Shard
from loadgen.worker.shard import slice_of

from .samples import FACTS, LAB, SOURCE, WIDE, addresses, parsed, plan, refused


def weighted(connections: int, *weights: int, strategy: str = "late-range", sinks: int = 0, **facts: Any) -> Plan:
    targets = ", ".join(
        f"{{address: '127.0.0.1:{9000 + n}', weight: {weight}, sink: {str(n < sinks).lower()}}}"
        for n, weight in enumerate(weights)
    )
    text = f"name: x\nsources: {{addresses: 127.0.0.2, strategy: {strategy}}}\ntargets: [{targets}]\nconnections: 1\n"
    found = parsed(text).model_copy(update={"connections": connections})
    return make_plan(found, SOURCE, HostFacts(**{**FACTS, **facts}), LAB)


def test_a_pair_that_its_weight_fills_first_is_noted_and_no_error() -> None:
    ports: dict[str, Any] = {"port_range": PortRange(40_000, 40_099)}
    assert weighted(133, 3, 1, **ports).notes == ()
    assert weighted(134, 3, 1, **ports).notes == (
        (
            "the pair 127.0.0.2 to 127.0.0.1:9000 (weight 3) fills first: its share is 101 connections and its ports "
            "are 100; the other pairs take what is beyond them"
        ),
    )
    assert weighted(200, 2, 2, **ports).notes == ()
    assert not any("weight" in note for note in weighted(100, 3, 1, strategy="bind", **ports).notes)


@pytest.mark.parametrize(("weights", "sunk"), [((3, 1), 750), ((1, 1), 500), ((1, 3), 250)])
def test_sinks_get_what_the_weights_send_them(weights: tuple[int, int], sunk: int) -> None:
    made = weighted(1000, *weights, sinks=1)
    assert next(line.needed for line in made.headroom if line.resource == "descriptors per sink") == sunk


@pytest.mark.parametrize(
    ("connections", "descriptors", "cpus", "workers"),
    [
        (1, 20_000, 8, 1),
        (1_999, 20_000, 8, 1),
        (2_000, 20_000, 8, 8),
        (19_936, 20_000, 1, 1),
        (19_937, 20_000, 1, 2),
        (100_000, 20_000, 2, 6),
        (100_000, 20_000, 64, 64),
        (1_000_000, 20_000, 2, 51),
        (1_000, 164, 1, 10),
    ],
)
def test_workers_are_as_many_as_descriptors_ask_for_and_cores_can_use(
    connections: int, descriptors: int, cpus: int, workers: int
) -> None:
    made = plan(connections, addresses(20), descriptors=descriptors, cpus=cpus, **WIDE)
    assert made.workers == workers
    needed = made.headroom[1]
    assert needed.resource == "descriptors per worker"
    assert needed.needed <= needed.available == descriptors - RESERVED_DESCRIPTORS


@pytest.mark.parametrize("connections", [65_537, 131_072])
def test_very_many_sources_with_few_connections_each_stay_under_the_limit(connections: int) -> None:
    """The part of a worker is not an equal one when every pair is shared out on its own."""
    made = plan(connections, addresses(65_536))
    sizes = shard_sizes(connections, 65_536, made.workers)
    assert max(sizes) <= 20_000 - RESERVED_DESCRIPTORS
    assert sum(sizes) == connections


def test_too_few_workers_are_refused_with_how_many_there_must_be() -> None:
    error = refused(100_000, addresses(4), more="workers: 5")
    assert (error.resource, error.needed, error.available) == ("descriptors of 5 workers", 100_000, 5 * 19_936)
    assert "use `workers: 6`, or leave it out: +320" in error.remedy
    assert plan(100_000, addresses(4), more="workers: 6").workers == 6
    assert plan(10, more="workers: 3").workers == 3


def test_there_are_never_more_workers_than_ports() -> None:
    made = plan(2_000, addresses(1_000), port_range=PortRange(40_000, 40_002), cpus=8)
    assert made.workers == 3
    assert [len(slice_of(Shard(made, index))) for index in range(3)] == [1, 1, 1]


def test_where_ports_allow_fewer_workers_than_descriptors_ask_for_the_plan_is_refused() -> None:
    """200,000 connections need 11 workers at 20,000 descriptors, and four ports can be cut in four."""
    with pytest.raises(CapacityError):
        plan(200_000, addresses(65_536), port_range=PortRange(40_000, 40_003))


def test_more_workers_than_ports_are_refused_before_any_is_started() -> None:
    with pytest.raises(CapacityError):
        plan(4, more="workers: 5", port_range=PortRange(40_000, 40_003))


def test_strategies_without_slices_may_have_more_workers_than_ports() -> None:
    assert plan(4, strategy="late", more="workers: 5", port_range=PortRange(40_000, 40_003)).workers == 5


@pytest.mark.parametrize("descriptors", [0, 3, RESERVED_DESCRIPTORS])
def test_a_limit_that_leaves_a_worker_no_descriptor_is_refused(descriptors: int) -> None:
    assert "ulimit -Hn" in refused(1, descriptors=descriptors).remedy


def test_more_listeners_than_descriptors_are_refused() -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.5)
    try:
        with pytest.raises(CapacityError):
            plan(1, targets=[f"127.0.0.1:{9000 + n}" for n in range(100)], sink=True, descriptors=150)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@settings(max_examples=25)
@given(st.integers(1, 500_000), st.integers(2_000, 50_000), st.integers(1, 16))
def test_sinks_leave_room_for_an_uneven_hash(connections: int, descriptors: int, cpus: int) -> None:
    facts: dict[str, Any] = {"descriptors": descriptors, "cpus": cpus, "memory_available_bytes": 10**15, **WIDE}
    made = plan(connections, addresses(20), sink=True, **facts)
    share = connections / made.sinks
    unlucky = share + 5 * math.sqrt(share) if made.sinks > 1 else share
    assert unlucky <= descriptors - RESERVED_DESCRIPTORS
    if connections >= 2_000:
        assert made.sinks >= cpus


def test_too_few_sinks_are_refused_with_how_many_there_must_be() -> None:
    error = refused(100_000, addresses(4), sink=True, more="sinks: 5")
    assert (error.resource, error.available) == ("descriptors of 5 sinks", 5 * 19_935)
    assert "use `sinks: 6`, or leave it out" in error.remedy
    assert plan(100_000, addresses(4), sink=True, more="sinks: 7").sinks == 7


def test_a_sink_has_room_for_its_listeners() -> None:
    targets = [f"127.0.0.1:{9000 + n}" for n in range(100)]
    made = plan(19_936, addresses(2), targets=targets, sink=True, cpus=1)
    assert made.sinks > 1


def test_in_udp_a_sink_needs_no_descriptors_for_its_clients() -> None:
    """Half a million of them are one socket's for each process."""
    wide: dict[str, Any] = {**WIDE, "cpus": 2}
    found = plan(500_000, addresses(8), sink=True, more="transport: udp", **wide)
    assert found.sinks == 2
    assert plan(500_000, addresses(8), sink=True, **wide).sinks > 20


@given(st.integers(0, 3_000), st.integers(1, 40), st.integers(1, 300))
def test_the_least_number_of_workers_is_found(connections: int, spaces: int, descriptors: int) -> None:
    least = workers_needed(connections, spaces, descriptors)
    assert max(shard_sizes(connections, spaces, least)) <= descriptors
    assert least == 1 or max(shard_sizes(connections, spaces, least - 1)) > descriptors


def test_it_is_found_at_once_for_any_number_of_connections() -> None:
    assert workers_needed(1 << 40, 3, 20_000) == pytest.approx((1 << 40) / 20_000, rel=1e-3)
