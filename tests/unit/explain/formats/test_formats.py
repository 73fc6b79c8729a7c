"""All formats together: any text is answered, in bounded time and room."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import FORMATS, lines
from tests.pasted import CAPTURED, read, unread

FILES = sorted(path for path in CAPTURED.iterdir() if path.suffix != ".md")
LINES = [line for path in FILES for line in path.read_text().splitlines()]
SNIPPETS = [
    "=",
    ":",
    " ",
    "\t",
    "9" * 30,
    "-1",
    "0x",
    "(",
    "[",
    "$ ",
    "# ",
    "```",
    "\x1b[31m",
    "<b>",
    "\u202e",
    "\u0663",
    "\ud800",
]


def check(evidence: Evidence, count: int) -> None:
    """Each line is in one piece at most, and values are within the width of the kernel's counters."""
    places = [(one.first, one.last) for one in evidence.pieces]
    assert all(1 <= first <= last <= count for first, last in places)
    assert all(before[1] < after[0] for before, after in pairwise(places))
    assert all(one.value >= 0 or one.name == "Tcp.MaxConn" for one in evidence.counters if one.since == "boot")
    assert all(one.value == " ".join(one.value.split()) for one in evidence.sysctls)


@given(st.lists(st.sampled_from(LINES), max_size=30))
def test_lines_of_all_formats_in_any_order(chosen: list[str]) -> None:
    check(read("\n".join(chosen)), len(chosen))


@given(st.data())
def test_damaged_lines(data: st.DataObject) -> None:
    """Cut, doubled, and with foreign text in the middle."""
    chosen = data.draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=8))
    damaged = []
    for line in chosen:
        at = data.draw(st.integers(0, len(line)))
        damaged.append(line[:at] + data.draw(st.sampled_from(SNIPPETS)) + line[data.draw(st.integers(0, len(line))) :])
    check(read("\n".join(damaged)), len(damaged))


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    check(read(text), text.count("\n") + 1)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
@settings(max_examples=25)
def test_a_reader_that_is_given_foreign_lines_refuses_them(one: object, foreign: list[str]) -> None:
    """Whatever `begins` says, `feed` never raises and never goes beyond the lines."""
    form = next(known for known in FORMATS if known is one)
    reader = form.reader(Evidence(), "-")
    assert 0 <= reader.feed(foreign, 0, 1) <= len(foreign)
    reader.finish()


@pytest.mark.parametrize("filler", [" ", "9", "a", "=", "a ", "1 ", "- ", "`", "(", "<", "a.", "[", "\t1", "a=1 "])
@pytest.mark.parametrize(
    "head",
    [
        "",
        "$ ",
        "# ",
        "net.ipv4.tcp_mem = ",
        "net.ipv4.tcp_mem 1",
        "Tcp:",
        "cpu=0 ",
        "entries ",
        "Max a ",
        "kernel: ",
        "    1 ",
    ],
)
def test_the_longest_line_takes_no_longer_than_its_length(head: str, filler: str) -> None:
    """A pattern that tries all ways to split a line would take minutes here."""
    read(head + filler * (60_000 // len(filler)) + "\x7f!")


def test_readings_beyond_the_room_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "KEPT_MAX", 3)
    evidence = read("".join(f"net.ipv4.conf.eth{number}.rp_filter = 1\n" for number in range(6)))
    assert (len(evidence.sysctls), unread(evidence)) == (3, [(4, 6)])
    assert "beyond the first" in evidence.unread[0].why
