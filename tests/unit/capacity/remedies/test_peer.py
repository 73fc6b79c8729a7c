"""Remedies at the other side: a number that the way holds is good for as many once more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.model import Churn

from .situations import ONE, TARGETS, sentences_of, values_of


def test_a_limit_on_the_way_holds_as_many_for_each_target_or_each_source() -> None:
    """A hundred of 150 opened; which of the two counts, depends on the box."""
    box, target, source = values_of(replace(ONE, connections=150), 50, limit="path-limit")
    assert box.gain is None
    assert (target.gain, source.gain) == (100, 100)
    assert source.set == {"sources.addresses": ["127.0.0.2-127.0.0.3"]}


def test_of_several_pairs_each_holds_its_part() -> None:
    plan = replace(ONE, sources=("127.0.0.2", "127.0.0.3"), targets=TARGETS, connections=1_000)
    _, target, source = values_of(plan, 600, limit="path-limit")
    assert (target.gain, source.gain) == (2 * 100, 2 * 100)


@pytest.mark.parametrize(("connections", "churn"), [(150, None), (64, Churn(3.0))])
def test_no_figure_is_given_where_nothing_opened_or_nothing_is_held(connections: int, churn: Churn | None) -> None:
    plan = replace(ONE, connections=connections, churn=churn)
    assert len(values_of(plan, connections, limit="path-limit")) == 1


def test_a_window_has_the_name_that_the_scenario_gives_it() -> None:
    assert "raise `in_flight`" in sentences_of(ONE, 9, limit="in-flight")
    assert "raise `churn.concurrency`" in sentences_of(replace(ONE, churn=Churn(3.0)), 9, limit="in-flight")
