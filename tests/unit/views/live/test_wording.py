"""The words that both views use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.model import Phase
from loadgen.views.live import wording
from loadgen.views.live.figures import TimeWait
from loadgen.views.live.schedule import TimeLeft

from .samples import PLAN


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (None, ""),
        (TimeLeft(0.4, estimated=False), "0 s left"),
        (TimeLeft(20.0, estimated=False), "20 s left"),
        (TimeLeft(119.4, estimated=True), "about 119 s left"),
        (TimeLeft(725.0, estimated=True), "about 12 min 05 s left"),
    ],
)
def test_time_left_is_no_more_exact_than_it_is_known(left: TimeLeft | None, text: str) -> None:
    assert wording.left(left) == text


def test_what_was_not_measured_is_a_dash() -> None:
    assert (wording.latency(None), wording.cpu(None), wording.time_wait(None)) == ("-", "CPU - cores", ["-"])
    assert (wording.latency(1001.5), wording.cpu(1.406)) == ("1.00 ms", "CPU 1.41 cores")


def test_time_wait_names_the_sinks_only_where_they_live_apart() -> None:
    assert wording.time_wait(TimeWait(100, 7, 900)) == ["100", "7 at the sinks", "900 recycled"]
    assert wording.time_wait(TimeWait(4_321, None, 0)) == ["4,321", "0 recycled"]


def test_a_name_can_neither_drive_a_terminal_nor_take_more_than_its_line() -> None:
    assert wording.name(replace(PLAN, name="a\x1b[2J\n\tb\u202e  c")) == "a\\x1b[2J b\\u202e c"


def test_every_phase_has_a_word() -> None:
    assert set(wording.PHASES) == set(Phase)
