"""A line of the series: what older versions left out, and what is left out of the file."""

from __future__ import annotations

import json

from loadgen.model import Phase
from loadgen.results.schema import files
from loadgen.results.schema.counters import SERIES_COUNTERS
from loadgen.results.schema.line import UNREAD, ErrorTally, KernelLine, LatencyNs, Line, PairTally
from tests import samples


def test_a_counter_that_an_older_version_did_not_have_is_0() -> None:
    line = files.read(b'{"t_s": 1, "phase": "hold", "pairs": [], "latency_ns": {}, "lag_ns": {}}', Line)
    assert line == Line(t_s=1.0, phase=Phase.HOLD, pairs=(), latency_ns=LatencyNs(), lag_ns={})
    assert {getattr(line, row.name) for row in SERIES_COUNTERS} == {0}
    assert (line.sink, line.workers, line.first_denied_s, line.kernel) == (None, None, None, UNREAD)


def test_tallies_are_lists_in_the_file() -> None:
    changes = {"errors": [["connect", "ECONNREFUSED", "refused", 3]], "pairs": [[9, 3, 4]]}
    line = samples.line(changes)
    assert line.errors == (ErrorTally("connect", "ECONNREFUSED", "refused", 3),)
    assert line.pairs == (PairTally(established=9, failed=3, open=4),)
    written = json.loads(files.line_of(line))
    assert {key: written[key] for key in changes} == changes


def test_every_counter_is_written_also_when_it_is_0() -> None:
    assert {row.name for row in SERIES_COUNTERS} <= files.plain(samples.line()).keys()


def test_a_kernel_that_could_not_be_read_is_an_empty_object_and_false() -> None:
    assert not UNREAD
    assert files.plain(UNREAD) == {}
    assert KernelLine(now={"sockstat.tcp_tw": 0})


def test_a_sample_without_a_difference_says_so() -> None:
    """Nothing moved is another fact than nothing read."""
    assert files.plain(KernelLine(now={"sockstat.tcp_tw": 0}, delta={})) == {"now": {"sockstat.tcp_tw": 0}, "delta": {}}
