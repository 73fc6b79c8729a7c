"""iptables in its three forms: the same rules, and nothing of comments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.iptables import LIST, SAVE
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked


def rows(found: Evidence) -> set[tuple[str, tuple[str, ...], tuple[int, int] | None]]:
    return {(one.kind, one.addresses, one.ports) for one in found.rules}


TRANSLATIONS = {
    ("redirect", (), (8080, 8080)),
    ("dnat", ("10.0.0.7",), (8443, 8443)),
    ("masquerade", (), None),
    ("snat", ("10.0.0.5", "10.0.0.6"), (1024, 1123)),
    ("masquerade", (), (2000, 2099)),
}
FILTERS = {("track", (), None), ("drop", (), None), ("reject", (), None)}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("iptables-save.txt", TRANSLATIONS | FILTERS | {("notrack", (), None)}),
        ("iptables-save-c.txt", TRANSLATIONS | FILTERS | {("notrack", (), None)}),
        ("iptables-S.txt", FILTERS),
        ("iptables-L-n.txt", TRANSLATIONS),
        ("iptables-L-n-v.txt", TRANSLATIONS),
        ("iptables-L-filter.txt", FILTERS),
        ("iptables-L-raw.txt", {("notrack", (), None)}),
    ],
)
def test_every_form(name: str, found: set[object]) -> None:
    evidence = captured(f"rules/{name}")
    assert rows(evidence) == found
    assert not any("please" in one.text for one in evidence.rules)


def test_the_policy_of_a_chain_is_a_drop() -> None:
    for name in ("iptables-save.txt", "iptables-S.txt", "iptables-L-filter.txt"):
        found = captured(f"rules/{name}")
        assert "chain FORWARD: policy DROP" in [one.text for one in found.rules]


def test_names_of_protocols_and_an_empty_target() -> None:
    """Modelled on iptables-legacy 1.4.21 with the rules of Docker and of Kubernetes."""
    found = evidence_of(
        "Chain FORWARD (policy DROP 3 packets, 180 bytes)\n"
        " pkts bytes target     prot opt in     out     source               destination\n"
        " 120K   95M DOCKER-USER  all  --  *      *       0.0.0.0/0            0.0.0.0/0\n"
        "    5   300            all  --  docker0 *      0.0.0.0/0            0.0.0.0/0            /* DROP nothing */\n"
        "    0     0 KUBE-MARK-DROP  all  --  *  *  0.0.0.0/0  0.0.0.0/0\n"
        "\n"
        "Chain KUBE-FIREWALL (2 references)\n"
        "target     prot opt source               destination\n"
        "DROP       all  --  0.0.0.0/0            0.0.0.0/0            mark match 0x8000/0x8000\n"
    )
    assert [(one.kind, one.where.line) for one in found.rules] == [("drop", 1), ("drop", 9)]
    assert found.unread == []


def test_a_rule_whose_quotes_are_open_is_said() -> None:
    found = evidence_of('-A INPUT -m comment --comment "cut of\n-A INPUT -s 192.0.2.1/32 -j DROP\n')
    assert [one.where.line for one in found.rules] == [2]
    assert [(one.first, one.why) for one in found.unread] == [(1, "a rule that is cut off: its quotes are not closed")]


def test_prose_about_options_is_no_rule() -> None:
    found = evidence_of("-A bit later the pod could not connect\nChain of events (2 of them)\n")
    assert (found.rules, len(found.unread)) == ([], 1)


@settings(max_examples=80)
@given(wrecked("rules/iptables-save-c.txt", "rules/iptables-L-filter.txt", "rules/iptables-L-n-v.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [SAVE, LIST]))
