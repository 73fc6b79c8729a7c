"""JSON of loadgen as evidence: values are taken, conclusions are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.explain.evidence import Evidence, LimitReading
from loadgen.explain.formats.documents import DOCUMENTS
from loadgen.kernel.groups import group
from loadgen.outcomes import Syscall
from loadgen.strategies import Transport
from tests.explained import CAPTURED, captured, evidence_of

RUNS = Path(__file__).parents[3] / "data" / "runs"


def sysctls(found: Evidence) -> dict[str, str]:
    return {one.name: one.value for one in found.sysctls}


def test_watch_has_the_account_of_each_space() -> None:
    found = captured("own/watch.json")
    assert [piece.what for piece in found.pieces] == ["loadgen watch --json"]
    assert [
        (one.transport, one.source, one.destination, one.destination_port, one.used, one.time_wait, one.usable)
        for one in found.spaces
        if one.where.line == 2
    ] == [
        (Transport.TCP, "127.0.0.1", "127.0.0.1", 9000, 30, 5, 49),
        (Transport.TCP, "127.0.0.1", "", 0, 31, 5, 50),
        (Transport.UDP, "0.0.0.0", "", 0, 1, 0, 50),
        (Transport.UDP, "127.0.0.1", "", 0, 1, 0, 50),
    ]
    assert found.spaces[0].owners == (("python", 25),)
    assert sysctls(found) == {"net.ipv4.ip_local_port_range": "40000 40049", "net.ipv4.tcp_tw_reuse": "2"}
    assert [(one.name, one.value, one.since) for one in found.counters] == [("sockstat.tcp_tw", 5, "now")] * 2


def test_watch_with_early_binding_and_counters() -> None:
    look = json.loads((CAPTURED / "own" / "watch.json").read_text().splitlines()[0])
    look["sources"][0] |= {"strategy": "bind", "because": "none of them twice"}
    look["counters"] = {"TcpExt.TCPSynRetrans": 3}
    look["udp"] = {"unknown": "not permitted"}
    found = evidence_of(json.dumps(look))
    assert [(one.strategy, one.because) for one in found.spaces if not one.destination] == [
        ("bind", "none of them twice")
    ]
    assert [(one.value, one.since) for one in found.counters if one.name == "TcpExt.TCPSynRetrans"] == [(3, "reading")]


def test_who_has_a_port_is_a_listing_of_selected_sockets() -> None:
    found = captured("own/ports.json")
    listing = found.listings[0]
    assert (listing.whole, listing.shows_owners, listing.tcp.size, listing.udp.size) == (False, True, 4, 0)
    pids = listing.owners.of(listing.tcp).tolist()
    assert {listing.commands[pid] for pid in pids} == {"python"}
    assert ("127.0.0.1", "0.0.0.0") in [(one.source, one.destination) for one in group(listing.tcp)]


def test_a_port_that_cannot_be_listened_on_is_a_complaint() -> None:
    complaints = [one.first for one in captured("own/ports.json").complaints]
    assert {(one.source, one.source_port, one.errno, one.listening) for one in complaints} == {
        (address, port, "EADDRINUSE", True) for address in ("0.0.0.0", "::") for port in (9000, 40039)
    }


def test_a_doctor_has_values_and_its_verdicts_are_no_evidence() -> None:
    found = captured("own/doctor.json")
    settings_read = sysctls(found)
    assert settings_read["net.ipv4.ip_local_port_range"] == "40000 40049"
    assert settings_read["net.ipv4.ip_local_reserved_ports"] == ""
    assert "net.ipv4.tcp_mem" not in settings_read  # it was absent
    assert [(one.name, one.soft, one.hard) for one in found.limits] == [("Max open files", 20000, 20000)]
    assert found.kernel.startswith("6.18")


def test_descriptors_of_a_doctor_of_a_container_are_not_its_own() -> None:
    document = json.loads((CAPTURED / "own" / "doctor.json").read_text()) | {"netns": "process 4711"}
    found = evidence_of(json.dumps(document, indent=2))
    assert (found.limits, bool(found.sysctls)) == ([], True)


def test_a_summary_has_errors_and_counters() -> None:
    found = evidence_of((RUNS / "churn" / "summary.json").read_bytes())
    assert [(one.first.syscalls, one.first.errno, one.count) for one in found.complaints] == [
        (frozenset({Syscall.CONNECT}), "EADDRNOTAVAIL", 681)
    ]
    assert {one.name: one.value for one in found.counters}["TcpExt.TWRecycled"] == 200
    assert found.unread == []


def test_a_connection_to_itself_names_its_limit() -> None:
    document = json.loads((RUNS / "churn" / "summary.json").read_text())
    document["errors"] = [
        {"syscall": "getsockname", "errno": "SELF", "outcome": "self-connect", "count": 2},
        {"syscall": "recv", "errno": "EOF", "outcome": "lost", "count": 5},
    ]
    complaints = list(evidence_of(json.dumps(document)).complaints)
    assert [(one.first.limit, one.first.errno, one.count) for one in complaints] == [("self-connect", "", 2)]


def test_the_host_of_a_run_has_settings() -> None:
    found = evidence_of((RUNS / "churn" / "host.json").read_bytes())
    assert sysctls(found)["net.ipv4.tcp_tw_reuse"] == "1"
    assert [LimitReading(one.name, one.soft, one.hard, one.where) for one in found.limits if one.soft is None]


@pytest.mark.parametrize(
    ("schema", "remedy"),
    [
        ("loadgen.explain/1", "give the files that it was made from"),
        ("loadgen.plan/1", "give the summary.json of the run"),
        ("loadgen.watch/2", "no evidence (loadgen.watch/2)"),
    ],
)
def test_what_is_no_evidence_is_refused_with_the_remedy(schema: str, remedy: str) -> None:
    found = evidence_of(json.dumps({"schema": schema}, indent=2))
    assert [(one.first, one.last, remedy in one.why) for one in found.unread] == [(1, 3, True)]


def _dropped(document: dict[str, object], key: str) -> None:
    del document[key]


@pytest.mark.parametrize(
    "change",
    [
        lambda look: look["groups"][0].update(used="many"),
        lambda look: look.update(groups={}),
        lambda look: look.update(udp={"sources": [5]}),
        lambda look: _dropped(look, "ports"),
    ],
)
def test_values_that_cannot_be_are_said_and_nothing_is_taken(change: Callable[[dict[str, object]], None]) -> None:
    look = json.loads((CAPTURED / "own" / "watch.json").read_text().splitlines()[0])
    change(look)
    found = evidence_of(json.dumps(look))
    assert (found.spaces, found.sysctls, found.counters) == ([], [], [])
    assert [bool(one.why) for one in found.unread] == [True]


@settings(max_examples=60)
@given(st.data())
def test_any_change_of_a_holder_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads((CAPTURED / "own" / "ports.json").read_text())
    holder = document["ports"][0]["holders"][0]
    key = data.draw(st.sampled_from(sorted(holder)))
    holder[key] = data.draw(st.none() | st.integers() | st.text() | st.sampled_from(["::1", "UDP", "TIME-WAIT"]))
    found = evidence_of(json.dumps(document), [DOCUMENTS])
    assert bool(found.listings) != bool(found.unread)
