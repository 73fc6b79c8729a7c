"""`loadgen run --prove`: remedies are tried in fresh labs, and what they claim stands beside what came."""

from __future__ import annotations

import json

import pytest

from .conftest import Loadgen, assert_one_message

#: Two targets, of which bind() can reach a hundred ports in all.
WALL = {
    "lab": {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40099"}},
    "sources": {"addresses": "127.0.0.2", "strategy": "bind"},
    "targets": [{"address": "127.0.0.1:9000-9001", "sink": True}],
    "connections": 200,
    "close": "rst",
    "expect": ["outcomes.failed == 0"],
}


def test_remedies_come_true_and_the_first_run_decides_the_exit_code(loadgen: Loadgen) -> None:
    """It failed its expectation; each of the three that were tried met it."""
    done = loadgen("run", loadgen.scenario(**WALL), "--prove", "--force", "--json")
    assert done.code == 99, done.err
    assert done.summary["verdict"]["limit"] == "source-ports"
    remedies = done.summary["verdict"]["remedies"][:3]
    assert [proof["remedy"] for proof in done.summary["proof"]] == remedies
    for number, proof in enumerate(done.summary["proof"], 1):
        assert proof["run"] == f"proofs/{number}"
        assert (proof["before"], proof["claimed"], proof["measured"]) == (100, 200, 200), proof["remedy"]
        assert proof["ok"]
        assert proof["limit"] != "source-ports"
        tried = json.loads((done.run / proof["run"] / "summary.json").read_text())
        assert all(expectation["passed"] for expectation in tried["expect"])


def test_the_table_is_printed_reported_and_made_again(loadgen: Loadgen) -> None:
    """In `loadgen report`, too: what trials came to is among the events of the run."""
    done = loadgen("run", loadgen.scenario(**WALL), "--prove", "--force")
    table = done.out.partition("\nproved")[2].splitlines()
    assert table[0].split() == ["claimed", "measured", "limit", "then"]
    for number, line in enumerate(table[1:4], 1):
        place, claimed, measured, _, *shows = line.split()
        assert (place, claimed, measured, shows) == (str(number), "+100", "+100", ["comes", "true"])
    assert "trying remedy 1 of 3: use late-range" in done.err
    directory = done.run
    assert "Remedies that were tried" in (directory / "report.html").read_text()
    written = json.loads((directory / "summary.json").read_text())
    (directory / "summary.json").unlink()
    again = loadgen("report", str(directory), "--json")
    assert again.summary["proof"] == written["proof"]


def test_a_run_that_met_no_limit_has_nothing_to_prove(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(**{**WALL, "connections": 50}), "--prove", "--json")
    assert done.code == 0, done.err
    assert "no remedy of this verdict can be tried in a lab" in done.err
    assert "proof" not in done.summary


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"lab": None}, (), "--prove needs `lab:` in the scenario"),
        ({"repeat": 2}, (), "this is a matrix"),
        ({}, ("--resume", "results/none"), "leave --prove out"),
    ],
)
def test_what_cannot_be_proved_is_refused_before_any_load(
    loadgen: Loadgen, changes: dict[str, object], options: tuple[str, ...], message: str
) -> None:
    scenario = () if options else (loadgen.scenario(**{**WALL, **changes}),)
    done = loadgen("run", *scenario, *options, "--prove")
    assert done.code == 2
    assert message in assert_one_message(done)
