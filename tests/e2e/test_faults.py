"""What goes wrong in the middle of a run: processes that die, people who lose patience, disks that fill up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import (
    PAST_64K,
    PATIENCE_S,
    Done,
    Loadgen,
    Namespace,
    Process,
    Running,
    assert_adds_up,
    assert_one_message,
    forbidden,
    lines_of,
    mounted,
    wait_until,
)


def summary_of(done: Done) -> dict[str, Any]:
    """The summary on stdout, after a look at what every run must leave whatever became of it."""
    summary = done.summary
    assert_adds_up(summary)
    assert "Traceback" not in done.err
    assert json.loads((done.run / "summary.json").read_text()) == summary
    assert (done.run / "report.html").stat().st_size > 10_000
    return summary


def incomplete(running: Running, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
    """The summary of a run that ends without one of its processes, which has an exit code of its own."""
    done = running.finish(timeout_s)
    assert done.code == 4, done.err
    summary = summary_of(done)
    assert not summary["complete"]
    return summary


def wait_gone(processes: list[Process], timeout_s: float) -> None:
    """Until none of them is left."""
    wait_until(lambda: not any(process.alive for process in processes), f"end of {processes}", timeout_s)


# --- A worker ----------------------------------------------------------------------------------------


def test_a_worker_killed_in_the_hold_is_noticed_and_its_counts_stay(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="2s"), "--json")
    running.until_holding()
    victim = running.workers()[0]
    victim.signal(signal.SIGKILL)
    running.until_event("worker-lost", timeout_s=1.0)
    summary = incomplete(running)
    assert f"(pid {victim.pid}) was killed by SIGKILL in phase hold" in summary["incomplete_because"]
    assert "while it held 100 connections" in summary["incomplete_because"]
    assert summary["outcomes"]["established"] == summary["arrivals"]["started"] == 200
    assert summary["open"]["peak"] == 200
    assert summary["open"]["end_of_hold"] == 100
    assert summary["open"]["lost"] == 0, "the other side closed nothing"
    assert summary["phases"]["hold_s"] >= 2, "the rest did not go on"
    assert f"pid {victim.pid}" in running.err.read_text()


def test_a_worker_killed_in_the_ramp_leaves_its_share_not_started(loadgen: Loadgen) -> None:
    # A ramp of six seconds, because a test beside many others may be late by one or two.
    scenario = loadgen.scenario(workers=2, connections=1200, arrival={"rate": "200/s"})
    running = loadgen.start("run", scenario, "--json")
    running.until_line("first line", lambda _: True)
    victim = running.workers()[1]
    running.until_line("hundred", lambda line: line["established"] >= 100)
    victim.signal(signal.SIGKILL)
    running.until_event("worker-lost", timeout_s=1.0)
    summary = incomplete(running)
    assert 600 + 40 <= summary["outcomes"]["established"] < 1200
    assert summary["arrivals"]["not_started"] == 1200 - summary["arrivals"]["started"] > 0
    assert summary["phases"]["ramp_s"] > 5.9, "the rest did not keep its schedule"


def test_the_only_worker_killed(loadgen: Loadgen) -> None:
    """Then there is nothing to wait for: the run ends at once, and says why."""
    running = loadgen.start("run", loadgen.scenario(workers=1, hold="30s"), "--json")
    running.until_holding()
    running.workers()[0].signal(signal.SIGKILL)
    summary = incomplete(running, 10)
    assert "killed by SIGKILL" in summary["incomplete_because"]
    assert summary["outcomes"]["established"] == 200


def test_the_only_worker_killed_where_the_run_has_no_sink(loadgen: Loadgen, namespace: Namespace) -> None:
    """Nothing is left that could take a moment, and yet the loss must come before the sum."""
    sink = loadgen.start("sink", "127.0.0.1:9000", "--workers", "1", prefix=namespace.enter)
    sink.until(lambda: "listening on" in sink.err.read_text(), "listening sink")
    scenario = loadgen.scenario(lab=None, targets=[{"address": "127.0.0.1:9000"}], workers=1, hold="30s")
    running = loadgen.start("run", scenario, "--json", prefix=namespace.enter)
    running.until_holding()
    running.workers()[0].signal(signal.SIGKILL)
    summary = incomplete(running, 10)
    sink.signal(signal.SIGINT)
    sink.finish(10)
    assert "killed by SIGKILL" in summary["incomplete_because"]


def test_a_worker_killed_before_it_is_ready(loadgen: Loadgen) -> None:
    # The hold is for a test that is late; it does not begin where a worker is lost before it is ready.
    running = loadgen.start("run", loadgen.scenario(workers=40, hold="10s"), "--json")
    victim = running.until(lambda: next(iter(running.workers()), None), "worker")
    victim.signal(signal.SIGKILL)
    done = running.finish(20)
    assert done.code == 4, done.err
    assert "Traceback" not in done.err


def test_a_stopped_worker_is_called_stalled_and_may_go_on(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="4s"), "--json")
    running.until_holding()
    victim = running.workers()[0]
    victim.signal(signal.SIGSTOP)
    stalled = running.until_event("worker-stalled", timeout_s=4)
    assert f"pid {victim.pid}" in stalled["text"]
    running.until_line("stalled worker", lambda line: line["workers"] == {"alive": 2, "stalled": 1})
    victim.signal(signal.SIGCONT)
    running.until_line(
        "worker that goes on", lambda line: line["t_s"] > stalled["t_s"] and not line["workers"]["stalled"]
    )
    done = running.finish()
    assert done.code == 0, done.err
    summary = summary_of(done)
    assert summary["complete"]
    assert summary["outcomes"]["established"] == 200
    assert not summary["generator"]["trustworthy"]
    assert stalled["text"] in summary["generator"]["reasons"]
    assert stalled["text"] in summary["generator"]["paused"]
    assert summary["verdict"]["limit"] == "paused"


def test_a_stall_shorter_than_the_interval_is_not_hidden(loadgen: Loadgen) -> None:
    """Three seconds without a sign of life in a run that writes a line only every ten."""
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="5s", interval="10s"), "--json")
    running.until_line("end of the ramp", lambda line: line["phase"] == "ramp")
    victim = running.workers()[0]
    victim.signal(signal.SIGSTOP)
    time.sleep(3)  # the fault itself lasts that long
    victim.signal(signal.SIGCONT)
    summary = summary_of(running.finish())
    assert not summary["generator"]["trustworthy"]


def test_the_zygote_killed(loadgen: Loadgen) -> None:
    """All it forked dies with it; what they had counted is still reported."""
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="30s"), "--json")
    running.until_holding()
    processes = running.forked()
    running.zygote().signal(signal.SIGKILL)
    wait_gone(processes, 2)
    summary = incomplete(running, 4)
    assert summary["outcomes"]["established"] == 200


# --- The other side ----------------------------------------------------------------------------------


def test_a_killed_sink_loses_every_connection_and_each_is_counted(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="1s"), "--json")
    running.until_line("sink that has them all", lambda line: line["sink"]["open"] == 200)
    (victim,) = running.sinks()
    victim.signal(signal.SIGKILL)
    running.until_event("sink-lost", timeout_s=1.0)
    summary = incomplete(running, 4)  # the dead have nothing to settle
    assert "sink 0" in summary["incomplete_because"]
    assert summary["outcomes"]["established"] == 200
    assert summary["open"] == {"peak": 200, "end_of_hold": 0, "lost": 200}
    assert [(row["syscall"], row["outcome"]) for row in summary["errors"]] == [("recv", "lost")]
    assert summary["errors"][0]["errno"] in ("EOF", "ECONNRESET")
    assert summary["errors"][0]["count"] == 200


# --- Ctrl-C ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_interrupt_in_the_hold_drains_and_reports(loadgen: Loadgen, number: signal.Signals) -> None:
    """It may be sent to all processes of the run: only the first heeds it."""
    running = loadgen.start("run", loadgen.scenario(hold="30s"), "--json")
    running.until_line("sink that has them all", lambda line: line["sink"]["open"] == 200)
    running.signal_all(number)
    done = running.finish(10)
    assert done.code == 130, done.err
    summary = summary_of(done)
    assert not summary["complete"]
    assert summary["incomplete_because"] == "interrupted; drained early"
    assert summary["outcomes"] == {
        "established": 200,
        "failed": 0,
        "in_flight": 0,
        "retried": 0,
        "late": 0,
        "overtaken": 0,
    }
    assert summary["open"] == {"peak": 200, "end_of_hold": 200, "lost": 0}
    assert summary["sink"]["agrees"]
    series = lines_of(done.run / "series.jsonl")
    assert series[-1]["open"] == series[-1]["sink"]["open"] == 0, "it did not drain"
    assert "interrupted" in done.err


def test_an_interrupt_in_the_ramp_counts_what_was_not_started(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(arrival={"rate": "50/s"}), "--json")
    running.until_line("few connections", lambda line: line["established"] >= 10)
    running.signal(signal.SIGINT)
    done = running.finish(10)
    assert done.code == 130, done.err
    summary = summary_of(done)
    assert summary["arrivals"]["not_started"] == 200 - summary["arrivals"]["started"] > 0
    series = lines_of(done.run / "series.jsonl")
    (*_, interrupted) = (line for line in series if line["phase"] == "ramp")
    assert interrupted["started"] >= 10
    assert summary["arrivals"]["started"] <= interrupted["started"] + 5, "it went on opening connections"
    assert series[-1]["open"] == series[-1]["sink"]["open"] == 0, "it did not drain"


def test_the_second_interrupt_ends_even_a_drain_that_hangs(loadgen: Loadgen) -> None:
    """A stopped worker never reports that it has drained; nothing but the second Ctrl-C ends that soon."""
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="30s"), "--json")
    running.until_holding()
    processes = [running.zygote(), *running.forked()]
    running.workers()[0].signal(signal.SIGSTOP)
    running.signal(signal.SIGINT)
    running.until_event("interrupted")
    running.until_line("drain", lambda line: line["phase"] == "drain")
    time.sleep(0.1)  # two that are closer together are one
    running.signal(signal.SIGINT)
    wait_gone(processes, 1)
    done = running.finish(10)
    assert done.code == 130, done.err
    assert not summary_of(done)["complete"]


#: A plan that takes a moment: thousands of addresses to try.
PLANNING: Final = {"sources": {"addresses": "127.1.0.0-127.1.63.255"}, "connections": 100}


def test_an_interrupt_while_planning(loadgen: Loadgen) -> None:
    """Before there is a run directory, and without a connection."""
    running = loadgen.start("run", loadgen.scenario(**PLANNING), "--json")
    zygote = running.zygote()
    zygote.signal(signal.SIGSTOP)  # for as long as the interrupt needs
    running.deliver(signal.SIGINT)
    zygote.signal(signal.SIGCONT)
    done = running.finish(10)
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    if done.out:
        summary = done.summary
        assert_adds_up(summary)
        assert not summary["complete"]
        assert summary["outcomes"]["established"] == 0


def test_two_interrupts_while_planning(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(**PLANNING), "--json")
    zygote = running.zygote()
    zygote.signal(signal.SIGSTOP)
    running.deliver(signal.SIGINT)
    time.sleep(0.1)  # two that are closer together are one
    running.signal(signal.SIGINT)
    done = running.finish(3)
    assert (done.code, done.err) == (130, "loadgen: interrupted before any load\n")


# --- kill -9, and what can be made of the rest ---------------------------------------------------------


def test_nothing_survives_the_orchestrator_and_the_report_can_be_made(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=3, hold="30s"))
    running.until_line("sink that has them all", lambda line: line["sink"]["open"] == 200)
    processes = [running.zygote(), *running.forked()]
    assert len(processes) == 1 + 3 + 1
    running.signal(signal.SIGKILL)
    wait_gone(processes, 2)
    done = running.finish()
    assert done.code == -signal.SIGKILL
    assert not (done.run / "summary.json").exists()

    # What a kill in the middle of a write would leave; the reader passes over it.
    with (done.run / "series.jsonl").open("a") as series:
        series.write('{"t_s":1.5,"phase":"ho')
    report = loadgen("report", done.run, "--json")
    assert report.code == 0, report.err
    summary = report.summary
    assert_adds_up(summary)
    assert not summary["complete"]
    assert "ended before its summary" in summary["incomplete_because"]
    assert summary["outcomes"]["established"] == 200
    assert summary["open"]["peak"] == 200
    assert json.loads((done.run / "summary.json").read_text()) == summary
    assert "200" in (done.run / "report.html").read_text()


def test_a_stopped_worker_does_not_survive_the_orchestrator_either(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(workers=2, hold="30s"))
    running.until_holding()
    processes = [running.zygote(), *running.forked()]
    running.workers()[0].signal(signal.SIGSTOP)
    running.signal(signal.SIGKILL)
    wait_gone(processes, 2)
    assert running.finish().code == -signal.SIGKILL


def test_kill_before_the_first_line(loadgen: Loadgen) -> None:
    """A plan and nothing else is still a run that can be reported."""
    running = loadgen.start("run", loadgen.scenario(workers=40))
    run = running.run
    running.signal(signal.SIGKILL)
    running.finish()
    (run / "series.jsonl").write_text("")
    report = loadgen("report", run, "--json")
    assert report.code == 0, report.err
    assert_adds_up(report.summary)
    assert report.summary["arrivals"] == {"scheduled": 200, "started": 0, "not_started": 200}
    assert not report.summary["complete"]


# --- Disks -------------------------------------------------------------------------------------------


def on_small_disk(disk: Path, size: str, copy: Path) -> tuple[str, ...]:
    """A prefix: with a file system of that size at `disk`, whose content is in `copy` afterwards."""
    return (
        *mounted(f"mount -t tmpfs -o size={size},mode=777 tmpfs {disk}"),
        *("sh", "-c", f'"$@"; code=$?; cp -r {disk} {copy}; exit $code', "sh"),
    )


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_written(loadgen: Loadgen) -> None:
    disk, copy = loadgen.home / "disk", loadgen.home / "copy"
    disk.mkdir()
    scenario = loadgen.scenario(hold="20s")
    done = loadgen("run", scenario, "--out", disk, "--json", prefix=on_small_disk(disk, "64k", copy))
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    (message,) = (line for line in done.err.splitlines() if "cannot write" in line)
    assert message.startswith(f"loadgen: cannot write {disk}/")
    assert "No space left on device" in message
    (run,) = copy.iterdir()
    times = [line["t_s"] for line in lines_of(run / "series.jsonl")]
    assert 0 < times[-1] < 15, "it did not stop"
    assert not done.summary["complete"]
    assert_adds_up(done.summary)

    report = loadgen("report", run, "--json")
    assert report.code == 0, report.err
    assert not report.summary["complete"]
    assert_adds_up(report.summary)
    assert report.summary["outcomes"]["established"] == 200


@pytest.mark.usefixtures("_mount_namespaces")
def test_a_disk_that_is_full_before_any_load(loadgen: Loadgen) -> None:
    disk, copy = loadgen.home / "disk", loadgen.home / "copy"
    disk.mkdir()
    done = loadgen("run", loadgen.scenario(), "--out", disk, prefix=on_small_disk(disk, "4k", copy))
    assert done.code == 3
    message = assert_one_message(done)
    assert f"cannot write {disk}/" in message
    assert "--out" in message


# --- Whoever reads along goes away ---------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "2> >(head -n 1 >/dev/null)"])
def test_nobody_reads_stderr(loadgen: Loadgen, closed: str) -> None:
    """Progress that cannot be shown is no reason to end, or to measure something else."""
    prefix = ("bash", "-c", f'exec "$@" {closed}', "bash")
    done = loadgen("run", loadgen.scenario(hold="500ms"), "--json", prefix=prefix)
    assert done.code == 0, done.err
    assert done.summary["complete"]
    assert len(lines_of(done.run / "series.jsonl")) > 8


def test_nobody_reads_stdout(loadgen: Loadgen) -> None:
    """The run is over by then; it ends with its own code and without a word from the interpreter."""
    prefix = ("bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash")
    done = loadgen("run", loadgen.scenario(expect=["outcomes.failed == 1"]), "--json", "--quiet", prefix=prefix)
    assert done.code == 99, done.err
    assert done.err == ""


@pytest.mark.parametrize("broken", [">/dev/full", ">&-"])
def test_stdout_that_takes_nothing_costs_nothing_else(loadgen: Loadgen, broken: str) -> None:
    prefix = ("bash", "-c", f'exec "$@" {broken}', "bash")
    done = loadgen("run", loadgen.scenario(), "--junit", loadgen.home / "junit.xml", "--quiet", prefix=prefix)
    assert done.code == 3
    assert "cannot write to stdout" in assert_one_message(done)
    assert (loadgen.home / "junit.xml").read_text().endswith("</testsuites>\n")
    (run,) = (loadgen.home / "results").iterdir()
    assert json.loads((run / "summary.json").read_text())["complete"]
    assert (run / "report.html").exists()


@pytest.mark.parametrize("command", [("doctor",), ("watch", "--once"), ("watch", "--count", "9", "--json"), ("plan",)])
def test_what_looks_at_the_host_says_that_stdout_is_full(loadgen: Loadgen, command: tuple[str, ...]) -> None:
    scenario = [loadgen.scenario()] if command == ("plan",) else []
    done = loadgen(*command, *scenario, prefix=("bash", "-c", 'exec "$@" >/dev/full', "bash"))
    assert done.code == 3
    assert "No space left on device" in assert_one_message(done)


# --- What nobody foresaw, and interrupts when all is done -----------------------------------------------

#: Runs loadgen with a method of the orchestrator replaced.
_CHANGED = """
import os, signal, sys
from loadgen.control.orchestrator import Orchestrator, RunRecord
whole = {method}
def changed(self, *args, **more):
    {before}
    return whole(self, *args, **more)
{method} = changed
from loadgen.__main__ import main
main()
"""


def changed(method: str, before: str, *args: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of loadgen with something done at the beginning of a method."""
    code = _CHANGED.format(method=method, before=before)
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_nobody_foresaw_closes_the_run_directory(loadgen: Loadgen) -> None:
    before = "if self._phase.value == 'hold': raise ZeroDivisionError('not foreseen')"
    out = loadgen.home / "results"
    given = ("run", loadgen.scenario(hold="1s"), "--out", out, "--quiet", "--json")
    code, text, err = changed("Orchestrator._record_line", before, *given)
    assert code == 1
    (run,) = out.iterdir()
    (details,) = run.glob("loadgen-crash-*.txt")
    assert err == f"loadgen: unforeseen ZeroDivisionError: not foreseen; details in {details}; please report it\n"
    assert "Traceback" in details.read_text()
    summary = json.loads(text)
    assert summary == json.loads((run / "summary.json").read_text())
    assert (summary["complete"], summary["incomplete_because"]) == (False, err.removeprefix("loadgen: ").strip())
    assert_adds_up(summary)
    assert (run / "report.html").exists()


def test_an_interrupt_while_the_report_is_written_leaves_it_complete(loadgen: Loadgen) -> None:
    out = loadgen.home / "results"
    given = ("run", loadgen.scenario(), "--out", out, "--quiet", "--json")
    code, text, err = changed("RunRecord.conclude", "os.kill(os.getpid(), signal.SIGINT)", *given)
    assert (code, err) == (130, "loadgen: interrupted when the load was over; the results are complete\n")
    assert json.loads(text)["complete"]
    (run,) = out.iterdir()
    assert (run / "report.html").exists()


# --- No namespaces -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_user_namespaces")
def test_without_namespaces_more_addresses_make_up_for_fewer_ports(loadgen: Loadgen) -> None:
    """The host's own range has 100 ports here, so 1,000 connections need ten sources instead of four."""
    done = loadgen(
        "run",
        PAST_64K,
        *("--set", "connections=1000", "--set", "hold=100ms", "--set", "expect=[outcomes.established == 1000]"),
        "--json",
        prefix=forbidden("40000 40099"),
    )
    assert done.code == 0, done.err
    assert "this host does not let loadgen make a network namespace" in done.err
    assert "Running on the host's own loopback instead" in done.err
    summary = done.summary
    assert summary["outcomes"]["established"] == 1_000
    assert [row["peak_open"] for row in summary["sources"]] == [100] * 10
    assert all(row["source"].startswith("127.") for row in summary["sources"])
    notes = json.loads((done.run / "plan.json").read_text())["notes"]
    assert any("the host's own loopback with its port range 40000-40099" in note for note in notes)
    assert any("6 more source addresses" in note for note in notes)


@pytest.mark.usefixtures("_user_namespaces")
def test_without_namespaces_and_without_fallback_there_is_no_lab(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), prefix=forbidden("40000 40099"))
    assert done.code == 3
    message = assert_one_message(done)
    assert "user.max_net_namespaces" in message
    assert not done.results.exists()
