"""Pasted text as evidence, for the tests of the formats."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from loadgen.explain import reader
from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import FORMATS, Format

CAPTURED: Final = Path(__file__).parent / "data" / "explain"


def evidence_of(text: str | bytes, formats: Sequence[Format] = FORMATS) -> Evidence:
    """The evidence in a text that came on standard input."""
    found = Evidence()
    reader.read(found, io.BytesIO(text.encode() if isinstance(text, str) else text), "-", formats)
    return found


def captured(name: str) -> Evidence:
    """The evidence in a captured file, by all formats; every line of it is read."""
    found = evidence_of((CAPTURED / name).read_bytes())
    assert found.unread == []
    return found


def wrecked(*names: str) -> st.SearchStrategy[str]:
    """Lines of captured files, cut off, joined, with wrong words and huge numbers, between lines of any text."""
    lines = [line for name in names for line in (CAPTURED / name).read_text().splitlines()]
    whole = st.sampled_from(lines)
    cut = st.builds(lambda line, at: line[: at % (len(line) + 1)], whole, st.integers(0, 400))
    swapped = st.builds(_with_word, whole, st.integers(0, 60), st.sampled_from(_WORDS) | st.text(max_size=12))
    doubled = st.builds(lambda one, other: one + other, whole, whole)
    return st.lists(whole | cut | swapped | doubled | st.text(max_size=40), max_size=30).map("\n".join)


_WORDS: Final = (
    "",
    "-1",
    "9" * 400,
    "1" * 5000,
    "::1",
    "0.0.0.0",
    "/33",
    "[",
    "{",
    "}",
    "\x1b[31m",
    "via",
    "99999999999",
)


def _with_word(line: str, at: int, word: str) -> str:
    words = line.split(" ")
    words[at % len(words)] = word
    return " ".join(words)


def lines_accounted_for(text: str, found: Evidence) -> bool:
    """Whether pieces and unread lines are places that the text has."""
    count = text.count("\n") + 1
    places = [(one.first, one.last) for one in found.pieces] + [(one.first, one.last) for one in found.unread]
    return all(1 <= first <= last <= count for first, last in places)
