"""What the screen of a plan shows, from reports made by hand."""

from __future__ import annotations

from typing import Any

from loadgen.views.text.plan import plan_lines

LINE: dict[str, Any] = {
    "resource": "four-tuples",
    "limit": "four-tuples",
    "needed": 60_000,
    "available": 28_232,
    "share": 2.1252,
    "allows": 28_232,
    "short": True,
    "note": "28,232 for each of 1 pair of source and target",
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
    "plan": {
        "sources": 1,
        "targets": 3,
        "strategy": "late-range",
        "transport": "tcp",
        "ports": "32768-60999",
        "skipped_ports": 2,
        "workers": 2,
        "sinks": 0,
        "schedule": False,
        "close": "fin",
    },
    "host": {
        "kernel": "6.18",
        "in_lab": True,
        "cpus": 2,
        "late_bind": True,
        "port_range_option": False,
        "descriptors": {"soft": 1024, "hard": 20_000, "nr_open": 1_048_576, "file_max": None},
    },
}


def test_the_verdict_stands_first_and_each_resource_has_a_line() -> None:
    lines = plan_lines(REPORT)
    assert lines[0] == REPORT["verdict"]
    assert max(map(len, lines)) <= 80
    table = [line.split() for line in lines]
    assert ["resource", "needed", "available", "share", "allows"] in table
    assert ["four-tuples", "60,000", "28,232", "212.5", "%", "28,232"] in table
    assert any(line.startswith("memory ") and "24.0 GiB" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    for said in (
        "28,232 for each of 1 pair",
        "127.0.0.1 and 2 more addresses: local, dev lo",
        "1. add 2 source addresses: +56,464, 84,696 in all",
        "2. wait",
        "a note",
        "there is no arrival schedule",
        "soft 1,024 (raised to hard), hard 20,000",
        "fs.nr_open 1,048,576, fs.file-max –",  # noqa: RUF001
        "1 to 3 targets by late-range over tcp, ports 32768-60999 (2 of these held or reserved), close fin",
        "2 workers, 0 sinks on 2 cores",
        "in a namespace of its own; IP_LOCAL_PORT_RANGE no, IP_BIND_ADDRESS_NO_PORT yes",
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
