"""What is delivered: an sdist, the wheel made of it, and loadgen installed from that wheel, outside of the checkout.

No index is asked: the build backend and the packages that loadgen needs are those of this environment. The virtual
environment sees them through a .pth file. The editable installation of this checkout stays unseen: .pth files in a
directory that another .pth file adds are not read (site, in Python's library).
"""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from loadgen.version import COMMIT_FILE, of_checkout

from .conftest import CHECKOUT, PAST_64K
from .installation import Installed, built_sdist, built_wheel, done

#: A lab that opens few connections.
SMALL_LAB: Final = (
    "run",
    PAST_64K.name,
    *("--set", "connections=50", "--set", "hold=0.2s", "--set", "expect=null", "--json"),
)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of this checkout."""
    return built_sdist(tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel made of it."""
    return built_wheel(sdist)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Loadgen in a virtual environment of its own."""
    directory = tmp_path_factory.mktemp("elsewhere")
    prefix = directory / "venv"
    done([sys.executable, "-m", "venv", "--without-pip", str(prefix)], directory)
    # Before the .pth file is there: pip would take the other environment's loadgen for installed.
    pip = [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python"), "install", "--quiet", "--no-deps"]
    done([*pip, str(wheel)], directory)
    (packages,) = prefix.glob("lib/python*/site-packages")
    (packages / "needs.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (directory / PAST_64K.name).write_text(PAST_64K.read_text())
    return Installed(prefix / "bin", prefix / "bin" / "python", prefix / "share", directory)


def test_the_sdist_has_what_a_build_and_its_tests_take(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {
        "pyproject.toml",
        "hatch_build.py",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "docs/man/loadgen.1",
    }
    assert tracked | {"requirements/run.txt", "requirements/dev.txt", "packaging/Containerfile"} <= names
    for folder, pattern in (("loadgen", "*.py"), ("scenarios", "*.yaml"), ("tests", "*.py"), ("packaging", "*")):
        files = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / folder).rglob(pattern) if path.is_file()}
        assert files
        assert files <= names
    assert not {name for name in names if name.startswith((".venv", ".git/", "results/")) or "__pycache__" in name} - {
        "results/README.md"
    }


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Templates, styles, vendored JavaScript, scenarios and manual pages as well as modules."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(CHECKOUT) for path in (CHECKOUT / "loadgen").rglob("*") if path.is_file()}
    files = {str(path) for path in package if path.suffix != ".pyc" and "__pycache__" not in path.parts}
    assert {Path(file).suffix for file in files} >= {".py", ".j2", ".js", ".css"}
    assert files <= names
    assert {f"loadgen/scenarios/{path.name}" for path in (CHECKOUT / "scenarios").glob("*.yaml")} <= names
    pages = {path.name for path in (CHECKOUT / "docs" / "man").glob("*.1")}
    assert pages == {Path(name).name for name in names if "/data/share/man/man1/" in name}
    assert not {name for name in names if name.startswith(("tests/", "docs/", "bench/"))}


def test_the_commit_of_the_checkout_comes_through_the_sdist(wheel: Path) -> None:
    commit = of_checkout(CHECKOUT)
    if not commit:
        pytest.skip("this checkout has no .git whose commit can be read")
    assert zipfile.ZipFile(wheel).read(f"loadgen/{COMMIT_FILE}").decode() == f"{commit}\n"


def test_it_runs_from_its_own_place(installed: Installed) -> None:
    end = installed.ended(str(installed.python), "-c", "import loadgen; print(loadgen.__file__)")
    assert Path(end.stdout.strip()).is_relative_to(installed.bin.parent), end.stderr


def test_its_version_is_one_line(installed: Installed) -> None:
    end = installed("--version")
    commit = of_checkout(CHECKOUT)
    built_from = f", commit {commit[:12]}" if commit else ""
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout == f"loadgen {version('loadgen')}{built_from}, Linux {os.uname().release}\n"


def test_its_scenarios_manual_and_completion_are_there(installed: Installed) -> None:
    listed = installed("scenarios")
    assert listed.returncode == 0, listed.stderr
    for path in (CHECKOUT / "scenarios").glob("*.yaml"):
        assert re.search(rf"^{path.stem}\b", listed.stdout, re.MULTILINE), path.stem
    page = installed("man", "run")
    assert page.stdout == (CHECKOUT / "docs" / "man" / "loadgen-run.1").read_text(), page.stderr
    assert installed.share
    assert (installed.share / "man" / "man1" / "loadgen-run.1").read_text() == page.stdout
    assert "compdef" in installed.ended("env", "_LOADGEN_COMPLETE=zsh_source", str(installed.bin / "loadgen")).stdout


def test_it_plans_runs_and_reports(installed: Installed) -> None:
    """The report needs templates and vendored JavaScript."""
    plan = installed("plan", PAST_64K.name)
    assert plan.returncode == 0, plan.stdout + plan.stderr
    run = installed(*SMALL_LAB)
    if run.returncode == 3 and "network namespace" in run.stderr:
        pytest.skip(run.stderr)
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["outcomes"]["established"] == 50
    (directory,) = (installed.directory / "results").iterdir()
    page = directory / "report.html"
    made = page.read_text()
    page.unlink()
    again = installed("report", str(directory))
    assert again.returncode == 0, again.stderr
    assert "uPlot" in page.read_text()
    assert len(page.read_text()) > len(made) / 2


def test_it_states_facts_and_explains(installed: Installed) -> None:
    facts = installed("facts", "--only", "1.1")
    assert facts.returncode == 0, facts.stdout + facts.stderr
    assert "1.1" in facts.stdout
    said = installed("explain", "-", stdin="ESTAB 0 0 127.0.0.1:40000 127.0.0.1:9000\n")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "127.0.0.1:9000" in said.stdout
