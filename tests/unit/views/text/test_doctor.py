"""A checkup as text and as JSON."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.doctor import limits
from loadgen.doctor.checkup import Checkup
from loadgen.doctor.features import Feature, Permission
from loadgen.doctor.finding import Purpose
from loadgen.views.text import doctor

from ...doctor.reading import HOST

CHECKUP = Checkup(
    purpose=Purpose(),
    kernel="6.1.0",
    uid=1000,
    findings=limits.find_all(HOST, Purpose()),
    features=[
        Feature("IP_LOCAL_PORT_RANGE", "6.3", "late-range becomes late", "setsockopt: ENOPROTOOPT"),
        Feature("veth", "2.6.24", "no topology", "", ("modprobe veth",)),
        Feature("user namespaces", "3.8", "only root has labs", "unshare: EPERM", ("sysctl -w a.b=1",)),
    ],
    permissions=[Permission("labs", "unshare: EPERM", "unshare: EPERM"), Permission("sysctls", "", "refused")],
)


@pytest.mark.parametrize("width", [80, 100, 120, 140])
@pytest.mark.parametrize("commands", [False, True])
def test_every_line_fits(width: int, commands: bool) -> None:
    for line in doctor.lines(CHECKUP, width, commands=commands):
        assert len(line) <= width, line
        assert line == line.rstrip()


def test_what_to_change_first_stands_before_the_table() -> None:
    text = "\n".join(doctor.lines(CHECKUP))
    head, _, rest = text.partition("\n\nto change first\n")
    assert head == "100,000 connections from one source address to one destination: 2 walls, 3\ntight, 35 good."
    first, _, table = rest.partition("\n\nlimits\n")
    assert first.startswith("wall   1. net.ipv4.ip_local_port_range: +36,280; 28,232 become 64,512")
    assert 'now       sysctl -w net.ipv4.ip_local_port_range="1024 65535"' in first
    assert "for good  echo" in first
    for finding in CHECKUP.findings:
        assert any(line.split()[0] == finding.verdict and finding.name in line for line in table.splitlines())


def test_a_namespace_that_is_not_ours_is_named() -> None:
    """With what is not its own, and without a way to drive the terminal."""
    head = " ".join(doctor.lines(replace(CHECKUP, netns="/run/netns/\x1b[31m"), 140)[:3])
    assert "the network namespace of /run/netns/\\x1b[31m; all else: where this command runs" in head


def test_with_nothing_to_change_there_is_no_such_list() -> None:
    good = [finding for finding in CHECKUP.findings if finding.verdict == "good"]
    assert "to change first" not in doctor.lines(replace(CHECKUP, findings=good))


def test_what_a_limit_allows_stands_beside_it_where_there_is_room() -> None:
    (line,) = (line for line in doctor.lines(CHECKUP, 140) if line.startswith("good") and " fs.nr_open " in line)
    assert "RLIMIT_NOFILE can be raised to" in line
    (line,) = (line for line in doctor.lines(CHECKUP, 80) if line.startswith("good") and " fs.nr_open " in line)
    assert line.endswith("1048576")


def test_commands_below_every_limit_are_asked_for() -> None:
    somaxconn = "sysctl -w net.core.somaxconn=65535"
    assert not any(somaxconn in line for line in doctor.lines(CHECKUP))
    assert any(somaxconn in line for line in doctor.lines(CHECKUP, commands=True))


def test_what_is_absent_says_why_and_what_then() -> None:
    text = "\n".join(doctor.lines(CHECKUP))
    assert "no      IP_LOCAL_PORT_RANGE                  since Linux 6.3" in text
    assert "setsockopt: ENOPROTOOPT; without it: late-range becomes late" in text
    assert "now       sysctl -w a.b=1" in text
    assert "modprobe" not in text, "nothing to mend where it is there"


def test_rights_are_those_of_this_user_and_of_an_ordinary_one() -> None:
    text = "\n".join(doctor.lines(CHECKUP))
    assert "what uid 1000 may do here, and what an ordinary user may" in text
    assert "no      labs                                 ordinary user: no" in text
    assert "yes     sysctls                              ordinary user: no" in text
    assert "what root may do" in "\n".join(doctor.lines(replace(CHECKUP, uid=0)))


@given(st.sampled_from([one.judgement.change for one in CHECKUP.findings]), st.integers(20, 100))
def test_a_folded_command_is_the_same_to_a_shell(change: tuple[tuple[str, ...], ...], width: int) -> None:
    for command in (command for commands in change for command in commands):
        lines = doctor.folded(command, width)
        going_on = "\n".join(lines).replace("\\\n", "")  # a shell takes these two out; shlex does not
        assert shlex.split(going_on) == shlex.split(command)


def test_a_command_is_folded_only_where_a_shell_would_split_it() -> None:
    assert doctor.folded("echo 'a b' >> file", 100) == ["echo 'a b' >> file"]
    assert doctor.folded("echo 'a b c d' >> file", 18) == ["echo 'a b c d' \\", "  >> file"]
    assert doctor.folded("'one long word'", 5) == ["'one long word'"]


def test_json_says_what_the_table_says() -> None:
    data = json.loads(json.dumps(CHECKUP.to_json()))
    assert data["schema"] == "loadgen.doctor/1"
    assert data["purpose"] == {
        "connections": 100_000, "pairs": 1, "rate_per_s": None, "close": "fin", "services": [], "processes": 1,
    }  # fmt: skip
    assert data["summary"] == {"wall": 2, "tight": 3, "good": 35, "absent": 0}
    assert data["change_first"][0] == "net.ipv4.ip_local_port_range"
    first = data["limits"][0]
    assert (first["name"], first["value"], first["verdict"], first["gain"]) == (
        "net.ipv4.ip_local_port_range",
        "32768 60999",
        "wall",
        36_280,
    )
    assert first["change_now"] == ['sysctl -w net.ipv4.ip_local_port_range="1024 65535"']
    assert [feature["present"] for feature in data["features"]] == [False, True, False]
    assert data["permissions"][1] == {
        "name": "sysctls",
        "allowed": True,
        "reason": "",
        "ordinary_user": False,
        "ordinary_reason": "refused",
    }
