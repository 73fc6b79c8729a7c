"""Each recipe writes what makes its limit appear, in numbers of the evidence as far as they take seconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from loadgen.capacity.limits import LIMITS
from loadgen.model import CloseMode, PortRange, ProbeKind, Strategy, Topology, Transport
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.rebuilt import NotReproducibleError
from loadgen.reproduce.recipes import RECIPES
from loadgen.reproduce.writing import write
from loadgen.scenario import ScenarioSpec, parse

DOCS = Path(__file__).parents[3] / "docs" / "scenario.md"
FULL = PortRange(32768, 60999)


def scenario(limit: str, *, full_size: bool = False, **facts: Any) -> ScenarioSpec:
    return parse(write(Circumstances(limit, **facts), full_size=full_size))


def expectations(found: ScenarioSpec) -> list[str]:
    return [expectation.text for expectation in found.expect]


def test_every_recipe_is_of_a_limit() -> None:
    assert set(RECIPES) <= set(LIMITS)


def test_the_documentation_has_a_row_for_each_recipe() -> None:
    section = DOCS.read_text().partition("## A situation of another host")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", section, re.MULTILINE)
    assert dict(rows) == {name: recipe.how for name, recipe in RECIPES.items()}


@pytest.mark.parametrize(
    ("limit", "facts", "expected"),
    [
        ("four-tuples", {}, ["errors.connect.EADDRNOTAVAIL >= 1", "verdict.limit == four-tuples"]),
        ("source-ports", {}, ["errors.bind.EADDRINUSE >= 1", "verdict.limit == source-ports"]),
        ("source-ports", {"transport": Transport.UDP}, ["errors.connect.EAGAIN >= 1", "verdict.limit == source-ports"]),
        ("time-wait", {"fails": ("bind", "EADDRINUSE")}, ["errors.bind.EADDRINUSE >= 1", "verdict.limit == time-wait"]),
        ("port-held", {"transport": Transport.UDP}, ["errors.connect.EAGAIN >= 1", "verdict.limit == source-ports"]),
        ("forbidden", {"transport": Transport.UDP}, ["errors.send.EPERM >= 1", "verdict.limit == forbidden"]),
        (
            "unreachable",
            {"fails": ("connect", "ENETUNREACH")},
            ["errors.connect.ENETUNREACH >= 1", "verdict.limit == unreachable"],
        ),
        (
            "source-address",
            {"fails": ("bind", "EADDRNOTAVAIL"), "reason": "tentative"},
            ["errors.bind.EADDRNOTAVAIL >= 1", "verdict.limit == source-address"],
        ),
    ],
)
def test_only_the_same_error_and_the_same_limit_meet_the_expectations(
    limit: str, facts: dict[str, Any], expected: list[str]
) -> None:
    found = scenario(limit, **facts)
    assert expectations(found) == expected
    assert found.expects_failure


def test_more_connections_are_wanted_than_fit() -> None:
    assert scenario("four-tuples", ports=FULL, targets=("10.0.0.7:1", "10.0.0.7:2")).connections == 240
    assert scenario("four-tuples", ports=FULL, wanted=56_464).connections == 200
    assert scenario("four-tuples", ports=FULL, wanted=40_000, full_size=True).connections == 40_000
    assert scenario("four-tuples", ports=FULL, wanted=10).connections == 120  # fewer never meet the wall


def test_the_share_in_use_is_the_concurrency_of_the_churn() -> None:
    """Of 28,232 ports 2,823 are in use, and all others rest: a tenth here, too."""
    found = scenario("time-wait", ports=FULL, in_use=2823, time_wait=25_409)
    assert found.churn
    assert (found.churn.concurrency, found.close) == (10, CloseMode.FIN)


def test_a_rate_keeps_its_ratio_to_the_ceiling_where_that_takes_seconds_only() -> None:
    """Ports rest for one second there (tcp_tw_reuse=1): twice the ceiling there is twice the ceiling here."""
    found = scenario("time-wait", ports=FULL, rate_per_s=56_464.0, sysctls={"net.ipv4.tcp_tw_reuse": "1"})
    assert found.arrival
    assert found.arrival.rate_per_s == 200.0


def test_a_rate_that_would_take_a_minute_is_raised_and_says_so() -> None:
    text = write(Circumstances("time-wait", ports=FULL, rate_per_s=600.0))
    found = parse(text)
    assert found.arrival
    assert found.churn
    assert found.arrival.rate_per_s == pytest.approx(100 / 1.5, rel=0.01)
    assert found.churn.duration_s == 2
    assert "more than in proportion, because TIME-WAIT of 60 s does not shrink" in " ".join(text.split("# "))


def test_full_size_keeps_the_rate_and_takes_the_time_that_it_takes() -> None:
    found = scenario("time-wait", ports=FULL, rate_per_s=600.0, full_size=True)
    assert found.arrival
    assert found.churn
    assert found.arrival.rate_per_s == 600.0
    assert found.churn.duration_s == 48  # 28,232 / 600/s


def test_time_wait_is_on_a_cable_unless_all_was_loopback() -> None:
    """tcp_tw_reuse=2, the default, is about loopback addresses only."""
    far, near = scenario("time-wait", targets=("10.0.0.7:80",)), scenario("time-wait", targets=("127.0.0.1:80",))
    assert (far.lab and far.lab.topology, near.lab and near.lab.topology) == (Topology.VETH, Topology.LOOPBACK)


def test_a_fixed_port_is_kept() -> None:
    found = scenario("time-wait", source_port=5060, targets=("10.0.0.7:5060",), fails=("bind", "EADDRINUSE"))
    assert (found.sources.strategy, found.sources.ports) == (Strategy.EXCLUSIVE, PortRange(5060, 5060))
    assert found.targets[0].destination.ports.low != 5060


@pytest.mark.parametrize("strategy", [Strategy.EXPLICIT, Strategy.REUSEPORT])
def test_a_strategy_that_takes_ports_out_of_time_wait_has_no_such_wall(strategy: Strategy) -> None:
    with pytest.raises(NotReproducibleError, match="no port rests in TIME-WAIT"):
        write(Circumstances("time-wait", strategy=strategy))


def test_held_ports_are_those_of_another_process() -> None:
    found = scenario("port-held", ports=FULL, held=tuple(range(33000, 40058)))
    assert found.lab
    assert found.lab.held == tuple(range(40000, 40025))
    assert found.connections == 90  # a fifth more than 75


def test_a_service_finds_its_port_in_use() -> None:
    found = scenario("port-held", ports=FULL, service_port=38151, fails=("bind", "EADDRINUSE"))
    (probe,) = found.probes
    assert probe.ports == PortRange(40019, 40019)
    assert found.connections == 100
    assert expectations(found) == ["probes.service.errors.bind.EADDRINUSE >= 1", "outcomes.failed == 0"]


def test_a_service_outside_of_the_range_has_another_rival() -> None:
    found = scenario("port-held", service_port=9000)
    assert found.lab
    assert found.lab.held == (9000,)
    assert [target.destination.ports.low for target in found.targets] == [9001]
    assert "no outgoing connection takes one outside 32768-60999" in found.description


def test_a_port_that_no_service_can_have_is_refused() -> None:
    with pytest.raises(NotReproducibleError, match="70000 is no port"):
        write(Circumstances("port-held", service_port=70_000))


@pytest.mark.parametrize(("port", "place"), [(32768, 32768), (32799, 32799), (32800, 32799)])
def test_the_last_of_an_odd_number_of_ports_is_never_taken(port: int, place: int) -> None:
    found = scenario("port-held", service_port=port, ports=PortRange(32768, 32800))
    assert (found.connections, found.probes[0].ports) == (32, PortRange(place, place))


def test_a_service_that_starts_again_meets_its_own_time_wait() -> None:
    found = scenario("time-wait", service_port=8500, fails=("bind", "EADDRINUSE"))
    (probe,) = found.probes
    assert (probe.kind, probe.ports) == (ProbeKind.RESTART, PortRange(8500, 8500))
    assert "probes.service.held_by.time-wait == 1" in expectations(found)


def test_a_rate_that_no_machine_has_is_not_tried_at_full_size() -> None:
    with pytest.raises(NotReproducibleError, match=r"28,232/s fit .* leave --full-size out"):
        scenario("time-wait", targets=("127.0.0.1:80",), full_size=True)


def test_a_long_search_is_foretold_at_full_size() -> None:
    searching, not_searching = (
        scenario("time-wait", strategy=strategy, full_size=True) for strategy in (Strategy.KERNEL, Strategy.LATE_RANGE)
    )
    assert "meets port-search instead" in searching.description
    assert searching.arrival
    assert searching.arrival.rate_per_s == pytest.approx(28_232 / 48, rel=0.01)
    assert "port-search" not in not_searching.description
    assert not_searching.arrival is None


@pytest.mark.parametrize("reason", ["tentative", "needs-freebind", "duplicate", "not-routed", "interface-down"])
def test_a_reason_that_no_lab_has_is_not_pretended(reason: str) -> None:
    found = scenario("source-address", sources=("fd00:7::2",), reason=reason, fails=("bind", "EADDRNOTAVAIL"))
    assert f"There the address is {reason}, which a lab cannot rebuild" in found.description


def test_ipv6_that_is_off_is_off() -> None:
    found = scenario("source-address", targets=("[::1]:6432",), reason="ipv6-off", fails=("connect", "EADDRNOTAVAIL"))
    assert found.lab
    assert found.lab.sysctls == {"net.ipv6.conf.lo.disable_ipv6": 1}
    assert found.sources.strategy is Strategy.KERNEL


@pytest.mark.parametrize(
    ("limit", "facts", "missing"),
    [
        ("memory", {}, "exist once per host"),
        ("descriptors", {"fails": ("socket", "ENFILE")}, "fs.file-max exists once per host"),
        ("conntrack", {"transport": Transport.UDP}, "for TCP only"),
        ("backlog", {"transport": Transport.UDP}, "for TCP only"),
    ],
)
def test_what_no_lab_can_rebuild_is_refused(limit: str, facts: dict[str, Any], missing: str) -> None:
    with pytest.raises(NotReproducibleError, match=missing):
        scenario(limit, **facts)


def test_an_errno_that_no_lab_has_is_named_beside_the_nearest() -> None:
    found = scenario("forbidden", fails=("connect", "EPERM"))
    assert "There it is EPERM" in found.description
    assert expectations(found)[0] == "errors.connect.EACCES >= 1"


def test_descriptors_shrink_and_stay_with_full_size() -> None:
    small, full = scenario("descriptors", descriptors=1024), scenario("descriptors", descriptors=65_536, full_size=True)
    assert (small.descriptors, small.connections, small.workers) == (256, 341, 1)
    assert (full.descriptors, full.connections) == (65_536, 87_381)


def test_the_search_needs_its_size() -> None:
    found = scenario("port-search", ports=PortRange(40000, 40499))
    assert "thousands" in found.description
    assert found.connections == 7840


@pytest.mark.parametrize(
    ("limit", "key", "rule"),
    [
        ("nat-ports", "rules", "tcp dport 443 snat to 198.18.0.2:1024-1073"),
        ("path-limit", "rules_of_sinks", "{ ip saddr ct count over 50 } drop"),
        ("neighbours", "rules_of_sinks", "size 1000;"),
        ("syn-loss", "rules", "numgen inc mod 50 == 0 drop"),
        ("blackhole", "rules", "tcp flags & (syn|ack) == syn drop"),
        ("reset", "rules", "== ack reject with tcp reset"),
        ("unreachable", "rules", "reject with icmp type host-unreachable"),
    ],
)
def test_a_rule_stands_in_for_the_box_that_does_it(limit: str, key: str, rule: str) -> None:
    found = scenario(limit, targets=("10.0.0.7:443",), nat_ports=64_000 if limit == "nat-ports" else None)
    assert found.lab
    assert rule in getattr(found.lab, key)


def test_a_number_on_the_way_is_kept_where_it_is_small_or_asked_for() -> None:
    def ports(found: ScenarioSpec) -> str:
        assert found.lab
        match = re.search(r"snat to \S+:(\d+-\d+)", found.lab.rules)
        assert match
        return match[1]

    assert ports(scenario("nat-ports", nat_ports=20)) == "1024-1043"
    assert ports(scenario("nat-ports", nat_ports=1000)) == "1024-1073"
    assert ports(scenario("nat-ports", nat_ports=1000, full_size=True)) == "1024-2023"


def test_a_queue_that_never_empties_or_does_so_late() -> None:
    never, late = scenario("backlog", backlog=128, fails=("connect", "ETIMEDOUT")), scenario("backlog", backlog=8)
    assert (never.targets[0].backlog, never.targets[0].accept, never.sinks) == (16, False, 1)
    assert (late.targets[0].backlog, late.targets[0].accept_after_s) == (8, 1.5)
