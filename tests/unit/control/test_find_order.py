"""The order of a search: what its plan says, and when the directory of one can be gone on with."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from loadgen.control.find_order import FindOrder, planned, resume, written_text
from loadgen.errors import HostError, UsageError
from loadgen.results.search_directory import SearchWriter
from loadgen.scenario import parse_cells

TEXT = """\
name: small
lab: {}
sources: {addresses: 127.0.0.2}
targets: [{address: "127.0.0.1:9000", sink: true}]
connections: 10
expect: [outcomes.failed == 0]
find: {vary: connections, from: 10, to: 100, agree: 1}
"""


def order(*overrides: str) -> FindOrder:
    whole, cells = parse_cells(TEXT, "s.yaml", overrides)
    return FindOrder(whole, cells, TEXT, "s.yaml", overrides)


def begun(results: Path, given: FindOrder, kernel: str = platform.release()) -> Path:
    """The directory of a search that was cut off before its first trial."""
    writer = SearchWriter(results, given.scenario.name)
    writer.write_begin(written_text(given), planned(given, writer.started_at, kernel, {}))
    writer.close()
    return writer.path


def test_a_plan_has_the_search_as_the_scenario_and_the_overrides_have_it() -> None:
    plan = planned(order("find.to=20"), "2026-01-31T12:00:00+00:00", "6.18.0", {})
    assert (plan.key, plan.start, plan.stop, plan.whole, plan.agree) == ("connections", 10, 20, True, 1)
    assert (plan.kernel, plan.overrides) == ("6.18.0", ("find.to=20",))
    assert len(plan.cells) == 1


def test_a_search_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    path = begun(tmp_path, order("find.to=20"))
    found = resume(path)
    assert found.writer
    found.writer.close()
    assert (found.text, found.overrides, found.find.stop.number) == (TEXT, ("find.to=20",), 20)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("failed == 0", "failed == 1"),
        ("to: 100", "to: 99"),
        ("9000", "9001"),
        ("small", "large"),
        ("name", "# x\nname"),
    ],
)
def test_a_search_does_not_go_on_with_another_scenario(tmp_path: Path, old: str, new: str) -> None:
    path = begun(tmp_path, order("find.to=20"))
    scenario = path / "scenario.yaml"
    whole = scenario.read_text()
    scenario.write_text(whole.replace(old, new))
    with pytest.raises(UsageError, match=r"put scenario\.yaml back"):
        resume(path)
    scenario.write_text(whole)
    assert resume(path).overrides == ("find.to=20",), "and the lock was released"


def test_a_search_does_not_go_on_under_another_kernel(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="trials of two kernels cannot be compared"):
        resume(begun(tmp_path, order(), kernel="4.19.0"))


def test_another_directory_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no find\.json in it"):
        resume(tmp_path)
