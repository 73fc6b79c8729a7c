"""CSV as of RFC 4180, with a newline alone behind each row: a row of names, then the values; none is an empty field."""

from __future__ import annotations

import csv
from typing import TextIO

from loadgen.views.export.tables import ExportTable


def write(table: ExportTable, file: TextIO) -> None:
    """Write the table, row by row. Raises: as the file does."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(heading.name for heading in table.headings)
    rows.writerows(table.rows())
