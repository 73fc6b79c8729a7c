"""A run on a terminal as an animated picture: an SVG whose frames are screens of a pseudo terminal.

The picture plays twice and ends with the last frame. Where motion is to be reduced, and where style sheets are not
read, it is one frame. It loads nothing from elsewhere, and each row of characters has a fixed length, so its size does
not depend on the font.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from pyte.screens import Char, HistoryScreen

from tests.terminals import PseudoTerminal

#: Of one cell, in pixels.
CELL_WIDTH: Final = 8.4
CELL_HEIGHT: Final = 19
_MARGIN: Final = 14
_BAR: Final = 30
#: No more frames than this in a second.
_APART_S: Final = 0.24
#: The screen is whole when so long nothing came: each frame of loadgen is one write.
_QUIET_S: Final = 0.02
#: The last frame stays that long before it begins again.
_REST_S: Final = 5.0
#: The time that the program needs to start is of no interest.
_STANDS_MAX_S: Final = 1.0
_RUNS_MAX_S: Final = 90.0

#: A style of text: bold, and a colour of the terminal.
Style = tuple[bool, str]
Row = tuple[tuple[int, str, Style], ...]

#: Contrast with the ground is 4.5 or more.
_GROUND: Final = "#12161d"
_TEXT: Final = "#d7dce3"
_COLOURS: Final = {"red": "#ff7b72", "magenta": "#e38bff"}


@dataclass(frozen=True, slots=True)
class FilmFrame:
    """A screen, and the seconds since the first at which it came."""

    at_s: float
    rows: tuple[Row, ...]


def record(terminal: PseudoTerminal) -> list[FilmFrame]:
    """The frames of a command until its end. Raises: RuntimeError if it does not end."""
    frames: list[FilmFrame] = []
    began_s = time.monotonic()
    open_ = True
    while open_:
        if time.monotonic() - began_s > _RUNS_MAX_S:
            raise RuntimeError("the command does not end")
        open_ = terminal.read_some(0.05)
        while open_ and terminal.has_more(_QUIET_S):
            open_ = terminal.read_some(0)
        shown = tuple(rows(terminal.screen))
        now_s = time.monotonic()
        if not any(shown) or (frames and shown == frames[-1].rows):
            continue
        if not frames:
            began_s = now_s
        if open_ and frames and now_s - began_s - frames[-1].at_s < _APART_S:
            continue
        frames.append(FilmFrame(now_s - began_s, shown))
    return frames


def rows(screen: HistoryScreen) -> Iterator[Row]:
    for y in range(screen.lines):
        line = screen.buffer[y]
        yield tuple(_runs([line[x] for x in range(screen.columns)]))


def _runs(cells: Sequence[Char]) -> Iterator[tuple[int, str, Style]]:
    """Cells of one style beside each other: the first column, the text, the style. Spaces at both ends are left out."""
    start = 0
    while start < len(cells):
        style = (cells[start].bold, cells[start].fg)
        end = start
        while end < len(cells) and (cells[end].bold, cells[end].fg) == style:
            end += 1
        text = "".join(cell.data for cell in cells[start:end])
        if stripped := text.strip():
            yield start + len(text) - len(text.lstrip()), stripped, style
        start = end


def svg(frames: Sequence[FilmFrame], *, columns: int, lines: int, still: int, title: str, description: str) -> str:
    """The picture. still: the frame that is shown where nothing moves."""
    width, height = round(columns * CELL_WIDTH) + 2 * _MARGIN, lines * CELL_HEIGHT + _BAR + _MARGIN
    names: dict[Row, str] = {}
    film = []
    for number, frame in enumerate(frames):
        uses = []
        for y, row in enumerate(frame.rows):
            if row:
                name = names.setdefault(row, f"r{len(names)}")
                uses.append(f'<use href="#{name}" y="{y * CELL_HEIGHT}"/>')
        film.append(f'<g transform="translate({number * width} 0)">{"".join(uses)}</g>')
    defined = [f'<g id="{name}">{"".join(_text(*run) for run in row)}</g>' for row, name in names.items()]
    times = _times(frames)
    whole_s = times[-1] + _REST_S
    keys = "".join(
        f"{100 * at_s / whole_s:.2f}%{{transform:translateX(-{number * width}px)}}" for number, at_s in enumerate(times)
    )
    last = f"transform:translateX(-{(len(frames) - 1) * width}px)"
    colours = "".join(f".{name}{{fill:{colour}}}" for name, colour in _COLOURS.items())
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">
<title id="title">{escape(title)}</title>
<desc id="description">{escape(description)}</desc>
<style>
text{{font:14px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:{_TEXT};white-space:pre}}
.b{{font-weight:700}}{colours}
.film{{transform:translateX(-{still * width}px)}}
@media (prefers-reduced-motion:no-preference){{.film{{{last};animation:film {whole_s:.2f}s step-end 2}}}}
@keyframes film{{{keys}100%{{{last}}}}}
</style>
<defs>
<clipPath id="screen"><rect width="{width}" height="{height}"/></clipPath>
{chr(10).join(defined)}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="{_GROUND}"/>
<circle cx="18" cy="15" r="5" fill="#4a5261"/><circle cx="36" cy="15" r="5" fill="#4a5261"/>\
<circle cx="54" cy="15" r="5" fill="#4a5261"/>
<g clip-path="url(#screen)"><g class="film" transform="translate({-still * width} 0)">
<g transform="translate({_MARGIN} {_BAR + CELL_HEIGHT - 5})">
{chr(10).join(film)}
</g></g></g>
</svg>
"""


def _times(frames: Sequence[FilmFrame]) -> list[float]:
    """When each frame is shown, in seconds: as it came, but no frame but the last is there for longer than a second."""
    times = [0.0]
    for before, frame in pairwise(frames):
        times.append(times[-1] + min(frame.at_s - before.at_s, _STANDS_MAX_S))
    return times


def _text(column: int, text: str, style: Style) -> str:
    bold, colour = style
    classes = " ".join(name for name in ("b" if bold else "", colour if colour in _COLOURS else "") if name)
    attribute = f" class={quoteattr(classes)}" if classes else ""
    length = f'x="{column * CELL_WIDTH:.1f}" textLength="{len(text) * CELL_WIDTH:.1f}"'
    return f"<text {length}{attribute}>{escape(text)}</text>"
