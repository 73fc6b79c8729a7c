"""Listings of ss: each version and option gives the same sockets, and what a row does not tell is unread."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain import text
from loadgen.explain.evidence import Unread
from loadgen.explain.formats import ss
from loadgen.kernel import groups
from tests import listings, pasted
from tests.listings import ListedSocket

#: The TCP sockets of the captured files, by state.
STATES = {"LISTEN": 5, "ESTABLISHED": 14, "TIME_WAIT": 3, "FIN_WAIT2": 1, "CLOSE_WAIT": 1}
HEADER = "State      Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess\n"
ROW = "ESTAB 0 0 10.0.0.1:40001 10.0.0.7:80"


def tcp(name: str) -> list[ListedSocket]:
    return sorted(listings.rows(listings.listing(listings.recorded(f"iproute2-{name}.txt")).tcp))


def test_all_sockets_of_a_listing() -> None:
    found = listings.listing(listings.recorded("iproute2-6.1-tan.txt"))
    assert (found.what, found.first, found.last, found.udp.size) == ("ss", 1, 25, 0)
    rows = listings.rows(found.tcp)
    assert Counter(row.state for row in rows) == STATES
    assert rows[0] == ("LISTEN", "0.0.0.0", 80, "0.0.0.0", 0)
    assert rows[-1][:3] == ("ESTABLISHED", "::1", 443)
    assert (found.tcp["rqueue"][0], found.tcp["wqueue"][0]) == (2, 16)  # connections that wait, and the backlog
    assert found.tcp_lines.tolist() == list(range(2, 26))


@pytest.mark.parametrize("options", ["tanp", "tanpeoi", "tanpeoiO", "tuan", "peaonmi", "anp"])
def test_other_options_give_the_same_sockets(options: str) -> None:
    assert tcp(f"6.1-{options}") == tcp("6.1-tan")


@pytest.mark.parametrize("options", ["uan", "tuan", "peaonmi", "anp"])
def test_sockets_of_udp(options: str) -> None:
    """Netid tells them, or that they are the only kind: UNCONN is no state of TCP here."""
    rows = listings.rows(listings.listing(listings.recorded(f"iproute2-6.1-{options}.txt")).udp)
    assert [(row.state, row.source, row.destination, row.destination_port) for row in rows] == [
        ("ESTABLISHED", "10.9.0.1", "10.9.0.1", 68),
        ("CLOSE", "0.0.0.0", "0.0.0.0", 0),
        ("CLOSE", "::", "::", 0),
    ]


@pytest.mark.parametrize(
    ("options", "listeners", "time_wait", "owners"),
    [
        ("tan", True, True, False),
        ("tanp", True, True, True),
        ("tn", False, False, False),
        ("ltn", True, False, False),
        ("uan", False, False, False),
        ("peaonmi", True, True, True),
    ],
)
def test_a_listing_says_what_it_would_show(options: str, listeners: bool, time_wait: bool, owners: bool) -> None:
    found = listings.listing(listings.recorded(f"iproute2-6.1-{options}.txt"))
    assert (found.shows_listeners, found.shows_time_wait, found.shows_owners) == (listeners, time_wait, owners)


def test_the_command_above_says_what_a_listing_would_show() -> None:
    found = listings.listing(listings.read(f"[root@web1 ~]# ss -tan\n{HEADER}{ROW}\n"))
    assert (found.what, found.shows_listeners, found.shows_time_wait) == ("ss -tan", True, True)
    found = listings.listing(listings.read(f"$ ss -tan | grep 10.0.0.7\n{ROW}\nTIME-WAIT{ROW[5:]}\n"))
    assert (found.shows_listeners, found.shows_time_wait) == (False, True)
    found = listings.listing(listings.read(f"{HEADER}{ROW}\n", file="sos_commands/networking/ss_-peaonmi"))
    assert (found.what, found.shows_listeners, found.shows_owners) == ("ss -peaonmi", True, True)


def test_inodes_users_and_timers() -> None:
    found = listings.listing(
        listings.read(
            HEADER
            + 'ESTAB 0 0 10.0.0.1:40001 10.0.0.7:80 users:(("ngi nx",pid=9,fd=3),("b",pid=8,fd=3)) '
            + "timer:(on,4.208ms,7) uid:33 ino:123 sk:1 cgroup:/x <->\n"
            + "\t cubic wscale:7,7 rto:204 timer:(on,1sec,0)\n"
            + "TIME-WAIT 0 0 10.0.0.1:40002 10.0.0.7:80 timer:(timewait,1min12sec,0) ino:0 sk:2\n"
        )
    )
    assert found.tcp[["timer", "expires_ms", "retransmits", "uid", "inode"]].tolist() == [
        (1, 4208, 7, 33, 123),
        (3, 72000, 0, 0, 0),
    ]
    assert (found.owners.of(found.tcp).tolist(), found.commands) == ([9, 0], {9: "ngi nx"})


def test_processes_without_inodes_still_own_their_sockets() -> None:
    found = listings.listing(listings.recorded("iproute2-6.1-tanp.txt"))
    (pid,) = found.commands
    assert found.commands[pid] == "python3"
    owned = found.owners.of(found.tcp) == pid
    assert (int(owned.sum()), int((found.tcp["inode"] != 0).sum())) == (18, 18)


def test_names_without_pids_are_processes_of_our_own_numbers() -> None:
    users = 'users:(("%s",pid=XXX,fd=3))'
    found = listings.listing(listings.read(f"{HEADER}{ROW} {users % 'a'}\n{ROW} {users % 'b'}\n{ROW} {users % 'a'}\n"))
    pids = found.owners.of(found.tcp).tolist()
    assert pids[0] == pids[2] != pids[1]
    assert [found.commands[pid] for pid in pids[:2]] == ["a", "b"]
    assert min(pids) > 4194304


def test_a_socket_of_many_processes_is_that_of_the_first_one() -> None:
    """A listener that a master shares with its workers; what follows their names is read as well."""
    users = ",".join(f'("php-fpm: (a))b",pid={pid},fd=9)' for pid in range(100, 1000))
    found = listings.listing(listings.read(f"{HEADER}{ROW} users:({users}) ino:77 sk:1\n"))
    assert (found.owners.of(found.tcp).tolist(), found.tcp["inode"].tolist()) == ([100], [77])
    assert found.commands == {100: "php-fpm: (a))b"}


def test_lines_below_a_row_belong_to_it_whatever_their_indent() -> None:
    found = listings.listing(
        listings.read(
            f'  {ROW}\n      users:(("a",pid=5,fd=1))\n   cubic wscale:7,7 rto:204 cwnd:10\n  skmem:(r0,rb1)\n  {ROW}\n'
        )
    )
    assert (found.tcp.size, found.last, found.owners.of(found.tcp).tolist()) == (2, 5, [5, 0])


def test_details_come_through_the_border_of_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.explain.formats.sockets._BATCH", 1)
    monkeypatch.setattr(text, "_BLOCK", len(ROW) + 1)
    found = listings.listing(listings.read(f'{ROW}\n{ROW}\n users:(("a",pid=5,fd=1))\n{ROW}\n{ROW}\n'))
    assert found.owners.of(found.tcp).tolist() == [0, 5, 0, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "2.6.32-tanp",
            [
                ("LISTEN", "0.0.0.0", 22, "0.0.0.0", 0),
                ("LISTEN", "::", 22, "::", 0),
                ("LISTEN", "::", 80, "::", 0),
                ("ESTABLISHED", "192.168.1.5", 22, "192.168.1.9", 51022),
                ("ESTABLISHED", "192.168.1.5", 80, "192.168.1.7", 40112),
                ("TIME_WAIT", "192.168.1.5", 40001, "192.168.1.8", 5432),
            ],
        ),
        (
            "4.11-antup",
            [
                ("LISTEN", "0.0.0.0", 22, "0.0.0.0", 0),
                ("LISTEN", "127.0.0.1", 25, "0.0.0.0", 0),
                ("TIME_WAIT", "10.0.2.15", 45122, "10.0.2.2", 3306),
                ("ESTABLISHED", "10.0.2.15", 22, "10.0.2.2", 52390),
                ("LISTEN", "::", 22, "::", 0),
            ],
        ),
        (
            "4.15-tunlp",
            [
                ("LISTEN", "127.0.0.53", 53, "0.0.0.0", 0),
                ("LISTEN", "0.0.0.0", 22, "0.0.0.0", 0),
                ("LISTEN", "::", 22, "::", 0),
                ("LISTEN", "::", 80, "::", 0),
            ],
        ),
    ],
)
def test_styles_of_older_versions(name: str, expected: list[tuple[object, ...]]) -> None:
    """An asterisk is all addresses of IPv4 before 4.16, and of both families since then."""
    evidence = listings.recorded(f"iproute2-{name}.txt")
    assert listings.rows(listings.listing(evidence).tcp) == expected
    assert evidence.unread == []


def test_users_of_old_versions_have_no_labels() -> None:
    found = listings.listing(listings.recorded("iproute2-2.6.32-tanp.txt"))
    assert found.owners.of(found.tcp).tolist() == [1234, 1234, 2001, 1300, 2001, 0]
    assert found.commands[2001] == "nginx"


def test_names_of_ports_that_mean_the_same_everywhere_are_resolved() -> None:
    evidence = listings.recorded("iproute2-6.1-ta.txt")
    found = listings.listing(evidence)
    assert {row.source_port for row in listings.rows(found.tcp) if row.state == "LISTEN"} == {80, 443, 8443, 9090}
    assert (found.tcp.size, found.unread) == (14, 10)
    assert {one.why for one in evidence.unread} == {
        "a name instead of a port, which means different ports on different systems: run ss with -n"
    }


def test_names_of_hosts_are_unread_with_the_remedy() -> None:
    evidence = listings.read(f"{HEADER}{ROW}\nESTAB 0 0 web1.example:40001 db-1:5432\n{ROW}\n")
    assert evidence.unread == [Unread("-", 3, 3, "names instead of addresses: run ss with -n")]
    assert (listings.listing(evidence).tcp_lines.tolist(), listings.listing(evidence).unread) == ([2, 4], 1)


def test_rows_without_a_state_are_unread_unless_something_tells_it() -> None:
    """`state` with one state leaves the column out."""
    captured = (listings.SOCKETS / "iproute2-6.1-tan-state-time-wait.txt").read_text()
    evidence = listings.read(captured)
    assert (evidence.listings, [(one.first, one.last, one.why) for one in evidence.unread]) == (
        [],
        [(2, 4, "its state is not told: paste the command line above it as well, or list all states with ss -tan")],
    )
    found = listings.listing(listings.read(f"$ ss -tan state time-wait\n{captured}"))
    assert Counter(row.state for row in listings.rows(found.tcp)) == {"TIME_WAIT": 3}
    assert (found.shows_time_wait, found.shows_listeners) == (True, False)
    found = listings.listing(listings.read("0 0 10.0.0.1:40001 10.0.0.7:80 timer:(timewait,59sec,0)\n"))
    assert listings.rows(found.tcp) == [("TIME_WAIT", "10.0.0.1", 40001, "10.0.0.7", 80)]


def test_a_new_header_begins_a_new_listing() -> None:
    evidence = listings.read(f"{HEADER}{ROW}\n{HEADER}{ROW}\n\nand then\n{HEADER}\n", formats=listings.LISTINGS)
    assert [(one.first, one.last, one.tcp.size) for one in evidence.listings] == [(1, 2, 1), (3, 4, 1), (7, 7, 0)]
    assert evidence.unread == [Unread("-", 6, 6)]


def test_rows_that_are_left_out_do_not_end_a_listing() -> None:
    pasted = f"{HEADER}{ROW}\n\n{ROW}\n...\n[snip]\n{ROW}\n<28,000 more lines>\n\n{ROW}\n...\n"
    evidence = listings.read(pasted, formats=listings.LISTINGS)
    assert listings.listing(evidence).tcp_lines.tolist() == [2, 4, 7, 10]
    assert [(one.first, one.last) for one in evidence.unread] == [(5, 6), (8, 8), (11, 11)]


@pytest.mark.parametrize(
    "line",
    [
        "ESTAB 0 0 10.0.0.1:40001",
        "ESTAB 0 0 10.0.0.1:40001 10.0.0.",
        "ESTAB 0 0 10.0.0.1:40001 10.0.0.7:",
        "ESTAB 0 0 10.0.0.1:70000 10.0.0.7:80",
        "ESTAB 0 0 10.0.0.1:4 [::1]:80",
        "ESTAB 0 0 10.0.0.1.1:4 10.0.0.1:80",
        "ESTAB 99999999999 0 10.0.0.1:4 10.0.0.1:80",
        f"ESTAB {'9' * 5000} 0 10.0.0.1:4 10.0.0.1:80",
    ],
)
def test_a_broken_row_is_unread_and_the_listing_goes_on(line: str) -> None:
    evidence = listings.read(f"{HEADER}{ROW}\n{line}\n{ROW}\n")
    assert [(one.first, one.last) for one in evidence.unread] == [(3, 3)]
    assert (listings.listing(evidence).tcp_lines.tolist(), listings.listing(evidence).unread) == ([2, 4], 1)


def test_an_excerpt_may_begin_and_end_anywhere() -> None:
    captured = (listings.SOCKETS / "iproute2-6.1-tanpeoi.txt").read_bytes()
    for begin in range(0, 3000, 97):
        evidence = listings.read(captured[begin : begin + 4000])
        known = set(tcp("6.1-tan"))
        cut = set(listings.rows(listings.listing(evidence).tcp)) - known
        assert len(cut) <= 1, "only a row at the end may have lost digits of its port"


@pytest.mark.parametrize(
    "prose",
    [
        "LISTEN to this",
        "tcp connections are slow",
        "ESTAB",
        "State of the art",
        "udp",
        "0 0 a b",
        "State Recv-Q Send-Q",
    ],
)
def test_prose_is_no_row(prose: str) -> None:
    evidence = listings.read(f"{prose}\n")
    assert (evidence.listings, evidence.unread) == ([], [Unread("-", 1, 1)])


def test_rows_beyond_the_maximum_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.explain.formats.sockets.SOCKETS_MAX", 3)
    monkeypatch.setattr("loadgen.explain.formats.sockets._BATCH", 2)
    found = listings.listing(listings.read(f"{ROW} ino:7\n" * 10))
    assert (found.tcp.size, found.tcp_lines.tolist(), found.dropped) == (3, [1, 2, 3], 7)


def test_a_listing_has_the_account_of_watch() -> None:
    found = listings.listing(listings.recorded("iproute2-6.1-tan.txt"))
    first = groups.group(groups.outbound(found.tcp))[0]
    assert (first.source, first.destination, first.destination_port) == ("10.9.0.1", "10.9.0.1", 8080)
    assert (first.source_ports, first.time_wait) == (6, 3)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("200ms", 200),
        ("59sec", 59_000),
        ("119min", 7_140_000),
        ("4.208ms", 4208),
        ("1min12sec", 72_000),
        ("", 0),
        ("x", 0),
    ],
)
def test_times_of_timers(time: str, expected: int) -> None:
    assert ss.milliseconds(time) == expected


WORDS = (
    st.sampled_from(
        ["ESTAB", "LISTEN", "UNCONN", "TIME-WAIT", "tcp", "udp", "nl", "u_str", "0", "1", "99999999999", "*"]
    )
    | st.sampled_from(
        ["*:*", "10.0.0.1:80", "[::1]:443", "::1:443", "a.b:https", "\t", "\n", "...", HEADER, "ino:9999999999"]
    )
    | st.sampled_from(['users:(("x",pid=1,fd=2))', "users:((", "timer:(on,", "timer:(on,1sec,999)", "uid:-1"])
)


@given(st.lists(WORDS | st.text(max_size=4), max_size=40))
def test_any_words_give_rows_or_are_unread(words: list[str]) -> None:
    pasted = " ".join(words)
    evidence = listings.read(pasted)
    for found in evidence.listings:
        assert found.tcp.size == found.tcp_lines.size
        assert found.udp.size == found.udp_lines.size
        listings.rows(found.tcp)


@pytest.mark.parametrize(
    ("pasted", "expected"),
    [
        (f"{HEADER}{ROW}\n", True),
        (f"$ ss -Htan\n{ROW}\n", True),
        (f"{ROW}\n", False),
        (f"$ ss -tan sport = :80\n{HEADER}{ROW}\n", False),
        (f"$ ss -tan | head\n{HEADER}{ROW}\n", False),
        (f"{HEADER}{ROW}\n...\n{ROW}\n", False),
        (f"{HEADER}{ROW}\nESTAB 0 0 web1:1 db1:2\n", False),
    ],
)
def test_a_listing_is_whole_if_nothing_says_that_rows_are_missing(pasted: str, expected: bool) -> None:
    assert listings.listing(listings.read(pasted)).whole is expected


LONG = 30_000


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "line",
    [
        "tcp 0 0 " + "a:" * LONG + " " + "b" * LONG,
        "0 0 " + "a:" * (LONG // 2) + " " + "b:" * (LONG // 2) + "!",
        f"{ROW} " + "users:((" * LONG,
        f"{ROW} users:((" + "))x" * LONG,
        f"{ROW} users:((" + '"' * LONG + "))",
        f"{ROW} " + "ino:" * LONG,
        "tcp 0 0 10.0.0.1:1 10.0.0.1:2 ESTABLISHED " + "1/" * LONG,
        "\t" + "aa \t" * LONG,
        "! " * LONG,
        "more " * LONG,
    ],
)
def test_long_lines_that_nearly_match_take_no_longer_than_others(line: str) -> None:
    """Twenty of them took minutes before the expressions had bounds."""
    for before in ("", f"{ROW}\n", "tcp 0 0 10.0.0.1:1 10.0.0.1:2 LISTEN\n"):
        evidence = listings.read(before + f"{line}\n" * 20)
        assert evidence.pieces or evidence.unread


def test_what_ss_says_of_other_kinds_of_sockets_belongs_to_the_listing() -> None:
    row = "tcp ESTAB 0 0 10.0.0.1:{} 10.0.0.7:80\n"
    evidence = pasted.read(
        row.format(1) + "RTNETLINK answers: Invalid argument\n" + row.format(2) + "Cannot open netlink socket: x"
    )
    assert [len(one.tcp) for one in evidence.listings] == [2]
    assert not evidence.unread
