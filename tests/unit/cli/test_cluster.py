"""`loadgen cluster`: the help of its commands, and arguments that are refused before anything is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from loadgen.cli import main
from loadgen.cli.cluster import cluster
from loadgen.errors import UsageError


def invoke(*args: str) -> Any:
    return CliRunner().invoke(main.cli, ["cluster", *args])


@pytest.mark.parametrize("command", sorted(cluster.commands))
def test_the_help_of_each_command_has_examples_and_every_option(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"  loadgen cluster {command}" in result.output
    assert "Exit codes: 0 fine" in result.output
    assert max(map(len, result.output.splitlines())) <= 100
    for parameter in cluster.commands[command].params:
        assert isinstance(parameter, click.Option)
        assert parameter.help
        assert parameter.opts[0] in result.output


def test_certificates_are_listed_as_they_are_written(tmp_path: Path) -> None:
    result = invoke("certs", "--out", str(tmp_path / "c"), "--hosts", "a, 10.0.0.2,")
    assert result.output.split() == [str(tmp_path / "c" / f"{name}.pem") for name in ("coordinator", "a", "10.0.0.2")]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["check"], "Missing option '--agents'"),
        (["check", "--agents", "0"], "Invalid value for '--agents'"),
        (["check", "--agents", "1", "--wait", "soon"], "write 30s, 2m or 500ms"),
        (["certs", "--out", "x"], "Missing option '--hosts'"),
    ],
)
def test_wrong_usage_says_what(args: list[str], words: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--listen", "10.0.0.1:1"], "beyond it a cluster needs certificates"),
        (["--listen", "10.0.0.1"], "--listen: "),
        (["--dask", "tls://h:1"], "add --certs DIR"),
        (["--dask", "h:1"], "write tls://HOST:PORT"),
    ],
)
def test_an_address_that_will_not_do_is_a_sentence(args: list[str], words: str) -> None:
    pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")
    result = invoke("check", "--agents", "1", *args)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
