"""A snapshot as metrics: valid, bounded, as documented, and enough for the panels and the alerts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from loadgen.kernel.sockdiag import TcpState
from loadgen.strategies import Strategy, Transport
from loadgen.views.exporter.metrics import METRICS, OTHER, TOP, Watching, exposition
from loadgen.watch.owners import Ownership
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.sources import SourceUsage

DOCS = Path(__file__).parents[4] / "docs"
Make = Callable[..., Usage]
MakeSnapshot = Callable[..., Snapshot]
MakeSource = Callable[..., SourceUsage]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def watching(*looks: Snapshot, top: int = TOP) -> Watching:
    found = Watching(top)
    for look in looks:
        found.update(look, took_s=0.25, pause_s=5.0, at_s=1_800_000_000.0)
    return found


def scraped(of: Watching) -> Samples:
    """What a scrape reads: value by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition(of).decode())
        for sample in family.samples
    }


def named(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric by the values of their labels."""
    return {tuple(value for _, value in labels): number for (one, labels), number in samples.items() if one == name}


@pytest.fixture
def full(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> Snapshot:
    """A snapshot with everything in it."""
    return snapshot(
        usage(95, time_wait=20, growth_per_s=3.25, exhausts_in_s=1.5, reused=True),
        usage(10, destination="2001:db8::1", growth_per_s=0.0),
        sources=(source(180, 200, strategy=Strategy.BIND, growth_per_s=-1.0, unconnected=3),),
        udp=(source(190, 200, transport=Transport.UDP, source="0.0.0.0", growth_per_s=1.0, exhausts_in_s=10.0),),
        bound=Bound(4, (40_001, 40_003), Ownership()),
        states={TcpState.ESTABLISHED: 85, TcpState.TIME_WAIT: 20},
        counters={"TcpExt.TCPSynRetrans": 3, "TcpExt.TCPPureAcks": 4},
        reserved=5,
        listening=2,
    )


def test_the_account_of_each_pair(full: Snapshot) -> None:
    found = scraped(watching(full))
    pair = ("127.0.0.1:9000", "127.0.0.1")
    assert named(found, "loadgen_watch_pair_used_ports") == {pair: 95, ("[2001:db8::1]:9000", "127.0.0.1"): 10}
    assert named(found, "loadgen_watch_pair_usable_ports")[pair] == 100
    assert named(found, "loadgen_watch_pair_in_use_sockets")[pair] == 75
    assert named(found, "loadgen_watch_pair_time_wait_sockets")[pair] == 20
    assert named(found, "loadgen_watch_pair_reusable_sockets")[pair] == 20
    assert named(found, "loadgen_watch_pair_growth_per_second")[pair] == 3.25
    assert named(found, "loadgen_watch_pair_exhausts_in_seconds") == {
        pair: 1.5,
        ("[2001:db8::1]:9000", "127.0.0.1"): math.inf,
    }


def test_the_accounts_of_sources(full: Snapshot) -> None:
    found = scraped(watching(full))
    assert named(found, "loadgen_watch_source_used_ports") == {("127.0.0.1", "tcp"): 180, ("0.0.0.0", "udp"): 190}
    assert named(found, "loadgen_watch_source_early_bound") == {("127.0.0.1", "tcp"): 1, ("0.0.0.0", "udp"): 0}
    assert named(found, "loadgen_watch_source_exhausts_in_seconds")[("0.0.0.0", "udp")] == 10
    assert named(found, "loadgen_watch_fullest_ratio") == {("pairs",): 0.95, ("early_bound",): 0.9, ("udp",): 0.95}


def test_the_namespace_and_the_exporter_itself(full: Snapshot) -> None:
    found = scraped(watching(full))
    assert named(found, "loadgen_watch_ports") == {
        ("range",): 100,
        ("reserved",): 5,
        ("listening",): 2,
        ("bound",): 2,
        ("usable",): 100,
    }
    assert named(found, "loadgen_watch_sockets")[("time_wait",)] == 20
    assert named(found, "loadgen_watch_bound_sockets") == {(): 4}
    assert named(found, "loadgen_watch_snapshot_duration_seconds") == {(): 0.25}
    assert named(found, "loadgen_watch_snapshot_interval_seconds") == {(): 5}
    assert named(found, "loadgen_watch_snapshot_timestamp_seconds") == {(): 1_800_000_000}
    assert len(named(found, "loadgen_build_info")) == 1


def test_counters_add_up_over_snapshots_and_begin_at_nothing(full: Snapshot) -> None:
    found = scraped(watching(full, full))
    events = named(found, "loadgen_watch_kernel_events_total")
    assert (events[("TcpExt.TCPSynRetrans",)], events[("TcpExt.ListenOverflows",)]) == (6, 0)
    assert ("TcpExt.TCPPureAcks",) not in events
    assert named(found, "loadgen_watch_snapshots_total") == {(): 2}


def test_failures_are_counted_beside_the_last_snapshot(full: Snapshot) -> None:
    found = watching(full)
    found.failures += 1
    assert named(scraped(found), "loadgen_watch_snapshot_failures_total") == {(): 1}
    assert named(scraped(found), "loadgen_watch_snapshots_total") == {(): 1}


def test_what_is_not_known_has_no_sample(usage: Make, snapshot: MakeSnapshot) -> None:
    found = scraped(watching(snapshot(usage(50), bound=None, bound_unknown="too old", udp=None, udp_unknown="no")))
    assert named(found, "loadgen_watch_known") == {("bound",): 0, ("udp",): 0}
    for name in ("bound_sockets", "pair_growth_per_second", "pair_exhausts_in_seconds", "source_used_ports"):
        assert named(found, f"loadgen_watch_{name}") == {}
    assert ("bound",) not in named(found, "loadgen_watch_ports")


def test_before_the_first_snapshot_there_is_nothing() -> None:
    assert exposition(Watching()) == b""


def test_many_pairs_are_some_and_the_others_together(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> None:
    pairs = [usage(n, source=f"10.0.0.{n}", growth_per_s=1.0, exhausts_in_s=100.0 - n) for n in range(100)]
    look = snapshot(*pairs, sources=tuple(source(n, source=f"10.0.0.{n}", destinations=n) for n in range(100)))
    found = scraped(watching(look, top=5))
    used = named(found, "loadgen_watch_pair_used_ports")
    assert len(used) == 6
    assert sum(used.values()) == sum(range(100))
    other = (OTHER, OTHER)
    assert used[other] == sum(range(95))
    assert named(found, "loadgen_watch_pair_growth_per_second")[other] == 95
    assert named(found, "loadgen_watch_pair_exhausts_in_seconds")[other] == 6, "the shortest of them"
    assert named(found, "loadgen_watch_source_used_ports")[(OTHER, "tcp")] == sum(range(95))
    assert named(found, "loadgen_watch_source_destinations")[(OTHER, "tcp")] == 94
    assert named(found, "loadgen_watch_fullest_ratio")[("pairs",)] == 0.99


def test_the_number_of_series_is_bounded(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> None:
    """As docs/watch.md has it, with everything that can be known."""
    known = {"growth_per_s": 1.0, "exhausts_in_s": 9.0}
    tcp, udp = (
        tuple(source(n % 100, source=f"10.0.{n // 200}.{n % 200}", transport=transport, **known) for n in range(900))
        for transport in Transport
    )
    pairs = (usage(n % 100, source=f"10.0.{n // 200}.{n % 200}", **known) for n in range(900))
    assert 500 < len(scraped(watching(snapshot(*pairs, sources=tcp, udp=udp)))) <= 550


def test_pairs_that_are_about_as_full_stay_the_same_ones(usage: Make, snapshot: MakeSnapshot) -> None:
    def labels(shift: int) -> set[tuple[str, ...]]:
        pairs = [usage(60 + (n * shift) % 4, source=f"10.0.0.{n}") for n in range(50)]
        return set(named(scraped(watching(snapshot(*pairs))), "loadgen_watch_pair_used_ports"))

    assert labels(1) == labels(2) == labels(3)


def test_a_source_that_binds_late_is_no_limit(usage: Make, snapshot: MakeSnapshot, source: MakeSource) -> None:
    found = scraped(watching(snapshot(usage(5), sources=(source(99),))))
    assert named(found, "loadgen_watch_fullest_ratio")[("early_bound",)] == 0


def test_names_follow_the_rules_of_prometheus() -> None:
    """Their own prefix, base units, `_total` for counters and for nothing else."""
    for metric in METRICS:
        assert re.fullmatch(r"loadgen_(watch|build)(_[a-z]+)+", metric.name)
        assert metric.help.endswith(".")
        assert (metric.type == "counter") == metric.name.endswith("_total")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_documentation_has_every_metric() -> None:
    text = (DOCS / "watch.md").read_text()
    rows = re.findall(r"^\| `(loadgen_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", text, re.M)
    written = {name: (kind, re.findall(r"`(\w+)`", labels), words.strip()) for name, kind, labels, words in rows}
    meant = {one.name: (one.type, list(one.labels), one.help.removesuffix(".")) for one in METRICS}
    assert written == meant


def asks_for_what_there_is(expressions: list[str], found: Samples) -> None:
    """Check each metric, and each value of a label that is compared, against a scrape."""
    names = {name for name, _ in found}
    values = {value for _, labels in found for _, value in labels} | {OTHER}
    for expression in expressions:
        asked = set(re.findall(r"loadgen_\w+", expression))
        assert asked
        assert asked <= names, expression
        assert set(re.findall(r'=\s*"([^"$]+)"', expression)) <= values, expression
        for name in re.findall(r"loadgen_\w+_total\b", expression):
            assert re.search(rf"(rate|increase)\({name}", expression), f"{name} is a counter: {expression}"


def test_the_panels_ask_for_what_there_is(full: Snapshot) -> None:
    board = json.loads((DOCS / "grafana" / "loadgen-watch.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(targets) >= 10
    asks_for_what_there_is(targets, scraped(watching(full)))


def test_the_alerts_ask_for_what_there_is(full: Snapshot) -> None:
    rules = YAML(typ="safe").load((DOCS / "grafana" / "alerts.yaml").read_text())
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found) >= 5
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in found)
    asks_for_what_there_is([rule["expr"] for rule in found], scraped(watching(full)))
