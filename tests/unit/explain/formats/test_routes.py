"""`ip route` of all tables and both families, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.evidence import Evidence, Unread
from loadgen.explain.formats.routes import ROUTES
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked


def rows(found: Evidence) -> list[tuple[str, str, str, str, str]]:
    return [(one.kind, one.network, one.device, one.via, one.source) for one in found.routes]


MAIN = [
    ("unicast", "0.0.0.0/0", "veth0", "10.0.0.1", "10.0.0.5"),
    ("unicast", "10.0.0.0/24", "veth0", "", "10.0.0.5"),
    ("unicast", "10.9.0.2/32", "veth1", "", "10.9.0.1"),
    ("unreachable", "10.20.0.0/16", "", "", ""),
    ("blackhole", "10.30.0.0/16", "", "", ""),
    ("prohibit", "10.40.0.0/16", "", "", ""),
    ("unicast", "10.60.0.0/16", "veth0", "10.0.0.1", ""),
    ("unicast", "10.60.0.0/16", "veth0", "10.0.0.2", ""),
]


@pytest.mark.parametrize("name", ["ip-route.txt", "ip-o-route.txt"])
def test_the_main_table(name: str) -> None:
    assert rows(captured(f"ip/{name}")) == MAIN


def test_the_default_of_the_other_family_is_its_own() -> None:
    found = captured("ip/ip-6-route.txt")
    assert rows(found)[-1] == ("unicast", "::/0", "veth0", "2001:db8::1", "")


def test_all_tables_with_local_routes_and_a_further_table() -> None:
    found = captured("ip/ip-route-table-all.txt")
    assert ("local", "10.50.0.0/16", "lo", "", "") in rows(found)
    assert {one.network: one.table for one in found.routes if one.table} == {"10.70.0.0/16": "100"}
    assert {one.kind for one in found.routes} == {"unicast", "local", "unreachable", "blackhole", "prohibit"}


def test_the_answers_of_route_get() -> None:
    found = evidence_of(
        "10.1.2.3 via 10.0.0.1 dev veth0 src 10.0.0.5 uid 0 \n    cache \n"
        "local ::1 dev lo table local src ::1 metric 0 pref medium\n"
    )
    assert rows(found) == [
        ("unicast", "10.1.2.3/32", "veth0", "10.0.0.1", "10.0.0.5"),
        ("local", "::1/128", "lo", "", "::1"),
    ]
    assert [piece.what for piece in found.pieces] == ["ip route get"]


@pytest.mark.parametrize(
    ("line", "network"),
    [
        ("default dev ppp0", "0.0.0.0/0"),
        ("default via inet6 fe80::1 dev eth0", "::/0"),
        ("default dev wg0 proto static metric 1024 pref medium", "::/0"),
        ("10.0.0.0/24 dev eth0 mtu lock 1400 expires 100sec", "10.0.0.0/24"),
    ],
)
def test_forms_of_one_line(line: str, network: str) -> None:
    assert [one.network for one in evidence_of(line).routes] == [network]


@pytest.mark.parametrize(
    "line",
    [
        "default via the proxy",
        "default dev environment",
        "local 10.0.0.5 is the address of the pod",
        "10.0.0.7 dev box that fails",
        "unreachable host",
        "10.0.0.1",
        "default",
    ],
)
def test_prose_is_no_route(line: str) -> None:
    found = evidence_of(line)
    assert (found.routes, len(found.unread)) == ([], 1)


def test_a_route_that_is_cut_off_before_its_next_hops_is_said() -> None:
    found = evidence_of("10.0.0.0/24 dev eth0 scope link\n10.60.0.0/16 \n")
    assert [one.network for one in found.routes] == ["10.0.0.0/24"]
    assert found.unread == [Unread("-", 2, 2, "a route without its next hops")]


@settings(max_examples=60)
@given(wrecked("ip/ip-route-table-all.txt", "ip/ip-route-get.txt", "ip/ip-o-route.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [ROUTES]))
