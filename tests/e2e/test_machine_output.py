"""What programs get: JSON alone on stdout and true to its schema, JUnit, step summaries, completion."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from loadgen.results.schema.json_schema import summary_schema

from .conftest import CHECKOUT, Done, Loadgen, Namespace, assert_one_message, environment

SUMMARY = jsonschema.Draft202012Validator(summary_schema(), format_checker=jsonschema.FormatChecker())
TARGET = [{"address": "127.0.0.1:9000", "sink": True}]
KINDS: dict[str, dict[str, Any]] = {
    "hold": {"expect": ["outcomes.established == 20"]},
    "churn": {"connections": None, "churn": {"duration": "300ms", "concurrency": 4}},
    "heartbeat": {"heartbeat": {"every": "100ms"}, "hold": "300ms"},
    "tls": {"protocol": "echo", "tls": {"resume": True}, "targets": [{**TARGET[0], "sink": {"tls": True}}]},
    "udp": {"transport": "udp", "protocol": "echo"},
    "cable": {
        "lab": {"topology": "veth"},
        "sources": {"addresses": "198.18.0.1"},
        "targets": [{"address": "198.19.0.1:9000", "sink": True}],
    },
    "probes": {
        "probes": [
            {"name": "one", "when": "hold"},
            {"name": "other", "when": "after", "kind": "listen", "ports": 9100},
        ]
    },
    "matrix": {
        "matrix": {"sources.strategy": ["late", "bind"]},
        "repeat": 2,
        "expect": ["cells.0.outcomes.failed == 0"],
    },
    "matrix of churn": {
        "connections": None,
        "churn": {"duration": "200ms", "concurrency": 2},
        "matrix": {"close": ["fin", "rst"]},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_of_a_real_run_fits_its_schema(loadgen: Loadgen, kind: str) -> None:
    done = loadgen("run", loadgen.scenario(**{"connections": 20, **KINDS[kind]}), "--json", "--junit", "junit.xml")
    assert done.code == 0, done.err
    SUMMARY.validate(done.summary)
    assert done.summary == json.loads((done.run / "summary.json").read_text())
    again = loadgen("report", done.run, "--json")
    assert (again.code, again.err) == (0, "")
    SUMMARY.validate(again.summary)
    root = ET.parse(loadgen.home / "junit.xml").getroot()
    assert (root.attrib["failures"], root.attrib["errors"]) == ("0", "0")
    assert int(root.attrib["tests"]) == len(root.findall("testsuite/testcase"))


def test_an_interrupted_run_fits_too_and_is_an_error_to_ci(loadgen: Loadgen) -> None:
    running = loadgen.start("run", loadgen.scenario(hold="1h"), "--json", "--quiet", "--junit", "junit.xml")
    running.until_holding()
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130
    SUMMARY.validate(done.summary)
    error = ET.parse(loadgen.home / "junit.xml").find("testsuite/testcase/error")
    assert error is not None
    assert error.attrib["message"] == done.summary["incomplete_because"]


def test_an_expectation_that_fails_is_told_to_everybody(loadgen: Loadgen) -> None:
    """Exit code, stdout, JUnit and the step summary of GitHub say the same."""
    file = loadgen.scenario(connections=20, expect=["outcomes.established == 20", "outcomes.failed == 7"])
    done = loadgen("run", file, "--json", "--quiet", "--junit", "junit.xml", GITHUB_STEP_SUMMARY="step.md")
    assert (done.code, done.err) == (99, "")
    assert [one["passed"] for one in done.summary["expect"]] == [True, False]
    failures = ET.parse(loadgen.home / "junit.xml").findall("testsuite/testcase/failure")
    assert [failure.attrib["message"] for failure in failures] == ["expected outcomes.failed == 7, observed 0"]
    step = (loadgen.home / "step.md").read_text()
    assert "| FAIL | outcomes.failed == 7 | 0 |" in step
    assert str(done.run.name).split("-")[0] in step


def test_a_step_summary_that_cannot_be_written_costs_a_line_and_no_more(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(connections=5), "--json", "--quiet", GITHUB_STEP_SUMMARY="/dev/full")
    assert done.code == 0
    (message,) = done.err.splitlines()
    assert "GITHUB_STEP_SUMMARY ('/dev/full')" in message
    assert done.summary["complete"]


@pytest.mark.parametrize("name", ["missing/junit.xml", "."])
def test_a_junit_report_that_cannot_be_written_is_refused_before_any_load(loadgen: Loadgen, name: str) -> None:
    for more in ({}, {"matrix": {"connections": [1, 2]}}):
        done = loadgen("run", loadgen.scenario(**more), "--junit", name)
        assert done.code == 2
        assert_one_message(done)
        assert not done.results.exists()


def test_a_disk_that_is_full_in_the_end_has_its_exit_code(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(connections=5), "--quiet", "--json", "--junit", "/dev/full")
    assert done.code == 3
    assert done.summary["complete"]
    (message,) = done.err.splitlines()
    assert "/dev/full: No space left on device" in message


def only_json(done: Done) -> Any:
    """Everything on stdout, which has to be one JSON document, and a line feed."""
    assert done.out.endswith("}\n")
    return done.summary


def test_json_is_alone_on_stdout_whichever_command_prints_it(loadgen: Loadgen, namespace: Namespace) -> None:
    file = loadgen.scenario(connections=5)
    ran = loadgen("run", file, "--json")
    assert only_json(ran)["schema"] == "loadgen.summary/1"
    assert ran.err, "progress stays on stderr"
    assert only_json(loadgen("report", ran.run, "--json"))["schema"] == "loadgen.summary/1"
    assert only_json(loadgen("plan", file, "--json"))["schema"] == "loadgen.plan/1"
    assert only_json(loadgen("doctor", "--json"))["schema"] == "loadgen.doctor/1"
    assert only_json(loadgen("facts", "--only", "5.6", "--json"))["schema"] == "loadgen.facts/1"
    assert only_json(loadgen("schema"))["title"] == "loadgen scenario"
    assert only_json(loadgen("schema", "summary"))["title"] == "loadgen summary"
    looks = loadgen("watch", "--json", "--count", "2", "--interval", "100ms")
    assert [json.loads(line)["schema"] for line in looks.out.splitlines()] == ["loadgen.watch/1"] * 2
    served = loadgen.start("sink", "127.0.0.1:9000", "--workers", "1", "--json", prefix=namespace.enter)
    served.until(lambda: "127.0.0.1:9000" in served.err.read_text(), "sink")
    served.signal(signal.SIGINT)
    assert only_json(served.finish())["accepted"] == 0


# --- Completion, by the shell that it is for --------------------------------------------------------

_IN_BASH = """
eval "$(_LOADGEN_COMPLETE=bash_source loadgen)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_loadgen_completion loadgen
printf '%s\\n' "${COMPREPLY[@]}"
"""


def tab(home: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words, as it splits them: "=" is one."""
    done = subprocess.run(
        ["bash", "--norc", "-c", _IN_BASH, "bash", "loadgen", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
        env=environment(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"),
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_files_keys_and_values(tmp_path: Path) -> None:
    (tmp_path / "scenarios").symlink_to(CHECKOUT / "scenarios")
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "notes.txt").touch()
    assert tab(tmp_path, "sch") == ["schema"]
    assert tab(tmp_path, "run", "") == ["mine.yaml", "scenarios/"]
    assert tab(tmp_path, "plan", "scenarios/past") == ["scenarios/past-64k.yaml"]
    assert tab(tmp_path, "run", "mine.yaml", "--set", "sources.str")[:2] == [
        "sources.strategy=kernel",
        "sources.strategy=bind",
    ]
    assert tab(tmp_path, "run", "mine.yaml", "--set", "sources.strategy", "=", "late-") == ["late-range"]
    assert tab(tmp_path, "run", "mine.yaml", "--set", "hold", "=", "1s", "--jun") == ["--junit"]
    assert tab(tmp_path, "run", "mine.yaml", "--allow", "10") == []
