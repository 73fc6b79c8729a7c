"""Rows in a terminal of any size: nothing wraps, names stay, the least important rows go first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from loadgen.views.live.frame import Blank, Frame, Gauge, Head, Labelled, TableRow

WIDTHS = st.integers(1, 250)
NAMES = st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=80)
PARTS = st.lists(st.text("0123456789,./s ms", max_size=30), min_size=1, max_size=5)
ROWS: st.SearchStrategy[TableRow] = st.one_of(
    st.builds(Blank, st.integers(0, 20)),
    st.builds(Head, st.integers(0, 20), NAMES, st.sampled_from(["opening", "done"]), st.just("12.5 s")),
    st.builds(
        lambda rank, label, parts: Labelled(rank, label, [Text(part) for part in parts]),
        st.integers(0, 20),
        st.sampled_from(["", "rate", "handshake"]),
        PARTS,
    ),
    st.builds(
        Gauge, st.integers(0, 20), NAMES, st.integers(0, 80), st.floats(0, 1), st.sampled_from(["", "1 of 64,512"])
    ),
)


def labelled(width: int, *parts: str) -> str:
    return Labelled(0, "error", [Text(part) for part in parts]).line(width, ascii_only=False).plain


def gauge(
    width: int, name: str = "127.0.0.2", share: float = 0.5, name_width: int = 0, ascii_only: bool = False
) -> str:
    return Gauge(0, name, name_width, share, "32,256 of 64,512").line(width, ascii_only=ascii_only).plain


@given(st.lists(ROWS, min_size=1, max_size=30), WIDTHS, st.integers(1, 60), st.booleans())
def test_no_line_is_wider_and_no_frame_higher_than_the_terminal(
    rows: list[TableRow], width: int, height: int, ascii_only: bool
) -> None:
    lines = Frame(rows).lines(width, height, ascii_only=ascii_only)
    assert len(lines) <= height
    assert max((line.cell_len for line in lines), default=0) <= width


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.integers(1, 30))
def test_the_least_important_rows_go_and_the_others_keep_their_order(ranks: list[int], height: int) -> None:
    frame = Frame([Labelled(rank, "", [Text(f"{place}")]) for place, rank in enumerate(ranks)])
    kept = [int(line.plain) for line in frame.lines(80, height)]
    assert len(kept) == min(height, len(ranks))
    assert kept == sorted(kept)
    gone = set(range(len(ranks))) - set(kept)
    assert max(ranks[place] for place in kept) <= min((ranks[place] for place in gone), default=20)


def test_a_place_that_is_kept_counts_but_is_not_drawn_at_the_end() -> None:
    first, last = Labelled(0, "a", [Text("1")]), Labelled(1, "b", [Text("2")])
    assert [line.plain.split() for line in Frame([first, Blank(0), last]).lines(80, 3)] == [["a", "1"], [], ["b", "2"]]
    assert [line.plain.split() for line in Frame([first, last, Blank(0)]).lines(80, 2)] == [["a", "1"]]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "error      connect EADDRNOTAVAIL  12,345           200/s"),
        (50, "error      connect EADDRNOTAVAIL  12,345  200/s"),
        (40, "error      connect EADDRNOTAVAIL  12,345"),
        (39, "error      connect EADDRNOTAVAIL"),
        (10, "error      connect EADDRNOTAVAIL"),  # the frame cuts what not even the name has room for
    ],
)
def test_numbers_give_way_and_names_stay(width: int, expected: str) -> None:
    assert labelled(width, "connect EADDRNOTAVAIL", "12,345", "200/s") == expected


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "127.0.0.2  ━━━━━━━━━━━━━━━━━━━━───────────────────    50.0 %  32,256 of 64,512"),
        (40, "127.0.0.2  ━━━━━━━━─────────    50.0 %"),
        (24, "127.0.0.2    50.0 %"),
        (18, "127.0.0.2  50.0 %"),
        (14, "…0.0.2  50.0 %"),
    ],
)
def test_of_a_gauge_the_numbers_behind_go_first_and_the_beginning_of_its_name_last(width: int, expected: str) -> None:
    assert gauge(width) == expected


@given(st.integers(30, 200), st.floats(0, 1))
def test_a_bar_leaves_room_for_what_a_terminal_echoes(width: int, share: float) -> None:
    """A ^C behind the last row must not wrap."""
    assert cell_len(gauge(width, share=share)) <= width - 2


def test_gauges_below_each_other_begin_at_one_column() -> None:
    assert len({gauge(80, name, name_width=15).index("━") for name in ("127.0.0.2", "127.255.255.254")}) == 1


@pytest.mark.parametrize(("share", "filled"), [(0.0, 0), (0.0001, 1), (0.5, 20), (0.9999, 39), (1.0, 40)])
def test_a_bar_is_full_only_when_everything_is(share: float, filled: int) -> None:
    assert gauge(200, share=share).count("━") == filled
    assert gauge(200, share=share, ascii_only=True).count("#") == filled


def test_a_terminal_with_ascii_only_gets_ascii_only() -> None:
    head = Head(0, "x" * 60, "opening", "1.0 s")
    assert all(line.plain.isascii() for line in Frame([head]).lines(40, 5, ascii_only=True))
    for width in (8, 18, 40, 80):
        assert gauge(width, ascii_only=True).isascii()


def test_a_title_is_cut_only_where_it_must_be() -> None:
    head = Head(0, "past-64k", "opening", "12.5 s")
    assert head.line(30, ascii_only=False).plain == "past-64k  opening       12.5 s"
    assert head.line(20, ascii_only=False).plain == "past-64k  opening"
    assert head.line(14, ascii_only=False).plain == "past…  opening"
