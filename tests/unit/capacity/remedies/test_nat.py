"""Remedies for the ports of a translation, and for TIME-WAIT at the target."""

from __future__ import annotations

from dataclasses import replace

from loadgen.capacity.remedies import Remedy, Situation, more_nat_ports, more_tracking, outlast_time_wait
from loadgen.kernel.host import HostFacts
from loadgen.model import AgentPlan, Churn, CloseMode, Endpoint, Nat, NatKind, Plan, PortRange, Target
from tests.plans import plan_of
from tests.unit.capacity.samples import FACTS

NAT = Nat(NatKind.SNAT, ("192.0.2.1", "2001:db8::1"), PortRange(20_000, 20_099))
PLAN = plan_of(
    connections=150,
    sources=("198.18.0.2", "198.18.0.3"),
    targets=(Target(Endpoint("198.19.0.1", 9000), sink=True),),
    nat=NAT,
)


def remedies(plan: Plan, maker=more_nat_ports, **sysctls: str) -> list[Remedy]:  # type: ignore[no-untyped-def]
    facts = HostFacts(**{**FACTS, "sysctls": {name.replace("__", "."): value for name, value in sysctls.items()}})
    return list(maker(Situation(plan, facts, 50, target="198.19.0.1:9000")))


def test_each_figure_is_what_the_plan_would_have() -> None:
    gains = {next(iter(remedy.set), ""): remedy.gain for remedy in remedies(PLAN)}
    assert gains == {"lab.nat.ports": 50, "targets.0.address": 50, "lab.nat.addresses": 50}
    for remedy in remedies(PLAN):
        assert remedy.claim
        assert (remedy.claim.before, remedy.claim.after) == (100, 150)


def test_one_source_stays_at_one_address() -> None:
    (alone,) = [remedy for remedy in remedies(replace(PLAN, sources=PLAN.sources[:1])) if "addresses" in remedy.text]
    assert not alone.set
    assert alone.gain is None
    (masked,) = [
        remedy
        for remedy in remedies(replace(PLAN, nat=replace(NAT, kind=NatKind.MASQUERADE)))
        if "addresses" in remedy.text
    ]
    assert "masquerade" in masked.text


def test_in_churn_entries_may_end_sooner() -> None:
    churned = replace(PLAN, churn=Churn(5.0), close=CloseMode.FIN)
    keys = [key for remedy in remedies(churned) for key in remedy.set]
    assert keys == ["lab.nat.ports", "lab.nat.timeouts.time_wait"]
    assert any("keep connections alive" in remedy.text for remedy in remedies(churned))
    assert all(remedy.claim is None for remedy in remedies(churned))  # the kernel may take closed entries away


def test_of_this_host_the_rule_is_named() -> None:
    first, *_ = remedies(replace(PLAN, nat=None))
    assert first.command == "nft list ruleset"


def test_time_wait_is_outlasted_or_kept_here() -> None:
    closing = replace(PLAN, close=CloseMode.TARGET)
    name = "net__netfilter__nf_conntrack_tcp_timeout_time_wait"
    keys = [remedy.set for remedy in remedies(closing, outlast_time_wait, **{name: "1"}) if remedy.set]
    assert keys == [{"lab.nat.timeouts.time_wait": "60s"}, {"close": "fin"}]
    assert [remedy.set for remedy in remedies(closing, outlast_time_wait) if remedy.set] == [{"close": "fin"}]


def test_what_is_translated_cannot_be_left_untracked() -> None:
    texts = [remedy.text for remedy in remedies(PLAN, more_tracking)]
    assert texts
    assert not any("notrack" in text for text in texts)


def test_in_a_run_of_agents_each_has_a_gateway() -> None:
    whole = replace(PLAN, agents=(AgentPlan("a", PLAN), AgentPlan("b", PLAN)))
    (remedy,) = remedies(whole)
    assert remedy.gain is None
