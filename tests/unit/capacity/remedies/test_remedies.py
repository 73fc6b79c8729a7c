"""Each remedy is tried: its change is made in the scenario, which is planned again, and the figure has to come.

Over drawn scenarios and hosts for source ports, and over a table that has a case for each limit with figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen import scenario as scenarios
from loadgen.capacity import Allowances, Assessment, assess
from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.capacity.remedies import Quantity, Remedy, Situation
from loadgen.capacity.remedies.host import tracked_ceiling
from loadgen.capacity.remedies.search import ports_in_use
from loadgen.errors import UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimits, InUse
from loadgen.model import Endpoint, Plan, PortRange, Strategy, Transport
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from loadgen.results.schema.run import RunSummary
from loadgen.results.verdict import decide
from tests import samples

FACTS = HostFacts(
    kernel="6.18.0",
    machine="x86_64",
    cpus=2,
    memory_available_bytes=24_000_000_000,
    descriptors=20_000,
    files_free=10_000_000,
    port_range=PortRange(40_000, 40_099),
    reserved_ports=(40_007,),
    unprivileged_port_start=1024,
    privileged=False,
    listeners=(22, 5000, 40_003),
    missing_sources=(),
    default_sources=("127.0.0.2",),
    late_bind=True,
    port_range_option=True,
    sysctls={},
    datagram_ports=(53, 6000, 40_004, 40_005),
)
LAB = Allowances(in_lab=True)


def planned(
    scenario: Mapping[str, Any], changes: Mapping[str, Any], facts: HostFacts, limits: HostLimits | None = None
) -> Assessment:
    """What `loadgen plan` says of a scenario with some `--set`."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    made = scenarios.parse(json.dumps(scenario), overrides=overrides)
    first = "127.0.0.2" if made.sources.expanded[0].startswith("127.") else "198.18.0.2"
    facts = replace(facts, default_sources=(first,) * len(made.every_target))
    allowances = LAB if made.lab is not None else Allowances(in_lab=False)
    return assess(made, made.sources.expanded, facts, allowances, limits)


def with_remedy(remedy: Remedy, facts: HostFacts) -> tuple[dict[str, Any], HostFacts]:
    """The settings to plan with, and the host, after a remedy and what it needs."""
    facts = replace(facts, sysctls={**facts.sysctls, **remedy.sysctls})
    if port_range := remedy.sysctls.get("net.ipv4.ip_local_port_range"):
        low, high = map(int, port_range.split())
        facts = replace(facts, port_range=PortRange(low, high))
    return {**remedy.needs, **remedy.set}, facts


def room(assessment: Assessment) -> int:
    return next(resource.available for resource in assessment.resources if resource.name == "four-tuples")


@st.composite
def too_large(draw: st.DrawFn) -> tuple[dict[str, Any], HostFacts]:
    """A scenario that asks for more connections than there are four-tuples, and a host."""
    transport = draw(st.sampled_from(Transport))
    strategy = draw(st.sampled_from([name for name in Strategy if transport is Transport.TCP or name.row.udp]))
    sources = draw(st.integers(1, 4)) if strategy.row.binds_address else 1
    low, high = draw(st.integers(39_000, 40_020)), draw(st.integers(40_060, 41_000))
    facts = replace(FACTS, port_range=PortRange(low, high), port_range_option=draw(st.booleans()))
    scenario: dict[str, Any] = {
        "name": "gain",
        "lab": {},
        "sources": {"addresses": [f"127.0.0.{2 + n}" for n in range(sources)], "strategy": strategy.value},
        "targets": [{"address": f"127.0.0.1:{40_010 + n}"} for n in range(draw(st.integers(1, 4)))],
        "transport": transport.value,
        "connections": draw(st.integers(40_000, 60_000)),  # no host drawn here has as many
    }
    if strategy.row.names_ports and draw(st.booleans()):
        scenario["sources"]["ports"] = "40020-40080"
    if strategy.row.narrows_range and facts.port_range_option and draw(st.booleans()):
        scenario["sources"]["ports"] = "40020-40040"
    return scenario, facts


@settings(max_examples=150)
@given(too_large())
def test_a_remedy_gains_exactly_what_it_says(case: tuple[dict[str, Any], HostFacts]) -> None:
    """Applied with what it needs, and planned again; and without what it needs it is refused."""
    scenario, facts = case
    before = planned(scenario, {}, facts)
    tried = 0
    for remedy in before.remedies:
        if not (remedy.set or remedy.sysctls):
            continue
        changes, changed_facts = with_remedy(remedy, facts)
        assert room(planned(scenario, changes, changed_facts)) - room(before) == (remedy.gain or 0), remedy.sentence
        if remedy.needs:
            with pytest.raises(UsageError):
                planned(scenario, remedy.set, changed_facts)
        tried += 1
    assert tried, [remedy.sentence for remedy in before.remedies]


@settings(max_examples=100)
@given(too_large())
def test_a_plan_a_refusal_and_a_verdict_advise_the_same(case: tuple[dict[str, Any], HostFacts]) -> None:
    """The run that met the wall where the plan saw it: the same values, and the refusal names the first of them."""
    scenario, facts = case
    assessment = planned(scenario, {}, facts)
    wall, plan = assessment.first, assessment.plan
    verdict = files.plain(decide(run_into(plan, wall.at or 0), plan, files.convert(facts.to_json(), Host)))
    assert verdict["limit"] == wall.limit
    assert verdict["remedies_detail"] == [remedy.to_json() for remedy in assessment.remedies]
    assert verdict["remedies"] == [remedy.sentence for remedy in assessment.remedies]
    sufficient = [line for line, value in zip(verdict["remedies"], assessment.remedies, strict=True) if value.gain]
    assert str(assessment.refusal).partition("; ")[2].startswith(sufficient[0])


def run_into(plan: Plan, at: int) -> RunSummary:
    """The summary of a run that opened as many connections as there was room for."""
    rules = plan.strategy.over(plan.transport)
    syscall, number = rules.ends_text.split()
    failed = plan.connections - at
    changes = {
        "arrivals": {"scheduled": plan.connections, "started": plan.connections, "not_started": 0},
        "outcomes": {"established": at, "failed": failed, "in_flight": 0, "retried": 0},
        "errors": [{"syscall": syscall, "errno": number, "outcome": rules.outcome.value, "count": failed}],
        "open": {"peak": at, "end_of_hold": at, "lost": 0},
        "sources": rows(plan.pairs, plan.capacity_per_pair, at, failed),
        "probes": {},
        "kernel.delta": {},
        "kernel.peak": {},
        "kernel.ramp_peak": {},
    }
    return samples.summary(changes)


def rows(pairs: Sequence[tuple[str, Endpoint]], capacity: int, opened: int, failed: int) -> list[dict[str, Any]]:
    return [
        {
            "source": source,
            "target": str(target),
            "capacity": capacity,
            "peak_open": opened // len(pairs) + (index < opened % len(pairs)),
            "established": opened // len(pairs) + (index < opened % len(pairs)),
            "failed": failed // len(pairs),
        }
        for index, (source, target) in enumerate(pairs)
    ]


# --- A case for each limit with figures -----------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A situation: a scenario, what differs of the host, other sockets, and what a run or a plan is short of."""

    limit: str
    scenario: dict[str, Any]
    short: int | None = None
    sysctls: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    in_use: tuple[InUse, ...] = ()


def scenario_of(strategy: str = "late-range", *, lab: bool = True, **keys: Any) -> dict[str, Any]:
    """A hundred ports, one source and one target of loadgen's own."""
    ends = {"sources": {"addresses": ["127.0.0.2"], "strategy": strategy}}
    target = {"targets": [{"address": "127.0.0.1:9000", "sink": True}]}
    return {"name": "case", **({"lab": {}} if lab else {}), **ends, **target, **keys}


def across(strategy: str = "late-range", **keys: Any) -> dict[str, Any]:
    """The same over a cable, where no address is a loopback address."""
    made = scenario_of(strategy, **keys)
    sources = {"addresses": ["198.18.0.2"], "strategy": strategy, **keys.get("sources", {})}
    target = {"address": "198.18.1.1:80", "sink": {"speaks": "http"} if keys.get("protocol") else True}
    return {**made, "lab": {"topology": "veth"}, "sources": sources, "targets": [target]}


HELD = tuple(range(40_000, 40_050))
TABLE = {"net.netfilter.nf_conntrack_max": "262144", "net.netfilter.nf_conntrack_count": "0"}
WIDE: dict[str, Any] = {"port_range": PortRange(32_768, 60_999), "reserved_ports": (), "listeners": ()}
CASES = {
    "four-tuples": Case("four-tuples", scenario_of(connections=250)),
    "four-tuples of kernel": Case("four-tuples", scenario_of("kernel", connections=250)),
    "four-tuples outside a lab": Case("four-tuples", scenario_of("kernel", lab=False, connections=250)),
    "four-tuples of privileged ports": Case(
        "four-tuples", scenario_of(connections=250), facts={"unprivileged_port_start": 10_000}
    ),
    "source-ports": Case("source-ports", scenario_of("bind", connections=250)),
    "source-ports of a port outside the range": Case(
        "source-ports",
        scenario_of(connections=250)
        | {"sources": {"addresses": ["127.0.0.2"], "strategy": "exclusive", "ports": "20000-20099"}},
    ),
    "source-ports, outside a lab": Case(
        "source-ports",
        scenario_of(lab=False, connections=250)
        | {"sources": {"addresses": ["127.0.0.2"], "strategy": "exclusive", "ports": "20000-20099"}},
    ),
    "source-ports of many workers": Case("source-ports", scenario_of("bind", connections=250, workers=90)),
    "port-held": Case(
        "port-held",
        scenario_of(connections=100),
        in_use=(InUse("127.0.0.2", Endpoint("127.0.0.1", 9000), HELD, ()),),
    ),
    "time-wait": Case(
        "time-wait",
        across(connections=98),
        sysctls={"net.ipv4.tcp_tw_reuse": "2"},
        in_use=(InUse("198.18.0.2", Endpoint("198.18.1.1", 80), (), HELD),),
    ),
    **{
        f"time-wait of {strategy} in churn": Case(
            "time-wait",
            across(strategy, protocol="http", churn={"duration": "8s", "concurrency": 25}),
            sysctls={"net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_tw_reuse_delay": "1000"},
        )
        for strategy in ("kernel", "late-range", "bind", "reuseaddr", "exclusive")
    },
    "time-wait of a schedule": Case(
        "time-wait",
        across(protocol="http", churn={"duration": "100s", "concurrency": 25}, arrival={"rate": "10/s"}),
        sysctls={"net.ipv4.tcp_tw_reuse": "0"},
    ),
    "time-wait of one fixed port": Case(
        "time-wait",
        scenario_of(churn={"duration": "3s", "concurrency": 1}, arrival={"rate": "5/s"})
        | {"sources": {"addresses": ["127.0.0.2"], "strategy": "exclusive", "ports": "15060"}},
    ),
    "time-wait of connections that carry nothing": Case(
        "time-wait", across(churn={"duration": "8s", "concurrency": 25}), sysctls={"net.ipv4.tcp_tw_reuse": "1"}
    ),
    "port-search": Case("port-search", scenario_of("kernel", connections=28_000), 0, facts=WIDE),
    "port-search of reuseaddr, outside a lab": Case(
        "port-search", scenario_of("reuseaddr", lab=False, connections=28_000), 0, facts=WIDE
    ),
    "port-search in churn": Case(
        "port-search", scenario_of("kernel", churn={"duration": "5s", "concurrency": 64}), 0, facts=WIDE
    ),
    "descriptors": Case("descriptors", scenario_of(connections=90, descriptors=128, workers=1)),
    "conntrack": Case("conntrack", scenario_of(connections=300_000), 9, sysctls=TABLE),
    "conntrack in churn": Case(
        "conntrack",
        across(churn={"duration": "50s", "concurrency": 256}, close="target")
        | {"sources": {"addresses": ["198.18.2.1-198.18.2.16"]}},
        0,
        sysctls=TABLE,
        facts=WIDE,
    ),
    "path-limit": Case("path-limit", across(connections=90), 40),
    "nat-ports": Case("nat-ports", across(connections=90), 40),
}
#: Remedies whose gain is that of a box on the way: the plan of the scenario cannot show it.
OF_THE_WAY = ("path-limit", "nat-ports")


def situation_of(case: Case) -> tuple[Assessment, list[Remedy], HostFacts, HostLimits]:
    facts = replace(FACTS, sysctls={"net.ipv4.tcp_timestamps": "1", **case.sysctls})
    facts = replace(facts, **case.facts)
    limits = HostLimits(in_use=case.in_use)
    assessment = planned(case.scenario, {}, facts, limits)
    if case.short is None:
        assert assessment.first.limit == case.limit
        return assessment, assessment.remedies, facts, limits
    situation = Situation(assessment.plan, facts, case.short, target="T")
    return assessment, EVERY_LIMIT[case.limit].remedies(situation), facts, limits


def figure(assessment: Assessment, quantity: Quantity, limit: str, facts: HostFacts) -> float | None:
    """The figure of a plan that a claim is about."""
    plan = assessment.plan
    ceiling = plan.ceiling.per_s if plan.ceiling else None
    if limit == "conntrack":
        ceiling = tracked_ceiling(plan, facts)
    match quantity:
        case Quantity.CHURN:
            return ceiling
        case Quantity.REQUESTS:
            assert plan.churn
            return ceiling and ceiling * plan.churn.exchanges
        case Quantity.OCCUPANCY:
            return (ports_in_use(Situation(plan, facts, 0)) or 0) / plan.capacity
    return plan.capacity


@pytest.mark.parametrize("name", CASES)
def test_a_remedy_brings_what_it_claims(name: str) -> None:
    """Applied with its needs and planned again on the same host: it is not refused, and its figure has come."""
    case = CASES[name]
    before, remedies, facts, limits = situation_of(case)
    tried = [remedy for remedy in remedies if remedy.set or remedy.sysctls]
    assert tried or case.limit == "conntrack"
    for remedy in tried:
        changes, changed_facts = with_remedy(remedy, facts)
        after = planned(case.scenario, changes, changed_facts, limits)
        refused = after.refusal
        enough = remedy.gain is None or remedy.gain >= before._short(before.first)
        assert refused is None or not enough, f"{remedy.sentence}: {refused}"
        if remedy.claim and case.limit not in (*OF_THE_WAY, "port-held"):
            claim = remedy.claim
            now, then = (
                figure(one, claim.quantity, case.limit, its) for one, its in ((before, facts), (after, changed_facts))
            )
            assert claim.before == pytest.approx(now, rel=1e-4), remedy.sentence
            assert claim.after == (None if then is None else pytest.approx(then, rel=1e-4)), remedy.sentence
        if remedy.gain and case.limit in ("time-wait", "port-held"):
            assert allowed(after) - allowed(before) >= remedy.gain, remedy.sentence


def allowed(assessment: Assessment) -> int:
    """The connections of a plan: in churn those that its ports give, else those that find a port."""
    plan = assessment.plan
    if plan.churn:
        assert plan.ceiling
        return plan.ceiling.established or 0
    return min(line.available for line in assessment.resources if line.name.startswith("four-tuples"))


def test_every_limit_with_figures_has_a_case() -> None:
    """Those whose remedies only say what to look at have none to try."""
    assert {case.limit for case in CASES.values()} >= {
        name
        for name, row in EVERY_LIMIT.items()
        if row.uses_ports or name in ("port-search", "conntrack", "path-limit")
    }


@pytest.mark.parametrize(
    ("more", "established"),
    [
        ({}, 98),  # a closed loop: every port once
        ({"arrival": {"rate": "100/s"}}, 98),
        ({"arrival": {"rate": "100/s"}, "sources": {"addresses": ["198.18.0.2-198.18.0.3"]}}, 196),
    ],
)
@pytest.mark.parametrize("strategy", ["late-range", "bind"])
def test_a_plan_of_churn_and_its_verdict_advise_the_same(more: dict[str, Any], established: int, strategy: str) -> None:
    """The run that got as many as the plan has ports for: the same values, in the same order."""
    keys = across(strategy, protocol="http", churn={"duration": "8s", "concurrency": 25}) | more
    keys["sources"] = {**keys["sources"], "strategy": strategy}
    facts = replace(FACTS, sysctls={"net.ipv4.tcp_timestamps": "1", "net.ipv4.tcp_tw_reuse": "2"})
    assessment = planned(keys, {}, facts)
    plan = assessment.plan
    assert plan.ceiling
    assert plan.ceiling.established == established
    scheduled = plan.scheduled or 2 * established
    rules = plan.strategy.over(plan.transport)
    syscall, number = rules.ends_text.split()
    denied = scheduled - established
    summary = samples.summary(
        {
            "arrivals": {"scheduled": scheduled, "started": scheduled, "not_started": 0},
            "outcomes": {"established": established, "failed": denied, "in_flight": 0, "retried": 0},
            "errors": [{"syscall": syscall, "errno": number, "outcome": rules.outcome.value, "count": denied}],
            "open": {"peak": 4, "end_of_hold": 0, "lost": 0},
            "sources": rows(plan.pairs, plan.capacity_per_pair, 4, denied),
            "probes": {},
            "kernel.delta": {},
            "kernel.peak": {},
            "kernel.ramp_peak": {"sockstat.tcp_tw": established},
        },
        "churn",
    )
    verdict = files.plain(decide(summary, plan, files.convert(facts.to_json(), Host)))
    assert verdict["limit"] == "time-wait"
    assert verdict["remedies_detail"] == [
        remedy.to_json() for remedy in assessment.remedies_of(assessment.resources[0])
    ]
