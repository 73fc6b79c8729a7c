"""Circumstances of a finding: the numbers of the evidence, each with its place."""

from __future__ import annotations

from loadgen.explain import judge
from loadgen.explain.reproduced import circumstances_of
from loadgen.model import PortRange
from loadgen.reproduce.circumstances import Circumstances
from loadgen.strategies import Strategy
from tests.unit.explain.samples import ENVOY, LISTEN, LOOPBACK_6, NGINX, RANGE, case, listing, space


def circumstances(*texts: str) -> Circumstances:
    made = case(*texts)
    return circumstances_of(made, judge.judge(made)[0])


def test_a_full_space_has_its_ends_range_and_numbers() -> None:
    found = circumstances(NGINX, RANGE, listing(*space("TIME-WAIT", 80), *space("ESTAB", 20, low=40_080)))
    assert (found.limit, found.fails) == ("time-wait", ("connect", "EADDRNOTAVAIL"))
    assert (found.sources, found.targets) == (("10.0.0.5",), ("10.0.0.7:80",))
    assert (found.ports, found.in_use, found.time_wait) == (PortRange(40_000, 40_099), 20, 80)
    assert found.because["ports"] == "line 2, net.ipv4.ip_local_port_range"
    assert found.because["fails"] == "line 1"


def test_what_is_assumed_is_not_told() -> None:
    found = circumstances(NGINX)
    assert (found.ports, found.in_use, found.sysctls) == (None, None, {})
    assert "ports" not in found.because


def test_the_strategy_follows_from_the_call() -> None:
    assert circumstances(ENVOY).strategy is Strategy.BIND
    assert circumstances(NGINX).strategy is Strategy.KERNEL


def test_a_service_and_an_address_have_what_their_recipes_need() -> None:
    assert circumstances(LISTEN).service_port == 38_151
    assert circumstances(LOOPBACK_6, "net.ipv6.conf.lo.disable_ipv6 = 1\n").reason == "ipv6-off"
