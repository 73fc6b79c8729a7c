"""Which values a command prints without their names, and which command printed a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import CommandLine, Evidence
from loadgen.explain.formats import shell
from loadgen.explain.formats.shell import BareKind, BareValue

RANGE = BareValue(BareKind.SYSCTL, "net.ipv4.ip_local_port_range")
FILES = BareValue(BareKind.LIMIT, "n")
COUNT = BareValue(BareKind.SYSCTL, "net.netfilter.nf_conntrack_count")
KERNEL = BareValue(BareKind.KERNEL)


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("cat /proc/sys/net/ipv4/ip_local_port_range", [RANGE]),
        ("sudo cat /proc/sys/net/ipv4/ip_local_port_range 2>/dev/null", [RANGE]),
        ("docker exec -it web cat /proc/sys/net/ipv4/ip_local_port_range", [RANGE]),
        ("sysctl -n net.ipv4.ip_local_port_range", [RANGE]),
        ("/sbin/sysctl --values net/ipv4/ip_local_port_range", [RANGE]),
        ("ulimit -n", [FILES]),
        ("ulimit -Sn", [FILES]),
        ("ulimit -H -n", [BareValue(BareKind.LIMIT, "n", hard=True)]),
        ("conntrack -C", [COUNT]),
        ("uname -r", [KERNEL]),
        ("ulimit -n; uname -r && cat /proc/sys/net/netfilter/nf_conntrack_count", [FILES, KERNEL, COUNT]),
        ("uname -r; ss -s; ulimit -n", [KERNEL]),
        ("cat /proc/sys/net/ipv4/ip_local_port_range | tee x", [RANGE]),
        # prints something else, or an unknown number of lines
        ("ss -tan | wc -l", []),
        ("cat /proc/sys/net/ipv4/ip_local_port_range | wc -c", []),
        ("cat /proc/sys/net/core/*", []),
        ("cat /etc/hosts /proc/sys/net/core/somaxconn", []),
        ("head -1 /proc/sys/net/core/somaxconn", []),
        ("sysctl net.ipv4.ip_local_port_range", []),
        ("sysctl -an", []),
        ("sysctl -n net.core.somaxconn=5", []),
        ("ulimit -n 65536", []),
        ("ulimit -a", []),
        ("uname -a", []),
        ("", []),
        ("; | && ||", []),
    ],
)
def test_values_without_names(command: str, values: list[BareValue]) -> None:
    assert shell.bare_values(command) == values


@pytest.mark.parametrize(
    "text",
    [
        "ss -s",
        "sudo ss -tan",
        "LANG=C netstat -s",
        "cat /proc/net/sockstat",
        "sysctl net.ipv4.tcp_tw_reuse",
        "ip route",
    ],
)
def test_shell_without_a_prompt(text: str) -> None:
    assert shell.is_plausible(text)


@pytest.mark.parametrize(
    "text", ["ss", "nstat", "ss shows nothing", "route to the target", "cat and dog", "ip is blocked", "grep it", ""]
)
def test_text_that_is_no_command_line(text: str) -> None:
    assert not shell.is_plausible(text)


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("sos/sos_commands/networking/ss_-peaonmi", "ss -peaonmi"),
        ("sos/sos_commands/networking/netstat_-s", "netstat -s"),
        ("sos/proc/net/stat/arp_cache", "cat /proc/net/stat/arp_cache"),
        ("/etc/sysctl.conf", "cat /etc/sysctl.conf"),
        ("sos/sos_commands/kernel/dmesg", "dmesg"),
        ("sos/sos_commands/networking/ip_route_show_table_all", "ip route show table all"),
        ("ticket.txt", ""),
        ("my_notes", ""),
        ("ss_web1.txt", ""),
        ("logs/ss", ""),
        ("-", ""),
    ],
)
def test_the_name_of_a_file_tells_its_command(file: str, command: str) -> None:
    assert shell.command_of(Evidence(), file, 1) == command


def test_a_command_line_is_that_of_the_lines_right_behind_it() -> None:
    evidence = Evidence(command=CommandLine("ss -s", "-", 5))
    assert [shell.command_of(evidence, "-", line) for line in (5, 6, 7, 8)] == ["", "ss -s", "ss -s", ""]
    assert shell.command_of(evidence, "other.txt", 6) == ""


def test_the_words_behind_a_tool() -> None:
    assert shell.words_of("sudo nstat -az | grep x", "nstat") == ["-az"]
    assert shell.words_of("echo nothing", "nstat") is None


@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    assert isinstance(shell.bare_values(text), list)
    assert shell.is_plausible(text) in (True, False)
    assert isinstance(shell.command_of(Evidence(), text, 1), str)
