"""nstat in text and JSON; what its values count from is known only by its command line."""

from __future__ import annotations

import pytest

from loadgen.explain.formats import nstat
from tests.pasted import captured, counters, read, since, unread

LINE = "TcpExtListenOverflows           24                 0.0\n"


@pytest.mark.parametrize("name", ["nstat-az-iproute2-6.1", "nstat-j-iproute2-6.1"])
def test_the_whole_output_is_read_under_the_kernels_names(name: str) -> None:
    evidence = captured(name)
    found = counters(evidence)
    assert len(found) == 390
    assert (found["TcpExt.ListenOverflows"], found["Tcp.ActiveOpens"], found["TcpExt.SyncookiesSent"]) == (24, 16, 0)
    assert unread(evidence) == []
    assert since(evidence) == {""}  # nothing in the output tells


def test_pretty_json_of_some_counters() -> None:
    evidence = captured("nstat-jp-iproute2-6.1")
    assert counters(evidence)["TcpExt.TCPSynRetrans"] == 18
    assert (unread(evidence), [one.last for one in evidence.pieces]) == ([], [149])


def test_values_of_the_daemon_and_an_overflow() -> None:
    evidence = captured("nstat-daemon")
    assert counters(evidence)["TcpExt.TCPSynRetrans"] == 2**32
    assert counters(evidence)["Ip6.InReceives"] == 7
    assert since(evidence) == {"boot"}  # it says that the history was ignored
    assert counters(read(LINE.rstrip() + " (overflow)\n", nstat.NSTAT)) == {"TcpExt.ListenOverflows": 24}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("nstat -az", "boot"),
        ("sudo nstat -zas | grep Listen", "boot"),
        ("nstat --ignore", "boot"),
        ("nstat -rsz", "boot"),
        ("nstat", "reading"),
        ("nstat -s", "reading"),
        ("nstat -z TcpExtListenOverflows", "reading"),
        ("cat x", ""),
        ("", ""),
    ],
)
def test_the_options_tell_since_when(command: str, expected: str) -> None:
    assert nstat.since_of(command) == expected


@pytest.mark.parametrize(
    ("text", "file", "expected"),
    [
        (f"$ nstat -az\n#kernel\n{LINE}", "-", "boot"),
        (f"$ nstat\n\n{LINE}", "-", "reading"),
        (f"$ nstat -az\nstrange\nlines\nhere\n{LINE}", "-", ""),
        (LINE, "sos_commands/networking/nstat_-zas", "boot"),
        (LINE, "ticket.txt", ""),
    ],
)
def test_the_command_is_the_line_before_or_the_name_of_the_file(text: str, file: str, expected: str) -> None:
    assert since(read(text, file=file)) == {expected}


def test_two_calls_are_two_readings() -> None:
    evidence = read(f"$ nstat -az\n{LINE}$ nstat -az\n{LINE.replace('24', '99')}")
    assert [one.value for one in evidence.readings("TcpExt.ListenOverflows")] == [24, 99]


@pytest.mark.parametrize(
    "text",
    [
        "TcpExtListenOverflows 24\n",
        "TcpExtListenOverflows -1 0.0\n",
        "TcpExtListenOverflows " + "9" * 5000 + " 0.0\n",
        "FooBar 24 0.0\n",
        "Tcp 24 0.0\n",
        "#kernels\n",
        '{"kernel":[]}\n',
        '{"kernel":{"TcpActiveOpens":1}\n',
        "{\n",
        '{\n  "other": {\n',
    ],
)
def test_what_only_looks_like_it_is_not_read(text: str) -> None:
    evidence = read(text, nstat.NSTAT)
    assert (counters(evidence), unread(evidence)) == ({}, [(1, text.count("\n"))])


def test_json_with_wrong_values_keeps_the_right_ones() -> None:
    text = '{"kernel":{"TcpActiveOpens":"x","TcpInSegs":-1,"Foo":2,"TcpOutSegs":7}}\n'
    assert counters(read(text, nstat.NSTAT)) == {"Tcp.OutSegs": 7}
