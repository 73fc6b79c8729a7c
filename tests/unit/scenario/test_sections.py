"""Sections of a scenario: sources, targets, probes and arrivals, each by itself."""

from __future__ import annotations

import pytest

from loadgen.model import (
    Endpoint,
    PortRange,
    Probe,
    ProbeKind,
    ProbeWhen,
    Stage,
    Strategy,
    Target,
)
from loadgen.scenario import parse

from .support import PROBED, SMALLEST, refusal, with_line


def test_interfaces_stay_names() -> None:
    found = parse(SMALLEST.replace("127.0.0.2", "[eth0, 10.0.0.1, br-lan, eth0]"))
    assert found.sources.interfaces == ("eth0", "br-lan")
    assert found.sources.expanded == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("arrival", "stages"),
    [
        ("{rate: 600/min}", (Stage(10, 10, None),)),
        ("{rate: 10/s, ramp: 0s}", (Stage(10, 10, None),)),
        ("{stages: [{to: 5/s, over: 1s}]}", (Stage(0, 5, 1), Stage(5, 5, None))),
        (
            "{stages: [{from: 2/s, to: 0/s, over: 1s}, {to: 4/s, over: 2s}, {from: 1/s, to: 1/s, over: 500ms}]}",
            (Stage(2, 0, 1), Stage(0, 4, 2), Stage(1, 1, 0.5), Stage(1, 1, None)),
        ),
    ],
)
def test_arrivals(arrival: str, stages: tuple[Stage, ...]) -> None:
    found = parse(with_line(f"arrival: {arrival}"))
    assert found.arrival is not None
    assert found.arrival.stages == stages


def test_a_probe_has_these_defaults() -> None:
    found = parse(PROBED + "  - {name: somebody-else, when: hold}")
    (spec,) = found.probes
    assert found.probe(spec, PortRange(5, 6)) == Probe(
        name="somebody-else",
        when=ProbeWhen.HOLD,
        kind=ProbeKind.CONNECT,
        count=1,
        strategy=Strategy.KERNEL,
        source="",
        target=Endpoint("127.0.0.1", 9000),
        sink=False,
        ports=PortRange(5, 6),
        uid=None,
        reuseaddr=False,
    )


def test_everything_of_a_probe() -> None:
    found = parse(
        PROBED + '  - {name: a, when: after, count: 1000, strategy: explicit, source: "::1", target: "[::1]:9001", '
        "sink: true, ports: 40000-40019, uid: 65534}\n"
        "  - {name: b, when: hold, kind: restart, ports: 9100, reuseaddr: true}"
    )
    first, second = (found.probe(spec, PortRange(5, 6)) for spec in found.probes)
    assert (first.target, first.source, first.ports) == (Endpoint("::1", 9001), "::1", PortRange(40_000, 40_019))
    assert (first.uid, first.sink, first.count) == (65534, True, 1000)
    assert (second.kind, second.ports, second.reuseaddr) == (ProbeKind.RESTART, PortRange(9100, 9100), True)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.5"])
def test_a_probe_may_listen_on_all_addresses(address: str) -> None:
    target = Endpoint(address, 1)
    found = parse(PROBED + f"  - {{name: a, when: hold, kind: listen, target: '{target}', ports: 9100}}")
    assert found.probe(found.probes[0], PortRange(5, 6)).target == target
    assert found.probes[0].listens_everywhere is (address != "127.0.0.5")


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ("{name: a, when: hold, target: '0.0.0.0:9000'}", "kind connect connects to its target; write an address"),
        ("{name: a, when: hold, kind: restart, ports: 9100, target: '[::]:1'}", "kind restart connects to its target"),
        ("{name: a, when: hold, kind: listen, ports: 9100, target: '0.0.0.1:1'}", "unspecified"),
        ("{name: a}", "when is missing"),
        ("{name: a.b, when: hold}", "digits, underscores or hyphens"),
        ("{name: a, when: hold, count: 1001}", "at most 1,000"),
        ("{name: a, when: hold, kind: lisen}", "listen"),
        ("{name: a, when: hold, kind: listen}", "listens on one port"),
        ("{name: a, when: hold, kind: restart, ports: 1-2}", "listens on one port"),
        ("{name: a, when: hold, kind: restart, ports: 1, count: 2}", "has no count"),
        ("{name: a, when: hold, reuseaddr: true}", "about listeners"),
        ("{name: a, when: hold, source: 127.0.0.2}", "strategy kernel chooses by itself; leave source out"),
        ("{name: a, when: hold, strategy: late}", "add source"),
        ("{name: a, when: hold, strategy: late, source: 127.0.0.2, ports: 1-2}", "cannot keep to ports"),
        ('{name: a, when: hold, strategy: late, source: "::1"}', "not of one family"),
        ("{name: a, when: hold, strategy: late, source: 127.0.0.0/30}", "write one address"),
        ("{name: a, when: hold, strategy: late, source: eth0}", "write one address"),
        ("{name: a, when: hold, uid: -1}", "at least 0"),
        ("{name: a, when: hold}\n  - {name: a, when: after}", "probes.0 has that name already"),
    ],
)
def test_probes_that_cannot_be(probes: str, message: str) -> None:
    assert message in str(refusal(f"{PROBED}  - {probes}"))


@pytest.mark.parametrize("lab", ["", "lab: {fallback: host}"])
def test_probes_are_for_labs(lab: str) -> None:
    text = PROBED.replace("lab: {}", lab) + "  - {name: a, when: hold}"
    assert "probes are for labs" in str(refusal(text))


def test_a_sink_with_behaviours() -> None:
    text = SMALLEST.replace('9000"', '9000", sink: true, {}')
    assert parse(text.replace("{}", "backlog: 9, accept: false")).every_target[0] == Target(
        Endpoint("127.0.0.1", 9000), sink=True, backlog=9, accept_after_s=None
    )
    assert parse(text.replace("{}", "accept_after: 2s")).every_target[0].accept_after_s == 2.0
    assert "write one of the two" in str(refusal(text.replace("{}", "accept: false, accept_after: 2s")))
    for key in ("backlog: 9", "accept: false", "accept_after: 2s"):
        assert "write sink: true" in str(refusal(SMALLEST.replace('9000"', f'9000", {key}')))


def test_mapped_addresses_are_the_ipv4_addresses_they_carry() -> None:
    text = SMALLEST.replace("127.0.0.2", "['::ffff:127.0.0.2-::ffff:127.0.0.3', '::ffff:127.0.1.0/126']")
    found = parse(text.replace("127.0.0.1:9000", "[::ffff:127.0.0.1]:9000-9001"))
    assert found.sources.expanded == ("127.0.0.2", "127.0.0.3", "127.0.1.1", "127.0.1.2")
    assert [str(one.endpoint) for one in found.every_target] == ["127.0.0.1:9000", "127.0.0.1:9001"]


def test_a_link_local_address_keeps_its_zone() -> None:
    text = SMALLEST.replace("127.0.0.2", "'FE80::2%eth0'").replace("127.0.0.1:9000", "[fe80::1%eth0]:9000")
    found = parse(text)
    assert found.sources.expanded == ("fe80::2%eth0",)
    assert found.sources.interfaces == ()
    assert found.every_target[0].endpoint == Endpoint("fe80::1%eth0", 9000)


RULES = "table inet t {}"


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("40000-40003", (40000, 40001, 40002, 40003)),
        ('"40002,40000-40001, 40000"', (40000, 40001, 40002)),
        ("40000", (40000,)),
    ],
)
def test_ports_that_are_held(written: str, ports: tuple[int, ...]) -> None:
    lab = parse(f"{SMALLEST}lab: {{held: {written}}}").lab
    assert lab
    assert lab.held == ports


@pytest.mark.parametrize("written", ["0", "true", "[40000]", '"40000-"', '"70000"', '""', "40003-40000", "1.5"])
def test_what_is_no_list_of_ports(written: str) -> None:
    assert "lab.held: " in str(refusal(f"{SMALLEST}lab: {{held: {written}}}"))


@pytest.mark.parametrize(
    ("lab", "message"),
    [
        ("{rules: ' '}", "lab.rules: write rules as nft -f reads them"),
        ("{rules: \"include '/etc/shadow'\"}", "lab.rules: rules include no other file"),
        ("{rules: \"table inet t { }; include '/etc/shadow'\"}", "lab.rules: rules include no other file"),
        (f"{{rules_of_sinks: '{RULES}'}}", "lab.rules_of_sinks: a loopback lab is one namespace"),
        ("{tracking_left: 5}", "lab.tracking_left: nothing is tracked without a rule"),
        (f"{{tracking_left: -1, rules: '{RULES}'}}", "lab.tracking_left: write at least 0"),
        (f"{{fallback: host, rules: '{RULES}'}}", "lab.rules: the host itself gets no rules"),
        ("{fallback: host, held: 40000}", "lab.held: the host itself gets no held"),
    ],
)
def test_what_a_lab_cannot_have(lab: str, message: str) -> None:
    assert message in str(refusal(f"{SMALLEST}lab: {lab}"))


def test_rules_at_both_ends_of_a_cable() -> None:
    text = SMALLEST.replace("127.0.0.2", "198.18.0.2").replace('"127.0.0.1:9000"', '"198.18.1.1:9000", sink: true')
    lab = parse(f"{text}lab: {{topology: veth, rules: '{RULES}', rules_of_sinks: '{RULES}', tracking_left: 0}}").lab
    assert lab
    assert (lab.rules, lab.rules_of_sinks, lab.tracking_left) == (RULES, RULES, 0)
