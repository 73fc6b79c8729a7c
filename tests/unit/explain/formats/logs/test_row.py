"""What the parts of a message mean, whatever program says it."""

from __future__ import annotations

from loadgen.explain.evidence import TEXT_MAX, Complaint, Where
from loadgen.explain.formats.logs.row import BIND, FROM, NONE, TO, E, MessageRow, excerpt, row

ROW = row("x", "failed", rf"(?:{FROM} -> )?{TO} failed: {E}", listening=False)


def said(text: str, by: MessageRow = ROW) -> Complaint | None:
    return next(by.complaints(text, Where("-", 1)), None)


def test_addresses_of_each_kind() -> None:
    for text, source, target in (
        ("10.0.0.9:0 -> 10.0.0.7:80 failed: connection refused", "10.0.0.9", "10.0.0.7"),
        ("[fe80::1%eth0]:0 -> [2001:db8::1]:80 failed: connection refused", "fe80::1%eth0", "2001:db8::1"),
        ("0.0.0.0:0 -> ::1:80 failed: connection refused", "", "::1"),
        ("cafe.example:0 -> db.example.:80 failed: connection refused", "cafe.example", "db.example"),
    ):
        found = said(text)
        assert found
        assert (found.source, found.source_port, found.target, found.target_port) == (source, 0, target, 80)


def test_a_port_that_is_none_is_not_told() -> None:
    found = said("10.0.0.7:70000 failed: connection refused")
    assert found
    assert found.target_port == 0


def test_a_listener_on_all_addresses_says_so_and_a_client_without_bind_does_not() -> None:
    listener = row("x", "bind", rf"bind {FROM}: {E}", BIND, listening=True)
    found = said("bind 0.0.0.0:80: address in use", listener)
    assert found
    assert (found.source, found.syscalls) == ("0.0.0.0", BIND)


def test_a_row_about_no_call_has_none() -> None:
    found = said("too many open files", row("x", "files", rf"{E}", NONE))
    assert found
    assert (found.syscalls, found.errno) == (frozenset(), "EMFILE")


def test_an_excerpt_shows_the_message() -> None:
    text = "a" * 2000 + " bind: Address in use " + "b" * 2000
    cut = excerpt(text, 2001)
    assert len(cut) == TEXT_MAX
    assert "bind: Address in use" in cut
    assert excerpt("  short ", 3) == "short"
