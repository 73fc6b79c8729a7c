"""Connection tracking of a namespace: whether it tracks, how long it remembers, and what a plan makes of it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.capacity import tracking
from loadgen.control.dry_run import Permissions, Planner
from loadgen.kernel import conntrack, sysctl
from loadgen.model import CloseMode, Endpoint
from tests.plans import plan_of

from .support import listen, on_loop, reset

pytestmark = pytest.mark.usefixtures("_nft")
BOTH = (socket.AF_INET, socket.AF_INET6)
TRACK = "table {family} t {{ chain c {{ type filter hook input priority 0; ct state established accept; }}; }}"
TRANSLATE = 'table ip n {{ chain c {{ type nat hook postrouting priority 100; oifname "eth9" masquerade; }}; }}'


def rule(text: str, family: str = "inet") -> None:
    subprocess.run(["nft", text.format(family=family)], check=True)


def test_a_namespace_without_rules_tracks_nothing() -> None:
    assert conntrack.tracks(BOTH) is False
    assert conntrack.tracks(()) is None


@pytest.mark.parametrize(("text", "family"), [(TRACK, "inet"), (TRACK, "ip"), (TRANSLATE, "ip")])
def test_a_rule_that_tracks_is_seen_while_the_table_is_empty(text: str, family: str) -> None:
    rule(text, family)
    assert sysctl.read("net.netfilter.nf_conntrack_count") == "0"
    assert conntrack.tracks(BOTH[:1]) is True


@pytest.mark.parametrize(("family", "here", "elsewhere"), [("ip", *BOTH), ("ip6", *reversed(BOTH))])
def test_a_rule_tracks_its_own_family(family: str, here: int, elsewhere: int) -> None:
    rule(TRACK, family)
    assert conntrack.tracks([elsewhere]) is False
    assert conntrack.tracks([here]) is True


def test_where_loopback_does_not_deliver_it_is_not_known() -> None:
    rule("table inet t {{ chain c {{ type filter hook output priority -400; drop; }}; }}")
    assert conntrack.tracks(BOTH) is None


SCENARIO = """
name: tracked
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 5
"""


def planned() -> list[dict[str, Any]]:
    async def execute() -> dict[str, Any]:
        return await Planner(scenarios.parse(SCENARIO), (), Permissions()).execute()

    report = on_loop(execute, asyncio.new_event_loop)
    return [row for row in report["resources"] if row["limit"] == "conntrack"]


@pytest.mark.lab("40000 40063")
def test_a_plan_counts_on_an_empty_table_where_a_rule_tracks() -> None:
    assert planned() == []
    rule(TRACK)
    (row,) = planned()
    size = int(sysctl.read("net.netfilter.nf_conntrack_max") or 0)
    assert row["needed"] == 5
    assert size - 5 <= row["available"] <= size  # the probe left an entry


@pytest.mark.parametrize(
    ("close", "state"), [(CloseMode.FIN, "TIME_WAIT"), (CloseMode.TARGET, "TIME_WAIT"), (CloseMode.RST, "CLOSE")]
)
def test_an_entry_stays_for_the_timeout_of_the_state_that_the_close_left(close: CloseMode, state: str) -> None:
    shown = Path("/proc/self/net/nf_conntrack")
    if not shown.exists():
        pytest.skip("needs /proc/net/nf_conntrack: a kernel with CONFIG_NF_CONNTRACK_PROCFS")
    rule(TRACK)
    name = tracking.timeout_name(plan_of(close=close))
    sysctl.write(name, "77")
    target = Endpoint("127.0.0.1", 9000)
    with listen(target) as listener, socket.socket() as client:
        client.connect(target.sockaddr)
        listener.setblocking(True)
        accepted, _ = listener.accept()
        first, last = (accepted, client) if close is CloseMode.TARGET else (client, accepted)
        if close is CloseMode.RST:
            reset(first)
        else:
            first.close()
            assert last.recv(1) == b""
        last.close()
    (entry,) = [line.split() for line in shown.read_text().splitlines() if "dport=9000" in line]
    assert entry[5] == state
    assert 70 <= int(entry[4]) <= 77
