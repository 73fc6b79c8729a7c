"""Files of a directory of results: made, locked, written so that a full disk costs nothing, and read back.

What they mean is in `run_directory` and `search_directory`. Every write raises ResultsError, every read UsageError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from loadgen.clock import wall_clock
from loadgen.errors import ResultsError, UsageError
from loadgen.results import stored
from loadgen.results.schema import files

#: The scenario of a run, a matrix or a search, as it was given.
SCENARIO: Final = "scenario.yaml"
#: A matrix has at most 20,000 runs with some events each.
_LINES_MAX: Final = 200_000

_Shape = TypeVar("_Shape")


class LinesFile:
    """A new file of lines, open until `close`. Every method raises ResultsError."""

    def __init__(self, path: Path) -> None:
        self._path, self._bytes = path, 0
        self._torn: OSError | None = None
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode_in(path.parent))
        except OSError as error:
            raise cannot_write(path, error) from error

    def append(self, line: object) -> None:
        """Add a line; where that fails, take back what was written of it, so that another may follow."""
        data = files.line_of(line)
        try:
            if self._torn:
                raise self._torn
            write_all(self._fd, data)
        except OSError as error:
            try:
                os.ftruncate(self._fd, self._bytes)
            except OSError:
                self._torn = error
            raise cannot_write(self._path, error) from error
        self._bytes += len(data)

    def close(self) -> None:
        """Close the file, which is when some file systems notice that they cannot keep it."""
        try:
            os.close(self._fd)
        except OSError as error:
            raise cannot_write(self._path, error) from error


def mode_in(folder: Path) -> int:
    """Return the mode of a new file in a directory: for the users who may enter that. Raises: OSError."""
    return os.stat(folder).st_mode & 0o666


def make(results: Path, name: str, at: Path | None = None, *, private: bool = False) -> tuple[Path, str]:
    """Make a new run directory, and return it with the time. Raises: ResultsError."""
    started = wall_clock()
    # The name is a slug already; checking again costs nothing and keeps ../ out for every caller.
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".") or "run"
    path = at or results / f"{started:%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(2)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(0o700 if private else 0o777)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path, started.isoformat(timespec="seconds")


def hold(path: Path) -> int:
    """Lock a directory until this process ends or closes the descriptor. Raises: UsageError when it is held."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(f"{path}: another loadgen is at work there; wait until it has ended, or end it") from None
    except OSError:
        pass  # some network file systems lock no directory, which is no reason not to measure
    return fd


def end_last_line(path: Path) -> None:
    """Make a file end with a whole line, so that one can be added: a kill may have left a part of one.

    Raises: ResultsError, UsageError.
    """
    text = stored.read(path)
    try:
        if text and not text.endswith(b"\n"):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                os.ftruncate(fd, text.rfind(b"\n") + 1)
            finally:
                os.close(fd)
    except OSError as error:
        raise cannot_write(path, error) from error


def not_ours(path: Path, kind: str, error: Exception) -> UsageError:
    """Return the refusal of a file that another program wrote, or another version of loadgen."""
    return UsageError(f"{path}: not {kind} of this version of loadgen ({error}); restore it, or run {SCENARIO} anew")


def replace_file(final: Path, text: str) -> None:
    """Write beside the old file and then over it, so that a full disk never costs what was there before.

    A directory from elsewhere may have a link to one of the user's files: that is replaced, never written through.
    """
    partial = final.with_name(f".{final.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode_in(final.parent))
        try:
            write_all(fd, text.encode())
        finally:
            os.close(fd)
        partial.rename(final)
    except OSError as error:
        with suppress(OSError):  # a disk that takes nothing may not give anything back, either
            partial.unlink()
        raise cannot_write(final, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes: write(2) may take only a part, for example on a nearly full disk."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def cannot_write(path: Path, error: OSError) -> ResultsError:
    """Return the error of a write that failed, with its remedy."""
    remedy = {
        errno.ENOSPC: "free some space there, or choose another directory with --out",
        errno.EDQUOT: "the quota is used up; choose another directory with --out",
        errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
        errno.EIO: "look for errors of the disk in the kernel's log (dmesg), or choose another directory with --out",
        errno.EROFS: "choose a directory you may write to with --out (docker run --volume)",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }.get(error.errno or 0, "choose a directory you may write to with --out")
    return ResultsError(f"cannot write {path}: {error.strerror}; {remedy}")


def read_text(path: Path) -> str:
    """Read a file of text; "" where there is none. Raises: UsageError."""
    try:
        return stored.read(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: {error}") from error


def read_object(path: Path, shape: type[_Shape], kind: str) -> _Shape | None:
    """Read one JSON object; None where the file is not there or empty. Raises: UsageError."""
    text = stored.read(path)
    try:
        return files.read(text, shape) if text else None
    except ValueError as error:
        raise not_ours(path, kind, error) from error


def read_all_lines(path: Path, shape: type[_Shape]) -> tuple[_Shape, ...]:
    """Read a whole file of JSON lines. Raises: UsageError."""
    found: list[_Shape] = []
    for number, line in read_lines(path, shape):
        if number > _LINES_MAX:
            raise UsageError(f"{path} has more than {_LINES_MAX:,} lines, so loadgen did not write it; remove it")
        found.append(line)
    return tuple(found)


def read_lines(path: Path, shape: type[_Shape]) -> Iterator[tuple[int, _Shape]]:
    """Yield each line of a file of JSON lines with its number; the last one may be torn. Raises: UsageError."""
    for number, text in enumerate(stored.lines(path), start=1):
        try:
            line = files.read(text, shape)
        except ValueError as error:
            if text.endswith(b"\n"):
                raise not_a_line(path, number, error) from error
            continue
        yield number, line


def not_a_line(path: Path, number: int, error: Exception) -> UsageError:
    """Return the refusal of a line that loadgen did not write."""
    problem = f"not a line of this version of loadgen ({error}); delete the line to do without it"
    return UsageError(f"{path}:{number}: {problem}")


class HeldDirectory:
    """A directory of several runs: a new one, or one to go on in, locked until `close`.

    No other loadgen can write there meanwhile.
    """

    def __init__(
        self, results: Path, name: str, at: Path | None = None, *, private: bool = False, lines: Sequence[str]
    ) -> None:
        """Make the directory under `results`, or go on in `at`.

        private: whether only this user may enter it; else it is as umask(2) says. lines: names of its files of lines,
        which a kill may have left torn.

        Raises: UsageError when another loadgen holds it; ResultsError when it cannot be written.
        """
        if at is None:
            self.path, self.started_at = make(results, name, private=private)
            self._lock = hold(self.path)
            return
        self.path, self.started_at = at, wall_clock().isoformat(timespec="seconds")
        self._lock = hold(at)
        for file in lines:
            end_last_line(at / file)

    def close(self) -> None:
        """Release the directory."""
        os.close(self._lock)


def set_aside(path: Path) -> Path | None:
    """Rename the directory of a run that was cut off, so that it can run again; return the new path, if any.

    Raises: ResultsError.
    """
    if not path.exists():
        return None
    count = 1
    while (aside := path.with_name(f"{path.name}.cut-{count}")).exists():
        count += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise cannot_write(aside, error) from error
    return aside


def append_line(path: Path, line: object) -> None:
    """Append one line of JSON to a file, which is made where it is not there. Raises: ResultsError."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        fd = os.open(path, flags, mode_in(path.parent))
        try:
            write_all(fd, files.line_of(line))
        finally:
            os.close(fd)
    except OSError as error:
        raise cannot_write(path, error) from error
