"""What is true of every report, whatever the run: golden facts, not golden bytes."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from loadgen import format as fmt
from loadgen.compare import load
from loadgen.errors import LoadgenError
from loadgen.model import Plan
from loadgen.results import histogram, run_directory
from loadgen.results.schema import files
from loadgen.results.schema.event import Event
from loadgen.results.schema.host import Host
from loadgen.results.schema.line import Line
from loadgen.results.schema.run import RunSummary
from loadgen.views import summary_rows
from loadgen.views.charts import columns, heat
from loadgen.views.charts import kernel as kernel_charts
from loadgen.views.charts import latency as latency_charts
from loadgen.views.charts import run as charts
from loadgen.views.ci import junit, markdown
from loadgen.views.html import compare as compare_html
from loadgen.views.html import run as html
from loadgen.views.text import compare as compare_text
from loadgen.views.text import run as text
from tests import samples

Run = dict[str, Any]
ATTACK = "</script><img src=x onerror=alert(1)><!--\u2028\u202e\x1b[2J'\"&"


def recorded_run(
    *,
    connections: int = 100_000,
    sources: int = 5,
    targets: int = 1,
    ramp_s: float = 5.0,
    hold_s: float = 30.0,
    interval_s: float = 0.5,
    failing: bool = False,
) -> Run:
    """The arguments of html.render() for a run as one that happened: same shapes, made-up numbers."""
    random = np.random.default_rng(7)
    failed_all = round(connections * 0.035) if failing else 0
    established_all = connections - failed_all
    addresses = [f"198.18.{n // 250}.{n % 250 + 1}" for n in range(sources)]
    ports, capacity = [9000 + n for n in range(targets)], 28_232
    pairs = [(address, f"198.19.0.1:{port}") for port in ports for address in addresses]
    drain_s = 1.4
    end_s = ramp_s + hold_s + drain_s
    times = sorted({*np.arange(interval_s, end_s, interval_s).round(3).tolist(), ramp_s, ramp_s + hold_s, end_s})
    series, done_before, latency_sum = [], 0, np.zeros((3, histogram.BUCKETS), dtype=np.int64)
    for t in times:
        share = min(t / ramp_s, 1.0) ** 1.02
        established, failed = round(established_all * share), round(failed_all * max(share - 0.7, 0) / 0.3)
        opened = established if t <= ramp_s + hold_s else round(established * max(0, (end_s - t) / drain_s))
        fresh = max(established - done_before, 0)
        done_before = established
        lateness = random.gamma(2.0, 22_000, fresh)
        connect = random.lognormal(math.log(95_000 * (1 + 2 * share**6)), 0.45, fresh)
        late = random.random(fresh) < 0.002
        connect[late] *= 30
        latency = {}
        for row, values in enumerate((lateness, connect, lateness + connect)):
            counts = np.zeros(histogram.BUCKETS, dtype=np.int64)
            histogram.add(counts, values.astype(np.int64))
            latency_sum[row] += counts
            latency[latency_charts.LATENCIES[row]] = histogram.sparse(counts)
        series.append(
            {
                "t_s": t,
                "phase": "ramp" if t <= ramp_s else "hold" if t <= ramp_s + hold_s else "drain",
                "scheduled": connections,
                "started": established + failed,
                "not_started": 0,
                "established": established,
                "failed": failed,
                "in_flight": 0,
                "open": opened,
                "lost": 0,
                "errors": [
                    ["connect", "EADDRNOTAVAIL", "no-free-four-tuple", failed * 9 // 10],
                    ["connect", "ETIMEDOUT", "timeout", failed - failed * 9 // 10],
                ]
                if failed
                else [],
                "pairs": [[count // len(pairs) for count in (established, failed, opened)]] * len(pairs),
                "latency_ns": latency,
                "lag_ns": {"1780": 3},
                "cost_us": [41.5 + n / 4 for n in range(min(int(t / ramp_s * 10), 10))],
                "worker_cpu_s": [round(t * (0.2 + n / 50), 3) for n in range(6)],
                "workers": {"alive": 6, "stalled": 0},
                "sink": {"accepted": established, "open": opened},
                "kernel": {
                    "now": {"sockstat.tcp_inuse": opened * 2, "sockstat.tcp_tw": 0},
                    "delta": {"Tcp.RetransSegs": failed // 9, "TcpExt.ListenOverflows": 0},
                },
            }
        )

    def micro(counts: Any) -> dict[str, float]:
        quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        found = {name: round(histogram.quantile_ns(counts, q) / 1e3, 3) for name, q in quantiles.items()}
        return {**found, "max": round(histogram.max_ns(counts) / 1e3, 3), "count": int(counts.sum())}

    rows = [
        {
            "source": address,
            "target": target,
            "capacity": capacity,
            "peak_open": min(round(established_all / len(pairs) * (1 + 0.01 * math.sin(n))), capacity),
            "established": established_all // len(pairs),
            "failed": failed_all // len(pairs),
        }
        for n, (address, target) in enumerate(pairs)
    ]
    summary = {
        "schema": "loadgen.summary/1",
        "scenario": "hold-100k",
        "run": "20260314T101500Z-hold-100k-3f9a",
        "started_at": "2026-03-14T10:15:00Z",
        "duration_s": end_s,
        "complete": not failing,
        "incomplete_because": "worker 3 (pid 4711) was killed by SIGKILL at 4.2 s" if failing else None,
        "arrivals": {"scheduled": connections, "started": connections, "not_started": 0},
        "outcomes": {"established": established_all, "failed": failed_all, "in_flight": 0},
        "errors": [
            {
                "syscall": "connect",
                "errno": "EADDRNOTAVAIL",
                "outcome": "no-free-four-tuple",
                "count": failed_all * 9 // 10,
            },
            {
                "syscall": "connect",
                "errno": "ETIMEDOUT",
                "outcome": "timeout",
                "count": failed_all - failed_all * 9 // 10,
            },
        ]
        if failing
        else [],
        "open": {"peak": established_all, "end_of_hold": established_all, "lost": 12 if failing else 0},
        "rate_per_s": {"established_mean": established_all / ramp_s, "established_peak": 21_460.0},
        "tenths_s": [round(ramp_s / 10 * (1 + 0.02 * n), 3) for n in range(10)],
        "phases": {"ramp_s": ramp_s, "hold_s": hold_s, "drain_s": drain_s},
        "latency_us": {kind: micro(latency_sum[row]) for row, kind in enumerate(latency_charts.LATENCIES[:3])},
        "sources": rows,
        "sink": {
            "accepted": established_all,
            "open_peak": established_all,
            "agrees": True,
            "text": "Every connection that was counted as established was accepted, from the same address.",
            "sources": [
                {"source": row["source"], "accepted": row["established"], "four_tuples": row["established"]}
                for row in rows[:sources]
            ],
        },
        "kernel": {
            "delta": {
                "Tcp.ActiveOpens": connections,
                "Tcp.PassiveOpens": established_all,
                "Tcp.AttemptFails": 0,
                "Tcp.RetransSegs": 41,
                "TcpExt.TWRecycled": 0,
                "TcpExt.ListenOverflows": 0,
                "TcpExt.ListenDrops": 0,
                "TcpExt.TCPTimeouts": 39,
            },
            "peak": {"sockstat.tcp_inuse": established_all * 2, "sockstat.tcp_tw": 0},
            "states": {"t_s": 4.75, "counts": {"established": established_all * 2, "fin_wait2": 3, "listen": 6}},
        },
        "verdict": {
            "limit": "four-tuples" if failing else "none",
            "text": "Four-tuples ran out: 96,500 of 100,000 connections were established, then connect() "
            "found no free source port from 5 addresses to 198.19.0.1:9000."
            if failing
            else "No limit was reached: all 100,000 connections were established and held for 30 s.",
            "predicted": 100_000,
            "observed": established_all,
            "evidence": ["connect EADDRNOTAVAIL 3,500 times", "TcpExt.ListenOverflows +512"] if failing else [],
            "remedies": [
                "Add one source address: each brings 28,232 four-tuples toward each target.",
                "Widen the range: sysctl -w net.ipv4.ip_local_port_range='1024 65535' gives 64,512 ports.",
            ]
            if failing
            else [],
        },
        "expect": [
            {"expression": "established == 100000", "passed": not failing, "observed": established_all},
            {"expression": "connect.p99 < 5ms", "passed": True, "observed": "412 µs"},
        ],
        "generator": {
            "trustworthy": not failing,
            "reasons": ["the event loop of worker 2 stood still for 812 ms", "lateness p99 is above 50 ms"]
            if failing
            else [],
            "lag_ms_p99": 1.312,
            "workers": 6,
            "cpu_s": 8.91,
        },
    }
    plan = {
        "name": "hold-100k",
        "connections": connections,
        "sources": addresses,
        "targets": [{"endpoint": {"address": "198.19.0.1", "port": port}, "sink": True} for port in ports],
        "strategy": "late-range",
        "ports": {"low": 32768, "high": 60999},
        "skipped_ports": [],
        "capacity_per_pair": capacity,
        "close": "rst",
        "timeout_s": 5.0,
        "workers": 6,
        "sinks": 2,
        "headroom": [
            {"resource": "four-tuples", "needed": connections, "available": capacity * sources, "note": ""},
            {
                "resource": "descriptors per worker",
                "needed": 16_700,
                "available": 20_000,
                "note": "hard limit of RLIMIT_NOFILE, which this user cannot raise",
            },
            {
                "resource": "socket memory, bytes",
                "needed": 512_000_000,
                "available": 3_100_000_000,
                "note": "",
            },
        ],
        "notes": ["Ports 32768-60999 are shared with every other program on the host; none listens in them now."],
    }
    host = {
        "kernel": "6.18.5",
        "machine": "x86_64",
        "python": "3.12.3",
        "loadgen": "0.1.0",
        "cpus": 2,
        "memory_bytes": 25_769_803_776,
        "limits": {"nofile_soft": 20_000, "nofile_hard": 20_000},
        "sysctls": {
            "net.ipv4.ip_local_port_range": "32768 60999",
            "net.ipv4.tcp_tw_reuse": 2,
            "net.ipv4.tcp_fin_timeout": 60,
            "net.core.somaxconn": 4096,
            "net.ipv4.tcp_max_syn_backlog": 4096,
        },
        "libraries": {"numpy": "2.4.6", "uvloop": "0.23.0"},
    }
    events: list[dict[str, Any]] = [
        {"t_s": 0.0, "event": "started", "text": "6 workers and 2 sinks are ready"},
        {"t_s": ramp_s, "event": "phase", "text": "ramp is over, hold begins"},
    ]
    if failing:
        events.insert(1, {"t_s": 4.2, "event": "worker-lost", "text": "worker 3 (pid 4711) was killed by SIGKILL"})
    scenario = f"""\
name: hold-100k
lab:
  topology: veth
sources:
  addresses: 198.18.0.1-198.18.0.{sources}
  strategy: late-range
targets:
  - address: 198.19.0.1:9000
    sink: true
connections: {connections}
arrival:
  rate: {connections / ramp_s:.0f}/s
hold: {hold_s:.0f}s
close: rst
expect:
  - established == {connections}
  - connect.p99 < 5ms
"""
    return {
        "summary": summary,
        "series": series,
        "events": events,
        "plan": plan,
        "host": host,
        "scenario_text": scenario,
    }


BECAUSE = "100 ports / 1 s: tcp_tw_reuse=1 after 1,000 ms"


def churned_run(*, loop: str = "closed", bounded: bool = True, sides: int = 2, exchange: bool = True) -> Run:
    """As `recorded_run`, of 30 s of opening and closing all the time: 100 at once, then 100 per second."""
    duration_s, ports, at_a_time = 30.0, 100, 16
    random = np.random.default_rng(11)
    series: list[dict[str, Any]] = []
    for tick in range(1, 64):
        t = tick / 2
        churning = t <= duration_s
        established = ports + round(ports * min(max(t - 1, 0), duration_s - 1) + 7 * math.sin(tick) * (t < duration_s))
        counts = np.zeros(histogram.BUCKETS, dtype=np.int64)
        if churning:
            histogram.add(counts, random.lognormal(math.log(95_000), 0.45, 50).astype(np.int64))
        opened, latency = at_a_time if churning else 0, histogram.sparse(counts)
        failed = round(max(t - 1, 0) * 40) if churning else 1_160
        line: dict[str, Any] = {
            "t_s": t,
            "phase": "churn" if churning else "drain",
            "scheduled": established + failed,
            "started": established + failed,
            "not_started": 0,
            "established": established,
            "closed": established - opened,
            "failed": failed,
            "in_flight": 2 if churning else 0,
            "open": opened,
            "lost": 0,
            "errors": [["connect", "EADDRNOTAVAIL", "no-free-four-tuple", failed]] if failed else [],
            "latency_ns": {
                "lateness": latency if loop == "open" else {},
                "connect": latency,
                "arrival": latency,
                "exchange": latency if exchange else {},
            },
            "lag_ns": {"1780": 3},
            "workers": {"alive": 1, "stalled": 0, "cpu_s": t / 4},
            "sink": {"accepted": established, "open": opened},
            "kernel": {
                "now": {"sockstat.tcp_inuse": opened, "sockstat.tcp_tw": min(established, ports)},
                "delta": {"TcpExt.TW": established - opened, "TcpExt.TWRecycled": max(established - ports, 0)},
            },
        }
        if sides == 2:
            sink = {
                "now": {"sockstat.tcp_inuse": opened, "sockstat.tcp_tw": tick % 7},
                "delta": {"TcpExt.TW": tick // 7},
            }
            line["kernel"]["sink"] = sink
        series.append(line)
    quantiles = {"p50": 95.0, "p90": 160.0, "p99": 260.0, "p999": 410.0, "max": 512.0, "count": 3_000}
    run = recorded_run(connections=1_000, ramp_s=1, hold_s=1)
    closed = loop == "closed"
    per_s, most = (100.0, 3_100) if bounded else (None, None if closed else 5_000)
    ceiling = {"per_s": per_s, "established": most, "because": BECAUSE if bounded else "a reset leaves no TIME-WAIT"}
    kernel: dict[str, Any] = {
        "delta": {"TcpExt.TW": 3_000, "TcpExt.TWRecycled": 2_900},
        "peak": {"sockstat.tcp_inuse": 16, "sockstat.tcp_tw": 100},
    }
    if sides == 2:
        kernel["sink"] = {"delta": {"TcpExt.TW": 9}, "peak": {"sockstat.tcp_inuse": 16, "sockstat.tcp_tw": 6}}
    run["summary"] |= {
        "scenario": "churn-wall",
        "run": "20260314T101500Z-churn-wall-3f9a",
        "duration_s": 31.5,
        "arrivals": {"scheduled": 4_160 if closed else 5_000, "started": 4_160, "not_started": 0 if closed else 840},
        "outcomes": {"established": 3_000, "failed": 1_160, "in_flight": 0},
        "errors": [
            {"syscall": "connect", "errno": "EADDRNOTAVAIL", "outcome": "no-free-four-tuple", "count": 1_160},
        ],
        "open": {"peak": at_a_time, "end_of_hold": 0, "lost": 0},
        "rate_per_s": {"established_mean": 100.0, "established_peak": 200.0},
        "phases": {"churn_s": 30.01, "drain_s": 1.5},
        "latency_us": {
            "lateness": {**quantiles, "count": 0 if closed else 3_000},
            "connect": quantiles,
            "arrival": quantiles,
            **({"exchange": quantiles} if exchange else {}),
        },
        "kernel": kernel,
        "verdict": {"text": "Churn met TIME-WAIT: 99.8 connections per second could go on, 100 were predicted."},
        "churn": {
            "loop": loop,
            "duration_s": duration_s,
            "lasted_s": 30.01,
            "concurrency": at_a_time,
            "exchanges": 1 if exchange else 0,
            "closed": 2_984,
            "mean_per_s": 100.0,
            "sustained_per_s": 99.8,
            "first_denied_s": 0.012,
            "ceiling": ceiling,
            "as_predicted": True,
            "recycled": 2_900,
            "time_waits": 3_000,
            "overflows": 0,
            "time_wait_peak": 100,
        },
    }
    run["plan"] |= {
        "name": "churn-wall",
        "connections": at_a_time,
        "churn": {"duration_s": duration_s, "exchanges": 1, "arrivals": None if closed else 5_000},
        "ceiling": ceiling,
    }
    return {**run, "series": series, "events": []}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, the text in them, its inline blocks."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"style": [], "script": [], "data": []}
        self.words: list[str] = []
        self._inside: str | None = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("style", "script"):
            self._inside = "data" if attributes.get("type") == "application/json" else tag
            self.blocks[self._inside].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside][-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join(" ".join(self.words).split())

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        metas = [a for tag, a in self.elements if tag == "meta" and a.get("http-equiv")]
        return metas[0]["content"] or ""


@pytest.fixture(scope="module")
def run() -> Run:
    return recorded_run()


@pytest.fixture(scope="module")
def failing_run() -> Run:
    return recorded_run(failing=True)


def attacked(value: Any) -> Any:
    """The same JSON with the attack in every string and in every name of a key that is free to choose."""
    if isinstance(value, str):
        return value + ATTACK
    if isinstance(value, list):
        return [attacked(item) for item in value]
    if isinstance(value, dict):
        return {key: attacked(item) for key, item in value.items()}
    return value


# --- the page -----------------------------------------------------------------------------------------


def test_a_page_says_the_verdict_and_the_key_figures(run: Run) -> None:
    page = Page(html.render(**run))
    assert run["summary"]["verdict"]["text"] in page.text
    for fact in (
        "complete",
        "no limit reached",
        "2 of 2 expectations met",
        "100,000",
        "20,000/s",
        "198.18.0.1",
    ):
        assert fact in page.text
    assert "INCOMPLETE" not in page.text
    assert "not trustworthy" not in page.text


def test_a_run_that_went_wrong_says_so_at_the_top(failing_run: Run) -> None:
    page = Page(html.render(**failing_run))
    for fact in (
        "INCOMPLETE",
        "worker 3 (pid 4711) was killed by SIGKILL",
        "limit: four-tuples",
        "generator not trustworthy",
        "the event loop of worker 2 stood still for 812 ms",
        "Add one source address",
        "1 of 2 expectations failed",
    ):
        assert fact in page.text
        assert page.text.index(fact) < page.text.index("The run over time")
    assert "connect EADDRNOTAVAIL" in page.text
    assert "no-free-four-tuple" in page.text


def test_hostile_strings_stay_text(failing_run: Run) -> None:
    """Every string of every input is an attack; the page has the same elements as without."""
    hostile = attacked(failing_run)
    hostile["host"]["sysctls"] = {ATTACK: ATTACK}
    hostile["summary"]["kernel"]["delta"] = {ATTACK: 1}
    source = html.render(**hostile)
    page = Page(source)
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len(page.blocks["script"]) == 3
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "<img src=x onerror=alert(1)>" in page.text, "it is there to be read"
    assert not set("\u2028\u202e\x1b") & set(source), "and cannot hide or reorder anything"
    drawn = json.loads(page.blocks["data"][0])
    assert any("<img" in s["label"] for chart in drawn["charts"] for s in chart.get("series", ()))
    assert any("<img" in name for chart in drawn["charts"] for name in chart.get("rows", ()))
    assert "<" not in page.blocks["data"][0]


def test_the_policy_allows_the_inline_blocks_and_nothing_else(run: Run) -> None:
    page = Page(html.render(**run))

    def source(block: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"

    rules = {rule.split()[0]: rule.split()[1:] for rule in page.policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    assert rules["style-src"] == [source(block) for block in page.blocks["style"]]
    assert rules["script-src"] == [source(block) for block in page.blocks["script"]]
    assert "unsafe" not in page.policy
    assert not [tag for tag, attributes in page.elements if "style" in attributes], "style= would be blocked"


def test_nothing_is_loaded_from_anywhere(run: Run) -> None:
    page = Page(html.render(**run))
    loading = [a[name] or "" for _, a in page.elements for name in ("src", "href", "srcset", "data") if name in a]
    assert all(address.startswith(("#", "data:")) for address in loading)
    assert not re.search(r"url\(|@import", "".join(page.blocks["style"]))
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|import\(", "".join(page.blocks["script"]))


def test_the_licence_of_the_chart_library_is_in_the_page(run: Run) -> None:
    assert "Leon Sorokin" in html.render(**run)
    assert "Permission is hereby granted" in html.render(**run)


def test_ten_minutes_from_a_hundred_sources_stay_under_500_kb() -> None:
    """Each of three targets from each source, with every chart there can be in an ordinary run."""
    long = recorded_run(sources=100, targets=3, ramp_s=300, hold_s=298.6, failing=True)
    source = html.render(**long)
    assert len(long["series"]) >= 1200
    assert len(source.encode()) < 500_000
    drawn = {chart["id"]: chart for chart in json.loads(Page(source).blocks["data"][0])["charts"]}
    assert {"occupancy", "latency-map-connect", "cost", "kernel-counters", "lag", "worker-cpu"} <= set(drawn)
    assert max(len(chart["x"]) for chart in drawn.values()) <= columns.POINTS_MAX
    for chart in drawn.values():
        if "heat" in chart:
            assert len(chart["x"]) - 1 <= heat.COLUMNS_MAX
            assert len(chart["cells"]) <= 100
            assert {len(row) for row in chart["cells"]} == {len(chart["x"]) - 1}


def test_of_a_hundred_sources_fifty_are_rows_and_the_rest_is_one() -> None:
    page = Page(html.render(**recorded_run(sources=120, ramp_s=2, hold_s=2)))
    assert "The 70 pairs past the first 50 are one row" in page.text
    assert "70 more pairs" in page.text


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"scenario": "x", "complete": True},
        {"verdict": None, "errors": None, "sources": [None, 3, {}], "latency_us": {"connect": {}}},
        {"tenths_s": [0, None, 1.0], "outcomes": {"established": 10, "failed": "many"}},
        {"open": {"peak": math.nan}, "kernel": {"delta": {"a": None}, "peak": {"b": math.inf}}},
    ],
)
def test_a_page_and_a_text_come_out_of_whatever_is_there(summary: dict[str, Any]) -> None:
    page = Page(html.render(summary, [], [], {}, {}, ""))
    assert page.text.count("loadgen") >= 1
    assert text.summary_lines(summary)
    assert ("INCOMPLETE" in page.text) is not summary.get("complete", False)


def test_a_damaged_series_is_drawn_as_far_as_it_goes() -> None:
    series: list[dict[str, Any]] = [
        {},
        {"t_s": 1.0, "phase": "ramp", "established": 5, "open": 5, "errors": [["connect"], 3, None]},
        {"t_s": 0.5, "established": 4},
        {"t_s": 2.0, "established": None, "sink": None, "latency_ns": {"connect": {"x": 1}, "arrival": 7}},
        {"t_s": 3.0, "established": 9, "open": math.nan, "latency_ns": {"connect": {"1780": 2}}},
    ]
    page = Page(html.render({}, series, [{"event": "odd"}], {}, {}, ""))
    drawn = {chart["id"]: chart for chart in json.loads(page.blocks["data"][0])["charts"]}
    assert drawn["connections"]["x"] == [1, 2, 3]
    assert drawn["connections"]["y"] == [[5, None, 9], [5, None, None]]
    assert drawn["latency-connect"]["y"][0] == [1000]


def test_tables_and_charts_have_names(failing_run: Run) -> None:
    page = Page(html.render(**failing_run))
    heads = [attributes for tag, attributes in page.elements if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row") for attributes in heads)
    plots = [attributes for _, attributes in page.elements if "plot" in (attributes.get("class") or "").split()]
    drawn = json.loads(page.blocks["data"][0])["charts"]
    assert {f"chart-{chart['id']}" for chart in drawn} == {attributes["id"] for attributes in plots}
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in plots)
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))


def test_the_vendored_library_is_what_its_checksums_say() -> None:
    folder = Path(html.__file__).parent / "vendor" / "uplot"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 3
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


# --- columns ------------------------------------------------------------------------------------------

values = st.floats(-1e12, 1e12) | st.just(math.nan)


@given(st.lists(st.tuples(values, values), max_size=400), st.integers(6, 120))
def test_thinning_keeps_extremes_order_and_a_bound(rows: list[tuple[float, float]], limit: int) -> None:
    found = list(np.array(rows, dtype=np.float64).reshape(-1, 2).T)
    keep = columns.thin(found, limit)
    assert len(keep) <= limit
    assert np.all(np.diff(keep) > 0)
    if rows:
        assert keep[0] == 0
        assert keep[-1] == len(rows) - 1
    for column in found:
        if not np.isnan(column).all():
            assert np.nanmin(column[keep]) == np.nanmin(column)
            assert np.nanmax(column[keep]) == np.nanmax(column)


def test_thinning_keeps_a_single_spike_of_each_stretch() -> None:
    flat = np.zeros(10_000)
    flat[777::1000] = 5.0
    assert np.count_nonzero(flat[columns.thin([flat])]) == 10


def test_thinning_needs_room_for_one_bucket() -> None:
    with pytest.raises(ValueError, match="extremes of 3 columns"):
        columns.thin([np.zeros(100)] * 3, 7)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.integers(0, 10_000)), min_size=1, max_size=60))
def test_rates_lose_no_connection(steps: list[tuple[float, int]]) -> None:
    """Rate times time, summed, is the final count, however uneven the lines are."""
    t_s = np.cumsum([step for step, _ in steps])
    counts = np.cumsum([float(grown) for _, grown in steps])
    ends_s, rates = columns.rates(t_s, counts)
    assert ends_s[-1] == t_s[-1]
    assert np.sum(rates * np.diff(np.concatenate(([0.0], ends_s)))) == pytest.approx(counts[-1], abs=1e-6)


def test_a_line_at_a_change_of_phase_makes_no_false_peak() -> None:
    ends_s, rates = columns.rates(np.array([0.5, 1.0, 1.003, 1.5]), np.array([50.0, 100.0, 150.0, 200.0]))
    assert ends_s.tolist() == [0.5, 1.0, 1.5]
    assert rates.tolist() == [100, 100, 200]


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("us", "said"),
    [(0, "0 µs"), (0.62, "0.62 µs"), (812, "812 µs"), (999.6, "1.00 ms"), (12_340, "12.3 ms"),
     (999_600, "1.00 s"), (3_004_000, "3.00 s"), (None, fmt.MISSING),
     (math.nan, fmt.MISSING), (True, fmt.MISSING)],
)  # fmt: skip
def test_latencies_have_three_digits_and_a_sane_unit(us: object, said: str) -> None:
    assert fmt.latency(us) == said


@pytest.mark.parametrize(
    ("s", "said"),
    [(0.82, "0.82 s"), (30, "30.0 s"), (725, "12 min 05 s"), (7260, "2 h 01 min"), (None, fmt.MISSING)],
)
def test_stretches_of_a_run_read_like_a_clock(s: object, said: str) -> None:
    assert fmt.seconds(s) == said


def test_almost_everything_never_reads_as_everything() -> None:
    assert fmt.percent(99_999 / 100_000) == "> 99.9 %"
    assert fmt.percent(1) == "100 %"
    assert fmt.percent(1e-6) == "< 0.1 %"
    assert fmt.percent(0) == "0 %"


@given(st.text())
def test_visible_text_is_one_that_can_be_written_and_read(hostile: str) -> None:
    shown = fmt.visible(hostile)
    shown.encode()
    assert all(character.isprintable() or character in "\n\t" or character.isspace() for character in shown)


# --- the terminal -------------------------------------------------------------------------------------


def printed(summary: dict[str, Any], **options: Any) -> str:
    stream = io.StringIO()
    text.render(summary, Console(file=stream, width=80, **options), report="results/a-run/report.html")
    return stream.getvalue()


@pytest.mark.parametrize("failing", [False, True])
def test_the_summary_fits_a_terminal_and_begins_with_the_verdict(failing: bool) -> None:
    summary = recorded_run(failing=failing, hold_s=5)["summary"]
    lines = printed(summary).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    assert " ".join(" ".join(lines).split()).startswith(summary["verdict"]["text"])
    whole = "\n".join(lines)
    assert "results/a-run/report.html" in whole
    assert ("INCOMPLETE" in whole) is failing
    assert ("NOT TRUSTWORTHY" in whole) is failing
    assert ("connect EADDRNOTAVAIL" in whole) is failing
    assert "both sides agree" in whole


def test_colour_is_only_an_addition(failing_run: Run) -> None:
    summary = failing_run["summary"]
    coloured = printed(summary, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(summary)
    assert "\x1b[3" not in printed(summary, force_terminal=True, no_color=True)


def test_a_hostile_name_cannot_drive_the_terminal(failing_run: Run) -> None:
    said = printed(attacked(failing_run["summary"]))
    assert "\x1b" not in said
    assert "[2J" in said
    assert "\u202e" not in said


def test_the_summary_survives_a_terminal_without_unicode(run: Run) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text.render({**run["summary"], "verdict": {"text": "Grüße: 100 µs"}}, Console(file=stream, width=80))
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert b"Gr\\xfc\\xdfe" in stream.buffer.getvalue()


def test_the_evidence_is_on_the_page_and_on_the_terminal(failing_run: Run) -> None:
    """The terminal has the counts of errors a few lines above, so they are not said twice."""
    lines = "\n".join(text.summary_lines(failing_run["summary"]))
    assert "evidence     TcpExt.ListenOverflows +512" in lines
    assert "remedies     1. Add one source address" in lines
    page = Page(html.render(**failing_run))
    for fact in failing_run["summary"]["verdict"]["evidence"]:
        assert fact in page.text


def test_probes_are_told_in_both_reports() -> None:
    summary = {
        "probes": {
            "others": {"established": 0, "failed": 20, "errors": {"connect": {"EADDRNOTAVAIL": 20}}},
            "<b>": {"reason": "uid 65534 is not mapped here"},
        }
    }
    page = html.render(summary, [], [], {}, {}, "")
    lines = "\n".join(text.summary_lines(summary))
    for said in ("0 succeeded; connect EADDRNOTAVAIL 20", "could not run: uid 65534 is not mapped here"):
        assert said in page
        assert said in lines
    assert "<b>" not in page.partition('id="probes"')[2].partition("</section>")[0]


# --- churn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("missed", "tone"), [(0, ""), (3, "bad")])
def test_a_heartbeat_is_told_in_both_reports(run: Run, missed: int, tone: str) -> None:
    beat = {"connections": 10_000, "sent": 600_000, "answered": 599_997, "missed": missed, "wrong": 0}
    summary = {**run["summary"], "heartbeat": beat}
    said = f"600,000 sent by 10,000 connections, 599,997 answered, {missed} missed, 0 wrong"
    lines = [line for line in text._lines(summary, None, 120) if line[1].startswith("heartbeat")]
    assert lines == [(tone, f"{'heartbeat':13}{said}")]
    page = html.render(**{**run, "summary": summary})
    assert "Heartbeats" in page
    assert f"answered of 600,000; {missed} missed, 0 wrong" in page
    assert "Heartbeats" not in html.render(**run)


@pytest.mark.parametrize(
    ("found", "said", "tone"),
    [
        ({"protocol": "echo", "replies": 7, "wrong": 0}, "echo; 7 right replies, 0 wrong", ""),
        ({"protocol": "tcp", "tls": True, "handshakes": 9, "resumed": 8}, "TLS: 9 handshakes, 8 of them resumed", ""),
        (
            {"protocol": "http", "tls": True, "handshakes": 9, "resumed": 0, "replies": 5, "wrong": 4},
            "http over TLS: 9 handshakes, 0 of them resumed; 5 right replies, 4 wrong",
            "bad",
        ),
        ({"protocol": "echo", "transport": "udp", "replies": 1, "wrong": 0}, "echo over UDP; 1 right replies", ""),
    ],
)
def test_what_connections_carried_is_told_in_both_reports(run: Run, found: Run, said: str, tone: str) -> None:
    summary = {**run["summary"], "traffic": found}
    ((style, line),) = [line for line in text._lines(summary, None, 120) if line[1].startswith("traffic")]
    assert style == tone
    assert said in line
    assert said in html.render(**{**run, "summary": summary})


def steps(*figures: tuple[float, int, int, int], phase: str = "churn", **more: Any) -> list[dict[str, Any]]:
    """Lines of a series from (t_s, established, closed, failed)."""
    return [
        {"t_s": t, "phase": phase, "established": opened, "closed": closed, "failed": failed, **more}
        for t, opened, closed, failed in figures
    ]


def test_churn_draws_what_was_opened_closed_and_failed_under_the_ceiling() -> None:
    series = steps((1.0, 200, 190, 0), (2.0, 300, 290, 40), (3.0, 400, 395, 80))
    chart = charts.pace(series, 100.0)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["established", "closed", "failed", "predicted ceiling"]
    assert chart["y"] == [[200, 200, 100, 100], [190, 190, 100, 105], [0, 0, 40, 40], [100, 100, 100, 100]]
    assert chart["series"][-1]["dash"]
    assert "Predicted ceiling: 100/s." in chart["label"]


def test_without_a_limit_there_is_no_line_of_a_ceiling() -> None:
    chart = charts.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 40)), None)
    assert chart is not None
    assert len(chart["y"]) == len(chart["series"]) == 3


def test_a_ceiling_far_above_is_a_word_and_not_the_scale() -> None:
    chart = charts.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 0)), 64_512.0)
    assert chart is not None
    assert len(chart["y"]) == 3
    assert "predicted ceiling 64,512/s, off this scale" in chart["title"]


def test_an_ordinary_run_has_neither_closed_ones_nor_a_ceiling() -> None:
    chart = charts.pace(steps((1.0, 200, 190, 0), (2.0, 300, 290, 40), phase="ramp"), 100.0)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["established", "failed"]
    assert chart["title"] == "Rate while connecting"


def test_the_highest_rate_of_a_long_churn_is_still_there() -> None:
    """Thinning comes after differences: one second of 500/s in an hour of 100/s is seen."""
    grown = np.cumsum(np.where(np.arange(3_600) == 1_234, 500, 100)).tolist()
    chart = charts.pace(steps(*((t + 1.0, count, count, 0) for t, count in enumerate(grown))), 100.0)
    assert chart is not None
    assert len(chart["x"]) <= columns.POINTS_MAX
    assert [max(values) for values in chart["y"]] == [500, 500, 0, 100]
    assert {len(values) for values in chart["y"]} == {len(chart["x"])}


def test_in_churn_the_open_ones_are_not_hidden_below_all_that_ever_were() -> None:
    chart = charts.connections(steps((1.0, 200, 190, 0), (2.0, 90_000, 89_990, 0), open=10, in_flight=3))
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["in flight", "open"]
    assert chart["y"] == [[3, 3], [10, 10]]


def waiting(here: object, there: object = None, **delta: object) -> dict[str, Any]:
    """What a line says of the kernel: sockets in TIME-WAIT on both sides, and counters of TcpExt."""
    kernel: dict[str, Any] = {
        "now": {"sockstat.tcp_tw": here},
        "delta": {f"TcpExt.{name}": value for name, value in delta.items()},
    }
    return kernel if there is None else {**kernel, "sink": {"now": {"sockstat.tcp_tw": there}, "delta": {}}}


def over_time(*kernels: Any, phase: str = "churn") -> list[dict[str, Any]]:
    """A line per second with these."""
    return [{"t_s": t + 1.0, "phase": phase, "kernel": kernel} for t, kernel in enumerate(kernels)]


def test_time_wait_of_both_sides_is_drawn() -> None:
    chart = kernel_charts.time_wait(over_time(waiting(0, 0), waiting(90, 5), {}, waiting(100, 7)))
    assert chart is not None
    assert chart["y"] == [[0, 90, None, 100], [0, 5, None, 7]]
    assert [one["label"] for one in chart["series"]] == ["clients' side", "sinks' side"]
    assert "at most 100 at once" in chart["label"]


@pytest.mark.parametrize("phase", ["churn", "hold"])
def test_any_run_that_saw_time_wait_has_its_chart(phase: str) -> None:
    chart = kernel_charts.time_wait(over_time(waiting(0), waiting(3), phase=phase))
    assert chart is not None
    assert chart["y"] == [[0, 3]]
    assert [one["label"] for one in chart["series"]] == ["in TIME-WAIT"]


@pytest.mark.parametrize(
    "kernels",
    [(), ({}, {}), (waiting(0), waiting(0)), (None, 7, []), (waiting("many"), {"now": None}), (waiting(math.nan),)],
)
def test_without_time_wait_there_is_no_chart_of_it(kernels: tuple[Any, ...]) -> None:
    assert kernel_charts.time_wait(over_time(*kernels)) is None
    assert kernel_charts.time_wait_pace(over_time(*kernels)) is None


def test_counters_of_time_wait_are_differences_and_those_at_rest_are_left_out() -> None:
    series = over_time(waiting(1, TW=100), waiting(1, TW=200, TWRecycled=80), {}, waiting(1, TW=320, TWRecycled=200))
    chart = kernel_charts.time_wait_pace(series)
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["entered", "recycled"]
    assert chart["y"] == [[100, 100, 100, 0, 120], [0, 0, 80, 0, 120]]
    assert chart["x"] == [0, 1, 2, 3, 4]


def test_the_sinks_counters_are_told_apart_and_a_full_table_is_seen() -> None:
    here = waiting(1, TCPTimeWaitOverflow=5)
    chart = kernel_charts.time_wait_pace(over_time({**here, "sink": {"delta": {"TcpExt.TW": 9}}}))
    assert chart is not None
    assert [one["label"] for one in chart["series"]] == ["overflow: the table was full", "entered, sinks' side"]
    assert chart["y"] == [[5, 5], [9, 9]]


def test_counters_of_time_wait_are_for_churn_only() -> None:
    assert kernel_charts.time_wait_pace(over_time(waiting(1, TW=1), waiting(1, TW=2), phase="drain")) is None


def test_churn_is_a_span_of_time() -> None:
    drawn = charts.everything(churned_run()["series"], [])
    assert [(span["name"], span["to"]) for span in drawn["phases"]] == [("churn", 30.0), ("drain", 31.5)]


def test_a_page_of_churn_has_its_facts_and_charts() -> None:
    page = Page(html.render(**churned_run()))
    for fact in (
        "3,000 of 4,160 started",
        "closed loop, at most 16 at a time, 1 exchange on each",
        "of these 2,984 closed again; 100/s mean, 99.8/s sustained",
        f"at most 100/s, 3,100 in all: {BECAUSE}",
        "as predicted",
        "12.0 ms after the start",
        "100 at once at most, 3,000 entered, 2,900 recycled, 0 overflows",
        "TIME-WAIT at the sinks 6 at once at most, 9 entered",
        "churn 30.0 s",
        "exchange reply read",
        "Every attempt is accounted for",
        "Clients' side",
        "Sinks' side",
        "connections at a time",
        "30.0 s, closed loop",
    ):
        assert fact in page.text
    for absent in ("scheduled", "over the ramp", "end of hold"):
        assert absent not in page.text
    drawn = {chart["id"]: chart for chart in json.loads(page.blocks["data"][0])["charts"]}
    assert list(drawn) == [
        *("connections", "rate", "errors", "time-wait", "time-wait-rate"),
        *("latency-connect", "latency-arrival", "latency-exchange", "percentiles"),
        *("latency-map-connect", "latency-map-exchange", "kernel-sockets", "lag"),
    ]
    assert drawn["rate"]["y"][-1][0] == 100


def test_a_page_of_an_open_loop_without_a_ceiling() -> None:
    page = Page(html.render(**churned_run(loop="open", bounded=False, sides=1, exchange=False)))
    for fact in ("3,000 of 5,000 scheduled", "open loop", "no limit: a reset leaves no TIME-WAIT", "5,000"):
        assert fact in page.text
    for absent in ("exchange", "exchange on each", "at the sinks", "Sinks' side"):
        assert absent not in page.text
    drawn = {chart["id"]: chart for chart in json.loads(page.blocks["data"][0])["charts"]}
    assert len(drawn["rate"]["series"]) == 3
    assert [one["label"] for one in drawn["time-wait"]["series"]] == ["in TIME-WAIT"]


@pytest.mark.parametrize(("exchange", "row"), [(True, "duo"), (False, "trio")])
def test_four_latencies_stand_two_by_two(exchange: bool, row: str) -> None:
    """The row of small charts is the last one that was opened before the first latency."""
    elements = Page(html.render(**churned_run(loop="open", exchange=exchange))).elements
    first = next(index for index, (_, found) in enumerate(elements) if found.get("id") == "chart-latency-lateness")
    rows = [found["class"] for tag, found in elements[:first] if tag == "div" and found.get("class") in ("duo", "trio")]
    assert rows[-1] == row


def test_the_ceiling_of_a_run_that_left_no_summary_is_that_of_its_plan() -> None:
    run = churned_run()
    page = Page(html.render(**{**run, "summary": {}}))
    drawn = {chart["id"]: chart for chart in json.loads(page.blocks["data"][0])["charts"]}
    assert drawn["rate"]["series"][-1]["label"] == "predicted ceiling"


def test_sockets_by_state_are_told_with_their_time() -> None:
    run = recorded_run(connections=1_000, ramp_s=1, hold_s=1)
    page = html.render(**run)
    assert "Sockets of TCP by state at 4.75 s, when most were counted" in page
    assert '<th scope="row" class="id">fin_wait2</th><td class="num">3</td>' in page
    for nothing in (None, {"t_s": 1.0, "counts": {}}, {"counts": 3}, 3):  # a run too short, or a file tampered with
        run["summary"]["kernel"]["states"] = nothing
        assert "Sockets of TCP by state" not in html.render(**run)


def test_hostile_words_about_churn_stay_text() -> None:
    hostile = attacked(churned_run())
    hostile["summary"]["kernel"]["sink"]["delta"] = {ATTACK: 1}
    hostile["summary"]["churn"]["closed"] = ATTACK
    source = html.render(**hostile)
    page = Page(source)
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len(page.blocks["script"]) == 3
    assert not set("\u2028\u202e\x1b") & set(source)
    said = printed(hostile["summary"])
    assert "\x1b" not in said
    assert "\u202e" not in said


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_the_summary_of_churn_fits_a_terminal(loop: str) -> None:
    lines = printed(churned_run(loop=loop)["summary"]).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 32
    whole = " ".join(" ".join(lines).split())
    for fact in (
        f"{loop} loop, at most 16 at a time, 1 exchange on each",
        "duration 30.0 s of 30.0 s planned",
        "established 3,000, of these 2,984 closed again; 100/s mean, 99.8/s sustained",
        f"predicted at most 100/s, 3,100 in all: {BECAUSE}",
        "observed as predicted",
        "first denial 12.0 ms after the start",
        "TIME-WAIT 100 at once at most, 3,000 entered, 2,900 recycled, 0 overflows",
        "at sinks 6 at once at most, 9 entered, 0 recycled, 0 overflows",
        "rate 200/s peak",
        "churn 30.0 s, drain 1.50 s",
        "exchange 95.0 us",
        "3,000 established of 4,160 started" if loop == "closed" else "3,000 established of 5,000 scheduled, 840 not",
    ):
        assert fact in whole
    assert ("lateness" in whole) is (loop == "open")


@pytest.mark.parametrize(
    ("established", "per_s", "limit", "said"),
    [
        (140, 100.0, 100, "NOT as predicted: 140 established, at most 100 predicted"),
        (40, 100.0, 100, "NOT as predicted: 40 established, 100 predicted"),
        (40, 100.0, None, "NOT as predicted: 40 established"),
        (40, None, 100, "NOT as predicted: 40 established, 9 failed, no limit predicted"),
    ],
)
def test_a_prediction_that_did_not_come_true_is_said(
    established: int, per_s: float | None, limit: int | None, said: str
) -> None:
    summary = {
        "outcomes": {"established": established, "failed": 9},
        "churn": {"ceiling": {"per_s": per_s, "established": limit, "because": BECAUSE}, "as_predicted": False},
    }
    assert ("observed", said, "bad") in summary_rows.churn(summary)
    assert any(line.endswith(said) for line in text.summary_lines(summary))
    assert said in Page(html.render(summary, [], [], {}, {}, "")).text


def test_where_nothing_was_predicted_nothing_came_true() -> None:
    summary = churned_run()["summary"]
    summary["churn"] |= {"as_predicted": None, "first_denied_s": None, "ceiling": None}
    said = {label: words for label, words, _ in summary_rows.churn(summary)}
    assert not {"predicted", "observed"} & set(said)
    assert said["first denial"] == "none"


def test_a_port_that_rests_for_a_minute_gives_less_than_one_connection_a_second() -> None:
    assert summary_rows.most({"per_s": 28 / 60, "established": 28, "because": "x"}) == "at most 0.467/s, 28 in all: x"


@pytest.mark.parametrize("churn", [None, 7, [], {}, "closed"])
def test_a_run_without_churn_says_nothing_of_it(churn: object) -> None:
    assert summary_rows.churn({"churn": churn}) == []
    assert summary_rows.attempts({"churn": churn, "arrivals": {"scheduled": 7, "started": 6}}) == (7, "scheduled")


@pytest.mark.parametrize(
    "churn",
    [
        {"loop": None},
        {"loop": 7, "ceiling": 3, "as_predicted": "yes", "first_denied_s": math.inf, "exchanges": "64"},
        {"loop": "closed", "ceiling": {"per_s": "100", "because": ["a"]}, "closed": True, "lasted_s": math.nan},
        {"ceiling": {"per_s": -1}, "first_denied_s": 1e308, "exchanges": -1},
    ],
)
def test_a_page_and_a_text_come_out_of_whatever_churn_left(churn: dict[str, Any]) -> None:
    summary = {"churn": churn, "kernel": {"sink": {"delta": {"TcpExt.TW": "x"}, "peak": 3}}, "outcomes": None}
    plan = {"churn": {"arrivals": "x", "exchanges": "y"}, "ceiling": 4}
    series = [{"t_s": 1.0, "phase": "churn", "closed": "x", "kernel": {"sink": 3, "now": {"sockstat.tcp_tw": []}}}]
    page = Page(html.render(summary, series, [], plan, {}, ""))
    assert "Opened and closed all the time" in page.text
    assert text.summary_lines(summary)


def test_time_wait_at_the_sinks_of_an_ordinary_run_is_told_when_there_was_any() -> None:
    sink = {"delta": {"TcpExt.TW": 100}, "peak": {"sockstat.tcp_tw": 100}}
    lines = "\n".join(text.summary_lines({"kernel": {"sink": sink}}))
    assert "TIME-WAIT    at the sinks 100 at once at most, 100 entered, 0 recycled, 0" in lines
    assert (
        summary_rows.other_side({"kernel": {"sink": {"delta": {"Tcp.InSegs": 3}, "peak": {"sockstat.tcp_tw": 0}}}})
        is None
    )
    assert summary_rows.other_side({"kernel": {}}) is None


def test_a_closed_loop_that_left_no_verdict_counts_what_it_started() -> None:
    summary = {"churn": {"loop": "closed"}, "outcomes": {"established": 3}, "arrivals": {"started": 4}}
    assert summary_rows.headline(summary).startswith("3 of 4 connections started were established")


# --- files that somebody edited -----------------------------------------------------------------------

GONE = object()
ODD: list[Any] = [GONE, None, True, -1, 3.5, math.nan, 10**400, "", "x\x00\ud800", [], {}, [[]], ["a", None], {"a": 1}]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON document."""
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    inner = [place for _, one in pairs if isinstance(one, dict | list) for place in places(one)]
    return [*((value, key) for key, _ in pairs), *inner]


def spoil(document: Any, changes: list[tuple[int, Any]]) -> None:
    """Put something odd into some of the places of a document."""
    for number, odd in changes:
        container, key = (found := places(document))[number % len(found)]
        if odd is not GONE:
            container[key] = copy.deepcopy(odd)
        elif isinstance(container, dict):
            del container[key]


def spoilt_run(number: int, changes: list[tuple[int, Any]]) -> Run:
    small: dict[str, Any] = {"connections": 100, "sources": 2, "ramp_s": 1.0, "hold_s": 1.0}
    runs = (lambda: recorded_run(**small), lambda: recorded_run(failing=True, **small), churned_run)
    document = {key: json.loads(json.dumps(value)) for key, value in runs[number]().items()}
    document["series"] = document["series"][:5]
    # Half of it in the summary, of which everything makes something.
    spoil(document["summary"], changes[: len(changes) // 2 + 1])
    spoil({key: document[key] for key in ("plan", "host", "series", "events")}, changes)
    for key in ("series", "events"):  # a line that is no object is refused when it is read
        document[key] = [line for line in document[key] if isinstance(line, dict)]
    return document


spoils = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(ODD)), min_size=1, max_size=4)


@settings(max_examples=40)
@given(st.integers(0, 2), spoils)
def test_whatever_was_spoilt_a_run_is_rendered(number: int, changes: list[tuple[int, Any]]) -> None:
    spoilt = spoilt_run(number, changes)
    summary = spoilt["summary"]
    said = [
        html.render(**spoilt),
        markdown.render(summary, directory="d"),
        junit.render(summary, directory="d"),
        *text.summary_lines(summary),
    ]
    assert "\n".join(said).encode()
    assert ElementTree.fromstring(said[2]).tag == "testsuites"


def compared_run(label: str, recorded: str, changes: list[tuple[int, Any]]) -> load.Given:
    """A recorded run with some of its values spoilt, as far as the loader takes them. Raises: ValueError."""
    whole = run_directory.read(samples.RUNS / recorded)
    shapes = {
        "plan": Plan,
        "host": Host,
        "series": tuple[Line, ...],
        "events": tuple[Event, ...],
        "summary": RunSummary,
    }
    document: dict[str, Any] = {key: files.plain(getattr(whole, key)) for key in shapes}
    spoil(document, changes)
    parts: dict[str, Any] = {key: files.convert(document.get(key, {}), shape) for key, shape in shapes.items()}
    return load.Given(label, label, (run_directory.Run(Path(label), whole.scenario_text, **parts),))


@settings(max_examples=40)
@given(st.sampled_from(["hold", "churn", "wall"]), spoils)
def test_whatever_was_spoilt_a_comparison_is_made_or_refused_in_words(recorded: str, changes: list[Any]) -> None:
    try:
        whole, spoilt = compared_run("A", recorded, []), compared_run("B", recorded, changes)
        found = load.compared([whole, spoilt], anyway=True)
    except (ValueError, LoadgenError):
        return
    series = {one.name: files.plain(one.runs[0].series) for one in (whole, spoilt)}
    assert compare_html.page(found, series).encode()
    assert "\n".join(line for _, line in compare_text.lines(found, 80)).encode()
    assert json.dumps(found.to_json())
