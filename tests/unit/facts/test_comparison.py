"""Facts of two kernels side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadgen.errors import UsageError
from loadgen.facts import comparison
from loadgen.facts.comparison import FactRelation, FactsComparison

Facts = dict[str, dict[str, Any]]


def record(**changes: Any) -> dict[str, Any]:
    return {
        "title": "a title",
        "expected": "ok",
        "seen": "ok",
        "verdict": "holds",
        "reason": "",
        "since": "",
        "source": "ip(7)",
        "seconds": 0.1,
        "cost_ns": None,
        "cost_what": "",
        "cost_count": None,
        "cost_growth": None,
    } | changes


NOT_RUN = record(seen="", verdict="not run", reason="no nft")
A: Facts = {
    "2.9": record(),
    "2.10": record(title="old words", expected="other words"),
    "3.1": record(seen="no", verdict="differs"),
    "4.1": record(),
    "5.1": NOT_RUN,
    "6.1": NOT_RUN,
    "7.1": record(),
    "12.1": record(cost_ns=200.0, cost_what="taken port"),
    "12.2": record(cost_ns=0.0, cost_what="socket"),
}
B: Facts = {
    "2.9": record(),
    "2.10": record(title="new words"),
    "3.1": record(),
    "4.1": NOT_RUN,
    "5.1": record(),
    "6.1": NOT_RUN,
    "11.1": record(),
    "12.1": record(cost_ns=50.0, cost_what="taken port"),
    "12.2": record(cost_ns=3.0, cost_what="socket"),
}


def written(path: Path, kernel: str, facts: Facts) -> Path:
    document = {
        "schema": "loadgen.facts/1",
        "kernel": kernel,
        "started_at": "2026-01-31T12:00:00+00:00",
        "facts": [{"number": number, **values} for number, values in facts.items()],
        "summary": {"holds": 0, "differs": 0, "not_run": 0},
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def compared(tmp_path: Path) -> FactsComparison:
    return comparison.compare(written(tmp_path / "a", "6.1.0", A), written(tmp_path / "b", "6.18.44", B))


def test_each_number_of_either_side_is_related(compared: FactsComparison) -> None:
    assert {pair.number: pair.relation.value for pair in compared.pairs} == {
        "2.9": "same",
        "2.10": "same",
        "3.1": "differs",
        "4.1": "ran only in A",
        "5.1": "ran only in B",
        "6.1": "not run",
        "7.1": "only in A",
        "11.1": "only in B",
        "12.1": "same",
        "12.2": "same",
    }
    assert [pair.number for pair in compared.of(FactRelation.SAME)] == ["2.9", "2.10", "12.1", "12.2"]
    assert sum(compared.counts.values()) == len(compared.pairs)


def test_words_are_those_of_the_second_side(compared: FactsComparison) -> None:
    assert {pair.number: pair.title for pair in compared.pairs}["2.10"] == "new words"


def test_costs_have_a_ratio_where_both_sides_measured_one(compared: FactsComparison) -> None:
    """A cost of 0 has no multiple."""
    assert {pair.number: pair.cost_ratio for pair in compared.costs} == {"12.1": 0.25}


def test_json_has_every_fact_with_both_results(compared: FactsComparison) -> None:
    data = compared.to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == "loadgen.facts-compare/1"
    assert [(data[side]["kernel"], Path(data[side]["file"]).name) for side in "ab"] == [
        ("6.1.0", "a"),
        ("6.18.44", "b"),
    ]
    assert data["summary"] == {
        "same": 4,
        "differs": 1,
        "ran_only_in_a": 1,
        "ran_only_in_b": 1,
        "not_run": 1,
        "only_in_a": 1,
        "only_in_b": 1,
    }
    facts = {fact["number"]: fact for fact in data["facts"]}
    assert facts["3.1"] == {
        "number": "3.1",
        "title": "a title",
        "relation": "differs",
        "a": {"verdict": "differs", "seen": "no", "reason": "", "since": "", "source": "ip(7)", "cost_ns": None},
        "b": {"verdict": "holds", "seen": "ok", "reason": "", "since": "", "source": "ip(7)", "cost_ns": None},
        "cost_what": "",
        "cost_ratio": None,
    }
    assert facts["7.1"]["b"] is None
    assert (facts["12.1"]["cost_ratio"], facts["12.1"]["cost_what"]) == (0.25, "taken port")


def test_a_kernel_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    same = comparison.compare(written(tmp_path / "a", "6.1.0", A), tmp_path / "a")
    assert {pair.relation for pair in same.pairs} == {FactRelation.SAME, FactRelation.NOT_RUN}


def test_the_first_bad_file_is_named(tmp_path: Path) -> None:
    good = written(tmp_path / "a", "6.1.0", A)
    with pytest.raises(UsageError, match="/b is not there"):
        comparison.compare(good, tmp_path / "b")
