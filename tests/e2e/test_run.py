"""A run, as its user sees it: exit code, streams, run directory, and numbers that are true."""

from __future__ import annotations

import json
import os
import re
import resource
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import CHECKOUT, PAST_64K, Done, Loadgen, assert_adds_up, assert_one_message, environment, lines_of

FILES: Final = {
    "scenario.yaml",
    "plan.json",
    "host.json",
    "series.jsonl",
    "events.jsonl",
    "summary.json",
    "report.html",
}
QUANTILES: Final = {"p50", "p90", "p99", "p999", "max", "count"}
#: The contract: what other programs rely on finding in a summary.
KEYS: Final = {
    "": {"schema", "scenario", "run", "started_at", "duration_s", "complete", "incomplete_because", "arrivals"}
    | {"outcomes", "errors", "open", "rate_per_s", "latency_us", "sources", "kernel", "verdict", "expect"}
    | {"generator"},
    "arrivals": {"scheduled", "started", "not_started"},
    "outcomes": {"established", "failed", "in_flight"},
    "open": {"peak", "end_of_hold", "lost"},
    "rate_per_s": {"established_mean", "established_peak"},
    "latency_us": {"lateness", "connect", "arrival"},
    "latency_us.lateness": QUANTILES,
    "latency_us.connect": QUANTILES,
    "latency_us.arrival": QUANTILES,
    "sources.0": {"source", "target", "capacity", "peak_open", "established", "failed"},
    "kernel": {"delta", "peak"},
    "verdict": {"limit", "text", "predicted", "observed", "evidence", "remedies", "remedies_detail"},
    "expect.0": {"expression", "passed", "observed"},
    "generator": {"trustworthy", "lag_ms_p99", "workers", "cpu_s"},
}
#: Where every value is a number.
NUMBERS: Final = (
    *("arrivals", "outcomes", "open", "rate_per_s", "kernel.delta", "kernel.peak"),
    *("latency_us.lateness", "latency_us.connect", "latency_us.arrival"),
)


def at(summary: Any, path: str) -> Any:
    """What lies at a dotted path."""
    for step in filter(None, path.split(".")):
        summary = summary[int(step) if step.isdigit() else step]
    return summary


@pytest.fixture(scope="module")
def past_64k(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """scenarios/past-64k.yaml at a tenth of its size: one run, looked at from all sides."""
    loadgen = Loadgen(tmp_path_factory.mktemp("past-64k"))
    expect = ["outcomes.established == 10_000", "outcomes.failed == 0", "open.end_of_hold == 10_000"]
    settings = {"connections": 10_000, "hold": "1s", "expect": json.dumps(expect)}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    yield loadgen("run", PAST_64K, *overrides, "--json")
    loadgen.close()


def test_everything_connects_and_is_held(past_64k: Done) -> None:
    assert past_64k.code == 0, past_64k.err
    summary = past_64k.summary
    assert summary["complete"]
    assert_adds_up(summary)
    assert summary["arrivals"]["scheduled"] == summary["outcomes"]["established"] == 10_000
    assert summary["open"] == {"peak": 10_000, "end_of_hold": 10_000, "lost": 0}
    assert summary["errors"] == []
    # Whether a busy machine let loadgen keep up is not what this is about; what it says has to agree with itself.
    assert summary["verdict"]["limit"] == ("none" if summary["generator"]["trustworthy"] else "generator")
    assert [line["passed"] for line in summary["expect"]] == [True, True, True]
    assert summary["phases"]["hold_s"] >= 1


def test_stdout_is_one_object_with_all_that_was_promised(past_64k: Done) -> None:
    summary = past_64k.summary
    assert summary["schema"] == "loadgen.summary/1"
    for path, keys in KEYS.items():
        assert keys <= set(at(summary, path)), path
    for path in NUMBERS:
        for key, value in at(summary, path).items():
            assert type(value) in (int, float), f"{path}.{key} is {value!r}"


def test_both_sides_agree_on_every_source(past_64k: Done) -> None:
    summary = past_64k.summary
    assert summary["sink"]["agrees"]
    theirs = {row["source"]: (row["accepted"], row["source_ports"]) for row in summary["sink"]["sources"]}
    ours = {row["source"]: (row["established"], row["established"]) for row in summary["sources"]}
    assert theirs == ours
    assert sum(count for count, _ in ours.values()) == summary["sink"]["end_of_hold"] == 10_000


def test_the_kernel_counted_the_same(past_64k: Done) -> None:
    """In a namespace of its own nobody else opens anything; both ends of each connection are in it."""
    if any("no namespace here" in event["text"] for event in lines_of(past_64k.run / "events.jsonl")):
        pytest.skip("this host allows no network namespace, and on the host's own loopback others open connections too")
    kernel = past_64k.summary["kernel"]
    assert kernel["delta"]["Tcp.ActiveOpens"] == kernel["delta"]["Tcp.PassiveOpens"] == 10_000
    assert kernel["delta"]["softnet.processed"] >= 3 * 10_000  # SYN, SYN and ACK, ACK, and those of everybody else
    assert "Tcp.CurrEstab" not in kernel["delta"]  # all are closed again
    assert kernel["peak"]["sockstat.tcp_inuse"] > 20_000 > kernel["peak"]["sockstat.tcp6_inuse"] == 0


def test_sockets_were_counted_by_state_now_and_then(past_64k: Done) -> None:
    kernel = past_64k.summary["kernel"]
    assert kernel["sampling"]["samples"] == len(lines_of(past_64k.run / "series.jsonl"))
    assert 1 <= kernel["sampling"]["listings"] < kernel["sampling"]["samples"]
    assert 0 < kernel["sampling"]["cpu_s"] < kernel["sampling"]["run_cpu_s"]
    lines = [line for line in lines_of(past_64k.run / "series.jsonl") if "states" in line["kernel"]]
    assert lines
    for line in lines:
        assert line["kernel"]["states_age_s"] > 0
        assert line["kernel"]["states"]["listen"] >= 1
        assert sum(line["kernel"]["states"].values()) > 1
    assert kernel["states"]["counts"] in [line["kernel"]["states"] for line in lines]
    assert 0 <= kernel["states"]["t_s"] <= past_64k.summary["duration_s"]


def test_latency_was_measured_for_each(past_64k: Done) -> None:
    connect = past_64k.summary["latency_us"]["connect"]
    assert connect["count"] == 10_000
    assert 0 < connect["p50"] <= connect["p90"] <= connect["p99"] <= connect["p999"] <= connect["max"]


def test_the_run_directory_is_complete(past_64k: Done) -> None:
    run = past_64k.run
    assert {path.name for path in run.iterdir()} == FILES
    assert re.fullmatch(r"\d{8}T\d{6}Z-past-64k-[0-9a-f]{4}", run.name)
    assert json.loads((run / "summary.json").read_text()) == past_64k.summary
    assert PAST_64K.read_text() in (run / "scenario.yaml").read_text()
    plan, host = (json.loads((run / name).read_text()) for name in ("plan.json", "host.json"))
    assert plan["connections"] == 10_000
    assert plan["capacity_per_pair"] == 64_511  # 1024 to 65535 but for the sink's port
    assert {"kernel", "sysctls", "descriptors", "libraries", "clock_resolution_ns"} <= set(host)
    series = lines_of(run / "series.jsonl")
    assert [line["phase"] for line in series][-1] == "done"
    assert series[-1]["open"] == series[-1]["sink"]["open"] == 0
    assert [line["event"] for line in lines_of(run / "events.jsonl")] == ["started", "ended"]


def test_every_line_of_the_series_adds_up(past_64k: Done) -> None:
    times = []
    for line in lines_of(past_64k.run / "series.jsonl"):
        assert line["started"] == line["established"] + line["failed"] + line["in_flight"]
        assert line["scheduled"] >= line["started"] + line["not_started"]
        assert line["established"] >= line["open"] + line["lost"]
        times.append(line["t_s"])
    assert times == sorted(times)


def test_the_report_needs_nothing_but_itself(past_64k: Done) -> None:
    page = (past_64k.run / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert [link for link in links.found if not link.startswith(("#", "data:"))] == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", page)
    assert "10,000" in page
    assert "Content-Security-Policy" in page


def test_progress_is_plain_lines_on_stderr(past_64k: Done) -> None:
    lines = past_64k.err.splitlines()
    assert len(lines) >= 3
    assert "\x1b" not in past_64k.err
    assert "\r" not in past_64k.err
    for line in lines:
        assert re.match(r" *\d+\.\d s  (opening|holding|closing|done) +[\d,]+ open of 10,000, ", line), line


class Links(HTMLParser):
    """Everything in a page that would be fetched or followed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses in a tag."""
        del tag
        self.found += [value or "" for key, value in attrs if key in ("src", "href", "action", "srcset", "data")]


def test_without_json_stdout_is_for_people(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario())
    assert done.code == 0, done.err
    assert done.out.startswith("200 of 200 connections opened")
    assert "both sides agree" in done.out
    assert f"results/{done.run.name}/report.html" in done.out
    assert "\x1b" not in done.out


def test_quiet_says_nothing_while_all_is_well(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.summary["outcomes"]["established"] == 200


def test_a_failed_expectation_is_named_and_ends_with_99(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(expect=["outcomes.failed == 0", "outcomes.established > 200"]))
    assert done.code == 99
    (line,) = (line for line in done.out.splitlines() if "FAIL" in line)
    assert "outcomes.established > 200, observed 200" in line
    summary = json.loads((done.run / "summary.json").read_text())
    assert summary["complete"]
    assert [(row["expression"], row["passed"]) for row in summary["expect"]] == [
        ("outcomes.failed == 0", True),
        ("outcomes.established > 200", False),
    ]


def test_set_changes_this_run_and_not_the_file(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario()
    before = scenario.read_text()
    done = loadgen("run", scenario, "--json", "--set", "connections=60", "--set", "sources.strategy=explicit")
    assert done.summary["outcomes"]["established"] == 60
    assert json.loads((done.run / "plan.json").read_text())["strategy"] == "explicit"
    assert "connections=60" in (done.run / "scenario.yaml").read_text()
    assert scenario.read_text() == before


def test_a_scenario_may_come_through_a_pipe(loadgen: Loadgen) -> None:
    """As in `loadgen run <(generate)`: it can be read once only, and is kept all the same."""
    text = loadgen.scenario().read_text()
    pipe = loadgen.home / "pipe.yaml"
    os.mkfifo(pipe)
    running = loadgen.start("run", pipe, "--json")
    with pipe.open("w") as stream:
        stream.write(text)
    done = running.finish(10)
    assert done.code == 0, done.err
    assert text in (done.run / "scenario.yaml").read_text()


def test_an_open_loop_run_keeps_its_schedule_and_says_how_late_it_was(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(connections=1_000, arrival={"rate": "2000/s"}), "--json")
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert summary["outcomes"]["established"] + summary["arrivals"]["not_started"] == 1_000
    # The first is due after one interval of 0.5 ms, the last after a thousand.
    assert summary["phases"]["ramp_s"] >= 0.49
    assert summary["rate_per_s"]["established_mean"] < 2_100
    latency = summary["latency_us"]
    network = latency.pop("network")  # of a sample
    assert {latency[kind]["count"] for kind in latency} == {summary["outcomes"]["established"]}
    assert 1 <= network["count"] <= 1_000 / 16 + summary["generator"]["workers"]
    assert network["p50"] < latency["connect"]["p50"]
    assert latency["lateness"]["max"] > 0
    assert latency["arrival"]["max"] >= max(latency["lateness"]["max"], latency["connect"]["max"]) * 0.99


@pytest.mark.parametrize("close", ["fin", "rst"])
def test_only_fin_leaves_time_wait_behind(loadgen: Loadgen, close: str) -> None:
    done = loadgen("run", loadgen.scenario(close=close), "--json")
    assert done.code == 0, done.err
    assert done.summary["sink"]["agrees"]
    left = done.summary["kernel"]["peak"]["sockstat.tcp_tw"]
    # A few of them are ended early, by a reset that answers their own last ACK (RFC 1337).
    assert 100 < left <= 200 if close == "fin" else left == 0
    assert done.summary["open"]["lost"] == 0


@pytest.mark.parametrize("strategy", ["kernel", "late", "late-range", "explicit"])
def test_a_range_of_a_hundred_ports_carries_a_hundred_connections(loadgen: Loadgen, strategy: str) -> None:
    """And the one that is too many is refused before any load, with the sum and the way out."""
    source = "127.0.0.1" if strategy == "kernel" else "127.0.1.1"
    scenario = loadgen.scenario(
        lab={"sysctls": {"net.ipv4.ip_local_port_range": "40000 40099"}},
        sources={"addresses": source, "strategy": strategy},
        connections=100,
    )
    done = loadgen("run", scenario, "--json")
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 100
    (row,) = done.summary["sources"]
    assert (row["source"], row["capacity"], row["peak_open"]) == (source, 100, 100)
    assert done.summary["sink"]["sources"][0]["source_ports"] == 100

    refused = loadgen("run", scenario, "--set", "connections=101")
    assert refused.code == 3
    message = assert_one_message(refused)
    assert "four-tuples: need 101, have 100; " in message
    assert "to 1024-65535: +64,411" in message
    assert len(list(refused.results.iterdir())) == 1, "the refused run left a directory"


def test_workers_share_a_small_range_without_a_failure(loadgen: Loadgen) -> None:
    """Four workers have slices of 25 ports each; together they fill two sources to the last port."""
    done = loadgen(
        "run",
        loadgen.scenario(
            lab={"sysctls": {"net.ipv4.ip_local_port_range": "40000 40099"}},
            sources={"addresses": "127.0.1.1-127.0.1.2"},
            connections=200,
            workers=4,
        ),
        "--json",
    )
    assert done.code == 0, done.err
    assert done.summary["outcomes"] == {
        "established": 200,
        "failed": 0,
        "in_flight": 0,
        "retried": 0,
        "late": 0,
        "overtaken": 0,
    }
    assert [row["peak_open"] for row in done.summary["sources"]] == [100, 100]


def open_files(limit: int) -> Callable[[], None]:
    """Lowers the limit of descriptors, hard and soft."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def test_few_descriptors_mean_more_workers(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(connections=1_000)
    done = loadgen("run", scenario, "--json", preexec=open_files(300))
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 1_000
    assert done.summary["generator"]["workers"] * 300 > 1_000
    assert done.summary["sink"]["agrees"]

    refused = loadgen("run", scenario, "--set", "workers=1", preexec=open_files(300))
    assert refused.code == 3
    message = assert_one_message(refused)
    assert "descriptors of 1 worker: need 1,000, have 236" in message
    assert "workers: 5" in message


def test_the_orchestrator_has_a_limit_too(loadgen: Loadgen) -> None:
    """So few descriptors that it could not even hold its links to all the processes it would need."""
    done = loadgen("run", loadgen.scenario(connections=3_000), "--json", preexec=open_files(100))
    assert done.code == 3, done.err
    assert "descriptors" in assert_one_message(done)


def test_a_refusal_is_a_result_and_not_a_failure_of_the_run(loadgen: Loadgen) -> None:
    """One that somebody asked for: without the line about it the same run fails."""
    refused = {"targets": [{"address": "127.0.0.1:9000"}]}
    done = loadgen(
        "run", loadgen.scenario(**refused, expect=['verdict.limit == "refused"', "outcomes.failed == 200"]), "--json"
    )
    assert done.code == 0, done.err
    summary = done.summary
    assert_adds_up(summary)
    assert summary["outcomes"]["failed"] == 200
    assert summary["errors"] == [{"syscall": "connect", "errno": "ECONNREFUSED", "outcome": "refused", "count": 200}]
    assert summary["expect"][0] == {"expression": 'verdict.limit == "refused"', "passed": True, "observed": "refused"}
    assert summary["open"] == {"peak": 0, "end_of_hold": 0, "lost": 0}
    assert summary["sink"] is None


@pytest.mark.parametrize("expect", [None, ["latency_us.connect.p99 < 5_000"]])
@pytest.mark.parametrize("phase", [{"hold": "10m"}, {"connections": None, "churn": {"duration": "200ms"}}])
def test_a_run_that_opens_nothing_ends_at_once_and_fails(
    loadgen: Loadgen, tmp_path: Path, phase: dict[str, Any], expect: list[str] | None
) -> None:
    """Whatever else holds, such as a latency of which there was none. A hold would outlast the test."""
    changes = {"targets": [{"address": "127.0.0.1:9000"}], "heartbeat": None, "expect": expect, **phase}
    junit = tmp_path / "junit.xml"
    done = loadgen("run", loadgen.scenario(**changes), "--json", "--junit", str(junit))
    assert done.code == 99, done.err
    assert_adds_up(done.summary)
    assert done.summary["complete"]
    assert done.summary["verdict"]["limit"] == "refused"
    assert done.summary["expect"][-1] == {"expression": "outcomes.established > 0", "passed": False, "observed": 0}
    assert "outcomes.established &gt; 0" in junit.read_text()
    assert ("no connection opened, so there is nothing to hold" in done.err) == ("hold" in phase)


def test_ipv6(loadgen: Loadgen) -> None:
    done = loadgen(
        "run",
        loadgen.scenario(sources={"addresses": "::1"}, targets=[{"address": "[::1]:9000", "sink": True}]),
        "--json",
    )
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 200
    assert done.summary["sink"]["agrees"]
    assert done.summary["sources"][0]["target"] == "[::1]:9000"


@pytest.fixture
def loadgen_of_nobody(_user_namespaces: None) -> Iterator[Loadgen]:
    """The command line at home where everybody may write, and run by a Python that everybody may run."""
    if os.geteuid() != 0:
        pytest.skip("every other test here runs as an ordinary user already")
    path = os.pathsep.join([str(CHECKOUT), *site.getsitepackages()])
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [python, "-c", "import loadgen.worker.worker"]
        try:
            subprocess.run(probe, env=environment(PYTHONPATH=path), preexec_fn=become_nobody, check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        with tempfile.TemporaryDirectory() as home:
            Path(home).chmod(0o777)
            command = Loadgen(Path(home), python)
            yield command
            command.close()
        return
    pytest.skip("an ordinary user can run neither this Python nor Debian's with this checkout")


def become_nobody() -> None:
    """Give up root, and all groups with it."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def test_an_ordinary_user_has_labs_too(loadgen_of_nobody: Loadgen) -> None:
    """Through a user namespace, with a port range of the lab's own."""
    done = loadgen_of_nobody(
        "run",
        loadgen_of_nobody.scenario(lab={"sysctls": {"net.ipv4.ip_local_port_range": "40000 40199"}}),
        "--json",
        preexec=become_nobody,
        HOME=str(loadgen_of_nobody.home),
        PYTHONPATH=os.pathsep.join([str(CHECKOUT), *site.getsitepackages()]),
    )
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 200
    assert done.summary["kernel"]["delta"]["Tcp.ActiveOpens"] == 200, "these are not the lab's own counters"
    assert done.run.stat().st_uid == 65534


def test_as_many_sources_as_a_scenario_may_have(loadgen: Loadgen) -> None:
    """65,536 addresses, few of which get a connection; both sides still count them one by one."""
    scenario = loadgen.scenario(sources={"addresses": "127.1.0.0-127.1.255.255"}, connections=100, workers=1)
    done = loadgen("run", scenario, "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.summary["outcomes"]["established"] == 100
    assert done.summary["sink"]["agrees"]


def test_results_stay_inside_the_results_directory(loadgen: Loadgen) -> None:
    """A name with spaces and dots becomes one plain directory name."""
    done = loadgen("run", loadgen.scenario(name="a .. b"), "--json")
    assert done.code == 0, done.err
    assert re.fullmatch(r"[0-9TZ]+-[A-Za-z0-9._-]+-[0-9a-f]{4}", done.run.name)
    assert done.summary["scenario"] == "a .. b"


def test_runs_of_the_same_second_do_not_meet(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario()
    both = [loadgen.start("run", scenario, "--json") for _ in range(2)]
    summaries = [running.finish().summary for running in both]
    assert len({summary["run"] for summary in summaries}) == 2
    assert [summary["outcomes"]["established"] for summary in summaries] == [200, 200]


def test_what_is_held_shows_that_it_is_alive(loadgen: Loadgen) -> None:
    """The million at a small scale: fifty connections of a thousand answer several times a second."""
    settings = {"connections": "1000", "workers": "3", "sinks": "3", "hold": "2s", "expect": "[]"}
    beat = ("--set", "heartbeat={every: 200ms, share: 5%}", "--set", "protocol={name: echo, size: 100}")
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = loadgen("run", CHECKOUT / "scenarios" / "million.yaml", *words, *beat, "--json", "--quiet")
    assert done.code == 0, done.err
    found = done.summary["heartbeat"]
    assert 50 <= found["connections"] <= 53  # each worker rounds up
    assert (found["wrong"], done.summary["traffic"]["protocol"]) == (0, "echo")
    assert found["answered"] > 53
    assert found["sent"] >= found["answered"]
    assert done.summary["latency_us"]["exchange"]["count"] == found["answered"]
    assert (done.summary["open"]["lost"], done.summary["sink"]["agrees"]) == (0, True)
