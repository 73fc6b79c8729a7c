"""Numbers that are kept twice: a reader sees all of an update or nothing of it, whatever happens to the writer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadgen.results.copies import consistent, idle, turn
from tests.unit.killed import Stores, at_every_store

PAIR = np.dtype([("left", "i8", (4,)), ("right", "i8")])
KEPT = np.dtype([("updates", "i8"), ("copies", PAIR, (2,))])


def new() -> Any:
    return np.zeros(1, KEPT)[0]


def update(record: Any, value: int) -> None:
    copy = idle(record, "updates", "copies")
    copy["left"] = [value] * 4
    copy["right"] = value
    turn(record, "updates")


def seen(record: Any) -> tuple[list[int], int]:
    found = consistent(record, "updates", "copies")
    return found["left"].tolist(), int(found["right"])


def test_what_was_read_is_a_copy() -> None:
    record = new()
    update(record, 1)
    found = consistent(record, "updates", "copies")
    for value in (2, 3):
        update(record, value)
    assert (found["left"].tolist(), int(found["right"])) == ([1] * 4, 1)
    assert seen(record) == ([3] * 4, 3)


def test_a_writer_that_is_killed_at_any_store_leaves_the_update_before() -> None:
    record = new()
    values = []

    def write(stores: Stores) -> None:
        for value in range(1, 4):
            update(stores, value)

    for _ in at_every_store(record, write):
        left, right = seen(record)
        assert left == [right] * 4
        values.append(right)
    assert values == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


class Overtaken:
    """A record whose writer makes updates in the middle of a reader's copy."""

    def __init__(self, record: Any, updates: int) -> None:
        self._record, self.left = record, updates

    def __getitem__(self, key: str) -> Any:
        return self._record[key] if key == "updates" else _Copies(self, self._record[key])

    def overtake(self) -> None:
        while self.left:
            self.left -= 1
            update(self._record, int(self._record["updates"]) + 1)


class _Copies:
    def __init__(self, record: Overtaken, copies: Any) -> None:
        self._record, self._copies = record, copies

    def __getitem__(self, part: slice) -> Any:
        record, copies = self._record, self._copies[part]

        class Halves:
            def copy(_) -> Any:  # noqa: N805  # `self` is the reader's
                read = copies.copy()
                record.overtake()
                read["right"] = copies["right"]
                return read

        return Halves()


@pytest.mark.parametrize("updates", [1, 2, 3, 4])
def test_a_reader_that_was_overtaken_reads_again(updates: int) -> None:
    """After an even number of updates the same copy is the whole one again, and yet another."""
    record = new()
    update(record, 1)
    assert seen(Overtaken(record, updates)) == ([1 + updates] * 4, 1 + updates)
