"""The lines of a run folded into a summary: complete, cut off anywhere, and in disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.model import (
    CloseMode,
    Endpoint,
    Plan,
    SinkBehaviour,
    Stage,
    Target,
    Traffic,
    Transport,
)
from loadgen.results import histogram
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.files import Json
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line, SinkLine
from loadgen.results.schema.run import RunSummary
from loadgen.results.summary import CUT_SHORT, LAG_LIMIT_MS, LATENESS_LIMIT_MS, _survived, broken_invariants, summarise
from tests import samples
from tests.plans import plan_of

PLAN = plan_of(
    name="fold",
    connections=100,
    sources=("127.0.0.2", "127.0.0.3"),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=True),),
    hold_s=2.0,
    close=CloseMode.FIN,
    workers=2,
    sinks=1,
)
ENDED = {"t_s": 4.0, "event": "ended", "text": "the run came to its end"}
COUNTERS = ("started", "established", "failed", "in_flight", "not_started", "open", "lost", "retried")


def line(t_s: float, phase: str, **changes: Any) -> dict[str, Any]:
    return {
        "t_s": t_s,
        "phase": phase,
        "scheduled": 100,
        **dict.fromkeys(COUNTERS, 0),
        "ramp_s": 0.0,
        "tenths_s": [],
        "errors": [],
        "pairs": [[0, 0, 0], [0, 0, 0]],
        "latency_ns": {"lateness": {}, "connect": {}, "arrival": {}},
        "lag_ns": {},
        "cpu_s": 0.0,
        "workers": {"alive": 2, "stalled": 0},
        "sink": None,
        "kernel": {},
        **changes,
    }


def sink(accepted: int, opened: int, *sources: int) -> dict[str, Any]:
    rows = [
        {"source": address, "accepted": count, "source_ports": count}
        for address, count in zip(PLAN.sources, sources, strict=False)
    ]
    return {"accepted": accepted, "open": opened, **({"sources": rows} if rows else {})}


REFUSED = ["connect", "ECONNREFUSED", "refused", 1]
LOST = ["recv", "EOF", "lost", 2]
#: A run of two sources: 59 and 40 connections, one refused, two lost in the hold, all closed at the end.
SERIES: list[dict[str, Any]] = [
    line(
        0.5,
        "ramp",
        started=60,
        established=55,
        in_flight=5,
        open=55,
        ramp_s=0.4,
        tenths_s=[0.1, 0.2, 0.3, 0.35, 0.4],
        pairs=[[35, 0, 35], [20, 0, 20]],
        latency_ns={"lateness": {}, "connect": {"100": 50, "200": 5}, "arrival": {"100": 55}},
        sink=sink(55, 55),
        kernel={"now": {"sockstat.tcp_tw": 3}, "delta": {"Tcp.ActiveOpens": 60}},
        cpu_s=0.1,
    ),
    line(
        1.0,
        "ramp",
        started=100,
        established=99,
        failed=1,
        open=99,
        ramp_s=0.9,
        tenths_s=[0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8],
        pairs=[[59, 1, 59], [40, 0, 40]],
        errors=[REFUSED],
        latency_ns={"lateness": {}, "connect": {"100": 40, "255": 4}, "arrival": {"255": 44}},
        lag_ns={"1000": 7},
        sink=sink(99, 99),
        kernel={"now": {"sockstat.tcp_tw": 9}, "delta": {"Tcp.ActiveOpens": 100}},
        cpu_s=0.2,
    ),
]
AFTER = {key: SERIES[-1][key] for key in ("started", "established", "failed", "ramp_s", "tenths_s", "cpu_s")}
SERIES += [
    line(
        3.0,
        "hold",
        **AFTER,
        open=97,
        lost=2,
        errors=[LOST, REFUSED],
        pairs=[[59, 1, 57], [40, 0, 40]],
        sink=sink(99, 97),
        kernel={"now": {"sockstat.tcp_tw": 4}, "delta": {"Tcp.ActiveOpens": 100}},
    ),
    line(
        3.5,
        "drain",
        **AFTER,
        lost=2,
        errors=[LOST, REFUSED],
        pairs=[[59, 1, 0], [40, 0, 0]],
        sink=sink(99, 0),
        kernel={"now": {"sockstat.tcp_tw": 97}, "delta": {"Tcp.ActiveOpens": 100}},
    ),
    line(
        4.0,
        "done",
        **AFTER,
        lost=2,
        errors=[LOST, REFUSED],
        pairs=[[59, 1, 0], [40, 0, 0]],
        sink=sink(99, 0, 59, 40),
        kernel={"now": {"sockstat.tcp_tw": 97}, "delta": {"Tcp.ActiveOpens": 100, "Tcp.PassiveOpens": 99}},
    ),
]


def folded(plan: Plan, host: Json, series: Sequence[Json], events: Sequence[Json]) -> RunSummary:
    """The summary of lines and events as their files have them."""
    lines = [files.convert(one, Line) for one in series]
    happenings = [files.convert(one, Event) for one in events]
    return summarise(plan, files.convert(host, Host), lines, happenings, run="r")


def fold(series: Sequence[Json] = SERIES, events: Sequence[Json] = (ENDED,), plan: Plan = PLAN) -> Any:
    """The same as summary.json has it."""
    return files.plain(folded(plan, {"started_at": "2026-01-31T12:00:00+00:00"}, series, events))


def happened(event: str, text: str = "something") -> Json:
    return {"t_s": 1.0, "event": event, "text": text}


def test_every_key_of_the_contract_is_there() -> None:
    summary = fold()
    assert summary["schema"] == "loadgen.summary/1"
    assert set(summary) >= {
        *("schema", "scenario", "run", "started_at", "duration_s", "complete", "incomplete_because", "arrivals"),
        *("outcomes", "errors", "open", "rate_per_s", "latency_us", "sources", "kernel", "verdict", "expect"),
        "generator",
    }
    inside = {
        "arrivals": {"scheduled", "started", "not_started"},
        "outcomes": {"established", "failed", "in_flight"},
        "open": {"peak", "end_of_hold", "lost"},
        "rate_per_s": {"established_mean", "established_peak"},
        "latency_us": {"lateness", "connect", "arrival"},
        "kernel": {"delta", "peak"},
        "verdict": {"limit", "text", "predicted", "observed", "evidence", "remedies"},
        "generator": {"trustworthy", "lag_ms_p99", "workers", "cpu_s"},
    }
    for key, keys in inside.items():
        assert set(summary[key]) >= keys, key
    for latency in summary["latency_us"].values():
        assert set(latency) == {"p50", "p90", "p99", "p999", "max", "count"}
    assert set(summary["errors"][0]) == {"syscall", "errno", "outcome", "count"}
    assert set(summary["sources"][0]) == {"source", "target", "capacity", "peak_open", "established", "failed"}


def test_a_complete_run() -> None:
    summary = fold()
    assert not broken_invariants(files.convert(summary, RunSummary))
    assert (summary["complete"], summary["incomplete_because"], summary["duration_s"]) == (True, None, 4.0)
    assert (summary["scenario"], summary["run"]) == ("fold", "r")
    assert summary["started_at"] == "2026-01-31T12:00:00+00:00"
    assert summary["arrivals"] == {"scheduled": 100, "started": 100, "not_started": 0}
    assert summary["outcomes"] == {"established": 99, "failed": 1, "in_flight": 0, "retried": 0, "late": 0}
    assert summary["errors"] == [
        {"syscall": "recv", "errno": "EOF", "outcome": "lost", "count": 2},
        {"syscall": "connect", "errno": "ECONNREFUSED", "outcome": "refused", "count": 1},
    ]
    assert summary["open"] == {"peak": 99, "end_of_hold": 97, "lost": 2}
    assert summary["generator"]["workers"] == 2
    assert summary["generator"]["cpu_s"] == 0.2


def test_phases_end_at_their_last_line() -> None:
    assert fold()["phases"] == {"ramp_s": 1.0, "hold_s": 2.0, "drain_s": 0.5}
    assert fold(SERIES[:2], ())["phases"] == {"ramp_s": 1.0, "hold_s": 0.0, "drain_s": 0.0}
    assert fold([], ())["phases"] == {"ramp_s": 0.0, "hold_s": 0.0, "drain_s": 0.0}


def test_rates_are_those_of_the_ramp() -> None:
    """110/s is both the mean of 99 in 0.9 s and the first interval; the second brought 88/s."""
    assert fold()["rate_per_s"] == {"established_mean": 110.0, "established_peak": 110.0}
    slow_start = [{**SERIES[0], "established": 15}, *SERIES[1:]]
    assert fold(slow_start)["rate_per_s"] == {"established_mean": 110.0, "established_peak": 168.0}


def test_two_lines_close_together_make_no_rate() -> None:
    beside = {**SERIES[1], "t_s": 0.501}
    assert fold([SERIES[0], beside, *SERIES[2:]])["rate_per_s"]["established_peak"] == 110.0


def test_tenths_are_lengths_not_instants() -> None:
    assert fold()["tenths_s"] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1])


def test_latencies_of_all_lines_are_one_distribution_in_microseconds() -> None:
    connect = fold()["latency_us"]["connect"]
    assert connect == {"p50": 0.1, "p90": 0.1, "p99": 0.3, "p999": 0.3, "max": 0.3, "count": 99}
    assert fold()["latency_us"]["lateness"] == {"p50": 0, "p90": 0, "p99": 0, "p999": 0, "max": 0, "count": 0}


def test_each_source_has_its_own_peak() -> None:
    assert fold()["sources"] == [
        {
            "source": source,
            "target": "127.0.0.1:9000",
            "capacity": 100,
            "peak_open": peak,
            "established": peak,
            "failed": failed,
        }
        for source, peak, failed in (("127.0.0.2", 59, 1), ("127.0.0.3", 40, 0))
    ]


def test_the_kernel_has_its_highest_level_and_its_last_difference() -> None:
    assert fold()["kernel"] == {
        "delta": {"Tcp.ActiveOpens": 100, "Tcp.PassiveOpens": 99},
        "peak": {"sockstat.tcp_tw": 97},
        "opening": {"Tcp.ActiveOpens": 100},
        "ramp_peak": {"sockstat.tcp_tw": 9},
        "states": None,
        "sampling": None,
    }


def test_sockets_by_state_are_those_of_the_moment_with_most() -> None:
    """And its time is when they were counted, not when the line was written."""
    counts = [{"established": 40}, {"established": 90, "time_wait": 8}, {"established": 97}, {"time_wait": 97}]
    series = [
        {**line, "kernel": {**line["kernel"], "states": states, "states_age_s": 0.25}}
        for line, states in zip(SERIES, counts, strict=False)
    ]
    found = fold([*series, *SERIES[len(counts) :]])["kernel"]
    assert found["states"] == {"t_s": round(SERIES[1]["t_s"] - 0.25, 3), "counts": counts[1]}
    series[2]["kernel"]["sink"] = {"now": {}, "delta": {}, "states": {"listen": 2}, "states_age_s": 0.0}
    assert fold(series)["kernel"]["sink"]["states"] == {"t_s": SERIES[2]["t_s"], "counts": {"listen": 2}}


@pytest.mark.parametrize(("all_s", "share"), [({"run_cpu_s": 1.0}, 0.02), ({}, None), ({"run_cpu_s": 0.0}, None)])
def test_what_looking_cost_is_a_share_of_the_processors_time(all_s: dict[str, float], share: float | None) -> None:
    """Of a run that was killed nobody knows what all of it took."""
    spent = {"samples": 5, "listings": 2, "cpu_s": 0.02, **all_s}
    last = {**SERIES[-1], "t_s": 4.0, "kernel": {**SERIES[-1]["kernel"], "sampling": spent}}
    wanted = {"run_cpu_s": None, **spent, "share": share, "share_of_a_core": 0.005}
    assert fold([*SERIES[:-1], last])["kernel"]["sampling"] == wanted
    assert fold([*SERIES[:-1], last, {**last, "kernel": {}}])["kernel"]["sampling"] == wanted


def test_a_last_line_without_the_kernel_costs_no_difference() -> None:
    """As after a second Ctrl-C, which ends the process whose namespace is read."""
    assert fold([*SERIES[:-1], {**SERIES[-1], "kernel": {}}])["kernel"]["delta"] == {"Tcp.ActiveOpens": 100}


# --- Both sides ----------------------------------------------------------------------------------


def test_both_sides_agree() -> None:
    seen = fold()["sink"]
    assert seen["agrees"] is True
    assert (seen["accepted"], seen["open_peak"], seen["end_of_hold"]) == (99, 99, 97)
    assert [row["accepted"] for row in seen["sources"]] == [59, 40]


def test_a_source_without_a_connection_is_no_disagreement() -> None:
    end = {**SERIES[-1], "established": 59, "pairs": [[59, 1, 0], [0, 0, 0]], "sink": sink(59, 0, 59)}
    assert fold([*SERIES[:-1], end])["sink"]["agrees"] is True


@pytest.mark.parametrize("accepted", [98, 100])
def test_the_sides_disagree_on_the_whole(accepted: int) -> None:
    seen = fold([*SERIES[:-1], {**SERIES[-1], "sink": sink(accepted, 0)}])["sink"]
    assert seen["agrees"] is False
    assert f"accepted {accepted} connections, this side established 99" in seen["text"]


def test_a_full_queue_explains_what_the_sink_did_not_accept() -> None:
    """The kernel drops the last ACK of a handshake then, and this side has a connection that the other has not."""
    end = {**SERIES[-1], "sink": sink(90, 0), "kernel": {"now": {}, "delta": {"TcpExt.ListenOverflows": 7}}}
    assert "ListenOverflows +7" in fold([*SERIES[:-1], end])["sink"]["text"]
    assert "ListenOverflows" not in fold([*SERIES[:-1], {**end, "sink": sink(100, 0)}])["sink"]["text"]


def test_of_a_run_that_was_cut_off_nobody_knows() -> None:
    """Both counted on, and their last numbers are not of the same moment."""
    seen = fold([{**SERIES[0], "established": 99, "sink": sink(98, 98)}])["sink"]
    assert seen["agrees"] is None
    assert "at moments of their own" in seen["text"]


def test_of_events_that_were_not_written_nobody_knows() -> None:
    """As on a full disk: the event of a probe, whose connection the sink has counted, is missing like the end."""
    seen = fold([*SERIES[:-1], {**SERIES[-1], "sink": sink(100, 0)}], events=())["sink"]
    assert seen["agrees"] is None
    assert "a probe may have connected" in seen["text"]


def test_the_sides_disagree_on_one_source() -> None:
    assert fold([*SERIES[:-1], {**SERIES[-1], "sink": sink(99, 0, 58, 41)}])["sink"]["agrees"] is False


def test_the_sentence_about_one_source_names_it() -> None:
    assert "127.0.0.2" in fold([*SERIES[:-1], {**SERIES[-1], "sink": sink(99, 0, 58, 41)}])["sink"]["text"]


@pytest.mark.parametrize("behaviour", [SinkBehaviour(reset=True), SinkBehaviour(drop=0.1), SinkBehaviour()])
def test_what_a_sink_reset_on_purpose_it_has_accepted(behaviour: SinkBehaviour) -> None:
    """Some of it before this side knew of a connection: failed here, accepted there."""
    plan = replace(PLAN, targets=(Target(PLAN.targets[0].endpoint, sink=True, behaviour=behaviour),))
    reset = ["connect", "ECONNRESET", "reset", 1]
    end = {**SERIES[-1], "errors": [reset, LOST], "sink": sink(100, 0, 60, 40)}
    seen = fold([*SERIES[:-1], end], plan=plan)["sink"]
    assert seen["agrees"] is (behaviour != SinkBehaviour())
    if seen["agrees"]:
        assert seen["text"].endswith("this side established 99 and saw 1 reset before it knew that they were.")


@pytest.mark.parametrize(("behaviour", "agrees"), [(SinkBehaviour(drop=0.1), True), (SinkBehaviour(), False)])
def test_what_a_sink_reset_of_a_probe_it_has_accepted(behaviour: SinkBehaviour, agrees: bool) -> None:
    target = Target(PLAN.targets[0].endpoint, sink=True, behaviour=behaviour)
    saw = {"established": 0, "failed": 1, "errors": {"connect": {"ECONNRESET": 1}}, "source_ports": 0}
    probe = {"t_s": 1.0, "event": "probe", "text": "", "name": "one", "result": saw, "target": str(target.endpoint)}
    end = {**SERIES[-1], "sink": sink(100, 0, 60, 40)}
    seen = fold([*SERIES[:-1], end], [probe, ENDED], plan=replace(PLAN, targets=(target,)))["sink"]
    assert seen["agrees"] is agrees


@pytest.mark.parametrize("counted", [sink(99, 0, 58, 41), sink(97, 0, 57, 40), sink(101, 0, 61, 40)])
def test_a_run_stopped_at_once_says_why_the_sides_differ(counted: dict[str, Any]) -> None:
    """Workers and sinks are killed alike, so either may lack its last ones; a run that drained has no such excuse."""
    series = [*SERIES[:-1], {**SERIES[-1], "sink": counted}]
    stopped = fold(series, [happened("interrupted", "once"), happened("interrupted", "again"), ENDED])["sink"]
    drained = fold(series, [happened("interrupted", "once"), ENDED])["sink"]
    assert drained["agrees"] is False
    if counted["accepted"] != 99:
        assert stopped["agrees"] is None
        assert "stopped at once" in stopped["text"]
    else:
        assert stopped["agrees"]


def test_connections_to_somebody_else_are_not_the_sinks() -> None:
    """Two sources, of two targets only the first is ours: 59 + 40 connections to it, 30 + 20 elsewhere."""
    plan = replace(PLAN, connections=150, targets=(*PLAN.targets, Target(Endpoint("127.0.0.9", 80), sink=False)))
    pairs = [[59, 1, 0], [40, 0, 0], [30, 0, 0], [20, 0, 0]]
    end = line(4.0, "done", started=150, established=149, failed=1, pairs=pairs, sink=sink(99, 0, 59, 40))
    assert fold([end], plan=plan)["sink"]["agrees"] is True


def test_a_run_without_a_sink_says_nothing_about_one() -> None:
    assert fold([{**part, "sink": None} for part in SERIES])["sink"] is None


# --- Incomplete runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("event", sorted(CUT_SHORT))
def test_a_run_is_incomplete_after_what_cut_it_short(event: str) -> None:
    summary = fold(events=[happened(event, "because of this"), happened("note", "not this"), ENDED])
    assert (summary["complete"], summary["incomplete_because"]) == (False, "because of this")


def test_every_reason_is_given() -> None:
    events = [happened("worker-lost", "first"), happened("interrupted", "second")]
    assert fold(events=events)["incomplete_because"] == "first; second"


def test_a_run_that_never_said_that_it_ended_is_incomplete() -> None:
    summary = fold(events=[])
    assert (summary["complete"], summary["incomplete_because"]) == (
        False,
        "the run ended before its summary could be written",
    )


def test_a_run_that_was_killed_before_its_first_line() -> None:
    summary = fold([], [])
    assert not broken_invariants(files.convert(summary, RunSummary))
    assert summary["arrivals"] == {"scheduled": 100, "started": 0, "not_started": 100}
    assert summary["open"] == {"peak": 0, "end_of_hold": 0, "lost": 0}
    assert (summary["sources"], summary["sink"], summary["rate_per_s"]["established_peak"]) == ([], None, 0.0)


@pytest.mark.parametrize("lines", range(len(SERIES)))
def test_cut_off_anywhere_the_sums_hold(lines: int) -> None:
    """What nobody could count is what was not started; the ramp's end stands in for a hold never reached."""
    summary = fold(SERIES[:lines], [])
    assert not broken_invariants(files.convert(summary, RunSummary))
    assert not summary["complete"]
    assert summary["open"]["end_of_hold"] == (0, 55, 99, 97, 97)[lines]


def broken_down(counts: dict[str, int], attributed: dict[str, int], before: dict[str, int]) -> dict[str, Any]:
    """The parts of a line of which so many are attributed, after another with fewer."""
    established, failed = attributed.values()
    rest = {name: counts[name] - attributed[name] for name in attributed}
    return {
        "pairs": [[established, failed, counts["open"]], [0, 0, 0]],
        "errors": [
            [*kind[:3], count] for kind, count in ((REFUSED, counts["failed"]), (LOST, counts["lost"])) if count
        ],
        "latency_ns": {"lateness": {}, "connect": {"9": established - before["established"]}, "arrival": {}},
        **({"not_attributed": rest} if any(rest.values()) else {}),
    }


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[dict[str, Any]]]:
    """Connections planned, and lines of any run that is true to itself."""
    planned = draw(st.integers(1, 1000))
    counts = dict.fromkeys(COUNTERS, 0)
    attributed = dict.fromkeys(("established", "failed"), 0)
    series, t_s = [], 0.0
    lengths = draw(st.tuples(*[st.integers(0, 3)] * 3))
    for phase, length in zip(("ramp", "hold", "drain"), lengths, strict=True):
        for _ in range(length):
            t_s += draw(st.floats(0.01, 2.0))
            if phase == "ramp":
                new = draw(st.integers(0, planned - counts["started"] - counts["not_started"]))
                skipped = draw(st.integers(0, planned - counts["started"] - counts["not_started"] - new))
                answered = draw(st.integers(0, counts["in_flight"] + new))
                failed = draw(st.integers(0, answered))
                counts["started"] += new
                counts["not_started"] += skipped
                counts["in_flight"] += new - answered
                counts["failed"] += failed
                counts["established"] += answered - failed
                counts["open"] += answered - failed
            gone = draw(st.integers(0, counts["open"]))
            counts["open"] -= gone
            counts["lost"] += gone
            rest = dict(attributed)
            for name in attributed:
                attributed[name] = counts[name] if phase == "drain" else draw(st.integers(rest[name], counts[name]))
            series.append(line(t_s, phase, **counts, **broken_down(counts, attributed, rest), ramp_s=t_s / 2))
    return planned, series


@settings(max_examples=40)
@given(histories(), st.integers(0, 9), st.sampled_from([*sorted(CUT_SHORT), "none"]), st.booleans())
def test_the_sums_hold_for_whatever_is_left_of_any_run(
    history: tuple[int, list[dict[str, Any]]], cut: int, event: str, ended: bool
) -> None:
    planned, series = history
    events = [happened(event)] if event != "none" else []
    last = series[-1] if series[:cut] == series and series else None
    complete = ended and event == "none"
    if complete and (last is None or last["in_flight"] or last["started"] + last["not_started"] != planned):
        return
    if complete and last and "not_attributed" in last:
        return  # a run that says it is complete has all of its lines and answers
    summary = fold(series[:cut], [*events, ENDED] if ended else events, replace(PLAN, connections=planned))
    assert not broken_invariants(files.convert(summary, RunSummary))
    assert summary["complete"] is complete
    assert summary["open"]["peak"] >= summary["open"]["end_of_hold"]
    assert all(length >= 0 for length in summary["phases"].values())
    assert summary["rate_per_s"]["established_peak"] >= summary["rate_per_s"]["established_mean"] >= 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"arrivals.started": 99}, "scheduled is not started"),
        ({"outcomes.established": 98}, "is not established + failed"),
        ({"outcomes.established": 98, "outcomes.in_flight": 1}, "1 attempts in flight"),
        ({"outcomes.established": 98}, "established (98) is not those of its sources"),
        ({"latency_us.connect.count": 98}, "established (99) is not those with a connect time"),
        ({"outcomes.failed": 2}, "failed (2) is not those of its sources"),
        ({"open.lost": 1}, "failed + lost (2) is not its errors (3)"),
        ({"not_attributed": {"established": 1, "failed": 0}}, "counts that are not attributed"),
    ],
)
def test_a_sum_that_does_not_hold_is_named(changes: dict[str, Any], problem: str) -> None:
    problems = broken_invariants(files.convert(samples.changed(fold(), changes), RunSummary))
    assert any(problem in found for found in problems)


# --- The generator, expectations -----------------------------------------------------------------

STAGES = (Stage(100.0, 100.0, None),)


def with_latencies(lateness_ms: float, lag_ms: float) -> list[dict[str, Any]]:
    def counts(ms: float) -> dict[str, int]:
        found = histogram.dense({})
        histogram.add(found, np.full(10_000, int(ms * 1e6), dtype=np.int64))
        return histogram.sparse(found)

    latency = {"lateness": counts(lateness_ms), "connect": {}, "arrival": {}}
    return [*SERIES[:-1], {**SERIES[-1], "latency_ns": latency, "lag_ns": counts(lag_ms)}]


@pytest.mark.parametrize(
    ("lateness_ms", "lag_ms", "stages", "reasons"),
    [
        (LATENESS_LIMIT_MS * 0.99, LAG_LIMIT_MS * 0.99, STAGES, []),
        (LATENESS_LIMIT_MS * 1.02, 0, STAGES, ["could not keep the rate"]),
        (LATENESS_LIMIT_MS * 1.02, 0, (), []),
        (0, LAG_LIMIT_MS * 1.02, STAGES, ["stood still for 20"]),
        (0, LAG_LIMIT_MS * 1.02, (), ["stood still for 20"]),
        (1000, 1000, STAGES, ["started 100", "stood still for 100"]),
    ],
)
def test_a_generator_that_did_not_keep_up_is_not_trusted(
    lateness_ms: float, lag_ms: float, stages: tuple[Stage, ...], reasons: list[str]
) -> None:
    generator = fold(with_latencies(lateness_ms, lag_ms), plan=replace(PLAN, stages=stages))["generator"]
    assert generator["trustworthy"] is not bool(reasons)
    assert len(generator["reasons"]) == len(reasons)
    for reason, found in zip(reasons, generator["reasons"], strict=True):
        assert reason in found
    assert generator["lag_ms_p99"] == pytest.approx(lag_ms, rel=0.005)


def test_a_worker_that_stood_still_is_a_reason_not_to_trust() -> None:
    generator = fold(events=[happened("worker-stalled", "worker 1 gave no sign of life"), ENDED])["generator"]
    assert (generator["trustworthy"], generator["reasons"]) == (False, ["worker 1 gave no sign of life"])


def test_a_process_that_was_stopped_is_a_pause_and_one_that_starved_is_none() -> None:
    stopped: dict[str, Any] = {**happened("worker-stalled", "worker 1 (it is stopped)"), "stopped": True}
    events = [happened("sink-stalled", "sink 0 (starved)"), stopped, happened("paused", "an hour"), ENDED]
    generator = fold(events=events)["generator"]
    assert generator["reasons"] == ["sink 0 (starved)", "worker 1 (it is stopped)", "an hour"]
    assert generator["paused"] == ["worker 1 (it is stopped)", "an hour"]


@pytest.mark.parametrize(
    ("gap_s", "lag_s", "events", "paused"),
    [
        (9.0, 9.0, [ENDED], True),
        (9.0, 0.1, [ENDED], False),  # a disk that was slow: the workers went on
        (0.0, 9.0, [ENDED], False),  # a worker that starved
        (9.0, 9.0, [happened("worker-stalled", "it starved"), ENDED], False),
    ],
    ids=["all", "orchestrator", "worker", "told"],
)
def test_a_gap_of_all_processes_is_a_pause(gap_s: float, lag_s: float, events: list[Any], paused: bool) -> None:
    """As on a machine that was suspended, where no process was left to notice it."""
    *_, last = with_latencies(0, 0)
    lag = histogram.dense({})
    histogram.add(lag, np.array([int(lag_s * 1e9)] + [0] * 999, dtype=np.int64))
    late = last | {"t_s": last["t_s"] + gap_s, "lag_ns": histogram.sparse(lag)}
    generator = fold([*SERIES[:-1], late], events=events)["generator"]
    assert any("all of loadgen stood still" in text for text in generator.get("paused", ())) is paused


def test_expectations_are_held_against_the_finished_summary() -> None:
    expect = ("outcomes.established == 99", "open.lost == 0", "errors.connect.ECONNREFUSED <= 1", "no.such.key > 0")
    assert fold(plan=replace(PLAN, expect=expect))["expect"] == [
        {"expression": expect[0], "passed": True, "observed": 99},
        {"expression": expect[1], "passed": False, "observed": 2},
        {"expression": expect[2], "passed": True, "observed": 1},
        {"expression": expect[3], "passed": False, "observed": None},
    ]


#: A run whose target refused every connection.
NOTHING_OPENED = [line(1.0, "done", started=100, failed=100, errors=[["connect", "ECONNREFUSED", "refused", 100]])]


@pytest.mark.parametrize("expect", [(), ("latency_us.connect.p99 < 5000",), ("open.lost == 0", "outcomes.failed == 0")])
def test_a_run_that_opened_nothing_fails_whatever_else_holds(expect: tuple[str, ...]) -> None:
    *_, last = fold(NOTHING_OPENED, plan=replace(PLAN, expect=expect))["expect"]
    assert last == {"expression": "outcomes.established > 0", "passed": False, "observed": 0}


@pytest.mark.parametrize(
    "expect",
    ["outcomes.established == 0", "open.peak < 10", "errors.connect.ECONNREFUSED == 100", "outcomes.failed > 9"],
)
def test_unless_a_line_of_the_scenario_allows_for_that(expect: str) -> None:
    (only,) = fold(NOTHING_OPENED, plan=replace(PLAN, expect=(expect,)))["expect"]
    assert (only["expression"], only["passed"]) == (expect, True)


def test_a_run_that_was_cut_off_before_anything_opened_is_incomplete_and_no_more() -> None:
    assert fold(NOTHING_OPENED, [happened("interrupted"), ENDED])["expect"] == []
    assert fold([], [])["expect"] == []


# --- Probes ---------------------------------------------------------------------------------------


def test_probes_are_folded_from_the_events() -> None:
    """With what they saw, or with the reason why they saw nothing; a run without any has an empty mapping."""
    saw = {"established": 1, "failed": 2, "errors": {"bind": {"EADDRINUSE": 2}}, "source_ports": 1}
    events = [
        {"t_s": 1.0, "event": "probe", "text": "", "name": "one", "result": saw, "target": "x", "sources": {}},
        {"t_s": 2.0, "event": "probe", "text": "", "name": "two", "reason": "no such user"},
        ENDED,
    ]
    plan = replace(PLAN, expect=("probes.one.errors.bind == 2", "probes.two.errors == 0"))
    summary = fold(SERIES, events, plan)
    assert summary["probes"] == {"one": saw, "two": {"reason": "no such user"}}
    assert [held["passed"] for held in summary["expect"]] == [True, False]
    assert fold([], [])["probes"] == {}


def sunk(accepted: dict[str, int]) -> dict[str, Any]:
    rows = [{"source": source, "accepted": count, "source_ports": count - 1} for source, count in accepted.items()]
    return {"accepted": sum(accepted.values()), "open": 0, "sources": rows}


@pytest.mark.parametrize(("target", "agrees"), [("127.0.0.1:9000", True), ("127.0.0.1:9001", False)])
def test_what_a_probe_sent_to_the_sink_belongs_to_our_side(target: str, agrees: bool) -> None:
    probe = {"t_s": 1.0, "event": "probe", "text": "", "name": "one", "result": {}, "target": target}
    seen = line(4.0, "done", pairs=[[5, 0, 0], [5, 0, 0]], sink=sunk({"127.0.0.2": 8, "127.0.0.3": 5, "127.0.0.9": 2}))
    events = [{**probe, "sources": {"127.0.0.2": 3, "127.0.0.9": 2}}, ENDED]
    summary = fold([seen], events)
    assert summary["sink"]["agrees"] is agrees
    assert summary["sink"]["source_ports"] == 12


def test_a_target_that_never_accepts_is_not_compared() -> None:
    never = Target(Endpoint("127.0.0.1", 9001), sink=True, backlog=9, accept_after_s=None)
    plan = replace(PLAN, sources=("127.0.0.2",), targets=(*PLAN.targets, never))
    seen = line(4.0, "done", pairs=[[5, 0, 0], [10, 0, 0]], sink=sunk({"127.0.0.2": 5}))
    assert fold([seen], [ENDED], plan)["sink"]["agrees"]


# --- UDP ----------------------------------------------------------------------------------------


def heard(**accepted: int) -> dict[str, Any]:
    """A sink's last word on datagrams from the addresses a and b (127.0.0.2 and 3) and c, a stranger's."""
    names = {"a": "127.0.0.2", "b": "127.0.0.3", "c": "127.0.0.9"}
    rows = [{"source": names[key], "accepted": count, "source_ports": count} for key, count in accepted.items()]
    datagrams = {"received": 30, "answered": 20, "dropped": 5}
    return {"accepted": sum(accepted.values()), "open": 0, "sources": rows, "datagrams": datagrams}


@pytest.mark.parametrize(
    ("accepted", "agrees"),
    [({"a": 5, "b": 10}, True), ({"a": 4}, True), ({}, True), ({"a": 6}, False), ({"a": 5, "c": 1}, False)],
)
def test_in_udp_a_sink_hears_no_more_than_what_was_connected(accepted: dict[str, int], agrees: bool) -> None:
    """It may well hear less: a socket that sends nothing, or whose datagrams are lost, is never heard of."""
    plan = replace(PLAN, transport=Transport.UDP)
    seen = line(4.0, "done", pairs=[[5, 0, 0], [10, 0, 0]], sink=heard(**accepted))
    found = fold([seen], [ENDED], plan)["sink"]
    assert (found["agrees"], found["accepted"]) == (agrees, sum(accepted.values()))
    assert found["datagrams"] == {"received": 30, "answered": 20, "dropped": 5}
    assert "127.0.0" in found["text"] or agrees


def test_in_udp_requests_are_answered_lost_or_on_their_way() -> None:
    plan = replace(PLAN, transport=Transport.UDP, traffic=Traffic("echo"))
    latency = {"lateness": {}, "connect": {}, "arrival": {}, "exchange": {"100": 7}}
    last = line(4.0, "done", asked=12, unanswered=4, wrong=2, latency_ns=latency)
    found = fold([last], [ENDED], plan)["traffic"]
    assert (found["transport"], found["sent"], found["answered"], found["lost"], found["wrong"]) == ("udp", 12, 7, 4, 2)
    of_tcp = fold([last], [ENDED], replace(plan, transport=Transport.TCP))["traffic"]
    assert not {"sent", "answered", "lost"} & set(of_tcp)


def test_what_the_sinks_survived_stands_in_the_summary() -> None:
    """In words and as counts, beside the agreement of both sides."""
    last = SinkLine(accepted=1, open=0, failures={"accept4 EMFILE": 3_000})
    assert _survived(last) == " The sink survived failures: accept4 EMFILE (3,000)."
    assert _survived(SinkLine(accepted=1, open=0)) == ""


@pytest.mark.parametrize(
    ("workers", "words"), [(0, "accepted 99 connections. Other agents opened all"), (1, "opened some")]
)
def test_sinks_that_serve_other_hosts_are_compared_in_the_summary_of_the_whole(workers: int, words: str) -> None:
    summary = fold(plan=replace(PLAN, guests=50, workers=workers))
    seen = summary["sink"]
    assert seen["agrees"] is None
    assert summary["prediction"]["as_predicted"] is None
    assert words in seen["text"]
    assert "the summary of the whole compares" in seen["text"]


def test_of_an_agent_that_was_lost_the_last_count_is_missing() -> None:
    """Of its clients or of its sinks."""
    events = [happened("agent-lost", "agent c was lost"), ENDED]
    for accepted in (90, 110):
        seen = fold([*SERIES[:-1], {**SERIES[-1], "sink": sink(accepted, 0)}], events=events)["sink"]
        assert seen["agrees"] is None
        assert "An agent ended before it had counted its last ones." in seen["text"]
