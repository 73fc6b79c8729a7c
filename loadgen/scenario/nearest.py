"""The valid word that was probably meant by one that is not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: A longer text is no slip of a word.
_LENGTH_MAX = 64


def nearest(word: object, valid: Sequence[str]) -> str:
    """Return the remedy for an unknown word: the valid word that resembles it, or all of them."""
    close = difflib.get_close_matches(word, valid, 1) if isinstance(word, str) and len(word) <= _LENGTH_MAX else []
    return f'did you mean "{close[0]}"?' if close else f"write one of {', '.join(valid) or 'none'}"
