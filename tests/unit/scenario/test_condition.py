"""The grammar of conditions: how a text is taken apart, and that any text is a condition or a clear refusal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.compare.regression import CompareCondition
from loadgen.scenario.condition import OPERATORS, Condition
from loadgen.scenario.expect import Expectation
from loadgen.watch.conditions import WatchCondition

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}(\.[A-Za-z0-9_-]{1,9}){0,3}", fullmatch=True)
operators = st.sampled_from(sorted(OPERATORS))
spaces = st.text(" ", max_size=3)
#: What a condition is made of, in any order and number.
pieces = st.lists(
    st.one_of(
        st.sampled_from([*OPERATORS, "=", " ", "used", "failed", "worse", ":", "verdict.limit", "lost"]),
        st.sampled_from(["80%", "1_000", "-5", "1.5", "60s", "20k", "5/s", '"', "'", "%", ".", "\t", "\n", "\x00"]),
        st.text(max_size=3),
    ),
    max_size=8,
).map("".join)


@given(names, operators, st.integers(-(10**15), 10**15), spaces)
def test_it_is_taken_apart_whatever_the_spaces(name: str, operator: str, number: int, space: str) -> None:
    text = f"{name}{space}{operator}{space}{number}"
    condition = Condition.parse(f"{space}{text}{space}")
    assert condition == Condition(name, operator, str(number), text)
    assert (condition.number, condition.percent) == (number, None)


@pytest.mark.parametrize(
    ("value", "number", "percent", "word"),
    [
        ("0", 0, None, None),
        ("-1_000.5", -1000.5, None, None),
        ("+3", 3, None, None),
        ("80%", None, 80, None),
        ("-0.5 %", None, -0.5, None),
        ("lost", None, None, "lost"),
        ("four-tuples", None, None, "four-tuples"),
        ('"four-tuples"', None, None, "four-tuples"),
        ("'a name of several words'", None, None, "a name of several words"),
        ('"80%"', None, None, "80%"),
        ('""', None, None, ""),
        ("1e5", None, None, None),
        ("1__0", None, None, None),
        ("1 2", None, None, None),
        ("%", None, None, None),
        ("8 0%", None, None, None),
        ("60s", None, None, None),
        ("\"lost'", None, None, None),
        ('"a"b"', None, None, None),
        ('"lost', None, None, None),
        ("a b", None, None, None),
    ],
)
def test_a_value_is_a_number_a_share_or_a_name(
    value: str, number: float | None, percent: float | None, word: str | None
) -> None:
    condition = Condition.parse(f"a.b == {value}")
    assert (condition.number, condition.percent, condition.word) == (number, percent, word)
    assert condition.is_quoted == (word is not None and value[0] in "\"'")


@pytest.mark.parametrize(
    "text",
    ["", "a", "a ==", "== 1", "a = 1", "a => 1", ".a == 1", "a. == 1", "aé == 1", "a == 1\n", "a\t== 1", 5],
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # it has no message: the caller knows its names
        Condition.parse(text)


@pytest.mark.parametrize("parse", [Expectation.parse, WatchCondition.parse, CompareCondition.parse])
@given(text=st.one_of(pieces, st.text(max_size=400)))
@example(text="a == " + "1" * 400)
@example(text="worse" + " " * 10_000 + ":")
def test_any_text_is_a_condition_or_a_refusal_with_a_remedy(parse: Callable[[str], object], text: str) -> None:
    refusal = "no refusal"
    try:
        parse(text)
    except ValueError as error:
        refusal = str(error)
    assert any(part in refusal for part in ("no refusal", "write ", "there are ", "did you mean", "compared with"))


@given(text=pieces)
def test_a_condition_that_was_read_reads_the_same_again(text: str) -> None:
    with contextlib.suppress(ValueError):
        condition = Condition.parse(text)
        assert Condition.parse(condition.text) == condition
