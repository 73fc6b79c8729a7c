"""The files of /proc/net have the sockets that ss has; the byte order of their host is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import BACKLOG_UNKNOWN, Unread
from tests import listings
from tests.listings import ListedSocket

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = (
    "   0: 0100007F:1F90 0200007F:9C4A 01 00000007:00000009 01:0000000A 00000003  1000        0 12345 1 0 2 0 0 1 -1\n"
)
TIME_WAIT = "   1: 0100007F:1F91 0200007F:9C4A 06 00000000:00000000 03:00000A5E 00000000     0        0 0 3 0\n"
OF_UDP = "2056: 0100090A:9C65 0100090A:0044 01 00000000:00000000 00:00000000 00000000     0        0 4421965 2 0 0\n"


def rows(name: str) -> list[ListedSocket]:
    return listings.rows(listings.listing(listings.recorded(name)).tcp)


def test_both_families_together_have_the_sockets_of_ss() -> None:
    both = rows("linux-6.18-tcp.txt") + rows("linux-6.18-tcp6.txt")
    assert sorted(both) == sorted(rows("iproute2-6.1-tan.txt"))


def test_udp_is_told_by_its_columns() -> None:
    found = listings.listing(listings.recorded("linux-6.18-udp.txt"))
    assert (found.what, found.tcp.size) == ("/proc/net/udp", 0)
    expected = listings.listing(listings.recorded("iproute2-6.1-uan.txt"))
    assert sorted(listings.rows(found.udp)) == sorted(row for row in listings.rows(expected.udp) if row.source != "::")
    six = listings.listing(listings.recorded("linux-6.18-udp6.txt"))
    assert (six.what, listings.rows(six.udp)) == ("/proc/net/udp6", [("CLOSE", "::", 546, "::", 0)])


def test_all_fields_of_a_row() -> None:
    found = listings.listing(listings.read(HEADER + ROW + TIME_WAIT))
    names = ["state", "timer", "retransmits", "expires_ms", "rqueue", "wqueue", "uid", "inode"]
    assert found.tcp[names].tolist() == [(1, 1, 3, 100, 9, 7, 1000, 12345), (6, 3, 0, 26540, 0, 0, 0, 0)]
    assert (found.shows_listeners, found.shows_time_wait, found.shows_owners) == (True, True, False)


def test_the_backlog_of_a_listener_is_unknown() -> None:
    found = listings.listing(listings.recorded("linux-6.18-tcp.txt")).tcp
    listening = found["state"] == 10
    assert set(found["wqueue"][listening].tolist()) == {BACKLOG_UNKNOWN}
    assert sorted(found["rqueue"][listening].tolist()) == [0, 2]


def test_the_byte_order_of_a_big_endian_host() -> None:
    assert rows("s390x-tcp.txt") == [
        ("LISTEN", "127.0.0.1", 25, "0.0.0.0", 0),
        ("TIME_WAIT", "10.0.0.5", 40001, "10.0.0.7", 443),
    ]
    six = ROW.replace("0100007F", "0" * 31 + "1").replace("0200007F", "20010DB8" + "0" * 23 + "2")
    found = listings.listing(listings.read(six))
    assert listings.rows(found.tcp) == [("ESTABLISHED", "::1", 8080, "2001:db8::2", 40010)]


def test_sockets_of_kinds_without_ports_are_no_listing() -> None:
    evidence = listings.recorded("linux-6.18-raw.txt", file="proc/net/raw")
    assert ([piece.what for piece in evidence.pieces], evidence.listings) == (["/proc/net/raw"], [])


def test_each_header_begins_a_listing() -> None:
    evidence = listings.read(f"{HEADER}{ROW}{HEADER}\n\n{HEADER}{ROW}\n...\n{TIME_WAIT}")
    assert [(one.first, one.last, one.tcp.size) for one in evidence.listings] == [(1, 2, 1), (3, 3, 0), (6, 10, 2)]
    assert evidence.unread == [Unread("-", 9, 9)]


def test_rows_without_a_header_are_told_apart_by_their_columns() -> None:
    found = listings.listing(listings.read(ROW + TIME_WAIT + OF_UDP))
    assert (found.tcp.size, found.udp.size, found.what) == (2, 1, "/proc/net/tcp, /proc/net/udp")


@pytest.mark.parametrize(
    "line",
    [
        ROW[:60],
        ROW.replace(" 01 ", " 0E "),
        ROW.replace("0200007F", "0" * 32),
        ROW.replace("00000007:00000009", "7"),
        ROW.replace("01:0000000A", "x:y"),
    ],
)
def test_a_broken_row_is_unread_and_the_listing_goes_on(line: str) -> None:
    evidence = listings.read(f"{ROW}{line.rstrip()}\n{ROW}")
    assert [(one.first, one.last) for one in evidence.unread] == [(2, 2)]
    assert listings.listing(evidence).tcp_lines.tolist() == [1, 3]


WORDS = st.sampled_from([*ROW.split(), *OF_UDP.split(), HEADER, ROW, TIME_WAIT, "\n", "0A", "FFFFFFFFFFFFFFFFF"])


@given(st.lists(WORDS | st.text(max_size=4), max_size=40))
def test_any_words_give_rows_or_are_unread(words: list[str]) -> None:
    evidence = listings.read(" ".join(words))
    for found in evidence.listings:
        assert (found.tcp.size, found.udp.size) == (found.tcp_lines.size, found.udp_lines.size)
