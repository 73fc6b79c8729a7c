"""`loadgen report A B --merge OUT`: runs of several hosts become one, with the commands that a user types."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

from .conftest import Loadgen, assert_adds_up, assert_one_message


def made(loadgen: Loadgen, host: str, *options: str, **changes: object) -> tuple[Path, dict[str, Any]]:
    """A run as a host would make it, each in a lab and in results of its own: its directory and its summary."""
    done = loadgen("run", loadgen.scenario(**changes), "--out", host, "--quiet", "--json", *options)
    assert done.code == 0, done.err
    (path,) = (loadgen.home / host).iterdir()
    return path, done.summary


def test_the_whole_of_two_runs_is_a_run(loadgen: Loadgen) -> None:
    (first, one), (second, two) = made(loadgen, "a"), made(loadgen, "b")
    out = loadgen.home / "both"
    done = loadgen("report", first, second, "--merge", out, "--json")
    assert (done.code, done.err) == (0, "")
    whole = done.summary
    assert_adds_up(whole)
    assert whole["complete"]
    for key in ("established", "failed"):
        assert whole["outcomes"][key] == one["outcomes"][key] + two["outcomes"][key]
    assert whole["sink"]["agrees"]
    assert [agent["outcomes"] for agent in whole["agents"]] == [one["outcomes"], two["outcomes"]]
    assert {row["agent"] for row in whole["sources"]} == {agent["name"] for agent in whole["agents"]}

    shown = loadgen("report", out)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("400 of 400 connections opened")
    for agent in whole["agents"]:
        assert agent["name"] in shown.out
        assert (out / agent["run"] / "report.html").is_file()
    assert "Open connections of each agent" in (out / "report.html").read_text()
    assert "both" in loadgen("runs", loadgen.home).out
    compared = loadgen("compare", first, out)
    assert compared.code == 0, compared.err


def test_the_agent_that_met_its_wall_is_named(loadgen: Loadgen) -> None:
    fine, _ = made(loadgen, "a")
    lab = {"topology": "loopback", "sysctls": {"net.ipv4.ip_local_port_range": "40000 40019"}}
    stopped, wall = made(loadgen, "b", "--force", lab=lab)
    assert wall["verdict"]["limit"] == "four-tuples"
    whole = loadgen("report", fine, stopped, "--merge", loadgen.home / "both", "--json").summary
    verdict, name = whole["verdict"], whole["agents"][1]["name"]
    assert (verdict["limit"], verdict["confidence"]) == ("four-tuples", "certain")
    assert verdict["text"].startswith(f"Agent {name} (1 of 2) met a limit. {name}: ")
    assert all(fact.startswith(f"{name}: ") for fact in verdict["evidence"])
    assert whole["prediction"]["limit"] == "four-tuples"
    assert whole["prediction"]["as_predicted"]


def test_of_a_run_that_was_killed_what_it_wrote_is_part_of_the_whole(loadgen: Loadgen) -> None:
    fine, one = made(loadgen, "a")
    running = loadgen.start("run", loadgen.scenario(hold="60s"), "--quiet")
    line = running.until_holding()
    killed = running.run
    running.signal(signal.SIGKILL)
    running.finish()
    done = loadgen("report", fine, killed, "--merge", loadgen.home / "both", "--json")
    assert done.code == 0, done.err
    whole = done.summary
    assert_adds_up(whole)
    assert not whole["complete"]
    assert whole["outcomes"]["established"] == one["outcomes"]["established"] + line["established"]
    assert "was lost: its run did not come to an end" in whole["incomplete_because"]
    assert whole["verdict"]["limit"] == "incomplete"


def test_what_cannot_be_merged_is_refused_in_one_message_and_nothing_is_made(loadgen: Loadgen, tmp_path: Path) -> None:
    run, _ = made(loadgen, "a")
    other = Path(shutil.copytree(run, tmp_path / "other"))
    out = tmp_path / "both"
    for arguments, words in (
        ([run, "--merge", out], "nothing to merge"),
        ([run, run, "--merge", out], "is given twice"),
        ([run, other], "add --merge OUT"),
        ([run, tmp_path / "absent", "--merge", out], "is no run directory"),
    ):
        done = loadgen("report", *arguments)
        assert done.code == 2
        assert words in assert_one_message(done)
        assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    done = loadgen("report", run, other, "--merge", out)
    assert done.code == 3
    assert str(out) in assert_one_message(done)
    assert [path.name for path in out.iterdir()] == ["mine"]
