"""Parquet by pyarrow: typed columns, the unit and the meaning of each in the metadata of its field."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from typing import BinaryIO, Final

from loadgen.errors import HostError, UsageError
from loadgen.views.export.columns import CellType
from loadgen.views.export.tables import ExportTable

#: Rows of a row group, which are in memory at a time.
_ROWS: Final = 4_096


def require() -> None:
    """Return if pyarrow is installed. Raises: HostError with the command that installs it."""
    if find_spec("pyarrow") is None:
        raise HostError("--format parquet needs pyarrow; pip install 'loadgen[parquet]'")


def write(table: ExportTable, file: BinaryIO, about: dict[str, str]) -> None:
    """Write the table, a group of rows at a time; `require` has returned. Raises: as the file does.

    about: goes into the metadata of the schema, each name behind "loadgen.".
    """
    import pyarrow
    from pyarrow import parquet

    types = {CellType.INTEGER: pyarrow.int64(), CellType.NUMBER: pyarrow.float64(), CellType.TEXT: pyarrow.string()}
    schema = pyarrow.schema(
        [
            pyarrow.field(
                heading.name, types[heading.type], metadata={"unit": heading.unit, "description": heading.doc}
            )
            for heading in table.headings
        ],
        metadata={f"loadgen.{name}": value for name, value in about.items()},
    )
    rows = table.rows()
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _ROWS)):
            columns = zip(schema, zip(*group, strict=True), strict=True)
            try:
                arrays = [pyarrow.array(values, field.type) for field, values in columns]
            except (OverflowError, pyarrow.ArrowInvalid) as error:  # edited: a count beyond 64 bits
                raise UsageError(
                    f"a value of the series does not fit its column ({error}); use --format csv"
                ) from error
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
