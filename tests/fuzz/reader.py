"""The contract of a reader of foreign input, and one try with it.

A reader takes bytes and either accepts them or raises one of the errors that its docstring names. Nothing else: no
other exception, no endless loop, no more memory than a multiple of its input. What must hold for the input that it
accepts (the same result in other pieces, a round trip) its function asserts itself.
"""

from __future__ import annotations

import re
import sys
import traceback
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

from tests.fuzz.mutation import mutated

CORPUS: Final = Path(__file__).parents[1] / "data" / "fuzz"


@dataclass(frozen=True)
class Reader:
    """One reader. read: takes the input. refuses: errors that its docstring names. seeds: makes valid input.

    as_json: the seeds are JSON or lines of it. tries: with `make fuzz` aside, as many as take half a second.
    bytes_per_byte, bytes_free: memory that one byte of input may take, and what may be taken in any case; beyond both a
    try has failed.
    """

    name: str
    read: Callable[[bytes], object]
    make_seeds: Callable[[], Sequence[bytes]]
    refuses: tuple[type[Exception], ...] = ()
    as_json: bool = False
    tries: int = 200
    bytes_per_byte: int = 400
    bytes_free: int = 4 << 20

    @property
    def folder(self) -> Path:
        """Where input is kept that once broke this reader, a file each."""
        return CORPUS / re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def corpus(self) -> tuple[bytes, ...]:
        """Input that once broke this reader."""
        return tuple(file.read_bytes() for file in sorted(self.folder.glob("*")))

    @cached_property
    def valid(self) -> tuple[bytes, ...]:
        """Valid input."""
        return tuple(self.make_seeds())

    @cached_property
    def seeds(self) -> tuple[bytes, ...]:
        """Valid input, and what once was a find, which is where the next one is near."""
        return (*self.valid, *self.corpus)

    def input(self, random: Random) -> bytes:
        """Return input that is valid, damaged or hostile."""
        return mutated(self.seeds, random, as_json=self.as_json)


@dataclass(frozen=True)
class Find:
    """Input that broke a reader. kind: the same for all inputs that break it in the same place."""

    reader: str
    data: bytes
    kind: str
    details: str


def attempt(reader: Reader, data: bytes) -> Find | None:
    """Give a reader this input; return what was wrong, if anything."""
    try:
        reader.read(data)
    except reader.refuses as error:
        if not str(error):
            return Find(reader.name, data, "refused without a word", repr(error))
    except Exception as error:
        return Find(reader.name, data, _kind(error), "".join(traceback.format_exception(error)))
    return None


def accepts(reader: Reader, data: bytes) -> bool:
    """Return whether a reader accepts this input. Raises: whatever is not documented."""
    try:
        reader.read(data)
    except reader.refuses:
        return False
    return True


def measured(reader: Reader, data: bytes) -> Find | None:
    """Give a reader this input, and return what was wrong with it or with the memory that it took."""
    tracemalloc.start()
    try:
        found = attempt(reader, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    room = reader.bytes_free + reader.bytes_per_byte * len(data)
    if found or peak <= room:
        return found
    return Find(reader.name, data, "memory", f"{peak:,} bytes for an input of {len(data):,}, and {room:,} are allowed")


def calls(reader: Reader, data: bytes) -> int:
    """Return how many functions are called to read this: work as a number that is the same on every machine.

    The work inside one call of C, a regular expression for instance, does not show; see `run.slow`.
    """
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        attempt(reader, data)
    finally:
        sys.setprofile(before)
    return count


def _kind(error: Exception) -> str:
    """Return class and place of an exception; of recursion the class only, which may end anywhere."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/loadgen/" in frame.filename]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, RecursionError):
        place = frames[0] if frames else place
    return f"{type(error).__name__} {place.filename.rpartition('/loadgen/')[2]}:{place.lineno}"
