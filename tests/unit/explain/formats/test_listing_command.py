"""The call that printed a listing: in the command line before it, or in the name of a sosreport's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import CommandLine, Evidence
from loadgen.explain.formats.listing_command import ListingCommand, listing_command


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
        ("(sudo timeout 5 ss -tn)", ListingCommand("ss -tn", frozenset("tn"))),
        ("watch -n1 'ss -tan | wc -l'", ListingCommand("ss -tan", frozenset("tan"), filtered=True)),
        ("ss -tn '( sport = :80 )'", ListingCommand("ss -tn sport = :80", frozenset("tn"), filtered=True)),
        ("ss -tan 2>/dev/null | cat", ListingCommand("ss -tan", frozenset("tan"), filtered=True)),
        ("ip netns exec web1 ss -tan", ListingCommand("ss -tan", frozenset("tan"))),
        ("less -tan", None),
        ("netstat -an", None),
        ("", None),
    ],
)
def test_calls_in_a_command_line(line: str, expected: ListingCommand | None) -> None:
    evidence = Evidence(command=CommandLine(line, "ticket.txt", 1))
    assert listing_command("ss", evidence, "ticket.txt", 2) == expected


def test_the_name_of_a_file_of_a_sosreport() -> None:
    found = listing_command("netstat", Evidence(), "sos/sos_commands/networking/netstat_-W_-neopa", 1)
    assert found == ListingCommand("netstat -W -neopa", frozenset("Wneopa"))


@given(st.text(max_size=80))
def test_any_line_is_a_command_or_none(line: str) -> None:
    found = listing_command("ss", Evidence(command=CommandLine(f"ss -{line}", line, 1)), line, 2)
    assert found is None or found.text.startswith("ss")
