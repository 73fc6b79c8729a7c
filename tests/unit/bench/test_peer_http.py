"""HTTP beside other load generators: what is asked of whom, and what the table makes of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.peer_http import COMMANDS, LOADGEN, QUESTIONS, Question, asked, medians, print_table, scenario
from loadgen import scenario as scenarios


@pytest.mark.parametrize("question", QUESTIONS.values())
def test_the_scenario_of_loadgen_is_one(question: Question, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(scenario(question))
    loaded = scenarios.load(file)
    assert loaded.traffic.protocol == "http"
    assert (loaded.tls is not None) == question.secured
    assert (loaded.heartbeat is not None) == question.held == (loaded.churn is None)
    assert loaded.churn is None or (loaded.churn.exchanges > 1) == question.kept_alive


@pytest.mark.parametrize("question", QUESTIONS.values())
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != LOADGEN])
def test_a_tool_asks_the_same_server_and_closes_where_it_is_to(name: str, question: Question, tmp_path: Path) -> None:
    """In its command line, or in the script that it is given there."""
    command = COMMANDS[name](question, tmp_path)
    told = " ".join(command) + "".join(file.read_text() for file in tmp_path.iterdir())
    assert question.url.rstrip("/") in told
    closes = ("Connection: close", '"Connection": "close"', "-disable-keepalive", "--no-connection-reuse")
    assert (any(words in told for words in closes) or (name == "ab" and "-k" not in command)) is not question.kept_alive


def test_a_tool_is_asked_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """wrk and h2load resume sessions whether they are asked or not, the others never do."""
    monkeypatch.setattr("shutil.which", lambda name: None if name in ("hey", "locust") else f"/usr/bin/{name}")
    assert asked("churn") == asked("https keep-alive") == [LOADGEN, "wrk", "h2load", "ab", "k6"]
    assert asked("https churn") == [LOADGEN, "ab", "k6"]
    assert asked("https churn, resumed") == [LOADGEN, "wrk", "h2load"]
    assert asked("held") == [LOADGEN, "k6"]
    assert asked("churn", "ab") == [LOADGEN, "ab"]
    assert asked("churn", "tsung") == [LOADGEN]


def test_of_held_connections_the_cost_is_shown_and_no_ratio() -> None:
    def row(cores: float) -> dict[str, Any]:
        rates = {"rate_per_s": 1_000.4, "server_busy": 0.1}
        return {"question": "held", "tool": "k6", "connections": 2_000, "cores": cores, "memory_bytes": 416e6, **rates}

    out = io.StringIO()
    print_table([row(0.1), row(0.3), row(0.2)], Console(file=out, width=120))
    (line,) = [line for line in out.getvalue().splitlines() if " k6 " in line]
    assert line.replace("│", " ").split() == ["k6", "2,000", "1,000", "0.200", "416"]


def test_a_ratio_is_that_of_medians() -> None:
    def row(tool: str, rate: float) -> dict[str, Any]:
        return {"question": "churn", "tool": tool, "rate_per_s": rate, "server_busy": 0.5}

    rows = [row(LOADGEN, 100), row("wrk", 300), row(LOADGEN, 90), row("wrk", 50), row(LOADGEN, 900), row("wrk", 200)]
    assert medians(rows) == {"churn": {LOADGEN: [90, 100, 900], "wrk": [50, 200, 300]}}
    out = io.StringIO()
    print_table(rows, Console(file=out, width=120))
    (line,) = [line for line in out.getvalue().splitlines() if " wrk " in line]
    assert "0.50" in line
    assert "50%" in line
