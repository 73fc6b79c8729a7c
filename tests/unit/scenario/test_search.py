"""`find`: what it may vary, between which bounds, and every mistake with its place and its fix."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.errors import ScenarioError
from loadgen.scenario import FindMode, FindSpec, ScenarioSpec, VariedValue, load, parse, parse_cells
from loadgen.scenario.load import at_value

from .support import refusal

TEXT = """\
name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 100
arrival: {rate: 100/s}
expect:
  - outcomes.failed == 0
find:
  vary: arrival.rate
  from: 100/s
  to: 20_000/s
"""


def find_of(*overrides: str) -> FindSpec:
    find = parse(TEXT, overrides=overrides).find
    assert find
    return find


def test_what_is_left_out() -> None:
    find = find_of()
    assert (find.vary, find.start.number, find.stop.number, find.start.unit) == ("arrival.rate", 100.0, 20_000.0, "/s")
    assert (find.precision, find.agree, find.trials, find.mode) == (0.02, 2, 60, FindMode.TRIALS)
    assert (find.time_s, find.settle_s, find.at_least, find.whole) == (3600.0, 70.0, None, False)


def test_all_of_it() -> None:
    find = find_of(
        "find={vary: connections, from: 500, to: 2_000, precision: 0.5 %, agree: 3, trials: 9, time: 10m, settle: 0s,"
        " mode: continuous, at_least: 1_000}"
    )
    assert (find.precision, find.agree, find.trials, find.time_s, find.settle_s) == (0.005, 3, 9, 600.0, 0.0)
    assert find.mode is FindMode.CONTINUOUS
    assert find.whole
    assert find.at_least == VariedValue(1000.0, "", whole=True)


# --- Values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "number", "unit", "whole"),
    [
        (100, 100.0, "", True),
        (0.5, 0.5, "", False),
        ("100", 100.0, "", True),
        ("1_000", 1000.0, "", True),
        ("0.5", 0.5, "", False),
        ("100/s", 100.0, "/s", False),
        ("20_000 / s", 20_000.0, "/s", False),
        ("600/min", 600.0, "/min", False),
        ("1.5s", 1.5, "s", False),
        ("250ms", 250.0, "ms", False),
        ("5 %", 5.0, "%", False),
    ],
)
def test_a_value_and_its_unit(written: object, number: float, unit: str, whole: bool) -> None:
    assert VariedValue.of(written) == VariedValue(number, unit, whole)


@pytest.mark.parametrize(
    "written", [0, -1, "0/s", True, None, "", "fast", "1e3", "-5/s", "1/day", "9" * 200, [1], 1e16]
)
def test_what_is_no_value(written: object) -> None:
    with pytest.raises(ValueError, match="write a number above 0"):
        VariedValue.of(written)


units = st.sampled_from(["", "/s", "/min", "/h", "ms", "s", "m", "h", "%"])


@given(st.integers(1, 10**14), units)
def test_a_whole_number_is_the_same_again(number: int, unit: str) -> None:
    value = VariedValue.of(f"{number}{unit}")
    again = VariedValue.of(value.at(value.number))
    assert (again.number, again.unit, again.whole) == (number, unit, value.whole)


@given(st.decimals("0.001", "1000000", places=3), units)
def test_a_fraction_is_the_same_again(number: Any, unit: str) -> None:
    value = VariedValue.of(f"{number}{unit}")
    assert VariedValue.of(value.at(value.number)).number == value.number == float(number)


@given(st.floats(1e-3, 1e12), st.floats(1e-3, 1e12), units)
def test_another_number_has_the_same_unit(number: float, other: float, unit: str) -> None:
    value = VariedValue(number, unit, whole=False)
    there = VariedValue.of(value.at(other))
    assert there.unit == unit
    assert there.number == pytest.approx(other, rel=1e-14)


def test_a_whole_number_stays_whole() -> None:
    assert find_of("find={vary: connections, from: 100, to: 200}").at(150.0) == 150
    made = VariedValue(100.0, "", whole=True).at(149.6)
    assert (made, type(made)) == (150, int)


def test_a_value_between_a_whole_and_a_fractional_bound_is_not_rounded() -> None:
    """The search records the value that it asked for, so that has to be the one that is tried."""
    find = FindSpec.model_validate({"vary": "x", "from": 1, "to": 2.5})
    assert not find.whole
    assert find.at(1.5) == 1.5
    assert find.at(1.0) == 1.0


# --- Mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "place", "fix"),
    [
        ("  vary: arrival.rate\n", "", (10, 3), "vary is missing"),
        ("  from: 100/s\n", "", (10, 3), "from is missing"),
        ("  to: 20_000/s\n", "", (10, 3), "to is missing"),
        ("vary: arrival.rate", "vary: a..b", (10, 9), "write the dotted path of a key"),
        ("vary: arrival.rate", "vary: repeat", (10, 9), "vary a key of the load"),
        ("vary: arrival.rate", "vary: find.trials", (10, 9), "vary a key of the load"),
        ("vary: arrival.rate", "vary: expect.0", (10, 9), "vary a key of the load"),
        ("vary: arrival.rate", "vary: arrival.rat", (10, 9), 'unknown key "rat"; did you mean "rate"?'),
        ("from: 100/s", "from: fast", (11, 9), "write a number above 0 with the unit of the key"),
        ("from: 100/s", "from: 0/s", (11, 9), "write a number above 0"),
        ("from: 100/s", "from: 100/min", (12, 7), "the unit of from, /min"),
        ("to: 20_000/s", "to: 20_000", (12, 7), "the unit of from, /s"),
        ("to: 20_000/s", "to: 100/s", (12, 7), "write more than from"),
        ("from: 100/s", "from: 100", (12, 7), "no unit, as from"),
        ("to: 20_000/s\n", "to: 20_000/s\n  precision: 51%\n", (13, 14), "write a share from 0.1% to 50%"),
        ("to: 20_000/s\n", "to: 20_000/s\n  precision: 0.05%\n", (13, 14), "write a share from 0.1% to 50%"),
        ("to: 20_000/s\n", "to: 20_000/s\n  agree: 6\n", (13, 10), "at most 5"),
        ("to: 20_000/s\n", "to: 20_000/s\n  trials: 3\n", (13, 11), "at least 4"),
        ("to: 20_000/s\n", "to: 20_000/s\n  time: 0.5s\n", (13, 9), "1s"),
        ("to: 20_000/s\n", "to: 20_000/s\n  settle: 2h\n", (13, 11), "1h"),
        ("to: 20_000/s\n", "to: 20_000/s\n  mode: steps\n", (13, 9), "continuous"),
        ("to: 20_000/s\n", "to: 20_000/s\n  mode: continuous\n", (13, 9), "write vary: connections, or mode: trials"),
        ("to: 20_000/s\n", "to: 20_000/s\n  at_least: 5\n", (13, 13), "the unit of from, /s"),
        ("to: 20_000/s\n", "to: 20_000/s\n  untill: 5\n", (13, 3), "untill"),
        ("  - outcomes.failed == 0\n", "  []\n", (9, 1), "add expect, for example - outcomes.failed == 0"),
        ("find:\n", "repeat: 2\nfind:\n", (9, 1), "a search repeats trials by itself"),
        ("find:\n", "matrix: {arrival.rate: [1/s, 2/s]}\nfind:\n", (9, 10), "is the key that find varies"),
    ],
)
def test_a_mistake_has_its_place_and_its_fix(old: str, new: str, place: tuple[int, int], fix: str) -> None:
    assert old in TEXT
    error = refusal(TEXT.replace(old, new))
    assert fix in str(error)
    assert (error.mistakes[0].line, error.mistakes[0].column) == place, str(error)


@pytest.mark.parametrize(
    ("key", "bounds", "place"),
    [
        ("connections", ("from: 100.5", "to: 200"), (11, 9)),
        ("connections", ("from: 100", "to: 200.5"), (12, 7)),
        ("connections", ("from: 100", "to: 2_000_000_000"), (12, 7)),
        ("in_flight", ("from: 1", "to: 99_999_999"), (12, 7)),
        ("sources.count", ("from: 1", "to: 2"), (12, 7)),
        ("timeout", ("from: 1s", "to: 9h"), (12, 7)),
    ],
)
def test_every_value_makes_a_valid_run_or_the_bound_is_the_mistake(
    key: str, bounds: tuple[str, str], place: tuple[int, int]
) -> None:
    changed = TEXT.replace("arrival.rate", key).replace("from: 100/s", bounds[0]).replace("to: 20_000/s", bounds[1])
    error = refusal(changed)
    assert (error.mistakes[0].line, error.mistakes[0].column) == place, str(error)


def test_a_mistake_of_both_bounds_is_told_of_each() -> None:
    changed = TEXT.replace("arrival.rate", "hold").replace("from: 100/s", "from: 1").replace("20_000/s", "2")
    with pytest.raises(ScenarioError) as caught:
        parse(changed, "s.yaml")
    assert [(mistake.line, mistake.column) for mistake in caught.value.mistakes] == [(11, 9), (12, 7)]


def test_only_expectations_of_a_run_say_when_a_value_holds() -> None:
    changed = TEXT.replace("outcomes.failed == 0", "cells.0.outcomes.failed == 0").replace(
        "find:", "matrix: {close: [fin, rst]}\nfind:"
    )
    with pytest.raises(ScenarioError, match="nothing says when a value holds"):
        parse(changed, "s.yaml")


def test_a_bound_that_fails_in_one_cell_only() -> None:
    changed = TEXT.replace("arrival.rate", "sources.count").replace("from: 100/s", "from: 1").replace("20_000/s", "3")
    changed = changed.replace("find:", 'matrix: {sources.addresses: ["127.0.0.2-4", "127.0.0.2-3"]}\nfind:')
    error = refusal(changed)
    assert "sources.addresses has 2" in str(error)


# --- Trials -------------------------------------------------------------------------------------------------------


def trial(text: str, value: int | float | str, cell: int = 0, *overrides: str) -> ScenarioSpec:
    made = at_value(text, "s.yaml", overrides, value, cell)
    assert made.find is None
    assert made.matrix == {}
    return made


def test_a_trial_is_the_scenario_with_another_value() -> None:
    made = trial(TEXT, "462/s")
    assert made.arrival
    assert made.arrival.rate_per_s == 462.0
    assert [row.text for row in made.expect] == ["outcomes.failed == 0"]
    assert made.connections == 100
    assert trial(TEXT, "462/s", 0, "connections=7").connections == 7


def test_a_trial_of_a_cell_has_its_settings() -> None:
    text = TEXT.replace("find:", "matrix: {close: [fin, rst], hold: [0s, 1s]}\nfind:")
    whole, cells = parse_cells(text)
    assert whole.find
    assert len(cells) == 4
    assert all(cell.scenario.find is None for cell in cells)
    made = trial(text, "200/s", 2)
    assert (made.close.value, made.hold_s) == ("rst", 0.0)


def test_options_of_the_command_are_settings() -> None:
    text = TEXT[: TEXT.index("find:")]
    find = parse(text, overrides=("find.vary=connections", "find.from=1000", "find.to=60000", "find.precision=5%")).find
    assert find
    assert (find.vary, find.start.number, find.whole, find.precision) == ("connections", 1000.0, True, 0.05)
    assert parse(TEXT, overrides=("find=null",)).find is None


def test_a_search_in_a_file(tmp_path: Any) -> None:
    (tmp_path / "s.yaml").write_text(TEXT)
    assert load(tmp_path / "s.yaml").find == find_of()
