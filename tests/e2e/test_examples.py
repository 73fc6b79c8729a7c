"""The example project: its tests pass for the good service, and each mistake fails the test that is about it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CHECKOUT, environment

pytestmark = pytest.mark.usefixtures("_user_namespaces")
EXAMPLE = CHECKOUT / "examples" / "service-ports"


def perform(home: Path, kind: str, chosen: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a copy of the example, as its README does; `chosen` is part of their names."""
    shutil.copytree(EXAMPLE, home / "example", ignore=shutil.ignore_patterns("__pycache__"))
    pytest_here = (sys.executable, "-m", "pytest", "-q", "-k", chosen, "--basetemp", str(home / "runs"))
    return subprocess.run(
        [sys.executable, "lab.py", *pytest_here],
        cwd=home / "example",
        env=environment(SERVICE=kind),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_good_service_passes(tmp_path: Path) -> None:
    done = perform(tmp_path, "good", "test_")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(("kind", "chosen"), [("leaks", "given_back"), ("binds-early", "share")])
def test_a_mistake_fails_its_test_and_is_named(kind: str, chosen: str, tmp_path: Path) -> None:
    done = perform(tmp_path, kind, chosen)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    (shown,) = re.findall(rf"SERVICE={kind} .*\n((?:(?!\$|\d failed).*\n)+)", (EXAMPLE / "README.md").read_text())
    assert [line for line in shown.splitlines() if line not in done.stdout] == []
