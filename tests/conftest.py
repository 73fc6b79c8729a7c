"""What all tests share: what this host must allow them, asked once; nothing is judged by how long it takes.

A test names what it needs as a fixture, and is skipped, with the reason and the remedy, where the host has no such
thing. Speed is measured in bench/: machines are busy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

# What it changes, tests ask for themselves.
os.environ.pop("CI", None)
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: Makes a namespace as `loadgen run` does, in a process that ends with it.
_MAKE_LAB: Final = """
import sys
from loadgen.errors import LabForbiddenError
from loadgen.lab import namespace
try:
    namespace.enter({})
except LabForbiddenError as error:
    sys.exit(str(error).partition(": ")[2])
"""
#: Renders the documentation site; `make docs` installs it.
MKDOCS_PYTHON: Final = Path(__file__).resolve().parents[1] / ".venv" / "docs" / "bin" / "python"
_OUTSIDE: Final = "; run outside of the chroot or container that forbids it"


@pytest.fixture(scope="session")
def _network_namespaces() -> None:
    """For load, which stays inside network namespaces."""


@pytest.fixture(scope="session")
def _user_namespaces() -> None:
    """For what an ordinary user may do, and for hosts that forbid something; not every root may make one."""


@pytest.fixture(scope="session")
def _mount_namespaces() -> None:
    """For mounts that a single command sees."""


@pytest.fixture(scope="session")
def _chromium() -> None:
    """For pages as a browser shows them."""


@pytest.fixture(scope="session")
def _mkdocs() -> None:
    """For the documentation site, which is rendered in an environment of its own."""


@pytest.fixture(scope="session")
def _nft() -> None:
    """For rules of netfilter."""


@pytest.fixture(scope="session")
def _strace() -> None:
    """For the system calls of programs; not every container permits tracing."""


@cache
def _missing(need: str) -> str:
    """The reason to skip a test that uses this fixture; empty when it may run."""
    match need:
        case "_network_namespaces":
            return _refusal("a network namespace", sys.executable, "-c", _MAKE_LAB)
        case "_user_namespaces":
            return _refusal("a user namespace", "unshare", "-Urn", "true", remedy=_OUTSIDE)
        case "_mount_namespaces":
            flag = "-m" if os.geteuid() == 0 else "-rm"
            return _refusal("a mount namespace", "unshare", flag, "true", remedy=_OUTSIDE)
        case "_chromium":
            return "" if shutil.which("chromium") else "needs chromium: apt install chromium"
        case "_mkdocs":
            return "" if MKDOCS_PYTHON.exists() else "needs mkdocs in .venv/docs: make docs"
        case "_nft":
            return "" if shutil.which("nft") else "needs nft: apt install nftables"
        case "_strace" if not shutil.which("strace"):
            return "needs strace: apt install strace"
        case "_strace":
            return _refusal("tracing", "strace", "-qq", "-o", os.devnull, "-e", "trace=close", "true", remedy=_OUTSIDE)
    return ""


def _refusal(need: str, *command: str, remedy: str = "") -> str:
    """The message of a command that fails, on its standard error."""
    tried = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, check=False, text=True)
    return f"needs {need}: {tried.stderr.strip()}{remedy}" if tried.returncode else ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test before its fixtures are made: so pytest lists one line for each reason, not one for each test."""
    for need in getattr(item, "fixturenames", ()):
        if reason := _missing(need):
            pytest.skip(reason)
