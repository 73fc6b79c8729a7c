"""Routes as columns: route, netstat and /proc/net/route say the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from loadgen.explain.formats.route_tables import COLUMNS, PROC
from tests.explained import captured, evidence_of, lines_accounted_for, wrecked


@pytest.mark.parametrize("name", ["route-n.txt", "netstat-rn.txt", "proc-net-route.txt"])
def test_the_same_routes_in_every_form(name: str) -> None:
    """A blackhole looks as any other route there, without an interface: it is left out."""
    found = captured(f"ip/{name}")
    assert [(one.kind, one.network, one.device, one.via) for one in found.routes] == [
        ("unicast", "0.0.0.0/0", "veth0", "10.0.0.1"),
        ("unicast", "10.0.0.0/24", "veth0", ""),
        ("unicast", "10.9.0.2/32", "veth1", ""),
        ("reject", "10.20.0.0/16", "", ""),
        ("reject", "10.40.0.0/16", "", ""),
        ("unicast", "10.60.0.0/16", "veth0", "10.0.0.1"),
    ]


def test_ipv6_without_the_entry_that_every_kernel_has() -> None:
    found = captured("ip/route-6-n.txt")
    assert [(one.kind, one.network, one.via) for one in found.routes if one.network == "::/0"] == [
        ("unicast", "::/0", "2001:db8::1")
    ]


def test_names_instead_of_addresses_are_said() -> None:
    found = evidence_of(
        "Kernel IP routing table\n"
        "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
        "default         gateway         0.0.0.0         UG    0      0        0 eth0\n"
        "172.17.0.0      0.0.0.0         255.255.0.0     U     0      0        0 eth0\n"
    )
    assert [one.network for one in found.routes] == ["172.17.0.0/16"]
    assert [(one.first, one.why) for one in found.unread] == [(3, "names instead of addresses: run route with -n")]


@settings(max_examples=60)
@given(wrecked("ip/route-n.txt", "ip/route-6-n.txt", "ip/netstat-rn.txt", "ip/proc-net-route.txt"))
def test_any_text_is_read_or_left(text: str) -> None:
    assert lines_accounted_for(text, evidence_of(text, [COLUMNS, PROC]))
