"""Twenty agents on this machine, each on a host of its own with 1,000 connections to a target there: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .conftest import assert_adds_up
from .hosts import network

pytest.importorskip("distributed", reason="needs the extra: pip install 'loadgen[cluster]'")

_AGENTS: Final = 20
_EACH: Final = 1_000


@pytest.mark.timeout(180)
def test_twenty_agents_are_one_run(tmp_path: Path) -> None:
    """Each opens exactly its share, and the whole is their sum."""
    with network(tmp_path, _AGENTS + 1) as hosts:
        home = hosts.hosts[0]
        scenario = home.loadgen.scenario(
            connections=_AGENTS * _EACH, workers=1, sinks=1, hold="2s", interval="1s", arrival={"rate": "10000/s"}
        )
        for host in hosts.agents:
            host.agent()
        done = home.coordinate(scenario, _AGENTS, "--wait", "90s").finish(120)
        assert done.code == 0, done.err
        summary = done.summary
        assert_adds_up(summary)
        assert summary["complete"]
        agents = summary["agents"]
        assert [agent["name"] for agent in agents] == sorted(host.name for host in hosts.agents)
        for agent in agents:
            assert_adds_up(agent)
            assert agent["complete"]
            assert agent["outcomes"]["established"] == agent["open"]["end_of_hold"] == _EACH
            assert agent["open"]["lost"] == 0
        assert summary["outcomes"]["established"] == summary["open"]["peak"] == _AGENTS * _EACH
        assert summary["open"]["end_of_hold"] == _AGENTS * _EACH
        assert summary["sink"]["accepted"] == _AGENTS * _EACH
        assert summary["sink"]["agrees"]
        for key in ("scheduled", "started", "not_started"):
            assert summary["arrivals"][key] == sum(agent["arrivals"][key] for agent in agents)
        for host in hosts.agents:
            host.until_no_share(10)
