"""Bytes of a file in, clean lines out: whatever was pasted stays text, and memory stays bounded.

Terminal colours, carriage returns and other control characters are removed, marks of quotation ("> ") as well, and
spaces of any kind are plain ones. Bytes that are no UTF-8 become escapes (\\xe4), so that one line in another encoding
does no harm; a byte order mark says UTF-16. A line keeps its number, whatever was removed from it.
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
#: Characters of a line that begins as the JSON of `nft -j`, `ip -j` or loadgen, which print all on one line. No two \s*
#: can take the same spaces, of which a line may have a hundred thousand.
LONG_MAX: Final = 64 << 20
_LONG: Final = re.compile(r'\s*(?:\[\s*)?\{\s*"(?:nftables|ifindex|ifname|type|dst|schema)"\s*:')
#: Bytes of an unfinished line that are kept: those of LINE_MAX characters, and of an escape among them.
_REST_MAX: Final = 4 * LINE_MAX + 64
#: Sequences of ECMA-48 (CSI, and OSC with its text), and a lone escape.
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
#: Controls (C0 but for the tab, DEL, C1), and marks that reorder or hide text (Unicode categories Cc, Cf).
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
#: Spaces that web pages have for plain ones (Unicode category Zs).
_SPACES: Final = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_QUOTED: Final = re.compile(r"^(?:[ ]?>)+[ ]?")
#: The controls of ASCII that `_CONTROLS` removes.
_ASCII_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {*b"\t\n"})
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def clean(line: str) -> str:
    """Return a line without colours, control characters and marks of quotation, and cut to its maximum."""
    if len(line) > LINE_MAX:
        line = line[: LONG_MAX if _LONG.match(line) else LINE_MAX]
    if not line.isprintable():
        line = _SPACES.sub(" ", _CONTROLS.sub("", _ESCAPES.sub("", line)))
    if line[:2].lstrip()[:1] == ">":
        line = _QUOTED.sub("", line)
    return line


def lines(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream in lists of some thousands. Raises: OSError of the stream."""
    decoder: codecs.IncrementalDecoder | None = None
    rest, begun = b"", False
    while block := stream.read(_BLOCK):
        if not begun:
            begun = True
            if block.startswith(_UTF_16):
                decoder = codecs.getincrementaldecoder("utf-16")("backslashreplace")
            block = block.removeprefix(codecs.BOM_UTF8)
        if decoder:
            block = decoder.decode(block).encode("utf-8", "backslashreplace")
        end = block.rfind(b"\n")
        if end < 0:
            rest = _unfinished(rest + block)
            continue
        yield _clean_lines(rest + block[:end])
        rest = _unfinished(block[end + 1 :])
    rest += decoder.decode(b"", final=True).encode("utf-8", "backslashreplace") if decoder else b""
    if rest:
        yield _clean_lines(rest)


def _unfinished(line: bytes) -> bytes:
    if len(line) <= _REST_MAX:
        return line
    return line[: LONG_MAX if _LONG.match(line[:_REST_MAX].decode("utf-8", "backslashreplace")) else _REST_MAX]


def _clean_lines(block: bytes) -> list[str]:
    """Return the lines of a block as `clean` returns each of them.

    A block of plain ASCII, which nearly all are, is cleaned as a whole: that takes a tenth of the time.
    """
    plain = block.replace(b"\r", b"")
    if (
        plain.isascii()
        and len(plain.translate(None, _ASCII_CONTROLS)) == len(plain)
        and not (plain[:2].lstrip()[:1] == b">" or b"\n>" in plain or b"\n >" in plain)
    ):
        found = plain.decode("ascii").split("\n")
        if len(max(found, key=len)) <= LINE_MAX:
            return found
    return list(map(clean, block.decode("utf-8", "backslashreplace").split("\n")))
