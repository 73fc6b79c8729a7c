"""Rules of a firewall as readings, whichever program printed them: translations, tracking, drops and rejects.

Only what matters to connections becomes a reading; the rest of a listing belongs to its piece.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from loadgen.explain.evidence import TEXT_MAX, RuleReading, Where
from loadgen.explain.formats.lines import LineReader

#: Addresses of a range that are listed one by one.
LISTED_MAX: Final = 256
#: "[2001:db8::1]-[2001:db8::5]:80-90", with what stands in brackets or not.
_BRACKETS: Final = re.compile(r"\[(?P<low>[^\]]*)\](?:-\[(?P<high>[^\]]*)\])?(?::(?P<ports>.*))?")
_PORTS: Final = re.compile(r"(?P<low>\d{1,5})(?:-(?P<high>\d{1,5}))?")

Translation = tuple[tuple[str, ...], tuple[int, int] | None]


def translation(text: str) -> Translation | None:
    """Return addresses and ports of "10.0.0.5-10.0.0.6:1024-1123", ":2000-2099", "[2001:db8::1]:80" and their like.

    None: it is none of these, as where a map chooses.
    """
    if brackets := _BRACKETS.fullmatch(text):
        low, high, ports = brackets["low"], brackets["high"] or "", brackets["ports"] or ""
    elif text.count(":") > 1:
        low, _, high = text.partition("-")
        ports = ""
    else:
        found, _, ports = text.partition(":")
        low, _, high = found.partition("-")
    port_range = port_numbers(ports) if ports else None
    if ports and port_range is None:
        return None
    if not low:
        return ((), port_range) if text == f":{ports}" and ports else None
    addresses = address_range(low, high or low)
    return None if addresses is None else (addresses, port_range)


def port_numbers(text: str) -> tuple[int, int] | None:
    """Return the first and last port of "1024-1123" or "8080"; None: it is neither."""
    found = _PORTS.fullmatch(text)
    if not found:
        return None
    low, high = int(found["low"]), int(found["high"] or found["low"])
    return (low, high) if low <= high <= 65535 else None


def address_range(low: str, high: str) -> tuple[str, ...] | None:
    """Return each address from the first to the last, or "low-high" for more than LISTED_MAX; None: no addresses."""
    try:
        first, last = ip_address(low), ip_address(high)
        if first == last:
            return (str(first),)
    except ValueError:
        return None
    if first.version != last.version or int(first) > int(last):
        return None
    if int(last) - int(first) >= LISTED_MAX:
        return (f"{first}-{last}",)
    return tuple(str(first + number) for number in range(int(last) - int(first) + 1))


class RuleLines(LineReader):
    """Writes readings of rules."""

    def write(self, kind: str, text: str, where: Where, to: Translation | None = None) -> None:
        """Write one reading. to: of a translation; None: not told, or by a map."""
        addresses, ports = to or ((), None)
        shown = " ".join(text.split())[:TEXT_MAX]
        self.keep(self.evidence.rules, RuleReading(kind, addresses, ports, shown, where), where)
