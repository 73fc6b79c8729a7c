"""The arithmetic of a plan: what fits, what is refused with which numbers, and what is asked of each process."""

from __future__ import annotations

import ipaddress
import itertools
import math
import signal
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.arrivals import shard_sizes
from loadgen.capacity import RESERVED_DESCRIPTORS, Allowances, Assessment, assess, make_plan, sink_endpoints
from loadgen.capacity.resources import most
from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimit, HostLimits, InUse
from loadgen.model import Endpoint, Plan, PortRange, Shard, Strategy, Transport
from loadgen.results.schema import files
from loadgen.scenario import ScenarioSpec
from loadgen.worker.shard import slice_of

LAB, HOST = Allowances(in_lab=True), Allowances(in_lab=False)
SOURCE = ("127.0.0.2",)
FACTS: dict[str, Any] = {
    "kernel": "6.18.0",
    "machine": "x86_64",
    "cpus": 2,
    "memory_available_bytes": 24_000_000_000,
    "descriptors": 20_000,
    "files_free": 10_000_000,
    "port_range": PortRange(32_768, 60_999),
    "reserved_ports": (),
    "unprivileged_port_start": 1024,
    "privileged": False,
    "listeners": (),
    "missing_sources": (),
    "default_sources": ("127.0.0.1",),
    "late_bind": True,
    "port_range_option": True,
    "sysctls": {},
}
WIDE: dict[str, Any] = {"port_range": PortRange(1024, 65_535)}


def plan(
    connections: int = 100,
    sources: Sequence[str] = SOURCE,
    *,
    targets: Sequence[str] = ("127.0.0.1:9000",),
    sink: bool = False,
    strategy: str = "late-range",
    ports: str = "",
    more: str = "",
    allowances: Allowances = LAB,
    **facts: Any,
) -> Plan:
    scenario = _scenario(
        f"""
name: plan
sources: {{addresses: ["127.0.0.2", "::1"], strategy: {strategy}{f', ports: "{ports}"' if ports else ""}}}
targets: [{", ".join(f'{{address: "{target}", sink: {str(sink).lower()}}}' for target in targets)}]
connections: 1
{more}
"""
    ).model_copy(update={"connections": connections})
    return make_plan(scenario, sources, HostFacts(**{**FACTS, **facts}), allowances)


@cache
def _scenario(text: str) -> ScenarioSpec:
    return scenarios.parse(text)


def addresses(count: int) -> tuple[str, ...]:
    first = int(ipaddress.IPv4Address("127.1.0.0"))
    return tuple(str(ipaddress.IPv4Address(first + n)) for n in range(count))


def refused(*args: Any, **options: Any) -> CapacityError:
    with pytest.raises(CapacityError) as caught:
        plan(*args, **options)
    error = caught.value
    assert error.needed > error.available
    assert error.remedy
    assert f"{error.resource}: need {error.needed:,}, have {error.available:,}; {error.remedy}" == str(error)
    return error


def test_a_plan_carries_what_the_scenario_says() -> None:
    more = """
arrival: {rate: 50/s}
hold: 3s
timeout: 4s
interval: 1s
close: rst
in_flight: 99
expect: [outcomes.failed == 0]
"""
    made = plan(100, ("127.0.0.2", "127.0.0.3"), sink=True, more=more)
    assert (made.name, made.connections, made.sources) == ("plan", 100, ("127.0.0.2", "127.0.0.3"))
    assert (made.hold_s, made.timeout_s, made.interval_s, made.close) == (3, 4, 1, "rst")
    assert (made.in_flight_max, made.expect) == (99, ("outcomes.failed == 0",))
    assert (made.workers, made.sinks, made.strategy) == (1, 1, Strategy.LATE_RANGE)
    assert [stage.rate_end_per_s for stage in made.stages] == [50]
    assert sink_endpoints(made) == (Endpoint("127.0.0.1", 9000),)
    assert sink_endpoints(plan()) == ()
    for line in made.headroom:
        assert 0 <= line.needed <= line.available


# --- Four-tuples ---------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    st.integers(1, 3000),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 500),
    st.sets(st.integers(40_000, 40_600), max_size=30),
    st.sampled_from(["late-range", "late", "explicit"]),
)
def test_capacity_is_never_negative_and_never_more_than_ports_sources_and_targets(
    connections: int, sources: int, targets: int, ports: int, taken: set[int], strategy: str
) -> None:
    """And a plan is made exactly when it fits; each worker's ports are enough for its part of any pair."""
    listeners = tuple(sorted(taken))
    usable = len(set(range(40_000, 40_000 + ports)) - taken)
    if strategy == "late" and ports > 1:
        usable = max(usable - ports % 2, 0)  # the kernel's search looks at an even number of ports
    room = usable * sources * targets
    options: dict[str, Any] = {
        "targets": [f"127.0.0.1:{9000 + n}" for n in range(targets)],
        "strategy": strategy,
        "port_range": PortRange(40_000, 39_999 + ports),
        "listeners": listeners,
    }
    if connections > room:
        error = refused(connections, addresses(sources), **options)
        assert (error.resource, error.needed, error.available) == ("four-tuples", connections, room)
        return
    made = plan(connections, addresses(sources), **options)
    assert connections <= made.capacity_per_pair * len(made.pairs) <= ports * sources * targets
    assert made.capacity_per_pair == usable
    if strategy != "late":
        slices = [slice_of(Shard(made, index)) for index in range(made.workers)]
        free = [[port for port in range(s.low, s.high + 1) if port not in taken] for s in slices]
        assert len(set(itertools.chain(*free))) == sum(map(len, free)) == usable


def test_a_full_range_fits_to_the_last_port_and_no_further() -> None:
    assert plan(28_232).headroom[0].available == 28_232
    error = refused(28_233)
    assert (error.resource, error.needed, error.available) == ("four-tuples", 28_233, 28_232)
    assert error.remedy == "add 1 source address: +28,232, or widen ip_local_port_range to 1024-65535: +36,280"


def test_past_64k_the_remedy_is_addresses_alone() -> None:
    error = refused(200_000, **WIDE)
    assert error.remedy == "add 3 source addresses: +193,536"


@pytest.mark.parametrize("strategy", ["explicit", "late-range"])
def test_where_the_scenario_names_the_ports_the_remedy_is_to_name_more(strategy: str) -> None:
    error = refused(100, strategy=strategy, ports="40000-40003")
    assert "ports" in error.remedy
    assert "ip_local_port_range" not in error.remedy


def test_a_source_is_paired_with_targets_of_its_own_family_only() -> None:
    """Addresses of an interface are of both families as a rule."""
    made = plan(100, ("127.0.0.2", "::1"), targets=("127.0.0.1:9000", "[::1]:9000"))
    assert sorted(made.pairs) == [("127.0.0.2", Endpoint("127.0.0.1", 9000)), ("::1", Endpoint("::1", 9000))]
    assert made.headroom[0].available == 2 * made.capacity_per_pair


def test_listeners_count_for_every_strategy_and_reserved_ports_for_automatic_choice_only() -> None:
    """A sink's own port is a listener that is not there yet."""
    facts: dict[str, Any] = {
        "port_range": PortRange(40_000, 40_009),
        "listeners": (22, 40_003),
        "reserved_ports": (40_001, 50_000),
    }
    for strategy, skipped in (
        ("late-range", (40_001, 40_003, 40_005)),
        ("late", (40_001, 40_003, 40_005)),
        ("explicit", (40_003, 40_005)),
    ):
        made = plan(5, targets=["127.0.0.1:40005"], sink=True, strategy=strategy, **facts)
        assert (made.skipped_ports, made.capacity_per_pair) == (skipped, 10 - len(skipped))
    assert plan(5, targets=["127.0.0.1:40005"], **facts).skipped_ports == (40_001, 40_003)


def test_a_range_without_a_free_port_has_room_for_nothing() -> None:
    error = refused(1, port_range=PortRange(40_000, 40_000), listeners=(40_000,))
    assert error.available == 0
    assert "widen ip_local_port_range" in error.remedy


# --- Strategies and their ports ------------------------------------------------------------------


def test_an_older_kernel_gets_late_and_a_note() -> None:
    made = plan(kernel="5.10", port_range_option=False)
    assert made.strategy is Strategy.LATE
    assert "Linux 5.10 has no IP_LOCAL_PORT_RANGE (6.3): using late" in made.notes[0]
    assert plan().notes == ()


@pytest.mark.parametrize("strategy", ["late", "late-range"])
def test_a_kernel_without_late_bind_is_told_what_else_there_is(strategy: str) -> None:
    with pytest.raises(HostError, match=r"no IP_BIND_ADDRESS_NO_PORT \(4\.2\); use `strategy:` `explicit` or `kernel`"):
        plan(strategy=strategy, late_bind=False, port_range_option=False)


def test_the_kernels_own_choice_needs_the_source_of_the_route() -> None:
    assert plan(sources=("127.0.0.1",), strategy="kernel").strategy is Strategy.KERNEL
    with pytest.raises(UsageError, match=r"gives 127\.0\.0\.1 for 127\.0\.0\.1:9000; write `addresses: \[127\.0\.0\.1"):
        plan(strategy="kernel")
    with pytest.raises(UsageError, match="leaves the source address to the route"):
        plan(sources=("127.0.0.1", "127.0.0.2"), strategy="kernel")


def test_the_kernels_own_choice_has_one_source_for_each_target() -> None:
    """Two targets on addresses of this host are reached from those very addresses: two pairs, not four."""
    made = plan(
        10,
        ("198.18.0.1", "198.18.0.2"),
        targets=("198.18.0.1:9000", "198.18.0.2:9000"),
        strategy="kernel",
        default_sources=("198.18.0.1", "198.18.0.2"),
    )
    assert made.headroom[0].available == 2 * made.capacity_per_pair


def test_the_kernels_own_choice_without_a_route_says_so() -> None:
    with pytest.raises(HostError, match="route"):
        plan(strategy="kernel", default_sources=("",))


def test_the_kernels_own_choice_cannot_be_extended() -> None:
    allowances = Allowances(in_lab=False, extend_sources=True)
    with pytest.raises((CapacityError, UsageError)):
        plan(60_000, ("127.0.0.1",), strategy="kernel", allowances=allowances)


@pytest.mark.parametrize("strategy", ["kernel", "late"])
def test_strategies_that_cannot_keep_to_ports_refuse_them(strategy: str) -> None:
    with pytest.raises(UsageError, match=r"takes ports from ip_local_port_range \(32768-60999\) and cannot keep to"):
        plan(sources=("127.0.0.1",), strategy=strategy, ports="40000-40100")
    made = plan(sources=("127.0.0.1",), strategy=strategy, ports="32768-60999")
    assert made.ports == PortRange(32_768, 60_999)


@pytest.mark.parametrize("ports", ["32767-40000", "40000-61000", "1024-65535", "1024-2000", "61000"])
def test_late_range_cannot_leave_the_range_of_the_kernel(ports: str) -> None:
    with pytest.raises(HostError, match="the kernel silently ignores IP_LOCAL_PORT_RANGE"):
        plan(ports=ports)
    assert plan(ports="32768-60999").ports == PortRange(32_768, 60_999)
    assert plan(1, ports="40000").ports == PortRange(40_000, 40_000)


@pytest.mark.parametrize("ports", ["", "60999-61100", "20000-32768", "1024-65535", "40000"])
def test_explicit_ports_where_others_choose_need_a_lab_or_permission(ports: str) -> None:
    options: dict[str, Any] = {"strategy": "explicit", "ports": ports}
    with pytest.raises(HostError, match="--allow-port-blocking"):
        plan(1, allowances=HOST, **options)
    lab = plan(1, allowances=LAB, **options)
    assert lab == plan(1, allowances=Allowances(in_lab=False, port_blocking=True), **options)


@pytest.mark.parametrize("ports", ["1024-32767", "61000-65535", "20000"])
def test_explicit_ports_beside_the_range_are_free_to_all(ports: str) -> None:
    assert str(plan(1, strategy="explicit", ports=ports, allowances=HOST).ports) in (ports, f"{ports}-{ports}")


def test_privileged_ports_need_privilege() -> None:
    options: dict[str, Any] = {"strategy": "explicit", "ports": "1000-1100", "allowances": HOST}
    with pytest.raises(HostError, match=r"below ip_unprivileged_port_start \(1024\)"):
        plan(1, **options)
    assert plan(1, privileged=True, **options).ports.low == 1000
    assert plan(1, unprivileged_port_start=0, **options).ports.low == 1000


# --- Source addresses ----------------------------------------------------------------------------


def test_missing_addresses_are_named_with_the_command_that_adds_them() -> None:
    with pytest.raises(HostError, match=r"address 10\.0\.0\.1 is not on this host; .*add 10\.0\.0\.1/32 dev lo"):
        plan(missing_sources=("10.0.0.1",))
    with pytest.raises(HostError, match=r"fd00::1 and 2 more is not .*add fd00::1/128 dev lo"):
        plan(missing_sources=("fd00::1", "fd00::2", "fd00::3"))
    with pytest.raises(HostError, match="names no source address"):
        plan(sources=())


def test_addresses_that_need_only_a_route_are_missing_without_one() -> None:
    found = scenarios.parse(
        "name: x\nsources: {addresses: 'fd00::/126', freebind: true}\ntargets: [{address: '[::1]:9'}]\nconnections: 1\n"
    )
    assert make_plan(found, found.sources.expanded, HostFacts(**FACTS), LAB).freebind
    facts = HostFacts(**{**FACTS, "missing_sources": ("fd00::1",)})
    with pytest.raises(HostError, match=r"is not routed to this host; .*ip route add local fd00::1/128 dev lo"):
        make_plan(found, found.sources.expanded, facts, LAB)


def test_an_interface_without_an_address_of_a_targets_family_is_refused() -> None:
    with pytest.raises(HostError, match=r"no source address is IPv6, as \[::1\]:9000 is"):
        plan(targets=("127.0.0.1:9000", "[::1]:9000"))


# --- Weights -------------------------------------------------------------------------------------


def weighted(connections: int, *weights: int, strategy: str = "late-range", sinks: int = 0, **facts: Any) -> Plan:
    targets = ", ".join(
        f"{{address: '127.0.0.1:{9000 + n}', weight: {weight}, sink: {str(n < sinks).lower()}}}"
        for n, weight in enumerate(weights)
    )
    text = f"name: x\nsources: {{addresses: 127.0.0.2, strategy: {strategy}}}\ntargets: [{targets}]\nconnections: 1\n"
    found = _scenario(text).model_copy(update={"connections": connections})
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
    assert weighted(100, 3, 1, strategy="bind", **ports).notes == ()


@pytest.mark.parametrize(("weights", "sunk"), [((3, 1), 750), ((1, 1), 500), ((1, 3), 250)])
def test_sinks_get_what_the_weights_send_them(weights: tuple[int, int], sunk: int) -> None:
    made = weighted(1000, *weights, sinks=1)
    assert next(line.needed for line in made.headroom if line.resource == "descriptors per sink") == sunk


def extended(connections: int, sources: Sequence[str], **facts: Any) -> Plan:
    return plan(connections, sources, allowances=Allowances(in_lab=False, extend_sources=True), **facts)


@settings(max_examples=25)
@given(st.integers(1, 5000), st.integers(1, 100), st.sets(st.integers(1, 1000), min_size=1, max_size=5))
def test_more_sources_make_up_for_a_narrower_range(connections: int, ports: int, last: set[int]) -> None:
    """They are all loopback addresses, none twice, those asked for first, and no more than needed."""
    first = int(ipaddress.IPv4Address("127.0.0.0"))
    asked = [str(ipaddress.IPv4Address(first + n)) for n in last]
    made = extended(connections, asked, port_range=PortRange(40_000, 39_999 + ports))
    assert list(made.sources[: len(asked)]) == asked
    assert len(set(made.sources)) == len(made.sources) == max(len(asked), -(-connections // ports))
    assert all(ipaddress.IPv4Address(source) in ipaddress.ip_network("127.0.0.0/8") for source in made.sources)
    assert bool(made.notes) == (len(made.sources) > len(asked))


def test_enough_sources_are_left_as_they_are() -> None:
    made = extended(10, ("127.0.0.9", "127.0.0.2"))
    assert (made.sources, made.notes) == (("127.0.0.9", "127.0.0.2"), ())
    assert plan(10, ("127.0.0.9",)).sources == ("127.0.0.9",)


def test_sources_do_not_run_over_the_end_of_loopback() -> None:
    with pytest.raises(CapacityError, match=r"source addresses: need 10, have 2; start lower in 127\.0\.0\.0/8"):
        extended(10, ("127.255.255.253",), port_range=PortRange(40_000, 40_000))


def test_the_broadcast_address_of_loopback_is_no_source() -> None:
    with pytest.raises(CapacityError):
        extended(3, ("127.255.255.253",), port_range=PortRange(40_000, 40_000))


def test_no_number_of_sources_makes_up_for_a_range_without_a_port() -> None:
    with pytest.raises(CapacityError):
        extended(1, SOURCE, port_range=PortRange(40_000, 40_000), listeners=(40_000,))


# --- Descriptors, workers, sinks, memory ---------------------------------------------------------


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


def test_the_host_must_have_descriptors_for_both_ends() -> None:
    error = refused(1_000, sink=True, files_free=1_999)
    assert error.resource == "descriptors of the whole host (fs.file-max)"
    assert (error.needed, error.available) == (2_000, 1_999)
    assert plan(1_000, files_free=1_999)


def test_memory_is_that_of_the_ends_and_of_the_processes() -> None:
    """A sink doubles the ends; a process costs some 25 MB before it holds a connection."""
    needed = {line.resource: line.needed for line in plan(10_000, sink=True).headroom}["memory, bytes"]
    alone = {line.resource: line.needed for line in plan(10_000).headroom}["memory, bytes"]
    assert 2 * 10_000 * 3_000 < needed < 300_000_000
    assert alone < needed
    error = refused(10_000, sink=True, memory_available_bytes=needed - 1)
    assert (error.resource, error.needed, error.available) == ("bytes of memory", needed, needed - 1)
    assert plan(10_000, sink=True, memory_available_bytes=needed)


# --- UDP ----------------------------------------------------------------------------------------

TWO: tuple[str, ...] = ("127.0.0.1:9000", "127.0.0.1:9001")


@pytest.mark.parametrize(
    ("strategy", "capacity"),
    [("bind", 200), ("late", 200), ("late-range", 200), ("exclusive", 200), ("explicit", 400), ("reuseport", 400)],
)
def test_in_udp_only_who_names_ports_shares_them(strategy: str, capacity: int) -> None:
    """A hundred ports, two sources, two targets; and with TCP late-range has twice as many."""
    room: dict[str, Any] = {"port_range": PortRange(40_000, 40_099)}
    found = plan(100, addresses(2), targets=TWO, strategy=strategy, more="transport: udp", **room)
    assert (found.transport, found.capacity_per_pair, found.capacity) == (Transport.UDP, 100, capacity)
    with pytest.raises(CapacityError, match="four-tuples"):
        plan(capacity + 1, addresses(2), targets=TWO, strategy=strategy, more="transport: udp", **room)
    assert plan(100, addresses(2), targets=TWO, strategy="late-range", **room).capacity == 400


def test_in_udp_connect_alone_has_the_ports_once() -> None:
    """For all targets of both families together."""
    found = plan(
        100,
        ("127.0.0.1", "::1"),
        targets=("127.0.0.1:9000", "[::1]:9000"),
        strategy="kernel",
        more="transport: udp",
        port_range=PortRange(40_000, 40_100),
        default_sources=("127.0.0.1", "::1"),
    )
    assert (found.spaces, found.sharded_spaces, found.capacity) == (1, 2, 101)  # and no port is lost to parity
    assert found.headroom[0].note == "101 for all sources and targets together"


def test_in_udp_the_ports_of_others_are_left_to_them() -> None:
    """Of any socket, because each could hear or take what is ours; a listener of TCP is in nobody's way."""
    more: dict[str, Any] = {"listeners": (40_001,), "datagram_ports": (53, 40_002, 40_003)}
    for strategy in ("late-range", "explicit"):
        found = plan(strategy=strategy, more="transport: udp", port_range=PortRange(40_000, 40_199), sink=True, **more)
        assert (found.skipped_ports, found.capacity_per_pair) == ((40_002, 40_003), 198)
    assert plan(port_range=PortRange(40_000, 40_199), **more).skipped_ports == (40_001,)


def test_in_udp_a_sink_needs_no_descriptors_for_its_clients() -> None:
    """Half a million of them are one socket's for each process."""
    wide: dict[str, Any] = {**WIDE, "cpus": 2}
    found = plan(500_000, addresses(8), sink=True, more="transport: udp", **wide)
    assert found.sinks == 2
    assert plan(500_000, addresses(8), sink=True, **wide).sinks > 20


def test_in_udp_churn_has_no_ceiling() -> None:
    scenario = _scenario(
        """
name: plan
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000"}]
churn: {duration: 10s}
transport: udp
"""
    )
    found = make_plan(scenario, SOURCE, HostFacts(**FACTS), LAB)
    assert found.ceiling
    assert (found.ceiling.per_s, found.ceiling.because) == (None, "UDP has no TIME-WAIT")


# --- The assessment ------------------------------------------------------------------------------

FIN_ACROSS = """
name: churn
sources: {addresses: 198.18.0.1}
targets: [{address: "198.19.0.1:9000", sink: true}]
lab: {topology: veth}
"""


def assessed(
    connections: int = 100,
    sources: Sequence[str] = SOURCE,
    *,
    targets: Sequence[str] = ("127.0.0.1:9000",),
    sink: bool = False,
    strategy: str = "late-range",
    more: str = "",
    limits: HostLimits | None = None,
    allowances: Allowances = LAB,
    **facts: Any,
) -> Assessment:
    scenario = _scenario(
        f"""
name: plan
sources: {{addresses: ["127.0.0.2", "::1"], strategy: {strategy}}}
targets: [{", ".join(f'{{address: "{target}", sink: {str(sink).lower()}}}' for target in targets)}]
connections: 1
{more}
"""
    ).model_copy(update={"connections": connections})
    return assess(scenario, sources, HostFacts(**{**FACTS, **facts}), allowances, limits)


@settings(max_examples=100)
@given(
    st.integers(1, 3_000),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(60, 500),
    st.integers(0, 5_000),
    st.integers(10_000_000, 200_000_000),
    st.sampled_from(["late-range", "late", "bind", "explicit"]),
    st.sampled_from(["", "workers: 2", "sinks: 1", "workers: 3\nsinks: 2"]),
    st.booleans(),
)
def test_the_first_limit_is_where_a_plan_begins_to_be_refused(
    connections: int,
    sources: int,
    ports: int,
    descriptors: int,
    files: int,
    memory: int,
    strategy: str,
    more: str,
    sink: bool,
) -> None:
    """What is called possible is planned, what is not is refused for that very reason, and what fits before it fits."""
    options: dict[str, Any] = {
        "strategy": strategy,
        "sink": sink,
        "more": more,
        "port_range": PortRange(40_000, 39_999 + ports),
        "descriptors": descriptors,
        "files_free": files,
        "memory_available_bytes": memory,
    }
    found = assessed(connections, addresses(sources), **options)
    first = found.first
    assert first.at is not None
    assert found.possible == (found.refusal is None) == (not first.short)
    assert found.prediction.possible == found.possible
    if found.possible:
        assert connections <= first.at
        assert plan(connections, addresses(sources), **options) == found.plan
        assert found.verdict.startswith("possible; the first limit would be ")
        return
    error = refused(connections, addresses(sources), **options)
    assert first.shortage
    assert str(error) == str(found.refusal)
    assert isinstance(found.refusal, CapacityError)
    assert (found.refusal.resource, found.refusal.needed) == (first.shortage.resource, first.shortage.needed)
    assert found.verdict.startswith("impossible: ")
    assert first.at < connections
    if first.at and first.name in ("four-tuples", "descriptors of the host", "memory, bytes"):
        # Fewer connections may need fewer processes, never more.
        assert assessed(first.at, addresses(sources), **options).first.name != first.name or (
            assessed(first.at, addresses(sources), **options).possible
        )


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(0, 500))
def test_the_most_that_can_be_had_is_the_last_that_fits(available: int, each: int, fixed: int) -> None:
    def cost(count: int) -> int:
        return count * each + fixed

    found = most(cost, available)
    assert cost(found) <= available or found == 0
    assert cost(found + 1) > available


def test_a_verdict_names_the_limit_and_where_it_is() -> None:
    assert assessed(28_000).verdict == (
        "possible; the first limit would be four-tuples at 28,232 connections (you ask for 28,000)"
    )
    assert assessed(60_000).verdict == "impossible: four-tuples end at 28,232 of 60,000 connections"
    scheduled = assessed(60_000, more="arrival: {rate: 20000/s}")
    assert scheduled.verdict == "impossible: four-tuples end at 28,232 of 60,000 connections, in second 1.4"
    assert scheduled.prediction.at_s == pytest.approx(28_233 / 20_000, abs=1e-3)
    assert assessed(28_000, more="arrival: {rate: 20000/s}").prediction.at_s is None


def test_the_nearer_of_two_limits_is_the_first() -> None:
    both = assessed(60_000, files_free=20_000)
    assert (both.first.name, both.first.at) == ("descriptors of the host", 20_000)
    assert [resource.name for resource in both.in_order[:2]] == ["descriptors of the host", "four-tuples"]
    assert str(both.refusal).startswith("descriptors of the whole host (fs.file-max): need 60,000, have 20,000")


def test_a_strategy_that_binds_early_runs_out_of_source_ports() -> None:
    found = assessed(60_000, targets=("127.0.0.1:9000", "127.0.0.1:9001"), strategy="bind")
    assert (found.prediction.limit, found.prediction.at) == ("source-ports", 28_232)
    assert assessed(60_000, targets=("127.0.0.1:9000",)).prediction.limit == "four-tuples"


def test_what_others_have_of_the_ports_is_a_nearer_limit_and_no_reason_to_refuse() -> None:
    target = Endpoint("127.0.0.1", 9000)
    held = tuple(range(40_000, 40_030))
    others = (InUse("127.0.0.2", target, held, ()), InUse("127.0.0.9", target, held, ()))
    ports: dict[str, Any] = {"port_range": PortRange(40_000, 40_099), "listeners": (40_001,)}
    found = assessed(80, limits=HostLimits(in_use=others), **ports)
    assert (found.prediction.limit, found.prediction.at, found.possible) == ("port-held", 99 - 29, False)
    assert found.refusal is None
    assert assessed(70, limits=HostLimits(in_use=others), **ports).possible
    elsewhere = (InUse("127.0.0.2", Endpoint("127.0.0.1", 9001), held, ()),)
    assert assessed(80, limits=HostLimits(in_use=elsewhere), **ports).possible
    # A port that is bound early is taken whatever the target.
    assert not assessed(80, strategy="bind", limits=HostLimits(in_use=elsewhere), **ports).possible


def test_time_wait_of_others_counts_where_it_cannot_be_taken_over() -> None:
    resting = (InUse("127.0.0.2", Endpoint("127.0.0.1", 9000), (), tuple(range(40_000, 40_050))),)
    options: dict[str, Any] = {"port_range": PortRange(40_000, 40_099), "limits": HostLimits(in_use=resting)}
    never = assessed(80, sysctls={"net.ipv4.tcp_tw_reuse": "0"}, **options)
    assert (never.prediction.limit, never.prediction.at) == ("time-wait", 50)
    assert assessed(80, sysctls={"net.ipv4.tcp_tw_reuse": "1"}, **options).possible
    assert assessed(80, strategy="explicit", sysctls={"net.ipv4.tcp_tw_reuse": "0"}, **options).possible


def test_force_excuses_walls_that_a_run_survives_and_no_others() -> None:
    force = Allowances(in_lab=True, force=True)
    assert assessed(28_233, allowances=force).refusal is None
    assert not assessed(28_233, allowances=force).possible
    assert assessed(2_000, more="workers: 1", descriptors=500, allowances=force).refusal is None
    for name, little in (("memory_available_bytes", 1), ("files_free", 50), ("descriptors", 60)):
        short: dict[str, Any] = {name: little}
        assert isinstance(assessed(100, allowances=force, **short).refusal, CapacityError)
    missing = assessed(allowances=force, missing_sources=("10.0.0.1",))
    assert str(missing.refusal) == str(missing.absent)
    assert missing.verdict.startswith("impossible: source address 10.0.0.1 is not on this host; add it with: ip addr")


def test_descriptors_of_a_fixed_number_of_workers_end_where_each_is_full() -> None:
    found = assessed(1_000, more="workers: 2\ndescriptors: 264", allowances=Allowances(in_lab=True, force=True))
    assert (found.prediction.limit, found.prediction.at, found.prediction.slack) == ("descriptors", 400, 128)
    assert assessed(1_000, descriptors=264).possible  # by more workers


def test_processes_have_to_be_allowed() -> None:
    room = HostLimits(processes=HostLimit(limit=100, used=98, name="pids.max"))
    found = assessed(2_000, limits=room)
    assert str(found.refusal) == "processes: need 3, have 2; raise pids.max, or use fewer workers and sinks"
    assert assessed(100, limits=room).possible


def test_connection_tracking_counts_where_anything_is_tracked() -> None:
    tables = {"net.netfilter.nf_conntrack_count": "10", "net.netfilter.nf_conntrack_max": "110"}
    found = assessed(101, sysctls=tables)
    assert (found.prediction.limit, found.prediction.at, found.refusal) == ("conntrack", 100, None)
    assert assessed(101, sysctls={**tables, "net.netfilter.nf_conntrack_count": "0"}).possible


def test_estimates_make_nothing_impossible() -> None:
    tight: dict[str, Any] = {
        "sysctls": {"net.core.somaxconn": "1", "net.ipv4.tcp_max_tw_buckets": "1"},
        "limits": HostLimits(tcp_memory=HostLimit(limit=10, used=9, name="net.ipv4.tcp_mem")),
        "sink": True,
        "more": "protocol: echo",
    }
    found = assessed(100, **tight)
    assert found.possible
    over = {resource.name for resource in found.resources if (resource.share or 0) > 1}
    assert over == {"accept queues", "TIME-WAIT sockets", "tcp_mem, pages"}


def churned(more: str, **sysctls: str) -> Assessment:
    facts = {
        **FACTS,
        "port_range": PortRange(40_000, 40_099),
        "sysctls": {"net.ipv4." + key: value for key, value in sysctls.items()},
    }
    return assess(scenarios.parse(FIN_ACROSS + more), ("198.18.0.1",), HostFacts(**facts), LAB)


def test_in_an_open_loop_the_schedule_says_when_the_ports_are_at_rest() -> None:
    more = "churn: {duration: 10s, concurrency: 8}\narrival: {rate: 50/s}"
    found = churned(more, tcp_tw_reuse="0")
    assert found.verdict == (
        "impossible: every port is in TIME-WAIT after 100 of 500 connections, in second 2.0; 1.667/s can go on for ever"
    )
    assert (found.prediction.limit, found.refusal) == ("time-wait", None)
    soon = churned(more, tcp_tw_reuse="1")
    assert soon.possible
    assert (soon.first.name, soon.first.needed, soon.first.available) == ("ports in TIME-WAIT", 50, 100)


def test_the_ports_may_last_for_a_pass_and_not_for_the_next() -> None:
    """A hundred ports that rest a second serve 90/s, and then 110/s, whose hundred and first comes too early."""
    stages = "arrival: {stages: [{from: 90/s, to: 90/s, over: 4s}, {from: 110/s, to: 110/s, over: 4s}]}"
    found = churned(f"churn: {{duration: 8s, concurrency: 8}}\n{stages}", tcp_tw_reuse="1")
    assert found.prediction.at_s == pytest.approx(4.5, abs=0.3)
    assert (found.first.needed or 0) > 100


def test_in_a_closed_loop_the_ceiling_is_told_and_nothing_is_impossible() -> None:
    found = churned("churn: {duration: 2s, concurrency: 8}", tcp_tw_reuse="0")
    assert found.possible
    assert found.verdict == (
        "possible; the first limit would be TIME-WAIT: after 100 connections every port has been used once, "
        "and 1.667/s can go on for ever"
    )
    assert churned("churn: {duration: 2s, concurrency: 8}\nclose: rst").verdict == (
        "possible; the first limit would be four-tuples at 100 connections at a time (you ask for 8)"
    )
    assert not churned("churn: {duration: 2s, concurrency: 101}\nclose: rst").possible


def test_a_sink_that_never_accepts_has_room_for_its_backlog() -> None:
    never = "{address: '127.0.0.1:9000', sink: true, backlog: 9, accept: false}"
    text = f"name: x\nsources: {{addresses: 127.0.0.2}}\ntargets: [{never}]\nconnections: 20\n"
    facts = HostFacts(**{**FACTS, "sysctls": {"net.core.somaxconn": "4096"}})
    found = assess(scenarios.parse(text), SOURCE, facts, LAB)
    assert (found.prediction.limit, found.prediction.at, found.refusal) == ("backlog", 10, None)


def test_a_plan_keeps_its_prediction_on_paper() -> None:
    made = assessed(60_000, more="arrival: {rate: 20000/s}", allowances=Allowances(in_lab=True, force=True)).plan
    assert made.prediction
    written = files.plain(made)
    assert files.convert(written, Plan).prediction == made.prediction
    del written["prediction"]
    assert files.convert(written, Plan).prediction is None
