"""Limits that call and errno name, and what the limits of the process and the host add."""

from __future__ import annotations

import pytest

from tests.unit.explain.samples import found, verdict

FILES = "Error: connect EMFILE 10.0.0.7:80 - Local (undefined:undefined)\n"


def test_descriptors_are_certain_and_the_limit_is_told() -> None:
    finding = found(FILES, "$ ulimit -n\n1024\n")
    assert (finding.limit, finding.confidence) == ("descriptors", "certain")
    assert any("1,024" in proof.text for proof in finding.evidence)
    assert finding.remedies[0].text.startswith("raise the limit of open files of the process")


def test_the_limit_of_the_host_has_another_remedy() -> None:
    finding = found("[88123.000001] VFS: file-max limit 100000 reached\n")
    assert (finding.limit, finding.remedies[0].text) == ("descriptors", "raise fs.file-max, now too low")


def test_memory_is_shown_where_tcp_has_all_it_may_have() -> None:
    log = "[ 9911.000000] TCP: out of memory -- consider tuning tcp_mem\n"
    stat = "$ cat /proc/net/sockstat\nsockets: used 90211\nTCP: inuse 90010 orphan 12 tw 0 alloc 90100 mem {used}\n"
    limit = "net.ipv4.tcp_mem = 94500 126000 189000\n"
    finding = found(log, stat.format(used=190_001), limit)
    assert (finding.limit, finding.confidence) == ("memory", "certain")
    assert "190,001 pages" in finding.text
    assert "pages" not in found(log, stat.format(used=100), limit).text


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("dial tcp 10.0.0.7:443: connect: connection refused\n", "refused"),
        ("dial tcp 10.0.0.7:443: connect: connection reset by peer\n", "reset"),
        ("dial tcp 10.0.0.7:443: connect: network is unreachable\n", "unreachable"),
        ("dial tcp 10.0.0.7:443: connect: operation not permitted\n", "forbidden"),
    ],
)
def test_what_the_errno_says_is_all_that_is_known(text: str, limit: str) -> None:
    finding = found(text)
    assert (finding.limit, finding.confidence, finding.target) == (limit, "certain", "10.0.0.7:443")


def test_a_rule_that_drops_is_shown_beside_eperm() -> None:
    rules = (
        "$ nft list ruleset\ntable inet f {\n\tchain out {\n"
        "\t\ttype filter hook output priority filter; policy accept;\n\t\ttcp dport 443 reject\n\t}\n}\n"
    )
    finding = found("dial tcp 10.0.0.7:443: connect: operation not permitted\n", rules)
    assert any("tcp dport 443 reject" in proof.text for proof in finding.evidence)
    assert verdict(rules)[0] == "none"


def test_a_setting_of_the_program_is_no_limit_of_the_kernel() -> None:
    assert verdict("2026/11/29 06:11:40 [alert] 8#8: 1024 worker_connections are not enough\n")[0] in ("none", "other")
