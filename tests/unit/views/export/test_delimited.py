"""CSV that the csv module of Python reads back."""

from __future__ import annotations

import csv
import io

import pytest

from loadgen.views.export import delimited
from loadgen.views.export.tables import TableName, table

from .samples import recorded


@pytest.mark.parametrize("name", TableName)
def test_it_reads_back(name: TableName) -> None:
    of = table(name, recorded("churn"))
    file = io.StringIO()
    delimited.write(of, file)
    head, *found = csv.reader(io.StringIO(file.getvalue()))
    assert head == [heading.name for heading in of.headings]
    assert found == [["" if value is None else str(value) for value in row] for row in of.rows()]
    assert "\r" not in file.getvalue()
