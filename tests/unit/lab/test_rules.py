"""Rules that nft refuses, and hosts without nft: one message, with the place."""

from __future__ import annotations

import subprocess

import pytest

from loadgen.errors import HostError
from loadgen.lab import rules


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "/dev/stdin:3:17-19: Error: syntax error, unexpected string, expecting hook\n    type filter hok\n",
            "line 3, column 17: syntax error, unexpected string, expecting hook",
        ),
        (
            "/dev/stdin:1:1-2: Error: Could not process rule: Operation not supported\n",
            "line 1, column 1: Could not process rule: Operation not supported",
        ),
        ("netlink: Error: cache initialization failed: Operation not permitted\n", "netlink: Error: cache init"),
        ("internal:0:0-0: Error: \x1b[31m", "line 0, column 0: \\x1b[31m"),
        ("", "without a reason"),
    ],
)
def test_the_message_of_nft_on_one_line(said: str, shown: str) -> None:
    assert rules.refusal(said).startswith(shown)


def test_rules_are_never_loaded_into_the_host() -> None:
    with pytest.raises(HostError, match="rules are for labs"):
        rules.load("lab.rules", "flush ruleset", False)


@pytest.fixture
def in_lab(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a lab, with a program `nft` that must not be run unless the test replaces it."""
    monkeypatch.setattr("loadgen.lab.namespace.is_entered", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/sbin/{name}")
    return monkeypatch


def test_a_host_without_nft_learns_what_to_install(in_lab: pytest.MonkeyPatch) -> None:
    in_lab.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(HostError, match="there is no nft on this host; apt install nftables"):
        rules.load("lab.rules_of_sinks", "table inet t {}", True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (subprocess.TimeoutExpired("nft", 20), "did not end within 20 s"),
        (PermissionError(13, "Permission denied"), "cannot be run: Permission denied"),
    ],
)
def test_an_nft_that_does_not_work(in_lab: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    in_lab.setattr("subprocess.run", fail)
    with pytest.raises(HostError, match=message):
        rules.load("lab.rules", "table inet t {}", False)
