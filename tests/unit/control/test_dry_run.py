"""Parts of the report of `loadgen plan`; whole reports are tested in tests/e2e."""

from __future__ import annotations

import pytest

from loadgen.control.dry_run import Permissions, Planner, _routes, exit_code
from loadgen.errors import ExitCode, UsageError
from loadgen.scenario import ScenarioSpec, parse

SCENARIO = """\
name: x
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 1
"""


def test_targets_are_grouped_by_route_the_largest_group_first() -> None:
    routes = _routes(["10.0.0.1", "127.0.0.1", "127.0.0.2"], ["dev eth0", "local, dev lo", "local, dev lo"])
    assert routes == [
        {"way": "local, dev lo", "first": "127.0.0.1", "targets": 2},
        {"way": "dev eth0", "first": "10.0.0.1", "targets": 1},
    ]


def test_at_most_eight_routes_are_listed() -> None:
    addresses = [f"10.0.0.{number}" for number in range(20)]
    assert len(_routes(addresses, [f"dev eth{number}" for number in range(20)])) == 8


@pytest.mark.parametrize(("possible", "code"), [(True, ExitCode.FINE), (False, ExitCode.HOST)])
def test_the_exit_code_tells_if_the_plan_is_possible(possible: bool, code: ExitCode) -> None:
    assert exit_code({"possible": possible}) is code


def test_a_cell_that_does_not_exist_is_a_usage_error() -> None:
    scenario: ScenarioSpec = parse(SCENARIO)
    with pytest.raises(UsageError, match="--cell 3: there are no cells, because there is no matrix"):
        Planner(scenario, (), Permissions(), only=3)
