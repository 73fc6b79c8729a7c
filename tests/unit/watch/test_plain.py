"""A snapshot as JSON: the keys of docs/watch.md, and nothing that JSON cannot hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadgen.kernel.groups import SocketGroup
from loadgen.kernel.sockdiag import TcpState
from loadgen.strategies import Strategy, Transport
from loadgen.watch.devices import DeviceSockets
from loadgen.watch.owners import Owner, Ownership
from loadgen.watch.plain import as_json
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.sources import SourceUsage

DOCUMENT = Path(__file__).parents[3] / "docs" / "watch.md"


def keys(value: Any) -> set[str]:
    """Return the keys of all nested objects, except names given by the kernel."""
    if isinstance(value, list):
        return {key for one in value for key in keys(one)}
    if not isinstance(value, dict):
        return set()
    inside = [keys(one) for key, one in value.items() if key not in ("states", "counters")]
    return {*value, *(key for found in inside for key in found)}


def test_every_key_is_documented(
    usage: Callable[..., Usage], snapshot: Callable[..., Snapshot], source: Callable[..., SourceUsage]
) -> None:
    seen = snapshot(
        usage(owned=Ownership((Owner(7, "proxy", 40),), 10, "not permitted")),
        usage(20, owned=None),
        inbound=(SocketGroup("10.0.0.9", "10.0.0.1", 80, {TcpState.ESTABLISHED: 4}, 4),),
        bound=Bound(1, (40_001,), Ownership((Owner(8, "stuck", 1),))),
        counters={"Tcp.ActiveOpens": 3},
        devices=(DeviceSockets("eth0", "", 2),),
        sources=(source(strategy=Strategy.BIND, because="no port is used twice"),),
        udp=(source(transport=Transport.UDP, owned=Ownership((Owner(9, "dns", 50),))),),
    )
    found = as_json(seen, 10)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["groups"][0]["states"] == {"ESTABLISHED": 50}
    assert found["groups"][1]["owners"] is None
    assert found["bound"]["owners"]["processes"] == [{"pid": 8, "command": "stuck", "sockets": 1}]
    assert (found["sources"][0]["strategy"], found["sources"][0]["owners"]) == ("bind", None)
    assert found["udp"]["sources"][0]["owners"]["processes"][0]["command"] == "dns"
    assert as_json(snapshot(udp=None, udp_unknown="no udp_diag"), 10)["udp"] == {"unknown": "no udp_diag"}
    documented = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text()))
    assert keys(found) <= documented


def test_groups_are_limited_and_unknowns_have_a_reason(
    usage: Callable[..., Usage], snapshot: Callable[..., Snapshot]
) -> None:
    groups = [usage(50 - number) for number in range(5)]
    found = as_json(snapshot(*groups, bound=None, bound_unknown="Linux 6.8 does"), 2)
    assert ([one["used"] for one in found["groups"]], found["group_count"]) == ([50, 49], 5)
    assert found["bound"] == {"unknown": "Linux 6.8 does"}
