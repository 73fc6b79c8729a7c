"""Opening and closing all the time, as a user sees it: counts that add up, ceilings that were predicted."""

from __future__ import annotations

import json
import signal
from typing import Any, Final

import pytest

from loadgen.results.cost import rise

from .conftest import CHECKOUT, Done, Loadgen, assert_adds_up, assert_one_message, limit_of

#: A hundred ports across a cable, where tcp_tw_reuse is not about loopback addresses.
VETH: Final = {
    "topology": "veth",
    "sysctls": {
        "net.ipv4.ip_local_port_range": "40000 40099",
        "net.ipv4.tcp_rfc1337": 1,
        "net.ipv4.tcp_tw_reuse": 0,
    },
}


def churned(loadgen: Loadgen, *settings: str, **changes: Any) -> dict[str, Any]:
    """The summary of a complete run of a second, half a second after the last change."""
    done = loadgen("run", scenario(loadgen, **changes), *arguments(settings), "--json", "--quiet")
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert summary["complete"]
    assert summary["sink"]["agrees"], summary["sink"]["text"]
    assert summary["outcomes"]["established"] == summary["churn"]["closed"] + summary["open"]["lost"]
    return summary


def arguments(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def scenario(loadgen: Loadgen, **changes: Any) -> Any:
    keys: dict[str, Any] = {
        "lab": VETH,
        "sources": {"addresses": "198.18.0.1"},
        "targets": [{"address": "198.19.0.1:9000", "sink": True}],
        "connections": None,
        "churn": {"duration": "1s", "concurrency": 8},
    }
    return loadgen.scenario(**{**keys, **changes})


def test_ports_are_used_once_and_rest_for_a_minute(loadgen: Loadgen) -> None:
    summary = churned(loadgen)
    churn = summary["churn"]
    assert summary["outcomes"]["established"] == 100
    assert summary["errors"][0]["errno"] == "EADDRNOTAVAIL"
    assert {error["syscall"] for error in summary["errors"]} == {"connect"}
    assert (churn["loop"], churn["sustained_per_s"], churn["as_predicted"]) == ("closed", 0, True)
    assert (churn["ceiling"]["per_s"], churn["ceiling"]["established"]) == (1.667, 100)
    assert (churn["time_waits"], churn["recycled"], churn["time_wait_peak"]) == (100, 0, 100)
    assert summary["arrivals"]["scheduled"] == summary["arrivals"]["started"]
    assert summary["kernel"]["sink"]["peak"]["sockstat.tcp_tw"] == 0
    assert summary["verdict"]["limit"] == "time-wait"
    assert "As predicted, at most 1.67/s" in summary["verdict"]["text"]
    assert any("tcp_tw_reuse=1" in remedy for remedy in summary["verdict"]["remedies"])


def test_tcp_tw_reuse_lets_them_go_after_its_delay(loadgen: Loadgen) -> None:
    reuse = ("lab.sysctls.net.ipv4.tcp_tw_reuse=1", "lab.sysctls.net.ipv4.tcp_tw_reuse_delay=300")
    summary = churned(loadgen, *reuse)
    churn = summary["churn"]
    assert churn["ceiling"]["established"] == 400
    assert 100 < summary["outcomes"]["established"] <= 408  # how many of four passes depends on the machine
    assert churn["recycled"] == summary["outcomes"]["established"] - 100


@pytest.mark.parametrize("close", ["rst", "target"])
@pytest.mark.parametrize("strategy", ["late-range", "late", "explicit", "bind"])
def test_without_time_wait_of_our_own_there_is_no_ceiling(loadgen: Loadgen, close: str, strategy: str) -> None:
    summary = churned(loadgen, f"close={close}", f"sources.strategy={strategy}", "churn.duration=500ms")
    assert summary["outcomes"]["established"] > 100
    assert summary["churn"]["ceiling"]["per_s"] is None
    assert (summary["churn"]["time_waits"], summary["churn"]["time_wait_peak"]) == (0, 0)
    kept = summary["kernel"]["sink"]["delta"].get("TcpExt.TW", 0)
    assert kept == (summary["outcomes"]["established"] if close == "target" else 0)


@pytest.mark.parametrize(("strategy", "tenth"), [("late", 5), ("bind", 5), ("late-range", None)])
def test_the_kernels_search_shows_by_the_ports_that_rest(loadgen: Loadgen, strategy: str, tenth: int | None) -> None:
    """Past half of 8,000 ports, each of which rests for a minute; where bind() searches, its own time shows it, too."""
    ports = ("lab.sysctls.net.ipv4.ip_local_port_range=40000 47999", f"sources.strategy={strategy}", "workers=1")
    summary = churned(loadgen, *ports, "churn.duration=5s")
    assert len(summary["cost_us"]) >= 6
    found = rise(summary["cost_us"], lasting=1)
    assert (found and found.tenth) == tenth
    assert ("bind" in summary["latency_us"]) == (strategy == "bind")
    if strategy == "bind":
        assert summary["latency_us"]["bind"]["p99"] > 10 * summary["cost_us"][0]
        assert summary["latency_us"]["bind"]["count"] >= summary["arrivals"]["started"]


def test_where_the_target_closes_first_against_the_plan_no_share_of_ports_is_made_up(loadgen: Loadgen) -> None:
    """Then TIME-WAIT is over there, and every port serves at once."""
    target = [{"address": "198.19.0.1:9000", "sink": {"close_after_requests": 1}}]
    summary = churned(loadgen, targets=target, protocol="echo")
    assert summary["outcomes"]["established"] > 200
    assert summary["cost_us"] == []


def test_an_open_loop_has_a_schedule(loadgen: Loadgen) -> None:
    summary = churned(loadgen, "close=rst", arrival={"rate": "300/s"}, churn={"duration": "1s", "concurrency": 64})
    assert summary["arrivals"] == {"scheduled": 300, "started": 300, "not_started": 0}
    assert (summary["outcomes"]["established"], summary["churn"]["loop"]) == (300, "open")
    assert summary["latency_us"]["lateness"]["count"] == 300


def test_an_open_loop_does_not_wait_for_ports(loadgen: Loadgen) -> None:
    summary = churned(loadgen, arrival={"rate": "1000/s"})
    assert summary["arrivals"]["scheduled"] == 1000
    assert summary["outcomes"]["established"] == 100
    assert summary["arrivals"]["not_started"] + summary["outcomes"]["failed"] == 900


@pytest.mark.parametrize("close", ["rst", "target"])
@pytest.mark.parametrize("size", [1, 20_000])
def test_bytes_are_sent_and_read_back_before_the_close(loadgen: Loadgen, close: str, size: int) -> None:
    summary = churned(loadgen, f"close={close}", f"protocol={{name: echo, size: {size}}}", "churn.duration=500ms")
    assert summary["outcomes"]["established"] > 0
    assert summary["latency_us"]["exchange"]["count"] == summary["churn"]["closed"]
    assert summary["open"]["lost"] == 0


@pytest.mark.parametrize("close", ["fin", "target"])
@pytest.mark.parametrize("protocol", ["echo", "http"])
def test_the_duration_ends_connections_that_have_exchanges_left(loadgen: Loadgen, protocol: str, close: str) -> None:
    """A million exchanges of each would take minutes; each ends after the one it is in, as planned."""
    summary = churned(
        loadgen,
        f"close={close}",
        f"protocol={protocol}",
        f"targets.0.sink={{speaks: {protocol}}}",
        "churn.duration=500ms",
        "churn.exchanges=1_000_000",
    )
    assert 0.5 <= summary["churn"]["lasted_s"] < 5
    assert (summary["churn"]["closed"], summary["open"]["lost"], summary["traffic"]["wrong"]) == (8, 0, 0)
    assert summary["traffic"]["replies"] > 8


def test_ipv6_across_the_cable(loadgen: Loadgen) -> None:
    summary = churned(
        loadgen,
        sources={"addresses": "fd00::10-fd00::13"},
        targets=[{"address": "[fd00::1:1]:9000", "sink": True}],
    )
    assert summary["outcomes"]["established"] == 400
    assert [row["established"] for row in summary["sources"]] == [100] * 4


def test_held_connections_are_closed_by_the_target_if_that_is_asked_for(loadgen: Loadgen) -> None:
    """A run without churn: both sides agree, nothing is lost, and TIME-WAIT is on the sinks' side."""
    path = scenario(loadgen, churn=None, connections=80, close="target", workers=2)
    done = loadgen("run", path, "--json", "--quiet")
    assert done.code == 0, done.err
    summary = done.summary
    assert (summary["outcomes"]["established"], summary["open"]["lost"]) == (80, 0)
    assert summary["sink"]["agrees"]
    assert "TcpExt.TW" not in summary["kernel"]["delta"]
    assert summary["kernel"]["sink"]["delta"]["TcpExt.TW"] == 80


def test_a_setting_that_the_kernel_refuses_is_named_with_the_reason(loadgen: Loadgen) -> None:
    done = loadgen("run", scenario(loadgen), "--set", "lab.sysctls.net.ipv4.tcp_tw_reuse=3")
    assert done.code == 3
    message = assert_one_message(done)
    assert "net.ipv4.tcp_tw_reuse" in message
    assert "Invalid argument" in message


def test_an_interrupt_ends_churn_and_keeps_what_was_counted(loadgen: Loadgen) -> None:
    running = loadgen.start("run", scenario(loadgen, churn={"duration": "10m"}, close="rst"), "--json")
    running.until_line("line with connections", lambda line: line["established"] > 0)
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.code == 130, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert (summary["complete"], summary["churn"]["as_predicted"]) == (False, None)
    assert summary["outcomes"]["established"] > 0
    assert "interrupted" in summary["verdict"]["text"]


def test_a_worker_killed_in_churn_is_noticed_and_its_counts_stay(loadgen: Loadgen) -> None:
    path = scenario(loadgen, churn={"duration": "2s", "concurrency": 8}, close="rst", workers=2)
    running = loadgen.start("run", path, "--json")
    running.until_line("line with connections", lambda line: line["established"] > 0)
    running.workers()[0].signal(signal.SIGKILL)
    done = running.finish()
    assert done.code == 4, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert "killed by SIGKILL in phase churn" in summary["incomplete_because"]


def test_a_report_made_later_is_the_same(loadgen: Loadgen) -> None:
    done = loadgen("run", scenario(loadgen), "--json", "--quiet")
    (done.run / "summary.json").unlink()
    again = loadgen("report", done.run, "--json")
    assert again.code == 0, again.err
    assert again.summary == done.summary
    page = (done.run / "report.html").read_text()
    assert "TIME-WAIT" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_the_terminal_says_what_was_predicted_and_what_came(loadgen: Loadgen) -> None:
    done = loadgen("run", scenario(loadgen))
    assert done.code == 0, done.err
    assert "100 ports / 60 s: tcp_tw_reuse=0" in " ".join(done.out.split())
    assert "as predicted" in done.out
    assert "churning" in done.err


def test_a_small_tw_reuse_matrix_says_what_the_setting_changed(loadgen: Loadgen) -> None:
    """The shipped scenario, fewer cells: prediction beside measurement, and a sentence that names both rates."""
    done = loadgen(
        "run",
        CHECKOUT / "scenarios" / "tw-reuse.yaml",
        *arguments(
            (
                "matrix={lab.sysctls.net.ipv4.tcp_tw_reuse: [0, 1], close: [fin]}",
                "lab.sysctls.net.ipv4.tcp_tw_reuse_delay=200",
                "repeat=2",
                "churn.duration=1100ms",
            )
        ),
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    never, second = done.summary["cells"]
    assert [len(cell["runs"]) for cell in (never, second)] == [2, 2]
    assert (never["predicted"]["per_s"], second["predicted"]["per_s"]) == (1.667, 500)
    assert never["figures"]["established"]["median"] == 100
    assert never["as_predicted"]
    assert never["figures"]["recycled"]["median"] == 0
    assert second["figures"]["recycled"]["low"] > 0
    (change,) = second["changes"]
    assert not change["noise"]
    assert change["text"].startswith("tcp_tw_reuse=1 instead of 0 lifts ")
    table = (done.run / "cells.csv").read_text().splitlines()
    assert len(table) == 1 + 4
    assert json.loads((done.run / "summary.json").read_text()) == done.summary


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        # Where the table overflows the ports run out for moments, and it depends on the host's speed how often.
        ("tw-buckets", ["time-wait", "time-wait", None]),
        ("fin-timeout", ["time-wait"] * 2),
        ("timestamps", ["time-wait", "none", "time-wait", "time-wait"]),
    ],
)
def test_a_scenario_proves_itself(loadgen: Loadgen, name: str, limits: list[str | None]) -> None:
    done = loadgen("run", CHECKOUT / "scenarios" / f"{name}.yaml", "--json", "--quiet")
    assert done.code == 0, failed(done)
    for cell, limit in zip(done.summary["cells"], limits, strict=True):
        assert cell["status"] == "done"
        for run in cell["runs"]:
            few = "none" if run["churn"]["as_predicted"] else "time-wait"
            assert limit_of(run) == (limit or few)


def test_the_question_at_full_size_is_the_same(loadgen: Loadgen) -> None:
    """Not for as long as the scenario takes: one cell, two seconds of it."""
    path = CHECKOUT / "scenarios" / "tw-reuse-full.yaml"
    settings = ("matrix={lab.sysctls.net.ipv4.tcp_tw_reuse: [1]}", "churn.duration=2s")
    done = loadgen("run", path, *arguments(settings), "--json", "--quiet")
    assert done.code == 0, done.err
    (cell,) = done.summary["cells"]
    assert cell["predicted"]["per_s"] == 28_232
    assert cell["figures"]["established"]["median"] > 0


def failed(done: Done) -> str:
    """What a matrix expected and did not get."""
    summary = done.summary
    rows = [*summary["expect"], *(row for cell in summary["cells"] for run in cell["runs"] for row in run["expect"])]
    return f"{done.err}{[row for row in rows if not row['passed']]}"
