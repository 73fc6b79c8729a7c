"""What the screen of a plan shows, from reports made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.views import summary_rows
from loadgen.views.text.plan import plan_lines

LINE: dict[str, Any] = {
    "resource": "four-tuples",
    "limit": "four-tuples",
    "needed": 60_000,
    "available": 28_232,
    "share": 2.1252,
    "allows": 28_232,
    "short": True,
    "note": "28,232 for each of 1 pairs of source and target",
}
REPORT: dict[str, Any] = {
    "schema": "loadgen.plan/1",
    "scenario": "x",
    "possible": False,
    "verdict": "impossible: four-tuples end at 28,232 of 60,000 connections",
    "limit": "four-tuples",
    "at_connections": 28_232,
    "at_s": None,
    "connections": 60_000,
    "resources": [
        LINE,
        {**LINE, "resource": "memory, bytes", "limit": "memory", "available": 24 << 30, "short": False},
    ],
    "remedies": [{"text": "add 2 source addresses: +56,464", "allows": 84_696}, {"text": "wait", "allows": None}],
    "routes": [{"way": "local, dev lo", "first": "127.0.0.1", "targets": 3}],
    "notes": ["a note"],
    "plan": {"sources": 1, "targets": 3, "strategy": "late-range", "workers": 2, "sinks": 0, "schedule": False},
    "host": {"kernel": "6.18", "in_lab": True, "descriptors": {"soft": 1024, "hard": 20_000}},
}


def test_the_verdict_stands_first_and_each_resource_has_a_line() -> None:
    lines = plan_lines(REPORT)
    assert lines[0] == REPORT["verdict"]
    assert max(map(len, lines)) <= 80
    table = [line.split() for line in lines]
    assert ["resource", "needed", "available", "share", "allows"] in table
    assert ["four-tuples", "60,000", "28,232", "212.5", "%", "28,232"] in table
    assert any(line.startswith("memory ") and "24.0 GiB" in line for line in lines)
    text = "\n".join(lines)
    for said in (
        "28,232 for each of 1 pairs",
        "127.0.0.1 and 2 more addresses: local, dev lo",
        "1. add 2 source addresses: +56,464, 84,696 in all",
        "2. wait",
        "a note",
        "there is no arrival schedule",
        "soft 1,024 (raised to hard), hard 20,000",
        "in a namespace of its own",
    ):
        assert said in text


def test_of_a_matrix_there_is_a_line_for_each_cell_and_the_first_impossible_one() -> None:
    cells = [
        {**REPORT, "possible": True, "verdict": "possible; fine", "cell": 0, "settings": {"connections": 1}},
        {**REPORT, "cell": 1, "settings": {"connections": 2}},
        {**REPORT, "cell": 2, "settings": {"connections": 3}, "verdict": "impossible: other"},
    ]
    lines = plan_lines({"possible": False, "verdict": "impossible: 2 of 3 cells", "cells": cells}, width=100)
    assert lines[0] == "impossible: 2 of 3 cells"
    assert [line.split() for line in lines[2:5]] == [
        ["cell", str(cell), how, "four-tuples", "at", "28,232:", "connections", str(cell + 1)]
        for cell, how in enumerate(("possible,", "impossible,", "impossible,"))
    ]
    assert lines.count(REPORT["verdict"]) == 1
    assert "impossible: other" not in lines


@pytest.mark.parametrize("report", [{}, {"cells": []}, {"verdict": None, "resources": [{}], "host": 3}])
def test_what_is_missing_is_no_failure(report: dict[str, Any]) -> None:
    assert plan_lines(report)


POSSIBLE = "no limit, the first would be four-tuples at 100 connections"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"at_s": 1.4, "possible": False, "observed_limit": "four-tuples", "as_predicted": True},
            (
                "four-tuples at 100 connections, 1.40 s after the start; observed four-tuples at 99: as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "none", "as_predicted": True},
            (
                f"{POSSIBLE}; observed no limit, 99 connections: as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "generator", "as_predicted": True},
            (
                f"{POSSIBLE}; observed generator at 99, which no plan foretells: otherwise as predicted",
                "good",
            ),
        ),
        (
            {"possible": True, "observed_limit": "four-tuples", "as_predicted": True},
            ("four-tuples at 100 connections; observed four-tuples at 99: as predicted", "good"),
        ),
        (
            {"possible": True, "observed_limit": "incomplete", "as_predicted": None},
            (f"{POSSIBLE}; observed the run cut off at 99", ""),
        ),
        (
            {"possible": True, "observed_limit": "memory", "as_predicted": False},
            (
                f"{POSSIBLE}; observed memory at 99: NOT as predicted",
                "bad",
            ),
        ),
        (
            {"possible": False, "observed_limit": "interrupted", "as_predicted": None},
            ("four-tuples at 100 connections; observed interrupted at 99", ""),
        ),
    ],
)
def test_plan_versus_observed_in_words(found: dict[str, Any], said: tuple[str, str]) -> None:
    whole = {"limit": "four-tuples", "at_connections": 100, "observed_at": 99, **found}
    assert summary_rows.prediction({"prediction": whole}) == said
    assert summary_rows.prediction({"prediction": {**whole, "limit": None}}) is None
    assert summary_rows.prediction({}) is None
