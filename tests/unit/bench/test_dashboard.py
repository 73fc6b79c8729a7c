"""The arithmetic and the table of what a dashboard costs."""

from __future__ import annotations

import json

from bench import dashboard
from loadgen.scenario import parse


def test_ratios_are_those_of_each_round() -> None:
    """A round in which the machine was half as fast says the same as the others."""
    rates = {kind: [100.0, 50.0, 100.0] for kind in dashboard.KINDS} | {"never reads": [90.0, 45.0, 80.0]}
    rows = dict(zip(dashboard.KINDS, dashboard.table(rates).splitlines()[1:], strict=True))
    assert rows["without"].split()[-2:] == ["1.00", "(1.00-1.00)"]
    assert rows["never reads"].split()[-4:] == ["80", "(45-90)", "0.90", "(0.80-0.90)"]


def test_its_scenario_is_one() -> None:
    assert parse(json.dumps(dashboard.scenario(1000))).connections == 1000
