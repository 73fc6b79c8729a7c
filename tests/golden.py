"""Texts of views as they were approved: one file for each, so that a sentence is pinned in one place.

After a change that is wanted: LOADGEN_GOLDEN=write pytest ..., then look at the difference in git.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Final

GOLDEN: Final = Path(__file__).parent / "data" / "golden"


def same_as_golden(name: str, text: str) -> None:
    """Assert that a view reads as in its file."""
    path = GOLDEN / name
    if os.environ.get("LOADGEN_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs"


def pieces_of(page: str) -> str:
    """The text of an HTML page, a line for each piece that its tags make of it, without styles and scripts."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    pieces = (" ".join(html.unescape(piece).split()) for piece in re.split(r"<[^>]*>", body))
    return "".join(f"{piece}\n" for piece in pieces if piece)
