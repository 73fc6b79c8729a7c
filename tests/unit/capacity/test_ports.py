"""Source ports of a plan: the strategy, the range, and the connections that its ports carry."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, assess
from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import BoundPorts, HostLimits, InUse
from loadgen.model import Endpoint, PortRange, Shard, Strategy, Transport
from loadgen.worker.shard import slice_of

from .samples import FACTS, FIN_ACROSS, HOST, LAB, WIDE, addresses, assessed, plan, refused

TWO: tuple[str, ...] = ("127.0.0.1:9000", "127.0.0.1:9001")


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
    assert error.remedy == (
        "add 1 source address: +28,232, or widen ip_local_port_range to 1024-65535: +36,280, "
        "or add 1 target, another address or port: +28,232, or run into the limit with --force"
    )


def test_past_64k_the_remedies_are_addresses_and_targets_alone() -> None:
    error = refused(200_000, **WIDE)
    assert error.remedy == (
        "add 3 source addresses: +193,536, or add 3 targets, other addresses or ports: +193,536, "
        "or run into the limit with --force"
    )


@pytest.mark.parametrize("strategy", ["explicit", "late-range"])
def test_where_the_scenario_names_the_ports_the_remedy_is_to_name_more(strategy: str) -> None:
    error = refused(100, strategy=strategy, ports="40000-40003")
    assert "widen `ports` to" in error.remedy
    assert "widen ip_local_port_range to" not in error.remedy


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


def test_an_older_kernel_gets_late_and_a_note() -> None:
    made = plan(kernel="5.10", port_range_option=False)
    assert made.strategy is Strategy.LATE
    assert "Linux 5.10 has no IP_LOCAL_PORT_RANGE (6.3): using late" in made.notes[0]
    assert plan().notes == ()


@pytest.mark.parametrize("strategy", ["late", "late-range"])
def test_a_kernel_without_late_bind_is_told_what_else_there_is(strategy: str) -> None:
    with pytest.raises(HostError, match=r"no IP_BIND_ADDRESS_NO_PORT \(4\.2\); use `strategy:` `explicit` or `kernel`"):
        plan(strategy=strategy, late_bind=False, port_range_option=False)


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
    permitted = plan(1, allowances=Allowances(in_lab=False, port_blocking=True), **options)
    assert replace(lab, in_lab=False) == permitted


@pytest.mark.parametrize("ports", ["1024-32767", "61000-65535", "20000"])
def test_explicit_ports_beside_the_range_are_free_to_all(ports: str) -> None:
    assert str(plan(1, strategy="explicit", ports=ports, allowances=HOST).ports) in (ports, f"{ports}-{ports}")


def test_privileged_ports_need_privilege() -> None:
    options: dict[str, Any] = {"strategy": "explicit", "ports": "1000-1100", "allowances": HOST}
    with pytest.raises(HostError, match=r"below ip_unprivileged_port_start \(1024\)"):
        plan(1, **options)
    assert plan(1, privileged=True, **options).ports.low == 1000
    assert plan(1, unprivileged_port_start=0, **options).ports.low == 1000


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


@pytest.mark.parametrize(
    ("strategy", "address", "left"),
    [
        ("late-range", "127.0.0.9", 70),  # closed to automatic choice, whatever the address
        ("late", "::1", 70),
        ("late-range", "0.0.0.0", 70),
        ("bind", "127.0.0.9", 100),
        ("bind", "127.0.0.2", 70),
        ("explicit", "0.0.0.0", 70),
        ("exclusive", "::1", 100),
    ],
)
def test_a_socket_that_is_bound_and_never_connected_holds_its_port(strategy: str, address: str, left: int) -> None:
    bound = (BoundPorts(address, tuple(range(40_000, 40_030))), BoundPorts("127.0.0.9", (5, 41_000)))
    found = assessed(100, strategy=strategy, port_range=PortRange(40_000, 40_099), limits=HostLimits(bound=bound))
    assert found.possible is (left == 100)
    assert (found.prediction.limit == "port-held", found.prediction.at) == (left < 100, left)
    assert left == 100 or "30 bound and not connected (`ss` does not show these)" in found.first.note


def test_a_port_that_is_bound_and_in_use_is_counted_once_in_each_space() -> None:
    target, numbers = Endpoint("127.0.0.1", 9000), tuple(range(40_000, 40_030))
    others = HostLimits(in_use=(InUse("127.0.0.2", target, numbers, ()),), bound=(BoundPorts("127.0.0.2", numbers),))
    ports: dict[str, Any] = {"port_range": PortRange(40_000, 40_099), "limits": others}
    assert assessed(100, **ports).prediction.at == 70
    assert assessed(200, targets=TWO, **ports).prediction.at == 140


@pytest.mark.parametrize(
    ("strategy", "begins"),
    [
        ("kernel", "14,116 connections of a source and target"),
        ("late", "14,116 connections of a source and target"),
        ("bind", "14,116 connections of a source"),
        ("reuseaddr", "7,058 connections of a source"),
    ],
)
def test_a_plan_says_from_which_occupancy_on_the_search_is_long(strategy: str, begins: str) -> None:
    sentence = f"the kernel's search for a source port is long from {begins} on"
    source = ("127.0.0.1",)
    found = assessed(15_000, source, strategy=strategy)
    (row,) = (resource for resource in found.resources if resource.limit == "port-search")
    assert row.note == sentence
    assert (row.needed, row.at, row.short, found.possible) == (15_000, None, False, True)
    assert any(note.startswith(sentence) for note in found.plan.notes)
    below = assessed(row.available, source, strategy=strategy)
    assert not any("search" in note for note in below.plan.notes)


def test_the_ports_found_quickly_are_those_of_every_space() -> None:
    found = assessed(100, ("127.0.0.2", "127.0.0.3"), targets=("127.0.0.1:9000", "127.0.0.1:9001"), strategy="late")
    assert [row.available for row in found.resources if row.limit == "port-search"] == [4 * 14_116]


@pytest.mark.parametrize("strategy", ["late-range", "explicit", "exclusive", "reuseport"])
def test_a_strategy_that_names_its_ports_has_no_search(strategy: str) -> None:
    found = assessed(28_000, strategy=strategy)
    assert not [resource for resource in found.resources if resource.limit == "port-search"]


def test_in_churn_ports_in_time_wait_are_walked_through_as_well() -> None:
    churn = "sources: {addresses: 198.18.0.1, strategy: late}\nchurn: {duration: 10s, concurrency: 8}\n"
    for more, needed in (("", None), ("arrival: {rate: 6/s}", 60), ("close: rst", 8)):
        text = FIN_ACROSS.replace("sources: {addresses: 198.18.0.1}\n", churn) + more
        facts = HostFacts(**{**FACTS, "port_range": PortRange(40_000, 41_999)})
        found = assess(scenarios.parse(text), ("198.18.0.1",), facts, LAB)
        searches = [(row.needed, row.available) for row in found.resources if row.limit == "port-search"]
        assert searches == [(needed, 1_000)]


def test_a_search_through_few_ports_is_not_long() -> None:
    """Of 998 ports it walks through 499, which takes less time than a batch of the event loop."""
    for ports, long in ((998, False), (1_000, True)):
        facts = HostFacts(**{**FACTS, "port_range": PortRange(40_000, 40_000 + ports - 1)})
        text = (
            FIN_ACROSS.replace("{addresses: 198.18.0.1}", "{addresses: 198.18.0.1, strategy: late}") + "connections: 10"
        )
        found = assess(scenarios.parse(text), ("198.18.0.1",), facts, LAB)
        assert any(row.limit == "port-search" for row in found.resources) is long
