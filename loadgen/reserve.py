"""A reserve of descriptors, so that results can be written by a process that may open no further file.

The limit of open files can be reached at any time, by a leak or by prlimit(1). Only descriptors below the limit count
against it, and a new one takes the lowest free number; so the reserve is taken when the process starts, where the
numbers are low, and what frees it can open that many files at a time under almost any limit (getrlimit(2),
RLIMIT_NOFILE).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

#: An import, a file that is read and one that is written need one at a time.
_COUNT: Final = 3

_held: list[int] = []


def take() -> None:
    """Take it, or what is missing of it; as much of it as there is."""
    with suppress(OSError):
        while len(_held) < _COUNT:
            _held.append(os.open("/", os.O_PATH | os.O_CLOEXEC))


def release() -> None:
    """Free it for what must be opened now; harmless when repeated."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())
