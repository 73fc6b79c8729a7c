"""Code and docs use plain English: no vague persons or amounts, and docstrings begin with a verb or a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
#: Directories and pages that are checked, each with all below it.
CLEAN = ("loadgen", "docs", "examples", "packaging", "scenarios", "website", "README.md")
#: Write "no process", "any client", "the caller", "count" and the like instead.
WORDS = re.compile(
    r"\b(nobody|whoever|somebody(?!-else)|anybody|everybody|so\s+many|what\s+came\s+of|those\s+who)\b", re.IGNORECASE
)
#: Write "Return ...", "True if ...", or the noun instead.
BEGINNINGS = re.compile(r"\s*(What|Whether|As)\b")


def files(place: str) -> list[Path]:
    path = CHECKOUT / place
    files_below = [file for suffix in ("py", "md", "yaml", "yml") for file in path.rglob(f"*.{suffix}")]
    return [path] if path.is_file() else sorted(files_below)


def vague_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each word of the list."""
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def wrong_beginnings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and beginning of each docstring that does not begin with a verb or a noun."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and BEGINNINGS.match(docstring):
                yield node.body[0].lineno, docstring.split("\n")[0]


@pytest.mark.parametrize("place", CLEAN)
def test_no_vague_words(place: str) -> None:
    checked = files(place)
    assert checked
    assert {path.name: found for path in checked if (found := list(vague_words(path.read_text())))} == {}


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    checked = [path for path in files("loadgen") if path.suffix == ".py"]
    assert checked
    assert {path.name: found for path in checked if (found := list(wrong_beginnings(path.read_text())))} == {}


def test_the_checks_find_what_they_look_for() -> None:
    source = '"""What it is."""\ndef f():\n    """As g."""\n\nclass C:\n    """Whether so."""\n    x = 1  # Nobody\n'
    assert sorted(wrong_beginnings(source)) == [(1, "What it is."), (3, "As g."), (6, "Whether so.")]
    assert list(vague_words(source)) == [(7, "Nobody")]
    text = "so\nmany; WHOEVER; somebody's; nobodys"
    assert list(vague_words(text)) == [(1, "so\nmany"), (2, "WHOEVER"), (2, "somebody")]
    assert list(wrong_beginnings('def f():\n    """Assign it."""\n')) == []
