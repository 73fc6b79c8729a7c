"""A series of any length is read in bounded memory, and no count of it is lost."""

from __future__ import annotations

import shutil
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from loadgen.model import Phase
from loadgen.results import histogram, run_directory, thinning
from loadgen.results.fold import Fold
from loadgen.results.schema.line import LatencyNs, Line, PairTally
from loadgen.results.thinning import Thinned, coarse
from tests import samples

BASE = samples.line(number=-3)


def line(number: int, phase: Phase = Phase.HOLD, pairs: int = 2, bucket: int = 0) -> Line:
    return structs.replace(
        BASE,
        t_s=number / 2,
        phase=phase,
        established=number,
        pairs=(PairTally(number, 0, number),) * pairs,
        latency_ns=LatencyNs(connect={str(1500 + bucket): 1, "7": 2}),
        lag_ns={str(bucket): 1},
    )


def thinned(series: Iterable[Line], kept: Thinned | None = None) -> tuple[Line, ...]:
    """Return the lines that are kept of a series."""
    kept = kept or Thinned()
    for each in series:
        kept.add(each)
    return kept.lines


def test_a_series_that_fits_stays_as_it_is() -> None:
    series = [line(number) for number in range(500)]
    assert thinned(series) == tuple(series)


@given(st.lists(st.sampled_from([Phase.RAMP, Phase.HOLD, Phase.DRAIN]), max_size=60).map(sorted), st.integers(1, 2000))
def test_no_count_is_lost_and_phases_end_where_they_ended(phases: list[Phase], values_max: int) -> None:
    series = [line(number, phase, bucket=number % 5) for number, phase in enumerate(phases)]
    lines = thinned(series, Thinned(values_max, 10))
    whole, kept = Fold.of(series), Fold.of(structs.replace(each, pairs=()) for each in lines)
    assert [coarse(histogram.sparse(row)) for row in whole.latency] == [
        coarse(histogram.sparse(row)) for row in kept.latency
    ]
    assert coarse(histogram.sparse(whole.lag)) == coarse(histogram.sparse(kept.lag))
    assert {phase: end.t_s for phase, end in whole.ends.items()} == {phase: end.t_s for phase, end in kept.ends.items()}
    assert lines[:1] == tuple(series[:1])
    assert not lines or lines[-1].pairs == series[-1].pairs
    times = [each.t_s for each in lines]
    assert times == sorted(set(times))


def test_what_is_kept_is_bounded_and_evenly_spread() -> None:
    size = thinning._values(line(0))
    kept = Thinned(values_max=100 * size, pairs_max=200)
    for number in range(10_000):
        kept.add(line(number, bucket=number % 3, pairs=8))
        assert len(kept.lines) <= 110
        assert sum(len(each.pairs) for each in kept.lines) <= 208
    steps = Counter(np.diff([each.t_s for each in kept.lines]).tolist())
    assert steps[64.0] > 60, "evenly, but for what was alone when the others were merged"
    assert sum(steps.values()) - steps[64.0] < 10
    having = np.flatnonzero([bool(each.pairs) for each in kept.lines])
    assert len(having) >= 8
    assert np.diff(having).max() <= len(kept.lines) / 5


def _recorded(path: Path) -> Path:
    """Make a run directory with every file."""
    return Path(shutil.copytree(samples.RUNS / "hold", path))


def _made(path: Path, count: int) -> Path:
    """Make a run directory without a summary, whose series has about so many lines."""
    run = _recorded(path)
    (run / "summary.json").unlink()
    recorded = (run / "series.jsonl").read_bytes().splitlines(keepends=True)
    holds = [index for index, text in enumerate(recorded) if b'"phase":"hold"' in text]
    with (run / "series.jsonl").open("wb") as file:
        file.writelines(recorded[: holds[-1]])
        file.writelines([recorded[holds[-1]]] * count)
        file.writelines(recorded[holds[-1] :])
    return run


def test_memory_does_not_grow_with_the_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the lines take the same memory, and give the same summary but for what was counted in each."""
    monkeypatch.setattr(Thinned.__init__, "__defaults__", (15_000, thinning.PAIRS_MAX))
    peaks = []
    for count in (400, 3_200):
        run = _made(tmp_path / str(count), count)
        tracemalloc.start()
        read = run_directory.read(run)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read.summarised().outcomes.established == samples.summary().outcomes.established
        assert len(read.series) < 400
    assert peaks[1] < 1.3 * peaks[0]
