"""Messages of the kernel's log in the forms of dmesg, syslog and the journal."""

from __future__ import annotations

from collections import Counter

import pytest

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.explain.formats.kernel_log import KERNEL_LOG, MESSAGES
from tests.pasted import captured, read, unread


def test_every_message_of_a_log_names_its_limit() -> None:
    evidence = captured("kernel-log")
    named: Counter[str] = Counter()
    for one in evidence.complaints:
        named[one.first.limit] += one.count
    assert named == {
        "": 2,
        "conntrack": 3,
        "neighbours": 3,
        "backlog": 4,
        "memory": 1,
        "descriptors": 1,
        "source-address": 1,
    }
    assert {one.first.program for one in evidence.complaints} == {"kernel"}
    assert unread(evidence) == []
    assert evidence.kernel == "5.10.0-8-amd64"


def test_messages_name_limits_of_the_table() -> None:
    assert {one.limit for one in MESSAGES} - {""} <= set(EVERY_LIMIT)


@pytest.mark.parametrize(
    ("where", "target", "port"),
    [("80", "", 80), ("[::]:20002", "", 20002), ("0.0.0.0:7070", "", 7070), ("127.0.0.1:23456", "127.0.0.1", 23456)],
)
def test_a_flooded_listener_is_named(where: str, target: str, port: int) -> None:
    evidence = read(f"TCP: request_sock_TCP: Possible SYN flooding on port {where}. Sending cookies.")
    (found,) = evidence.complaints
    assert (found.first.target, found.first.target_port, found.first.limit) == (target, port, "backlog")


@pytest.mark.parametrize(
    "line",
    [
        "nf_conntrack: table full, dropping packet",
        "- `nf_conntrack: table full, dropping packet`",
        "ip_conntrack: table full, dropping packet.",
        "<4>[12345.678901] nf_conntrack: nf_conntrack: table full, dropping packet",
        "Jul  8 10:03:53 centos8 kernel: nf_conntrack: nf_conntrack: table full, dropping packet",
        "kernel: nf_conntrack: nf_conntrack: table full, dropping packet",
    ],
)
def test_a_message_alone(line: str) -> None:
    (found,) = read(line).complaints
    assert found.first.limit == "conntrack"
    assert found.first.text.startswith(("nf_conntrack", "ip_conntrack"))


@pytest.mark.parametrize(
    "line",
    [
        "we never saw nf_conntrack: table full, dropping packet",
        "nf_conntrack: expectation table full",
        "nf_conntrack: table full",
        "[Wed Oct 11 14:32:52 2000] [error] client denied by server configuration",
        "Jul  8 10:03:53 web1 sshd[12]: Accepted publickey for root",
        "buffer overflow in neighbour's code",
    ],
)
def test_prose_and_other_programs_are_not_read(line: str) -> None:
    evidence = read(line, KERNEL_LOG)
    assert (list(evidence.complaints), unread(evidence)) == ([], [(1, 1)])


def test_other_lines_of_the_kernel_are_understood() -> None:
    text = "[    2.103377] EXT4-fs (sda1): mounted\nJul  8 10:03:53 web1 kernel: usb 1-1: new device\n"
    evidence = read(text)
    assert (list(evidence.complaints), unread(evidence)) == ([], [])


def test_dates_of_dmesg_are_told_from_those_of_other_logs_by_the_command() -> None:
    line = "[Wed Sep 30 10:21:04 2026] EXT4-fs (sda1): mounted\n"
    assert unread(read(line)) == [(1, 1)]
    assert unread(read(f"# dmesg -T | tail\n{line}")) == []
