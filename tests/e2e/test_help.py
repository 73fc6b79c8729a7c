"""What loadgen says about itself, and whether it is so."""

from __future__ import annotations

import json
import re

import pytest

from .conftest import CHECKOUT, Loadgen

SCENARIOS = sorted((CHECKOUT / "scenarios").glob("*.yaml"))
COMMANDS = (
    "run",
    "plan",
    "sink",
    "report",
    "export",
    "facts",
    "find",
    "schema",
    "man",
    "watch",
    "doctor",
    "compare",
    "runs",
    "explain",
    "trace",
    "agent",
    "cluster",
    "occupy",
    "open",
    "churn",
    "init",
    "scenarios",
)


def test_help_names_every_command_and_every_exit_code(loadgen: Loadgen) -> None:
    for flag in ("--help", "-h"):
        done = loadgen(flag)
        assert (done.code, done.err) == (0, "")
        listed = done.out.partition("\nCommands:\n")[2]
        found = re.findall(r"^  ([a-z]+) ", listed.partition("\n\n")[0], re.MULTILINE)
        assert sorted(found) == sorted(COMMANDS), "a command without a test here"
        assert "loadgen run scenarios/past-64k.yaml" in done.out
        assert_has_exit_codes(done.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_and_exit_codes(loadgen: Loadgen, command: str) -> None:
    done = loadgen(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"Examples?:\n", done.out)
    assert f"  loadgen {command}" in done.out
    assert_has_exit_codes(done.out)


def assert_has_exit_codes(text: str) -> None:
    """All those of the contract."""
    said = " ".join(text.split())
    assert "Exit codes: 0 fine" in said
    for code in ("2 usage", "3 this host cannot", "4 incomplete", "99 an expectation failed", "130 interrupted"):
        assert code in said


def test_a_command_is_needed(loadgen: Loadgen) -> None:
    done = loadgen()
    assert done.code == 2
    assert "Usage:" in done.out + done.err


def test_version(loadgen: Loadgen) -> None:
    done = loadgen("--version")
    assert done.code == 0
    assert re.search(r"loadgen.* \d+\.\d+\.\d+", done.out)


def test_the_schema_is_json(loadgen: Loadgen) -> None:
    done = loadgen("schema")
    assert (done.code, done.err) == (0, "")
    schema = done.summary
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"name", "sources", "targets"} <= set(schema["required"])
    for path in SCENARIOS:
        keys = re.findall(r"^([a-z_]+):", path.read_text(), re.MULTILINE)
        assert set(keys) <= set(schema["properties"])


def test_the_documentation_names_every_command() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    text = readme + "".join(path.read_text() for path in (CHECKOUT / "docs").glob("*.md"))
    for command in COMMANDS:
        assert f"loadgen {command}" in text
    assert "make run" in readme


def test_an_editor_finds_in_the_schema_what_the_documentation_describes(loadgen: Loadgen) -> None:
    page, _, about_limits = (
        (CHECKOUT / "docs" / "scenario.md").read_text().partition("\n## A situation of another host\n")
    )
    assert about_limits
    documented = re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)
    schema = json.dumps(loadgen("schema").summary)
    assert documented
    for key in documented:
        assert f'"{key}"' in schema, f"docs/scenario.md describes {key}"
