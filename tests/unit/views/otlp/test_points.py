"""What is pushed is what is scraped: names, types, labels and values, by the rules of the specification."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("opentelemetry.sdk.metrics.export", reason="needs the extra: pip install 'loadgen[otlp]'")

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from loadgen.model import Ceiling, Churn
from loadgen.views.dashboard.prometheus import BUCKETS_S, METRICS, exposition
from loadgen.views.dashboard.watched import Watched
from loadgen.views.otlp import points
from loadgen.views.otlp.pusher import MetricsSnapshot, Pusher
from tests.receiving import as_scraped, kind_of, metrics_of, names_in_prometheus, resource_of
from tests.unit.views.dashboard.samples import line, plan
from tests.unit.views.dashboard.test_prometheus import EVERYTHING, scraped

START_NS = 1_790_000_000_000_000_000


def pushed(*lines: Any, run: str = "20260131T120000Z-mine-1f3a", **changes: Any) -> tuple[MetricsSnapshot, Watched]:
    """A snapshot after some lines, and what the dashboard would have seen."""
    taken: list[MetricsSnapshot] = []
    pusher, watched, same = Pusher(lambda _: (0, ""), "http://a", 0.0), Watched(), plan(**changes)
    pusher._hand_over = taken.append  # type: ignore[assignment, method-assign]
    pusher._run, pusher._start_unix_ns = run, START_NS
    for one in lines:
        pusher.update(same, one)
        watched.update(same, one)
    return taken[-1], watched


def encoded(snapshot: MetricsSnapshot) -> Any:
    return encode_metrics(points.metrics_data(snapshot))


def full() -> tuple[MetricsSnapshot, Watched]:
    agents = [["a", "ramp", 5, 1, 4], ["b", "lost", 7, 0, 0]]
    everything = line(**EVERYTHING, agents=agents)
    return pushed(line(), everything, churn=Churn(30.0, 64), ceiling=Ceiling(100.0, 3_100, "ports"))


def test_every_sample_of_a_scrape_is_pushed_with_its_value() -> None:
    snapshot, watched = full()
    assert as_scraped(encoded(snapshot)) == scraped(watched)


def test_types_texts_and_units_are_those_of_the_table() -> None:
    snapshot, watched = full()
    families = {family.name: family for family in text_string_to_metric_families(exposition(watched).decode())}
    found = metrics_of(encoded(snapshot))
    assert set(found) == {one.name for one in METRICS}
    for described in METRICS:
        metric = found[described.name]
        family = families[described.name.removesuffix("_total")]
        assert (kind_of(metric), metric.description) == (family.type, family.documentation)
        assert metric.unit == described.unit
        if described.name.endswith(("_seconds", "_seconds_total")):
            assert described.unit == "s"


@pytest.mark.parametrize("described", METRICS, ids=lambda described: described.name)
def test_no_translator_changes_a_name(described: Any) -> None:
    assert names_in_prometheus(described.name, described.unit, described.type) == {described.name}


@pytest.mark.parametrize(
    ("name", "unit", "kind", "names"),
    [
        ("a", "s", "gauge", {"a", "a_seconds"}),
        ("a_b", "{x}", "counter", {"a_b", "a_b_total"}),
        ("a", "1", "gauge", {"a", "a_ratio"}),
        ("ceiling_per_second", "{x}/s", "gauge", {"ceiling_per_second", "ceiling_per_second_per_second"}),
    ],
)
def test_names_that_a_translator_would_change_are_found(name: str, unit: str, kind: str, names: set[str]) -> None:
    """So that the test before can fail."""
    assert names_in_prometheus(name, unit, kind) == names


def test_totals_count_from_the_start_of_the_run() -> None:
    snapshot, _ = full()
    assert snapshot.unix_ns >= snapshot.start_unix_ns == START_NS
    for metric in metrics_of(encoded(snapshot)).values():
        which = metric.WhichOneof("data")
        assert which
        for point in getattr(metric, which).data_points:
            assert point.time_unix_nano == snapshot.unix_ns
            assert point.start_time_unix_nano == (0 if which == "gauge" else START_NS)


def test_a_histogram_has_the_buckets_of_prometheus_and_no_extremes() -> None:
    snapshot, _ = full()
    for point in metrics_of(encoded(snapshot))["loadgen_latency_seconds"].histogram.data_points:
        assert tuple(point.explicit_bounds) == BUCKETS_S
        assert len(point.bucket_counts) == len(BUCKETS_S) + 1
        assert sum(point.bucket_counts) == point.count > 0
        assert not point.HasField("min")
        assert not point.HasField("max")


def test_the_resource_is_this_run_of_loadgen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    request = encoded(pushed(line(), name="mine")[0])
    found = resource_of(request)
    assert found.pop("service.version")
    assert found == {
        "service.name": "loadgen",
        "service.instance.id": "20260131T120000Z-mine-1f3a",
        "loadgen.scenario": "mine",
    }
    assert request.resource_metrics[0].scope_metrics[0].scope.name == "loadgen"


def test_the_environment_names_it_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "soak")
    found = resource_of(encoded(pushed(line())[0]))
    assert (found["service.name"], found["deployment.environment.name"]) == ("soak", "ci")
    assert found["service.instance.id"]
