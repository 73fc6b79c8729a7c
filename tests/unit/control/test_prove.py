"""Scenarios that --prove refuses, and the settings of a trial; that trials run is in tests/e2e/test_prove.py."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen import scenario as scenarios
from loadgen.control.prove import require_lab, settings_of
from loadgen.errors import UsageError
from loadgen.results.schema import files
from loadgen.results.schema.run import RemedyResult

TEXT = """
name: one
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "--prove needs `lab:` in the scenario"),
        ("lab: {fallback: host}", "write fallback: none"),
        ("lab: {}\nrepeat: 2", "this is a matrix"),
    ],
)
def test_remedies_are_tried_in_labs_of_one_run(more: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        require_lab(*scenarios.parse_cells(TEXT + more))


def test_a_scenario_with_a_lab_will_do() -> None:
    require_lab(*scenarios.parse_cells(TEXT + "lab: {}"))


def test_a_trial_has_the_change_what_it_needs_and_its_sysctls() -> None:
    """As --set takes them: the part after lab.sysctls. is one key."""
    plain: dict[str, Any] = {
        "text": "do it",
        "set": {"sources.addresses": ["127.0.0.2-127.0.0.3"]},
        "sysctls": {"net.ipv4.tcp_tw_reuse": "1"},
        "command": "sysctl -w net.ipv4.tcp_tw_reuse=1",
        "needs": {"sources.strategy": "late"},
        "gain": 9,
    }
    settings = settings_of(files.convert(plain, RemedyResult))
    assert list(settings) == ["sources.strategy", "sources.addresses", "lab.sysctls.net.ipv4.tcp_tw_reuse"]
