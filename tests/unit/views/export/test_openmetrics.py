"""OpenMetrics text: valid by the parser of prometheus_client, with the names of the dashboard and the run's counts."""

from __future__ import annotations

from itertools import groupby

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadgen.errors import UsageError
from loadgen.views.dashboard.prometheus import METRICS
from loadgen.views.export import openmetrics
from loadgen.views.export.tables import RecordedSeries
from tests import samples

from .samples import BEGAN_NS, recorded

RUNS = ("churn", "hold", "http", "interrupted", "killed-worker", "tls", "udp", "wall")


def exposition(series: RecordedSeries) -> str:
    """With samples at every line."""
    return openmetrics.exposition(series, {line.t_s for line in series.lines()})


def parsed(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # it has no types there


def at(text: str, time: str) -> list[Sample]:
    """The samples of one instant, parsed.

    The parser drops the buckets of a histogram's second instant, since it never forgets those of the first; so it gets
    each instant alone.
    """
    lines = [line for line in text.splitlines() if line.startswith("#") or line.endswith(f" {time}")]
    return [sample for family in parsed("\n".join(lines) + "\n") for sample in family.samples]


@pytest.mark.parametrize("name", RUNS)
def test_every_instant_is_valid_and_the_last_has_the_counts_of_the_run(name: str) -> None:
    text, outcomes = exposition(recorded(name)), samples.summary(name=name).outcomes
    assert text.endswith("\n# EOF\n")
    times = sorted({line.rsplit(" ", 1)[1] for line in text.splitlines() if not line.startswith("#")}, key=float)
    assert [float(time) for time in times] == [round(BEGAN_NS / 1e9 + line.t_s, 6) for line in samples.series(name)]
    found = [at(text, time) for time in times]
    assert all(found)
    last = {sample.name: sample.value for sample in found[-1] if not sample.labels}
    assert last["loadgen_connections_established_total"] == outcomes.established
    assert last["loadgen_attempts_failed_total"] == outcomes.failed
    connect = samples.summary(name=name).latency_us.connect
    counts = {
        sample.labels["kind"]: sample.value for sample in found[-1] if sample.name == "loadgen_latency_seconds_count"
    }
    assert counts.get("connect", 0) == (connect.count if connect else 0)


def test_families_stand_together_each_series_in_the_order_of_time() -> None:
    lines = exposition(recorded()).splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(families) == len(set(families))
    known = [row.name.removesuffix("_total") for row in METRICS]
    assert families == [name for name in known if name in families]
    values = [line for line in lines if not line.startswith("#")]
    plain = [line.rsplit(" ", 2) for line in values if "_seconds_" not in line]
    courses = [(name, [float(time) for _, _, time in course]) for name, course in groupby(plain, lambda part: part[0])]
    assert len(courses) == len({name for name, _ in courses})
    assert all(times == sorted(set(times)) for _, times in courses)


def test_all_but_histograms_parse_as_a_whole() -> None:
    text = "".join(f"{line}\n" for line in exposition(recorded("churn")).splitlines() if "_seconds_" not in line)
    families = {family.name: family for family in parsed(text)}
    established = families["loadgen_connections_established"].samples
    assert [sample.value for sample in established] == [line.established for line in samples.series("churn")]


def test_a_run_that_does_not_say_when_it_began_is_refused() -> None:
    with pytest.raises(UsageError, match="use --format csv"):
        exposition(recorded(began_ns=None))


def test_fewer_instants_have_the_same_samples_as_among_all() -> None:
    *_, last = samples.series("churn")
    text = openmetrics.exposition(recorded("churn"), {last.t_s})
    whole = exposition(recorded("churn")).splitlines()
    found = [line for line in text.splitlines() if not line.startswith("#")]
    assert found == [line for line in whole if line.endswith(f" {round(BEGAN_NS / 1e9 + last.t_s, 6)}")]
    assert parsed(text)
