"""`ip -j` says the same as `ip`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats.documents import DOCUMENTS
from tests.explained import CAPTURED, captured, evidence_of
from tests.unit.explain.formats.test_routes import MAIN, rows


@pytest.mark.parametrize("name", ["ip-j-addr.json", "ip-j-p-addr.json"])
def test_addresses(name: str) -> None:
    found, plain = captured(f"ip/{name}"), captured("ip/ip-addr.txt")
    said, same = ([(one.address, one.prefix, one.device) for one in of.addresses] for of in (found, plain))
    assert [one for one in said if not one[0].startswith("fe80")] == [
        one for one in same if not one[0].startswith("fe80")
    ]
    assert "tentative" in next(one.flags for one in found.addresses if one.address == "2001:db8::5")
    assert [(one.device, one.flags) for one in found.links] == [(one.device, one.flags) for one in plain.links]


def test_routes() -> None:
    assert rows(captured("ip/ip-j-route.json")) == MAIN


def test_a_default_of_ipv6_and_a_further_table() -> None:
    found = evidence_of(
        '[{"dst":"default","gateway":"fe80::1","dev":"eth0","pref":"medium"},{"dst":"10.0.0.0/8","dev":"eth1","table":"100"}]'
    )
    assert [(one.network, one.table) for one in found.routes] == [("::/0", ""), ("10.0.0.0/8", "100")]


def test_neighbours() -> None:
    assert {one.name: one.value for one in captured("ip/ip-j-neigh.json").counters} == {
        "neigh.entries": 1,
        "neigh6.entries": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        '[{"ifname": 5}]',
        '[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "x", "prefixlen": 8}]}]',
        '[{"ifname": "lo", "addr_info": [{"family": "inet"}]}]',
        '[{"dst": "10.0.0.0/99"}]',
        '[{"dst": "x", "state": ["STALE"]}]',
    ],
)
def test_values_that_cannot_be_are_said_and_nothing_is_taken(text: str) -> None:
    found = evidence_of(text)
    assert (found.addresses, found.links, found.routes, found.counters) == ([], [], [], [])
    assert [one.why.startswith("JSON of ip with values that are not known here") for one in found.unread] == [True]


@settings(max_examples=60)
@given(st.data())
def test_any_change_of_a_value_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads((CAPTURED / "ip" / "ip-j-addr.json").read_text())
    row = data.draw(st.sampled_from(document))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(
        st.none() | st.integers() | st.text() | st.lists(st.integers())
    )
    found: Evidence = evidence_of(json.dumps(document), [DOCUMENTS])
    assert bool(found.links) != bool(found.unread)
