"""`loadgen plan`, as its user sees it: what it says, what it leaves alone, and that a run comes out as it said."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import CHECKOUT, Loadgen, Namespace, assert_one_message, environment, lines_of, wait_until

KEYS: Final = {
    "schema",
    "scenario",
    "possible",
    "verdict",
    "limit",
    "at_connections",
    "at_s",
    "connections",
    "refused",
} | {*("resources", "remedies", "routes", "notes", "plan", "host")}
LINE_KEYS: Final = {"resource", "limit", "needed", "available", "share", "allows", "short", "note"}
PREDICTION_KEYS: Final = {
    *("limit", "at_connections", "at_s", "possible", "observed_limit", "observed_at", "as_predicted")
}
#: A hundred ports.
LAB: Final = {"sysctls": {"net.ipv4.ip_local_port_range": "40000 40099"}}
VETH: Final = {
    "topology": "veth",
    "sysctls": {**LAB["sysctls"], "net.ipv4.tcp_rfc1337": 1, "net.ipv4.tcp_tw_reuse": 0},
}
TWO: Final = [{"address": f"127.0.0.1:{port}", "sink": True} for port in (9000, 9001)]


def planned(loadgen: Loadgen, scenario: Path, *args: str, code: int = 0) -> dict[str, Any]:
    done = loadgen("plan", scenario, "--json", *args)
    assert done.code == code, done.err
    assert not done.results.exists()
    return done.summary


# --- That a run comes out as the plan said --------------------------------------------------------

ACROSS: Final = {
    "lab": VETH,
    "sources": {"addresses": "198.18.0.1"},
    "targets": [{"address": "198.19.0.1:9000", "sink": True}],
    "connections": None,
}
#: Name: changes to the scenario, whether it is possible, the limit, at how many connections.
CASES: Final[dict[str, tuple[dict[str, Any], bool, str, int]]] = {
    "fits": ({"lab": LAB, "connections": 100}, True, "four-tuples", 100),
    "wall": ({"lab": LAB, "connections": 150}, False, "four-tuples", 100),
    "wall in an open loop": (
        {"lab": LAB, "connections": 150, "arrival": {"rate": "200/s"}},
        False,
        "four-tuples",
        100,
    ),
    "two targets share": ({"lab": LAB, "connections": 230, "targets": TWO}, False, "four-tuples", 200),
    "bind": (
        {"lab": LAB, "connections": 150, "targets": TWO, "sources": {"addresses": "127.0.1.1", "strategy": "bind"}},
        False,
        "source-ports",
        100,
    ),
    "explicit": (
        {"lab": LAB, "connections": 150, "sources": {"addresses": "127.0.1.1", "strategy": "explicit"}},
        False,
        "four-tuples",
        100,
    ),
    "a reserved port": (
        {
            "lab": {"sysctls": {**LAB["sysctls"], "net.ipv4.ip_local_reserved_ports": "40010-40019"}},
            "connections": 150,
        },
        False,
        "four-tuples",
        90,
    ),
    "descriptors": ({"connections": 400, "workers": 1, "descriptors": 300}, False, "descriptors", 236),
    "udp": ({"lab": LAB, "connections": 150, "transport": "udp", "close": None}, False, "source-ports", 100),
    "churn, closed loop": ({**ACROSS, "churn": {"duration": "1s", "concurrency": 8}}, True, "time-wait", 100),
    "churn, open loop": (
        {**ACROSS, "churn": {"duration": "1s", "concurrency": 8}, "arrival": {"rate": "200/s"}},
        False,
        "time-wait",
        100,
    ),
    "churn without a ceiling": (
        {**ACROSS, "churn": {"duration": "500ms", "concurrency": 8}, "close": "rst"},
        True,
        "four-tuples",
        100,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_comes_out_as_it_was_planned(loadgen: Loadgen, name: str) -> None:
    changes, possible, limit, at = CASES[name]
    scenario = loadgen.scenario(**{"hold": "100ms", "close": "rst", **changes} if "churn" not in changes else changes)
    said = planned(loadgen, scenario, code=0 if possible else 3)
    assert (said["possible"], said["limit"], said["at_connections"]) == (possible, limit, at)
    if "arrival" in changes:
        assert said["at_s"] == pytest.approx(0.505, abs=0.001)  # the hundred and first at 200/s
    done = loadgen("run", scenario, "--force", "--json", "--quiet")
    assert done.code == 0, done.err
    found = done.summary["prediction"]
    assert set(found) == PREDICTION_KEYS
    assert (found["limit"], found["at_connections"], found["possible"]) == (limit, at, possible)
    assert found["at_s"] == said["at_s"]
    assert found["as_predicted"] is True, (found, done.summary["verdict"])
    if not possible:
        assert found["observed_limit"] == limit
        assert at <= found["observed_at"] <= at + (64 if limit == "descriptors" else 0)


# --- Addresses on a link --------------------------------------------------------------------------

TABLE: Final = "net.ipv4.neigh.default.gc_thresh3"


def segment(loadgen: Loadgen, sources: int, **changes: Any) -> Path:
    last = ipaddress.ip_address("198.18.0.0") + sources
    ends = {"sources": {"addresses": f"198.18.0.1-{last}"}, "targets": [{"address": "198.19.0.1:9000", "sink": True}]}
    return loadgen.scenario(
        **{"lab": {"topology": "segment"}, "connections": sources, "close": "rst", **ends, **changes}
    )


@pytest.fixture
def table() -> int:
    """Room of the table of neighbours; it belongs to the whole host, so no test here fills it."""
    path = Path("/proc/sys", *TABLE.split("."))
    if not path.exists():
        pytest.skip("only the initial network namespace shows the table of neighbours")
    size = int(path.read_text())
    if not 512 <= size <= 32_768:
        pytest.skip(f"{TABLE} is {size}: a scenario has 65,536 sources at most, and others need some of a small table")
    return size


def test_a_plan_counts_the_neighbours_that_addresses_on_a_link_need(loadgen: Loadgen, table: int) -> None:
    """One for the target, one for each source; others of the host have some, and a run is refused."""
    scenario = segment(loadgen, table + 100)
    said = planned(loadgen, scenario, code=3)
    (line,) = (line for line in said["resources"] if line["resource"] == "neighbour entries")
    assert (said["limit"], line["limit"], line["needed"]) == ("neighbours", "neighbours", table + 101)
    assert table - 300 <= line["available"] <= table
    assert said["at_connections"] == line["allows"] == line["available"] - 1
    assert [note for note in said["notes"] if TABLE in note and "whole host" in note]
    assert [one["set"] for one in said["remedies"] if one["set"]] == [{"lab.topology": "veth"}]
    done = loadgen("run", scenario)
    assert done.code == 3
    message = assert_one_message(done)
    assert TABLE in message
    assert "--force" in message
    assert not done.results.exists()


def test_a_segment_leaves_no_neighbours(loadgen: Loadgen, table: int) -> None:
    """Two hundred sources have an entry each at the sinks' end while they are held, and none afterwards."""
    before, sources = in_table(), 200
    done = loadgen("run", segment(loadgen, sources, hold="200ms"), "--json", "--quiet")
    assert done.code == 0, done.err
    kernel = done.summary["kernel"]
    assert (kernel["peak"]["neigh.own"], kernel["sink"]["peak"]["neigh.own"]) == (1, sources)
    assert sources < kernel["peak"]["neigh.entries"] <= table
    assert (done.summary["verdict"]["limit"], done.summary["prediction"]["as_predicted"]) == ("none", True)
    # Others come and go meanwhile, a few at a time.
    wait_until(lambda: in_table() < before + sources // 2, "the entries of the lab are gone")


def in_table() -> int:
    return int(Path("/proc/net/stat/arp_cache").read_text().splitlines()[1].split()[0], 16)


def test_plan_versus_observed_is_shown_in_text_and_report(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(lab=LAB, connections=150, close="rst")
    done = loadgen("run", scenario, "--force", "--quiet")
    assert done.code == 0, done.err
    said = "four-tuples at 100 connections; observed four-tuples at 100: as predicted"
    assert said in " ".join(done.out.split())
    assert f"Plan versus observed: {said}" in (done.run / "report.html").read_text()


def test_a_missing_source_is_refused_in_the_same_words(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(sources={"addresses": "10.0.0.1"})
    said = planned(loadgen, scenario, code=3)
    assert (said["possible"], said["limit"], said["at_connections"]) == (False, "source-address", 0)
    assert "ip address add 10.0.0.1/32 dev lo" in said["verdict"]
    assert said["host"]["missing_sources"] == ["10.0.0.1"]
    assert [remedy["text"] for remedy in said["remedies"]] == ["add it with: ip address add 10.0.0.1/32 dev lo"]
    assert said["host"]["missing_because"] == ["absent"]
    refused = loadgen("run", scenario)
    assert refused.code == 3
    assert said["refused"] in assert_one_message(refused)


def test_a_run_that_insists_on_a_missing_source_meets_what_was_predicted(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(sources={"addresses": "10.0.0.1"}), "--force", "--json")
    assert done.code == 99
    assert done.summary["verdict"]["limit"] == "source-address"
    assert done.summary["prediction"]["as_predicted"] is True
    assert done.summary["verdict"]["remedies"] == ["add it with: ip address add 10.0.0.1/32 dev lo"]


# --- What a run refuses, and what --force is for --------------------------------------------------


def test_a_run_refuses_what_the_plan_calls_impossible(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(lab=LAB, connections=150)
    said = planned(loadgen, scenario, code=3)
    refused = loadgen("run", scenario)
    assert refused.code == 3
    assert assert_one_message(refused) == f"loadgen: {said['refused']}\n"
    assert said["refused"].startswith("four-tuples: need 150, have 100; ")


def test_force_does_not_reach_what_a_run_would_not_survive(loadgen: Loadgen) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))

    refused = loadgen("run", loadgen.scenario(workers=1, sinks=3, connections=10), "--force", preexec=few)
    assert refused.code == 3
    assert re.search(r"descriptors of 3 sinks: need \d+, have 15", assert_one_message(refused))


def test_ports_of_others_are_seen_before_the_run(loadgen: Loadgen, namespace: Namespace) -> None:
    """Somebody else holds forty connections to the same target; the plan counts them, and the run finds the rest."""
    code = """
import socket, sys
server = socket.create_server(("127.0.0.1", 9000), backlog=1000)
held = []
for port in range(40000, 40040):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.1.1", port))
    sock.connect(("127.0.0.1", 9000))
    held.append(sock)
print("ready", flush=True)
sys.stdin.read()
"""
    enter = namespace.enter
    subprocess.run([*enter, "sh", "-c", "echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range"], check=True)
    scenario = loadgen.scenario(
        lab=None, connections=100, close="rst", targets=[{"address": "127.0.0.1:9000"}], timeout="2s"
    )
    with subprocess.Popen(
        [*enter, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        done = loadgen("plan", scenario, "--json", prefix=enter)
        ran = loadgen("run", scenario, "--json", "--quiet", prefix=enter)
        holder.stdin.close()
    assert done.code == 3, done.err
    assert (done.summary["limit"], done.summary["at_connections"]) == ("port-held", 60)
    assert done.summary["refused"] is None
    assert ran.code == 0, ran.err
    assert ran.summary["prediction"]["observed_at"] == 60
    assert ran.summary["prediction"]["as_predicted"] is True


def test_a_sinks_port_that_is_taken_is_refused_in_the_same_words(loadgen: Loadgen, namespace: Namespace) -> None:
    code = "import socket, sys; held = socket.create_server(('127.0.0.1', 9000)); print('ready', flush=True); input()"
    scenario = loadgen.scenario(lab=None, connections=10)
    with subprocess.Popen(
        [*namespace.enter, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        done = loadgen("plan", scenario, "--json", prefix=namespace.enter)
        refused = loadgen("run", scenario, prefix=namespace.enter)
        holder.stdin.write(b"\n")
    assert (done.code, refused.code) == (3, 3)
    assert done.summary["possible"] is False
    assert done.summary["verdict"] == f"impossible: {done.summary['refused']}"
    assert assert_one_message(refused) == f"loadgen: {done.summary['refused']}\n"


# --- What it leaves alone -------------------------------------------------------------------------


def counters(enter: tuple[str, ...]) -> dict[str, Any]:
    """Tcp ActiveOpens and Udp OutDatagrams of a namespace, and how many sockets there are in it."""
    done = subprocess.run(
        [*enter, "cat", "/proc/net/snmp", "/proc/net/sockstat"], check=True, capture_output=True, text=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    found: dict[str, Any] = {}
    for names, values in pairwise(rows):
        if names[0] == values[0] and names[0] in ("Tcp:", "Udp:"):
            found |= {names[0] + name: value for name, value in zip(names[1:], values[1:], strict=True)}
    sockets = {row[0]: row[2] for row in rows if row[0] in ("TCP:", "UDP:")}
    return {
        **{name: found[name] for name in ("Tcp:ActiveOpens", "Tcp:PassiveOpens", "Tcp:OutSegs", "Udp:OutDatagrams")},
        **sockets,
    }


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nobody_is_connected_to(loadgen: Loadgen, namespace: Namespace, transport: str) -> None:
    scenario = loadgen.scenario(lab=None, connections=100, transport=transport)
    before = counters(namespace.enter)
    done = loadgen("plan", scenario, "--json", prefix=namespace.enter)
    assert done.code == 0, done.err
    after = counters(namespace.enter)
    # The table of connection tracking is empty, and a datagram from loopback to itself shows whether it is in use.
    assert int(after.pop("Udp:OutDatagrams")) - int(before.pop("Udp:OutDatagrams")) <= 1
    assert after == before
    assert done.summary["routes"] == [{"way": "local, dev lo", "first": "127.0.0.1", "targets": 1}]


@pytest.mark.parametrize("lab", [LAB, VETH])
def test_a_lab_is_left_as_if_it_had_not_been(loadgen: Loadgen, namespace: Namespace, lab: dict[str, Any]) -> None:
    ends = (
        {"sources": {"addresses": "198.18.0.1"}, "targets": [{"address": "198.19.0.1:9000", "sink": True}]}
        if "topology" in lab
        else {}
    )
    before = counters(namespace.enter)
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    done = loadgen("plan", loadgen.scenario(lab=lab, connections=50, **ends), "--json", prefix=namespace.enter)
    assert done.code == 0, done.err
    assert done.summary["host"]["ip_local_port_range"] == "40000-40099"
    assert counters(namespace.enter) == before
    assert Path("/proc/sys/net/ipv4/ip_local_port_range").read_text() == setting
    assert not loadgen.started[-1].results.exists()


# --- The screen, the JSON and the exit codes ------------------------------------------------------


def test_the_json_has_what_was_promised(loadgen: Loadgen) -> None:
    said = planned(loadgen, loadgen.scenario(lab=LAB, connections=100))
    assert said["schema"] == "loadgen.plan/1"
    assert set(said) >= KEYS
    assert all(set(line) == LINE_KEYS for line in said["resources"])
    names = {line["resource"] for line in said["resources"]}
    assert names >= {"four-tuples", "descriptors per worker", "descriptors per sink", "memory, bytes", "processes"}
    short = planned(loadgen, loadgen.scenario(lab=LAB, connections=150), code=3)
    assert {200, 64_511} <= {line["allows"] for line in short["remedies"]}, "another source, and the widest range"


def test_the_screen_fits_and_begins_with_the_verdict(loadgen: Loadgen) -> None:
    done = loadgen("plan", CHECKOUT / "scenarios" / "past-64k.yaml")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert done.out.startswith("possible; ")
    assert "four-tuples at 258,044 connections" in lines[0]
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_what_is_changed_on_the_command_line_counts(loadgen: Loadgen) -> None:
    done = loadgen("plan", CHECKOUT / "scenarios" / "past-64k.yaml", "--set", "connections=300000")
    assert done.code == 3
    assert done.err == ""
    assert done.out.startswith("impossible: ")
    assert "258,044 of 300,000 connections" in done.out
    assert "+64,511, 322,555 in all" in done.out


def test_a_matrix_has_a_line_for_each_cell(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(lab=LAB, connections=1, matrix={"connections": [90, 110]})
    done = loadgen("plan", scenario)
    assert done.code == 3
    lines = done.out.splitlines()
    assert lines[0] == "impossible: 1 of 2 cells"
    assert lines[2:4] == [
        "cell 0       possible, four-tuples at 100: connections 90",
        "cell 1       impossible, four-tuples at 100: connections 110",
    ]
    assert "cell 1" in lines
    said = planned(loadgen, scenario, code=3)
    assert [cell["possible"] for cell in said["cells"]] == [True, False]
    assert [cell["settings"] for cell in said["cells"]] == [{"connections": 90}, {"connections": 110}]
    only = planned(loadgen, scenario, "--cell", "0")
    assert (only["cell"], only["possible"]) == (0, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--cell", "0"), "--cell 0: "),
        (("--set", "connections=none"), "connections"),
        (("--set", "targets.0.address=192.0.2.1:80"), "--allow 192.0.2.1/32 --i-am-authorized"),
    ],
)
def test_what_cannot_be_meant_is_one_message(loadgen: Loadgen, args: tuple[str, ...], message: str) -> None:
    done = loadgen("plan", loadgen.scenario(), *args)
    assert done.code == 2
    assert message in assert_one_message(done)


def test_where_load_may_not_go_no_plan_goes_either(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(lab=None, targets=[{"address": "10.1.2.3:80"}])
    done = loadgen("plan", scenario)
    assert done.code == 2
    assert "--allow 10.1.2.3/32" in assert_one_message(done)


def test_the_second_cell_that_is_not_there_is_named(loadgen: Loadgen) -> None:
    scenario = loadgen.scenario(matrix={"connections": [1, 2]})
    done = loadgen("plan", scenario, "--cell", "2")
    assert done.code == 2
    assert "there are cells 0 to 1" in assert_one_message(done)


def test_an_old_run_without_a_prediction_is_reported_as_ever(loadgen: Loadgen) -> None:
    done = loadgen("run", loadgen.scenario(), "--quiet")
    assert done.code == 0, done.err
    path = done.run / "plan.json"
    plan = json.loads(path.read_text())
    del plan["prediction"]
    path.write_text(json.dumps(plan))
    (done.run / "summary.json").unlink()
    again = loadgen("report", done.run, "--json")
    assert again.code == 0, again.err
    assert again.summary["prediction"]["limit"] is None
    assert [line["event"] for line in lines_of(done.run / "events.jsonl")][-1] == "ended"
    assert os.path.getsize(done.run / "report.html")
