"""The command that printed a listing: above it, or in the name of a sosreport's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats import command_line
from loadgen.explain.formats.command_line import ListingCommand


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("$ ss -tan", ListingCommand("ss -tan", frozenset("tan"))),
        ("[root@web1 ~]# ss -t -an", ListingCommand("ss -t -an", frozenset("tan"))),
        ("sudo ss --tcp --all --foo", ListingCommand("ss --tcp --all --foo", frozenset("ta"))),
        ("ss -tan | grep :80", ListingCommand("ss -tan", frozenset("tan"), filtered=True)),
        ("ss -tan > file", ListingCommand("ss -tan", frozenset("tan"))),
        ("ss -s; ss -tn", ListingCommand("ss -tn", frozenset("tn"))),
        ("Every 1.0s: ss -tn  web1", ListingCommand("ss -tn web1", frozenset("tn"), filtered=True)),
        ("# ss -tan state time-wait", ListingCommand("ss -tan state time-wait", frozenset("tan"), 6, True)),
        ("# ss state listening", ListingCommand("ss state listening", frozenset(), 10, True)),
        ("# ss -t state connected", ListingCommand("ss -t state connected", frozenset("t"), 0, True)),
        ("# ss", ListingCommand("ss", frozenset())),
    ],
)
def test_a_command_above(line: str, expected: ListingCommand) -> None:
    assert command_line.command_of("ss", [line, "", "rows"], 2, "-") == expected


@pytest.mark.parametrize("line", ["process -tan", "the ss output", "ss rows follow", "netstat -an", "less -x"])
def test_no_command(line: str) -> None:
    assert command_line.command_of("ss", [line, "rows"], 1, "ticket.txt") is None


def test_a_command_far_above_is_of_something_else() -> None:
    assert command_line.command_of("ss", ["$ ss -tan", *[""] * 3, "rows"], 4, "-") is None


def test_the_name_of_a_file_of_a_sosreport() -> None:
    found = command_line.command_of("netstat", ["rows"], 0, "sos/sos_commands/networking/netstat_-W_-neopa")
    assert found == ListingCommand("netstat -W -neopa", frozenset("Wneopa"))


@given(st.text(max_size=80))
def test_any_line_is_a_command_or_none(line: str) -> None:
    found = command_line.command_of("ss", [f"ss -{line}", "rows"], 1, line)
    assert found is None or found.text.startswith("ss")
