"""The nouns: a plan survives JSON, and what cannot be is not made."""

from __future__ import annotations

import errno
import pickle
import socket
from dataclasses import MISSING, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.model import (
    CloseMode,
    Endpoint,
    Headroom,
    Plan,
    PortRange,
    Shard,
    Stage,
    Strategy,
    Target,
    canonical_address,
)
from loadgen.results.schema import files
from tests.plans import plan_of

counts = st.integers(0, 10**7)
processes = st.integers(0, 1 << 16)
seconds = st.floats(0, 10**6)
texts = st.text(max_size=20)
addresses = st.ip_addresses().map(str)
port_numbers = st.integers(1, 65_535)
ranges = st.tuples(port_numbers, port_numbers).map(lambda ends: PortRange(min(ends), max(ends)))
endpoints = st.builds(Endpoint, addresses, port_numbers)
stages = st.builds(Stage, seconds, seconds, st.none() | seconds)
plans = st.builds(
    Plan,
    name=texts,
    connections=counts,
    sources=st.lists(addresses, max_size=3).map(tuple),
    targets=st.lists(st.builds(Target, endpoints, st.booleans()), max_size=3).map(tuple),
    strategy=st.sampled_from(Strategy),
    ports=ranges,
    skipped_ports=st.lists(port_numbers, max_size=3).map(tuple),
    capacity_per_pair=counts,
    stages=st.lists(stages, max_size=3).map(tuple),
    hold_s=seconds,
    close=st.sampled_from(CloseMode),
    timeout_s=seconds,
    in_flight_max=counts,
    interval_s=seconds,
    workers=processes,
    sinks=processes,
    routes=st.lists(addresses, max_size=2).map(tuple),
    expect=st.lists(texts, max_size=2).map(tuple),
    headroom=st.lists(st.builds(Headroom, texts, counts, counts, texts), max_size=2).map(tuple),
    notes=st.lists(texts, max_size=2).map(tuple),
)
PLAN = plan_of(
    connections=1,
    sources=("127.0.0.2", "127.0.0.3"),
    targets=(Target(Endpoint("127.0.0.1", 1), sink=True), Target(Endpoint("127.0.0.1", 2), sink=False)),
    strategy=Strategy.LATE,
    ports=PortRange(1, 2),
    capacity_per_pair=2,
    workers=3,
    sinks=1,
)


@settings(max_examples=20)
@given(plans)
def test_a_plan_is_the_same_after_json_and_after_another_process(plan: Plan) -> None:
    assert files.read(files.line_of(plan), Plan) == plan
    assert pickle.loads(pickle.dumps(Shard(plan, 0))) == Shard(plan, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("strategy", "magic"), ("ports", {"low": 5, "high": 4}), ("targets", 5), ("close", None)],
)
def test_a_wrong_value_in_a_plan_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf" - at `\$\.{key}"):
        files.convert({**files.plain(PLAN), key: value}, Plan)


def test_a_plan_may_lack_what_older_versions_did_not_have_and_nothing_else() -> None:
    whole = files.plain(PLAN)
    for one in fields(Plan):
        data = {key: value for key, value in whole.items() if key != one.name}
        if one.default is MISSING:
            with pytest.raises(ValueError, match=f"missing required field `{one.name}`"):
                files.convert(data, Plan)
        else:
            assert files.convert(data, Plan) == PLAN


def test_pairs_go_target_by_target() -> None:
    assert [(source, target.port) for source, target in PLAN.pairs] == [
        ("127.0.0.2", 1),
        ("127.0.0.3", 1),
        ("127.0.0.2", 2),
        ("127.0.0.3", 2),
    ]


def test_pairs_are_computed_once_and_stay_out_of_equality_pickle_and_json() -> None:
    """65,536 sources take milliseconds, and a worker asks nine times before its first connect()."""
    fresh, used = replace(PLAN), replace(PLAN)
    assert used.pairs is used.pairs
    assert used == fresh
    assert (pickle.dumps(used), files.plain(used)) == (pickle.dumps(fresh), files.plain(fresh))
    assert pickle.loads(pickle.dumps(used)).pairs == used.pairs
    assert replace(used, sources=("127.0.0.4",)).pairs == replace(fresh, sources=("127.0.0.4",)).pairs != used.pairs


def test_only_ends_of_one_family_make_a_pair() -> None:
    targets = (Target(Endpoint("127.0.0.1", 1), sink=False), Target(Endpoint("::1", 1), sink=False))
    plan = replace(PLAN, sources=("127.0.0.2", "::1"), targets=targets)
    assert plan.pairs == (("127.0.0.2", targets[0].endpoint), ("::1", targets[1].endpoint))


def test_where_the_route_chooses_each_target_has_one_source() -> None:
    plan = replace(PLAN, strategy=Strategy.KERNEL, routes=("127.0.0.3", "127.0.0.2"))
    assert [(source, target.port) for source, target in plan.pairs] == [("127.0.0.3", 1), ("127.0.0.2", 2)]


def test_a_shard_knows_how_many_there_are() -> None:
    assert Shard(PLAN, 2).count == 3
    assert Shard(replace(PLAN, workers=1), 0).count == 1


def test_an_endpoint_of_either_family() -> None:
    four, six = Endpoint("127.0.0.1", 80), Endpoint("::1", 80)
    assert (four.family, str(four), four.sockaddr) == (socket.AF_INET, "127.0.0.1:80", ("127.0.0.1", 80))
    assert (six.family, str(six), six.sockaddr) == (socket.AF_INET6, "[::1]:80", ("::1", 80))


def test_a_zone_is_a_number_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nametoindex", {"eth0": 7}.__getitem__)
    assert Endpoint("fe80::1%eth0", 80).sockaddr == ("fe80::1", 80, 0, 7)
    assert str(Endpoint("fe80::1%eth0", 80)) == "[fe80::1%eth0]:80"
    monkeypatch.undo()
    with pytest.raises(OSError, match="no interface 'no-such-one'") as caught:
        assert Endpoint("fe80::1%no-such-one", 80).sockaddr
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(("low", "high"), [(0, 5), (6, 5), (-1, 5), (1, 65_536)])
def test_no_port_range(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"{low}-{high} is no port range"):
        PortRange(low, high)


@settings(max_examples=25)
@given(ranges, st.integers(0, 65_536))
def test_a_port_range_includes_both_ends(ports: PortRange, port: int) -> None:
    every = range(ports.low, ports.high + 1)
    assert len(ports) == len(every) >= 1
    assert (port in ports) == (port in every)
    assert str(ports) == f"{every[0]}-{every[-1]}"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("FD00:0:0::1", "fd00::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%br-lan.7", "fe80::1%br-lan.7"),
    ],
)
def test_an_address_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_address(text) == canonical


@pytest.mark.parametrize("text", ["", "010.0.0.1", "10.1", "localhost", "::1%", "fe80::1%a b", "fe80::1%\x1b[31m"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|zone"):
        canonical_address(text)
