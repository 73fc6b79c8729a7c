"""loadgen as a library: what comes back, what is left alone, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

import loadgen
from loadgen import LoadgenError, Result, Scenario, look, run, run_async
from loadgen.errors import CapacityError, ExitCode, ScenarioError, UsageError

from .support import descriptors

#: Ten ports toward one target, and a sink of our own.
SMALL = {
    "name": "small",
    "lab": {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40009"}},
    "sources": {"addresses": "127.0.0.1"},
    "targets": [{"address": "127.0.0.1:9000", "sink": True}],
    "connections": 8,
    "interval": "100ms",
    "expect": ["outcomes.failed == 0"],
}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found.update((task / "children").read_text().split())
    return found


def test_everything_offered_is_there_and_nothing_else() -> None:
    for name in loadgen.__all__:
        assert getattr(loadgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        _ = loadgen.runs


def test_a_run_comes_back_with_its_figures_and_leaves_the_process_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing printed, no handler of ours meanwhile, no child left."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    before = children()
    lines: list[dict[str, Any]] = []

    def watch(line: dict[str, Any]) -> None:
        lines.append(line)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == handlers

    result = run(Scenario.of(SMALL), results=tmp_path, on_line=watch)
    assert isinstance(result, Result)
    assert (result.problems, result.exit_code, result.error) == ([], ExitCode.FINE, None)
    assert result.summary["outcomes"]["established"] == 8
    assert "8 of 8 connections" in result.verdict
    assert result.path.parent == tmp_path
    assert (result.path / "report.html").is_file()
    assert lines[-1]["phase"] == "done"
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == handlers
    assert children() == before


def test_run_after_run_leaves_no_descriptor(tmp_path: Path) -> None:
    """Memory shared with workers and sinks is one: who makes a thousand runs in one process must not run out."""
    run(Scenario.of(SMALL), results=tmp_path)
    before = descriptors()
    run(Scenario.of(SMALL | {"matrix": {"connections": [4, 5]}}), results=tmp_path)
    assert descriptors() == before


def test_what_did_not_hold_is_said(tmp_path: Path) -> None:
    result = run(Scenario.of(SMALL | {"connections": 12}), results=tmp_path, force=True)
    assert result.exit_code is ExitCode.EXPECTATION
    assert result.problems == ["expected outcomes.failed == 0, observed 2"]


def test_a_run_that_opened_nothing_is_a_problem(tmp_path: Path) -> None:
    """Whether anything was expected of it or not; and it ends without the hold."""
    nothing = {"targets": [{"address": "127.0.0.1:9"}], "expect": [], "hold": "10m"}
    result = run(Scenario.of(SMALL | nothing), results=tmp_path)
    assert result.exit_code is ExitCode.EXPECTATION
    assert result.problems == ["expected outcomes.established > 0, observed 0"]
    assert result.summary["verdict"]["limit"] == "refused"


def test_a_scenario_is_a_file_a_text_or_a_dictionary(tmp_path: Path) -> None:
    text = Scenario.of(SMALL).text
    path = tmp_path / "small.yaml"
    path.write_text(text)
    changed = Scenario.load(path, {"connections": 5, "sources.strategy": "late"})
    assert changed.whole.connections == 5
    assert changed.overrides == ("connections=5", 'sources.strategy="late"')
    assert Scenario.parse(text).whole == Scenario.of(SMALL).whole
    with pytest.raises(ScenarioError, match="did you mean"):
        Scenario.load(path, {"conections": 5})
    with pytest.raises(ScenarioError, match="no such file"):
        Scenario.load(tmp_path / "none.yaml")


def test_a_matrix_is_run_cell_by_cell(tmp_path: Path) -> None:
    notices: list[str] = []
    scenario = Scenario.of(SMALL | {"matrix": {"connections": [4, 12]}})
    result = run(scenario, results=tmp_path, force=True, on_notice=notices.append)
    assert [cell["runs"][0]["outcomes"]["established"] for cell in result.summary["cells"]] == [4, 10]
    assert result.problems == ["expected outcomes.failed == 0, observed 2"]
    assert any("cell 1" in notice for notice in notices)


def test_what_cannot_be_is_an_exception_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(CapacityError) as caught:
        run(Scenario.of(SMALL | {"connections": 12}), results=tmp_path)
    assert isinstance(caught.value, LoadgenError)
    assert caught.value.exit_code is ExitCode.HOST
    target = {"targets": [{"address": "203.0.113.1:80"}]}
    with pytest.raises(UsageError, match="--allow"):
        run(Scenario.of(SMALL | target), results=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", LOOPS)
def test_a_run_on_the_loop_that_runs_already(tmp_path: Path, kind: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        result = runner.run(run_async(Scenario.of(SMALL), results=tmp_path))
    assert result.problems == []


@pytest.mark.asyncio
async def test_run_says_what_to_write_inside_a_loop() -> None:
    with pytest.raises(UsageError, match="await run_async"):
        run(Scenario.of(SMALL))


@pytest.mark.parametrize("kind", LOOPS)
def test_a_run_that_is_cancelled_closes_all_that_is_open(tmp_path: Path, kind: str) -> None:
    before = children()

    async def main() -> None:
        held = asyncio.Event()
        scenario = Scenario.of(SMALL | {"hold": "60s"})

        def watch(line: dict[str, Any]) -> None:
            if line["phase"] == "hold":
                held.set()

        task = asyncio.create_task(run_async(scenario, results=tmp_path, on_line=watch))
        await held.wait()
        assert children() > before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(main())
    assert children() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_is_raised_meanwhile_closes_all_that_is_open(tmp_path: Path, error: type[BaseException]) -> None:
    """Ctrl-C comes as the first of them, where nobody has another handler."""
    before = children()

    def watch(line: dict[str, Any]) -> None:
        if line["phase"] == "hold":
            if error is KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise error

    with pytest.raises(error):
        run(Scenario.of(SMALL | {"hold": "60s"}), results=tmp_path, on_line=watch)
    assert children() == before


def test_a_look_at_a_destination_nobody_is_connected_to() -> None:
    assert look("127.0.0.1:1").groups == ()
    with pytest.raises(UsageError, match="write an address"):
        look("nonsense:x")
