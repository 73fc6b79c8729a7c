"""Lines of sysctl files that do harm or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.doctor import sysctl_files
from loadgen.doctor.finding import Grade, LimitFinding, Purpose
from loadgen.kernel.sysctl_conf import SysctlLine

from .reading import HOST

FILE = "/etc/sysctl.d/50-fast.conf"
GONE = {"net.ipv4.tcp_tw_recycle": "it is gone"}


def judged(*lines: tuple[str, str]) -> LimitFinding:
    files = tuple(SysctlLine(FILE, number, name, value) for number, (name, value) in enumerate(lines, 1))
    host = replace(HOST.with_sysctl("net.ipv4.tcp_ehash_entries", "262144"), files=files, gone=GONE)
    return sysctl_files.files.find(host, Purpose())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((("net.ipv4.tcp_tw_recycle", "1"),), f"{FILE}:1 net.ipv4.tcp_tw_recycle=1 has no effect: it is gone"),
        (
            (("net.ipv4.tcp_max_tw_buckets", "5000"),),
            f"{FILE}:1 net.ipv4.tcp_max_tw_buckets=5000 lowers it from 131,072",
        ),
        (
            (("net.ipv4.tcp_tw_reuse", "1"), ("net.ipv4.tcp_timestamps", "0")),
            f"{FILE}:1 net.ipv4.tcp_tw_reuse=1 does nothing, as {FILE}:2 switches tcp_timestamps off",
        ),
        ((("net.ipv4.tcp_timestamps", "0"),), "nothing leaves TIME-WAIT early without timestamps"),
    ],
)
def test_a_doubtful_line_is_named_with_its_place(lines: tuple[tuple[str, str], ...], said: str) -> None:
    finding = judged(*lines)
    assert (finding.verdict, finding.judgement.change.now) == (Grade.TIGHT, ())
    assert said in finding.judgement.allows
    assert f"sed -i '1s/^/#/' '{FILE}'" in finding.judgement.change.for_good


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (("net.ipv4.tcp_tw_reuse", "1"), ("net.ipv4.tcp_timestamps", "1")),
        (("net.ipv4.tcp_max_tw_buckets", "262144"), ("net.core.somaxconn", "65535")),
        (("net.ipv4.tcp_timestamps", "0"), ("net.ipv4.tcp_timestamps", "1")),
        (("net.ipv4.tcp_max_tw_buckets", "many"),),
    ],
)
def test_other_lines_are_no_news(lines: tuple[tuple[str, str], ...]) -> None:
    assert judged(*lines).verdict is Grade.GOOD


def test_an_old_kernel_with_tw_recycle_is_warned() -> None:
    host = HOST.with_sysctl("net.ipv4.tcp_tw_recycle", "1")
    finding = sysctl_files.recycle.find(host, Purpose())
    assert (finding.verdict, finding.value) == (Grade.TIGHT, "1")
    assert finding.judgement.change.now == ("sysctl -w net.ipv4.tcp_tw_recycle=0",)
    assert sysctl_files.recycle.find(HOST.with_sysctl("net.ipv4.tcp_tw_recycle", "0"), Purpose()).verdict is Grade.GOOD
    line = SysctlLine(FILE, 3, "net.ipv4.tcp_tw_recycle", "1")
    (found,) = sysctl_files.problems(replace(host, files=(line,)))
    assert found == (line, "drops SYNs of clients behind one NAT address")


def test_names_of_files_cannot_drive_the_terminal() -> None:
    host = replace(HOST, files=(SysctlLine("/etc/sysctl.d/\x1b[2J.conf", 1, "net.ipv4.tcp_timestamps", "0"),))
    assert "\x1b" not in sysctl_files.files.find(host, Purpose()).judgement.allows
