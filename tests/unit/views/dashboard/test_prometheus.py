"""What Prometheus is told: valid, bounded, never backwards, as documented, and enough for the example of Grafana."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from loadgen.model import Ceiling, Churn
from loadgen.results import histogram
from loadgen.results.schema.line import Line
from loadgen.views.dashboard.prometheus import BUCKETS_S, METRICS, OTHER, SOURCES_MAX, cumulated, exposition
from loadgen.views.dashboard.watched import Watched

from .samples import line, plan

DOCS = Path(__file__).parents[4] / "docs"
EVERYTHING: dict[str, Any] = {
    "errors": [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", 4]],
    "latency_ns": {
        kind: {"1780": 10, "3000": 1} for kind in ("lateness", "connect", "arrival", "handshake", "exchange")
    },
    "kernel": {
        "now": {"sockstat.tcp_tw": 5},
        "delta": {"TcpExt.TW": 40, "TcpExt.TWRecycled": 2, "TcpExt.TCPTimeWaitOverflow": 1},
        "sink": {"now": {"sockstat.tcp_tw": 6}, "delta": {"TcpExt.TW": 1}},
    },
}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def watched(*lines: Line, **changes: Any) -> Watched:
    found, same = Watched(), plan(**changes)
    for one in lines:
        found.update(same, one)
    return found


def scraped(of: Watched) -> Samples:
    """What a scrape reads: value by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition(of).decode())
        for sample in family.samples
    }


def exported() -> set[str]:
    """Every name of a sample that can be there, of a run that has everything."""
    full = watched(line(**EVERYTHING), churn=Churn(30.0, 64), ceiling=Ceiling(100.0, 3_100, "ports"))
    return {name for name, _ in scraped(full)}


def test_the_values_are_those_of_the_latest_line() -> None:
    found = scraped(watched(line(established=1), line(**EVERYTHING)))
    assert found[("loadgen_connections_established_total", ())] == 500
    assert found[("loadgen_connections_open", ())] == 500
    assert found[("loadgen_phase", (("phase", "ramp"),))] == 1
    assert found[("loadgen_phase", (("phase", "hold"),))] == 0
    labels = (("errno", "EADDRNOTAVAIL"), ("outcome", "no-free-four-tuple"), ("syscall", "connect"))
    assert found[("loadgen_errors_total", labels)] == 4
    assert found[("loadgen_time_wait_sockets", (("side", "sinks"),))] == 6
    assert found[("loadgen_source_open", (("source", "127.0.1.1"),))] == 500
    assert found[("loadgen_workers", (("state", "alive"),))] == 2
    assert found[("loadgen_latency_seconds_count", (("kind", "connect"),))] == 500 + 11
    assert found[("loadgen_event_loop_lag_seconds_count", ())] == 14


def test_each_agent_of_several_has_its_values() -> None:
    agents = [["a", "ramp", 5, 1, 4], ["b", "suspect", 9, 2, 9], ["c", "lost", 7, 0, 0]]
    found = scraped(watched(line(agents=agents)))
    assert [found[("loadgen_agent_up", (("agent", name),))] for name in "abc"] == [1, 0, 0]
    assert found[("loadgen_agent_open", (("agent", "b"),))] == 9
    assert found[("loadgen_agent_failed", (("agent", "b"),))] == 2
    assert ("loadgen_agent_up", (("agent", "a"),)) not in scraped(watched(line()))


def test_before_the_first_line_the_counters_are_there_at_nothing() -> None:
    found = scraped(Watched())
    assert found[("loadgen_connections_established_total", ())] == 0
    assert ("loadgen_connections_open", ()) not in found


def test_names_follow_the_rules_of_prometheus() -> None:
    """Their own prefix, base units, `_total` for counters and for nothing else."""
    for metric in METRICS:
        assert re.fullmatch(r"loadgen_[a-z]+(_[a-z]+)*", metric.name)
        assert not re.search(r"_(ms|us|ns|millis\w*|micros\w*)\b", metric.name)
        assert metric.help.endswith(".")
        assert (metric.type == "counter") == metric.name.endswith("_total")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_many_sources_are_some_and_the_others_together() -> None:
    pairs = [[number, 0, number] for number in range(100)]
    found = scraped(watched(line(pairs=pairs), sources=100))
    opened = {labels: value for (name, labels), value in found.items() if name == "loadgen_source_open"}
    assert len(opened) == SOURCES_MAX + 1
    assert sum(opened.values()) == sum(range(100))
    capacity = {labels: value for (name, labels), value in found.items() if name == "loadgen_source_capacity"}
    assert capacity[(("source", OTHER),)] == 80 * 1000


def test_sources_that_are_about_as_full_stay_the_same_ones() -> None:
    def named(shift: int) -> set[Any]:
        pairs = [[0, 0, 300 + (number * shift) % 7] for number in range(100)]
        return {labels for name, labels in scraped(watched(line(pairs=pairs), sources=100)) if "source_open" in name}

    assert named(1) == named(3) == named(5)


@given(st.dictionaries(st.integers(0, histogram.BUCKETS - 1).map(str), st.integers(1, 1000), max_size=30))
def test_a_histogram_is_cumulative_and_complete(counts: dict[str, int]) -> None:
    buckets, sum_s = cumulated(histogram.dense(counts))
    values = [value for _, value in buckets]
    assert values == sorted(values)
    assert values[-1] == sum(counts.values())
    assert [bound for bound, _ in buckets] == [*map(str, BUCKETS_S), "+Inf"]
    for bound, below in zip(BUCKETS_S, values, strict=False):
        assert below >= sum(count for bucket, count in counts.items() if histogram.high_ns(int(bucket)) <= bound * 1e9)
        assert below <= sum(count for bucket, count in counts.items() if histogram.low_ns(int(bucket)) <= bound * 1e9)
    assert sum_s == pytest.approx(
        sum(histogram.value_ns(int(bucket)) * count for bucket, count in counts.items()) / 1e9
    )


def test_nothing_goes_backwards_from_one_run_to_the_next() -> None:
    first = watched(line(**EVERYTHING))
    before = scraped(first)
    first.update(plan(), line(0.1, established=1, started=1, cpu_s=0.0, errors=[], latency_ns={}, lag_ns={}, kernel={}))
    after = scraped(first)
    growing = [key for key in before if re.search(r"_(total|bucket|count|sum)$", key[0])]
    assert growing
    assert all(after[key] >= before[key] for key in growing)


def test_labels_that_others_chose_stay_labels() -> None:
    hostile = 'a"} 1\nloadgen_connections_open 7 # '
    found = scraped(watched(line(), name=hostile))
    (labels,) = [dict(labels) for name, labels in found if name == "loadgen_run_info"]
    assert labels["scenario"] == hostile
    assert found[("loadgen_connections_open", ())] == 500


def test_the_documentation_has_every_metric() -> None:
    rows = re.findall(
        r"^\| `(loadgen_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", (DOCS / "dashboard.md").read_text(), re.M
    )
    written = {
        name: (kind, unit.strip(), re.findall(r"`(\w+)`", labels), text.strip())
        for name, kind, unit, labels, text in rows
    }
    meant = {one.name: (one.type, one.unit, list(one.labels), one.help.removesuffix(".")) for one in METRICS}
    assert written == meant


def test_the_dashboard_of_grafana_asks_for_what_there_is() -> None:
    board = json.loads((DOCS / "grafana" / "loadgen.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(targets) >= 8
    asked = {name for expression in targets for name in re.findall(r"loadgen_\w+", expression)}
    assert asked <= exported()
    for expression in targets:
        for name in re.findall(r"loadgen_\w+(?:_total|_bucket|_sum|_count)\b", expression):
            assert re.search(rf"(rate|increase)\({name}", expression), f"{name} is a counter: {expression}"
