"""Rows fitted into a terminal of any size: what does not fit gives way, least important first, and nothing wraps.

A row has a rank (0 stays longest) and writes itself into a given number of columns. In a row, names
stay and numbers give way; in a frame, rows of the highest ranks. Widths are in cells, of which a wide character
takes two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from loadgen import format as fmt
from loadgen import styles

#: Width of the names of rows: `handshake`, `TIME-WAIT`.
_LABEL: Final = 9
_GAP: Final = 2
#: Where there is room, each part of a row has at least this width, so that what follows it keeps its place.
_COLUMN: Final = 15
_BAR_MIN, _BAR_MAX = 4, 40
#: Numbers behind a bar give way before it becomes shorter than this.
_BAR_GOOD: Final = 10
#: `> 99.9 %`.
_PERCENT: Final = 8
#: Right of the last bar, where a terminal echoes ^C: that must not wrap.
_MARGIN: Final = 2


class TableRow(Protocol):
    """One line of a frame."""

    @property
    def rank(self) -> int:
        """0 stays longest."""

    def line(self, width: int, *, ascii_only: bool) -> Text:
        """The row in at most `width` cells; ascii_only: without any character of its own beyond ASCII."""


@dataclass(frozen=True, slots=True)
class Blank:
    """The place of a row that may yet come."""

    rank: int

    def line(self, width: int, *, ascii_only: bool) -> Text:
        """Nothing."""
        del width, ascii_only
        return Text()


@dataclass(frozen=True, slots=True)
class Head:
    """A title that stays, a word behind it, and on the right something that gives way."""

    rank: int
    title: str
    word: str
    right: str

    def line(self, width: int, *, ascii_only: bool) -> Text:
        """The title is cut only where it and the word alone are too long."""
        title = Text(self.title, style=styles.STRONG)
        title.truncate(max(width - len(self.word) - _GAP, 1), overflow=_overflow(ascii_only))
        text = Text.assemble(title, " " * _GAP, self.word)
        space = width - text.cell_len - len(self.right)
        if space >= _GAP:
            text.append(" " * space + self.right)
        return text


@dataclass(frozen=True, slots=True)
class Labelled:
    """A name and the parts beside it, as far as they fit; the first part always."""

    rank: int
    label: str
    parts: Sequence[Text]

    def line(self, width: int, *, ascii_only: bool) -> Text:
        """In columns where there is room for all of it, else close together."""
        del ascii_only
        text = Text.assemble(self.label.ljust(_LABEL), " " * _GAP)
        padded = [max(part.cell_len, _COLUMN) for part in self.parts]
        roomy = text.cell_len + sum(padded) + _GAP * (len(padded) - 1) <= width
        for place, part in enumerate(self.parts):
            gap = _GAP if place else 0
            if place and text.cell_len + gap + part.cell_len > width:
                break
            text = Text.assemble(text, " " * gap, part)
            if roomy and place < len(self.parts) - 1:
                text.append(" " * (padded[place] - part.cell_len))
        return text


@dataclass(frozen=True, slots=True)
class Gauge:
    """A share as a bar and in percent, with a name before it and more behind.

    name_width: of the names of all gauges below each other. Of a narrow terminal first what is behind gives way,
    then the bar, and only then the beginning of the name: ends tell addresses apart.
    """

    rank: int
    name: str
    name_width: int
    share: float
    behind: str = ""
    style: str = ""

    def line(self, width: int, *, ascii_only: bool) -> Text:
        """The bar takes what the rest leaves."""
        percent = fmt.percent(self.share)
        if cell_len(self.name) + _GAP + _PERCENT + _MARGIN > width:  # no bar, and no room to align anything
            name = self._name(width - _GAP - len(percent), ascii_only=ascii_only)
            return Text.assemble(name, " " * (_GAP if name else 0), percent)
        width -= _MARGIN
        name = self._name(width - _GAP - _PERCENT, ascii_only=ascii_only)
        used = name.cell_len + (_GAP if name else 0) + _PERCENT
        behind = self.behind if used + _BAR_GOOD + 2 * _GAP + len(self.behind) <= width else ""
        room = width - used - _GAP - (len(behind) + _GAP if behind else 0)
        text = Text.assemble(name, " " * (_GAP if name else 0))
        if room >= _BAR_MIN:
            text.append_text(_bar(self.share, min(room, _BAR_MAX), self.style, ascii_only=ascii_only))
            text.append(" " * _GAP)
        text.append(percent.rjust(_PERCENT))
        if behind:
            text.append(" " * _GAP + behind)
        return text

    def _name(self, width: int, *, ascii_only: bool) -> Text:
        name = Text(self.name)
        if name.cell_len > width:
            mark = "..." if ascii_only else "…"
            kept = self.name[-max(width - len(mark), 0) :] if width > len(mark) else ""
            return Text(mark + kept) if kept else Text()
        return Text.assemble(name, " " * (min(self.name_width, width) - name.cell_len))


class Frame:
    """Rows from top to bottom, as many as the terminal holds less one line, so that it never scrolls.

    `widths` are those of the lines as they were last drawn.
    """

    def __init__(self, rows: Sequence[TableRow]) -> None:
        self._rows = rows
        self.widths: tuple[int, ...] = ()

    def lines(self, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
        """At most `height` lines of at most `width` cells; empty places at the end are left out."""
        important = sorted(range(len(self._rows)), key=lambda place: (self._rows[place].rank, place))
        kept = sorted(important[: max(height, 1)])
        lines = [self._rows[place].line(width, ascii_only=ascii_only) for place in kept]
        for line in lines:
            line.rstrip()
        while lines and not lines[-1]:
            lines.pop()
        for line in lines:
            line.truncate(width, overflow=_overflow(ascii_only))
            line.no_wrap = True
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.lines(options.max_width, options.size.height - 1, ascii_only=options.ascii_only)
        self.widths = tuple(line.cell_len for line in lines)
        yield from lines


def _overflow(ascii_only: bool) -> Literal["crop", "ellipsis"]:
    return "crop" if ascii_only else "ellipsis"


def _bar(share: float, width: int, style: str, *, ascii_only: bool) -> Text:
    """Full only when everything is, and empty only when nothing is."""
    filled = round(share * width)
    if 0 < share < 1:
        filled = min(max(filled, 1), width - 1)
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    return Text.assemble((full * filled, style), (empty * (width - filled), styles.FAINT))
