"""What is missing, most useful first, and nothing that is there."""

from __future__ import annotations

import pytest

from tests.unit.explain.samples import ENVOY, LISTEN, LOOPBACK_6, NGINX, RANGE, TIMEOUT, explained, listing, space


def commands(*texts: str) -> list[str]:
    return [one.command for one in explained(*texts).missing]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (NGINX, "ss -tanp"),
        (ENVOY, "ss -tanp"),
        (LISTEN, "ss -tanp 'sport = :38151'"),
        (TIMEOUT, "tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0'"),
    ],
)
def test_the_command_that_decides_comes_first(text: str, first: str) -> None:
    assert commands(text)[0] == first


def test_ipv6_asks_for_the_setting_as_well() -> None:
    assert "sysctl net.ipv6.conf.lo.disable_ipv6" in commands(LOOPBACK_6)
    assert "sysctl net.ipv6.conf.lo.disable_ipv6" not in commands(LOOPBACK_6, "net.ipv6.conf.lo.disable_ipv6 = 1\n")


def test_an_assumed_range_is_missing_and_one_that_was_read_is_not() -> None:
    sysctl = "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports"
    assert sysctl in commands(listing(*space("ESTAB", 5)))
    assert sysctl not in commands(RANGE, listing(*space("ESTAB", 5)))


def test_a_decided_case_misses_nothing() -> None:
    assert commands(NGINX, RANGE, listing(*space("ESTAB", 100))) == []
