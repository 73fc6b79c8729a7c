"""Which limit a run met, what shows it, and what would move it: a row for each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from loadgen.capacity.limits import LIMITS
from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Engine, Plan, PortRange, Strategy, Target, Transport
from loadgen.outcomes import Outcome, Syscall, describe, error_key
from loadgen.results.schema import files
from tests import samples
from tests.verdicts import (
    AGAIN,
    BIND,
    EOF,
    EXPLICIT,
    FAR,
    HOST,
    OVERFLOW,
    PLAN,
    PORT,
    REFUSED,
    SELF,
    SILENT,
    TRACKED,
    TUPLE,
    WALL,
    connects,
    decided,
    run,
)

#: What a run also has whose connections say something.
WRONG = {"traffic": {**files.plain(samples.summary({}, "tls").traffic), "wrong": 50, "replies": 100}}
BEATS = {"every_s": 1.0, "connections": 30, "sent": 210, "wrong": 0}
MISSED = {"heartbeat": {**BEATS, "answered": 200, "missed": 88}}
ONE_MISSED = {"heartbeat": {**BEATS, "answered": 209, "missed": 1}}
#: Ten connections whose exchange took too long: established all of them, and lost.
UNANSWERED = {
    "errors": [{"syscall": "wait", "errno": "ETIMEDOUT", "outcome": "timed-out", "count": 10}],
    "open": {"peak": 1000, "end_of_hold": 990, "lost": 10},
}
ISSUER = ("tls", "CERTIFICATE_UNKNOWN_ISSUER", "certificate")
NOT_TLS = ("tls", "NOT_TLS", "tls")

FEW = {"TcpExt.ListenOverflows": 2, "TcpExt.ListenDrops": 2}
NO_TUPLE = {"conntrack.insert_failed": 150, "conntrack.drop": 150, **AGAIN}
TABLE_WITH_ROOM = {
    **HOST,
    "sysctls": {"net.netfilter.nf_conntrack_count": "100", "net.netfilter.nf_conntrack_max": "262144"},
}
#: 28,000 of 28,232 ports of one source, by connect() alone; past half of them it searches.
SEARCHED = replace(PLAN, strategy=Strategy.KERNEL, connections=28_000, sources=("127.0.0.1",), targets=PLAN.targets[:1])
CLIFF = (110.0, 112.0, 108.0, 109.0, 111.0, 640.0, 700.0, 705.0, 690.0, 699.0)
#: 3,000 sources on one segment, of which 1,020 connect.
MANY = replace(FAR, connections=3_000, sources=tuple(f"198.18.{n // 250}.{n % 250 + 2}" for n in range(3_000)))
NEIGHBOURS = run((SILENT, 1_980), plan=MANY) | {
    "sources": [
        {
            "source": source,
            "target": "198.18.1.1:9000",
            "capacity": 28_232,
            "peak_open": int(n < 1_020),
            "established": int(n < 1_020),
            "failed": int(n >= 1_020),
        }
        for n, source in enumerate(MANY.sources)
    ]
}

#: The same targets, at which loadgen listens itself.
SUNK = replace(PLAN, targets=tuple(structs.replace(target, sink=True) for target in PLAN.targets))

CASES: list[tuple[str, dict[str, Any], Plan, dict[str, Any], str, str]] = [
    ("nothing", run(), PLAN, HOST, "none", "no limit was met"),
    ("wall", run((TUPLE, 50), plan=WALL), WALL, HOST, "four-tuples", "(connect EADDRNOTAVAIL 50 times)"),
    ("nearly", run((TUPLE, 53), plan=WALL), WALL, HOST, "four-tuples", "100 predicted, 97 observed: 3 ports are held"),
    ("bind wall", run((PORT, 50), plan=BIND), BIND, HOST, "source-ports", "to bind (bind EADDRINUSE 50 times)"),
    ("blocked", run((TUPLE, 120), plan=WALL), WALL, HOST, "port-held", "observed: 70 ports are held by others"),
    ("bind held", run((PORT, 120), plan=BIND), BIND, HOST, "port-held", "are held by others (bind EADDRINUSE"),
    ("one held", run((PORT, 51), plan=EXPLICIT), EXPLICIT, HOST, "port-held", "1 port is held by others"),
    ("explicit full", run((TUPLE, 50), plan=EXPLICIT), EXPLICIT, HOST, "four-tuples", "no free four-tuple"),
    ("waits", run((TUPLE, 120), plan=WALL, time_wait=70), WALL, HOST, "time-wait", "70 ports are in TIME-WAIT"),
    ("bind waits", run((PORT, 120), plan=BIND, time_wait=40), BIND, HOST, "time-wait", "are in TIME-WAIT (bind"),
    ("few wait", run((TUPLE, 120), plan=WALL, time_wait=9), WALL, HOST, "port-held", "held by others"),
    ("waits after", run((TUPLE, 50), plan=WALL, time_wait=40), WALL, HOST, "four-tuples", "no free"),
    ("syn-sent", run((SILENT, 100), (TUPLE, 50), plan=WALL), WALL, HOST, "blackhole", "127.0.0.1:9000 did not answer"),
    ("syn-sent wall", run((SILENT, 70), (TUPLE, 80), plan=WALL, opened=0), WALL, HOST, "port-held", "30 ports"),
    (
        "no source",
        run((("bind", "EADDRNOTAVAIL", "no-such-source"), 5)),
        PLAN,
        HOST,
        "source-address",
        "cannot be used on this host",
    ),
    ("EMFILE", run((("socket", "EMFILE", "no-descriptor"), 5)), PLAN, HOST, "descriptors", "socket EMFILE 5 times"),
    ("ENFILE", run((("socket", "ENFILE", "no-descriptor"), 1)), PLAN, HOST, "descriptors", "socket ENFILE once"),
    ("shed", run((("socket", "EMFILE", "no-descriptor"), 5), not_started=90), PLAN, HOST, "descriptors", "descriptor"),
    ("no watch", run((("register", "ENOSPC", "no-watch"), 5)), PLAN, HOST, "watches", "(register ENOSPC 5 times)"),
    ("ENOBUFS", run((("connect", "ENOBUFS", "no-memory"), 5)), PLAN, HOST, "memory", "no memory"),
    ("overflow", run((SILENT, 5), delta=OVERFLOW), PLAN, HOST, "backlog", "did not accept fast enough"),
    ("late", run(p99_s=3.07, delta=OVERFLOW | AGAIN), PLAN, HOST, "backlog", "(connect 3.07 s at the 99th"),
    (
        "late, far",
        run(plan=FAR, p99_s=3.07, delta=AGAIN),
        FAR,
        HOST,
        "backlog",
        "either 198.18.1.1:9000 did not accept fast",
    ),
    ("lost SYNs", run(p99_s=3.07, delta=AGAIN), PLAN, HOST, "syn-loss", "most likely packets were lost on the way"),
    ("few overflows", run(p99_s=3.07, delta=AGAIN | FEW), PLAN, HOST, "backlog", "or packets were lost"),
    ("late and lost", run((SILENT, 5), p99_s=1.02, delta=AGAIN), PLAN, HOST, "syn-loss", "wait ETIMEDOUT 5 times"),
    ("slow as light", run(p99_s=3.07), PLAN, HOST, "none", "no limit was met."),
    (
        "through",
        run((SILENT, 900), plan=FAR, overtaken=0),
        FAR,
        HOST,
        "path-limit",
        "50 connections of each source and target",
    ),
    ("not through", run((SILENT, 900), plan=FAR, overtaken=400), FAR, HOST, "blackhole", "did not answer"),
    ("translated", run((SILENT, 50), delta=NO_TUPLE), PLAN, TABLE_WITH_ROOM, "nat-ports", "no free source port for"),
    (
        "older stamps",
        run(p99_s=3.07, delta=AGAIN | {"TcpExt.PAWSTimewait": 40}),
        PLAN,
        HOST,
        "target-time-wait",
        "and their time stamps were behind",
    ),
    ("neighbours", NEIGHBOURS, MANY, HOST, "neighbours", "most likely a table of neighbours"),
    ("search", run(plan=SEARCHED, cost_us=CLIFF), SEARCHED, HOST, "port-search", "search for a free source port took"),
    (
        "search, late",
        run(plan=SEARCHED, cost_us=CLIFF, untrusted="late"),
        SEARCHED,
        HOST,
        "port-search",
        "port took the time.",
    ),
    ("slow", run(p99_s=0.7), PLAN, HOST, "none", "no limit"),
    ("silent", run((SILENT, 5)), PLAN, HOST, "blackhole", "the targets did not answer (wait ETIMEDOUT 5 times)"),
    ("window silent", run((SILENT, 5), not_started=700), PLAN, HOST, "blackhole", "did not answer"),
    (
        "refused",
        run((REFUSED, 1), plan=WALL),
        WALL,
        HOST,
        "refused",
        "127.0.0.1:9000 refused (connect ECONNREFUSED once)",
    ),
    (
        "none",
        run((REFUSED, 150), plan=WALL),
        WALL,
        HOST,
        "refused",
        "None of 150 connections opened: 127.0.0.1:9000 refu",
    ),
    ("reset", run((("connect", "ECONNRESET", "reset"), 5)), PLAN, HOST, "reset", "reset the connection"),
    ("no route", run((("connect", "ENETUNREACH", "unreachable"), 5)), PLAN, HOST, "unreachable", "cannot be reached"),
    ("EPERM", run((("connect", "EPERM", "forbidden"), 5)), PLAN, HOST, "forbidden", "forbade"),
    ("EPERM tracked", run((("connect", "EPERM", "forbidden"), 5)), PLAN, TRACKED, "conntrack", "connect EPERM 5"),
    ("tracked", run((SILENT, 5)), PLAN, TRACKED, "conntrack", "tracking table is nearly full (wait ETIMEDOUT"),
    ("self", run((("getsockname", "SELF", "self-connect"), 5)), PLAN, HOST, "self-connect", "connected to themselves"),
    ("closed", run((REFUSED, 6), (SELF, 5)), PLAN, HOST, "self-connect", "nothing listens at the targets (getsockname"),
    (
        "spent",
        run((PORT, 9), plan=BIND, not_started=41),
        BIND,
        HOST,
        "source-ports",
        "9 times), and 41 connections never",
    ),
    ("lost", run((EOF, 5)), PLAN, HOST, "lost", "while they were held (recv EOF 5 times)"),
    ("issuer", run((ISSUER, 5)), PLAN, HOST, "tls", "failed (tls CERTIFICATE_UNKNOWN_ISSUER 5 times)"),
    ("no tls", run((NOT_TLS, 5), plan=WALL), WALL, HOST, "tls", "TLS handshakes with 127.0.0.1:9000 failed"),
    ("no answer", run() | UNANSWERED, PLAN, HOST, "unanswered", "without an answer (wait ETIMEDOUT 10 times)"),
    ("missed", run() | MISSED, PLAN, HOST, "unanswered", "(88 heartbeats were missed, 200 answered)"),
    ("one missed", run() | ONE_MISSED, PLAN, HOST, "none", "no limit was met"),
    ("asleep, missed", run(untrusted="it slept") | MISSED, PLAN, HOST, "generator", "it slept"),
    ("wrong", run(plan=WALL) | WRONG, WALL, HOST, "wrong-reply", "not the right ones (50 wrong, 100 right)"),
    ("wrong beats", run((EOF, 31)) | WRONG | MISSED, PLAN, HOST, "lost", "ended while"),
    ("strange", run((("connect", "EINVAL", "other"), 5)), PLAN, HOST, "other", "no name for (connect EINVAL 5 times)"),
    ("newer", run((("connect", "EINVAL", "from-the-future"), 5)), PLAN, HOST, "other", "no name for"),
    ("window", run(not_started=10), PLAN, HOST, "in-flight", "10 connections never started: a worker's window of 256"),
    (
        "Ctrl-C",
        run(not_started=10, because="interrupted; drained early"),
        PLAN,
        HOST,
        "interrupted",
        "10 connections not",
    ),
    ("Ctrl-C held", run(because="interrupted; drained early"), PLAN, HOST, "interrupted", "was interrupted."),
    (
        "killed",
        run(in_flight=9, because="worker 1 was killed"),
        PLAN,
        HOST,
        "incomplete",
        "cut off: worker 1 was killed",
    ),
    (
        "our sink killed",
        run((EOF, 900), (REFUSED, 50), because="sink 0 (pid 7) was killed by SIGKILL in phase ramp"),
        replace(PLAN, targets=tuple(Target(target.endpoint, sink=True) for target in PLAN.targets)),
        HOST,
        "incomplete",
        "cut off: sink 0",
    ),
    (
        "a sink killed, another program ended",
        run((EOF, 900), because="sink 0 (pid 7) was killed by SIGKILL in phase ramp"),
        PLAN,
        HOST,
        "lost",
        "cut off: sink 0",
    ),
    ("asleep", run(untrusted="it slept"), PLAN, HOST, "generator", "loadgen itself was the bottleneck: it slept"),
    ("asleep, refused", run((REFUSED, 5), untrusted="it slept"), PLAN, HOST, "refused", "refused"),
    ("asleep, lost", run((EOF, 1), untrusted="it slept"), PLAN, HOST, "lost", "of which 1 was lost: connections with"),
    ("paused", run(paused="an hour"), PLAN, HOST, "paused", "loadgen was stopped for a time: an hour."),
    ("paused, late", run(paused="an hour", untrusted="late"), PLAN, HOST, "paused", "for a time: an hour."),
    ("paused, missed", run(paused="an hour") | MISSED, PLAN, HOST, "paused", "an hour"),
    ("paused, window", run(paused="an hour", not_started=10), PLAN, HOST, "paused", "an hour"),
    ("paused, unsampled", run(paused="an hour", p99_s=3.0), PLAN, HOST, "paused", "an hour"),
    ("paused, refused", run((REFUSED, 5), paused="an hour"), PLAN, HOST, "refused", "loadgen's own: an hour."),
    ("old host", run((SILENT, 5)), PLAN, {}, "blackhole", "did not answer"),
]


@pytest.mark.parametrize(
    ("found", "plan", "host", "limit", "words"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_limit_and_its_words(
    found: dict[str, Any], plan: Plan, host: dict[str, Any], limit: str, words: str
) -> None:
    verdict = decided(found, plan, host)
    assert verdict["limit"] == limit
    assert words in verdict["text"]
    assert verdict["text"].endswith(".")
    assert bool(verdict["evidence"]) == (limit != "none")


def test_every_limit_has_a_case() -> None:
    assert {case[4] for case in CASES} == set(LIMITS)


@pytest.mark.parametrize("limit", sorted(set(LIMITS) - {"none", "interrupted", "other"}))
def test_what_can_be_mended_has_a_remedy(limit: str) -> None:
    for _, found, plan, host, expected, _ in CASES:
        if expected == limit:
            assert decided(found, plan, host)["remedies"]


# --- How sure a verdict is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "plan", "confidence", "candidates"),
    [
        (run(p99_s=3.07, delta=OVERFLOW | AGAIN), PLAN, "certain", []),
        (run(p99_s=3.07, delta=AGAIN), PLAN, "likely", []),
        (run(plan=FAR, p99_s=3.07, delta=AGAIN), FAR, "open", ["backlog", "syn-loss"]),
        (run((SILENT, 900), plan=FAR, overtaken=0), FAR, "open", ["path-limit", "backlog"]),
        (run((SILENT, 900), overtaken=0), PLAN, "likely", []),
        (run((SILENT, 1000), plan=FAR), FAR, "open", ["blackhole", "backlog"]),
        (run((REFUSED, 5)), PLAN, "certain", []),
        (run((TUPLE, 50), plan=WALL), WALL, "certain", []),
        (run((TUPLE, 120), plan=WALL), WALL, "likely", []),
    ],
)
def test_where_the_evidence_does_not_decide_all_that_is_left_is_named(
    found: dict[str, Any], plan: Plan, confidence: str, candidates: list[str]
) -> None:
    verdict = decided(found, plan, HOST)
    assert verdict["confidence"] == confidence
    assert verdict.get("candidates", []) == candidates
    assert len(verdict.get("decide_by", [])) == len(candidates)


def test_an_open_verdict_has_the_remedies_of_all_candidates() -> None:
    remedies = decided(run(plan=FAR, p99_s=3.07, delta=AGAIN), FAR, HOST)["remedies"]
    assert any("accept faster" in remedy for remedy in remedies)
    assert any("which SYNs arrive" in remedy for remedy in remedies)
    assert len(remedies) == len(set(remedies))


def ruled_out(found: dict[str, Any], plan: Plan, host: dict[str, Any] = HOST) -> dict[str, str]:
    return {row["limit"]: row["because"] for row in decided(found, plan, host)["refuted"]}


def test_what_is_ruled_out_is_named_with_the_fact() -> None:
    assert "ListenOverflows +0" in ruled_out(run(p99_s=3.07, delta=AGAIN), PLAN)["backlog"]
    assert "the table had room" in ruled_out(run((SILENT, 50), delta=NO_TUPLE), PLAN, TABLE_WITH_ROOM)["conntrack"]
    assert (
        "the kernel took the time" in ruled_out(run(plan=SEARCHED, cost_us=CLIFF, untrusted="x"), SEARCHED)["generator"]
    )
    assert "100 of 100 ports in use by this run" in ruled_out(run((TUPLE, 50), plan=WALL), WALL)["port-held"]


def test_the_queue_of_a_target_that_answers_requests_is_not_full() -> None:
    found = run((SILENT, 900), plan=FAR, overtaken=0) | {"traffic": {**WRONG["traffic"], "wrong": 0}}
    assert "answered 100 requests" in ruled_out(found, FAR)["backlog"]


def test_counters_of_the_sinks_namespace_count_as_the_listeners() -> None:
    """As in a lab of two namespaces, where the queue overflows on the other side."""
    found = run((SILENT, 50))
    found["kernel"]["sink"] = {"delta": dict(OVERFLOW), "peak": {}, "states": None}
    plan = replace(PLAN, targets=(Target(Endpoint("198.18.1.1", 9000), sink=True),))
    verdict = decided(found, plan, HOST)
    assert (verdict["limit"], verdict["confidence"]) == ("backlog", "certain")
    assert "TcpExt.ListenOverflows +512 in the sinks' namespace" in verdict["evidence"]


@pytest.mark.parametrize(("workers", "full"), [(1, "64 were open"), (2, "64 may be open, and a worker had its share")])
def test_a_worker_may_be_full_where_the_run_is_not(workers: int, full: str) -> None:
    """Arrivals are dealt to the workers beforehand, so one that falls behind drops its own while others have room."""
    plan = replace(PLAN, connections=64, workers=workers, churn=Churn(4.0, arrivals=1200))
    assert f"10 connections never started: {full}" in decided(run(not_started=10, plan=plan), plan, HOST)["text"]


@pytest.mark.parametrize(
    ("limit", "found"), [("lost", run((REFUSED, 1), (EOF, 9))), ("tls", run((REFUSED, 1), (ISSUER, 9)))]
)
def test_a_failed_attempt_names_no_target_for_what_befalls_open_connections(limit: str, found: dict[str, Any]) -> None:
    """The one attempt that failed had nothing to do with the connections that ended, at whichever target."""
    for row, failed in zip(found["sources"], (1, 0, 0, 0), strict=True):
        row["failed"] = failed
    verdict = decided(found, PLAN, HOST)
    assert verdict["limit"] == limit
    assert "with the targets" in verdict["text"]
    assert not any(
        row["target"] in text for row in found["sources"] for text in (verdict["text"], *verdict["remedies"])
    )


@pytest.mark.parametrize(("lasted_s", "limit"), [(3.0, "unanswered"), (30.0, "in-flight")])
def test_exchanges_without_an_answer_may_have_taken_the_room_of_arrivals(lasted_s: float, limit: str) -> None:
    """Ten of them for a second each: most of the room for 4 in 3 seconds, and a twelfth of it in 30."""
    plan = replace(PLAN, connections=4, timeout_s=1.0, churn=Churn(lasted_s, arrivals=1200))
    churn = samples.summary({"churn.lasted_s": lasted_s}, "churn").churn
    found = run(not_started=90, plan=plan) | UNANSWERED | {"churn": files.plain(churn)}
    assert decided(found, plan, HOST)["limit"] == limit


# --- What hurts beside the limit -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "plan", "finding"),
    [
        (
            run(p99_s=0.9, delta=AGAIN) | {"outcomes": {"established": 1000, "late": 5}},
            PLAN,
            "5 connections opened late",
        ),
        (run(delta={"TcpExt.ListenOverflows": 9}), PLAN, "The listener's queue was full for 9 packets"),
        (run(cost_us=CLIFF), replace(PLAN, strategy=Strategy.LATE_RANGE), "came to cost 6 times as much CPU time"),
        (run((TUPLE, 50), plan=WALL, cost_us=CLIFF), WALL, "strategy late searches for a port"),
        (run() | connects(p50_us=2_000, network_us=30), PLAN, "a connect took 2.00 ms at the median"),
        (run((REFUSED, 5), untrusted="it slept"), PLAN, "Its latencies are also loadgen's own: it slept."),
    ],
)
def test_what_hurts_stands_in_the_second_sentence(found: dict[str, Any], plan: Plan, finding: str) -> None:
    verdict = decided(found, plan, HOST)
    assert len(verdict["findings"]) == 1
    assert finding in verdict["findings"][0]
    assert verdict["text"].endswith(verdict["findings"][0])
    assert "no limit was met" not in verdict["text"]


def test_connections_of_one_system_call_share_their_instants_in_every_run() -> None:
    found = run() | connects(p50_us=2_000, network_us=30)
    assert decided(found, replace(PLAN, engine=Engine.IO_URING), HOST).get("findings", ()) == ()


@pytest.mark.parametrize(("came_true", "limit"), [(True, "none"), (False, "four-tuples")])
def test_ports_that_run_out_in_passing_are_told_and_no_limit(came_true: bool, limit: str) -> None:
    """Connections that close hold ports too, so at times none is free where no ceiling was predicted."""
    plan = replace(WALL, churn=Churn(2.0), ceiling=Ceiling(None, None, "the table overflows"))
    churn = samples.summary({"churn.as_predicted": came_true}, "churn").churn
    verdict = decided(run((TUPLE, 55), plan=WALL) | {"churn": files.plain(churn)}, plan, HOST)
    assert verdict["limit"] == limit
    assert (" attempts found no free port." in verdict["text"]) is came_true


# --- Which cause comes first -----------------------------------------------------------------------


def test_the_cause_that_cost_most_decides_and_of_equals_the_nearer() -> None:
    assert decided(run((REFUSED, 3), (EOF, 4)), PLAN, HOST)["limit"] == "lost"
    assert decided(run((REFUSED, 4), (EOF, 3)), PLAN, HOST)["limit"] == "refused"
    no_descriptor = ("socket", "EMFILE", "no-descriptor")
    assert decided(run((REFUSED, 4), (no_descriptor, 4)), PLAN, HOST)["limit"] == "descriptors"


def test_one_limit_adds_up_over_its_system_calls() -> None:
    """3 + 3 memory failures are more than 4 refusals."""
    errors = ((("connect", "ENOBUFS", "no-memory"), 3), (("socket", "ENOMEM", "no-memory"), 3), (REFUSED, 4))
    assert decided(run(*errors), PLAN, HOST)["limit"] == "memory"


def test_an_interrupt_after_a_wall_leaves_the_wall_as_the_cause() -> None:
    found = run((TUPLE, 48), plan=WALL, not_started=2, because="interrupted; drained early")
    assert decided(found, WALL, HOST)["limit"] == "four-tuples"


def test_the_time_wait_of_the_drain_stopped_nothing() -> None:
    """100 connections closed by this side are 100 in TIME-WAIT, after the fact."""
    found = run((TUPLE, 120), plan=WALL)
    assert found["kernel"]["peak"]["sockstat.tcp_tw"] == 30
    assert decided(found, WALL, HOST)["limit"] == "port-held"


# --- Words and numbers -----------------------------------------------------------------------------


def test_the_sentence_begins_with_what_was_reached() -> None:
    text = decided(run(hold_s=30.4), PLAN, HOST)["text"]
    assert text == "1,000 of 1,000 connections opened at 12,346/s, held 30 s with none lost: no limit was met."
    lost = decided(run((EOF, 1200)), PLAN, HOST)["text"]
    assert lost.startswith("1,000 of 1,000 connections opened at 12,346/s of which 1,200 were lost: ")


def test_predicted_is_what_the_plan_had_room_for_and_observed_the_peak() -> None:
    """100 four-tuples for 150 connections; room for 112,928 when 1,000 are wanted."""
    verdict = decided(run((TUPLE, 53), plan=WALL), WALL, HOST)
    assert (verdict["predicted"], verdict["observed"]) == (100, 97)
    assert decided(run(), PLAN, HOST)["predicted"] == 1000


def test_evidence_is_facts_with_their_numbers() -> None:
    assert decided(run((TUPLE, 120), plan=WALL, time_wait=70), WALL, HOST)["evidence"] == [
        "connect EADDRNOTAVAIL 120 times",
        "127.0.0.2 -> 127.0.0.1:9000: 30 of 100 four-tuples in use",
        "70 sockets in TIME-WAIT while connections were opened",
    ]
    assert "127.0.0.2: 100 of 100 source ports in use" in decided(run((PORT, 50), plan=BIND), BIND, HOST)["evidence"]
    assert decided(run((SILENT, 5), delta=OVERFLOW, p99_s=1.02), PLAN, HOST)["evidence"] == [
        "wait ETIMEDOUT 5 times",
        "512 packets found the listener's queue full in this namespace (ListenOverflows)",
        "TcpExt.ListenOverflows +512",
        "TcpExt.ListenDrops +512",
    ]
    assert "about 1,995 of 1,024 entries of nf_conntrack in use" in decided(run((SILENT, 5)), PLAN, TRACKED)["evidence"]


def sampled(summary: dict[str, Any], **gauges: int) -> dict[str, Any]:
    """With these numbers of conntrack as the highest sampled."""
    kernel = summary["kernel"]
    peak = {**kernel["peak"], **{f"conntrack.{name}": value for name, value in gauges.items()}}
    return {**summary, "kernel": {**kernel, "peak": peak}}


@pytest.mark.parametrize(
    ("count", "size", "limit"),
    [(1024, 1024, "conntrack"), (1, 1024, "blackhole"), (0, 1, "blackhole"), (9, 0, "blackhole")],
)
def test_a_tracking_table_is_as_full_as_it_was_sampled(count: int, size: int, limit: str) -> None:
    """Whatever it had before the run: a namespace that tracks nothing has the host's maximum and no entries."""
    found = decided(sampled(run((SILENT, 5)), count=count, max=size), PLAN, TRACKED)
    assert found["limit"] == limit
    said = f"about {count:,} of {size:,} entries of nf_conntrack in use"
    assert (said in found["evidence"]) == (limit == "conntrack")


@pytest.mark.parametrize(("drops", "limit"), [(5, "conntrack"), (4, "blackhole"), (0, "blackhole")])
def test_a_packet_dropped_for_every_silent_attempt_is_the_table(drops: int, limit: str) -> None:
    found = decided(run((SILENT, 5), delta={"conntrack.drop": drops}), PLAN, HOST)
    assert found["limit"] == limit
    assert ("conntrack.drop +5" in found["evidence"]) == (limit == "conntrack")


def test_packets_dropped_by_the_cores_are_the_hosts() -> None:
    found = decided(run((SILENT, 5), delta={"softnet.dropped": 1200}), PLAN, HOST)
    assert "softnet.dropped +1,200 on the whole host" in found["evidence"]


# --- Remedies --------------------------------------------------------------------------------------


#: Neither end is a loopback address, for which alone tcp_tw_reuse=2 reuses anything.
ACROSS = replace(WALL, sources=("198.18.0.2",), targets=(Target(Endpoint("198.18.1.1", 80), sink=False),))


@pytest.mark.parametrize(
    ("found", "plan", "remedy"),
    [
        (run((("socket", "EMFILE", "no-descriptor"), 9)), PLAN, "ulimit -Hn, now 20,000"),
        (run((("socket", "ENFILE", "no-descriptor"), 9)), PLAN, "raise fs.file-max, now 2466183"),
        (run((("register", "ENOSPC", "no-watch"), 9)), PLAN, "raise fs.epoll.max_user_watches to 2,000"),
        (run((("bind", "EADDRNOTAVAIL", "no-such-source"), 9)), PLAN, "ip address add 127.0.0.2/32 dev lo"),
        (run((SILENT, 9), delta=OVERFLOW), SUNK, "net.core.somaxconn caps (here 4,096)"),
        (run((SILENT, 9), delta=OVERFLOW), PLAN, "net.core.somaxconn caps there"),
        (run((TUPLE, 120), plan=WALL, time_wait=70), WALL, "`close: rst` leaves nothing in TIME-WAIT"),
        (run((TUPLE, 120), plan=ACROSS, time_wait=70), ACROSS, "set net.ipv4.tcp_tw_reuse=1"),
        (run((PORT, 120), plan=BIND, time_wait=70), BIND, "bind never takes a port out of TIME-WAIT"),
        (run((TUPLE, 120), plan=WALL), WALL, "loadgen watch --once"),
        (run(not_started=10), PLAN, "`in_flight`"),
        (run(untrusted="x"), PLAN, "lower the rate"),
    ],
)
def test_a_limit_that_can_be_mended_says_how(found: dict[str, Any], plan: Plan, remedy: str) -> None:
    assert remedy in "\n".join(decided(found, plan, HOST)["remedies"])


# --- For every run there can be --------------------------------------------------------------------

kinds = st.sampled_from(
    [
        (*describe(error_key(syscall, number)),)
        for syscall in Syscall
        for number in (0, 1, 12, 13, 22, 23, 24, 98, 99, 101, 104, 105, 110, 111, 113)
    ]
)
plans = st.builds(
    lambda strategy, sources, targets, ports, connections, close: replace(
        PLAN,
        strategy=strategy,
        sources=tuple(f"127.0.0.{2 + n}" for n in range(sources)),
        targets=tuple(Target(Endpoint("127.0.0.1", 9000 + n), sink=False) for n in range(targets)),
        ports=PortRange(30_000, 30_000 + ports - 1),
        capacity_per_pair=ports,
        connections=connections,
        close=close,
    ),
    st.sampled_from(Strategy),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(1, 2000),
    st.sampled_from(CloseMode),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], Plan]:
    plan = draw(plans)
    errors = draw(st.dictionaries(kinds, st.integers(1, 500), max_size=4))
    because = draw(st.sampled_from([None, "interrupted; drained early", "worker 1 was killed"]))
    summary = run(
        *errors.items(),
        plan=plan,
        opened=draw(st.integers(0, 500)),
        not_started=draw(st.integers(0, 50)),
        in_flight=0 if because is None else draw(st.integers(0, 50)),
        because=because,
        untrusted=draw(st.sampled_from(["", "it slept"])),
        delta=draw(st.sampled_from([{}, OVERFLOW])),
        time_wait=draw(st.integers(0, 400)),
        p99_s=draw(st.sampled_from([0.001, 1.02])),
    )
    if draw(st.booleans()):
        summary["sources"] = []  # as when a run ended before its first line
    return summary, plan


@given(cases(), st.sampled_from([HOST, TRACKED, {}]))
def test_every_run_has_a_verdict(case: tuple[dict[str, Any], Plan], host: dict[str, Any]) -> None:
    verdict = decided(*case, host)
    assert verdict["limit"] in LIMITS
    named = {verdict["limit"], *verdict.get("candidates", [])}
    assert not named & {row["limit"] for row in verdict["refuted"]}
    assert (verdict["confidence"] == "open") == (len(named) > 1)
    assert "{" not in verdict["text"]
    for line in (*verdict["evidence"], *verdict["remedies"]):
        assert line.strip()
        assert "{" not in line


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ESTABLISHED])
def test_no_outcome_of_a_failure_is_without_a_limit(outcome: Outcome) -> None:
    assert decided(run((("connect", "EINVAL", outcome.value), 1)), PLAN, HOST)["limit"] != "none"


# --- UDP ----------------------------------------------------------------------------------------

NO_PORT = ("connect", "EAGAIN", "no-free-port")
#: A hundred ports, one source and two targets, of which a hundred sockets are room for.
UDP = replace(WALL, transport=Transport.UDP, strategy=Strategy.LATE_RANGE, targets=PLAN.targets, port_blocking=True)


def test_in_udp_the_wall_is_the_source_and_shared_ports_are_the_way_past_it() -> None:
    verdict = decided(run((NO_PORT, 50), plan=UDP), UDP, HOST)
    assert (verdict["limit"], verdict["predicted"], verdict["observed"]) == ("source-ports", 100, 100)
    assert verdict["evidence"] == ["connect EAGAIN 50 times", "127.0.0.2: 100 of 100 source ports in use"]
    assert verdict["remedies"][0] == (
        "use explicit (a program: set SO_REUSEADDR before bind(address, port), with a port of its own choice): "
        "each port serves every target: +100"
    )


def test_in_udp_connect_alone_has_one_wall_for_all_sources() -> None:
    plan = replace(UDP, strategy=Strategy.KERNEL, sources=("127.0.0.2", "127.0.0.3"), targets=PLAN.targets)
    verdict = decided(run((NO_PORT, 50), plan=plan), plan, HOST)
    assert verdict["evidence"][1] == "this host: 100 of 100 source ports in use"
    assert not any("cost flat" in remedy for remedy in verdict["remedies"])


def test_in_udp_time_wait_of_others_explains_nothing() -> None:
    verdict = decided(run((NO_PORT, 100), plan=UDP, opened=50, time_wait=500), UDP, HOST)
    assert verdict["limit"] == "port-held"
    assert any("ss -uanp" in remedy for remedy in verdict["remedies"])
    tcp = replace(WALL, strategy=Strategy.BIND)
    assert decided(run((PORT, 100), plan=tcp, opened=50, time_wait=500), tcp, HOST)["limit"] == "time-wait"


def test_in_udp_what_is_late_or_lost_on_the_way_is_no_limit() -> None:
    assert decided(run(plan=UDP) | WRONG | MISSED, UDP, HOST)["limit"] == "none"


def test_in_udp_nobody_there_is_a_loss_with_its_own_remedy() -> None:
    verdict = decided(run((("recv", "ECONNREFUSED", "lost"), 150), plan=UDP), UDP, HOST)
    assert verdict["limit"] == "lost"
    assert "ECONNREFUSED is an ICMP port unreachable" in verdict["evidence"]
    assert verdict["remedies"] == ["start the server at the targets; nothing has that port there"]


def test_two_limits_with_as_strong_evidence_are_both_named() -> None:
    """A tracking table that is nearly full, and one of neighbours that was."""
    found = run((SILENT, 1000), plan=FAR, delta={"neigh.table_fulls": 1000})
    verdict = decided(found, FAR, TRACKED)
    assert verdict["confidence"] == "open"
    assert verdict["candidates"] == ["conntrack", "neighbours"]


RESET = ("connect", "ECONNRESET", "reset")
OLD = {**HOST, "kernel": "6.6.100-1-amd64", "cpus": 16}


@pytest.mark.parametrize(
    ("count", "plan", "host", "said"),
    [
        (1, SUNK, OLD, True),
        (1, PLAN, OLD, True),  # a target on loopback
        (20, SUNK, OLD, False),  # too many for a race
        (1, SUNK, {**OLD, "cpus": 2}, False),
        (1, SUNK, {**OLD, "kernel": "6.6.120"}, False),
        (1, SUNK, {**OLD, "kernel": "6.19.3"}, False),
        (1, SUNK, {**OLD, "kernel": ""}, False),
        (1, FAR, OLD, False),  # the kernel of the target is another's
    ],
)
def test_a_few_resets_may_be_the_kernels_own(count: int, plan: Plan, host: dict[str, Any], *, said: bool) -> None:
    """It is said beside the limit, never as the limit, and with the look that decides."""
    plan = replace(plan, connections=5_000)
    verdict = decided(run((RESET, count), plan=plan), plan, host)
    found = [finding for finding in verdict.get("findings", ()) if "kernel's own" in finding]
    assert bool(found) is said
    assert verdict["limit"] == "reset"
    assert all("may be" in finding and "tcp:tcp_send_reset" in finding for finding in found)


@pytest.mark.parametrize(
    ("sysctls", "says"),
    [
        (
            {"net.ipv4.tcp_syn_retries": "6", "net.ipv4.tcp_syn_linear_timeouts": "4"},
            "given up after 131 s; an attempt",
        ),
        ({"net.ipv4.tcp_syn_retries": "2"}, "again after 1, 3 s, given up after 7 s; an attempt"),
        ({"net.ipv4.tcp_syn_retries": "1", "net.ipv4.tcp_ecn": "1"}, "asks for ECN"),
        ({}, ""),
    ],
)
def test_the_times_of_repeated_syns_are_those_of_the_host(sysctls: dict[str, str], says: str) -> None:
    evidence = decided(run((SILENT, 5)), PLAN, {**HOST, "sysctls": sysctls})["evidence"]
    assert any(says in fact for fact in evidence) if says else not any("sends a SYN" in fact for fact in evidence)
    assert not any("sends a SYN" in fact for fact in decided(run(), PLAN, {**HOST, "sysctls": sysctls})["evidence"])


def test_where_the_kernel_gave_up_first_a_longer_timeout_is_no_remedy() -> None:
    plan = replace(PLAN, timeout_s=60.0)
    host = {**HOST, "sysctls": {"net.ipv4.tcp_syn_retries": "2"}}
    verdict = decided(run((SILENT, 1000), plan=plan, opened=0), plan, host)
    assert any("raise net.ipv4.tcp_syn_retries above 2" in remedy for remedy in verdict["remedies"])
    assert not any("`timeout`" in remedy for remedy in verdict["remedies"])
