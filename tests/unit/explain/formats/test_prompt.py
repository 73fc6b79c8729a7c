"""Prompts, fences and headings are understood, and bare values are read behind the command that prints them."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.prompt import COMMAND, command_line, is_layout
from tests.pasted import captured, counters, limits, read, settings, unread

SOMAXCONN, FIN_TIMEOUT = "net.core.somaxconn", "net.ipv4.tcp_fin_timeout"
MISSING = "cat: /proc/sys/net/netfilter/nf_conntrack_count: No such file or directory\n"


@pytest.mark.parametrize(
    "line",
    [
        "$ ss -s",
        "# ss -s",
        "root@web1:~# ss -s",
        "deploy@web1:/var/log$ ss -s",
        "[root@web1 ~]# ss -s",
        "[root@web1 networking]$ ss -s",
        "web1:~ # ss -s",
        "bash-5.1$ ss -s",
        "sh-4.4# ss -s",
        "/ # ss -s",
        "~ $ ss -s",
        "root@web1 ~ % ss -s",
        "(venv) [10:02:33] root@web1:~# ss -s",
        "\u276f ss -s",
        "+ ss -s",
        "ss -s",
        "    $ ss -s",
        "`ss -s`",
        "**ss -s**:",
        "- Output of `ss -s`:",
        "<summary>ss -s</summary>",
    ],
)
def test_a_command_line_with_its_prompt(line: str) -> None:
    assert command_line(line) == "ss -s"


@pytest.mark.parametrize(
    "line",
    [
        "# Environment",
        "# netstat",
        "## ss output",
        "net.ipv4.tcp_tw_reuse = 1",
        "it costs 5 $ a day",
        "write to a@b.example about it",
        "90 % of the ports",
        "ESTAB 0 0 10.0.0.1:80 10.0.0.2:4711",
        "#kernel",
        "# net.ipv4.tcp_tw_reuse = 1",
        "`backlog` is full",
        "<b>bold</b>",
        "",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert command_line(line) is None


@pytest.mark.parametrize(
    "line", ["```", "```console", "~~~", "</details>", "<pre>", "{noformat}", "[code]", "-----", "..."]
)
def test_layout(line: str) -> None:
    assert is_layout(line)
    assert unread(read(line)) == []


def test_a_whole_ticket() -> None:
    """Prose stays unread, and so does the bare number of `ss -tan | wc -l`; all else is read."""
    evidence = captured("ticket.txt")
    assert unread(evidence) == [(1, 1), (14, 14), (61, 61)]
    assert settings(evidence) == {
        "net.ipv4.ip_local_port_range": "32768 60999",
        "fs.file-nr": "9344 0 9223372036854775807",
        "net.netfilter.nf_conntrack_count": "65531",
    }
    assert [one.soft for one in evidence.limits if one.name == "Max open files"] == [1024, 20000]
    assert evidence.kernel == "5.15.0-91-generic"
    assert {one.since for one in evidence.readings("TcpExt.TCPSynRetrans")} == {"boot"}
    assert counters(evidence)["neigh.entries"] == 4
    assert [one.first.limit for one in evidence.complaints] == ["backlog", "conntrack"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "$ sysctl -n net.core.somaxconn net.ipv4.tcp_fin_timeout\n4096\n2\n",
            {SOMAXCONN: "4096", FIN_TIMEOUT: "2"},
        ),
        ("```\n$ cat /proc/sys/net/core/somaxconn\n```\n\n```\n128\n```\n", {SOMAXCONN: "128"}),
        ("/proc/sys/net/core/somaxconn:\n128\n", {SOMAXCONN: "128"}),
        (
            "==> /proc/sys/net/core/somaxconn <==\n128\n\n==> /proc/sys/net/ipv4/tcp_fin_timeout <==\n60\n",
            {SOMAXCONN: "128", FIN_TIMEOUT: "60"},
        ),
        ("$ sysctl -n \\\n  net.core.somaxconn\n128\n", {SOMAXCONN: "128"}),
        ("$ cat /proc/sys/net/ipv4/tcp_congestion_control\ncubic\n", {"net.ipv4.tcp_congestion_control": "cubic"}),
        (
            f"$ cat /proc/sys/net/netfilter/nf_conntrack_count /proc/sys/net/core/somaxconn\n{MISSING}128\n",
            {SOMAXCONN: "128"},
        ),
    ],
)
def test_bare_values_of_settings(text: str, expected: dict[str, str]) -> None:
    evidence = read(text)
    assert (settings(evidence), unread(evidence)) == (expected, [])


@pytest.mark.parametrize(
    ("command", "value", "expected"),
    [
        ("ulimit -n", "1024", {"Max open files": (1024, None)}),
        ("ulimit -Hn", "4096", {"Max open files": (None, 4096)}),
        ("ulimit -n", "unlimited", {"Max open files": (None, None)}),
        ("ulimit -l", "64", {"Max locked memory": (65536, None)}),
    ],
)
def test_bare_values_of_ulimit(command: str, value: str, expected: dict[str, tuple[int | None, int | None]]) -> None:
    assert limits(read(f"$ {command}\n{value}\n")) == expected
    assert limits(read(f"{command}: {value}\n")) == expected


@pytest.mark.parametrize(
    "line", ["bash: nstat: command not found", "sh: 1: nstat: not found", "[sudo] password for deploy: "]
)
def test_a_command_that_failed_is_understood(line: str) -> None:
    assert unread(read(f"$ sudo nstat -az\n{line}\n")) == []
    assert unread(read(f"{line}\n", COMMAND)) == [(1, 1)]


def test_an_error_of_another_program_is_left_to_other_formats() -> None:
    assert unread(read("$ nginx -t\nnginx: bind() to 0.0.0.0:80 failed (13: Permission denied)\n", COMMAND)) == [(2, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "32768 60999\n",
        "$ echo hello\n1024\n",
        "$ sysctl -n net.core.somaxconn\nwe have 128 here\n",
        "$ sysctl -n net.core.somaxconn\ncubic\n",
        "$ uname -r\nLinux\n",
        "$ ulimit -n\n1024 files\n",
        "$ ulimit -n\n$ whoami\n1024\n",
        "$ ulimit -n\n" + "9" * 5000 + "\n",
    ],
)
def test_bare_values_of_an_unknown_command_are_not_guessed(text: str) -> None:
    evidence = read(text, COMMAND)
    assert (settings(evidence), limits(evidence), evidence.kernel) == ({}, {}, "")
    assert unread(evidence) == [(text.count("\n"), text.count("\n"))]


def test_the_piece_names_the_command() -> None:
    evidence = read("$ ss -tanp | head\n")
    assert evidence.pieces[0].what == "command line: ss -tanp | head"
    assert evidence.command_before("-", 2) == "ss -tanp | head"
