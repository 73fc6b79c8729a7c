"""The cells of a matrix that are to run."""

from __future__ import annotations

import pytest

from loadgen.results.schema import files
from loadgen.results.schema.matrix_plan import ROUNDS_MAX
from loadgen.scenario.fields import REPEAT_MAX
from tests import samples


def test_the_limit_of_rounds_is_that_of_a_scenario() -> None:
    assert ROUNDS_MAX == REPEAT_MAX
    assert samples.matrix_plan({"repeat": ROUNDS_MAX}).repeat == ROUNDS_MAX


@pytest.mark.parametrize("repeat", [0, -1, ROUNDS_MAX + 1, 2.5, True, "3", None])
def test_an_impossible_number_of_rounds_is_refused(repeat: object) -> None:
    with pytest.raises(ValueError, match=r"`int`.* - at `\$\.repeat`"):
        samples.matrix_plan({"repeat": repeat})


@pytest.mark.parametrize("value", ["late", 1, 1.5, True, None, ["5/s"], {"rate": "5/s", "for": [1, {"x": 2}]}])
def test_a_setting_is_any_value_of_yaml_and_stays_it(value: object) -> None:
    plan = samples.matrix_plan({"cells": [{"settings": {"a.b": value}}]})
    (cell,) = files.plain(plan)["cells"]
    assert cell == {"settings": {"a.b": value}}
    assert type(cell["settings"]["a.b"]) is type(value)
