"""Every kind of summary fits its JSON Schema, and the schema refuses anything that no summary has."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace as replace_fields

from loadgen.model import (
    Ceiling,
    Churn,
    CloseMode,
    Endpoint,
    Heartbeat,
    Plan,
    PortRange,
    Prediction,
    Strategy,
    Target,
    Tls,
    Traffic,
    Transport,
)
from loadgen.results import matrix
from loadgen.results.block import Latency
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.find import FailedCondition
from loadgen.results.schema.host import Host
from loadgen.results.schema.json_schema import summary_schema
from loadgen.results.schema.line import Line
from loadgen.results.schema.matrix_plan import MatrixPlan
from loadgen.results.schema.run import RunSummary
from loadgen.results.summary import share_of, summarise
from tests import searches
from tests.samples import RUNS as RECORDED

SCHEMA = summary_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

HELD = Plan(
    name="kind",
    connections=10,
    sources=("127.0.0.2",),
    targets=(Target(Endpoint("127.0.0.1", 9000), sink=True),),
    strategy=Strategy.LATE_RANGE,
    ports=PortRange(40_000, 40_099),
    skipped_ports=(),
    capacity_per_pair=100,
    stages=(),
    hold_s=2.0,
    close=CloseMode.FIN,
    timeout_s=10.0,
    in_flight_max=256,
    interval_s=0.5,
    workers=1,
    sinks=1,
    prediction=Prediction("four-tuples", "four-tuples", 100, None, possible=True),
    expect=("outcomes.established == 10", "probes.nobody.failed == 0"),
)
CHURNING = replace(
    HELD,
    churn=Churn(duration_s=2.0, exchanges=1),
    ceiling=Ceiling(per_s=1.7, established=100, because="100 ports / 60 s", rest_s=60.0),
    prediction=Prediction("time-wait", "time-wait", 100, 0.5, possible=False),
)
ENDED = {"t_s": 3.0, "event": "ended", "text": "the run came to its end"}
PROBES = [
    {"t_s": 2.0, "event": "probe", "name": "one", "text": "", "result": {
        "established": 1, "failed": 1, "errors": {"bind": {"EADDRINUSE": 1}}, "source_ports": 1}},
    {"t_s": 2.0, "event": "probe", "name": "other", "text": "", "reason": "after 30 s 5 had been tried"},
]  # fmt: skip
PROOF = {"remedy": "do it: +90", "settings": {"close": "rst", "sinks": 2}, "quantity": "connections", "before": 10,
         "claimed": 100, "measured": 100, "ok": True, "limit": "none", "run": "proofs/1"}  # fmt: skip
#: One that came true, and one that could not run.
PROOFS = [
    {"t_s": 3.0, "event": "proof", "text": "", "proof": PROOF},
    {"t_s": 3.0, "event": "proof", "text": "", "proof": {
        **PROOF, "claimed": None, "measured": None, "ok": False, "limit": None, "reason": "no such sysctl"}},
]  # fmt: skip
KERNEL = {"now": {"sockstat.tcp_tw": 3}, "delta": {"TcpExt.TW": 3}, "states": {"time_wait": 3}, "states_age_s": 0.1}
SAMPLING = {"samples": 3, "listings": 1, "cpu_s": 0.01, "run_cpu_s": 0.5}


def line(t_s: float, phase: str, **changes: Any) -> dict[str, Any]:
    return {
        "t_s": t_s,
        "phase": phase,
        "started": 10,
        "established": 9,
        "failed": 1,
        "in_flight": 0,
        "not_started": 0,
        "open": 9,
        "lost": 1,
        "ramp_s": 0.4,
        "tenths_s": [0.1, 0.2, 0.3],
        "cost_us": [50.0] * 10,
        "errors": [["connect", "ECONNREFUSED", "refused", 1], ["recv", "EOF", "lost", 1]],
        "pairs": [[9, 1, 9]],
        "latency_ns": {row: {"100": 9} for row in ("lateness", "connect", "arrival")},
        "lag_ns": {},
        "sink": {"accepted": 9, "open": 9},
        "kernel": KERNEL,
        **changes,
    }


def series(opening: str = "ramp", **changes: Any) -> list[dict[str, Any]]:
    kernel = changes.pop("kernel", KERNEL) | {"sampling": SAMPLING}
    sink = {
        "accepted": 9,
        "open": 0,
        "failures": {"accept4 EMFILE": 3},
        "sources": [{"source": "127.0.0.2", "accepted": 9, "source_ports": 9}],
    }
    last = {"sink": sink, "kernel": kernel, **changes}
    return [
        line(0.5, opening, **changes),
        line(2.5, "hold" if opening == "ramp" else opening, **changes),
        line(3.0, "done", **last),
    ]


def folded(plan: Plan, lines: list[dict[str, Any]], *events: Mapping[str, Any], started: bool = True) -> dict[str, Any]:
    host = {"started_at": "2026-01-31T12:00:00+00:00"} if started else {}
    series = [files.convert(one, Line) for one in lines]
    happenings = [files.convert(event, Event) for event in events]
    summary = summarise(plan, files.convert(host, Host), series, happenings, run="20260131T120000Z-kind-1f3a")
    return files.plain(summary)  # type: ignore[no-any-return]  # a summary is an object


def undecided(plan: Plan, lines: list[dict[str, Any]], *events: Mapping[str, Any]) -> dict[str, Any]:
    """A summary whose evidence fits two limits and rules out a third."""
    summary = folded(plan, lines, *events)
    doubt = {
        "confidence": "open",
        "candidates": ["syn-loss", "backlog"],
        "decide_by": ["run `nstat -az TcpExtListenOverflows` on the target"],
        "refuted": [{"limit": "generator", "because": "the workers used 0.2 of a core"}],
        "findings": ["the 99th percentile of connect was 1.03 s"],
    }
    return summary | {"verdict": summary["verdict"] | {"limit": "syn-loss"} | doubt}


def exchanged(**more: Any) -> dict[str, Any]:
    latency = {row.name.lower(): {"100": 9} for row in Latency}
    return {"latency_ns": latency, "wrong": 0, **more}


UDP = exchanged(
    sink={"accepted": 9, "open": 0, "datagrams": {"received": 9, "answered": 8, "dropped": 1}}, asked=9, unanswered=1
)
ECHO = replace(HELD, traffic=Traffic("echo"))
LONG_CHURN = replace(CHURNING, churn=Churn(duration_s=20.0), ceiling=None)


def steadily(established: int = 9, failed: int = 1, **changes: Any) -> list[dict[str, Any]]:
    """Twenty seconds of churn, each like the other: the ports run out at once."""
    denied = {"first_denied_s": 0.5, "sustained_per_s": 9.0}
    return [
        line(float(n), "churn", established=n * established, failed=n * failed, **denied, **changes, errors=[
            ["connect", "EADDRNOTAVAIL", "no-free-four-tuple", n * failed], ["recv", "EOF", "lost", 1]])
        for n in range(1, 21)
    ]  # fmt: skip


BEATING = replace(ECHO, heartbeat=Heartbeat(every_s=1.0, share=1.0))
DENIED = [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 1]]
CLOSED_LOOP = {"sustained_per_s": 3.3, "first_denied_s": 0.7, "closed": 9}
RUNS: dict[str, dict[str, Any]] = {
    "hold": folded(HELD, series(), ENDED),
    "probes": folded(HELD, series(), *PROBES, ENDED),
    "two namespaces": folded(HELD, series(kernel={**KERNEL, "sink": KERNEL}), ENDED),
    "sinks without states": folded(HELD, series(kernel={"delta": {}, "sink": {"delta": {"TcpExt.TW": 1}}}), ENDED),
    "gateway": folded(HELD, series(kernel={**KERNEL, "sink": KERNEL, "gateway": KERNEL}), ENDED),
    "gateway without states": folded(HELD, series(kernel={"delta": {}, "gateway": {"delta": {"a": 1}}}), ENDED),
    "no kernel": folded(HELD, [line(1.0, "ramp", kernel={})], ENDED),
    "no sink": folded(HELD, [line(1.0, "ramp", sink=None)], ENDED),
    "no prediction": folded(replace(HELD, prediction=None), series(), ENDED),
    "traffic": folded(ECHO, series(**exchanged()), ENDED),
    "tls": folded(replace(ECHO, tls=Tls("", ("h2",), "", True, True)), series(**exchanged(resumed=3)), ENDED),
    "udp": folded(replace(ECHO, transport=Transport.UDP), series(**UDP), ENDED),
    "heartbeat": folded(BEATING, series(**exchanged(beating=9, beats=9)), ENDED),
    "churn without arithmetic": folded(replace(CHURNING, ceiling=None), series("churn"), ENDED),
    "churn": folded(CHURNING, series("churn", **CLOSED_LOOP), ENDED),
    "churn without a limit": folded(
        replace(CHURNING, ceiling=Ceiling(per_s=None, established=None, because="resets")), series("churn"), ENDED
    ),
    "interrupted": folded(HELD, series()[:1], {"t_s": 0.6, "event": "interrupted", "text": "interrupted"}),
    "killed in its first moment": folded(
        HELD, [line(0.0, "ramp", kernel={**KERNEL, "sampling": {"samples": 1, "listings": 0, "cpu_s": 0.0}})]
    ),
    "killed before the sinks had counted": folded(
        HELD, [line(1.0, "ramp", sink={"accepted": 1, "open": 1}, established=9)]
    ),
    "a worker killed": folded(
        HELD, series(established=12, not_attributed={"established": 3, "failed": 0}), ENDED
    ),
    "killed at once": folded(HELD, [], started=False),
    "wall": folded(replace(HELD, connections=150), series(started=150, established=100, failed=50, open=100,
        open_peak=100, pairs=[[100, 50, 100]], errors=[["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 50]]), ENDED),
    "ceiling": folded(CHURNING, [
        line(1.0, "churn", kernel={**KERNEL, "now": {"sockstat.tcp_tw": 100}}, errors=DENIED),
        *series("churn", errors=DENIED)[1:],
    ], ENDED),
    "steady": folded(LONG_CHURN, steadily(**exchanged()), ENDED),
    "not steady": folded(LONG_CHURN, steadily(established=0, failed=9), ENDED),
    "proofs": folded(HELD, series(), ENDED, *PROOFS),
    "an open verdict": undecided(HELD, series(user_cpu_s=0.25, overtaken=0), ENDED),
    "stalled": folded(HELD, series(), {"t_s": 1.0, "event": "worker-stalled", "text": "worker 0 stood still"}, ENDED),
    "paused": folded(HELD, series(), {"t_s": 1.0, "event": "paused", "text": "paused for an hour"}, ENDED),
}  # fmt: skip


def matrix_of(*runs: str, repeat: int = 1, **more: Any) -> dict[str, Any]:
    """A matrix with a cell for each of these kinds; "" is a cell that was skipped, "-" one that never began."""
    settings = [{"sources.strategy": f"s{index // 2}", "hold": f"{index % 2}s"} for index in range(len(runs))]
    said = {
        "scenario": "kinds",
        "started_at": "2026-01-31T12:00:00+00:00",
        "repeat": repeat,
        "cells": [{"settings": one} for one in settings],
        "expect": ["cells.0.outcomes.failed == 0"],
        **more,
    }
    skipped = [
        {"t_s": 1.0, "event": "cell-skipped", "cell": index, "round": 1, "text": "IPv6 is off"}
        for index, run in enumerate(runs)
        if not run
    ]
    kept = {
        (index, number): files.convert(RUNS[run], RunSummary)
        for index, run in enumerate(runs)
        for number in range(1, repeat + 1)
        if run not in ("", "-")
    }
    events = [files.convert(event, Event) for event in (*skipped, ENDED)]
    plan = files.convert(said, MatrixPlan)
    return files.plain(matrix.summarise(plan, events, kept, run="20260131T120000Z-kinds-1f3a"))  # type: ignore[no-any-return]


MATRICES = {
    "held": matrix_of("hold", "traffic", "hold", "no sink"),
    "churning": matrix_of("churn", "churn without a limit", "churn", "churn", repeat=2),
    "skipped": matrix_of("hold", "", "-"),
    "cut off": matrix_of("interrupted", "killed at once"),
    "repeated": matrix_of("hold", repeat=3, expect=[]),
}
#: A run of several agents, one for each kind above.
SHARES = [
    share_of(f"a{n}", f"agents/a{n}", files.convert(one, RunSummary), host="h", started_ms=1.5, error_ms=0.2)
    for n, one in enumerate(RUNS.values())
]
OF_AGENTS = RUNS["hold"] | {"agents": files.plain(SHARES), "sources": [RUNS["hold"]["sources"][0] | {"agent": "a0"}]}
_NOTHING = (FailedCondition(expression="latency_us.connect.p99 < 9", observed=None),)
_FAR = [replace_fields(each, for_ever=1.7) for each in searches.made(searches.plan(), 66.0)]
SEARCHES: dict[str, dict[str, Any]] = {
    name: files.plain(summary)
    for name, summary in {
        "found": searches.summary(_FAR, of=searches.plan(at_least=60.0)),
        "reuse": searches.reuse(),
        "below": searches.summary(searches.made(searches.plan(), 10.0), of=searches.plan(at_least=60.0)),
        "unknown": searches.summary(searches.numbered(*searches.unknown(50.0)), searches.INTERRUPTED),
        "not measured": searches.summary(searches.numbered(*searches.fails(50.0, failed=_NOTHING))),
    }.items()
}
ALL = {
    **RUNS,
    "agents": OF_AGENTS,
    **{f"matrix: {name}": one for name, one in MATRICES.items()},
    **{f"search: {name}": one for name, one in SEARCHES.items()},
}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_summary_fits(kind: str) -> None:
    assert list(VALIDATOR.iter_errors(ALL[kind])) == []


@pytest.mark.parametrize(
    "path", sorted(RECORDED.rglob("summary.json")), ids=lambda path: str(path.parent.relative_to(RECORDED))
)
def test_a_recorded_summary_fits(path: Path) -> None:
    assert list(VALIDATOR.iter_errors(json.loads(path.read_text()))) == []


def test_between_them_the_kinds_have_every_key_that_the_schema_knows() -> None:
    """So that no part of it is there unproved. Where a key may be null, both are."""
    seen: dict[str, set[bool]] = {}
    for summary in ALL.values():
        for path, value in keys_of(summary):
            seen.setdefault(path, set()).add(value is None)
    parts = [part for name in ("MatrixSummary", "FindSummary") for part in described(SCHEMA["$defs"][name], "")]
    for path, nullable in parts:
        assert path in seen, f"no summary here has {path}"
        if nullable:
            assert seen[path] == {True, False}, f"{path} is never null here, or always"


def keys_of(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key as the schema would name it: a list is its items, and a run of a matrix is a run."""
    if isinstance(node, list):
        for item in node:
            yield from keys_of(item, f"{path}[]")
    elif isinstance(node, dict):
        for key, value in node.items():
            place = "" if path == "cells[].runs[]" else path
            yield f"{place}.{key}", value
            yield from keys_of(value, "cells[].runs[]" if (place, key) == (".cells[]", "runs") else f"{place}.{key}")


def described(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, bool]]:
    """Every key with a name of its own that the schema has, and whether it may be null."""
    kinds = node.get("anyOf", [node])
    for kind in kinds:
        if "$ref" in kind:
            name = kind["$ref"].rpartition("/")[2]
            yield from described(SCHEMA["$defs"][name], "" if name == "RunSummary" else path)
        if isinstance(kind.get("items"), dict):
            yield from described(kind["items"], f"{path}[]")
        for key, inner in kind.get("properties", {}).items():
            yield f"{path}.{key}", {"type": "null"} in inner.get("anyOf", ())
            yield from described(inner, f"{path}.{key}")


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document whose keys are names and no data."""
    if isinstance(node, list):
        for item in node:
            yield from objects(item)
    elif isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key not in (
                "delta",
                "peak",
                "ramp_peak",
                "opening",
                "counts",
                "probes",
                "settings",
                "under",
                "set",
                "sysctls",
                "needs",
                "failures",
            ):
                yield from objects(value)


def refused(summary: Mapping[str, Any]) -> bool:
    return not VALIDATOR.is_valid(summary)


@pytest.mark.parametrize(
    "kind", ["hold", "udp", "two namespaces", "an open verdict", "matrix: churning", "search: found"]
)
def test_an_unknown_key_is_refused_wherever_it_stands(kind: str) -> None:
    count = sum(1 for _ in objects(ALL[kind]))
    assert count > 20
    for index in range(count):
        changed = copy.deepcopy(ALL[kind])
        list(objects(changed))[index]["unheard_of"] = 1
        assert refused(changed), f"in object {index}"


#: Keys that only some of the runs have.
SOMETIMES = {
    "opening",
    "ramp_s",
    "hold_s",
    "churn_s",
    "bind",
    "network",
    "exchange",
    "handshake",
    "user_cpu_s",
    "late",
    "overtaken",
    "rest_s",
    "confidence",
    "candidates",
    "decide_by",
    "refuted",
    "findings",
    "sent",
    "answered",
    "lost",
    "datagrams",
    "failures",
    "not_attributed",
    "sink",
    "remedies_detail",
}


#: Keys that only some of the trials have; a run always has some of the same name.
MAYBE_OF_A_TRIAL = SCHEMA["$defs"]["TrialResult"]["properties"].keys() - SCHEMA["$defs"]["TrialResult"]["required"]


@pytest.mark.parametrize("kind", ["hold", "churn", "matrix: skipped", "search: found"])
def test_a_missing_key_is_refused_wherever_it_stood(kind: str) -> None:
    tried = 0
    for index, one in enumerate(list(objects(ALL[kind]))):
        for key in one:
            if (
                key in SOMETIMES
                or (kind == "search: found" and key in MAYBE_OF_A_TRIAL)
                or one.keys() <= SCHEMA["$defs"]["CellFigures"]["properties"].keys()
            ):
                continue
            changed = copy.deepcopy(ALL[kind])
            del list(objects(changed))[index][key]
            assert refused(changed), f"{key} of object {index}"
            tried += 1
    assert tried > 60


@pytest.mark.parametrize(
    "change",
    [
        lambda summary: summary.update(schema="loadgen.summary/2"),
        lambda summary: summary.update(duration_s="3 s"),
        lambda summary: summary.update(complete="yes"),
        lambda summary: summary["outcomes"].update(failed=-1),
        lambda summary: summary["outcomes"].update(established=0.5),
        lambda summary: summary["verdict"].update(limit="gremlins"),
        lambda summary: summary["errors"][0].update(outcome="gremlins"),
        lambda summary: summary["kernel"]["delta"].update({"TcpExt.TW": "many"}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    changed = copy.deepcopy(RUNS["hold"])
    change(changed)
    assert refused(changed)


def test_every_part_says_what_it_is() -> None:
    """A key is described, or is of a type that is."""
    for name, definition in SCHEMA["$defs"].items():
        assert definition.get("description"), name
        for key, inner in definition.get("properties", {}).items():
            kinds = inner.get("anyOf", [inner])
            described_elsewhere = any("$ref" in kind for kind in kinds) or name == "CellFigure"
            assert inner.get("description") or described_elsewhere, f"{name}.{key}"


def test_the_documentation_names_every_key_of_a_run() -> None:
    text = (Path(__file__).parents[4] / "docs" / "run-directory.md").read_text()
    for key in set(SCHEMA["$defs"]["RunSummary"]["properties"]) - {
        "schema",
        "scenario",
        "run",
        "started_at",
        "duration_s",
    }:
        assert f"`{key}`" in text, key
