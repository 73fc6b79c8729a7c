"""The fold of a series says what a look at all of its lines would."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec import structs

from loadgen.model import Phase
from loadgen.results import run_directory
from loadgen.results.fold import NOTHING, Fold
from loadgen.results.schema import files
from loadgen.results.schema.line import KernelLine, LatencyNs, Line, PairTally, SinkKernelLine
from tests import samples

BASE = samples.line(number=-3)


def line(t_s: float, phase: Phase = Phase.RAMP, opened: tuple[int, ...] = (0, 0), **more: object) -> Line:
    pairs = tuple(PairTally(0, 0, count) for count in opened)
    return structs.replace(BASE, t_s=t_s, phase=phase, pairs=pairs, **more)


def test_a_series_without_lines_is_nothing() -> None:
    fold = Fold.of(())
    assert fold.last is None
    assert fold.end_of(*Phase) is NOTHING
    assert not fold.latency.any()


def test_peaks_are_of_any_line_and_ends_of_the_last_of_a_phase() -> None:
    kernel = [
        KernelLine(now={"tw": 9}, delta={"a": 1}, states={"listen": 5}, states_age_s=0.5),
        KernelLine(now={"tw": 3}, delta={"a": 2}, states={"listen": 5}),
        KernelLine(now={"tw": 30}, delta={"a": 3}),
    ]
    fold = Fold.of(
        [
            line(1.0, opened=(5, 1), open=6, open_peak=0, established=10, kernel=kernel[0]),
            line(1.01, opened=(1, 7), open=8, open_peak=9, established=100, kernel=kernel[1]),
            line(2.0, Phase.DRAIN, open=0, open_peak=0, established=500, kernel=kernel[2]),
            line(3.0, Phase.DRAIN, open=0, open_peak=0, established=500, kernel=KernelLine()),
        ]
    )
    assert fold.pair_peaks is not None
    assert fold.pair_peaks.tolist() == [5, 7]
    assert fold.open_peak == 9
    assert fold.rate_peak == 10.0, "neither 10 ms beside a change of phase nor the drain is a rate of opening"
    assert {phase: end.t_s for phase, end in fold.ends.items()} == {Phase.RAMP: 1.01, Phase.DRAIN: 3.0}
    assert fold.end_of(Phase.HOLD, Phase.RAMP).t_s == 1.01
    assert (fold.kernel.peak, fold.kernel.ramp_peak, fold.kernel.delta) == ({"tw": 30}, {"tw": 9}, {"a": 3})
    assert fold.kernel.opening == {"a": 2}, "what was counted before the drain"
    assert fold.kernel.states is not None
    assert fold.kernel.states.t_s == 0.5, "the first of two that are equal"
    assert not fold.kernel_at_sinks.seen


def test_a_gateway_is_folded_as_the_namespaces_are() -> None:
    lines = [
        line(float(n), kernel=KernelLine(now={"a": 1}, gateway=SinkKernelLine(now={"count": peak}, delta={"drop": n})))
        for n, peak in ((1, 5), (2, 3))
    ]
    fold = Fold.of(lines)
    assert (fold.kernel_at_gateway.peak, fold.kernel_at_gateway.delta) == ({"count": 5}, {"drop": 2})
    assert not Fold.of([line(1.0)]).kernel_at_gateway.seen


def test_histograms_are_added_up() -> None:
    latency = LatencyNs(connect={"7": 2, "1500": 1})
    fold = Fold.of([line(n / 2, latency_ns=latency, lag_ns={"3": n}) for n in range(1, 4)])
    assert (fold.latency.sum(), fold.lag[3]) == (9, 6)


def test_lines_about_other_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="3 pairs, the lines before have 2"):
        Fold.of([line(1), line(2, opened=(1, 2, 3))])


def test_a_summary_is_folded_where_none_was_written(tmp_path: Path) -> None:
    run = Path(shutil.copytree(samples.RUNS / "hold", tmp_path / "run"))
    (run / "summary.json").unlink()
    assert files.pretty(run_directory.read(run).summarised())
