"""The call that printed a listing: in the command line before it, or in the name of a sosreport's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.formats import command_line
from loadgen.explain.formats.command_line import ListingCommand


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ss -tan", ListingCommand("ss -tan", frozenset("tan"))),
        ("/usr/sbin/ss -t -an", ListingCommand("ss -t -an", frozenset("tan"))),
        ("sudo ss --tcp --all --foo", ListingCommand("ss --tcp --all --foo", frozenset("ta"))),
        ("ss -tan | grep :80", ListingCommand("ss -tan", frozenset("tan"), filtered=True)),
        ("ss -tan > file", ListingCommand("ss -tan", frozenset("tan"))),
        ("ss -s; ss -tn", ListingCommand("ss -tn", frozenset("tn"))),
        ("cd /tmp && ss -tn", ListingCommand("ss -tn", frozenset("tn"))),
        ("ss -tn dst 10.0.0.7", ListingCommand("ss -tn dst 10.0.0.7", frozenset("tn"), filtered=True)),
        ("ss -tan state time-wait", ListingCommand("ss -tan state time-wait", frozenset("tan"), 6, True)),
        ("ss state listening", ListingCommand("ss state listening", frozenset(), 10, True)),
        ("ss -t state connected", ListingCommand("ss -t state connected", frozenset("t"), 0, True)),
        ("ss", ListingCommand("ss", frozenset())),
        ("less -tan", None),
        ("netstat -an", None),
        ("", None),
    ],
)
def test_calls_in_a_command_line(line: str, expected: ListingCommand | None) -> None:
    assert command_line.command_of("ss", line, "ticket.txt") == expected


def test_the_name_of_a_file_of_a_sosreport() -> None:
    found = command_line.command_of("netstat", "", "sos/sos_commands/networking/netstat_-W_-neopa")
    assert found == ListingCommand("netstat -W -neopa", frozenset("Wneopa"))


@given(st.text(max_size=80))
def test_any_line_is_a_command_or_none(line: str) -> None:
    found = command_line.command_of("ss", f"ss -{line}", line)
    assert found is None or found.text.startswith("ss")
