"""Lock files, licences and the audit agree with what is installed."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2] / "requirements"


def script(name: str) -> ModuleType:
    """A script of requirements/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_every_locked_package_has_a_hash_and_is_what_runs_here(name: str) -> None:
    text = (HERE / name).read_text()
    packages = re.findall(
        r"^([a-z0-9.-]+)==([^\s;]+)(?: ; ([^\\]+))? \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.M
    )
    assert len(packages) == len(script("licences").locked(text)) == len(re.findall(r"^\S+==", text, re.M))
    here = [(package, locked) for package, locked, marker, _ in packages if not for_older_python(marker)]
    assert len(here) >= 0.9 * len(packages)
    for package, locked in here:
        assert version(package) == locked, package


def for_older_python(marker: str) -> bool:
    """Whether a package is needed by versions of Python that are older than this one only."""
    before = re.search(r"python_full_version < '(\d+)\.(\d+)'", marker)
    return bool(before and sys.version_info >= (int(before[1]), int(before[2])))


def test_what_renders_the_site_is_locked_with_hashes_and_goes_with_what_developers_have() -> None:
    text = (HERE / "docs.txt").read_text()
    found = re.findall(r"^([a-z0-9-]+)==(\S+) ; [^\\\n]+ \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", text, re.M)
    assert len(found) == len(re.findall(r"^\S+==", text, re.M))
    assert {"mkdocs", "mkdocs-material"} <= {package for package, _, _ in found}
    dev = script("licences").locked((HERE / "dev.txt").read_text())
    assert {package: version for package, version, _ in found if package in dev}.items() <= dev.items()


def test_whoever_runs_it_has_versions_that_developers_have() -> None:
    locked = script("licences").locked
    run, dev = (locked((HERE / name).read_text()) for name in ("run.txt", "dev.txt"))
    assert run.items() <= dev.items()


def test_the_page_of_licences_is_that_of_the_lock_file() -> None:
    licences = script("licences")
    assert licences.PAGE.read_text() == licences.page(), "make licences"
    assert "not stated" not in licences.PAGE.read_text()


def of(**package: Any) -> str:
    return json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": []}, package]})


@pytest.mark.parametrize(
    ("output", "said", "code", "text"),
    [
        (of(name="b", version="2", vulns=[]), "", 0, "2 packages, no known vulnerability"),
        (of(name="b", version="2", vulns=[{"id": "X-1", "fix_versions": ["3"]}]), "", 1, "b 2: X-1, mended in 3"),
        (of(name="b", skip_reason="not found"), "", 3, "cannot be reached from here: 1 of 2 packages"),
        (
            "",
            "Traceback\n...\nConnectionError: no route\n",
            3,
            "cannot be reached from here: ConnectionError: no route",
        ),
        ('{"dependencies": []}', "", 3, "0 of 0 packages"),
    ],
)
def test_an_audit_without_an_answer_is_not_green(output: str, said: str, code: int, text: str) -> None:
    found = script("audit").verdict(output, said)
    assert found[0] == code
    assert text in found[1]
