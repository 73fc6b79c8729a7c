"""Processes that are lost or stand still: each is noticed and named with how it ended, and no wait for it lasts."""

from __future__ import annotations

import re
import signal
from typing import Any, Final

import pytest

from .conftest import Loadgen, Running, assert_adds_up, assert_one_message

KILL, STOP, CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
#: Far below the sums of what a run would wait for that does not notice, and far above what it needs.
BOUND_S: Final = 25.0
PROBE: Final = {"name": "listener", "when": "hold", "kind": "listen", "ports": "9500"}
PLANNING: Final = {"sources": {"addresses": "127.1.0.0-127.1.63.255"}, "connections": 100}


def ended(running: Running) -> dict[str, Any]:
    """The summary of a run that says that it is incomplete, by its exit code and in its verdict."""
    done = running.finish(BOUND_S)
    assert done.code == 4, done.err
    assert "Traceback" not in done.err
    summary = done.summary
    assert_adds_up(summary)
    assert not summary["complete"]
    assert summary["incomplete_because"] in summary["verdict"]["text"]
    return summary


# --- A sink ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "phase", "rate", "hold", "words"),
    [
        (KILL, "ramp", "50/s", "100ms", r"was killed by SIGKILL in phase ramp"),
        (STOP, "hold", "1000/s", "6s", r"gave no sign of life for [0-9]+ s and was killed in phase drain"),
    ],
)
def test_one_sink_of_two_is_lost(
    loadgen: Loadgen, number: signal.Signals, phase: str, rate: str, hold: str, words: str
) -> None:
    """The run does not wait for what it would have read and accepted."""
    # A ramp of ten seconds and a hold of six, because a test beside many others may be late.
    scenario = loadgen.scenario(workers=1, sinks=2, connections=500, arrival={"rate": rate}, hold=hold)
    running = loadgen.start("run", scenario, "--json")
    victim = running.until(lambda: running.sinks()[1:2], "second sink")[0]
    running.until_line("connections", lambda line: line["phase"] == phase and line["established"] > 20)
    victim.signal(number)
    summary = ended(running)
    assert re.fullmatch(rf"sink 1 \(pid {victim.pid}\) {words}", summary["incomplete_because"])
    assert summary["phases"]["drain_s"] < 8, "it waited for the dead"


def test_a_sink_that_goes_on_is_not_hidden(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=1, hold="8s"), "--json")
    (victim,) = running.until(running.sinks, "sink")
    running.until_holding()
    victim.signal(STOP)
    stalled = running.until_event("sink-stalled", timeout_s=6)
    assert f"pid {victim.pid}" in stalled["text"]
    assert "it is stopped" in stalled["text"]
    victim.signal(CONT)
    done = running.finish(BOUND_S)
    assert done.code == 0, done.err
    assert "goes on after" in done.err
    assert stalled["text"] in done.summary["generator"]["reasons"]
    assert done.summary["verdict"]["limit"] == "paused"


# --- The zygote --------------------------------------------------------------------------------------


def test_a_zygote_that_is_killed_is_named_with_how_it_ended(loadgen: Loadgen) -> None:
    """Once, and not with every process that it took with it."""
    running = loadgen.start("run", loadgen.scenario(workers=3, hold="30s"), "--json")
    running.until_holding()
    zygote = running.zygote()
    zygote.signal(KILL)
    summary = ended(running)
    assert summary["incomplete_because"] == (
        f"the zygote (pid {zygote.pid}), the parent of workers and sinks, was killed by SIGKILL in phase hold, "
        "and they with it"
    )
    assert summary["outcomes"]["established"] == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probes": [PROBE]}, "was stopped for 5 s and was killed in phase drain, and they with it"),
        ({}, "was stopped when the run ended, and was killed"),
    ],
    ids=["a probe is due", "the lab ends"],
)
def test_a_zygote_that_is_stopped_in_the_hold(loadgen: Loadgen, changes: dict[str, Any], words: str) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=1, hold="500ms", **changes), "--json")
    running.until_holding()
    running.zygote().signal(STOP)
    assert words in ended(running)["incomplete_because"]


@pytest.mark.parametrize("command", ["run", "plan", "sink"])
def test_a_zygote_that_is_stopped_at_the_start(loadgen: Loadgen, command: str) -> None:
    """Whatever the command wants of it; a matrix and --prove make runs."""
    what = "127.0.0.1:19321" if command == "sink" else loadgen.scenario(**PLANNING)
    running = loadgen.start(command, what)
    zygote = running.zygote()
    zygote.signal(STOP)
    done = running.finish(BOUND_S)
    assert done.code == 4, done.err
    assert f"the zygote (pid {zygote.pid}), the parent of workers and sinks, was stopped for 5 s" in (
        assert_one_message(done)
    )


# --- Sinks without a run -------------------------------------------------------------------------------


def listening_sinks(loadgen: Loadgen) -> Running:
    running = loadgen.start("sink", "127.0.0.1:19322", "--workers", "2")
    running.until(lambda: "listening on" in running.err.read_text(), "listening sinks")
    return running


def test_sinks_without_a_run_and_one_of_them_stopped(loadgen: Loadgen) -> None:
    """Ctrl-C ends them soon, and does not pass over it."""
    running = listening_sinks(loadgen)
    running.sinks()[0].signal(STOP)
    running.until(lambda: "sink 0 (pid" in running.err.read_text(), "stalled sink")
    running.signal(signal.SIGINT)
    done = running.finish(10)
    assert done.code == 4, done.err
    assert "gives no sign of life, so its counts are not final" in done.err


def test_sinks_without_a_run_and_their_parent_killed(loadgen: Loadgen) -> None:
    running = listening_sinks(loadgen)
    running.zygote().signal(KILL)
    done = running.finish(10)
    assert done.code == 4, done.err
    assert "the parent of workers and sinks, was killed by SIGKILL; start it again" in done.err


# --- A connection that no event ends ------------------------------------------------------------------


def test_resets_in_handshakes_of_https_are_counted_and_hold_up_nothing(loadgen: Loadgen) -> None:
    """uvloop may forget a socket whose reset comes before it has been told of it."""
    sink = {"speaks": "http", "tls": True, "drop": "50%"}
    scenario = loadgen.scenario(
        workers=1,
        connections=40,
        protocol="http",
        tls={},
        heartbeat={"every": "100ms"},
        targets=[{"address": "127.0.0.1:9000", "sink": sink}],
        hold="300ms",
    )
    done = loadgen("run", scenario, "--json")
    assert done.code == 0, done.err
    assert "unforeseen" not in done.err
    assert_adds_up(done.summary)
    assert done.summary["outcomes"]["failed"] + done.summary["open"]["lost"] == 20


def test_a_target_is_not_blamed_for_answers_that_came_while_the_worker_stood_still(loadgen: Loadgen) -> None:
    """They are more than a turn of the event loop reads, and none is given up before it had a look at them."""
    scenario = loadgen.scenario(
        connections=None,
        hold=None,
        arrival=None,
        churn={"duration": "5s", "concurrency": 100, "exchanges": 1000},
        protocol="http",
        tls={},
        targets=[{"address": "127.0.0.1:9000", "sink": {"speaks": "http", "tls": True, "delay": "300ms"}}],
        timeout="1s",
        workers=1,
    )
    running = loadgen.start("run", scenario, "--json", "--quiet", "--force")
    running.until_line("reply", lambda line: line["established"] == 100 and line["latency_ns"]["exchange"])
    running.workers()[0].signal(STOP)
    before = running.series[-1]
    running.until_line("pause", lambda line: line["t_s"] > before["t_s"] + 2)
    running.workers()[0].signal(CONT)
    summary = running.finish().summary
    assert_adds_up(summary)
    assert summary["open"]["lost"] == before["lost"]
