"""`nft -j list ruleset` says the same as `nft list ruleset`."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.explain.formats.documents import DOCUMENTS
from tests.explained import CAPTURED, captured, evidence_of


def test_the_same_rules() -> None:
    found, plain = captured("rules/nft-j.json"), captured("rules/nft.txt")
    same = [Counter((one.kind, one.addresses, one.ports) for one in of.rules) for of in (found, plain)]
    assert same[0] == same[1]


def test_no_list_of_objects_is_refused() -> None:
    found = evidence_of('{"nftables": ["table"]}')
    assert [one.why for one in found.unread] == ["JSON of nft with values that are not known here"]


@pytest.mark.parametrize("port", [True, -1, "x", {"range": [9, 1]}, {"range": 5}, {"map": {}}, 1e9, None])
def test_ports_that_cannot_be_are_not_known(port: object) -> None:
    rule = {"rule": {"expr": [{"snat": {"addr": "10.0.0.5", "port": port}}]}}
    found = evidence_of(json.dumps({"nftables": [rule]}))
    assert [(one.kind, one.addresses, one.ports) for one in found.rules] == [("snat", ("10.0.0.5",), None)]


@settings(max_examples=30)
@given(st.data())
def test_any_expression_is_read_or_left(data: st.DataObject) -> None:
    document = json.loads((CAPTURED / "rules" / "nft-j.json").read_text())
    entry = data.draw(st.sampled_from([one for one in document["nftables"] if "rule" in one]))
    value = st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
    entry["rule"]["expr"] = data.draw(value)
    found = evidence_of(json.dumps(document), [DOCUMENTS])
    assert bool(found.pieces)
