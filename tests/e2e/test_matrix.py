"""A matrix as its user sees it: cells in labs of their own, one that cannot run, Ctrl-C, the report again."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from .conftest import CHECKOUT, Loadgen, assert_adds_up, wait_until

TWO_BY_TWO = {"sources.strategy": ["late-range", "explicit"], "lab.sysctls.net.ipv4.tcp_tw_reuse": [0, 1]}
CELL_FILES = {"scenario.yaml", "plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json", "report.html"}


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_two_by_two(loadgen: Loadgen) -> None:
    expect = ["outcomes.established == 10", "cells.3.outcomes.failed == 0"]
    done = loadgen("run", loadgen.scenario(connections=10, matrix=TWO_BY_TWO, expect=expect), "--json")
    assert done.code == 0, done.err
    summary = done.summary
    assert summary["complete"]
    assert [tuple(cell["settings"].values()) for cell in summary["cells"]] == [
        (strategy, reuse) for strategy in ("late-range", "explicit") for reuse in (0, 1)
    ]
    for index, cell in enumerate(summary["cells"]):
        (run,) = cell["runs"]
        assert (cell["status"], run["outcomes"]["established"], run["complete"]) == ("done", 10, True)
        assert_adds_up(run)
        path = done.run / "cells" / str(index)
        assert {file.name for file in path.iterdir()} == CELL_FILES
        assert load(path / "summary.json") == run
        assert run["run"] == f"{done.run.name}/cells/{index}"
        assert load(path / "plan.json")["strategy"] == cell["settings"]["sources.strategy"]
        host = load(path / "host.json")["sysctls"]
        assert str(host["net.ipv4.tcp_tw_reuse"]) == str([*cell["settings"].values()][1])
    assert {one["passed"] for one in summary["expect"]} == {True}
    assert load(done.run / "summary.json") == summary
    assert len(list(csv.reader((done.run / "cells.csv").read_text().splitlines()))) == 5
    assert "cell 3 (4 of 4): strategy explicit, tcp_tw_reuse 1" in done.err
    assert 'href="cells/3/report.html"' in (done.run / "report.html").read_text()


def test_an_expectation_that_fails_in_one_cell_fails_the_matrix(loadgen: Loadgen) -> None:
    file = loadgen.scenario(connections=10, matrix={"connections": [5, 6]}, expect=["outcomes.established == 5"])
    done = loadgen("run", file, "--quiet")
    assert done.code == 99
    assert "cell 1: FAIL  outcomes.established == 5, observed 6" in done.out
    assert done.err == ""


def test_a_cell_this_host_cannot_run_is_skipped_with_the_reason(loadgen: Loadgen) -> None:
    file = loadgen.scenario(
        matrix={"connections": [10, 20]}, sources={"addresses": "127.0.1.1", "ports": "40000-40009"}
    )
    done = loadgen("run", file, "--json")
    assert done.code == 0, done.err
    ran, skipped = done.summary["cells"]
    assert (ran["status"], skipped["status"], skipped["runs"]) == ("done", "skipped", [])
    assert "four-tuples: need 20, have 10" in skipped["reason"]
    assert "cell 1 skipped: four-tuples" in done.err
    done = loadgen("run", file, "--set", "expect=[cells.1.outcomes.failed == 0]", "--out", "other")
    assert done.code == 99


def test_nothing_but_skipped_cells_is_no_result(loadgen: Loadgen) -> None:
    file = loadgen.scenario(matrix={"connections": [20]}, sources={"addresses": "127.0.1.1", "ports": "40000-40009"})
    done = loadgen("run", file)
    assert done.code == 3
    assert "skipped: four-tuples" in " ".join(done.out.split())


def test_a_wrong_cell_is_told_before_the_first_one_runs(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(matrix={"connections": [10, 0]}))
    assert done.code == 2
    assert "connections: write at least 1" in done.err
    assert not done.results.exists()


def test_an_interrupt_keeps_the_cells_that_ended(loadgen: Loadgen) -> None:
    file = loadgen.scenario(connections=10, matrix={"hold": ["0s", "50s", "40s"]})
    running = loadgen.start("run", file, "--json")
    (second,) = running.until(lambda: list(running.results.glob("*/cells/1/series.jsonl")), "second cell")
    wait_until(lambda: '"phase":"hold"' in second.read_text(), "hold of the second cell")
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.err
    assert [cell["status"] for cell in done.summary["cells"]] == ["done", "incomplete", "incomplete"]
    assert [len(cell["runs"]) for cell in done.summary["cells"]] == [1, 1, 0]
    assert done.summary["cells"][1]["runs"][0]["open"]["end_of_hold"] == 10
    assert "interrupted" in done.summary["incomplete_because"]
    assert not (done.run / "cells" / "2").exists()


def test_the_report_of_a_killed_matrix_can_be_made(loadgen: Loadgen) -> None:
    file = loadgen.scenario(connections=10, matrix={"hold": ["0s", "50s"]})
    running = loadgen.start("run", file)
    (second,) = running.until(lambda: list(running.results.glob("*/cells/1/series.jsonl")), "second cell")
    wait_until(lambda: '"phase":"hold"' in second.read_text(), "hold of the second cell")
    running.signal(signal.SIGKILL)
    run = running.finish().run
    assert not (run / "summary.json").exists()
    done = loadgen("report", run, "--json")
    assert done.code == 0, done.err
    assert [cell["status"] for cell in done.summary["cells"]] == ["done", "incomplete"]
    assert load(run / "summary.json") == done.summary
    assert (run / "cells" / "1" / "report.html").exists()
    assert loadgen("report", run / "cells" / "0").code == 0
    again = loadgen("report", run)
    assert again.code == 0
    assert "INCOMPLETE" in again.out


@pytest.mark.timeout(180)
def test_the_parity_cliff_at_a_quarter_of_its_height(loadgen: Loadgen) -> None:
    expect = [
        "outcomes.failed == 0",
        "cells.0.cost_last_to_first >= 1.3",
        "cells.2.cost_last_to_first >= 3",
        "cells.3.cost_last_to_first <= 8",
        "cells.4.cost_last_to_first <= 8",
    ]
    sets = ["connections=3000", "lab.sysctls.net.ipv4.ip_local_port_range=10000 12999", f"expect={json.dumps(expect)}"]
    scenario = CHECKOUT / "scenarios" / "parity-cliff.yaml"
    done = loadgen("run", scenario, *(word for one in sets for word in ("--set", one)))
    assert done.code == 0, done.out + done.err
    assert "CPU microseconds per connection" in done.out
