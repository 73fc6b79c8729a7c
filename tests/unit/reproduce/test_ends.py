"""Every source and target of the evidence has an address of the lab, distinct ones stay distinct."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.model import PortRange, Topology
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.ends import Ends, ends_of, parsed_address, parsed_target
from loadgen.reproduce.scaled import scaled

from .situations import ANY


def ends(
    sources: tuple[str, ...] = (), targets: tuple[str, ...] = (), *, ports: PortRange | None = None, **flags: bool
) -> Ends:
    facts = Circumstances("four-tuples", sources=sources, targets=targets, ports=ports)
    settings = {"veth": False, "most": False, "one_source": False, "every_source": False, **flags}
    return ends_of(facts, scaled(facts), **settings)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("10.0.0.7:443", ("10.0.0.7", 443)),
        ("[::1]:6432", ("[::1]", 6432)),
        ("::1", ("::1", 0)),
        ("redis.internal:6379", ("redis.internal", 6379)),
        ("redis.internal", ("redis.internal", 0)),
        ("10.0.0.7:https", ("10.0.0.7:https", 0)),
        ("10.0.0.7:70000", ("10.0.0.7", 0)),
        ("", ("", 0)),
    ],
)
def test_targets_in_the_forms_that_people_paste(text: str, parsed: tuple[str, int]) -> None:
    assert parsed_target(text) == parsed


def test_an_address_may_have_brackets_and_a_zone() -> None:
    assert str(parsed_address("[fe80::1%eth0]")) == "fe80::1"
    assert str(parsed_address("::ffff:10.0.0.1")) == "10.0.0.1"
    assert parsed_address("redis") is None


def test_two_sources_stay_two_and_a_port_stays() -> None:
    made = ends(("10.0.0.5", "10.0.0.6"), ("10.0.0.7:443", "10.0.0.7:80", "10.0.0.8:443"))
    assert made.sources == ("127.0.0.2", "127.0.0.3")
    assert [str(target) for target in made.targets] == ["127.0.1.1:443", "127.0.1.1:80", "127.0.1.2:443"]
    assert (made.sources_of, made.targets_of, made.topology) == (2, 3, Topology.LOOPBACK)


def test_loopback_addresses_stay_as_they_are() -> None:
    made = ends(("127.0.0.6",), ("127.0.3.1:8080",))
    assert (made.sources, str(made.targets[0])) == (("127.0.0.6",), "127.0.3.1:8080")


def test_a_cable_is_for_addresses_that_are_not_loopback() -> None:
    assert ends(("10.0.0.5",), veth=True).topology is Topology.VETH
    assert ends(("127.0.0.5",), ("127.0.0.1:80",), veth=True).topology is Topology.LOOPBACK
    assert ends(veth=True).topology is Topology.VETH


def test_several_addresses_of_ipv6_need_a_cable() -> None:
    assert ends(("2001:db8::1",), ("[2001:db8::2]:443",)).sources == ("::1",)
    made = ends(("2001:db8::1", "2001:db8::2"), ("[2001:db8::3]:443",))
    assert (made.topology, made.sources) == (Topology.VETH, ("fd00:1::2", "fd00:1::3"))


def test_a_client_that_binds_nothing_has_the_source_of_its_route() -> None:
    made = ends(("10.0.0.5", "10.0.0.6"), ("10.0.0.7:443",), one_source=True)
    assert (made.sources, str(made.targets[0]), made.sources_of) == (("127.0.0.1",), "127.0.0.1:443", 2)


def test_a_target_does_not_listen_on_a_source_port() -> None:
    assert ends(targets=("10.0.0.7:40050",)).targets[0].port == 9000
    assert ends(targets=("10.0.0.7:50050",), ports=PortRange(1, 65535)).targets[0].port == 50050


def test_many_spaces_are_cut_and_counted() -> None:
    made = ends(tuple(f"10.0.0.{number}" for number in range(1, 51)))
    assert (len(made.sources), made.sources_of) == (4, 50)
    assert len(ends(tuple(f"10.0.0.{number}" for number in range(1, 51)), most=True).sources) == 50


@given(ANY, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_ends_are_distinct_and_of_one_family(
    circumstances: Circumstances, veth: bool, most: bool, one_source: bool, every_source: bool
) -> None:
    small = scaled(circumstances)
    made = ends_of(circumstances, small, veth=veth, most=most, one_source=one_source, every_source=every_source)
    assert made.sources
    assert made.targets
    assert len(set(made.sources)) == len(made.sources)
    assert len(set(made.targets)) == len(made.targets)
    colon = made.version == 6
    assert all((":" in address) == colon for address in (*made.sources, *(end.address for end in made.targets)))
    assert all(end.port != circumstances.source_port for end in made.targets)
