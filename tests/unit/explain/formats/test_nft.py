"""`nft list ruleset`: what matters of it, and nothing of comments, sets and maps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.nft import NFT
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked


def rows(found: Evidence) -> list[tuple[str, tuple[str, ...], tuple[int, int] | None]]:
    return [(one.kind, one.addresses, one.ports) for one in found.rules]


TRANSLATIONS = [
    ("snat", ("10.0.0.5",), (1024, 1123)),
    ("masquerade", (), (2000, 2099)),
    ("masquerade", (), None),
    ("snat", ("10.0.0.5", "10.0.0.6"), None),
    ("snat", (), None),
    ("redirect", (), (8080, 8080)),
    ("dnat", ("10.0.0.7",), (8443, 8443)),
    ("dnat", (), None),
]
OTHERS = ["notrack", "drop", "track", "drop", "track", "reject", "drop", "drop", "track", "reject"]


@pytest.mark.parametrize("name", ["nft.txt", "nft-a.txt"])
def test_a_ruleset(name: str) -> None:
    found = captured(f"rules/{name}")
    assert rows(found)[:8] == TRANSLATIONS
    assert [one.kind for one in found.rules[8:]] == OTHERS
    assert not any("never drop this" in one.text for one in found.rules)
    assert len(found.pieces) == 1


def test_a_rule_has_its_line_and_its_text() -> None:
    found = captured("rules/nft-a.txt")
    drop = next(one for one in found.rules if "8000-8100" in one.text)
    assert (drop.text, drop.where.line) == ("tcp dport 8000-8100 limit rate over 10/second drop", 40)
    assert [one.text for one in found.rules if "policy" in one.text] == ["chain input: policy drop"]


def test_chains_on_one_line_and_sets_over_many() -> None:
    found = evidence_of(
        "table inet filter {\n"
        "  chain forward { type filter hook forward priority filter; policy drop; }\n"
        "  chain output { type filter hook output priority filter; ip daddr 192.0.2.1 drop; tcp dport 25 reject; }\n"
        "  set bad { type ipv4_addr; elements = { 10.0.0.1,\n"
        "     10.0.0.2 } }\n"
        "  chain out {\n"
        "    ip daddr { 10.0.0.1,\n"
        "       10.0.0.2 } drop\n"
        "  }\n"
        "}\n"
        "and this is prose with drop\n"
    )
    assert [(one.kind, one.where.line) for one in found.rules] == [("drop", 2), ("drop", 3), ("reject", 3), ("drop", 7)]
    assert [(one.first, one.last) for one in found.unread] == [(11, 11)]


def test_rules_of_iptables_in_nft_begin_with_a_remark() -> None:
    found = evidence_of(
        "# Warning: table ip nat is managed by iptables-nft, do not touch!\n"
        "table ip nat {\n\tchain POSTROUTING {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        '\t\tip saddr 172.17.0.0/16 oifname != "docker0" counter packets 3 bytes 180 masquerade\n\t}\n}\n'
    )
    assert rows(found) == [("masquerade", (), None)]
    assert found.unread == []


@settings(max_examples=80)
@given(wrecked("rules/nft.txt", "rules/nft-a.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [NFT]))
