"""Text for numbers and for strings from outside.

A report is read after a crash, by a newer version, from a file that was edited. So each function takes
any value that JSON can hold and returns text; a value that is missing or no number becomes a dash.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

MISSING: Final = "–"  # noqa: RUF001 - an en dash is what typography puts into an empty cell

#: Unicode categories that have no glyph or turn the text around them: control, format (bidi overrides,
#: zero width), surrogate, private use, unassigned, line and paragraph separator.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """The same text with every character that could hide or reorder others written as its escape.

    Line feeds and tabs stay. What comes back encodes to UTF-8 and cannot drive a terminal.
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
    """`visible`, and line feeds and tabs are escapes as well: for names of files, which may have them."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def number(value: object) -> float | None:
    """The value as a finite float, or None: bool, text, NaN and infinity are no measurements."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:  # a whole number past 1.8e308
        return None
    return result if math.isfinite(result) else None


def count(value: object) -> str:
    """A quantity: 28,232, or 0.125 when it is not whole."""
    found = number(value)
    if found is None:
        return MISSING
    return f"{found:,.0f}" if found == int(found) or abs(found) >= 1000 else f"{found:,.3g}"


def signed(value: object) -> str:
    """A difference: +1,204."""
    found = number(value)
    return MISSING if found is None else f"{found:+,.0f}" if found == int(found) else f"{found:+,.3g}"


def rate(value: object) -> str:
    """Something per second: 19,812/s."""
    found = number(value)
    return MISSING if found is None else f"{found:,.0f}/s" if abs(found) >= 100 else f"{found:,.3g}/s"


def rate_text(per_s: float) -> str:
    """A rate in a sentence: 0/s, 1.7/s, 28,232/s."""
    return f"{per_s:,.0f}/s" if per_s >= 100 or per_s == int(per_s) else f"{per_s:,.1f}/s"


def percent(share: float | None) -> str:
    """A share of 1 as percent. What is not quite everything never reads 100 %."""
    if share is None:
        return MISSING
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{share * 100:.1f} %"


def share(part: object, whole: object) -> float | None:
    """part / whole, None when either is no number or the whole is not positive."""
    above, below = number(part), number(whole)
    return above / below if above is not None and below is not None and below > 0 else None


def latency(us: object, micro: str = "µs") -> str:
    """Microseconds with three digits and the unit that suits them: 812 µs, 1.24 ms, 3.01 s."""
    found = number(us)
    return MISSING if found is None else latency_text(found, micro)


def latency_text(us: float, micro: str = "us") -> str:
    """Microseconds with three digits and the unit that suits them: 812 us, 1.24 ms, 3.01 s."""
    limits = ((999.5, 1, micro), (999_500, 1_000, "ms"), (math.inf, 1_000_000, "s"))
    divisor, unit = next((divisor, unit) for limit, divisor, unit in limits if abs(us) < limit)
    scaled = us / divisor
    digits = 0 if scaled == 0 or abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:,.{digits}f} {unit}"


def seconds(value: object) -> str:
    """A stretch of a run: 0.82 s, 30.0 s, 12 min 05 s."""
    found = number(value)
    if found is None:
        return MISSING
    if abs(found) < 9.995:
        return f"{found:.2f} s"
    if found < 119.95:
        return f"{found:.1f} s"
    minutes, rest = divmod(round(found), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: object) -> str:
    """Bytes: 24.0 GiB."""
    found = number(value)
    if found is None:
        return MISSING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(found) < 1024:
            return f"{found:.0f} B" if unit == "B" else f"{found:.1f} {unit}"
        found /= 1024
    return f"{found:.1f} TiB"


def scalar(value: object) -> str:
    """Any leaf of a JSON document as one reads it."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return count(value)
    return str(value)


def part(data: object, key: str) -> Mapping[str, Any]:
    """data[key] when it is a JSON object, else an empty one."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(data: object, key: str) -> list[Any]:
    """data[key] when it is a JSON array, else an empty one."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return list(value) if isinstance(value, list | tuple) else []


def rows(data: object, key: str) -> list[Mapping[str, Any]]:
    """The objects in the array data[key]; anything else in it is passed over."""
    return [row for row in items(data, key) if isinstance(row, Mapping)]


def total(values: Iterable[object]) -> float:
    """The sum of those values that are numbers."""
    return sum(found for value in values if (found := number(value)) is not None)
