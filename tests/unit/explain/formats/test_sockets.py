"""Rows become tables: by transport, in bounded memory, without loss at the border of a batch."""

from __future__ import annotations

import socket

import pytest

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import sockets
from loadgen.explain.formats.endpoints import Endpoints
from loadgen.explain.formats.sockets import STATES, TCP, UDP, UNTOLD, ListingWriter, Shows, SocketDetail
from tests import listings

KNOWN = Endpoints()
NOTHING = Shows(False, False, False, True)


def fill(writer: ListingWriter, kinds: list[int], destination: str = "10.0.0.7:80") -> None:
    for line, kind in enumerate(kinds, 1):
        writer.rows.append((kind, 1, 0, 0, KNOWN[f"10.0.0.1:{line}"], KNOWN[destination], line))
        writer.flush()


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_rows_go_to_the_table_of_their_transport(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_BATCH", batch)
    evidence = Evidence()
    writer = ListingWriter(evidence, "-")
    fill(writer, [TCP, UDP, UNTOLD, TCP, UNTOLD])
    writer.finish("what", (1, 5), NOTHING, untold=UDP)
    found = listings.listing(evidence)
    assert (sorted(found.tcp_lines.tolist()), sorted(found.udp_lines.tolist())) == ([1, 4], [2, 3, 5])
    assert sorted(found.tcp["source_port"].tolist()) == [1, 4]


def test_a_listing_of_which_no_row_could_be_read_is_none() -> None:
    """It would look like a host without sockets."""
    evidence = Evidence()
    writer = ListingWriter(evidence, "-")
    writer.refuse(3, "names")
    writer.finish("what", (1, 3), NOTHING)
    assert (evidence.listings, [one.first for one in evidence.unread]) == ([], [3])


def test_doubtful_rows_are_taken_back() -> None:
    evidence = Evidence()
    writer = ListingWriter(evidence, "-")
    fill(writer, [TCP, UDP, TCP])
    writer.doubtful.extend([1, 2])
    writer.refuse_doubtful("short")
    writer.finish("what", (1, 3), NOTHING)
    found = listings.listing(evidence)
    assert (found.tcp_lines.tolist(), found.udp_lines.tolist(), found.unread) == ([3], [], 2)
    assert [(one.first, one.last, one.why) for one in evidence.unread] == [(1, 2, "short")]


def test_an_asterisk_has_the_family_of_the_other_end_or_the_one_of_the_style() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        evidence = Evidence()
        writer = ListingWriter(evidence, "-")
        for line, (local, peer) in enumerate([("*:1", "*:*"), ("10.0.0.1:1", "*:*"), ("*:1", "[::1]:2")], 1):
            writer.rows.append((TCP, 10, 0, 0, KNOWN[local], KNOWN[peer], line))
        writer.finish("what", (1, 3), NOTHING, any_family=family)
        assert listings.listing(evidence).tcp["family"].tolist() == [family, socket.AF_INET, socket.AF_INET6]


def test_processes_beyond_the_maximum_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_PROCESSES_MAX", 2)
    writer = ListingWriter(Evidence(), "-")
    assert [writer.process(f"a{pid}", str(pid)) for pid in (1, 2, 3, 1)] == [1, 2, 0, 1]


def test_details_of_dropped_rows_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SOCKETS_MAX", 2)
    monkeypatch.setattr(sockets, "_BATCH", 1)
    evidence = Evidence()
    writer = ListingWriter(evidence, "-")
    for line in range(1, 9):
        writer.rows.append((TCP, 1, 0, 0, KNOWN["10.0.0.1:1"], KNOWN["10.0.0.7:80"], line))
        writer.details[line] = SocketDetail(inode=line)
        writer.flush()
    assert len(writer.details) <= 2
    writer.finish("what", (1, 8), NOTHING)
    found = listings.listing(evidence)
    assert (found.tcp["inode"].tolist(), found.dropped) == ([1, 2], 6)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("10.0.0.1:1", "10.0.0.2:2", True),
        ("10.0.0.1:1", "[::1]:2", False),
        ("10.0.0.1:1", ":::*", True),
        ("*:1", "[::1]:2", True),
    ],
)
def test_ends_of_one_socket_are_of_one_family(source: str, destination: str, expected: bool) -> None:
    assert sockets.agree(KNOWN[source], KNOWN[destination]) is expected


@pytest.mark.parametrize(
    "line", ["...", "[...]", "\u2026", "-- snip --", "<snip>", "(28,000 more rows)", "123 more lines", " "]
)
def test_lines_that_stand_for_rows(line: str) -> None:
    evidence = Evidence()
    writer = ListingWriter(evidence, "-")
    assert writer.skip([line, "row"], 0, 7, lambda text: text == "row") == 1
    assert [one.first for one in evidence.unread] == ([7] if line.strip() else [])
    assert writer.skip([line, "other"], 0, 7, lambda text: text == "row") == 0


@pytest.mark.parametrize("line", ["x", "more of this", "." * 5000, "!" * 60000 + "x", "a ..."])
def test_lines_that_do_not(line: str) -> None:
    expected = 1 if line == "more of this" else 0
    assert ListingWriter(Evidence(), "-").skip([line, "row"], 0, 7, lambda text: text == "row") == expected


def test_all_spellings_of_a_state() -> None:
    assert len(set(STATES.values())) == 11
    assert STATES["FIN-WAIT-2"] == STATES["FIN_WAIT2"] == 5
