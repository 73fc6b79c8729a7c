"""A snapshot in the types of the SDK, with the names that Prometheus has when it scrapes them.

A collector, and Prometheus itself, make a name for Prometheus out of name, unit and type. It stays as it is, if

- a sum that only grows ends in `_total`: that suffix is not put there twice;
- a unit stands in the name already (`s`: `seconds`), or is an annotation in braces, which is left out;
- no gauge has the unit `1`, for which `_ratio` is appended;
- no unit has a "per", as `{connection}/s`: some translators look for `per_second` among single words, do not find it,
  and append it to a name that ends in it. So loadgen_predicted_ceiling_per_second has no unit.

Sources: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/, "OTLP Metric points to
Prometheus"; github.com/prometheus/otlptranslator, metric_namer.go and unit_namer.go, which Prometheus and the collector
use.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from loadgen import version
from loadgen.views.dashboard.prometheus import BUCKETS_S, Described, Reading
from loadgen.views.otlp.pusher import MetricsSnapshot

SERVICE: Final = "loadgen"


def metrics_data(snapshot: MetricsSnapshot) -> MetricsData:
    """Return all of it, as the exporter takes it."""
    number = version.number()
    # Later ones win: OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, where a user has set them.
    resource = Resource(
        {
            "service.name": SERVICE,
            "service.version": number,
            "service.instance.id": snapshot.run,
            "loadgen.scenario": snapshot.scenario,
        }
    ).merge(OTELResourceDetector().detect())
    metrics = [_metric(described, readings, snapshot) for described, readings in snapshot.found]
    scope = ScopeMetrics(InstrumentationScope(SERVICE, number), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(described: Described, readings: list[tuple[tuple[str, ...], Reading]], times: MetricsSnapshot) -> Metric:
    named = [(dict(zip(described.labels, labels, strict=True)), value) for labels, value in readings]
    data: Histogram | Sum | Gauge
    match described.type:
        case "histogram":
            spread = [_spread(attributes, value, times) for attributes, value in named]
            data = Histogram(spread, AggregationTemporality.CUMULATIVE)
        case "counter":
            numbers = [_number(attributes, value, times) for attributes, value in named]
            data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        case _:
            data = Gauge([_number(attributes, value, times) for attributes, value in named])
    return Metric(described.name, described.help, described.unit, data)


def _number(attributes: dict[str, str], value: Reading, times: MetricsSnapshot) -> NumberDataPoint:
    assert not isinstance(value, tuple)
    # A double always, as in Prometheus: a receiver takes a change of the type for another metric.
    return NumberDataPoint(attributes, times.start_unix_ns, times.unix_ns, float(value))


def _spread(attributes: dict[str, str], value: Reading, times: MetricsSnapshot) -> HistogramDataPoint:
    assert isinstance(value, tuple)
    cumulated, sum_s = value
    upwards = [0, *(round(below) for _, below in cumulated)]
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=times.start_unix_ns,
        time_unix_nano=times.unix_ns,
        count=upwards[-1],
        sum=sum_s,
        bucket_counts=[after - before for before, after in pairwise(upwards)],
        explicit_bounds=BUCKETS_S,
        # Optional in the protocol, and not known: the encoder leaves them out.
        min=None,  # type: ignore[arg-type]  # the SDK itself always has one
        max=None,  # type: ignore[arg-type]
    )
