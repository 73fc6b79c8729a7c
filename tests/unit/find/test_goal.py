"""A goal that cannot be searched is refused with the reason."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from loadgen.errors import UsageError
from loadgen.find.goal import Goal


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"start": 0}, "no search from 0 to 100; give two numbers above 0"),
        ({"start": 100}, "the lower first"),
        ({"stop": inf}, "no search from 1 to inf"),
        ({"start": nan}, "no search from nan to 100"),
        ({"start": 1.5, "whole": True}, "from 1.5 to 100: the key takes whole numbers only"),
        ({"precision": 0}, "no search to a precision of 0; give 1e-06 to 1"),
        ({"precision": 2}, "precision of 2"),
        ({"agree": 0}, "at least one to settle"),
        ({"trials_max": 0}, "at least one trial"),
    ],
)
def test_a_goal_without_an_answer_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Goal(**{"start": 1, "stop": 100, "trials_max": 10, **wrong})


@pytest.mark.parametrize(
    ("low", "high", "whole", "close"),
    [
        (100, 102, False, True),
        (100, 102.1, False, False),
        (1, 2, True, True),
        (1, 2, False, False),
        (1, 3, True, False),
    ],
)
def test_ends_are_close_within_the_precision_or_as_neighbours(
    low: float, high: float, whole: bool, close: bool
) -> None:
    assert Goal(1, 1000, 10, whole=whole).is_close(low, high) is close
