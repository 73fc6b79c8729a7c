"""The templates for CI systems have only keys that these know, and name options and inputs that exist.

Keys: docs.github.com, "Metadata syntax reference"; docs.gitlab.com, "CI/CD YAML syntax reference".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from tests import listed_commands

CHECKOUT: Final = Path(__file__).parents[2]
GITHUB: Final = CHECKOUT / "packaging" / "github" / "action.yml"
GITLAB: Final = CHECKOUT / "packaging" / "gitlab" / "loadgen.gitlab-ci.yml"
PAGE: Final = CHECKOUT / "docs" / "ci.md"

_USED: Final = {"uses", "with"}
_RUN: Final = {"run", "shell", "working-directory"}
_ANY_STEP: Final = {"name", "id", "if", "env", "continue-on-error"}
#: Of a job, and of `artifacts` in it: those in use here, with their types.
_JOB: Final = {"image": str, "before_script": list, "script": list, "artifacts": dict}
_ARTIFACTS: Final = {"when": str, "paths": list, "reports": dict}


def loaded(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.fixture
def action() -> dict[str, Any]:
    found: dict[str, Any] = loaded(GITHUB.read_text())
    return found


@pytest.fixture
def job() -> dict[str, Any]:
    (found,) = loaded(GITLAB.read_text()).items()
    name, keys = found
    assert name == ".loadgen"  # with a full stop it is no job of its own
    assert isinstance(keys, dict)
    return keys


def yaml_of_page(word: str) -> Any:
    """The block of docs/ci.md that has this word."""
    blocks = [block for _, kind, block in listed_commands.FENCED.findall(PAGE.read_text()) if kind == "yaml"]
    (block,) = [block for block in blocks if word in block]
    return loaded(block)


def test_the_action_has_keys_that_github_knows(action: dict[str, Any]) -> None:
    assert set(action) == {"name", "description", "inputs", "outputs", "runs"}
    for declared in action["inputs"].values():
        assert set(declared) <= {"description", "required", "default"}
        assert isinstance(declared["description"], str)
        assert isinstance(declared.get("default", ""), str)
        assert (declared.get("required") is True) == ("default" not in declared)
    for output in action["outputs"].values():
        assert {key: type(value) for key, value in output.items()} == {"description": str, "value": str}
    assert set(action["runs"]) == {"using", "steps"}
    assert action["runs"]["using"] == "composite"


def test_each_step_of_the_action_is_complete(action: dict[str, Any]) -> None:
    for step in action["runs"]["steps"]:
        kind = _RUN if "run" in step else _USED
        assert set(step) <= kind | _ANY_STEP
        if kind is _RUN:
            assert step["shell"] == "bash"  # required in a composite action
        else:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        for values in (step.get("env", {}), step.get("with", {})):
            assert all(isinstance(value, str) for value in values.values())


def test_no_input_becomes_part_of_a_script(action: dict[str, Any]) -> None:
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    assert len(scripts) == 3
    assert [script for script in scripts if "${{" in script] == []


def test_expressions_name_inputs_and_steps_that_exist(action: dict[str, Any]) -> None:
    used = set(re.findall(r"\binputs\.([\w-]+)", GITHUB.read_text()))
    assert used == set(action["inputs"])
    steps = {step.get("id"): step for step in action["runs"]["steps"]}
    outputs = re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", GITHUB.read_text())
    assert len(outputs) == len(action["outputs"])
    for step, output in outputs:
        assert f'"{output}=' in steps[step]["run"]


def test_the_job_has_keys_that_gitlab_knows(job: dict[str, Any]) -> None:
    assert {key: type(value) for key, value in job.items()} == _JOB
    assert all(isinstance(line, str) for line in [*job["before_script"], *job["script"]])
    assert {key: type(value) for key, value in job["artifacts"].items()} == _ARTIFACTS
    assert job["artifacts"]["when"] == "always"
    (directory,) = job["artifacts"]["paths"]
    assert job["artifacts"]["reports"] == {"junit": f"{directory}junit.xml"}


def test_the_options_in_both_exist(action: dict[str, Any], job: dict[str, Any]) -> None:
    for lines in ([step.get("run", "") for step in action["runs"]["steps"]], job["script"]):
        (call,) = listed_commands.of_script("\n".join(lines))
        assert {"--junit", "--json", "--out", "--quiet"} <= set(call)
        listed_commands.assert_exists(call)


def test_an_option_that_is_gone_is_found() -> None:
    (call,) = listed_commands.of_script("loadgen run a.yaml \\\n  --xunit b.xml > c\n")
    with pytest.raises(AssertionError, match="loadgen run"):
        listed_commands.assert_exists(call)


def test_the_page_gives_the_action_inputs_that_it_has(action: dict[str, Any]) -> None:
    steps = yaml_of_page("packaging/github")["jobs"]["ports"]["steps"]
    (given,) = [step["with"] for step in steps if "packaging/github" in step["uses"]]
    assert set(given) <= set(action["inputs"])
    listed_commands.assert_exists(["run", *given["args"].split()])
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE))
    for name, declared in action["inputs"].items():
        if default := declared.get("default"):
            assert rows[name] == default
    assert set(rows) == set(action["inputs"])


def test_the_page_gives_the_job_variables_that_it_reads(job: dict[str, Any]) -> None:
    given = yaml_of_page("extends")["ports"]
    assert given["extends"] == ".loadgen"
    read = set(re.findall(r"\$\{?(LOADGEN_\w+)", "\n".join([*job["before_script"], *job["script"]])))
    assert read == set(given["variables"])
