"""Settings in all the ways in which people paste them."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.settings import SETTINGS
from tests.pasted import captured, read, settings, unread

TW = {"net.ipv4.tcp_tw_reuse": "1"}
RANGE = {"net.ipv4.ip_local_port_range": "32768 60999"}


def test_sysctl_a() -> None:
    evidence = captured("sysctl-a-procps-4.0.2")
    found = settings(evidence)
    assert (unread(evidence), len(evidence.pieces)) == ([], 1)
    assert found["net.ipv4.tcp_rmem"].count(" ") == 2
    assert (found["net.ipv4.ip_local_reserved_ports"], found["kernel.core_pattern"]) == ("", "core")
    assert len(found) == 183


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("net.ipv4.tcp_tw_reuse = 1", TW),
        ("net.ipv4.tcp_tw_reuse=1", TW),
        ("net/ipv4/tcp_tw_reuse = 1", TW),
        ("-net.ipv4.tcp_tw_reuse = 1", TW),
        ("  * `net.ipv4.tcp_tw_reuse = 1`", TW),
        ("net.ipv4.tcp_tw_reuse: 1", TW),
        ("net.ipv4.tcp_tw_reuse 1", TW),
        ("net.ipv4.tcp_tw_reuse = 1   # <- changed", TW),
        ("net.ipv4.tcp_tw_reuse = 1   <---- here", TW),
        ("235:net.ipv4.tcp_tw_reuse = 1", TW),
        ("      235:net.ipv4.tcp_tw_reuse = 1   <-------\u89c2\u5bdf", TW),
        ("tcp_tw_reuse = 1", TW),
        ("- `tcp_tw_reuse`: 1", TW),
        ("| `net.ipv4.tcp_tw_reuse` | 1 | reuse |", TW),
        ("/etc/sysctl.d/99-web.conf:12:net.ipv4.tcp_tw_reuse=1", TW),
        ("/proc/sys/net/ipv4/tcp_tw_reuse:1", TW),
        ("/proc/sys/net/ipv4/tcp_tw_reuse = 1", TW),
        ("net.ipv4.ip_local_port_range = 32768\t60999", RANGE),
        ("/proc/sys/net/ipv4/ip_local_port_range:32768\t60999", RANGE),
        ('net.ipv4.ip_local_port_range="32768 60999"', RANGE),
        ("net.ipv4.ip_local_reserved_ports = 8080,9000-9100", {"net.ipv4.ip_local_reserved_ports": "8080,9000-9100"}),
        ("net.ipv4.ip_local_reserved_ports = ", {"net.ipv4.ip_local_reserved_ports": ""}),
        ("net.nf_conntrack_max = 262144", {"net.netfilter.nf_conntrack_max": "262144"}),
        ("net/ipv4/conf/eth0.100/rp_filter = 2", {"net.ipv4.conf.eth0.100.rp_filter": "2"}),
    ],
)
def test_a_line(line: str, expected: dict[str, str]) -> None:
    evidence = read(line)
    assert (settings(evidence), unread(evidence)) == (expected, [])


@pytest.mark.parametrize(
    "line",
    [
        "we have net.ipv4.tcp_tw_reuse = 1 here",
        "net.ipv4.tcp_tw_reuse = on",
        "net.ipv4.tcp_tw_reuse == 1",
        "net.ipv4.tcp_tw_reuse: allows reuse",
        "tcp_tw_reuse = on",
        "disable_ipv6 = 1",
        "| net.ipv4.tcp_tw_reuse | reuse | 1 |",
        "user.name = root",
        "server.port = 8080",
        "net.java.dev = 5",
        "fs.defaultFS=hdfs://x",
        "fs.file-max: the most files",
        "kernel = 5",
        "# net.ipv4.tcp_tw_reuse = 1",
        "# server\nserver.port = 8080",
        "",
    ],
)
def test_other_lines_are_no_settings(line: str) -> None:
    evidence = read(line, SETTINGS)
    assert settings(evidence) == {}
    assert unread(evidence) == ([(1, line.count("\n") + 1)] if line else [])


def test_a_file_with_comments_is_one_piece() -> None:
    evidence = captured("sysctl.conf")
    assert settings(evidence) == {
        "net.ipv4.ip_forward": "0",
        "net.ipv4.ip_local_port_range": "15000 65000",
        "net.ipv4.tcp_fin_timeout": "30",
        "net.netfilter.nf_conntrack_max": "262144",
        "net.ipv4.conf.eth0.100.rp_filter": "2",
        "fs.file-max": "2097152",
    }
    assert [(one.what, one.first, one.last) for one in evidence.pieces] == [("sysctl.conf", 1, 14)]


def test_a_comment_behind_the_last_setting_is_not_of_the_piece() -> None:
    assert unread(read("net.ipv4.tcp_tw_reuse = 1\n# That is all.\n")) == [(2, 2)]


@pytest.mark.parametrize("noise", ['reading key "net.ipv6.conf.all.stable_secret"', "permission denied on key 'vm.x'"])
def test_what_sysctl_says_beside_the_settings(noise: str) -> None:
    evidence = read(f"sysctl: {noise}\nnet.ipv4.tcp_tw_reuse = 1\nsysctl: {noise}\n")
    assert (settings(evidence), unread(evidence)) == (TW, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ sysctl -a\n{force}$ cat /etc/sysctl.conf\n{file}", "2"),
        ("$ cat /etc/sysctl.d/99-web.conf\n{file}$ sysctl -a\n{force}", "2"),
        ("$ cat /etc/sysctl.conf\n{file}", "1"),
        ("{force}-{file}", "2"),
    ],
)
def test_what_is_in_force_counts_before_what_is_configured(text: str, expected: str) -> None:
    name = "net.ipv4.tcp_tw_reuse"
    evidence = read(text.format(force=f"{name} = 2\n", file=f"{name} = 1\n"))
    reading = evidence.sysctl(name)
    assert reading
    assert reading.value == expected
