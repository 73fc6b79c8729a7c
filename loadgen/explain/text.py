"""Bytes of a file in, clean lines out: whatever was pasted stays text, and memory stays bounded.

Terminal colours, carriage returns and other control characters are removed, marks of quotation ("> ") as well. Bytes
that are no UTF-8 become escapes (\\xe4), so that one line in another encoding does no harm; a byte order mark says
UTF-16. A line keeps its number, whatever was removed from it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

#: Bytes that are read at a time.
_BLOCK: Final = 4 << 20
#: Characters of a line that are kept: none that any format has is longer.
LINE_MAX: Final = 1 << 16
#: Sequences of ECMA-48 (CSI, and OSC with its text), and a lone escape.
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
#: Controls (C0 but for the tab, DEL, C1), and marks that reorder or hide text (Unicode categories Cc, Cf).
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_QUOTED: Final = re.compile(r"^(?:[ ]?>)+[ ]?(?=\S|$)")
_BYTE_ORDER: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def clean(line: str) -> str:
    """Return a line without colours, control characters and marks of quotation, LINE_MAX characters at most."""
    line = line[:LINE_MAX]
    if not line.isprintable():
        line = _CONTROLS.sub("", _ESCAPES.sub("", line))
    if line[:2].lstrip()[:1] == ">":
        line = _QUOTED.sub("", line)
    return line


def lines(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream in lists of some thousands. Raises: OSError of the stream."""
    decoder: codecs.IncrementalDecoder | None = None
    rest = ""
    while block := stream.read(_BLOCK):
        if decoder is None:
            encoding = next((name for mark, name in _BYTE_ORDER.items() if block.startswith(mark)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
        found = decoder.decode(block).split("\n")
        found[0] = rest + found[0]
        rest = found.pop()[: LINE_MAX + 1]
        if found:
            yield list(map(clean, found))
    rest += decoder.decode(b"", final=True) if decoder else ""
    if rest:
        yield [clean(rest)]
