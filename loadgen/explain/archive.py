"""Files, directories, tarballs and sosreports, each read into the evidence: the arguments of `loadgen explain`.

Of a sosreport those files are read that tell about connections (`loadgen.explain.sosreport`); of any other directory
or tarball all files. The name of a member is the file in each place. What is passed over although it could be evidence
is noted as unread, with the reason.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from loadgen.errors import UsageError
from loadgen.explain import archive_stream, reader, sosreport
from loadgen.explain.archive_stream import Budget
from loadgen.explain.evidence import CounterReading, Evidence, SysctlReading, Where
from loadgen.explain.sosreport import Content, EvidenceFile
from loadgen.format import on_one_line
from loadgen.kernel import sysctl_conf

#: Called with the name of each file before it is read.
Progress = Callable[[str], None]

#: Bytes of a member that is read; a file that is given by its own name may have any size.
MEMBER_MAX: Final = 1 << 30
#: Files of a directory or tarball that are read.
FILES_MAX: Final = 100_000
#: Bytes of a file with a single value.
_VALUE_MAX: Final = 1 << 16
_NAME_MAX: Final = 300
_PEEKED: Final = 8192
#: More control characters than this among the first bytes make a file binary: none that is text has any but a few.
_BINARY_SHARE: Final = 0.1
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b"))
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_GIVE: Final = "give files, directories or tarballs with what you have, or - for standard input"
#: The name of the value is in the path, also of a file that is given by itself.
_VALUES: Final = (Content.SYSCTL, Content.COUNT, Content.CONFIGURED)
_TOO_MANY: Final = f"it has more than {FILES_MAX:,} files; the others are not read"
_FROM_INPUT: Final = "-"


def read_all(evidence: Evidence, paths: Sequence[str], progress: Progress | None = None) -> None:
    """Read each of these paths into the evidence, in their order; "-" is standard input.

    progress: called with the name of each file before it is read.

    Raises: UsageError for a path that is not there, cannot be read, is a broken archive, or a directory or archive
        without a single file to read.
    """
    reading = _Reading(evidence, progress or (lambda _name: None))
    for path in paths:
        reading.read(path)
    reading.finish()


class _Reading:
    """The state of one call: what is configured, and namespaces that are kept apart."""

    def __init__(self, evidence: Evidence, progress: Progress) -> None:
        self._evidence, self._progress = evidence, progress
        self._configured: list[SysctlReading] = []
        self._apart: dict[str, str] = {}
        self._read = 0

    def read(self, path: str) -> None:
        """Read one argument. Raises: UsageError."""
        shown = _shown(path)
        try:
            if path == _FROM_INPUT:
                if sys.stdin is None:
                    raise UsageError(f"standard input is closed; {_GIVE}")
                self._file(sys.stdin.buffer, _FROM_INPUT)
            elif os.path.isdir(path):
                self._directory(path)
            else:
                with open(path, "rb") as stream:
                    member = sosreport.member(path, is_sos=False)
                    if member.content in _VALUES:
                        self._content(member, stream, shown)
                    else:
                        self._file(stream, shown)
        except FileNotFoundError:
            raise UsageError(f"{shown}: no such file; {_GIVE}") from None
        except archive_stream.BROKEN as error:
            raise _broken(shown, error) from error
        except OSError as error:
            raise UsageError(f"{shown}: {error.strerror or error}; {_GIVE}") from error

    def _file(self, stream: BinaryIO, name: str) -> None:
        budget = Budget(name)
        plain = archive_stream.opened(stream, name, budget)
        if archive_stream.is_tar(plain):
            self._tar(plain, name, budget)
            return
        self._text(plain, name)

    def _tar(self, stream: io.BufferedReader, name: str, budget: Budget) -> None:
        before = self._read
        is_sos = False
        for number, (found, content) in enumerate(archive_stream.members(stream)):
            is_sos = is_sos or sosreport.is_part(found.name)
            if number >= FILES_MAX:
                self._unread(name, _TOO_MANY)
                break
            member = self._wanted(found.name, found.size, is_sos=is_sos)
            if member:
                self._member(member, content, found.name, budget)
        if self._read == before:
            raise UsageError(f"{name}: an archive without a file that could be evidence; {_GIVE}")

    def _directory(self, path: str) -> None:
        before = self._read
        budget = Budget(_shown(path))
        is_sos = any(os.path.isdir(os.path.join(path, name)) for name in sosreport.FOLDERS)
        for number, found in enumerate(_files_below(path)):
            if number >= FILES_MAX:
                self._unread(_shown(path), _TOO_MANY)
                break
            try:
                member = self._wanted(str(found), found.stat().st_size, is_sos=is_sos)
                if member:
                    with _open(found) as stream:
                        self._member(member, stream, str(found), budget)
            except OSError as error:
                self._unread(_shown(str(found)), f"cannot be read: {error.strerror or error}")
        if self._read == before:
            raise UsageError(f"{_shown(path)}: a directory without a file that could be evidence; {_GIVE}")

    def _wanted(self, path: str, size: int, *, is_sos: bool) -> EvidenceFile | None:
        """Return how to read a file of a directory or archive; None: it is passed over."""
        member = sosreport.member(path, is_sos=is_sos)
        if member.content is Content.NOTHING:
            return None
        if member.content is Content.APART:
            self._apart.setdefault(member.name, _shown(path))
            return None
        if size > MEMBER_MAX:
            self._unread(_shown(path), f"larger than {MEMBER_MAX >> 30} GiB: give it by itself")
            return None
        return member

    def _member(self, member: EvidenceFile, stream: BinaryIO, path: str, budget: Budget) -> None:
        """Read a file of a directory or archive. Raises: OSError of the stream; any of BROKEN of the archive."""
        name = _shown(path)
        if not _is_compressed(path):
            self._content(member, stream, name)
            return
        try:
            with archive_stream.opened(stream, name, budget) as plain:
                self._content(member, plain, name)
        except archive_stream.BROKEN as error:
            self._unread(name, f"cannot be decompressed: {on_one_line(str(error))[:100]}")

    def _content(self, member: EvidenceFile, stream: BinaryIO, name: str) -> None:
        where = Where(name, 1)
        if member.content is Content.SYSCTL:
            value = _value(stream)
            if value is not None:
                self._evidence.sysctls.append(SysctlReading(member.name, value, where))
                self._read += 1
        elif member.content is Content.COUNT:
            value = _value(stream) or ""
            if value.isascii() and value.isdecimal() and len(value) < 20:
                self._evidence.counters.append(CounterReading(member.name, int(value), "now", where))
                self._read += 1
        elif member.content is Content.CONFIGURED:
            for number, line in enumerate(stream.read(_VALUE_MAX).decode(errors="replace").splitlines(), 1):
                self._configured += [
                    SysctlReading(one.name, one.value, Where(name, number))
                    for one in sysctl_conf.parse(line, name, number)
                ]
            self._read += 1
        else:
            self._text(_peekable(stream), name, is_log=member.content is Content.LOG)

    def _text(self, stream: io.BufferedReader, name: str, *, is_log: bool = False) -> None:
        self._progress(name)
        self._read += 1
        if _is_binary(stream.peek(_PEEKED)[:_PEEKED]):
            self._unread(name, "binary, not text")
            return
        before, more = len(self._evidence.unread), self._evidence.more_unread
        reader.read(self._evidence, stream, name)
        if is_log:  # most of a log is about other things
            self._evidence.unread[before:] = [one for one in self._evidence.unread[before:] if one.why]
            self._evidence.more_unread = more

    def finish(self) -> None:
        """Take settings from files where nothing shows the value in force, and name what was kept apart."""
        shown = {one.name for one in self._evidence.sysctls}
        self._evidence.sysctls += [one for one in self._configured if one.name not in shown]
        for namespace, name in self._apart.items():
            self._unread(name, f"network namespace {namespace} is another one: give its files by themselves")

    def _unread(self, name: str, why: str) -> None:
        self._evidence.note_unread(name, 0, 0, why)


def _shown(name: str) -> str:
    """Return a name that is safe to print, as Python has it when its bytes are no UTF-8."""
    return on_one_line(name.encode(errors="backslashreplace").decode())[:_NAME_MAX]


def _broken(name: str, error: Exception) -> UsageError:
    why = on_one_line(str(error))[:100]
    return UsageError(f"{name}: a broken archive ({why}); copy it again, or unpack it and give the directory")


def _peekable(stream: BinaryIO) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))


def _files_below(path: str) -> Iterator[Path]:
    """Yield the plain files below a directory in the order of their names; links are not followed."""
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            found = Path(folder, name)
            try:
                if stat.S_ISREG(found.lstat().st_mode):
                    yield found
            except OSError:
                continue


def _open(path: Path) -> BinaryIO:
    # A file of /proc or /sys may wait for an event for ever.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _value(stream: BinaryIO) -> str | None:
    """Return the single value of a file with single spaces; None if there is more in it than a value."""
    text = stream.read(_VALUE_MAX + 1)
    if len(text) > _VALUE_MAX or b"\n" in text.strip():
        return None
    return " ".join(on_one_line(text.decode(errors="replace").replace("\t", " ").strip()).split())


def _is_binary(head: bytes) -> bool:
    if not head or head.startswith(_UTF_16):
        return False
    return len(head) - len(head.translate(None, _CONTROLS)) > len(head) * _BINARY_SHARE


def _is_compressed(path: str) -> bool:
    return bool(re.search(r"\.(?:gz|xz|bz2)$", path))
