"""`ip addr` and its forms: the same addresses whichever form shows them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.addresses import ADDRESSES, BRIEF, INET6
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked

FOUR = [("127.0.0.1", 8, "lo"), ("10.9.0.1", 32, "veth1"), ("10.0.0.5", 24, "veth0"), ("10.0.0.6", 24, "veth0")]


def four(found: Evidence) -> list[tuple[str, int, str]]:
    return [(one.address, one.prefix, one.device) for one in found.addresses if "." in one.address]


def flags(found: Evidence) -> dict[str, frozenset[str]]:
    return {link.device: link.flags for link in found.links}


@pytest.mark.parametrize("name", ["ip-addr.txt", "ip-d-s-addr.txt", "ip-o-addr.txt", "ip-br-addr.txt"])
def test_the_same_addresses_in_every_form(name: str) -> None:
    found = captured(f"ip/{name}")
    assert four(found) == FOUR
    assert [one.address for one in found.addresses if one.address.startswith("2001")] == ["2001:db8::5"]


def test_an_address_under_duplicate_detection_is_tentative() -> None:
    found = captured("ip/ip-addr.txt")
    assert {one.address for one in found.addresses if "tentative" in one.flags} >= {"2001:db8::5"}
    assert [one.flags for one in found.addresses if one.address == "10.0.0.6"] == [frozenset({"secondary"})]
    assert all(one.shows_flags for one in found.addresses)


def test_a_failed_duplicate_detection_is_told() -> None:
    found = evidence_of(
        "2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500\n    inet6 2001:db8::5/64 scope global tentative dadfailed \n"
    )
    assert found.addresses[0].flags == {"tentative", "dadfailed"}


def test_the_brief_form_does_not_pretend_to_know_flags() -> None:
    found = captured("ip/ip-br-addr.txt")
    assert not any(one.shows_flags for one in found.addresses)
    assert flags(found) == {"veth1": {"UP"}, "veth0": {"UP"}}


@pytest.mark.parametrize("name", ["ip-br-link.txt", "ip-addr.txt"])
def test_the_flags_of_interfaces(name: str) -> None:
    assert flags(captured(f"ip/{name}")) == {
        "lo": {"LOOPBACK", "UP", "LOWER_UP"},
        "veth1": {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"},
        "veth0": {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"},
    }


def test_an_excerpt_of_grep_has_the_interface_of_its_label() -> None:
    found = evidence_of(
        "    inet 10.0.0.5/24 brd 10.0.0.255 scope global secondary eth0:1\n    inet6 ::1/128 scope host \n"
    )
    assert [(one.address, one.device) for one in found.addresses] == [("10.0.0.5", "eth0"), ("::1", "")]


def test_an_interface_that_is_down() -> None:
    found = evidence_of(
        "3: eth1: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc mq state DOWN group default qlen 1000\n"
    )
    assert flags(found) == {"eth1": {"NO-CARRIER", "BROADCAST", "MULTICAST", "UP"}}


def test_the_file_of_proc_has_flags_in_bits() -> None:
    found = captured("ip/proc-net-if_inet6.txt")
    assert {(one.address, one.prefix, one.device, one.flags) for one in found.addresses} >= {
        ("2001:db8::5", 64, "veth0", frozenset({"tentative", "permanent"})),
        ("::1", 128, "lo", frozenset({"permanent"})),
    }


@pytest.mark.parametrize(
    "text",
    [
        "2: eth0: is the interface in question",
        "inet 10.0.0.500/24 scope global eth0",
        "inet6 10.0.0.5/24 scope global eth0",
        "inet is a word with a scope of its own",
        "eth0 UP and running",
    ],
)
def test_prose_and_wrong_addresses_are_left_unread(text: str) -> None:
    found = evidence_of(text)
    assert (found.addresses, found.links) == ([], [])
    assert [(one.first, one.last) for one in found.unread] == [(1, 1)]


@settings(max_examples=60)
@given(wrecked("ip/ip-addr.txt", "ip/ip-br-addr.txt", "ip/ip-o-addr.txt", "ip/proc-net-if_inet6.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [INET6, ADDRESSES, BRIEF]))
