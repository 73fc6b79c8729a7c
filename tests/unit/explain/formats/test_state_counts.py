"""Counts of sockets by state, behind command lines that leave none out, and behind others."""

from __future__ import annotations

import pytest

from loadgen.explain.formats.state_counts import SocketCount, counted
from tests.pasted import counters, read, unread

BY_STATE = "netstat -n | awk '/^tcp/ {++S[$NF]} END {for(a in S) print a, S[a]}'"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (BY_STATE, SocketCount(by_state=True, complete=True)),
        ("netstat -ant | awk '{print $6}' | sort | uniq -c | sort -rn", SocketCount(by_state=True, complete=True)),
        ("ss -ant | awk '{print $1}' | sort | uniq -c", SocketCount(by_state=True, complete=True)),
        ("ss -tn | awk '{++s[$1]} END {for (i in s) print i, s[i]}'", SocketCount(by_state=True)),
        ("ss -tan | awk '{print $1}' | sort | uniq -c | head -3", SocketCount(by_state=True)),
        ("netstat -an | grep TIME_WAIT | wc -l", SocketCount(by_state=False)),
        ("sudo netstat -antp | grep -c TIME_WAIT", SocketCount(by_state=False)),
        ("ss -tan | grep -i 'time-wait' | wc -l", SocketCount(by_state=False)),
        ("ss -tan state time-wait | wc -l", SocketCount(by_state=False, header=1)),
        ("ss -tan state time-wait | tail -n +2 | wc -l", SocketCount(by_state=False)),
        ("ss -Htn state time-wait | wc -l", SocketCount(by_state=False)),
        # some of the sockets, or other things
        ("netstat -an | grep :8080 | awk '{print $6}' | sort | uniq -c", None),
        ("netstat -an | awk '$4 ~ /:80$/ {++S[$NF]} END {for(a in S) print a, S[a]}'", None),
        ("netstat -an | grep TIME_WAIT | grep 10.0.0.7 | wc -l", None),
        ("ss -tn | grep TIME-WAIT | wc -l", None),
        ("ss -4tan | grep TIME-WAIT | wc -l", None),
        ("ss -tan dst 10.0.0.7 | wc -l", None),
        ("ss -tan | wc -l", None),
        ("ss -tan | awk '{print $5}' | sort", None),
        ("ls | wc -l", None),
        ("", None),
    ],
)
def test_what_a_command_line_counts(command: str, expected: SocketCount | None) -> None:
    assert counted(command) == expected


@pytest.mark.parametrize(
    "text",
    ["TIME_WAIT 28211\nCLOSE_WAIT 2\nESTABLISHED 19\n", "  28211 TIME_WAIT\n     19 ESTABLISHED\n      2 CLOSE_WAIT\n"],
)
def test_a_table_of_states(text: str) -> None:
    evidence = read(f"$ {BY_STATE}\n{text}")
    assert (counters(evidence), unread(evidence)) == ({"sockstat.tcp_tw": 28211, "Tcp.CurrEstab": 21}, [])


def test_a_state_without_a_line_has_no_socket() -> None:
    assert counters(read(f"$ {BY_STATE}\nESTABLISHED 19\nLISTEN 3\n")) == {"sockstat.tcp_tw": 0, "Tcp.CurrEstab": 19}


def test_words_of_the_header_are_counted_by_some() -> None:
    text = "$ ss -ant | awk '{print $1}' | sort | uniq -c\n   3 ESTAB\n  10 LISTEN\n   1 State\n 814 TIME-WAIT\n"
    evidence = read(text)
    assert (counters(evidence), unread(evidence)) == ({"sockstat.tcp_tw": 814, "Tcp.CurrEstab": 3}, [])


def test_the_header_is_no_socket() -> None:
    assert counters(read("$ ss -tan state time-wait | wc -l\n28233\n")) == {"sockstat.tcp_tw": 28232}


@pytest.mark.parametrize(
    "text",
    [
        "TIME_WAIT 28211\nESTABLISHED 19\n",
        "$ netstat -an | grep :80 | awk '{print $6}' | sort | uniq -c\n  5 TIME_WAIT\n",
    ],
)
def test_counts_of_some_sockets_are_left_unread_with_the_remedy(text: str) -> None:
    evidence = read(text)
    assert counters(evidence) == {}
    assert "paste the command line" in evidence.unread[0].why


@pytest.mark.parametrize("text", ["28233\n", "$ ss -tan | wc -l\n28233\n", "we have 5 TIME_WAIT\n", "items 5\n"])
def test_other_numbers_are_not_read(text: str) -> None:
    evidence = read(text)
    assert (counters(evidence), unread(evidence)[-1][1]) == ({}, text.count("\n"))
