"""The scripts in the templates for CI systems, and the commands of docs/ci.md, run by a shell as these systems do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import CHECKOUT, environment

#: The shell of GitHub's `shell: bash`, and that of a runner of GitLab: both end at the first command that fails.
GITHUB_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
GITLAB_SHELL = ("bash", "-eo", "pipefail")
PAGE = (CHECKOUT / "docs" / "ci.md").read_text()


def blocks(kind: str) -> list[str]:
    """The code of the page in this language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with the page's ci.yaml, and with `loadgen` and `python` as programs in bin."""
    (tmp_path / "ci.yaml").write_text(blocks("yaml")[0])
    programs = {"loadgen": f'exec "{sys.executable}" -m loadgen "$@"', "python": 'printf "%s\\n" "$@" >> python.args'}
    (tmp_path / "bin").mkdir()
    for name, line in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def shell(home: Path, command: tuple[str, ...], script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a file of its own."""
    (home / "script").write_text(script)
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [*command, str(home / "script")],
        cwd=home,
        env=environment(PATH=path, **env),
        capture_output=True,
        text=True,
        timeout=100,
    )


def load(path: str) -> Any:
    return YAML(typ="safe").load((CHECKOUT / "packaging" / path).read_text())


def steps() -> dict[str, str]:
    """The scripts of the action by name."""
    found = load("github/action.yml")["runs"]["steps"]
    return {step["name"]: step["run"] for step in found if "run" in step}


def github(home: Path, args: str, scenario: str = "ci.yaml") -> subprocess.CompletedProcess[str]:
    """The step of the action that runs a scenario."""
    files = {"GITHUB_OUTPUT": str(home / "output"), "GITHUB_STEP_SUMMARY": str(home / "step.md")}
    script = steps()["Run the scenario"]
    return shell(home, GITHUB_SHELL, script, SCENARIO=scenario, ARGS=args, OUT="kept here", **files)


def failures(report: Path) -> list[str]:
    """The test cases of a JUnit report that failed."""
    return [case.attrib["name"] for case in ET.parse(report).iter("testcase") if case.find("failure") is not None]


def test_the_action_keeps_summary_report_and_exit_code(home: Path) -> None:
    args = "--set=connections=20\n\n--set\nexpect=[outcomes.failed == 0, outcomes.established == 21]\n"
    done = github(home, args)
    assert (done.returncode, done.stdout) == (99, ""), done.stderr
    assert (home / "output").read_text() == "exit-code=99\nsummary=kept here/summary.json\n"
    assert json.loads((home / "kept here" / "summary.json").read_text())["outcomes"]["established"] == 20
    assert failures(home / "kept here" / "junit.xml") == ["outcomes.established == 21"]
    assert (home / "step.md").read_text().startswith("### loadgen: ci\n")


def test_the_action_says_when_a_run_was_refused(home: Path) -> None:
    done = github(home, "", "missing.yaml")
    assert done.returncode == 2
    assert "missing.yaml" in done.stderr
    assert (home / "output").read_text() == "exit-code=2\n"


@pytest.mark.parametrize("package", ["", "a wheel; touch harm"])
def test_the_action_installs_its_own_checkout_unless_told_otherwise(home: Path, package: str) -> None:
    done = shell(home, GITHUB_SHELL, steps()["Install loadgen"], PACKAGE=package, CHECKOUT="/checkout")
    assert done.returncode == 0, done.stderr
    words = (home / "python.args").read_text().splitlines()
    assert (words[:3], words[-1]) == (["-m", "pip", "install"], package or "/checkout")
    assert not (home / "harm").exists()


@pytest.mark.parametrize(
    ("runner", "restricted", "asked"),
    [("github-hosted", "1", True), ("github-hosted", "0", False), ("self-hosted", "1", False)],
)
def test_the_action_permits_namespaces_where_they_are_forbidden_and_the_machine_ends(
    home: Path, runner: str, restricted: str, asked: bool
) -> None:
    for name, line in {"sysctl": f"echo {restricted}", "sudo": 'echo "$@" > asked'}.items():
        (home / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (home / "bin" / name).chmod(0o755)
    assert shell(home, GITHUB_SHELL, steps()["Permit network namespaces"], RUNNER_ENVIRONMENT=runner).returncode == 0
    assert (home / "asked").exists() == asked


def gitlab(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The job of the template."""
    job = load("gitlab/loadgen.gitlab-ci.yml")[".loadgen"]
    return shell(home, GITLAB_SHELL, "\n".join([*job["before_script"], *job["script"]]), **env)


def test_the_job_leaves_its_report_where_gitlab_looks(home: Path) -> None:
    args = "--set connections=20 --set expect=[outcomes.established==21]"
    done = gitlab(home, LOADGEN_PACKAGE="a.whl", LOADGEN_SCENARIO="ci.yaml", LOADGEN_ARGS=args)
    assert done.returncode == 99, done.stderr
    report = load("gitlab/loadgen.gitlab-ci.yml")[".loadgen"]["artifacts"]["reports"]["junit"]
    assert len(failures(home / report)) == 1
    assert json.loads((home / report).with_name("summary.json").read_text())["outcomes"]["established"] == 20


def test_the_job_names_the_variable_that_is_missing(home: Path) -> None:
    done = gitlab(home, LOADGEN_PACKAGE="a.whl")
    assert done.returncode != 0
    assert "LOADGEN_SCENARIO: path of the scenario file" in done.stderr
    assert not (home / "python.args").exists()


def test_the_commands_of_the_page_work_in_order(home: Path) -> None:
    done = shell(home, ("bash", "-e"), "\n".join(blocks("sh")))
    assert done.returncode == 0, done.stderr
    assert "not here" not in done.stdout, done.stdout
    assert json.loads((home / "out" / "summary.json").read_text())["outcomes"]["established"] == 500
    assert failures(home / "out" / "junit.xml") == []
    assert (home / "out" / "compare.html").exists()
