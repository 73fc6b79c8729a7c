"""Markdown made from values: tables, and text in which nothing is markup by accident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SPANS: Final = re.compile(r"(`+[^`]*`+)")
#: What Markdown reads as emphasis, a link or an escape. Within a word an underscore is none.
_SPECIAL: Final = re.compile(r"([\\*]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[]))")


def plain(text: str) -> str:
    """Return a text with Markdown's characters escaped; spans of code in backticks stay."""
    parts = _SPANS.split(text)
    return "".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    # Not every renderer knows a backslash before "<".
    return _SPECIAL.sub(r"\\\1", text).replace("<", "&lt;")


def code(text: object) -> str:
    """Return a text as a span of code, whatever backticks it has."""
    written = str(text)
    longest = max((len(run) for run in re.findall("`+", written)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {written} {ticks}" if longest else f"`{written}`"


def codes(texts: Iterable[object]) -> str:
    """Return several spans of code, with commas."""
    return ", ".join(map(code, texts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, with a line break at its end; cells are Markdown without line breaks."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, cells))} |\n" for cells in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """Return a block of code; the text has none itself."""
    return f"```{language}\n{text.rstrip()}\n```\n"
