"""Runs without a scenario file, scenarios to start from, and the smoke test of one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .conftest import CHECKOUT, Done, Loadgen, assert_adds_up, assert_one_message, environment

OPEN = ("open", "127.0.0.1:9000", "-c", "60", "--from", "127.0.0.2-3", "--rate", "2000/s", "--hold", "100ms", "--lab")
CHURN = ("churn", "127.0.0.1:9000", "--for", "300ms", "-c", "4", "--rate", "200/s", "--lab")


def test_open_is_the_run_of_the_scenario_that_it_prints(loadgen: Loadgen) -> None:
    printed = loadgen(*OPEN, "--print-scenario")
    assert (printed.code, printed.err) == (0, "")
    path = loadgen.home / "printed.yaml"
    path.write_text(printed.out)
    assert not (loadgen.home / "results").exists()
    runs = [loadgen(*OPEN, "--json", "--quiet"), loadgen("run", path, "--json", "--quiet")]
    assert [run.code for run in runs] == [0, 0]
    summaries = [json.loads(run.out) for run in runs]
    for summary in summaries:
        assert (summary["outcomes"]["established"], summary["open"]["end_of_hold"]) == (60, 60)
        assert {row["source"] for row in summary["sources"]} == {"127.0.0.2", "127.0.0.3"}
        assert_adds_up(summary)
    texts = [(run / "scenario.yaml").read_text() for run in sorted((loadgen.home / "results").iterdir())]
    assert texts == [printed.out] * 2


def test_churn_has_a_run_directory_and_a_report(loadgen: Loadgen) -> None:
    done = loadgen(*CHURN, "--out", "runs", "--junit", "j.xml", "--set", "expect=[outcomes.established == 60]")
    assert done.code == 0, done.err
    assert "source address 127.0.0.1: no --from, and the lab has it" in done.err
    (run,) = (loadgen.home / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["scenario"], summary["outcomes"]["established"]) == ("churn", 60)
    assert (run / "report.html").exists()
    assert "outcomes.established == 60" in (loadgen.home / "j.xml").read_text()


def test_with_a_cable_and_the_kernels_choice(loadgen: Loadgen) -> None:
    done = loadgen("open", "198.18.0.1:9000", "-c", "20", "--lab", "--json", "--quiet")
    assert done.code == 0, done.err
    assert [row["source"] for row in json.loads(done.out)["sources"]] == ["198.18.0.2"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("open", "127.0.0.1", "-c", "5"), "HOST:PORT: write address and port"),
        (("open", "127.0.0.1:9000", "-c", "0"), "--connections: write at least 1"),
        (("churn", "127.0.0.1:9000", "--for", "1x"), "--for: write 30s"),
        (("open", "8.8.8.8:80", "-c", "5", "--from", "127.0.0.1"), "add --allow 8.8.8.8/32 --i-am-authorized"),
        (("open", "10.0.0.1:80", "-c", "5", "--lab"), "--lab: a lab has no 10.0.0.1:80"),
        (("open", "127.0.0.1:9000", "-c", "5", "--from", "127.0.0.1", "--strategy", "kernel"), "--strategy kernel"),
        ((*OPEN, "--print-scenario", "--set", "hold=1s"), "--set is for a run"),
        (("scenarios", "wall-28"), 'did you mean "wall-28k"'),
        (("init", "--target", "127.0.0.1:9000", "--connections", "0"), "--connections: write at least 1"),
    ],
)
def test_a_mistake_names_the_option(loadgen: Loadgen, args: tuple[str, ...], message: str) -> None:
    done = loadgen(*args)
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert not (loadgen.home / "results").exists()


def test_scenarios_are_listed_printed_and_copied(loadgen: Loadgen) -> None:
    listed = loadgen("scenarios")
    for path in (CHECKOUT / "scenarios").glob("*.yaml"):
        assert f"{path.stem} " in listed.out
    printed = loadgen("scenarios", "four-tuple").out
    assert loadgen("scenarios", "four-tuple", "--copy").code == 0
    assert loadgen("scenarios", "four-tuple", "--copy", "mine.yaml").code == 0
    assert (loadgen.home / "four-tuple.yaml").read_text() == (loadgen.home / "mine.yaml").read_text() == printed
    again = loadgen("scenarios", "four-tuple", "--copy", "mine.yaml")
    assert again.code == 2
    assert "mine.yaml is there already" in assert_one_message(again)
    assert loadgen("scenarios", "eaddrinuse", "--copy", "mine.yaml", "--force").code == 0
    assert (loadgen.home / "mine.yaml").read_text() != printed


def test_init_writes_a_scenario_that_runs_and_replaces_no_file(loadgen: Loadgen) -> None:
    done = loadgen("init", "web", "--target", "127.0.0.1:9000", "--lab", "--connections", "50")
    assert (done.code, done.out) == (0, "web.yaml: run it with: loadgen run web.yaml\n")
    assert loadgen("run", "web.yaml", "--quiet", "--set", "hold=0s").code == 0
    before = (loadgen.home / "web.yaml").read_text()
    assert "web.yaml is there already" in loadgen("init", "web").err
    assert (loadgen.home / "web.yaml").read_text() == before
    assert loadgen("init", "web", "--force").code == 0
    assert "connections: 1000\n" in (loadgen.home / "web.yaml").read_text()


def on_a_terminal(loadgen: Loadgen, answers: str, *args: str) -> int:
    """Answer the questions of a command; return its exit code."""
    ours, theirs = os.openpty()
    try:
        command = subprocess.Popen(
            [*loadgen.command, *args], stdin=theirs, stdout=theirs, stderr=theirs, cwd=loadgen.home, env=environment()
        )
        os.write(ours, answers.encode())  # the terminal keeps it until it is read
        return command.wait(60)
    finally:
        os.close(ours)
        os.close(theirs)


def test_init_asks_on_a_terminal(loadgen: Loadgen) -> None:
    assert on_a_terminal(loadgen, "127.0.0.1:9100\ny\n2s\n50/s\n", "init", "asked") == 0
    text = (loadgen.home / "asked.yaml").read_text()
    assert all(
        line in text for line in ("  - address: 127.0.0.1:9100\n", "  duration: 2s\n", "arrival: {rate: 50/s}\n")
    )
    assert "lab: {topology: loopback}" in text


def once(loadgen: Loadgen, **changes: object) -> Done:
    return loadgen("run", loadgen.scenario(**{"sources": {"addresses": "127.0.1.1-2"}} | changes), "--once", "--quiet")


def test_once_opens_each_pair_and_names_those_that_fail(loadgen: Loadgen) -> None:
    targets = [{"address": "127.0.0.1:9000", "sink": True, "weight": 5}, {"address": "127.0.0.1:9001"}]
    done = once(loadgen, targets=targets, hold="1h", expect=["outcomes.established == 200"])
    assert done.code == 99
    assert done.out.splitlines()[:3] == [
        "2 of 4 pairs of source and target open",
        "  127.0.1.1 -> 127.0.0.1:9001: connect ECONNREFUSED (refused)",
        "  127.0.1.2 -> 127.0.0.1:9001: connect ECONNREFUSED (refused)",
    ]


def test_once_is_fine_if_all_open_and_no_load_is_made(loadgen: Loadgen) -> None:
    done = once(loadgen, connections=None, churn={"duration": "1h"}, arrival={"rate": "1/h"})
    assert (done.code, done.out.splitlines()[0]) == (0, "2 of 2 pairs of source and target open")
    (run,) = Path(loadgen.home / "results").iterdir()
    assert json.loads((run / "summary.json").read_text())["arrivals"]["scheduled"] == 2


def test_once_is_for_one_run(loadgen: Loadgen) -> None:
    done = once(loadgen, repeat=2)
    assert done.code == 2
    assert "without matrix and repeat" in assert_one_message(done)
