"""`nft list ruleset`, `nft list table`, `nft list chain`, also with -a and -s.

Blocks are followed by their braces, because sets and maps hold anything. A rule may lie on several lines if a set of
its own does.

Source: nft(8), and the output of nftables 1.0.6.
"""

from __future__ import annotations

import re
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.rules import RuleLines, Translation, translation

_FAMILY: Final = r"(?:ip6?|inet|arp|bridge|netdev)"
_BLOCK: Final = re.compile(
    r"(?P<kind>table|chain|set|map|meter|flowtable|counter|quota|limit|secmark|synproxy|ct helper|ct timeout|"
    r"ct expectation)\s++(?P<name>[^{]*)\{(?P<rest>.*)"
)
_BEGINS: Final = re.compile(rf"\s*(?:table {_FAMILY} \S+|chain \S+)\s*\{{")
#: Of iptables-nft, above the tables that it made.
_REMARK: Final = re.compile(r"\s*# Warning: table \S+ \S+ is managed by iptables-nft.*")
_STRING: Final = re.compile(r'"[^"]*"')
_HANDLE: Final = re.compile(r"(?<!\s)\s*+# handle \d+\s*$")
#: Where a chain stands, with its policy or without, which may also be a statement of its own.
_HOOK: Final = re.compile(r"\s*(?:type \w+ hook \w+ |policy \w+\s*+;?\s*$)")
_POLICY: Final = re.compile(r"\bpolicy (\w+)\s*+;?\s*$")
_NAT: Final = re.compile(
    r"\b(?P<kind>snat|masquerade|dnat|redirect)\b(?:(?: ip6?)?(?: prefix)? to (?P<to>\S+))?(?P<map>.*)"
)
_TRACKED: Final = re.compile(r"\bct (?:original |reply )?(?:state|status|direction|count|mark|expiration|zone|label)\b")
_WORDS: Final = ("notrack", "drop", "reject")


class _NftLines(RuleLines):
    """Reads a ruleset. blocks: the kinds of those that are open; rule: that of which a brace is open."""

    what = "nft list ruleset"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._blocks: list[str] = []
        self._chain = ""
        self._rule: list[str] = []
        self._rule_at: Where | None = None

    def take(self, line: str, where: Where) -> bool:
        plain = _STRING.sub('""', line)
        if not self._blocks:
            if _REMARK.fullmatch(line):
                return True
            if not _BEGINS.match(plain):
                return False
        self._content(_HANDLE.sub("", line), _HANDLE.sub("", plain), where)
        return True

    def _content(self, line: str, plain: str, where: Where) -> None:
        text = plain.strip()
        if not text:
            return
        block = None if self._in("values") or self._rule else _BLOCK.match(text)
        if block and (block["kind"] in ("table", "chain") or not self._in("chain")):
            self._blocks.append(block["kind"])
            if block["kind"] == "chain":
                self._chain = block["name"].rstrip()
            rest = _HANDLE.sub("", block["rest"])
            self._content(rest, rest, where)
            return
        opened = text.count("{") - text.count("}")
        if self._rule or (self._in("chain") and text != "}"):
            self._chain_line(line, opened, where)
            return
        if opened > 0:
            self._blocks.extend(["values"] * min(opened, len(text)))
        elif opened < 0:
            del self._blocks[opened:]

    def _in(self, kind: str) -> bool:
        return bool(self._blocks) and self._blocks[-1] == kind

    def _chain_line(self, line: str, opened: int, where: Where) -> None:
        closes = not self._rule and opened < 0
        self._rule.append(line.strip())
        self._rule_at = self._rule_at or where
        joined = " ".join(self._rule)
        counted = _STRING.sub("", joined)
        if counted.count("{") > counted.count("}") and len(self._rule) < 10_000:
            return
        for statement in joined.rstrip("} ").split(";") if closes else [joined]:
            self._statement(statement, self._rule_at)
        self._rule, self._rule_at = [], None
        if closes:
            del self._blocks[opened:]

    def _statement(self, line: str, where: Where) -> None:
        """Read one rule, or the line that says where the chain stands."""
        plain = _STRING.sub('""', line)
        if _HOOK.match(plain):
            policy = _POLICY.search(plain)
            if policy and policy[1] == "drop":
                self.write("drop", f"chain {self._chain}: policy drop", where)
            return
        nat = _NAT.search(plain)
        if nat:
            self.write(nat["kind"], line, where, _to(nat))
        if _TRACKED.search(plain):
            self.write("track", line, where)
        for word in _WORDS:
            if re.search(rf"\b{word}\b", plain):
                self.write(word, line, where)


def _to(nat: re.Match[str]) -> Translation | None:
    """Return the addresses and ports of a translation, None where a map or a hash chooses them."""
    if not nat["to"] or re.search(r"\bmap\b", nat["map"]):
        return None
    return translation(nat["to"])


NFT: Final = Format(
    "nft",
    "nft list ruleset",
    lambda line: bool(_BEGINS.match(line) or _REMARK.fullmatch(line)),
    _NftLines,
    heads=frozenset("tc#"),
)
