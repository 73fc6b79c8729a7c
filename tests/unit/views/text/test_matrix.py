"""The summary of a matrix on a terminal."""

from __future__ import annotations

import pytest

from loadgen.results.schema.matrix import MatrixSummary
from loadgen.views.text import matrix as matrix_text
from tests import samples
from tests.golden import same_as_golden
from tests.matrices import ENDED, MATRIX, churning, first, fold, run_summary, summarised, three


def plain(summary: MatrixSummary, width: int = 80) -> list[str]:
    text = [line for _, line in matrix_text.lines(summary, "results/x/report.html", width)]
    assert all(len(line) <= width for line in text), text
    return text


def test_the_recorded_matrix_reads_as_it_was_approved() -> None:
    same_as_golden("text/matrix.txt", "\n".join(plain(samples.matrix_summary())) + "\n")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_table_has_a_row_per_cell_and_the_cost_by_tenth(width: int) -> None:
    found = plain(three(), max(width, 80))
    rows = [line.split() for line in found]
    assert ["0", "kernel", "10", "0", "1,000/s", "20.0", "us", "90.0", "us"] in rows
    assert ["cell", "strategy", *(word for n in range(1, 11) for word in (f"{n}0", "%"))] in rows
    assert ["0", "kernel", *["10.0"] * 5, *["300"] * 5] in rows
    assert "report       results/x/report.html" in found


def test_cost_is_not_told_where_the_strategies_are_the_same() -> None:
    matrix = {**MATRIX, "cells": [{"settings": {"hold": hold}} for hold in ("1s", "2s", "3s")]}
    summary = summarised(matrix, [ENDED], first({n: run_summary() for n in range(3)}))
    assert not any("10 %" in line for line in plain(summary))


def test_a_skipped_cell_says_why_in_the_table() -> None:
    skipped = {"t_s": 1.0, "event": "cell-skipped", "text": "no lab here " * 9 + "\x1b[2J", "cell": 1}
    found = plain(fold({0: run_summary({"complete": False, "incomplete_because": "a worker was lost"})}, skipped))
    assert any("late-range  skipped: no lab here" in line for line in found)
    assert any("10*" in line for line in found)
    assert any("incomplete: it never began" in line for line in found)
    assert "\x1b" not in "".join(found)


def test_long_settings_go_on_in_the_next_line() -> None:
    cells = [{"settings": {"a.rate": f"{n}/s", "b.rate": "9/s", "name": "x" * 90}} for n in range(3)]
    summary = summarised({**MATRIX, "cells": cells}, [ENDED], first({0: run_summary()}))
    assert "x" * 90 in "".join(line[6:].split("  ")[0] for line in plain(summary)).replace(" ", "")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_table_of_a_matrix_that_churned(width: int) -> None:
    found = plain(churning(), width)
    text = " ".join(" ".join(found).split())
    assert "unlimited" in text
    assert "10 of 500" in text
    assert ("100 (99-101)" in text) is (width > 60)
    assert "! not as predicted" in text
    assert sum(line.endswith("!") for line in found) == 1
    assert "effect tcp_tw_reuse=1 instead of 0 lifts the sustained rate from 0.2/s to 100/s" in text
    assert "noise in 1 of 2 combinations" in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_of_rounds_keeps_to_its_width(width: int) -> None:
    matrix = {**MATRIX, "repeat": 2, "expect": []}
    runs = {
        (cell, n): run_summary({"rate_per_s.established_mean": 12345.0 + 1000 * n}) for cell in range(3) for n in (1, 2)
    }
    text = "\n".join(plain(summarised(matrix, [ENDED], runs), width))
    assert "13,845/s" in text
    assert ("(13,345-14,345)" in text) is (width > 60)
