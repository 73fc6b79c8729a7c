"""net-tools and BusyBox give the sockets that ss gives; addresses that may be shortened are unread."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.evidence import BACKLOG_UNKNOWN, Unread
from tests import listings
from tests.listings import ListedSocket

ACTIVE = "Active Internet connections (servers and established)\n"
HEADER = "Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n"
ROW = "tcp 0 0 10.0.0.1:40001 10.0.0.7:80 ESTABLISHED"
SHORTENED = "the address may be shortened: run netstat with -W, or ss"


def tcp(name: str) -> list[ListedSocket]:
    return sorted(listings.rows(listings.listing(listings.recorded(f"{name}.txt")).tcp))


@pytest.mark.parametrize("name", ["net-tools-2.10-W-neopa", "net-tools-2.10-tanW", "busybox-1.35-an"])
def test_wide_listings_have_the_sockets_of_ss(name: str) -> None:
    assert tcp(name) == tcp("iproute2-6.1-tan")
    assert listings.recorded(f"{name}.txt").unread == []


def test_sockets_of_udp_have_no_state_where_they_are_not_connected() -> None:
    rows = listings.rows(listings.listing(listings.recorded("net-tools-2.10-W-neopa.txt")).udp)
    assert [(row.state, row.source, row.destination_port) for row in rows] == [
        ("ESTABLISHED", "10.9.0.1", 68),
        ("CLOSE", "0.0.0.0", 0),
        ("CLOSE", "::", 0),
    ]


@pytest.mark.parametrize("name", ["net-tools-2.10-an", "net-tools-2.10-anp"])
def test_shortened_addresses_are_unread_with_the_remedy(name: str) -> None:
    evidence = listings.recorded(f"{name}.txt")
    missing = set(tcp("iproute2-6.1-tan")) - set(tcp(name))
    assert {row.source for row in missing} == {"2001:db8:85a3:8d3:1319:8a2e:370:7348"}
    assert (len(missing), listings.listing(evidence).unread) == (3, 3)
    assert {one.why for one in evidence.unread} == {SHORTENED}
    lines = (listings.SOCKETS / f"{name}.txt").read_text().splitlines()
    unread = [lines[number - 1] for one in evidence.unread for number in range(one.first, one.last + 1)]
    assert ["2001:db8" in line for line in unread] == [True] * 3


def test_a_column_that_is_exactly_full_is_believed_if_another_row_has_more_room() -> None:
    full = "tcp6 0 0 2001:db8::1234:5678:443 2001:db8::2:40001 ESTABLISHED"
    assert len(full.split()[3]) == 23
    evidence = listings.read(f"{ACTIVE}{HEADER}{full}\n{ROW}\n")
    assert listings.listing(evidence).tcp_lines.tolist() == [4]
    assert evidence.unread == [Unread("-", 3, 3, SHORTENED)]
    wide = "tcp6 0 0 2001:db8::1234:5678:9abc:443 2001:db8::2:40001 ESTABLISHED"
    evidence = listings.read(f"{ACTIVE}{HEADER}{full}\n{ROW}\n{wide}\n")
    assert listings.listing(evidence).tcp_lines.tolist() == [3, 4, 5]
    assert evidence.unread == []


def test_busybox_shortens_the_port_so_one_of_five_digits_is_whole() -> None:
    evidence = listings.recorded("busybox-1.36-antp.txt")
    assert evidence.unread == []
    found = listings.listing(evidence)
    assert listings.rows(found.tcp)[-1] == ("TIME_WAIT", "10.244.1.7", 15020, "10.244.1.1", 33018)
    assert (found.commands, found.owners.of(found.tcp).tolist()) == ({1: "envoy", 14: "pilot-agent"}, [1, 1, 0, 14, 0])
    short = "tcp 0 0 ::ffff:10.244.1.7:1502 ::ffff:10.244.101.7:443 TIME_WAIT"
    assert listings.read(f"{ACTIVE}{HEADER}{short}\n").unread == [Unread("-", 3, 3, SHORTENED)]


def test_users_inodes_processes_and_timers() -> None:
    found = listings.listing(listings.recorded("net-tools-2.10-W-neopa.txt"))
    (pid,) = found.commands
    assert found.commands[pid] == "python3"
    assert int((found.owners.of(found.tcp) == pid).sum()) == 18
    assert Counter(found.tcp["timer"].tolist()) == {0: 19, 2: 1, 3: 4}
    keepalive = found.tcp[found.tcp["timer"] == 2][0]
    assert 7_190_000 < keepalive["expires_ms"] < 7_200_000
    assert keepalive["inode"] > 0


def test_the_backlog_of_a_listener_is_unknown() -> None:
    """netstat prints 0, whatever it is."""
    found = listings.listing(listings.recorded("net-tools-2.10-an.txt")).tcp
    listening = found["state"] == 10
    assert set(found["wqueue"][listening].tolist()) == {BACKLOG_UNKNOWN}
    assert sorted(found["rqueue"][listening].tolist())[-1] == 2
    assert BACKLOG_UNKNOWN not in found["wqueue"][~listening]


@pytest.mark.parametrize(
    ("name", "listeners", "time_wait", "owners"),
    [("an", True, True, False), ("anp", True, True, True), ("ltnp", True, False, True), ("t", True, True, False)],
)
def test_a_listing_says_what_it_would_show(name: str, listeners: bool, time_wait: bool, owners: bool) -> None:
    found = listings.listing(listings.recorded(f"net-tools-2.10-{name}.txt"))
    assert (found.shows_listeners, found.shows_time_wait, found.shows_owners) == (listeners, time_wait, owners)


def test_without_a_header_only_what_is_there_is_shown() -> None:
    found = listings.listing(listings.read(f"$ netstat -an | grep 10.0.0.7\n{ROW}\n{ROW[:-11]}TIME_WAIT\n"))
    assert (found.what, found.shows_listeners, found.shows_time_wait) == ("netstat -an", False, True)


def test_wider_columns_of_older_versions_and_the_note_about_permission() -> None:
    evidence = listings.recorded("net-tools-1.60-anp.txt")
    found = listings.listing(evidence)
    assert (evidence.unread, found.owners.forbidden, found.owners.why_unknown) == ([], 1, "not permitted")
    assert listings.rows(found.tcp) == [
        ("LISTEN", "0.0.0.0", 22, "0.0.0.0", 0),
        ("TIME_WAIT", "192.168.1.5", 40001, "192.168.1.8", 5432),
        ("CLOSE_WAIT", "192.168.1.5", 40002, "192.168.1.8", 5432),
        ("ESTABLISHED", "192.168.1.5", 80, "192.168.1.7", 40112),
    ]
    assert (found.commands, found.owners.of(found.tcp).tolist()) == ({2001: "nginx: worker"}, [0, 0, 2001, 2001])


def test_names_are_unread_with_the_remedy() -> None:
    evidence = listings.recorded("net-tools-2.10-t.txt")
    whys = {one.why for one in evidence.unread}
    assert whys == {
        "names instead of addresses: run netstat with -n",
        "a name instead of a port, which means different ports on different systems: run netstat with -n",
        SHORTENED,
    }
    assert listings.listing(evidence).tcp.size + listings.listing(evidence).unread == 24


def test_states_in_another_language_are_unread_with_the_remedy() -> None:
    evidence = listings.read(f"{ROW}\ntcp 0 0 10.0.0.1:40001 10.0.0.7:80 VERBUNDEN\n")
    assert evidence.unread == [Unread("-", 2, 2, "not a state of TCP: run netstat with LC_ALL=C, or ss")]


@pytest.mark.parametrize("name", ["macos-netstat-an", "windows-netstat-ano"])
def test_netstat_of_other_systems_is_left_unread(name: str) -> None:
    evidence = listings.recorded(f"{name}.txt")
    assert (evidence.listings, evidence.pieces, len(evidence.unread)) == ([], [], 1)


def test_each_call_is_a_listing_of_its_own() -> None:
    evidence = listings.read(
        f"{ACTIVE}{HEADER}{ROW}\n{ACTIVE}{HEADER}{ACTIVE}{HEADER}{ROW}\n\n...\n{ROW}\n{HEADER}{ROW}\n"
    )
    assert [(one.first, one.last, one.tcp.size) for one in evidence.listings] == [
        (1, 3, 1),
        (4, 5, 0),
        (6, 11, 2),
        (12, 13, 1),
    ]
    assert evidence.unread == [Unread("-", 10, 10)]


def test_unix_sockets_alone_are_a_piece_and_no_listing() -> None:
    evidence = listings.read(
        "Active UNIX domain sockets (servers and established)\n"
        "Proto RefCnt Flags       Type       State         I-Node   Path\n"
        "unix  2      [ ACC ]     STREAM     LISTENING     4421991  @app\n"
    )
    assert ([piece.format for piece in evidence.pieces], evidence.listings, evidence.unread) == (["netstat"], [], [])


@pytest.mark.parametrize(
    "line",
    [
        "tcp 0 0 10.0.0.1:40001 10.0.0.7:80",
        "tcp 0 0 10.0.0.1:40001 10.0.0.",
        "tcp 0 0 10.0.0.1:40001",
        "tcp 0 0 10.0.0.1:4 ::1:80 ESTABLISHED",
        "tcp 0 99999999999 10.0.0.1:4 10.0.0.7:80 ESTABLISHED",
    ],
)
def test_a_broken_row_is_unread_and_the_listing_goes_on(line: str) -> None:
    evidence = listings.read(f"{ROW}\n{line}\n{ROW}\n")
    assert [(one.first, one.last) for one in evidence.unread] == [(2, 2)]
    assert listings.listing(evidence).tcp_lines.tolist() == [1, 3]


WORDS = (
    st.sampled_from(
        ["tcp", "tcp6", "udp", "udp6", "unix", "0", "7", "99999999999", "ESTABLISHED", "LISTEN", "-", "1/a b"]
    )
    | st.sampled_from(["10.0.0.1:80", "::1:443", ":::*", "0.0.0.0:*", "a:b", "2001:db8::1234:5678:443", "\n", "..."])
    | st.sampled_from([ACTIVE, HEADER, "off (0.00/0/0)", "keepalive (99999999999.99/999/0)", "33"])
)


@given(st.lists(WORDS | st.text(max_size=4), max_size=40))
def test_any_words_give_rows_or_are_unread(words: list[str]) -> None:
    evidence = listings.read(" ".join(words))
    for found in evidence.listings:
        assert (found.tcp.size, found.udp.size) == (found.tcp_lines.size, found.udp_lines.size)
        listings.rows(found.tcp)
