"""Files that a person asks for by name: looked at before a run begins, written when it is over."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from loadgen.errors import ResultsError, UsageError


def ready(path: Path, option: str) -> None:
    """See to it that a file can be written, and that nobody finds the one of an earlier run there meanwhile.

    option: what asked for it, for the message. Raises: UsageError.
    """
    folder = path.parent
    if os.path.isdir(path):  # which, unlike Path.is_dir(), may be asked below a folder that is closed to us
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
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be replaced ({error.strerror}); name another file") from error


def write(path: Path, text: str) -> None:
    """Write all of it or nothing; a pipe or a device gets it as it comes. Raises: ResultsError."""
    if _is_special(path):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise _cannot_write(path, error) from error
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # a disk that takes nothing may not give anything back, either
            partial.unlink()
        raise _cannot_write(path, error) from error


def _is_special(path: Path) -> bool:
    """Whether something is there that must not be replaced: a link (/dev/stdout is one), a pipe, a device."""
    return os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path))


def _cannot_write(path: Path, error: OSError) -> ResultsError:
    return ResultsError(f"cannot write {path}: {error.strerror}; name another file")
