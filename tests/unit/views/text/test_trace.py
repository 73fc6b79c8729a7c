"""The report of a trace as text, and the sentences about what it could not see."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from loadgen.strategies import Strategy
from loadgen.trace.follow import Follower
from loadgen.trace.run import TraceRecord
from loadgen.trace.strace import StraceLines
from loadgen.views.text import trace as view
from tests.golden import same_as_golden
from tests.unit.trace.test_account import BOUND, WAY, account


def record(*lines: str) -> TraceRecord:
    reader, follower = StraceLines(), Follower(whole=True)
    for number, line in enumerate(lines, 1):
        if call := reader.read(line, number):
            follower.follow(call)
    return TraceRecord(follower, "6.1", 0, 1.5)


def text(*lines: str) -> str:
    return " ".join(" ".join(view.lines(record(*lines), [])).split())


def test_a_report_reads_as_approved() -> None:
    ways = [
        replace(WAY, count=3, closed=3, open_max=1, failed={("connect", "ECONNREFUSED"): 2}),
        replace(BOUND, strategy=Strategy.BIND, beside=("IP_FREEBIND",), targets=2, sources=2),
        replace(BOUND, strategy=Strategy.EXPLICIT, source_port=40_000, named=2, named_range=(40_000, 40_001), count=2),
        replace(WAY, strategy=None, unseen=("bind",), command=""),
    ]
    made = record("close(3) = 0")
    made.follower.failures = Counter({("connect", "ECONNREFUSED"): 2, ("socket", "EMFILE"): 1})
    same_as_golden("trace.txt", "".join(f"{line}\n" for line in view.lines(made, [account(way) for way in ways])))


def test_a_program_that_does_not_connect() -> None:
    assert "no connect() to an Internet address was seen" in text("close(3) = 0")


def test_what_strace_could_not_see_is_said() -> None:
    assert "server uses io_uring" in text('execve("/opt/server", ["server"], 0x1) = 0', "io_uring_setup(8, {}) = 3")
    assert "moved into another network namespace (unshare(CLONE_NEWNET) = 0)" in text("unshare(CLONE_NEWNET) = 0")
    connect = 'connect(9, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.7")}, 16) = 0'
    assert "connect() on sockets opened before the trace began, or inherited: 1 times" in text(connect)


def test_what_a_program_calls_itself_does_not_reach_the_terminal() -> None:
    made = view.lines(record(), [account(replace(WAY, command="evil\x1b[31m", calls=("connect(\x07)",)))])
    assert not any(character in line for line in made for character in "\x1b\x07")
