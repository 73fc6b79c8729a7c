"""The document of `nft -j list ruleset`.

Source: libnftables-json(5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from loadgen.explain.evidence import TEXT_MAX, Evidence, RuleReading, Where
from loadgen.explain.formats.rules import Translation, address_range, port_numbers

_NAT: Final = ("snat", "masquerade", "dnat", "redirect")
_VERDICTS: Final = ("notrack", "drop", "reject")


def write(document: object, evidence: Evidence, where: Where) -> str:
    """Write the document of `nft -j`; see `json_documents.Write`."""
    if not isinstance(document, dict) or not isinstance(document.get("nftables"), list):
        return ""
    for entry in document["nftables"]:
        if not isinstance(entry, dict):
            raise ValueError("JSON of nft with values that are not known here")
        chain, rule = entry.get("chain"), entry.get("rule")
        if isinstance(chain, dict) and chain.get("policy") == "drop":
            evidence.rules.append(RuleReading("drop", (), None, f"chain {chain.get('name')}: policy drop", where))
        if isinstance(rule, dict) and isinstance(rule.get("expr"), list):
            evidence.rules += _rule(rule["expr"], where)
    return "nft -j list ruleset"


def _rule(statements: Sequence[object], where: Where) -> list[RuleReading]:
    text = msgspec.json.encode(statements).decode()[:TEXT_MAX]
    found: list[RuleReading] = []
    for statement in statements:
        if not isinstance(statement, dict):
            continue
        for kind in _NAT:
            if kind in statement:
                addresses, ports = _to(statement[kind]) or ((), None)
                found.append(RuleReading(kind, addresses, ports, text, where))
    keys = _keys(statements)
    found += [RuleReading("track", (), None, text, where)] if {"ct", "ct count"} & keys else []
    found += [RuleReading(word, (), None, text, where) for word in _VERDICTS if word in keys]
    return found


def _keys(value: object) -> set[str]:
    """Return the keys of all objects in a value; its depth is bounded by the reader of documents."""
    if isinstance(value, dict):
        return set(value).union(*(_keys(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()


def _to(statement: object) -> Translation | None:
    """Return addresses and ports of a translation; None where it tells neither, or an expression chooses them."""
    if not isinstance(statement, Mapping):
        return None
    addr, port = statement.get("addr"), statement.get("port")
    addresses = () if addr is None else address_range(*_ends(addr))
    ports = None if port is None else port_numbers("-".join(_ends(port)))
    return None if addresses is None else (addresses, ports)


def _ends(value: object) -> tuple[str, str]:
    """Return the first and last of a value or of {"range": [first, last]}; empty for any other expression."""
    if isinstance(value, Mapping):
        ends = value.get("range")
        if isinstance(ends, list) and len(ends) == 2:
            return str(ends[0]), str(ends[1])
        return "", ""
    return str(value), str(value)
