"""The extra: a line where it is missing, and no import of it where it is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadgen.cli import main
from loadgen.cluster import extra
from loadgen.errors import HostError

AGENT = ("agent", "--coordinator", "tcp://127.0.0.1:9786")
CHECK = ("cluster", "check", "--agents", "1")


@pytest.mark.parametrize("args", [AGENT, CHECK])
def test_without_it_a_command_says_how_to_install_it(args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = CliRunner().invoke(main.cli, args)
    assert isinstance(result.exception, HostError)
    assert str(result.exception) == "runs on many hosts need dask.distributed; pip install 'loadgen[cluster]'"


def test_certificates_do_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = CliRunner().invoke(main.cli, ["cluster", "certs", "--out", str(tmp_path / "c"), "--hosts", "a"])
    assert result.exit_code == 0
    assert result.output.split() == [str(tmp_path / "c" / name) for name in ("coordinator.pem", "a.pem")]


def test_with_it_there_is_nothing_to_say() -> None:
    pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")
    extra.require()


def test_nothing_imports_it_before_it_is_used() -> None:
    """Neither the command line, nor any module of the cluster by itself, nor what a share is started from."""
    code = (
        "import sys, loadgen.cli.main, loadgen.control.orchestrator, loadgen.cluster.calls\n"
        "import loadgen.cluster.agent, loadgen.cluster.check, loadgen.cluster.connection, loadgen.cluster.security\n"
        "print(*[name for name in ('dask', 'distributed', 'tornado') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_an_idle_agent_has_none_of_the_libraries_of_scenarios() -> None:
    """They take 28 MB, in every agent that waits."""
    code = (
        "import sys, loadgen.cluster.agent, loadgen.cluster.calls, loadgen.control.allowlist\n"
        "print(*[name for name in ('numpy', 'pydantic', 'ruamel', 'aiohttp', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
