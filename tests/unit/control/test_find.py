"""A search with runs that are made up: what it records, how it ends, and what goes on from its directory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadgen.control import find, settling
from loadgen.control.find import Finder, exit_code
from loadgen.control.find_order import FindOrder, resume
from loadgen.control.orchestrator import Options, Result
from loadgen.errors import (
    CapacityError,
    ExitCode,
    HostError,
    IncompleteError,
    InterruptedRunError,
    LoadgenError,
    ResultsError,
    UsageError,
)
from loadgen.results import search_directory
from loadgen.results.schema.find import FindSummary
from loadgen.scenario import ScenarioSpec, parse_cells
from tests import samples, searches

TEXT = """\
name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
expect: [outcomes.failed == 0]
find: {vary: connections, from: 10, to: 100, agree: 1}
"""
WALL = 37
Run = Callable[[int], None]


class Host:
    """Makes runs up: what is above the wall fails. each: called with the value before it; may raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, each: Run = lambda _: None) -> None:
        self.values: list[int] = []
        self.texts: list[str] = []
        self.places: list[Path] = []
        self.each = each
        self.changes: dict[str, Any] = {}
        self.error: LoadgenError | None = None
        monkeypatch.setattr(find, "Orchestrator", self.made)

    def made(self, scenario: ScenarioSpec, text: str, options: Options, **_: Any) -> Host:
        assert scenario.connections
        assert options.force, "a trial is to run into its limit"
        assert options.at
        self.values.append(scenario.connections)
        self.texts.append(text)
        self.places.append(options.at)
        return self

    def interrupt(self) -> None:
        """The present run would drain."""

    async def execute(self) -> Result:
        value, place = self.values[-1], self.places[-1]
        self.each(value)
        place.mkdir(parents=True)
        counts = {"outcomes.failed": max(value - WALL, 0), "outcomes.established": min(value, WALL)}
        return Result(place, samples.summary({**counts, **self.changes}), ExitCode.FINE, self.error)


def order(text: str = TEXT, *overrides: str) -> FindOrder:
    whole, cells = parse_cells(text, "s.yaml", overrides)
    return FindOrder(whole, cells, text, "s.yaml", overrides)


class Searched:
    """A search that came to its end, one way or the other."""

    def __init__(self, results: Path, given: FindOrder, during: Callable[[Finder], None] = lambda _: None) -> None:
        self.said: list[str] = []
        view = lambda: nullcontext(View())  # noqa: E731
        self.finder = Finder(given, Options(results=results), view=view, say=self.said.append)
        during(self.finder)
        result = asyncio.run(self.finder.execute())
        assert isinstance(result.record, FindSummary)
        self.path, self.summary, self.code, self.error = result.path, result.record, result.exit_code, result.error


class View:
    """Shows nothing."""

    def update(self, *_: object) -> None:
        """A line of the series."""

    def notice(self, _: str) -> None:
        """A sentence."""


def test_it_finds_the_wall_and_writes_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host(monkeypatch)
    it = Searched(tmp_path, order())
    assert (it.code, it.error) == (ExitCode.FINE, None)
    assert (it.summary.low, it.summary.high, it.summary.complete) == (37, 38, True)
    assert [trial.value for trial in it.summary.trials] == host.values
    assert host.places == [it.path / "trials" / str(n) for n in range(1, len(host.values) + 1)]
    read = search_directory.read(it.path)
    assert read.trials == it.summary.trials
    assert [event.event for event in read.events] == ["ended"]
    assert read.scenario_text == TEXT
    assert json.loads((it.path / "summary.json").read_text())["low"] == 37
    assert host.texts[0].startswith("# --set connections=10\n# --set find=null\nname: small\n")
    assert it.said[0] == "trial 1: connections 10 (doubling)"
    assert it.said[1] == "trial 1: 10 holds"


def test_a_host_that_is_too_small_for_a_value_fails_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(value: int) -> None:
        if value > 20:
            raise CapacityError("bytes of memory", needed=value, available=20, remedy="ask for less")

    Host(monkeypatch, refused)
    it = Searched(tmp_path, order())
    assert (it.code, it.summary.low, it.summary.high, it.summary.limit) == (ExitCode.FINE, 20, 21, "none")
    failed = [trial for trial in it.summary.trials if trial.outcome == "failed"]
    assert all(trial.run is None and trial.reason for trial in failed)
    assert "refused: bytes of memory: need" in it.summary.verdict.text


@pytest.mark.parametrize("worked", [0, 2])
def test_another_refusal_says_nothing_and_three_end_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, worked: int
) -> None:
    def refused(_: int) -> None:
        if len(host.values) > worked:
            raise HostError("no lab here")

    host = Host(monkeypatch, refused)
    it = Searched(tmp_path, order())
    assert it.code is ExitCode.INCOMPLETE
    assert [trial.outcome.value for trial in it.summary.trials] == ["held"] * worked + ["unknown"] * 3
    assert "trials did not work" in it.summary.verdict.text


def test_trials_that_did_not_work_are_tried_anew_after_a_resume(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(_: int) -> None:
        if len(host.values) <= 3:
            raise HostError("no lab here")

    host = Host(monkeypatch, refused)
    it = Searched(tmp_path, order())
    assert it.code is ExitCode.INCOMPLETE
    again = Searched(tmp_path, resume(it.path))
    assert (again.code, again.summary.low, again.summary.high) == (ExitCode.FINE, 37, 38)
    assert again.path == it.path


def test_a_run_that_lost_a_worker_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host(monkeypatch)
    host.changes = {"complete": False, "incomplete_because": "a worker was lost"}
    host.error = IncompleteError("a worker was lost")
    it = Searched(tmp_path, order())
    assert it.code is ExitCode.INCOMPLETE
    assert [trial.outcome.value for trial in it.summary.trials] == ["unknown"] * 3
    assert it.summary.trials[0].reason == "a worker was lost"


def test_a_disk_that_takes_nothing_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(value: int) -> None:
        if value > 20:
            raise ResultsError("cannot write x: no space left")

    Host(monkeypatch, full)
    it = Searched(tmp_path, order())
    assert it.code is ExitCode.HOST
    assert isinstance(it.error, ResultsError)
    assert [trial.value for trial in it.summary.trials] == [10, 20]
    assert (it.summary.complete, it.summary.kind) == (False, "undecided")


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_an_interrupt_keeps_the_trials_that_had_ended_and_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trials: int
) -> None:
    finders: list[Finder] = []

    def interrupted(_: int) -> None:
        if len(host.values) == trials:
            finders[0].interrupt()
            if trials == 2:
                raise InterruptedRunError("interrupted before any load")

    def before(finder: Finder) -> None:
        finders.append(finder)
        if not trials:
            finder.interrupt()

    host = Host(monkeypatch, interrupted)
    it = Searched(tmp_path, order(), before)
    assert it.code is ExitCode.INTERRUPTED
    assert len(it.summary.trials) == max(trials - 1, 0)
    assert "--resume goes on" in (it.summary.incomplete_because or "")
    host.each = lambda _: None
    again = Searched(tmp_path, resume(it.path))
    assert (again.code, again.summary.low, again.summary.high) == (ExitCode.FINE, 37, 38)
    assert [event.event for event in search_directory.read(it.path).events] == ["interrupted", "resumed", "ended"]
    assert [trial.number for trial in again.summary.trials] == list(range(1, len(again.summary.trials) + 1))


def test_time_ends_it_and_a_resume_has_as_much_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0]
    monkeypatch.setattr(find, "now_ns", lambda: clock[0])

    def passed(_: int) -> None:
        clock[0] += 2_000_000_000

    host = Host(monkeypatch, passed)
    it = Searched(tmp_path, order(TEXT, "find.time=5s"))
    assert it.code is ExitCode.INCOMPLETE
    assert len(host.values) == 3
    assert it.said[-1] == "the time of the search, 5 s, is used up"
    assert "the time was used up" in it.summary.verdict.text
    assert it.summary.duration_s == 6.0
    again = Searched(tmp_path, resume(it.path))
    assert len(host.values) == 6
    assert again.summary.duration_s == 12.0
    assert again.code is ExitCode.INCOMPLETE


def test_time_that_is_used_up_with_the_last_trial_is_no_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0]
    monkeypatch.setattr(find, "now_ns", lambda: clock[0])

    def passed(_: int) -> None:
        clock[0] += 1_000_000_000

    Host(monkeypatch, passed)
    it = Searched(tmp_path, order(TEXT, "find.to=11", "find.time=2s"))
    assert (it.code, it.summary.kind) == (ExitCode.FINE, "above")
    assert "used up" not in " ".join(it.said)


def test_each_cell_is_a_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host(monkeypatch)
    it = Searched(tmp_path, order(TEXT + "matrix: {close: [fin, rst]}\n"))
    assert it.code is ExitCode.FINE
    assert [(search.low, search.high) for search in it.summary.searches] == [(37, 38)] * 2
    assert any("# --set close=rst\n" in text for text in host.texts)
    assert "makes no difference beyond the precision" in it.summary.effects[0]
    assert it.said[0] == "trial 1, cell 0: connections 10 (doubling)"


def test_every_trial_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settled: list[int] = []

    async def settle(_: object, __: object) -> None:
        settled.append(len(host.values))

    monkeypatch.setattr(settling.Settler, "settle", settle)
    host = Host(monkeypatch)
    Searched(tmp_path, order(TEXT, "find.to=20"))
    assert settled == [1]


def test_steps_are_checked_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Host(monkeypatch)
    with pytest.raises(UsageError, match="without ramp or stages"):
        Searched(tmp_path, order(TEXT, "find.mode=continuous"))
    good = order(TEXT, "find.mode=continuous", "arrival={rate: 9/s}", "hold=9s")
    with pytest.raises(UsageError, match="on one host"):
        Searched(tmp_path, replace(good, elsewhere=lambda *_, **__: None))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_exit_code_is_that_of_the_worst_search() -> None:
    def code(*walls: float, **changes: Any) -> ExitCode:
        of = searches.matrix_plan(**changes)
        return exit_code(searches.summary(searches.made(of, *walls), of=of))

    assert code(66.0, 196.0) is ExitCode.FINE
    assert code(66.0, 9e3) is ExitCode.FINE
    assert code(66.0, 10.0) is ExitCode.EXPECTATION
    assert code(66.0, 196.0, at_least=60.0) is ExitCode.FINE
    assert code(66.0, 196.0, at_least=100.0) is ExitCode.EXPECTATION
    assert code(66.0) is ExitCode.INCOMPLETE, "the second was never begun"
    assert code(10.0) is ExitCode.EXPECTATION
    assert code(66.0, at_least=60.0) is ExitCode.INCOMPLETE, "not known to be less"
