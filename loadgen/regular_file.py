"""Opening of files by a name from elsewhere: regular files only, without ever waiting for one.

A FIFO would hold the reader up for good, /dev/zero has no end. Both are refused by what fstat(2) says of the open
descriptor, so that nothing can be put in its place after the check.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegularError(OSError):
    """Something else has this name; `kind` says what: "a FIFO"."""

    def __init__(self, kind: str) -> None:
        super().__init__(errno.EINVAL, f"is {kind} and no regular file")
        self.kind = kind


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the regular file at `path`, open for reading.

    Raises: OSError of open(2); NotRegularError; ValueError for a NUL in the path.
    """
    try:
        # O_NONBLOCK: open(2) of a FIFO waits for its writer otherwise; regular files do not know it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # open(2): a socket, or a device without a driver
            raise NotRegularError("a socket or a device") from error
        raise
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise NotRegularError(next((name for is_kind, name in _KINDS if is_kind(mode)), "something else"))
    with open(fd, "rb") as file:
        yield file
