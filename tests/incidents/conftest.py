"""Counts the incidents that were told right, at the end of a run of pytest."""

from __future__ import annotations

import pytest

_TEST = "test_an_incident_is_told_right["


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print "n of m right", and how many were skipped."""
    count = {
        outcome: sum(_TEST in getattr(report, "nodeid", "") for report in terminalreporter.stats.get(outcome, []))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    judged = count["passed"] + count["failed"] + count["error"]
    if judged:
        skipped = f" ({count['skipped']} skipped)" if count["skipped"] else ""
        terminalreporter.write_line(f"incidents: {count['passed']} of {judged} right{skipped}")
