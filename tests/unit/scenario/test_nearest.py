"""The remedy for a word with a slip in it."""

import pytest

from loadgen.scenario.nearest import nearest


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("for-tuples", 'did you mean "four-tuples"?'),
        ("ports", "write one of four-tuples, lost"),
        ("four-tuples" * 7, "write one of four-tuples, lost"),
        (5, "write one of four-tuples, lost"),
    ],
)
def test_the_word_that_was_meant_or_all_there_are(word: object, remedy: str) -> None:
    assert nearest(word, ["four-tuples", "lost"]) == remedy


def test_where_there_are_none_it_says_so() -> None:
    assert nearest("x", []) == "write one of none"
