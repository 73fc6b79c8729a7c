"""The matrices behind a NAT that are shipped, as a user runs them, and a plan beside its run."""

from __future__ import annotations

import pytest

from .conftest import CHECKOUT, Loadgen, limit_of

pytestmark = pytest.mark.usefixtures("_nft")


@pytest.mark.parametrize(
    ("name", "limits"),
    [("nat-random-fully", ["none", "none", None]), ("nat-conntrack-timeouts", ["none", "lost"])],
)
def test_a_matrix_behind_a_nat_proves_itself(loadgen: Loadgen, name: str, limits: list[str | None]) -> None:
    """None: of the last ports, found by chance, either all are found in time or not."""
    done = loadgen("run", CHECKOUT / "scenarios" / f"{name}.yaml", "--json", "--quiet")
    assert done.code == 0, done.err
    runs = [run for cell in done.summary["cells"] for run in cell["runs"]]
    for run, limit in zip(runs, limits, strict=True):
        assert limit is None or limit_of(run) == limit, run["verdict"]["text"]
        assert run["sink"]["agrees"], run["sink"]["text"]


def test_a_plan_foretells_the_wall_and_the_report_shows_the_gateway(loadgen: Loadgen) -> None:
    path = CHECKOUT / "scenarios" / "nat-ports.yaml"
    planned = loadgen("plan", path, "--json")
    assert planned.code == 3
    done = loadgen("run", path, "--quiet")
    assert done.code == 0, done.err
    assert "gateway" in done.out
    assert ">Gateway<" in (done.run / "report.html").read_text()
    assert loadgen("report", done.run, "--json").summary["prediction"]["as_predicted"]
