"""Finds which of many words stand in which of many lines, in a tenth of the time that asking each word takes.

The words of errnos and messages are more than a hundred, and nearly no line of a log has one. So all lines are looked
at together: every four bytes of their text are looked up in a table of the four rarest bytes of each word, and only
where these are found the word itself is compared (Rabin and Karp's search for several words).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

#: Bytes of a word that are looked up.
_GRAM: Final = 4
#: Knuth's multiplicative hash of 32 bits, of which the upper 16 are the place in the table.
_MULTIPLIER: Final = np.uint32(2654435761)
_SHIFT: Final = np.uint32(16)
#: Characters of English text and of logs, the most frequent first; all others are rarer.
_FREQUENT: Final = b" etaoinsrhldcu0123m456789fpg.:-wybv/=,_()[]\"'"
_Grams: TypeAlias = npt.NDArray[np.uint32]


def _places(grams: _Grams) -> _Grams:
    return (grams * _MULTIPLIER) >> _SHIFT


def _rarest(word: bytes) -> int:
    """Return the index of the four bytes of a word that text has least often."""

    def rarity(at: int) -> int:
        ranks = (_FREQUENT.find(byte) for byte in word[at : at + _GRAM])
        return sum(len(_FREQUENT) if rank < 0 else rank for rank in ranks)

    return max(range(len(word) - _GRAM + 1), key=rarity)


class WordScan:
    """Searches for words, without regard to case."""

    def __init__(self, words: Mapping[str, int]) -> None:
        """Prepare the search. words: in lower case, each with the bits that stand for it.

        Raises: ValueError, a word is shorter than four bytes.
        """
        self._by_gram: dict[int, list[tuple[bytes, int, int]]] = {}
        for word, bits in words.items():
            encoded = word.encode()
            if len(encoded) < _GRAM:
                raise ValueError(f"{word!r} is shorter than {_GRAM} bytes")
            at = _rarest(encoded)
            gram = int.from_bytes(encoded[at : at + _GRAM], "little")
            self._by_gram.setdefault(gram, []).append((encoded, at, bits))
        self._table = np.zeros(1 << 16, np.bool_)
        self._table[_places(np.array(list(self._by_gram), np.uint32))] = True

    def find(self, lines: Sequence[str]) -> dict[int, int]:
        """Return the bits of all words that a line has, by its index; lines without any are left out."""
        text = "\n".join(lines).lower().encode("utf-8", "surrogatepass")
        found: list[tuple[int, int]] = []
        for shift in range(_GRAM):
            count = (len(text) - shift) // _GRAM
            if count <= 0:
                break
            grams = np.frombuffer(text[shift : shift + count * _GRAM], np.dtype("<u4"))
            hits = np.flatnonzero(self._table[_places(grams)])
            for hit, gram in zip(hits.tolist(), grams[hits].tolist(), strict=True):
                for word, at, bits in self._by_gram.get(gram, ()):
                    start = hit * _GRAM + shift - at
                    if start >= 0 and text.startswith(word, start):
                        found.append((start, bits))
        if not found:
            return {}
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        by_line: dict[int, int] = {}
        for line, (_, bits) in zip(np.searchsorted(ends, [start for start, _ in found]).tolist(), found, strict=True):
            by_line[line] = by_line.get(line, 0) | bits
        return by_line
