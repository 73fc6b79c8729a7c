"""Output files named by an option: checked before a run begins, written when it is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from loadgen.errors import ResultsError, UsageError


def ready(path: Path, option: str, *, stale: bool = True) -> None:
    """Check that a file can be written.

    option: the option that names the file, for the message. stale: delete one that is there: it is of an earlier run,
    and is not to be taken for a result of this one. Raises: UsageError.
    """
    folder = path.parent
    if os.path.isdir(path):  # unlike Path.is_dir(), does not raise below a directory without permission
        raise UsageError(f"{option} {path} is a directory; name a file in it")
    if not os.path.isdir(folder):
        raise UsageError(f"{option} {path}: there is no directory {folder}; make it first")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path} cannot be written; name a file that you may write")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: no file can be written in {folder}; name one where you may write")
    try:
        if stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be replaced ({error.strerror}); name another file") from error


def write(path: Path, text: str) -> None:
    """Write the file as a whole or not at all; to a pipe or a device, directly. Raises: ResultsError."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, which takes this name when the block ends, and is deleted if an exception leaves it.

    A pipe or a device is written directly. Raises: ResultsError.
    """
    if _is_special(path):
        try:
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise _cannot_write(path, error) from error
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # not through a link that stood there
            yield file
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):  # a disk that refuses writes may refuse this too
            partial.unlink()
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def _is_special(path: Path) -> bool:
    """Return True if the path is something not to replace: a link (as /dev/stdout), a pipe, a device."""
    return os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path))


def _cannot_write(path: Path, error: OSError) -> ResultsError:
    return ResultsError(f"cannot write {path}: {error.strerror}; name another file")
