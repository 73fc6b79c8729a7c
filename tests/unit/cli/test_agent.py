"""`loadgen agent`: arguments that are refused before a coordinator is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadgen.cli import main
from loadgen.errors import HostError, LoadgenError, UsageError

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        (["--coordinator", "h:1"], UsageError, "write tls://HOST:PORT"),
        (["--coordinator", "tls://h:1"], UsageError, "add --certs DIR"),
        (["--coordinator", "tcp://10.0.0.1:1"], UsageError, "beyond it a cluster needs certificates"),
        (["--coordinator", "tcp://127.0.0.1:1", "--allow", "10.0.0.1"], UsageError, "is not a CIDR"),
        (["--coordinator", "tls://h:1", "--certs", "."], HostError, r"has no ca\.pem"),
    ],
)
def test_each_is_a_sentence(
    args: list[str], kind: type[LoadgenError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words):
        CliRunner().invoke(main.cli, ["agent", *args], catch_exceptions=False)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 64])
def test_a_name_has_to_be_one_that_a_directory_may_have(name: str) -> None:
    result = CliRunner().invoke(main.cli, ["agent", "--coordinator", "tcp://127.0.0.1:1", "--name", name])
    assert result.exit_code == 2
    assert "Invalid value for '--name'" in result.output


def test_a_coordinator_has_to_be_named() -> None:
    result = CliRunner().invoke(main.cli, ["agent"])
    assert result.exit_code == 2
    assert "Missing option '--coordinator'" in result.output
