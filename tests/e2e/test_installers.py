"""`pipx install` and `uv tool install` of the wheel in a home that is empty, and loadgen used from there.

What loadgen needs comes from the package index, in the newest versions that its metadata admits, as its users get them.
pip's own settings on this machine say where that index is; they are handed on to uv. `make tools` gets both tools.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadgen.version import of_checkout

from .conftest import CHECKOUT, Loadgen
from .installation import Installed, bare_environment, built_sdist, built_wheel, done, ended
from .test_dashboard import asked, url_of

#: Some tens of packages, from an index that may be slow.
INSTALLATION_S: Final = 240.0
#: pip's names of settings, and the variable that tells uv the same.
SETTINGS_OF_UV: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}
PASTED: Final = "dial tcp 10.0.0.7:8080: connect: cannot assign requested address\n"


def found(program: str, environment: str) -> str:
    """The path of an installer: of an environment that `make tools` makes, or of this machine."""
    own = CHECKOUT / ".venv" / environment / "bin" / program
    path = str(own) if own.exists() else shutil.which(program)
    if not path:
        pytest.skip(f"needs {program}: make tools")
    return path


def settings_of_pip() -> dict[str, str]:
    """Pip's settings on this machine by name, without the section they are in."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    settings = {}
    for name, value in re.findall(r"^([\w:.-]+)='(.*)'$", listed, re.MULTILINE):
        settings[name.strip(":").rpartition(".")[2]] = value
    return settings


def variables_of_pip() -> dict[str, str]:
    """What tells pip of another home the settings of this one, and where its cache is."""
    own = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for path in (Path.home() / ".config" / "pip" / "pip.conf", Path.home() / ".pip" / "pip.conf"):
        if path.exists():
            own.setdefault("PIP_CONFIG_FILE", str(path))
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    cache = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    own = {"PIP_NO_INDEX": "0", **own}
    return {**own, "PIP_CACHE_DIR": cache.stdout.strip()} if cache.returncode == 0 else own


@pytest.fixture(scope="module")
def _package_index() -> None:
    """For what loadgen needs; CI (CI=true) has one."""
    directory = Path(os.devnull).parent
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "click"]
    end = ended(pip, directory, timeout_s=INSTALLATION_S, variables=variables_of_pip())
    if end.returncode:
        reason = f"needs a package index: {(end.stderr.strip() or 'pip says nothing').splitlines()[-1]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def wheel(_package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    return built_wheel(built_sdist(tmp_path_factory.mktemp("wheel")))


def by_pipx(pipx: str, wheel: Path, home: Path) -> Installed:
    """Install with pipx, which has a place for manual pages."""
    variables = {
        "HOME": str(home),
        "PIPX_HOME": str(home / "pipx"),
        "PIPX_BIN_DIR": str(home / "bin"),
        "PIPX_MAN_DIR": str(home / "share" / "man"),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
    }
    command = [pipx, "install", "--python", sys.executable, str(wheel)]
    done(command, home, INSTALLATION_S, {**variables, **variables_of_pip()})
    python = home / "pipx" / "venvs" / "loadgen" / "bin" / "python"
    return Installed(home / "bin", python, home / "share", home / "elsewhere", variables)


def by_uv(uv: str, wheel: Path, home: Path) -> Installed:
    """Install with uv, which leaves manual pages in the environment of the tool."""
    variables = {
        "HOME": str(home),
        "UV_TOOL_DIR": str(home / "tools"),
        "UV_TOOL_BIN_DIR": str(home / "bin"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
    }
    settings = settings_of_pip()
    index = {variable: settings[name] for name, variable in SETTINGS_OF_UV.items() if name in settings}
    index["UV_CACHE_DIR"] = done([uv, "cache", "dir"], home).strip()
    command = [uv, "tool", "install", "--python", sys.executable, str(wheel)]
    done(command, home, INSTALLATION_S, {**variables, **index})
    return Installed(home / "bin", home / "tools" / "loadgen" / "bin" / "python", None, home / "elsewhere", variables)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("program", "environment", "install"), [("pipx", "pipx", by_pipx), ("uv", "lock", by_uv)])
def test_from_nothing_to_a_report(
    program: str,
    environment: str,
    install: Callable[[str, Path, Path], Installed],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """One test, because each installation is used by all of it."""
    path = found(program, environment)  # before a wheel is made in vain
    (tmp_path / "elsewhere").mkdir()
    installed = install(path, request.getfixturevalue("wheel"), tmp_path)
    assert shutil.which("loadgen", path=installed.variables["PATH"]) == str(installed.bin / "loadgen")
    it_is_the_wheel_and_no_checkout(installed)
    it_has_scenarios_completion_and_manual(installed)
    it_plans_runs_and_reports(installed)
    it_serves_a_dashboard(installed)
    it_states_facts_and_explains(installed)


def it_is_the_wheel_and_no_checkout(installed: Installed) -> None:
    """Where its module is, and its version."""
    end = installed.ended(str(installed.python), "-c", "import loadgen; print(loadgen.__file__)")
    assert Path(end.stdout.strip()).is_relative_to(installed.bin.parent), end.stderr
    end = installed("--version")
    commit = of_checkout(CHECKOUT)
    built_from = f", commit {commit[:12]}" if commit else ""
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout == f"loadgen {version('loadgen')}{built_from}, Linux {os.uname().release}\n"


def it_has_scenarios_completion_and_manual(installed: Installed) -> None:
    """Those of the checkout, and none of it is read from there."""
    listed = installed("scenarios")
    assert listed.returncode == 0, listed.stderr
    for path in (CHECKOUT / "scenarios").glob("*.yaml"):
        assert re.search(rf"^{path.stem}\b", listed.stdout, re.MULTILINE), path.stem
    for shell, word in (("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete --no-files")):
        end = installed.ended("env", f"_LOADGEN_COMPLETE={shell}_source", "loadgen")
        assert word in end.stdout, end.stderr
    page = (CHECKOUT / "docs" / "man" / "loadgen-run.1").read_text()
    assert installed("man", "run").stdout == page
    if installed.share:
        assert (installed.share / "man" / "man1" / "loadgen-run.1").read_text() == page


def it_plans_runs_and_reports(installed: Installed) -> None:
    """A scenario that came with it. The report needs templates and vendored JavaScript."""
    copied = installed("scenarios", "past-64k", "--copy", "mine.yaml")
    assert copied.returncode == 0, copied.stderr
    plan = installed("plan", "mine.yaml")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    small = ("--set", "connections=50", "--set", "hold=0.2s", "--set", "expect=null")
    run = installed("run", "mine.yaml", *small, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["outcomes"]["established"] == 50
    (directory,) = (installed.directory / "results").iterdir()
    page = directory / "report.html"
    page.unlink()
    again = installed("report", str(directory))
    assert again.returncode == 0, again.stderr
    assert "uPlot" in page.read_text()


def it_serves_a_dashboard(installed: Installed) -> None:
    """The page and the metrics of a run that is then ended from the page."""
    loadgen = Loadgen(
        installed.directory,
        command=[str(installed.bin / "loadgen")],
        variables={**bare_environment(), **installed.variables},
    )
    try:
        small = ("--set", "connections=50", "--set", "hold=10m", "--set", "expect=null", "--out", "dashboard")
        running = loadgen.start("run", "mine.yaml", *small, "--dashboard")
        running.results = installed.directory / "dashboard"
        url = url_of(running)
        running.until_holding()
        status, page = asked(url)
        assert status == 200
        assert 'id="chart-connections"' in page
        token = url.rstrip("/").rpartition("/")[2]
        status, text = asked(url, "/metrics", Authorization=f"Bearer {token}")
        assert status == 200
        families = text_string_to_metric_families(text)
        values = {sample.name: sample.value for family in families for sample in family.samples}
        assert values["loadgen_connections_established_total"] == 50
        assert asked(url, "stop?step=drain", "POST")[0] == 204
        assert running.finish().code == 130, running.err.read_text()
    finally:
        loadgen.close()


def it_states_facts_and_explains(installed: Installed) -> None:
    """A fact of this kernel, and a pasted line."""
    facts = installed("facts", "--only", "1.1")
    assert facts.returncode == 0, facts.stdout + facts.stderr
    assert "1.1" in facts.stdout
    said = installed("explain", "-", stdin=PASTED)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "10.0.0.7:8080" in said.stdout
