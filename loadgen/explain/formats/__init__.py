"""The formats that are recognised, in the order in which a line is offered to them."""

from __future__ import annotations

from typing import Final

from loadgen.explain.formats.base import Format, FormatReader
from loadgen.explain.formats.netstat import NETSTAT
from loadgen.explain.formats.proc_net import PROC_NET
from loadgen.explain.formats.ss import SS
from loadgen.explain.formats.strace import STRACE

#: A line goes to the first format that begins with it and takes it; so those with the narrowest beginning come first.
FORMATS: Final[tuple[Format, ...]] = (
    STRACE,
    PROC_NET,
    NETSTAT,
    SS,
)

__all__ = ["FORMATS", "Format", "FormatReader"]
