"""cells.csv: a row per run, and no formulas."""

from __future__ import annotations

import csv
import io

from loadgen.views.text.matrix_table import table
from tests.matrices import ENDED, MATRIX, churning, first, run_summary, summarised


def test_the_csv_has_a_row_per_cell_and_no_formulas() -> None:
    cells = [{"settings": {"name": name, "connections": -5}} for name in ("=1+1", 'a,b\n"c', "-5")]
    summary = summarised({**MATRIX, "cells": cells}, [ENDED], first({0: run_summary()}))
    rows = list(csv.reader(io.StringIO(table(summary))))
    assert rows[0][:5] == ["cell", "name", "connections", "status", "reason"]
    assert [row[1] for row in rows[1:]] == ["'=1+1", 'a,b "c', "-5"]
    assert rows[1][2] == "-5"
    assert rows[1][3:8] == ["done", "", "yes", "10", "0"]
    assert rows[2][3:8] == ["incomplete", "it never began", "", "", ""]
    assert {len(row) for row in rows} == {len(rows[0])}


def test_the_csv_has_a_row_per_run() -> None:
    rows = list(csv.DictReader(io.StringIO(table(churning()))))
    assert [(row["cell"], row["round"]) for row in rows] == [
        (str(cell), str(n)) for cell in range(4) for n in (1, 2, 3)
    ]
    first_of_2, unlimited = rows[6], rows[11]
    assert {key: first_of_2[key] for key in ("sustained_per_s", "rate_per_s", "ceiling_per_s")} == {
        "sustained_per_s": "99.0",
        "rate_per_s": "88.9",
        "ceiling_per_s": "100.0",
    }
    keys = ("predicted_established", "as_predicted", "recycled", "time_wait_peak")
    assert [first_of_2[key] for key in keys] == ["500", "yes", "400", "100"]
    assert [unlimited[key] for key in (*keys, "ceiling_per_s")] == ["", "no", "400", "100", ""]
