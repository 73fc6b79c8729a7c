"""The charts of a lab's gateway."""

from __future__ import annotations

from loadgen.views.charts import gateway
from tests.samples import bare_line


def series(**delta: int) -> list:  # type: ignore[type-arg]
    return [
        bare_line(
            float(n),
            kernel={
                "now": {},
                "delta": {},
                "gateway": {
                    "now": {"conntrack.count": 10 * n, "conntrack.max": 100},
                    "delta": {name: n * value for name, value in delta.items()},
                },
            },
        )
        for n in range(1, 4)
    ]


def test_entries_over_time() -> None:
    chart = gateway.entries(series())
    assert chart
    assert (chart["id"], chart["y"]) == ("gateway-entries", [[10, 20, 30]])


def test_counters_per_second_as_far_as_they_moved() -> None:
    chart = gateway.pace(series(**{"conntrack.insert_failed": 5, "conntrack.found": 50}))
    assert chart
    assert chart["id"] == "gateway"
    assert [line["label"] for line in chart["series"]] == [
        "no free port (insert_failed)",
        "ports tried and taken (found)",
    ]
    assert chart["y"][0][-1] == 5
    assert gateway.pace(series()) is None


def test_without_a_gateway_there_is_no_chart() -> None:
    lines = [bare_line(kernel={"now": {}, "delta": {"Tcp.OutRsts": 1}})]
    assert gateway.entries(lines) is None
    assert gateway.pace(lines) is None
