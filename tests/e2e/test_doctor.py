"""`loadgen doctor` as a user sees it: root or not, on the host and in a namespace, and it changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.kernel import sysctl

from .conftest import CHECKOUT, Loadgen, Namespace, assert_one_message, environment, forbidden
from .test_run import become_nobody, loadgen_of_nobody

__all__ = ["loadgen_of_nobody"]  # a fixture

#: Every setting of a namespace and what it says, but for counters, as JSON.
_ALL_SETTINGS: Final = """
import json, os, sys
found = {}
for directory, _, names in os.walk("/proc/sys/net"):
    for name in names:
        try:
            found[f"{directory}/{name}"] = open(f"{directory}/{name}").read()
        except OSError:
            pass
json.dump({name: text for name, text in found.items() if not name.endswith(("_count", "mru"))}, sys.stdout)
"""
#: What changes by itself, on a host where other things go on.
_COUNTERS: Final = {"net.netfilter.nf_conntrack_count"}
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*3\dm")


def limit(data: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in data["limits"] if one["name"] == name)
    return dict(found)


def in_namespace(namespace: Namespace, *command: str) -> str:
    return subprocess.run(
        [*namespace.enter, *command], check=True, capture_output=True, text=True, env=environment()
    ).stdout


def test_json_has_every_part(loadgen: Loadgen) -> None:
    done = loadgen("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    data = done.summary
    assert set(data) == {
        "schema",
        "kernel",
        "uid",
        "netns",
        "purpose",
        "summary",
        "change_first",
        "limits",
        "features",
        "permissions",
    }
    assert (data["schema"], data["uid"]) == ("loadgen.doctor/1", os.geteuid())
    assert (data["netns"], data["purpose"]) == (
        "",
        {"connections": 100_000, "pairs": 1, "rate_per_s": None, "close": "fin", "services": [], "processes": 1},
    )
    # These have a row only on kernels that have them.
    newer = ("tcp_syn_linear_timeouts", "tcp_rto_max_ms", "ip_local_port_step_width")
    there = sum(Path("/proc/sys/net/ipv4", name).exists() for name in newer)
    assert sum(data["summary"].values()) == len(data["limits"]) == 37 + there
    for one in data["limits"]:
        assert set(one) == {
            "name",
            "value",
            "verdict",
            "allows",
            "gain",
            "gains",
            "change_now",
            "change_for_good",
        }
        assert one["value"]
        assert one["allows"]
    assert limit(data, "net.ipv4.ip_local_port_range")["value"] == sysctl.read("net.ipv4.ip_local_port_range")
    for one in data["features"]:
        assert set(one) == {"name", "present", "since", "without", "reason", "change"}
        assert one["present"] is not bool(one["reason"])
    assert len(data["features"]) == 9
    assert len(data["permissions"]) == 6


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_and_names_every_limit(loadgen: Loadgen, namespace: Namespace, columns: int) -> None:
    """In a namespace without listeners, whose ports one command would name in a word as long as they are many."""
    done = loadgen("doctor", "--commands", prefix=namespace.enter, COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= columns
    assert "\x1b" not in done.out
    for name in ("ip_local_port_range", "tcp_fin_timeout", "RLIMIT_NOFILE hard", "somaxconn", "MemAvailable"):
        assert name in done.out
    assert "does NOT shorten TIME-WAIT" in " ".join(done.out.split())
    assert "sysctl -w net.core.somaxconn=65535" in done.out


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_those_who_want_them(loadgen: Loadgen, no_color: bool) -> None:
    wish = {"FORCE_COLOR": "1", "TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    out = loadgen("doctor", prefix=("env", *(f"{name}={value}" for name, value in wish.items()))).out
    assert bool(_COLOUR.search(out)) is not no_color


def test_the_settings_of_a_namespace_are_those_that_are_judged_and_stay(loadgen: Loadgen, namespace: Namespace) -> None:
    """Every setting under /proc/sys/net is compared; nobody else lives in that namespace."""
    changes = {"ip_local_port_range": "40000 40099", "tcp_tw_reuse": "0", "ip_local_reserved_ports": "40010-40019"}
    for name, value in changes.items():
        in_namespace(namespace, "sh", "-c", f"echo '{value}' > /proc/sys/net/ipv4/{name}")
    before = json.loads(in_namespace(namespace, sys.executable, "-c", _ALL_SETTINGS))
    done = loadgen("doctor", "--json", "--connections", "95", prefix=namespace.enter)
    after = json.loads(in_namespace(namespace, sys.executable, "-c", _ALL_SETTINGS))
    assert done.code == 0, done.err
    assert before["/proc/sys/net/ipv4/tcp_tw_reuse"] == "0\n"
    assert before == after

    data = done.summary
    ports, reserved = (limit(data, f"net.ipv4.ip_local_{name}") for name in ("port_range", "reserved_ports"))
    assert (ports["value"], ports["verdict"]) == ("40000 40099", "tight")
    assert ports["allows"].startswith("100 connections per source address and destination (40,099 - 40,000 + 1)")
    assert (reserved["verdict"], reserved["gain"]) == ("wall", 5)
    assert "90 / 60 s = 1.5/s" in limit(data, "net.ipv4.tcp_tw_reuse")["allows"]
    assert limit(data, "sockets in TIME-WAIT now")["value"] == "0"
    assert data["change_first"][0] == "net.ipv4.ip_local_reserved_ports"


def test_a_wall_is_an_exit_code_when_asked_for(loadgen: Loadgen, namespace: Namespace) -> None:
    command = ("doctor", "--connections", "100000")
    assert loadgen(*command, prefix=namespace.enter).code == 0
    walled = loadgen(*command, "--fail-if-wall", prefix=namespace.enter)
    assert walled.code == 3
    assert "wall   1. net.ipv4.ip_local_port_range" in walled.out
    assert loadgen("doctor", "--connections", "10", "--fail-if-wall", prefix=namespace.enter).code == 0


def test_the_namespace_of_a_process_is_judged_from_outside(loadgen: Loadgen, namespace: Namespace) -> None:
    """As a container, whose range stays what it was when that of the host was widened."""
    in_namespace(namespace, "sh", "-c", "echo '40000 40099' > /proc/sys/net/ipv4/ip_local_port_range")
    pid = namespace.enter[2]
    by_pid = ("doctor", "--connections", "50", "--netns", pid)
    data = loadgen(*by_pid, "--json").summary
    assert data["netns"] == f"process {pid}"
    assert limit(data, "net.ipv4.ip_local_port_range")["value"] == "40000 40099"
    by_path = loadgen("doctor", "--json", "--netns", f"/proc/{pid}/ns/net").summary
    assert limit(by_path, "net.ipv4.ip_local_port_range")["value"] == "40000 40099"
    assert "40,099 - 40,000 + 1" in " ".join(loadgen(*by_pid).out.split())
    assert f"the network namespace of process {pid};" in " ".join(loadgen(*by_pid).out.split())


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (str((1 << 22) + 1), "there is no process"),
        ("/nowhere/net", "cannot open the network namespace /nowhere/net: No such file or directory"),
        ("/proc/self/status", "it is a file, and no network namespace"),
    ],
)
def test_a_namespace_that_is_none(loadgen: Loadgen, place: str, says: str) -> None:
    done = loadgen("doctor", "--netns", place)
    assert done.code == 3
    assert says in assert_one_message(done)


def test_a_rate_has_a_ceiling_too(loadgen: Loadgen, namespace: Namespace) -> None:
    in_namespace(namespace, "sh", "-c", "echo '40000 40099' > /proc/sys/net/ipv4/ip_local_port_range")
    for rate, close, code in (("331/s", "fin", 3), ("331/s", "rst", 0), ("331/s", "target", 0), ("60/min", "fin", 0)):
        done = loadgen(
            "doctor", "--rate", rate, "--close", close, "--connections", "10", "--fail-if-wall", prefix=namespace.enter
        )
        assert done.code == code, done.out
    data = loadgen("doctor", "--rate", "331/s", "--json", prefix=namespace.enter).summary
    assert "100 / 60 s = " in limit(data, "rate: ports in TIME-WAIT")["allows"]
    assert limit(data, "rate: connection tracking")["allows"].startswith("no ceiling: 100 four-tuples")


_TRACKING: Final = """
add table inet t
add chain inet t c { type filter hook output priority 0; }
add rule inet t c ct state new accept
"""


@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft: apt install nftables")
def test_tracking_that_is_on_is_a_ceiling(loadgen: Loadgen, namespace: Namespace) -> None:
    """The rule is enough: nothing has been tracked yet."""
    in_namespace(namespace, "nft", _TRACKING)
    command = ("doctor", "--rate", "2500/s", "--close", "fin", "--pairs", "20", "--json")
    found = limit(loadgen(*command, prefix=namespace.enter).summary, "rate: connection tracking")
    assert found["verdict"] == "wall"
    assert "2,500/s wanted" in found["allows"]
    assert "nf_conntrack_tcp_timeout_time_wait=" in found["gains"]


def test_a_program_of_one_process_and_its_descriptors(loadgen: Loadgen) -> None:
    """loadgen itself has as many processes as it takes, which most programs have not."""
    prefix = ("prlimit", "--nofile=1024:1024")
    soft = limit(loadgen("doctor", "--connections", "4096", "--json", prefix=prefix).summary, "RLIMIT_NOFILE soft")
    assert (soft["value"], soft["verdict"]) == ("1,024", "wall")
    assert "ends at 1,021 connections (EMFILE)" in soft["allows"]
    spread = loadgen("doctor", "--connections", "4096", "--processes", "8", "--json", prefix=prefix).summary
    assert limit(spread, "RLIMIT_NOFILE soft")["verdict"] == "good"


#: A connection on the only port that there is, until standard input closes.
_ON_THE_PORT: Final = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 8500))
client = socket.create_connection(("127.0.0.1", 8500))
print(client.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_services_whose_ports_outgoing_connections_may_take(loadgen: Loadgen, namespace: Namespace) -> None:
    """Judged before and after; and the command that is advised keeps what is reserved."""

    def settings(text: str) -> None:
        in_namespace(namespace, "sh", "-c", text)

    settings("echo '40000 40001' > /proc/sys/net/ipv4/ip_local_port_range")
    settings("echo 40001 > /proc/sys/net/ipv4/ip_local_reserved_ports")
    command = ("doctor", "--connections", "1", "--services", "8500,40000-40001", "--json")

    def services() -> dict[str, Any]:
        return limit(loadgen(*command, prefix=namespace.enter).summary, "ports of services (--services)")

    before = services()
    assert before["verdict"] == "tight"
    assert before["allows"].startswith("40000: inside ip_local_port_range")
    assert before["change_now"] == ["sysctl -w net.ipv4.ip_local_reserved_ports=40000-40001"]
    with subprocess.Popen(
        [*namespace.enter, sys.executable, "-c", _ON_THE_PORT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as client:
        assert client.stdin
        assert client.stdout
        assert client.stdout.readline() == b"40000\n"
        taken = services()
        assert taken["verdict"] == "wall"
        assert taken["allows"].startswith("40000: a connection has it now")
        client.stdin.close()
    settings("echo 40000-40001 > /proc/sys/net/ipv4/ip_local_reserved_ports")
    assert services()["change_now"] == [], "there is nothing left to reserve"


def test_the_host_is_left_as_it_was(loadgen: Loadgen) -> None:
    """Its settings, its interfaces (the trial of veth makes two elsewhere) and its processes."""
    names = set(sysctl.RELEVANT) - _COUNTERS
    before = sysctl.read_all(names), sorted(os.listdir("/sys/class/net"))
    running = loadgen.start("doctor")
    running.seen.update(running.process.descendants())
    assert running.finish().code == 0
    assert (sysctl.read_all(names), sorted(os.listdir("/sys/class/net"))) == before


def test_an_ordinary_user_is_told_what_runs(loadgen_of_nobody: Loadgen) -> None:
    done = loadgen_of_nobody(
        "doctor",
        "--json",
        preexec=become_nobody,
        PYTHONPATH=os.pathsep.join([str(CHECKOUT), *site.getsitepackages()]),
    )
    assert done.code == 0, done.err
    data = done.summary
    assert data["uid"] == 65534
    rights = {one["name"]: one for one in data["permissions"]}
    # Whoever runs these tests may make namespaces without privilege: conftest.py asks for that.
    assert rights["labs (`lab:`)"]["allowed"], rights
    assert rights["sysctls in labs (`lab.sysctls`)"]["allowed"], rights
    assert not rights["explicit ports below 1024"]["allowed"]
    assert "EACCES" in rights["explicit ports below 1024"]["reason"]
    assert not rights["other namespaces (`watch --netns`)"]["allowed"]
    assert not rights["processes of other users' sockets"]["allowed"]
    assert all(one["allowed"] == one["ordinary_user"] for one in rights.values())


@pytest.mark.usefixtures("_user_namespaces")
def test_root_is_told_what_an_ordinary_user_may(loadgen: Loadgen) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    rights = {one["name"]: one for one in loadgen("doctor", "--json").summary["permissions"]}
    assert rights["explicit ports below 1024"]["allowed"]
    assert not rights["explicit ports below 1024"]["ordinary_user"]
    assert rights["labs (`lab:`)"]["ordinary_user"]


@pytest.mark.usefixtures("_user_namespaces")
def test_where_no_namespace_can_be_made_it_says_what_forbids_them(loadgen: Loadgen) -> None:
    done = loadgen("doctor", "--json", prefix=forbidden("40000 40099"))
    assert done.code == 0, done.err
    (found,) = (one for one in done.summary["features"] if one["name"] == "network namespaces")
    assert not found["present"]
    assert "ENOSPC" in found["reason"]
    assert "sysctl -w user.max_net_namespaces=65536" in found["change"]
