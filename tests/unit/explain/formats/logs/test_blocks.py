"""Several lines about one failure are one complaint, with all that they tell."""

from __future__ import annotations

from dataclasses import replace

from loadgen.explain.evidence import Complaint, Where
from loadgen.explain.formats.logs import blocks
from loadgen.outcomes import Syscall

SHORT = Complaint("Java", frozenset({Syscall.CONNECT, Syscall.BIND}), "EADDRNOTAVAIL", "x", Where("-", 1))
FULL = replace(
    SHORT, syscalls=frozenset({Syscall.CONNECT}), target="10.0.0.7", target_port=80, source_port=0, listening=False
)


def test_lines_of_a_trace_complete_each_other() -> None:
    assert blocks.may_be_one(SHORT, FULL)
    assert blocks.merged(SHORT, FULL) == FULL


def test_what_contradicts_stays_apart() -> None:
    assert not blocks.may_be_one(FULL, replace(FULL, target="10.0.0.8"))
    assert not blocks.may_be_one(FULL, replace(FULL, errno="ECONNREFUSED"))
    assert not blocks.may_be_one(FULL, replace(FULL, syscalls=frozenset({Syscall.BIND})))
    assert not blocks.may_be_one(replace(FULL, program="nginx"), replace(FULL, program="haproxy"))


def test_the_target_of_the_outer_exception_and_the_call_of_the_inner_one() -> None:
    lines = [
        "org.apache.http.conn.HttpHostConnectException: Connect to db:5432 [db/10.0.0.7] failed: Connection refused",
        "\tat org.apache.http.A.connect(A.java:156)",
        "Caused by: java.net.ConnectException: Connection refused",
        "\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)",
    ]
    (found,) = blocks.read(lines, "-", 7).complaints
    assert (found.target, found.target_port, found.where.line, found.syscalls) == ("db", 5432, 7, FULL.syscalls)


def test_a_repeated_failure_is_told_once() -> None:
    said = Complaint("pgbouncer", frozenset({Syscall.CONNECT}), "EADDRNOTAVAIL", "x", Where("-", 3))
    again = replace(said, errno="", target="10.0.0.7", where=Where("-", 4))
    assert blocks.repeats(said, again)
    assert not blocks.repeats(said, replace(again, where=Where("-", 40)))
    assert not blocks.repeats(replace(said, program="JMeter"), replace(again, program="JMeter"))


def test_a_message_without_meaning_is_not_understood() -> None:
    assert not blocks.read(["nothing"], "-", 1).understood
    assert blocks.read(["java.net.SocketTimeoutException: Read timed out"], "-", 1).understood
