"""Parquet: the same values as the table, typed, with units; and what is said without pyarrow."""

from __future__ import annotations

import io
import re

import pytest

from loadgen.errors import HostError
from loadgen.views.export import parquet
from loadgen.views.export.tables import TableName, table

from .samples import recorded


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with pytest.raises(HostError, match=re.escape("pip install 'loadgen[parquet]'")):
        parquet.require()


@pytest.mark.parametrize("name", TableName)
def test_it_reads_back(name: TableName, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = pytest.importorskip("pyarrow.parquet")
    parquet.require()
    monkeypatch.setattr(parquet, "_ROWS", 3)  # several groups
    of, file = table(name, recorded("churn")), io.BytesIO()
    parquet.write(of, file, {"run": "r", "scenario": "churn"})
    file.seek(0)
    found = reader.read_table(file)
    assert found.schema.names == [heading.name for heading in of.headings]
    assert list(zip(*(column.to_pylist() for column in found.columns), strict=True)) == list(of.rows())
    assert found.schema.metadata[b"loadgen.scenario"] == b"churn"
    for field, heading in zip(found.schema, of.headings, strict=True):
        assert field.metadata[b"unit"] == heading.unit.encode()
        assert field.metadata[b"description"] == heading.doc.encode()
