"""The chart of a search: a dot for each trial at its value, on one axis for all panels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loadgen.results.schema.find import VALUE_MAX, VALUE_MIN, TrialResult
from loadgen.views.charts import find
from tests import searches
from tests.searches import ENDED, fails, holds, numbered, plan, unknown


def drawn(trials: Sequence[TrialResult]) -> ET.Element:
    summary = searches.summary(trials, ENDED)
    (search,) = summary.searches
    return ET.fromstring(str(find.chart(summary, search)))


def dots(chart: ET.Element) -> list[tuple[float, float]]:
    return [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in chart.iter("circle")]


def names(chart: ET.Element) -> list[str]:
    """The names of its panels."""
    return [text.text or "" for text in chart.iter("text") if text.attrib["class"] == "name"]


def marks(chart: ET.Element) -> list[str]:
    return [text.text or "" for text in chart.iter("text") if text.attrib["class"] == "tick"]


def test_without_trials_there_is_none() -> None:
    summary = searches.summary((), ENDED)
    assert str(find.chart(summary, summary.searches[0])) == ""


def test_one_trial_stands_in_the_middle() -> None:
    chart = drawn(numbered(*holds(50.0, predicted=None)))
    assert {x for x, _ in dots(chart)} == {(110 + 880) / 2}


def test_trials_of_one_value_stand_above_each_other() -> None:
    trials = numbered(*holds(50.0, 50.0, 50.0, predicted=None, connect_p99_us=None))
    places = dots(drawn(trials))
    assert len(places) == 3
    assert len({x for x, _ in places}) == 1
    assert [y for _, y in places] == sorted({y for _, y in places}), "the first one at the top"


@pytest.mark.parametrize(("highest", "middle"), [(200.0, 75.0), (5000.0, 500.0)])
def test_a_wide_range_is_logarithmic(highest: float, middle: float) -> None:
    """Half of the way is the mean of near values, and the geometric mean of values far apart."""
    middle = (50 + highest) / 2 if highest < 400 else (50 * highest) ** 0.5
    trials = numbered(*holds(50.0, middle, highest, predicted=None, connect_p99_us=None))
    places = [x for x, _ in dots(drawn(trials))]
    assert places == pytest.approx([110.0, (110 + 880) / 2, 880.0])


def test_a_dot_says_its_outcome() -> None:
    trials = numbered(*holds(50.0), *fails(200.0), *unknown(100.0))
    chart = drawn(trials)
    assert [dot.attrib["class"] for dot in chart.iter("circle")][:3] == ["held", "failed", "unknown"]
    titles = [title.text for title in chart.iter("title")]
    assert "trial 2: failed, expected outcomes.failed == 0, observed 9" in titles
    assert chart.attrib["aria-label"].startswith("3 trials by arrival.rate: 1 held, 1 failed. ")


def test_there_is_a_panel_for_what_was_measured() -> None:
    assert names(drawn(numbered(*holds(50.0), *fails(200.0)))) == ["trial", "connect p99", "failed"]
    assert names(drawn(numbered(*unknown(50.0)))) == ["trial"]


def test_the_ends_and_the_prediction_are_lines() -> None:
    chart = drawn(searches.made(plan(), 196.0))
    lines = [line.attrib["class"] for line in chart.iter("line") if line.attrib["class"] != "grid"]
    assert lines == ["predicted", "edge", "edge"]
    nothing = drawn(numbered(*holds(50.0, predicted=0.0)))
    assert not [line for line in nothing.iter("line") if line.attrib["class"] == "predicted"]


def test_values_are_marked_with_their_unit() -> None:
    assert marks(drawn(searches.made(plan(), 196.0)))[0] == "50/s"


@given(st.lists(st.floats(VALUE_MIN, VALUE_MAX), min_size=1, max_size=8), st.floats(0, 1e308))
def test_every_value_has_a_place(values: list[float], predicted: float) -> None:
    trials = [replace(each, predicted=predicted) for each in numbered(*holds(*values))]
    chart = drawn(trials)
    assert all(109 <= x <= 881 for x, _ in dots(chart))
    assert not re.search("nan|inf", ET.tostring(chart, encoding="unicode").replace("outcomes.failed", ""))
