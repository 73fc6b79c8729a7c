"""`loadgen explain` as a user sees it: pasted text in, an answer, a condition or a scenario out."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadgen import scenario

from .conftest import Loadgen, assert_one_message, environment

NGINX = "connect() to 10.0.0.7:80 failed (99: Cannot assign requested address) while connecting to upstream\n"
FULL = (
    NGINX
    + "net.ipv4.ip_local_port_range = 40000 40099\nState Recv-Q Send-Q Local Address:Port Peer Address:Port\n"
    + "".join(f"ESTAB 0 0 10.0.0.5:{40_000 + n} 10.0.0.7:80\n" for n in range(100))
)
#: What a bare host has: nothing of iproute2, procps, conntrack-tools or nftables.
BARE = ("sh", "cat", "grep", "tail", "uname")


def pasted(loadgen: Loadgen, text: str, *args: str) -> subprocess.CompletedProcess[str]:
    """The command with a text on its standard input."""
    return subprocess.run(
        [*loadgen.command, "explain", *args],
        input=text,
        cwd=loadgen.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )


def test_a_line_is_enough_for_an_answer(loadgen: Loadgen) -> None:
    done = pasted(loadgen, NGINX)
    assert (done.returncode, done.stderr) == (0, "")
    assert "four-tuples, time-wait (open)" in done.stdout
    assert "run `ss -tanp`" in done.stdout


def test_json_has_every_part_and_places_in_files(loadgen: Loadgen) -> None:
    (loadgen.home / "error.log").write_text(NGINX)
    (loadgen.home / "ss.txt").write_text(FULL.removeprefix(NGINX))
    done = loadgen("explain", "error.log", "ss.txt", "--json")
    assert (done.code, done.err) == (0, "")
    answer: dict[str, Any] = json.loads(done.out)
    assert set(answer) == {
        "schema",
        "findings",
        "spaces",
        "missing",
        "notes",
        "pieces",
        "unread",
        "more_unread",
    }
    (finding,) = answer["findings"]
    assert (finding["limit"], finding["confidence"], finding["source"], finding["target"]) == (
        "four-tuples",
        "certain",
        "10.0.0.5",
        "10.0.0.7:80",
    )
    assert {(proof["file"], proof["line"]) for proof in finding["evidence"]} == {("error.log", 1), ("ss.txt", 2)}
    assert answer["missing"] == answer["unread"] == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("used > 80%", 99),
        ("limit == four-tuples", 99),
        ("findings > 0", 99),
        ("used > 100%", 0),
        ("limit == conntrack", 0),
    ],
)
def test_a_condition_that_is_met_ends_with_99(loadgen: Loadgen, condition: str, code: int) -> None:
    done = pasted(loadgen, FULL, "--json", "--fail-if", condition)
    assert done.returncode == code
    assert done.stderr.startswith(f"loadgen: --fail-if {condition}: " if code else "")
    assert json.loads(done.stdout)["findings"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["no-such-file"], "no-such-file"),
        (["--fail-if", "usedd > 1%"], "write NAME OP VALUE"),
        (["--full-size"], "add --scenario FILE"),
        (["/dev/null", "--scenario", "no/such.yaml"], "--scenario no/such.yaml: there is no directory no"),
    ],
)
def test_a_mistake_is_one_message(loadgen: Loadgen, args: list[str], message: str) -> None:
    done = loadgen("explain", *args)
    assert done.code == 2
    assert message in assert_one_message(done)


def test_a_terminal_without_a_name_is_told_what_to_do(loadgen: Loadgen) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*loadgen.command, "explain"],
            stdin=theirs,
            cwd=loadgen.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment(),
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert "name a file, or pipe the text in" in done.stderr


def bare_path(home: Path) -> str:
    """A directory with the tools of a bare host, as PATH."""
    tools = home / "bare"
    tools.mkdir()
    for name in BARE:
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    return str(tools)


@pytest.mark.parametrize("bare", [False, True])
def test_what_it_tells_to_collect_is_what_it_reads(loadgen: Loadgen, bare: bool) -> None:
    command = loadgen("explain", "--what-to-collect").out
    path = bare_path(loadgen.home) if bare else os.environ["PATH"]
    collected = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60, env={"PATH": path}
    )
    assert collected.stderr == ""
    assert "net/ipv4/ip_local_port_range = " in collected.stdout
    done = pasted(loadgen, collected.stdout, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["unread"]) == (0, [])
    formats = {piece["format"] for piece in answer["pieces"]}
    assert {"sysctl", "ulimit" if not bare else "command"} & formats
    assert "proc-net" in formats if bare else {"ss", "proc-net"} & formats
    missing = {one["command"] for one in answer["missing"]}
    assert not {command for command in missing if command.startswith(("ss ", "sysctl net.ipv4.ip_local"))}


def test_the_scenario_has_the_numbers_of_the_evidence_and_their_places(loadgen: Loadgen) -> None:
    (loadgen.home / "ticket.txt").write_text(FULL)
    done = loadgen("explain", "ticket.txt", "--scenario", "again.yaml", "--full-size")
    assert (done.code, done.err) == (0, "loadgen: again.yaml reproduces four-tuples: loadgen run again.yaml\n")
    text = (loadgen.home / "again.yaml").read_text()
    assert "ticket.txt:2" in text
    spec = scenario.parse(text)
    assert spec.lab
    assert spec.lab.sysctls["net.ipv4.ip_local_port_range"] == "40000 40099"
    assert spec.expects("four-tuples")


def test_without_a_finding_there_is_nothing_to_reproduce(loadgen: Loadgen) -> None:
    """The explanation is printed all the same, and a file that was there stays."""
    (loadgen.home / "again.yaml").write_text("mine")
    done = pasted(loadgen, "prose\n", "--scenario", "again.yaml")
    assert done.returncode == 2
    assert "nothing to reproduce" in done.stderr
    assert done.stdout
    assert (loadgen.home / "again.yaml").read_text() == "mine"


@pytest.mark.parametrize(("stdout", "code"), [("|", 0), ("/dev/full", 3)])
def test_the_scenario_is_written_whatever_becomes_of_stdout(loadgen: Loadgen, stdout: str, code: int) -> None:
    (loadgen.home / "ticket.txt").write_text(FULL)
    reader, writer = os.pipe()
    os.close(reader)
    if stdout != "|":
        os.close(writer)
        writer = os.open(stdout, os.O_WRONLY)
    try:
        command = [*loadgen.command, "explain", "ticket.txt", "--scenario", "again.yaml"]
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, cwd=loadgen.home, env=environment(), check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
    assert (loadgen.home / "again.yaml").read_text().startswith("#")
