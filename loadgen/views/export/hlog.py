"""The histogram log of HdrHistogram, version 1.3: a line for each interval and kind of latency, tagged with the kind.

The lines are written here, the payloads (version 2 of the encoding, deflated, base64) by the package hdrhistogram,
whose own writer knows no tags. Values are nanoseconds; the maximum in a line is in milliseconds, as HdrHistogram's
tools expect.
Source: HistogramLogWriter.java of https://github.com/HdrHistogram/HdrHistogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Final, TextIO

from loadgen.clock import NS_PER_S
from loadgen.errors import HostError
from loadgen.results import histogram
from loadgen.results.schema.line import Sparse
from loadgen.views.export.columns import measured
from loadgen.views.export.tables import RecordedSeries
from loadgen.views.summary_rows import LATENCIES

#: Values to 0.1 %, where buckets of loadgen are 0.8 % wide.
_DIGITS: Final = 3
_NS_PER_MS: Final = 1e6


def require() -> None:
    """Return if the package hdrhistogram is installed. Raises: HostError with the command that installs it."""
    if find_spec("hdrh") is None:
        raise HostError("--format hlog needs the package hdrhistogram; pip install 'loadgen[hlog]'")


def write(series: RecordedSeries, file: TextIO) -> None:
    """Write the log of a run, line by line; `require` has returned. Raises: as the file does."""
    file.writelines(f"{line}\n" for line in _lines(series))


def _lines(series: RecordedSeries) -> Iterator[str]:
    yield "#[latencies of a run of loadgen, in nanoseconds; the maximum of a line in milliseconds]"
    yield "#[Histogram log format version 1.3]"
    if series.began_ns is None:
        yield "#[times are seconds after the start of the load; the run does not say when that was]"
    else:
        began_s = series.began_ns / NS_PER_S
        when = datetime.fromtimestamp(began_s, UTC).isoformat(" ", "milliseconds")
        yield f"#[StartTime: {began_s:.3f} (seconds since epoch), {when}]"
        yield f"#[BaseTime: {began_s:.3f} (seconds since epoch)]"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    for interval in series.intervals():
        for kind in LATENCIES:
            if counts := measured(interval.line, kind):
                longest_ms, payload = _encoded(counts)
                times = f"{interval.before.t_s:.3f},{interval.took_s:.3f},{longest_ms:.3f}"
                yield f"Tag={kind},{times},{payload}"


def _encoded(counts: Sparse) -> tuple[float, str]:
    """Return the longest value in milliseconds, and the histogram as text."""
    from hdrh.histogram import HdrHistogram

    encoder = HdrHistogram(1, histogram.VALUE_NS_MAX, _DIGITS)
    for bucket, count in counts.items():
        encoder.record_value(int(histogram.value_ns(int(bucket))), count)
    return encoder.get_max_value() / _NS_PER_MS, encoder.encode().decode("ascii")
