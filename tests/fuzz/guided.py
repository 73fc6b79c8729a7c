"""One reader with atheris, which changes input by the code that it reaches: python -m tests.fuzz.guided READER SECONDS.

On standard output is one input of each kind of find, in hexadecimal, a line each, as soon as it is found: libFuzzer
ends the process itself. On standard error it says the number of tries: "Done 34207 runs in 6 second(s)".
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["loadgen"], enable_loader_override=False):
    from tests.fuzz import mutation
    from tests.fuzz.reader import attempt
    from tests.fuzz.readers import BY_NAME


def main() -> None:
    """Fuzz one reader until its time is over."""
    reader = BY_NAME[sys.argv[1]]
    said = os.dup(1)
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    kinds: set[str] = set()

    def one(data: bytes) -> None:
        if (find := attempt(reader, data)) and find.kind not in kinds:
            kinds.add(find.kind)
            os.write(said, find.data.hex().encode() + b"\n")

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randint(0, 1):
            return bytes(atheris.Mutate(data, size_max))
        return mutation.mutated((data, *reader.seeds) if random.randint(0, 3) == 0 else (data,), random)[:size_max]

    with tempfile.TemporaryDirectory(prefix="loadgen-fuzz-") as folder:
        for number, seed in enumerate(reader.seeds):
            Path(folder, str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={sys.argv[2]}",
            f"-max_len={mutation.SIZE_MAX}",
            "-timeout=60",
            "-rss_limit_mb=4096",
        ]
        atheris.Setup([sys.argv[0], *options, folder], one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
