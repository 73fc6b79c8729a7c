"""The version of a kernel, by its release as uname(1) prints it (6.6.119-1-amd64 is (6, 6, 119)), and what it lacks."""

from __future__ import annotations

import re
from typing import Final

_RELEASE: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?(?!\d)")
#: The first version in which a look-up of a connection misses no socket that is being replaced, by stable series; the
#: others have it from 6.19 on. Later kernels of a series have it in any case.
_LOOKUP_FIXED: Final = {(6, 1): 160, (6, 6): 120, (6, 12): 63, (6, 17): 13, (6, 18): 2}
_LOOKUP_FIXED_FROM: Final = (6, 19)


def version(release: str) -> tuple[int, ...] | None:
    """Return the numbers that a release begins with, two or three; None: it begins with none."""
    match = _RELEASE.match(release)
    return tuple(int(part) for part in match.groups() if part) if match else None


def may_miss_sockets(release: str) -> bool:
    """Return True for a kernel whose look-up of a connection may miss it, so that the packet is answered with a reset.

    The look-up takes no lock. Another processor that puts the accepted socket in the place of its request, or a small
    TIME-WAIT socket in the place of the connection, took the one out before the other could be found. A distribution
    may have the fix in a kernel with an older number.

    Source: the commits "inet: Avoid ehash lookup race in inet_ehash_insert()" and "... in
    inet_twsk_hashdance_schedule()" of Linux 6.19, and the stable kernels that took them.
    """
    numbers = version(release)
    if numbers is None or numbers[:2] >= _LOOKUP_FIXED_FROM:
        return False
    fixed = _LOOKUP_FIXED.get((numbers[0], numbers[1]))
    return fixed is None or (*numbers, 0)[2] < fixed


def lookup_fixed_in() -> str:
    """Return the kernels without that, in words."""
    *series, last = (".".join(map(str, numbers)) for numbers in _LOOKUP_FIXED)
    first = ".".join(map(str, _LOOKUP_FIXED_FROM))
    return f"{first}, and in later stable kernels of {', '.join(series)} and {last}"
