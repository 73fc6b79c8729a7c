"""Many words are found in many lines, and only where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.explain.word_scan import WordScan

LETTERS = st.text("abc\u00e9 ", max_size=12)


@given(st.lists(st.text("abc\u00e9 ", min_size=4, max_size=7), max_size=8, unique=True), st.lists(LETTERS, max_size=8))
def test_it_finds_what_asking_each_word_finds(words: list[str], lines: list[str]) -> None:
    found = WordScan({word: 1 << place for place, word in enumerate(words)}).find(lines)
    expected = {
        at: sum(1 << place for place, word in enumerate(words) if word in line) for at, line in enumerate(lines)
    }
    assert found == {at: bits for at, bits in expected.items() if bits}


@given(st.lists(st.text().filter(lambda text: "\n" not in text), max_size=4))
def test_any_text_is_searched_in_lower_case(lines: list[str]) -> None:
    words = {"errno": 1, "refused": 2, "\u00e9t\u00e9": 4}
    found = WordScan(words).find([f"{line}Errno\u00c9T\u00c9" for line in lines])
    assert [found[at] & 5 for at in range(len(lines))] == [5] * len(lines)


def test_words_do_not_reach_over_the_end_of_a_line() -> None:
    assert WordScan({"timed out": 1}).find(["timed", " out", "", "it timed out"]) == {3: 1}


def test_a_word_of_three_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="'eof' is shorter than 4 bytes"):
        WordScan({"eof": 1})
