"""A matrix as its user sees it: cells in labs of their own, one that cannot run, Ctrl-C, the report again."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import CHECKOUT, Loadgen, Running, assert_adds_up, assert_one_message, lines_of, wait_until
from .refusals import Refusals

TWO_BY_TWO = {"sources.strategy": ["late-range", "explicit"], "lab.sysctls.net.ipv4.tcp_tw_reuse": [0, 1]}
CELL_FILES = {"scenario.yaml", "plan.json", "host.json", "series.jsonl", "events.jsonl", "summary.json", "report.html"}


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def until_held(running: Running, cell: int) -> Path:
    """Wait until a cell is in its hold; the directory of the matrix."""
    pattern = f"*/cells/{cell}/series.jsonl"
    (series,) = running.until(lambda: list(running.results.glob(pattern)), f"cell {cell}")
    wait_until(lambda: '"phase":"hold"' in series.read_text(), f"hold of cell {cell}")
    return series.parents[2]


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
    assert "run 4 of 4, cell 3: strategy explicit, tcp_tw_reuse 1; about" in done.err
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


def test_a_cell_whose_setting_this_kernel_lacks_is_skipped_and_fails_nothing(loadgen: Loadgen, tmp_path: Path) -> None:
    """tcp_ecn takes 3 since Linux 7.0; a kernel that has it runs the cell."""
    matrix = {"lab.sysctls.net.ipv4.tcp_ecn": [2, 3]}
    scenario = loadgen.scenario(connections=10, matrix=matrix, expect=["cells.1.outcomes.established == 10"])
    done = loadgen("run", scenario, "--json", "--junit", str(tmp_path / "junit.xml"))
    assert done.code == 0, done.err
    first, second = done.summary["cells"]
    assert (first["status"], done.summary["complete"]) == ("done", True)
    junit = (tmp_path / "junit.xml").read_text()
    if second["status"] == "done":
        assert "<skipped" not in junit
        return
    assert (second["status"], done.summary["expect"]) == ("skipped", [])
    assert "Linux 7.0 takes more; the expectation about it is not judged" in second["reason"]
    assert junit.count("<skipped") == 1
    assert "<failure" not in junit
    assert "skipped" in (done.run / "report.html").read_text()
    assert loadgen("report", str(done.run)).out.count("skipped") == 1


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
    until_held(running, cell=1)
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
    until_held(running, cell=1)
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


def rounds_of(events: Path) -> list[tuple[int, int]]:
    """The runs that began, as (cell, round), in their order."""
    return [(line["cell"], line["round"]) for line in lines_of(events) if line["event"] == "cell-started"]


def test_rounds_are_interleaved_and_each_is_a_run_of_its_own(loadgen: Loadgen) -> None:
    expect = ["cells.1.outcomes.established == 6"]
    done = loadgen("run", loadgen.scenario(matrix={"connections": [5, 6]}, repeat=2, expect=expect), "--json")
    assert done.code == 0, done.err
    assert rounds_of(done.run / "events.jsonl") == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert {path.name for path in (done.run / "cells").iterdir()} == {"0", "1", "0-2", "1-2"}
    for index, cell in enumerate(done.summary["cells"]):
        assert (cell["status"], cell["rounds"], len(cell["runs"])) == ("done", [1, 2], 2)
        assert [run["run"] for run in cell["runs"]] == [f"{done.run.name}/cells/{index}{end}" for end in ("", "-2")]
        established = {"median": 5.0 + index, "low": 5.0 + index, "high": 5.0 + index, "runs": 2}
        assert cell["figures"]["established"] == established
    assert done.summary["effects"][0]["strongest"][0]["text"].startswith("connections=6 instead of 5 ")
    assert "run 1 of 4, cell 0, round 1: connections 5\n" in done.err, "before the first has ended nobody knows"
    assert "run 4 of 4, cell 1, round 2: connections 6; about" in done.err
    assert len((done.run / "cells.csv").read_text().splitlines()) == 5
    assert 'href="cells/1-2/report.html"' in (done.run / "report.html").read_text()


def test_repeats_without_a_matrix(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(connections=5, repeat=2))
    assert done.code == 0, done.err
    assert "2 runs of the same" in done.out
    assert rounds_of(done.run / "events.jsonl") == [(0, 1), (0, 2)]


def stopped(loadgen: Loadgen, number: signal.Signals, *args: str) -> Path:
    """The directory of a matrix of two cells, two rounds each, that a signal stopped in its second run."""
    held = ["0s", "50s"]
    file = loadgen.scenario(connections=10, repeat=2, matrix={"hold": held})
    running = loadgen.start("run", file, *args)
    until_held(running, cell=1)
    running.signal(number)
    return running.finish().run


def quicken(run: Path) -> None:
    """Nothing that is 50 s long has to be waited for: the same cells, by name, but of another length."""
    for name in ("scenario.yaml", "matrix.json"):
        file = run / name
        file.write_text(file.read_text().replace("50s", "10ms"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_matrix_goes_on_where_it_was_stopped(loadgen: Loadgen, number: signal.Signals) -> None:
    run = stopped(loadgen, number, "--set", "connections=8")
    kept = (run / "cells" / "0" / "summary.json").read_bytes()
    with (run / "events.jsonl").open("a") as events:
        events.write('{"t_s": 99.0, "ev')  # what a kill may leave
    last_s = lines_of(run / "events.jsonl")[-1]["t_s"]
    quicken(run)
    done = loadgen("run", "--resume", run, "--json")
    assert done.code == 0, done.err
    assert "1 of 4 runs are there already" in done.err
    assert "run 2 of 4, cell 1, round 1" in done.err
    summary = done.summary
    assert (summary["complete"], summary["incomplete_because"]) == (True, None)
    assert [cell["status"] for cell in summary["cells"]] == ["done", "done"]
    assert {run["outcomes"]["established"] for cell in summary["cells"] for run in cell["runs"]} == {8}
    assert (run / "cells" / "0" / "summary.json").read_bytes() == kept
    assert {path.name for path in (run / "cells").iterdir()} == {"0", "1", "1.cut-1", "0-2", "1-2"}
    assert (run / "cells" / "1.cut-1" / "series.jsonl").exists()
    events_after = lines_of(run / "events.jsonl")
    assert rounds_of(run / "events.jsonl") == [(0, 1), (1, 1), (1, 1), (0, 2), (1, 2)]
    times = [line["t_s"] for line in events_after]
    assert times == sorted(times)
    assert next(line for line in events_after if line["event"] == "resumed")["t_s"] >= last_s
    before = (run / "events.jsonl").read_bytes()
    (run / "summary.json").unlink()
    again = loadgen("run", "--resume", run, "--json")
    assert (again.code, again.summary) == (0, summary)
    assert "nothing is left to do" in again.err
    assert (run / "events.jsonl").read_bytes() == before
    assert load(run / "summary.json") == summary


def test_a_skipped_cell_is_tried_again_and_only_its_first_round_is_refused(loadgen: Loadgen) -> None:
    sources = {"addresses": "127.0.1.1", "ports": "40000-40009"}
    done = loadgen("run", loadgen.scenario(matrix={"connections": [10, 20]}, repeat=2, sources=sources), "--json")
    assert [cell["status"] for cell in done.summary["cells"]] == ["done", "skipped"]
    assert rounds_of(done.run / "events.jsonl") == [(0, 1), (1, 1), (0, 2)]
    again = loadgen("run", "--resume", done.run, "--json")
    assert again.code == 0, again.err
    assert [cell["status"] for cell in again.summary["cells"]] == ["done", "skipped"]
    assert rounds_of(done.run / "events.jsonl") == [(0, 1), (1, 1), (0, 2), (1, 1)]


@pytest.fixture
def refusals() -> Iterator[Refusals]:
    """Where labs are made as everywhere else."""
    refusals = Refusals()
    yield refusals
    refusals.close()


def test_what_cannot_be_resumed_is_said_with_the_remedy(loadgen: Loadgen, refusals: Refusals) -> None:
    file = loadgen.scenario(connections=5, matrix={"hold": ["0s", "10ms"]})
    run = loadgen("run", file).run

    def refused(*args: str | Path) -> tuple[int, str]:
        done = refusals(loadgen.home, "run", *args)
        return done.code, " ".join(assert_one_message(done).split())

    for args in ((file, "--resume", run), ("--resume", run, "--set", "hold=1s"), ("--resume", run, "--out", "other")):
        code, message = refused(*args)
        assert (code, "--resume goes on" in message) == (2, True), message
    code, message = refused()
    assert (code, "--resume RUN" in message) == (2, True), message
    for no_matrix in (run / "cells" / "0", loadgen.home / "nowhere", file):
        code, message = refused("--resume", no_matrix)
        assert (code, "is no matrix that could be resumed" in message) == (2, True), message
    matrix = run / "matrix.json"
    good = matrix.read_text()
    for change, expected, said in (
        ({"kernel": "2.6.32"}, 3, "cells of two kernels cannot be compared"),
        ({"repeat": 2}, 2, "means other cells than matrix.json"),
        ({"overrides": ["matrix.hold=[1s, 2s]"]}, 2, "means other cells than matrix.json"),
        ({"overrides": None}, 2, "does not say how it was begun"),
        ({"repeat": -1}, 2, "not a matrix of this version"),
    ):
        matrix.write_text(json.dumps(json.loads(good) | change))
        code, message = refused("--resume", run)
        assert (code, said in message) == (expected, True), message
    matrix.write_text(good)
    assert loadgen("run", "--resume", run).code == 0


def test_two_cannot_write_one_matrix(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(connections=5, matrix={"hold": ["50s", "40s"]}))
    run = until_held(running, cell=0)
    done = loadgen("run", "--resume", run)
    assert (done.code, "another loadgen is at work there" in assert_one_message(done)) == (2, True)
    running.signal(signal.SIGINT)
    assert running.finish().code == 130
    assert [line["event"] for line in lines_of(run / "events.jsonl")] == ["cell-started", "interrupted"]
