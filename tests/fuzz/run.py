"""`make fuzz`: every reader is given damaged and hostile input for FUZZ_S seconds, and what breaks it is kept.

    python -m tests.fuzz.run [--seconds 60] [--seed N] [READER]...

A third of the time goes to input by chance, a third to input that grows, whose time must grow no faster than it does,
and a third to atheris, which changes input so that it reaches code that was not reached before. Where atheris is not
installed (`pip install -e '.[fuzz]'`; it has wheels for few versions of Python), chance has that time as well.

A find is made smaller and written to tests/data/fuzz/READER/. From then on the tests give it to the reader; mend the
reader and commit the file together with that. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from random import Random
from typing import Final

from tests.fuzz import mutation
from tests.fuzz.reader import Find, Reader, attempt, measured
from tests.fuzz.readers import BY_NAME, READERS

#: Tries between two whose memory is measured, which takes several times as long.
_MEASURED: Final = 20
#: Bytes of input that is made larger step by step, and the factor between two steps.
_GROWN: Final = (16_384, 65_536, 262_144)
#: Linear work takes 4 times as long for 4 times the input; quadratic work 16 times.
_RATIO_MAX: Final = 10.0
#: Time below this is not compared.
_NOTICED_S: Final = 0.05
#: No input of this size takes as long, however its time grows.
_SLOW_S: Final = 5.0
_SHRINK_S: Final = 10.0
_RUNS: Final = re.compile(r"Done (\d+) runs")


@dataclass
class Session:
    """What came of one reader."""

    reader: Reader
    tries: Counter[str] = field(default_factory=Counter)
    finds: dict[str, Find] = field(default_factory=dict)
    slowest_s: float = 0.0

    def take(self, way: str, find: Find | None) -> None:
        """Count a try, and keep what it found if that is new."""
        self.tries[way] += 1
        if find is not None and find.kind not in self.finds:
            self.finds[find.kind] = find
            print(f"    {find.kind}: {find.details.strip().splitlines()[-1][:200]}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the readers that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Give every reader damaged and hostile input.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the input by chance")
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(BY_NAME))
    given = parser.parse_args(arguments)
    chosen = [BY_NAME[name] for name in given.readers] if given.readers else list(READERS)
    guided = find_spec("atheris") is not None
    if not guided:
        print("atheris is not installed, so nothing here knows which code was reached: pip install -e '.[fuzz]'")
    print(
        f"{len(chosen)} readers, {given.seconds:g} s each; --seed {given.seed} repeats the input by chance", flush=True
    )
    found = 0
    for reader in chosen:
        session = Session(reader)
        share_s = given.seconds / 3
        by_chance(session, share_s if guided else 2 * share_s, given.seed)
        growing(session, share_s, given.seed)
        if guided:
            by_coverage(session, share_s)
        tries = ", ".join(f"{count:,} {way}" for way, count in session.tries.items())
        print(f"{reader.name}: {tries}; {len(session.finds)} finds, slowest {session.slowest_s:.2f} s", flush=True)
        for find in session.finds.values():
            print(f"    {keep(shrunk(reader, find))}")
        found += len(session.finds)
    return int(found > 0)


def by_chance(session: Session, seconds: float, seed: int) -> None:
    """Give the reader its valid input after random edits."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        data = session.reader.input(Random(f"{seed}-{number}"))
        session.take("by chance", (attempt if number % _MEASURED else measured)(session.reader, data))
        number += 1


def growing(session: Session, seconds: float, seed: int) -> None:
    """Give the reader input in which one part is repeated, and compare its time with the input's length."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        random = Random(f"{seed}-grown-{number}")
        session.take("growing", slow(session, *mutation.around(session.reader.seeds, random)))
        number += 1


def slow(session: Session, head: bytes, part: bytes, tail: bytes) -> Find | None:
    """Return a find if time grows faster than the number of these parts."""
    before_s = 0.0
    for size in _GROWN:
        data = head + part * (size // len(part)) + tail
        began_s = time.process_time()
        found = attempt(session.reader, data)
        took_s = time.process_time() - began_s
        session.slowest_s = max(session.slowest_s, took_s)
        if found:
            return found
        if took_s > _SLOW_S or (before_s > _NOTICED_S and took_s > _RATIO_MAX * before_s):
            details = f"{took_s:.2f} s for {len(data):,} bytes, {before_s:.2f} s for a quarter of it"
            return Find(session.reader.name, data, f"time {part[:20]!r}", details)
        if took_s < _NOTICED_S / 16:  # cannot become noticeable, even if it is quadratic
            return None
        before_s = took_s
    return None


def by_coverage(session: Session, seconds: float) -> None:
    """Have atheris choose the input, in a process of its own, because it never returns."""
    command = [sys.executable, "-m", "tests.fuzz.guided", session.reader.name, str(max(int(seconds), 1))]
    done = subprocess.run(command, capture_output=True, check=False)
    for line in done.stdout.split():
        session.take("by coverage", attempt(session.reader, bytes.fromhex(line.decode())))
    said = done.stderr.decode(errors="replace")
    runs = _RUNS.search(said)
    session.tries["by coverage"] += int(runs[1]) if runs else 0
    if done.returncode or not runs:
        print(said[-2_000:])


def shrunk(reader: Reader, find: Find) -> Find:
    """Return a smaller input that breaks the reader in the same place, if there is one."""
    if find.kind.startswith(("time", "memory")):
        return find
    end = time.monotonic() + _SHRINK_S
    while time.monotonic() < end:
        smaller = next((found for found in _smaller(reader, find, end) if found), None)
        if smaller is None:
            break
        find = smaller
    return find


def _smaller(reader: Reader, find: Find, end_s: float) -> Iterator[Find | None]:
    """Yield the find for each part that can be left out, large parts first."""
    size = len(find.data) // 2
    while size:
        for at in range(0, len(find.data), size):
            if time.monotonic() > end_s:
                return
            found = attempt(reader, find.data[:at] + find.data[at + size :])
            if found and found.kind == find.kind:
                yield found
        size //= 2


def keep(find: Find) -> str:
    """Write a find to the corpus; return the name of its file."""
    folder = BY_NAME[find.reader].folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / hashlib.sha256(find.data).hexdigest()[:12]
    file.write_bytes(find.data)
    return str(file)


if __name__ == "__main__":
    sys.exit(main())
