"""A run as OpenMetrics text 1.0.0: the metrics of the dashboard, each with a sample for every line and its time.

Names, texts and labels are those of `loadgen.views.dashboard.prometheus`. All samples of one series stand together, as
the format asks, so all are kept until the text is written, and of a very long run not every line has samples. Totals
and histograms are those of all lines nevertheless.
Source: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator
from operator import itemgetter
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest

from loadgen.errors import UsageError
from loadgen.views.dashboard.prometheus import METRICS, Described, Reading, add, family_of, readings
from loadgen.views.dashboard.watched import Watched
from loadgen.views.export.tables import RecordedSeries

#: Samples of a metric by the values of its labels: time in seconds since 1970, UTC, and the value then.
Course = dict[tuple[str, ...], dict[float, Reading]]
NO_START: Final = (
    "the run does not say when its load started, as runs of loadgen 0.1.0 do not, and OpenMetrics needs times of day; "
    "use --format csv, whose times are seconds after the start"
)


class RunCollector:
    """The collector that prometheus_client asks for the metrics of a whole run."""

    def __init__(self, series: RecordedSeries, at_s: Container[float]) -> None:
        """Read the series. at_s: see `exposition`. Raises: UsageError when the run does not say when it began."""
        self._found: dict[str, Course] = {row.name: defaultdict(dict) for row in METRICS}
        watched = Watched()
        for interval in series.intervals():
            unix_s = interval.unix_s
            if unix_s is None:
                raise UsageError(NO_START)
            watched.update(series.plan, interval.line)
            if interval.line.t_s not in at_s:
                continue
            for row in METRICS:
                for labels, value in readings(row, watched):
                    self._found[row.name][labels][unix_s] = value  # two lines of one instant: the later one

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value."""
        return (self._family(row) for row in METRICS if self._found[row.name])

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering reads no values."""
        return iter(())

    def _family(self, row: Described) -> Metric:
        family = family_of(row)
        for labels, values in self._found[row.name].items():
            for unix_s, value in sorted(values.items(), key=itemgetter(0)):
                add(family, labels, value, unix_s)
        return family


def exposition(series: RecordedSeries, at_s: Container[float]) -> str:
    """Return all of it, which ends with "# EOF".

    at_s: times of the lines that have samples, seconds after the start. Raises: UsageError when the run does not say
    when it began.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(series, at_s))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    return text.decode()
