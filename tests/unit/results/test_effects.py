"""What a setting changed: which cells stand side by side, and in which words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.results import effects
from loadgen.results.schema.matrix import CellChange
from loadgen.results.schema.run import RunSummary
from tests import samples

REUSE, CLOSE = "lab.sysctls.net.ipv4.tcp_tw_reuse", "close"


def churn(*rates: float, per_s: float | None = 100.0) -> list[RunSummary]:
    """Runs of one cell."""
    changes = {"churn.ceiling.per_s": per_s, "churn.ceiling.established": None}
    return [samples.summary({**changes, "churn.sustained_per_s": rate}, "churn") for rate in rates]


def held(*rates: float, **changes: Any) -> list[RunSummary]:
    return [samples.summary({"rate_per_s.established_mean": rate, **changes}) for rate in rates]


def told(before: Sequence[RunSummary], after: Sequence[RunSummary]) -> effects.ComparedCell:
    (change,) = effects.changes([{REUSE: 0}, {REUSE: 1}], {0: before, 1: after})
    return change


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            churn(0.0, 0.0, per_s=1.667),
            churn(99.0, 101.0),
            "lifts the sustained rate from 0/s to 100/s (predicted 1.67/s and 100/s)",
        ),
        (
            churn(5000.0, 5100.0, per_s=None),
            churn(98.0, 99.0),
            "lowers the sustained rate from 5,050/s to 98.5/s (predicted unlimited and 100/s)",
        ),
        (churn(98.0, 98.0), churn(101.0, 101.0), "makes no difference beyond noise (98/s and 101/s)"),
        (
            churn(60.0),
            churn(100.0, 100.0),
            "makes no difference beyond noise (60/s and 100/s; a single run cannot tell less than 50 %)",
        ),
        (held(10.0), held(100.0), "lifts the rate from 10/s to 100/s"),
        (
            held(10.0, cost_us=[1.0] * 10),
            held(10.0, cost_us=[300.0] * 10),
            "lifts the cost of a connection in the last tenth from 1.00 us to 300 us",
        ),
    ],
)
def test_the_sentence(before: list[RunSummary], after: list[RunSummary], text: str) -> None:
    change = told(before, after)
    assert change.text == f"tcp_tw_reuse=1 instead of 0 {text}"
    assert change.noise is ("no difference" in text)
    assert change.change == CellChange(key=REUSE, value=1, instead_of=0, cell=0, noise=change.noise, text=change.text)


def test_a_run_that_churned_is_compared_with_one_that_held_by_what_both_have() -> None:
    assert told(held(10.0), churn(1.0)).text.endswith(" lowers the rate from 10/s to 1/s")


def test_a_cell_that_did_not_come_to_its_end_is_left_out_on_either_side() -> None:
    settings = [{REUSE: value} for value in (0, 1, 2)]
    found = effects.changes(settings, {0: churn(1.0), 2: churn(5.0)})
    assert [(one.cell, one.reference) for one in found] == [(2, 0)]
    assert effects.changes(settings, {1: churn(1.0), 2: churn(5.0)}) == []


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_every_value_but_the_first_is_compared_once_with_all_else_the_same(one: int, two: int, three: int) -> None:
    keys = {"a.x": range(one), "b.x": range(two), "c": range(three)}
    settings = [dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())]
    found = effects.changes(settings, {index: churn(1.0) for index in range(len(settings))})
    assert len(found) == sum(value != 0 for cell in settings for value in cell.values())
    for change in found:
        assert settings[change.reference] == {**settings[change.cell], change.key: 0}


def test_true_and_1_are_two_values() -> None:
    (change,) = effects.changes([{"x": True}, {"x": 1}], {0: churn(1.0), 1: churn(9.0)})
    assert change.text.startswith("x=1 instead of true lifts")


def test_the_digest_tells_the_strongest_with_what_they_hold_under() -> None:
    settings = [{CLOSE: close, REUSE: value} for close in "abcdefg" for value in (0, 1)]
    runs = {index: churn(10.0, 10.0) for index in range(len(settings))}
    runs |= {2 * n + 1: churn(100.0 * (n + 1), 100.0 * (n + 1)) for n in range(5)}
    *others, first = effects.effects(settings, effects.changes(settings, runs))
    assert (first.key, first.value, first.instead_of) == (REUSE, 1, 0)
    assert (first.combinations, first.noise, first.more) == (7, 2, 1)
    assert first.text == "noise in 2 of 7 combinations"
    assert [one.under for one in first.strongest] == [{CLOSE: close} for close in "edcb"]
    assert first.strongest[0].text.endswith("from 10/s to 500/s (predicted 100/s and 100/s), with close e")
    assert {one.key for one in others} == {CLOSE}
    assert effects.effects(settings, []) == ()


def test_effects_come_in_the_order_of_the_keys() -> None:
    """Whatever is stronger: the first key is what the matrix was written for."""
    settings = [{CLOSE: close, REUSE: value} for close in ("fin", "rst") for value in (0, 1)]
    runs = {0: churn(10.0, 10.0), 1: churn(90.0, 90.0), 2: churn(10.0, 10.0), 3: churn(90.0, 90.0)}
    found = effects.effects(settings, effects.changes(settings, runs))
    assert [(one.key, len(one.strongest)) for one in found] == [(CLOSE, 0), (REUSE, 2)]
    assert found[0].name == "close=rst instead of fin"
