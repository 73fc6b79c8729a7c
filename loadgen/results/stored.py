"""Reading of files that may not be ours: regular files only, of a bounded size, without ever waiting for one.

A run directory can come from anywhere. A FIFO in it would hold the reader up for good, /dev/zero has no end; both are
refused by what fstat(2) says of the open descriptor, so that nothing can be put in its place after the check.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from loadgen.errors import UsageError

#: A plan with 65,536 addresses has 10 MB.
BYTES_MAX: Final = 256 << 20
#: One line of a series; one with counts of a million pairs has 30 MB.
LINE_BYTES_MAX: Final = 64 << 20
_BLOCK: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes] | None]:
    """Yield the regular file at `path`, open for reading; None where there is none. Raises: UsageError."""
    try:
        # O_NONBLOCK: open(2) of a FIFO waits for its writer otherwise; regular files do not know it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, OSError) and error.errno == errno.ENXIO:  # open(2): a socket, or a device without a driver
            raise _foreign(path, "a socket or a device") from error
        raise _refused(path, error) from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise _foreign(path, next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file"))
    with open(fd, "rb") as file:
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


def _foreign(path: Path, kind: str) -> UsageError:
    return UsageError(f"{path} is {kind} and not a file that loadgen wrote; remove it, or give another directory")


def _refused(path: Path, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else error if str(error) else "not enough memory"
    return UsageError(f"{path} cannot be read: {reason}; check path and permissions")
