"""Signals that are no Ctrl-C: a closed terminal, Ctrl-\\, Ctrl-Z, and those that reach every process at once."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.terminals import cursor_is_visible, plain

from .conftest import Loadgen, Namespace, Process, assert_adds_up, lines_of, wait_until
from .terminal import Terminal


def only(results: Path) -> Path:
    """The one run directory."""
    (run,) = results.iterdir()
    return run


def events(run: Path, name: str) -> list[str]:
    """The texts of the events of this kind."""
    return [line["text"] for line in lines_of(run / "events.jsonl") if line["event"] == name]


def summary_of(run: Path) -> dict[str, Any]:
    """The summary, after a look at its sums."""
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    assert_adds_up(summary)
    return summary


def wait_stopped(processes: list[Process], timeout_s: float = 10) -> None:
    """Until all of them are stopped."""
    wait_until(lambda: all(process.stopped for process in processes), "stop of all processes", timeout_s)


# --- The end -----------------------------------------------------------------------------------------


def test_ctrl_backslash_stops_at_once_and_reports(loadgen: Loadgen) -> None:
    """As two Ctrl-C do, even where the first of them would wait for a process that is stopped."""
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="30s"), "--json")
    running.until_holding()
    processes = [running.zygote(), *running.forked()]
    running.workers()[0].signal(signal.SIGSTOP)
    running.signal(signal.SIGQUIT)
    wait_until(lambda: not any(process.alive for process in processes), "end of all processes", 3)
    done = running.finish(10)
    assert done.code == 130, done.err
    assert_adds_up(done.summary)
    assert "stopped at once" in done.summary["incomplete_because"]
    assert done.summary["outcomes"]["established"] == 200


def test_timeout_1_lets_the_run_drain(loadgen: Loadgen) -> None:
    """It signals a command and then the command's group, which are one request."""
    running = loadgen.start("run", loadgen.scenario(hold="30s"), "--json")
    running.until_holding()
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGTERM)
    done = running.finish(10)
    assert done.code == 130, done.err
    assert done.summary["incomplete_because"] == "interrupted; drained early"
    assert lines_of(done.run / "series.jsonl")[-1]["open"] == 0


def test_a_signal_to_all_processes_while_they_start(loadgen: Loadgen) -> None:
    """The interpreter of a child process would print a traceback of its own."""
    running = loadgen.start("run", loadgen.scenario(hold="30s"), "--json")
    running.until(lambda: running.process.children(), "first child")
    running.signal_all(signal.SIGINT)
    done = running.finish(20)
    assert (done.code, done.out) == (130, ""), done.err
    assert done.err.splitlines()[-1] == "loadgen: interrupted before any load"
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("args", "number"),
    [
        (("plan", "scenario.yaml"), signal.SIGTERM),
        (("facts",), signal.SIGQUIT),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value.name,
)
def test_a_command_that_is_ended_says_so_in_one_line(
    loadgen: Loadgen, args: tuple[str, ...], number: signal.Signals
) -> None:
    loadgen.scenario(sources={"addresses": "127.1.0.0-127.1.63.255"}, connections=100)
    running = loadgen.start(*args)
    running.until(lambda: running.process.children(), "first child")
    running.signal_all(number)
    done = running.finish(20)
    assert (done.code, done.err) == (130, "loadgen: interrupted\n")


@pytest.mark.parametrize("command", ["run", "watch", "sink"])
def test_a_closed_terminal(loadgen: Loadgen, namespace: Namespace, command: str) -> None:
    """It sends SIGHUP, and cannot be written to any more; a run has its summary, the others end as they always do."""
    scenario = loadgen.scenario(hold="30s")
    args, ready, code = {
        "run": (("run", scenario), "holding", 130),
        "watch": (("watch", "--interval", "100ms"), "sockets:", 0),
        "sink": (("sink", "127.0.0.1:9000", "--workers", "1"), "listening on", 0),
    }[command]
    terminal = Terminal(loadgen, None, command=(*namespace.enter, *loadgen.command, *map(str, args)))
    terminal.read_until(lambda text: ready in plain(text))
    processes = Process.of(terminal.pid).descendants()
    assert terminal.close() == code
    wait_until(lambda: not any(process.alive for process in processes), "end of all processes", 10)
    if command == "run":
        run = only(loadgen.home / "results")
        assert summary_of(run)["incomplete_because"] == "interrupted; drained early"
        assert (run / "report.html").exists()
        assert not list(run.glob("loadgen-crash-*"))


# --- The pause ---------------------------------------------------------------------------------------


def test_ctrl_z_stops_the_load_with_the_run_and_fg_continues_both(loadgen: Loadgen) -> None:
    run = shlex.join([*loadgen.command, "run", str(loadgen.scenario(workers=2, hold="30s"))])
    # A shell with job control, that waits for a line before it continues its job.
    script = f"{run}; echo the shell is back; read; fg"
    terminal = Terminal(loadgen, None, command=("bash", "--norc", "-m", "-c", script))
    terminal.read_until(lambda text: "holding" in text)
    (orchestrator,) = Process.of(terminal.pid).children()
    (zygote,) = orchestrator.children()
    terminal.type(b"\x1a")
    terminal.read_until(lambda text: "the shell is back" in text)
    assert cursor_is_visible(terminal.text)
    wait_stopped([orchestrator, *zygote.children()])
    series = only(loadgen.home / "results") / "series.jsonl"
    before = len(lines_of(series))
    seen = len(terminal.text)
    terminal.type(b"\n")
    terminal.read_until(lambda text: "paused for" in text[seen:] and "holding" in text[seen:])
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    assert cursor_is_visible(terminal.text)
    (text,) = events(series.parent, "paused")
    assert text.endswith("loadgen was stopped (Ctrl-Z or SIGSTOP), and its load with it")
    summary = summary_of(series.parent)
    assert not summary["generator"]["trustworthy"]
    assert text in summary["generator"]["reasons"]
    assert summary["outcomes"]["established"] == 200
    assert summary["open"]["lost"] == 0
    assert len(lines_of(series)) > before


def test_a_stopped_orchestrator_stops_an_open_loop_which_shows_as_lateness(loadgen: Loadgen) -> None:
    """SIGSTOP cannot be caught. Arrivals that fell due meanwhile are late by the pause; the series has a gap."""
    scenario = loadgen.scenario(arrival={"rate": "50/s"}, workers=2)
    running = loadgen.start("run", scenario, "--json")
    running.until_line("some connections", lambda line: line["established"] >= 10)
    orchestrator, processes = running.process, running.forked()
    orchestrator.signal(signal.SIGSTOP)
    wait_stopped(processes)
    running.popen.send_signal(signal.SIGCONT)
    done = running.finish()
    assert done.code == 0, done.err
    assert_adds_up(done.summary)
    assert done.summary["outcomes"]["established"] == 200
    (text,) = events(done.run, "paused")
    assert text in done.summary["generator"]["reasons"]
    verdict = done.summary["verdict"]
    assert verdict["limit"] == "paused"
    assert text in verdict["text"]
    assert verdict["evidence"] == [text]
    assert not any("rate" in remedy for remedy in verdict["remedies"])
    assert not events(done.run, "worker-stalled"), "it is the orchestrator that was stopped"


def test_a_stopped_run_ends_by_the_signals_that_end_it(loadgen: Loadgen) -> None:
    """A shell that exits sends SIGHUP and SIGCONT to its stopped jobs."""
    running = loadgen.start("run", loadgen.scenario(hold="30s"), "--json")
    running.until_holding()
    orchestrator, processes = running.process, running.forked()
    orchestrator.signal(signal.SIGSTOP)
    wait_stopped(processes)
    running.signal(signal.SIGHUP)
    running.signal(signal.SIGCONT)
    done = running.finish(20)
    assert done.code == 130, done.err
    assert done.summary["open"]["lost"] == 0
    assert lines_of(done.run / "series.jsonl")[-1]["open"] == 0, "it did not drain"
