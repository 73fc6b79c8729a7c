"""Numbers in shared memory that must agree with each other, kept twice: one writer, any number of readers, no lock.

A record has two equal `copies` and a count of `updates`, whose last bit says which copy is whole. The writer fills the
idle copy and then counts up, which is one store of 8 aligned bytes; so a reader sees all of an update or nothing of it,
and a writer that is killed at any moment leaves the update before. A reader that was overtaken notices and reads again.
(On processors that let others see two stores in another order, such as ARM, a reader may for some nanoseconds see the
count before the copy; it would read the update before the last, or one that is half written.)
"""

from __future__ import annotations

from typing import Any, Final

#: A writer counts up once in a millisecond or more; a copy takes a microsecond to a tenth of a millisecond.
_READS_MAX: Final = 64


def idle(record: Any, updates: str, copies: str) -> Any:
    """Return the copy that no reader uses, a view for the writer; `turn` makes it the one that is read."""
    return record[copies][(int(record[updates]) + 1) & 1]


def turn(record: Any, updates: str) -> None:
    """Make the copy that was written the one that is read."""
    record[updates] = int(record[updates]) + 1


def consistent(record: Any, updates: str, copies: str) -> Any:
    """Return a copy of its own of the numbers of the last update, all of the same instant."""
    for _ in range(_READS_MAX):
        seen = int(record[updates])
        whole = seen & 1
        copy = record[copies][whole : whole + 1].copy()  # of an array: a copy of a single record would be a view
        if int(record[updates]) == seen:
            break
    return copy[0]
