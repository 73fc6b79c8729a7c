"""The charts of a matrix: which axis, what stands where, and how many cells still can be read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results.measures import Unit, measure
from loadgen.views.charts import matrix, matrix_dots
from loadgen.views.charts.matrix_dots import Axis, CellDots

RATE = measure("rate_per_s")


def row(cell: int, runs: Sequence[float], predicted: float | None = None, values: Sequence[str] = ("<i>",)) -> CellDots:
    return CellDots(cell, "<b>", values, runs, runs[0] if runs else None, predicted)


def drawn(*rows: CellDots) -> str:
    """The chart, which has to be well-formed."""
    found = str(matrix_dots.chart(RATE, "rate", rows))
    ElementTree.fromstring(found)
    return found


def dots(svg: str) -> list[float]:
    return [float(x) for x in re.findall(r'<circle[^>]* cx="([\d.]+)%"', svg)]


def ticks(svg: str) -> list[str]:
    return re.findall(r'class="tick"[^>]*>([^<]*)<', svg)


def test_values_that_lie_far_apart_stand_on_a_logarithmic_axis_with_a_place_for_zero() -> None:
    svg = drawn(row(0, [0.0], 1.7), row(1, [100.0], 100.0), row(2, [5000.0]), row(3, []))
    assert "on a logarithmic axis" in svg
    assert dots(svg) == sorted(set(dots(svg)))
    assert len(dots(svg)) == 3
    assert ticks(svg) == ["0/s", "1/s", "100/s", "10 k/s"]
    assert svg.count('class="predicted"') == 2
    assert "no complete run" in svg
    assert "<b>" not in svg
    assert "<i>" not in svg


@pytest.mark.parametrize(("low", "logarithmic"), [(1.0, False), (0.99, True)])
def test_an_axis_is_logarithmic_from_more_than_two_decades(low: float, logarithmic: bool) -> None:
    assert Axis.of([low, 100.0]).logarithmic is logarithmic


def test_values_that_lie_close_stand_on_an_axis_from_zero() -> None:
    svg = drawn(row(0, [80.0, 90.0], 100.0))
    assert "on an axis from zero" in svg
    assert ticks(svg) == ["0/s", "50/s", "100/s"]
    assert "from zero" in drawn(row(0, [0.0]))
    assert "from zero" in drawn(row(0, []))


@given(st.lists(st.floats(0, 1e12, allow_subnormal=False), max_size=20))
def test_every_value_has_a_place_on_the_axis_in_its_order(values: list[float]) -> None:
    axis = Axis.of(values)
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert 2 <= len(axis.labelled()) <= 5


def test_a_row_says_its_name_and_its_median_and_all_of_them_stand_in_the_label() -> None:
    svg = drawn(row(0, [80.0, 90.0], values=["late", "fin"]), row(4, [70.0]))
    assert re.findall(r"<tspan[^>]*>([^<]*)<", svg) == ["late, fin", "&lt;i&gt;"]
    assert re.findall(r'<text x="100%"[^>]*>([^<]*)<', svg) == ["80/s", "70/s"]
    assert 'role="img" aria-label="rate of each cell, a dot per run on an axis from zero; medians: cell 0 80/s;' in svg


def test_a_hundred_cells_are_no_higher_than_a_screen_and_named_by_group() -> None:
    rows = [row(n, [float(n)], values=[f"group {n // 20}", str(n)]) for n in range(100)]
    svg = drawn(*rows)
    found = re.match(r'<svg class="dots" height="([\d.]+)em"', svg)
    assert found
    assert 12 * float(found[1]) <= 700
    assert re.findall(r"<tspan[^>]*>([^<]*)<", svg) == [f"group {n}" for n in range(5)]
    assert "medians: from 0/s in cell 0 to 99/s in cell 99" in svg
    assert len(dots(svg)) == 100


def test_names_of_many_groups_do_not_touch() -> None:
    svg = drawn(*(row(n, [1.0], values=[str(n)]) for n in range(200)))
    heights = [float(y) for y in re.findall(r'<text y="([\d.]+)em">', svg)]
    assert len(heights) > 10
    assert min(below - above for above, below in itertools.pairwise(heights)) >= 1


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, Unit.US, "0 µs"),
        (200.0, Unit.US, "200 µs"),
        (10_000.0, Unit.US, "10 ms"),
        (2e6, Unit.US, "2 s"),
        (0.1, Unit.PER_S, "0.1/s"),
        (1_500.0, Unit.COUNT, "1.5 k"),
        (1e6, Unit.PER_S, "1 M/s"),
    ],
)
def test_a_label_of_an_axis_is_short(value: float, unit: Unit, said: str) -> None:
    assert matrix_dots.tick(value, unit) == said


def test_the_chart_of_costs_is_logarithmic_and_leaves_gaps_out() -> None:
    svg = str(matrix.costs_chart({0: [10.0, None, 0.0, *[1000.0] * 7], 7: [1.0] * 10}))
    ElementTree.fromstring(svg)
    heights = [float(y) for y in re.findall(r'class="grid"[^>]* y1="([\d.]+)em"', svg)]
    steps = [round(12 * (above - below), 1) for above, below in itertools.pairwise(heights)]
    assert len(heights) == 4, "1, 10, 100, 1,000"
    assert max(steps) - min(steps) < 0.2
    assert [points.count(",") for points in re.findall(r'points="([^"]*)"', svg)] == [8, 10]
    assert matrix.costs_chart({0: [None] * 10})


def test_each_line_of_costs_has_a_colour_and_dashes_of_its_own_and_other_dashes_than_the_one_before() -> None:
    found = [matrix.colour(n) for n in range(matrix.LINES_MAX)]
    assert len(set(found)) == matrix.LINES_MAX
    assert all(one.split()[1] != other.split()[1] for one, other in itertools.pairwise(found))
