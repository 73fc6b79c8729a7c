"""Types of fields, and errors that point at one key among several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from loadgen.scenario import parse
from loadgen.scenario.fields import at_most, items, refuse, within, wrong_at

from .support import SMALLEST


@pytest.mark.parametrize("count", [1, 65_536])
def test_the_limit_of_addresses_can_be_reached(count: int) -> None:
    found = parse(SMALLEST.replace("127.0.0.2}", f"10.0.0.0-10.0.{(count - 1) >> 8}.{(count - 1) & 255}}}"))
    assert len(found.sources.expanded) == count


def mistakes_of(check: Callable[[], None]) -> list[tuple[Any, Any, Any]]:
    with pytest.raises(PydanticCustomError) as caught:
        check()
    context = caught.value.context
    assert context
    return [(mistake["path"], mistake["kind"], mistake["message"]) for mistake in context["mistakes"]]


def test_mistakes_are_raised_together_in_their_order() -> None:
    found = [wrong_at(("a", 0), "write 1"), wrong_at(("b",), "leave b out", "wrong_key")]
    assert mistakes_of(lambda: refuse(iter(found))) == [
        (("a", 0), "wrong_value", "write 1"),
        (("b",), "wrong_key", "leave b out"),
    ]
    refuse(())


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_list_has_one_to_so_many_items(length: int, most: int) -> None:
    for check, allowed in ((items(most), 1 <= length <= most), (at_most(most), length <= most)):
        if allowed:
            assert check((0,) * length) == (0,) * length
        else:
            with pytest.raises(ValueError, match=f"{most}"):
                check((0,) * length)


@pytest.mark.parametrize(("value_s", "allowed"), [(0.99, False), (1.0, True), (60.0, True), (60.01, False)])
def test_a_duration_lies_within_both_ends(value_s: float, allowed: bool) -> None:
    if allowed:
        assert within("1s", "1m")(value_s) == value_s
    else:
        with pytest.raises(ValueError, match="write a duration from 1s to 1m"):
            within("1s", "1m")(value_s)
