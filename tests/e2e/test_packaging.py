"""The image, the units of systemd and the manifests of Kubernetes call loadgen with options that exist, and agree.

Units and manifests are read by systemd-analyze(1) and by the schemas of Kubernetes. The image is built and run by
.ci/image: see docs/containers.md.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from loadgen.cli.main import cli
from tests.e2e.conftest import CHECKOUT

UNITS = sorted((CHECKOUT / "packaging").glob("*.service"))
MANIFESTS = sorted((CHECKOUT / "docs").glob("kubernetes*.yaml"))
CONTAINERFILE = (CHECKOUT / "packaging" / "Containerfile").read_text()
#: The oldest and the newest that kubernetes-validate has the schemas of.
KUBERNETES = ["1.25", "1.37"]
VERSION = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]


def containers(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the containers of a manifest, wherever they are in it."""
    if isinstance(value, dict):
        yield from value.get("containers", [])
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from containers(part)


def manifest_calls(path: Path) -> Iterator[list[str]]:
    """Yield the words behind `loadgen` in each container."""
    for document in YAML(typ="safe").load_all(path.read_text()):
        for container in containers(document):
            words = [*container.get("command", ["loadgen"]), *container.get("args", [])]
            if words[:2] == ["sh", "-c"]:
                words = shlex.split(words[2].removeprefix("exec "))
            assert words[0] == "loadgen"
            yield words[1:]


def unit_calls(path: Path) -> Iterator[list[str]]:
    """Yield the words behind the program in each ExecStart."""
    for line in re.findall(r"^ExecStart=\S+/loadgen (.*)", path.read_text(), re.MULTILINE):
        yield shlex.split(line)


@pytest.mark.parametrize("path", [*UNITS, *MANIFESTS], ids=lambda path: path.name)
def test_commands_and_options_exist(path: Path) -> None:
    calls = list(unit_calls(path) if path.suffix == ".service" else manifest_calls(path))
    assert calls
    for name, *words in calls:
        command = cli.commands[name]
        assert isinstance(command, click.Command)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, name


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_as_shipped_has_arguments_that_its_command_takes(unit: Path, tmp_path: Path) -> None:
    settings = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    settings |= dict.fromkeys(("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"), str(tmp_path))
    ((name, *words),) = unit_calls(unit)
    words = [re.sub(r"\$\{?(\w+)\}?", lambda found: settings[found[1]], word) for word in words]
    cli.commands[name].make_context(name, words)  # raises click.UsageError


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_containers_have_no_privilege_and_this_version(path: Path) -> None:
    found = [each for document in YAML(typ="safe").load_all(path.read_text()) for each in containers(document)]
    assert found
    for container in found:
        assert container["image"] == f"loadgen:{VERSION}"
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_image_copies_what_is_there_and_is_not_root() -> None:
    assert f"-t loadgen:{VERSION} " in CONTAINERFILE
    for source in re.findall(r"^COPY (?!--from)(\S+) ", CONTAINERFILE, re.MULTILINE):
        assert (CHECKOUT / source).exists()
    (user,) = re.findall(r"^USER (\d+):\d+$", CONTAINERFILE, re.MULTILINE)
    assert f"--uid {user} " in CONTAINERFILE
    job = (CHECKOUT / "docs" / "kubernetes-job.yaml").read_text()
    assert f"runAsUser: {user}\n" in job


def kubernetes_says(path: Path, version: str) -> subprocess.CompletedProcess[str]:
    """What the schemas of a version of Kubernetes say of a manifest, to which no unknown key is allowed."""
    program = CHECKOUT / ".venv" / "kubernetes" / "bin" / "kubernetes-validate"
    if not program.exists():
        pytest.skip("needs the schemas of Kubernetes: make tools")
    command = [str(program), "--strict", "--no-warn", "--kubernetes-version", version, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_what_kubernetes_takes(path: Path, version: str) -> None:
    end = kubernetes_says(path, version)
    assert end.returncode == 0, end.stdout + end.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_key_that_kubernetes_does_not_know_is_found(version: str, tmp_path: Path) -> None:
    right = (CHECKOUT / "docs" / "kubernetes-job.yaml").read_text()
    wrong = right.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")  # of two spellings the other one
    assert wrong != right
    path = tmp_path / "job.yaml"
    path.write_text(wrong)
    end = kubernetes_says(path, version)
    assert end.returncode != 0
    assert "readOnlyRootFileSystem" in end.stdout + end.stderr


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze(1) says; the test is skipped where it is not installed, or too old."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    end = subprocess.run([analyze, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if "unrecognized option" in end.stderr:
        pytest.skip("systemd before 250 has no --offline")
    return end


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_knows_each_line_of_a_unit(unit: Path, tmp_path: Path) -> None:
    """As installed: the program is there, and nothing is said, as it is of a key or a value that is ignored."""
    text, count = re.subn(r"^ExecStart=\S+/loadgen ", f"ExecStart={sys.executable} ", unit.read_text(), flags=re.M)
    assert count == 1
    (tmp_path / unit.name).write_text(text)
    end = analyzed("verify", "--man=no", str(tmp_path / unit.name))
    assert (end.returncode, end.stdout + end.stderr) == (0, "")
    (tmp_path / unit.name).write_text(text.replace("ProtectHome=", "ProtectHomes="))
    assert "Unknown key" in analyzed("verify", "--man=no", str(tmp_path / unit.name)).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened(unit: Path) -> None:
    """Less than 3 of 10 in the sum of systemd-analyze(1), whose weights differ a little between versions."""
    end = analyzed("security", "--offline=true", "--threshold=30", "--no-pager", str(unit))
    found = re.search(r"exposure level for \S+: ([\d.]+)", end.stdout)
    assert found, end.stdout + end.stderr
    assert float(found[1]) < 3
    assert end.returncode == 0


def test_messages_on_the_page_of_containers_are_those_of_the_code() -> None:
    """Each piece of a quoted message is in a string of the package."""
    said: set[str] = set()
    for path in (CHECKOUT / "loadgen").rglob("*.py"):
        constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        said |= {node.value for node in constants if isinstance(node.value, str)}
    every = "\n".join(said)
    page = (CHECKOUT / "docs" / "containers.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ") and "`" in line.split("|")[1]]
    assert len(rows) >= 10
    assert [piece for row in rows for piece in re.findall(r"`([^`]+)`", row) if piece.rstrip(" ") not in every] == []
