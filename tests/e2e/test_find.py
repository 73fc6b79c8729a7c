"""`loadgen find` as its user sees it: the answer, how it ends, and how it goes on after an interrupt or a kill."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from loadgen.cluster import certificates
from loadgen.results.schema.json_schema import summary_schema

from .conftest import Done, Loadgen, Namespace, Running, assert_one_message, forbidden, lines_of

VALIDATOR = jsonschema.Draft202012Validator(summary_schema(), format_checker=jsonschema.FormatChecker())
FILES = {"scenario.yaml", "find.json", "trials.jsonl", "events.jsonl", "trials", "summary.json", "report.html"}
NONE_FAILED = ["outcomes.failed == 0"]


def ports(count: int, **sysctls: Any) -> dict[str, Any]:
    """A lab with so many ports."""
    return {"sysctls": {"net.ipv4.ip_local_port_range": f"40000 {39_999 + count}", **sysctls}}


def search(loadgen: Loadgen, **changes: Any) -> Path:
    """A scenario that searches for the number of connections, with one trial for each end; its wall is at 64."""
    find = {"vary": "connections", "from": 16, "to": 200, "agree": 1, **changes.pop("find", {})}
    return loadgen.scenario(**{"lab": ports(64), "connections": 16, "expect": NONE_FAILED, "find": find} | changes)


def churn(loadgen: Loadgen, duration: str, **changes: Any) -> Path:
    """A scenario that searches for the rate of churn, with one trial for each end."""
    find = {"vary": "arrival.rate", "agree": 1, **changes.pop("find", {})}
    keys = {"connections": None, "churn": {"duration": duration}, "arrival": {"rate": "100/s"}, "expect": NONE_FAILED}
    return loadgen.scenario(**keys, find=find, **changes)


def summary_of(done: Done) -> dict[str, Any]:
    """The summary on stdout, of the shape that `loadgen schema summary` prints."""
    assert list(VALIDATOR.iter_errors(done.summary)) == []
    return done.summary


def trials(path: Path) -> list[tuple[float, str]]:
    """The trials of a directory that came to an end."""
    return [(trial["value"], trial["outcome"]) for trial in lines_of(path / "trials.jsonl")]


def listing(loadgen: Loadgen) -> list[dict[str, Any]]:
    """The lines of `loadgen runs`."""
    runs: list[dict[str, Any]] = json.loads(loadgen("runs", "--json").out)["runs"]
    return runs


def until_trial_holds(running: Running, number: int) -> Path:
    """Wait until a trial is in its hold; the directory of the search."""
    (series,) = running.until(lambda: list(running.results.glob(f"*/trials/{number}/series.jsonl")), f"trial {number}")
    running.until(lambda: '"phase":"hold"' in series.read_text(), f"hold of trial {number}")
    return series.parents[2]


# --- Answers ------------------------------------------------------------------------------------------------------


def test_the_wall_is_found_to_the_connection(loadgen: Loadgen) -> None:
    done = loadgen("find", search(loadgen, find={"from": 32, "to": 100}), "--json")
    assert done.code == 0, done.err
    found = summary_of(done)
    assert (found["schema"], found["kind"], found["complete"]) == ("loadgen.find/1", "found", True)
    assert (found["value"], found["low"], found["high"], found["limit"]) == (64, 64, 65, "four-tuples")
    assert found["predicted"] == 64
    assert (found["key"], found["unit"], found["start"], found["stop"]) == ("connections", "", 32, 100)
    made = [(trial["value"], trial["outcome"]) for trial in found["trials"]]
    assert made[:3] == [(32, "held"), (64, "held"), (100, "failed")]
    assert all((outcome == "held") == (value <= 64) for value, outcome in made)
    assert {path.name for path in done.run.iterdir()} == FILES
    assert json.loads((done.run / "summary.json").read_text()) == found
    assert trials(done.run) == made
    page = (done.run / "report.html").read_text()
    for number, (value, _) in enumerate(made, 1):
        run = json.loads((done.run / "trials" / str(number) / "summary.json").read_text())
        assert run["arrivals"]["scheduled"] == value
        assert run["run"] == f"{done.run.name}/trials/{number}"
        assert f'href="trials/{number}/report.html"' in page
        assert (done.run / "trials" / str(number) / "report.html").exists()
    assert f"trial {len(made)}: connections" in done.err
    (listed,) = listing(loadgen)
    assert (listed["kind"], listed["limit"], listed["scenario"]) == ("find", "four-tuples", "small")
    assert "64 holds and 65 fails" in listed["headline"]
    again = loadgen("report", done.run, "--json")
    assert (again.code, again.summary) == (0, found)
    assert "64 to 65 (found)" in loadgen("report", done.run).out


def test_the_ceiling_of_churn_is_that_of_time_wait(loadgen: Loadgen) -> None:
    """400 ports, each at rest for one second: 400/s."""
    lab = ports(400, **{"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.tcp_tw_reuse_delay": 1000})
    # With 4 % it ends at 390/s and 405/s. 397/s, which 3 % would try, leaves 7 ms of a second for what is late.
    find = {"from": "360/s", "to": "480/s", "precision": "4%", "agree": 2}
    done = loadgen("find", churn(loadgen, "1.6s", lab=lab, find=find), "--json")
    assert done.code == 0, done.err
    found = summary_of(done)
    assert found["kind"] == "found"
    assert found["limit"] == "time-wait"
    assert found["predicted"] == 400
    assert 0.95 * 400 <= found["low"] <= found["high"] <= 1.03 * 400


def test_one_run_goes_up_in_steps(loadgen: Loadgen) -> None:
    find = {"from": 200, "to": 400, "precision": "10%", "mode": "continuous", "agree": 2}
    keys = {"lab": ports(300), "arrival": {"rate": "4000/s"}, "hold": "150ms", "find": find}
    done = loadgen("find", search(loadgen, **keys), "--json")
    assert done.code == 0, done.err
    found = summary_of(done)
    assert (found["kind"], found["low"], found["high"], found["mode"]) == ("found", 292, 321, "continuous")
    assert found["limit"] == "four-tuples"
    assert [(trial["run"], trial["value"], trial["stage"]) for trial in found["trials"]] == [
        *[("trials/1", 292, "step"), ("trials/1", 321, "step")],
        *[("trials/3", 292, "step"), ("trials/3", 321, "step")],
    ]
    assert {path.name for path in (done.run / "trials").iterdir()} == {"1", "3"}
    opened = json.loads((done.run / "trials" / "1" / "summary.json").read_text())
    assert opened["open"]["peak"] == 300, "the whole range, in one run that closed nothing before"
    because = "interrupted by the search, because a step failed; drained early"
    assert opened["incomplete_because"] == because, "nobody pressed Ctrl-C"


def test_each_cell_of_a_matrix_has_its_answer(loadgen: Loadgen) -> None:
    """100 ports: for 0.8 s without reuse, or every 0.4 s with it."""
    find = {"from": "80/s", "to": "640/s", "precision": "40%", "at_least": "150/s"}
    lab = ports(100, **{"net.ipv4.tcp_tw_reuse_delay": 400})
    matrix = {"lab.sysctls.net.ipv4.tcp_tw_reuse": [0, 1]}
    done = loadgen("find", churn(loadgen, "800ms", lab=lab, matrix=matrix, find=find), "--json")
    found = summary_of(done)
    without, reuse = found["searches"]
    assert (without["kind"], reuse["kind"]) == ("found", "found")
    assert without["low"] <= 125 <= without["high"]
    assert reuse["low"] <= 250 <= reuse["high"] * 1.1
    assert found["effects"][0].startswith("tcp_tw_reuse=1 lifts arrival.rate from ")
    assert [row["passed"] for row in found["expect"]] == [False, True]
    assert done.code == 99, "the first cell holds less than it was to hold at least"


def test_where_not_even_the_lowest_value_holds(loadgen: Loadgen) -> None:
    done = loadgen("find", search(loadgen, find={"from": 70}), "--json", "--junit", "junit.xml")
    assert done.code == 99, done.err
    found = summary_of(done)
    assert (found["kind"], found["value"], found["low"], found["high"]) == ("below", None, None, 70)
    assert "not even 70 holds" in found["verdict"]["text"]
    (suite,) = ET.parse(loadgen.home / "junit.xml").getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("2", "1", "0")


@pytest.mark.parametrize(("at_least", "code"), [("20", 0), ("30", 99)])
def test_where_the_highest_value_holds(loadgen: Loadgen, at_least: str, code: int) -> None:
    """By the options alone. More than what was tried is not known to hold."""
    file = loadgen.scenario(lab=ports(64), connections=16, expect=NONE_FAILED)
    options = ["--vary", "connections", "--from", "10", "--to", "20", "--precision", "50%", "--at-least", at_least]
    done = loadgen("find", file, *options, "--set", "find.agree=1", "--quiet")
    assert done.code == code
    assert done.err == ""
    assert "20 or more (above)" in done.out
    assert ("FAIL" in done.out) == (code == 99)


def test_a_target_that_fails_at_random_decides_nothing(loadgen: Loadgen) -> None:
    """A coin has no limit, and a search that met one does not say that it found any."""
    target = {"address": "127.0.0.1:9000", "sink": {"speaks": "echo", "drop": "7%"}}
    keys = {"lab": {}, "protocol": "echo", "timeout": "300ms", "targets": [target], "expect": ["traffic.replies == 10"]}
    find = {"vary": "arrival.rate", "from": "1000/s", "to": "2000/s", "agree": 2, "trials": 8}
    done = loadgen("find", search(loadgen, connections=10, arrival={"rate": "1000/s"}, find=find, **keys), "--json")
    found = summary_of(done)
    assert len(found["trials"]) <= 8
    assert done.code == {"undecided": 4, "below": 99, "above": 0, "found": 0}[found["kind"]]
    if found["kind"] == "undecided":
        assert "undecided, because" in found["verdict"]["text"]


# --- Ends without an answer ---------------------------------------------------------------------------------------


def test_the_time_is_used_up(loadgen: Loadgen) -> None:
    done = loadgen("find", search(loadgen, hold="400ms", find={"time": "1s"}), "--json")
    assert done.code == 4, done.err
    found = summary_of(done)
    assert (found["kind"], found["complete"]) == ("undecided", True)
    assert "the time was used up" in found["verdict"]["text"]
    assert done.err.count("the time of the search, 1 s, is used up") == 1
    assert 1 <= len(found["trials"]) <= 3


@pytest.mark.usefixtures("_user_namespaces")
def test_a_refusal_of_this_host_says_nothing_of_the_value_and_ends_the_search(loadgen: Loadgen) -> None:
    done = loadgen("find", search(loadgen), "--json", prefix=forbidden("40000 40063"))
    assert done.code == 4, done.err
    found = summary_of(done)
    assert [(trial["outcome"], trial["run"]) for trial in found["trials"]] == [("unknown", None)] * 3
    assert found["trials"][0]["reason"].startswith("refused: ")
    assert "trials did not work" in found["verdict"]["text"]


def test_a_host_that_is_too_small_for_a_value_is_its_limit(loadgen: Loadgen) -> None:
    """Each worker needs a source port at least: more of them than ports is refused before any load."""
    find = {"vary": "workers", "from": 1, "to": 16, "precision": "50%"}
    done = loadgen("find", search(loadgen, lab=ports(3), connections=2, find=find), "--json")
    assert done.code == 0, done.err
    found = summary_of(done)
    assert (found["kind"], found["low"], found["high"]) == ("found", 3, 4)
    refused = [trial for trial in found["trials"] if trial["outcome"] == "failed"]
    assert all(trial["run"] is None and "source ports, one per worker" in trial["reason"] for trial in refused)
    assert "It fails with: refused: " in found["verdict"]["text"]


# --- Interrupts, kills, and going on ------------------------------------------------------------------------------


def answer_of(summary: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(summary[key] for key in ("kind", "value", "low", "high", "limit"))


def interrupted(running: Running, number: signal.Signals = signal.SIGINT) -> Done:
    """What a search leaves that is asked to end."""
    running.signal(number)
    done = running.finish()
    assert done.code == 130, done.err
    summary = summary_of(done)
    assert (summary["complete"], summary["kind"]) == (False, "undecided")
    assert "interrupted" in summary["incomplete_because"]
    return done


def test_an_interrupt_before_the_first_trial_has_ended(loadgen: Loadgen) -> None:
    running = loadgen.start("find", search(loadgen, find={"to": 32}, hold="20s"), "--json")
    (plan,) = running.until(lambda: list(running.results.glob("*/find.json")), "find.json")
    second = loadgen("find", "--resume", plan.parent)
    assert second.code == 2
    assert "another loadgen is at work there" in assert_one_message(second)
    done = interrupted(running, signal.SIGTERM)
    assert done.summary["trials"] == []
    assert "nothing is known" in done.summary["verdict"]["text"]
    assert "--resume goes on" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_search_goes_on_where_it_was_stopped(loadgen: Loadgen, number: signal.Signals) -> None:
    """In its second trial, which is set aside and made again."""
    running = loadgen.start("find", search(loadgen, hold="600ms", find={"to": 32}), "--json")
    path = until_trial_holds(running, 2)
    if number is signal.SIGKILL:
        running.signal(number)
        running.finish()
        report = loadgen("report", path, "--json")
        assert report.code == 0, report.err
        assert "cut off" in summary_of(report)["incomplete_because"]
        with (path / "trials.jsonl").open("a") as file:
            file.write('{"number": 2, "va')  # what a kill may leave
    else:
        assert [trial["value"] for trial in interrupted(running).summary["trials"]] == [16]
    (listed,) = listing(loadgen)
    assert listed["kind"] in ("unfinished", "running")
    kept = (path / "trials" / "1" / "summary.json").read_bytes()
    done = loadgen("find", "--resume", path, "--json")
    assert done.code == 0, done.err
    found = summary_of(done)
    assert answer_of(found) == ("above", 32, 32, None, "none")
    assert trials(path) == [(16, "held"), (32, "held")]
    assert (path / "trials" / "1" / "summary.json").read_bytes() == kept
    assert {each.name for each in (path / "trials").iterdir()} == {"1", "2", "2.cut-1"}
    assert "resumed" in {event["event"] for event in lines_of(path / "events.jsonl")}
    assert found["duration_s"] >= 2 * 0.6


def test_an_interrupt_between_two_trials_on_the_host_itself(loadgen: Loadgen, namespace: Namespace) -> None:
    """There the next trial waits for TIME-WAIT to end; so does the first one after a resume."""
    file = search(loadgen, lab=None, find={"to": 32, "settle": "2s"})
    waiting = "until 32 sockets of the trial before are gone"  # at both ends, TIME-WAIT is at one of them
    running = loadgen.start("find", file, "--json", prefix=namespace.enter)
    running.until(lambda: "of the trial before are gone" in running.err.read_text(), "wait between the trials")
    done = interrupted(running)
    assert [trial["value"] for trial in done.summary["trials"]] == [16]
    assert waiting.partition(" 32 ")[0] in done.err
    running = loadgen.start("find", "--resume", done.run, "--json", prefix=namespace.enter)
    running.until(lambda: "of the trial before are gone" in running.err.read_text(), "wait after the resume")
    interrupted(running)
    done = loadgen("find", "--resume", done.run, "--json", prefix=namespace.enter)
    assert done.code == 0, done.err
    assert "are still there; going on" in done.err
    assert answer_of(summary_of(done)) == ("above", 32, 32, None, "none")


def test_what_cannot_be_resumed(loadgen: Loadgen) -> None:
    done = loadgen("find", search(loadgen, find={"from": 70}), "--quiet")
    path = done.run
    for args, said in (
        ((path, "--set", "hold=1s"), "leave --set out"),
        ((path, "--from", "5"), "leave --from out"),
        ((path / "trials" / "1",), "is no search that could be resumed"),
        ((loadgen.home / "nowhere",), "is no search that could be resumed"),
    ):
        refused = loadgen("find", "--resume", *args)
        assert refused.code == 2
        assert said in assert_one_message(refused)
    scenario = (path / "scenario.yaml").read_text()
    for change in (("outcomes.failed == 0", "outcomes.failed <= 9"), ('"to": 200', '"to": 300'), ("9000", "9001")):
        (path / "scenario.yaml").write_text(scenario.replace(*change))
        refused = loadgen("find", "--resume", path)
        assert refused.code == 2
        assert "put scenario.yaml back" in assert_one_message(refused)
    (path / "scenario.yaml").write_text(scenario)
    plan = json.loads((path / "find.json").read_text())
    (path / "find.json").write_text(json.dumps(plan | {"kernel": "5.4.0"}))
    refused = loadgen("find", "--resume", path)
    assert refused.code == 3
    assert "trials of two kernels cannot be compared" in assert_one_message(refused)
    (path / "find.json").write_text(json.dumps(plan))
    assert loadgen("find", "--resume", path, "--quiet").code == 99, "nothing is left to try"
    assert trials(path) == [(70, "failed")]


# --- Usage --------------------------------------------------------------------------------------------------------


def test_what_is_refused_before_anything_is_written(loadgen: Loadgen) -> None:
    plain = loadgen.scenario(connections=16, expect=NONE_FAILED)
    steps = {"mode": "continuous", "from": 16, "to": 32}
    for args, said in (
        ((plain,), "add --vary KEY --from VALUE --to VALUE"),
        ((plain, "--vary", "connections", "--from", "9"), 'to is missing; add to: "20000/s"'),
        ((plain, "--vary", "conections", "--from", "1", "--to", "2"), "connections"),
        ((), "Missing argument 'SCENARIO'"),
    ):
        refused = loadgen("find", *args)
        assert refused.code == 2
        assert said in assert_one_message(refused)
    for hold, arrival, said in (("10ms", {"rate": "100/s"}, "at least hold: 0.15s"), ("1s", None, "arrival: {rate")):
        refused = loadgen("find", search(loadgen, hold=hold, arrival=arrival, find=steps))
        assert refused.code == 2
        assert said in assert_one_message(refused)
    assert not (loadgen.home / "results").exists()


def test_one_run_of_a_search(loadgen: Loadgen) -> None:
    file = search(loadgen)
    refused = loadgen("run", file)
    assert refused.code == 2
    message = assert_one_message(refused)
    assert f"loadgen find {file}" in message
    assert "--set find=null" in message
    done = loadgen("run", file, "--set", "find=null", "--json")
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 16


# --- On several hosts ---------------------------------------------------------------------------------------------


def test_two_agents_find_what_both_can(loadgen: Loadgen, namespace: Namespace) -> None:
    """Each has a lab of its own with 64 ports: the number that varies is that of the whole."""
    pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")
    certs = loadgen.home / "certs"
    certificates.write(certs, ["a", "b"])
    shared = ("--certs", str(certs))
    for name in "ab":
        at = ("--coordinator", "tls://127.0.0.1:9786", "--name", name, "--results", f"of-{name}")
        loadgen.start("agent", *at, *shared, prefix=namespace.enter)
    find = {"from": 100, "to": 160, "precision": "20%"}
    file = search(loadgen, connections=100, close="rst", find=find)
    done = loadgen("find", file, "--agents", "2", *shared, "--json", prefix=namespace.enter)
    assert done.code == 0, done.err
    found = summary_of(done)
    assert (found["kind"], found["limit"], found["predicted"]) == ("found", "four-tuples", 128)
    assert found["low"] <= 128 < found["high"]
    for number, trial in enumerate(found["trials"], 1):
        run = json.loads((done.run / "trials" / str(number) / "summary.json").read_text())
        assert run["arrivals"]["scheduled"] == trial["value"]
        assert [agent["name"] for agent in run["agents"]] == ["a", "b"]
    steps = ("--set", "find.mode=continuous", "--set", "arrival.rate=9/s", "--set", "hold=1s")
    refused = loadgen("find", file, "--agents", "2", *shared, *steps, prefix=namespace.enter)
    assert refused.code == 2
    assert "on one host" in assert_one_message(refused)
    cells = ("--set", "matrix.close=[fin, rst]")
    refused = loadgen("find", file, "--agents", "2", *shared, *cells, prefix=namespace.enter)
    assert refused.code == 2
    assert "takes no matrix" in assert_one_message(refused)
