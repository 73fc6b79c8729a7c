"""Lines of text for a terminal: wrapped, labelled, and printed with weight and colour.

A view makes plain lines, each with a tone. `show` prints the same lines styled, so that nothing is lost in a pipe,
with NO_COLOR or on a terminal without colours.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadgen import styles as palette
from loadgen.format import visible
from loadgen.views.progress import is_ci

if TYPE_CHECKING:
    from rich.console import Console

#: (tone, text): a key of the styles that `show` is given, and the line.
StyledLine = tuple[str, str]

LABEL_WIDTH: Final = 13
WIDTH_MIN, WIDTH_MAX = 40, 100
#: Lines of a log that are seen at once, where its end is what people look at.
_LOG_HEIGHT: Final = 24


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The styles, in the words of rich, of a whole line and of the label at its beginning."""

    whole: str = ""
    label: str = ""


STYLES: Final[Mapping[str, LineStyle]] = {
    "": LineStyle(),
    "row": LineStyle(),
    "head": LineStyle(),
    "verdict": LineStyle(palette.STRONG),
    "good": LineStyle(),
    "bad": LineStyle(palette.BAD),
}


def width_of(console: Console, width_max: int = WIDTH_MAX) -> int:
    """Return the width of lines for this console: its own, but at least 40 columns and at most `width_max`."""
    return max(WIDTH_MIN, min(console.width, width_max))


def show(
    lines: Iterable[StyledLine],
    console: Console,
    styles: Mapping[str, LineStyle] = STYLES,
    label_width: int = LABEL_WIDTH,
    *,
    verdict: str = "",
) -> None:
    """Print lines to a console, whatever its encoding.

    verdict: said by the first of them, and once more by the last where a person sees the end alone, because there are
    more lines than the terminal has, or in the log of a CI job.
    """
    from rich.text import Text  # rich takes 50 ms that a `--json` run need not spend

    printed = list(lines)
    height = console.height if console.is_terminal else _LOG_HEIGHT if is_ci(os.environ) else None
    rows = sum(max(-(-len(line) // console.width), 1) for _, line in printed)
    if verdict and height is not None and rows >= height:  # one more for the shell's prompt
        printed += labelled("verdict", verdict, width_of(console), "verdict")
    for tone, line in printed:
        # A character that the terminal's encoding lacks becomes an escape instead of an exception.
        encoded = line.encode(console.encoding, "backslashreplace").decode(console.encoding)
        text = Text(encoded, style=styles[tone].whole)
        if styles[tone].label:
            text.stylize(styles[tone].label, 0, label_width)
        console.print(text, soft_wrap=True, highlight=False, markup=False)


def labelled(label: str, text: str, width: int, tone: str = "") -> list[StyledLine]:
    """A label and a text, the text in a column of its own however many lines it takes."""
    return [(tone, line) for line in wrapped(text, label.ljust(LABEL_WIDTH), width)]


def listed(label: str, texts: Iterable[str], width: int, tone: str = "") -> list[StyledLine]:
    """Several texts under one label, which stands before the first."""
    return [line for place, text in enumerate(texts) for line in labelled("" if place else label, text, width, tone)]


def numbered(label: str, texts: Iterable[str], width: int) -> list[StyledLine]:
    """Several texts under one label, each with its number before it."""
    return [
        ("", line)
        for number, text in enumerate(texts, start=1)
        for line in wrapped(text, f"{label if number == 1 else '':{LABEL_WIDTH}}{number}. ", width)
    ]


def wrapped(text: str, first: str, width: int) -> list[str]:
    """One paragraph in lines, the first after `first` and the others below it; with visible characters only."""
    # A run's name must not move the cursor.
    paragraph = visible(" ".join(text.split("\n"))).replace("\t", " ")
    return textwrap.wrap(
        paragraph, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    ) or [first.rstrip()]
