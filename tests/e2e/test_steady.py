"""The phases of a profile and the steady part of a run, as a user sees them."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from .conftest import Loadgen, assert_adds_up

#: A hundred ports, each of which serves again after 0.3 s: 333 connections per second for as long as one likes.
TINY: Final = {
    "topology": "veth",
    "sysctls": {
        "net.ipv4.ip_local_port_range": "40000 40099",
        "net.ipv4.tcp_rfc1337": 1,
        "net.ipv4.tcp_tw_reuse": 1,
        "net.ipv4.tcp_tw_reuse_delay": 300,
    },
}


def churned(loadgen: Loadgen, **changes: Any) -> Any:
    keys: dict[str, Any] = {
        "lab": TINY,
        "sources": {"addresses": "198.18.0.1"},
        "targets": [{"address": "198.19.0.1:9000", "sink": True}],
        "connections": None,
        "workers": 1,
    }
    return loadgen.scenario(**{**keys, **changes})


def test_against_time_wait_the_steady_part_begins_after_the_ports_ran_out(loadgen: Loadgen) -> None:
    """The first hundred take milliseconds, and say nothing of what goes on; a new fold of the series finds the same."""
    done = loadgen("run", churned(loadgen, churn={"duration": "3s", "concurrency": 8}), "--json", "--quiet")
    assert done.code == 0, done.err
    summary = done.summary
    part, churn = summary["steady"], summary["churn"]
    assert part["reached"], part.get("reason")
    assert part["from_s"] >= churn["first_denied_s"] == part["changed_at_s"][0]
    assert 0 < part["established"] < summary["outcomes"]["established"]
    assert part["established_per_s"] <= 1.05 * churn["ceiling"]["per_s"]
    assert 0 < part["latency_us"]["connect"]["count"] <= part["established"]
    run = loadgen.home / "results" / summary["run"]
    (run / "summary.json").unlink()
    again = loadgen("report", run)
    assert again.code == 0, again.err
    assert json.loads((run / "summary.json").read_text())["steady"] == part
    assert "Steady part: " in (run / "report.html").read_text()


def test_a_profile_rises_stays_and_falls(loadgen: Loadgen) -> None:
    """300 in the rise and in the fall, 300 in between, which are the steady part; before them a pause."""
    path = churned(
        loadgen,
        close="rst",
        churn={"concurrency": 64},
        arrival={"rate": "300/s"},
        profile={"init": "1s", "ramp": "1s", "sustain": "1500ms", "ramp_down": "1s"},
        expect=["steady.established > 0", "steady.to_s <= 2.6"],
    )
    begun = time.monotonic()
    done = loadgen("run", path, "--json", "--quiet")
    took_s = time.monotonic() - begun
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert took_s >= 1.0 + summary["duration_s"]
    assert summary["arrivals"]["scheduled"] == 750
    part = summary["steady"]
    assert 0.95 <= part["from_s"] < part["to_s"] <= 2.55
    assert abs(part["established"] - 300 * (part["to_s"] - part["from_s"])) <= 30


def test_held_connections_are_closed_over_the_time_of_the_fall(loadgen: Loadgen) -> None:
    path = loadgen.scenario(
        arrival={"rate": "2000/s"}, profile={"ramp": "0s", "sustain": "600ms", "ramp_down": "1s"}, workers=2
    )
    done = loadgen("run", path, "--json", "--quiet")
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    part = summary["steady"]
    assert part["reached"], part.get("reason")
    assert (part["open_low"], part["open_high"], part["lost"]) == (200, 200, 0)
    assert summary["phases"]["drain_s"] >= 1.0
    lines = (loadgen.home / "results" / summary["run"] / "series.jsonl").read_text().splitlines()
    falling = [line["open"] for line in map(json.loads, lines) if line["phase"] == "drain"]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) >= 5


def test_an_expectation_on_a_steady_part_that_is_not_there_fails_with_the_reason(loadgen: Loadgen) -> None:
    path = churned(loadgen, churn={"duration": "300ms"}, close="rst", expect=["steady.failed == 0"])
    done = loadgen("run", path)
    assert done.code == 99
    assert "no steady state: " in done.out
    assert "less than 10 intervals" in " ".join(done.out.split())
