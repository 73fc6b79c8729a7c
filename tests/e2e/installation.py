"""What the tests of installations share: an sdist and a wheel of this checkout, and commands that do not see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import CHECKOUT, PATIENCE_S


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation.

    bin: where its program is. python: its interpreter. share: where its manual pages are, None where the installer has
    no place for them. directory: one that is no checkout. variables: of the environment, beside those of this process.
    """

    bin: Path
    python: Path
    share: Path | None
    directory: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run its loadgen to the end."""
        return self.ended(str(self.bin / "loadgen"), *args, stdin=stdin)

    def ended(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to the end."""
        return ended(command, self.directory, stdin, variables=self.variables)


def bare_environment() -> dict[str, str]:
    """That of this process, without this checkout on Python's path, and without settings of Python and pip."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}


def ended(
    command: Sequence[str],
    directory: Path,
    stdin: str = "",
    timeout_s: float = PATIENCE_S,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory; pip asks no index, unless the variables let it."""
    return subprocess.run(
        command,
        cwd=directory,
        env={**bare_environment(), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(variables or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def done(
    command: Sequence[str],
    directory: Path,
    timeout_s: float = PATIENCE_S,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a command that has to succeed; what it printed."""
    end = ended(command, directory, timeout_s=timeout_s, variables=variables)
    assert end.returncode == 0, end.stdout + end.stderr
    return end.stdout


def built_sdist(directory: Path) -> Path:
    """An sdist of this checkout."""
    for module in ("hatchling", "pip"):
        pytest.importorskip(module, reason=f"{module} is not installed here: make setup")
    done([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(directory)], CHECKOUT)
    (path,) = directory.iterdir()
    return path


def built_wheel(sdist: Path) -> Path:
    """The wheel, made of the sdist alone, as an index's users would."""
    directory = sdist.parent
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done([*pip, "--wheel-dir", str(directory), str(sdist)], directory)
    (path,) = directory.glob("*.whl")
    return path
