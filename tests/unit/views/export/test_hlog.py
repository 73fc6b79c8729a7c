"""A histogram log that HdrHistogram's own reader adds up to the latencies of the run."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadgen.errors import HostError
from loadgen.results import histogram
from loadgen.views.export import hlog
from tests import samples

from .samples import BEGAN_NS, recorded


def written(began_ns: int | None = BEGAN_NS) -> str:
    file = io.StringIO()
    hlog.write(recorded(began_ns=began_ns), file)
    return file.getvalue()


def test_the_reader_of_hdrhistogram_finds_the_same_latencies(tmp_path: Path) -> None:
    (tmp_path / "run.hlog").write_text(written())
    reader = HistogramLogReader(str(tmp_path / "run.hlog"), HdrHistogram(1, histogram.VALUE_NS_MAX, 3))
    sums: dict[str, HdrHistogram] = {}
    while (interval := reader.get_next_interval_histogram()) is not None:
        whole = sums.setdefault(interval.get_tag(), HdrHistogram(1, histogram.VALUE_NS_MAX, 3))
        whole.add(interval)
    reader.close()
    assert reader.get_start_time_sec() == BEGAN_NS / 1e9
    expected = samples.summary().latency_us
    assert list(sums) == ["lateness", "connect", "arrival"]
    for kind, whole in sums.items():
        quantiles = getattr(expected, kind)
        assert whole.get_total_count() == quantiles.count
        assert whole.get_value_at_percentile(50) / 1e3 == pytest.approx(quantiles.p50, rel=0.002)
        assert whole.get_max_value() / 1e3 == pytest.approx(quantiles.max, rel=0.002)


def test_lines_have_tag_start_length_and_maximum_in_milliseconds() -> None:
    lines = written().splitlines()
    assert lines[1:5] == [
        "#[Histogram log format version 1.3]",
        "#[StartTime: 1769860800.125 (seconds since epoch), 2026-01-31 12:00:00.125+00:00]",
        "#[BaseTime: 1769860800.125 (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    assert all(re.fullmatch(r"Tag=[a-z]+(?:,\d+\.\d{3}){3},HISTFAAA[A-Za-z0-9+/]+=*", line) for line in lines[5:])
    assert lines[5].startswith("Tag=lateness,0.000,0.201,1.135,")
    assert lines[8].startswith("Tag=lateness,0.201,0.199,")


def test_a_run_that_does_not_say_when_it_began_has_no_start_time() -> None:
    assert "StartTime:" not in written(None)
    assert "the run does not say when" in written(None)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hlog.require()
    monkeypatch.setattr(hlog, "find_spec", lambda _: None)
    with pytest.raises(HostError, match=re.escape("pip install 'loadgen[hlog]'")):
        hlog.require()
    assert importlib.util.find_spec("hdrh")
