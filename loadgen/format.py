"""Numbers and other people's strings as text for a reader: the one place of every format.

None, where a function takes it, becomes a dash.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Final

MISSING: Final = "–"  # noqa: RUF001 - an en dash is what typography puts into an empty cell

#: Unicode categories that have no glyph or turn the text around them: control, format (bidi overrides,
#: zero width), surrogate, private use, unassigned, line and paragraph separator.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """Return the text with every character that could hide or reorder others written as its escape.

    Line feeds and tabs stay. The result encodes to UTF-8 and cannot drive a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in _UNSEEN
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def on_one_line(text: str) -> str:
    """`visible`, with line feeds and tabs escaped as well: for names of files, which may contain them."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def count(value: float | None) -> str:
    """A quantity: 28,232, or 0.125 when it is not whole."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.3g}"


def many(number: int, noun: str) -> str:
    """Return a number and its noun, whose plural ends with -s: "1 worker", "12,000 connections"."""
    return f"{count(number)} {noun}{'s' * (number != 1)}"


def signed(value: float) -> str:
    """A difference: +1,204."""
    return f"{value:+,.0f}" if value == int(value) else f"{value:+,.3g}"


def rate(per_s: float | None) -> str:
    """Something per second: 19,812/s, 98.5/s; where that is little, per minute or per hour: 2/min, 1.5/h."""
    if per_s is None:
        return MISSING
    if 0 < abs(per_s) < 0.1:
        return f"{per_s * 60:,.3g}/min" if abs(per_s) * 60 >= 0.1 else f"{per_s * 3600:,.3g}/h"
    return f"{per_s:,.0f}/s" if abs(per_s) >= 100 else f"{per_s:,.3g}/s"


def percent(share: float | None) -> str:
    """A share of 1 as percent. A share just below 1 never reads 100 %, nor one just above 0 as 0 %."""
    if share is None:
        return MISSING
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{share * 100:.1f} %"


def share(part: float, whole: float) -> float | None:
    """part / whole; None when the whole is not positive."""
    return part / whole if whole > 0 else None


def latency(us: float | None, micro: str = "µs") -> str:
    """Microseconds with three digits and the unit that suits them: 812 µs, 1.24 ms, 3.01 s.

    micro: the name of the microsecond; "us" where only ASCII may be written.
    """
    if us is None:
        return MISSING
    limits = ((999.5, 1, micro), (999_500, 1_000, "ms"), (math.inf, 1_000_000, "s"))
    divisor, unit = next((divisor, unit) for limit, divisor, unit in limits if abs(us) < limit)
    scaled = us / divisor
    digits = 0 if scaled == 0 or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:,.{digits}f} {unit}"


def seconds(value: float | None) -> str:
    """A duration: 0.82 s, 30.0 s, 12 min 05 s, 2 h 01 min."""
    if value is None:
        return MISSING
    if abs(value) < 9.995:
        return f"{value:.2f} s"
    if value < 119.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float | None) -> str:
    """Bytes: 24.0 GiB."""
    if value is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def scalar(value: object) -> str:
    """Any single value: a number as `count`, yes or no, a text as it is."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return count(value)
    return str(value)
