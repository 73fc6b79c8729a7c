"""Formats of pasted text: each recognises its first line, and then takes lines as long as they are its own."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from loadgen.explain.evidence import Evidence


class FormatReader(Protocol):
    """Reads the lines of one piece into the evidence; it keeps what one line needs to know of those before it."""

    what: str
    """The piece in words, as the summary names it: "ss -tanp", "nstat"."""

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """Take lines from index `at` on; return the index behind the last one taken, `at` where none is its own.

        first: the number in its file of lines[0]. It is called again with the next lines while the file goes on, so a
        piece may be longer than `lines`. Never raises on any text: a line it cannot read is not its own.
        """
        ...

    def finish(self) -> None:
        """Note what is known only at the end of the piece. Called once, after the last line."""
        ...


#: Values of `Format.heads`.
DIGITS: Final = frozenset(string.digits)
HEX_DIGITS: Final = frozenset(string.hexdigits)
LETTERS: Final = frozenset(string.ascii_letters)


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    name: in `pieces` of the JSON. covers: what people call it, for the docs and for --help. begins: whether a line may
    be its first one; cheap, because it is asked often. reader: for one piece, with the evidence to write to and the
    name of the file.
    heads, words: it is asked only of lines whose first character that is not blank is in `heads`, or which have one
    of `words` in them, whatever their case; so these hold wherever `begins` is True. heads: None: any character; "0"
    stands for digits of other scripts as well. words: in lower case, of four bytes or more.
    """

    name: str
    covers: str
    begins: Callable[[str], bool]
    reader: Callable[[Evidence, str], FormatReader]
    heads: frozenset[str] | None = None
    words: frozenset[str] = frozenset()


def last_filled(lines: Sequence[str], begin: int, end: int) -> int:
    """Return the index behind the last line of lines[begin:end] that is not empty; 0 if all are."""
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return end if end > begin else 0
