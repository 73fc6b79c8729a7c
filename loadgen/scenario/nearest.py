"""The valid word that was probably meant by one that is not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: A longer text is no slip of a word.
_LENGTH_MAX = 64


def closest(word: object, valid: Sequence[str]) -> str | None:
    """Return the valid word that resembles an unknown one; None if none does."""
    if not isinstance(word, str) or len(word) > _LENGTH_MAX:
        return None
    return next(iter(difflib.get_close_matches(word, valid, 1)), None)


def nearest(word: object, valid: Sequence[str]) -> str:
    """Return the remedy for an unknown word: the valid word that resembles it, or all of them."""
    close = closest(word, valid)
    return f'did you mean "{close}"?' if close else f"write one of {', '.join(valid) or 'none'}"
