"""The formats that are recognised, in the order in which a line is offered to them."""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats.base import Format, FormatReader
from loadgen.explain.formats.logs import LOGS

#: A line goes to the first format that begins with it and takes it; so those with the narrowest beginning come first.
FORMATS: Final[tuple[Format, ...]] = (LOGS,)

__all__ = ["FORMATS", "Format", "FormatReader"]
