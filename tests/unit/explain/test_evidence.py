"""Complaints are counted with their like, and readings are found again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.explain import evidence
from loadgen.explain.evidence import Complaint, Evidence, SysctlReading, Where
from loadgen.outcomes import Syscall

NO_PORT = Complaint("nginx", frozenset({Syscall.CONNECT}), "EADDRNOTAVAIL", "connect() failed", Where("error.log", 3))


def test_a_complaint_is_counted_with_its_like_whatever_its_words() -> None:
    evidence = Evidence()
    evidence.complain(NO_PORT)
    evidence.complain(replace(NO_PORT, text="another time", where=Where("error.log", 9)))
    evidence.complain(replace(NO_PORT, target="10.0.0.7", where=Where("error.log", 11)))
    assert [(one.first.where.line, one.count, one.last) for one in evidence.complaints] == [
        (3, 2, Where("error.log", 9)),
        (11, 1, None),
    ]


def test_a_complaint_may_be_made_many_times_at_one_place() -> None:
    evidence = Evidence()
    evidence.complain(NO_PORT, 600)
    evidence.complain(NO_PORT, 81)
    assert [one.count for one in evidence.complaints] == [681]


def test_complaints_beyond_the_maximum_are_counted_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "COMPLAINTS_MAX", 2)
    kept = Evidence()
    for port in range(5):
        kept.complain(replace(NO_PORT, target_port=port))
    assert (len(list(kept.complaints)), kept.more_complaints) == (2, 3)


def test_the_last_reading_of_a_setting_counts() -> None:
    kept = Evidence(
        sysctls=[SysctlReading("net.a", "1", Where("-", 1)), SysctlReading("net.a", "2", Where("-", 5))],
    )
    found = kept.sysctl("net.a")
    assert (found and found.value, kept.sysctl("net.b")) == ("2", None)


def test_a_place_on_standard_input_is_a_line() -> None:
    assert (str(Where("-", 7)), str(Where("ticket.txt", 7))) == ("line 7", "ticket.txt:7")


def test_unread_lines_that_follow_for_the_same_reason_are_one_range() -> None:
    kept = Evidence()
    for first, last, why in [(1, 2, ""), (3, 3, ""), (4, 4, "names"), (6, 6, "names"), (7, 7, "names")]:
        kept.note_unread("-", first, last, why)
    kept.note_unread("other", 8, 8, "names")
    assert [(one.file, one.first, one.last, one.why) for one in kept.unread] == [
        ("-", 1, 3, ""),
        ("-", 4, 4, "names"),
        ("-", 6, 7, "names"),
        ("other", 8, 8, "names"),
    ]


def test_a_setting_that_is_read_later_counts_even_after_a_look() -> None:
    kept = Evidence()
    assert kept.sysctl("net.a") is None
    kept.sysctls.append(SysctlReading("net.a", "1", Where("-", 1)))
    found = kept.sysctl("net.a")
    assert found
    assert found.value == "1"
