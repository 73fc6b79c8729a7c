"""What the bench of several hosts compares, and what it says of it."""

from bench.cluster import GOALS, Measured, lines_of, scenario
from loadgen import scenario as scenarios


def test_a_goal_is_met_or_missed_by_the_median() -> None:
    measured = Measured(
        agent_mb=[50.0, 61.0, 52.0],
        coordinator_mb=[151.0],
        coordinator_percent=[1.0, 2.0],
        divided_per_s=[90.0, 100.0, 98.0],
        local_per_s=[100.0, 100.0, 100.0],
    )
    lines = lines_of(measured.spreads())
    assert [line.rpartition(", ")[2] for line in lines] == ["met)", "missed)", "met)", "met)"]
    assert lines[0].split("  ")[0] == "idle agent"
    assert "52.00 MB" in lines[0]
    assert "0.98" in lines[3]
    assert "(0.90 to 1.00; goal: at least 0.95, met)" in lines[3]
    assert len(lines) == len(GOALS)


def test_its_scenario_is_one() -> None:
    import json

    parsed = scenarios.parse(json.dumps(scenario(100, workers=2, sinks=1, hold_s=0.5)), "bench", ())
    assert parsed.connections == 100
