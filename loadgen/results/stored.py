"""Reading of files that may not be ours: regular files only, of a bounded size, without ever waiting for one.

A run directory can come from anywhere; see `loadgen.regular_file` for what may stand in it instead of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from loadgen import regular_file
from loadgen.errors import UsageError

#: A plan with 65,536 addresses has 10 MB. What is read takes several times as much memory.
BYTES_MAX: Final = 128 << 20
#: One line of a series; one with counts of 131,072 pairs, the most there can be, has 4 MB.
LINE_BYTES_MAX: Final = 16 << 20
_BLOCK: Final = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes] | None]:
    """Yield the regular file at `path`, open for reading; None where there is none. Raises: UsageError."""
    with ExitStack() as stack:
        try:
            file: IO[bytes] | None = stack.enter_context(regular_file.opened(path))
        except (FileNotFoundError, NotADirectoryError):
            file = None
        except regular_file.NotRegularError as error:
            raise UsageError(
                f"{path} is {error.kind} and not a file that loadgen wrote; remove it, or give another path"
            ) from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise _refused(path, error) from error
        yield file


def read(path: Path, bytes_max: int = BYTES_MAX) -> bytes:
    """Return what is in a regular file, b"" where there is none. Raises: UsageError."""
    with opened(path) as file:
        if file is None:
            return b""
        data = bytearray()
        try:
            # In blocks: read(n) asks for n bytes of memory, however short the file is.
            while len(data) <= bytes_max and (block := file.read(_BLOCK)):
                data += block
        except (OSError, MemoryError) as error:
            raise _refused(path, error) from error
    if len(data) > bytes_max:
        raise UsageError(f"{path} is larger than {bytes_max >> 20:,} MiB, so loadgen did not write it; remove it")
    return bytes(data)


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, each with its line feed if it has one. Raises: UsageError."""
    with opened(path) as file:
        if file is None:
            return
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(LINE_BYTES_MAX + 1)
            except (OSError, MemoryError) as error:
                raise _refused(path, error) from error
            if not line:
                return
            if len(line) > LINE_BYTES_MAX:
                raise UsageError(
                    f"{path}:{number}: longer than {LINE_BYTES_MAX >> 20:,} MiB, so loadgen did not write it; remove it"
                )
            yield line


def is_there(path: Path) -> bool:
    """Return whether anything has this name, a broken link included; False where that cannot be seen."""
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def _refused(path: Path, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else error if str(error) else "not enough memory"
    return UsageError(f"{path} cannot be read: {reason}; check path and permissions")
