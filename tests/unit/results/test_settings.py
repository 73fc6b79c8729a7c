"""Settings in words: short where that is plain, whole where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.results.settings import named, short_keys, value_text


def test_settings_are_called_by_their_last_word_unless_two_end_alike() -> None:
    settings: list[dict[str, Any]] = [{"lab.sysctls.net.ipv4.tcp_tw_reuse": 1, "a.rate": "5/s"}, {"b.rate": True}]
    short = short_keys(settings)
    assert named(settings[0], short) == "tcp_tw_reuse 1, a.rate 5/s"
    assert named(settings[1], short) == "b.rate true"


@pytest.mark.parametrize(
    ("value", "text"),
    [("late", "late"), (1, "1"), (False, "false"), ({"rate": "5/s"}, '{"rate": "5/s"}'), ([1], "[1]")],
)
def test_values_are_written_as_in_the_scenario(value: object, text: str) -> None:
    assert value_text(value) == text
