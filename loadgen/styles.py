"""The styles of text on a terminal, in the words of rich: two colours, for what needs attention and nothing else.

Red and magenta are those of the sixteen colours that can be read on black and on white alike; yellow, green and cyan
cannot on white, blue cannot on black (tests/unit/test_styles.py computes it from the palettes of common terminals).
Nothing is told by colour alone: beside it stand a number, a word, or both.
"""

from __future__ import annotations

from typing import Final

#: Titles, the main number, a verdict.
STRONG: Final = "bold"
#: What comes close to a limit. Bold, so that it differs from other text without colours too.
TIGHT: Final = "bold magenta"
#: A failure, a limit that is met.
BAD: Final = "bold red"
#: Ornaments: the empty part of a bar. No text: some terminals make it hard to read.
FAINT: Final = "dim"
