"""Archives and compressed files as streams that are read once, front to back, within bounds.

Nothing is written to disk, and nothing in an archive chooses what is opened: only plain members are read, through the
archive itself. What is decompressed is counted, so that an archive that grows without end is refused.

Sources: gzip (RFC 1952), xz (tukaani.org/xz/xz-file-format.txt), bzip2 and zstd by their first bytes; tar(5), ustar.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Self, cast

from typing_extensions import Buffer

from loadgen.errors import UsageError

#: Bytes that one archive may grow to, with all that is compressed in it.
GROWN_MAX: Final = 4 << 30
#: Bytes of a header that holds a long name.
_HEADER_MAX: Final = 1 << 20
#: Memory for the dictionary of xz, which its own files of the highest level need a quarter of.
_XZ_MEMORY: Final = 256 << 20
_BLOCK: Final = 1 << 20
_GZIP, _XZ, _BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"
#: Formats that the standard library has no reader for, with the command that unpacks them.
_OTHERS: Final = {
    b"\x28\xb5\x2f\xfd": "zstd: unpack it first (zstd -d)",
    b"PK\x03\x04": "zip: unpack it first (unzip)",
    b"7z\xbc\xaf\x27\x1c": "7z: unpack it first (7z x)",
}
#: The place and text of the mark of a tar header.
_USTAR: Final = (257, b"ustar")
_PEEKED: Final = 512
#: Not of sparse files, whose holes could be read for ever.
_PLAIN: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
#: Everything that the readers of the standard library raise on bytes that are none of their own.
BROKEN: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, UnicodeError, ValueError)


class _XzReader(io.RawIOBase):
    """Decompresses xz with a bound on its memory, which lzma.LZMAFile does not take."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decompressor = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a part of the buffer. Raises: lzma.LZMAError, EOFError."""
        place = memoryview(buffer)
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data or self._stream.read(_BLOCK)
                if not rest.strip(b"\0"):  # xz pads its streams with zeros
                    return 0
                self._decompressor = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
                given = rest
            else:
                given = self._stream.read(_BLOCK) if self._decompressor.needs_input else b""
                if not given and self._decompressor.needs_input:
                    raise EOFError("it ends too early")
            found = self._decompressor.decompress(given, len(place))
            if found:
                place[: len(found)] = found
                return len(found)


class Budget:
    """Bytes that an archive may still grow by. name: of the archive, for the message."""

    def __init__(self, name: str, left: int = GROWN_MAX) -> None:
        self._name, self._left = name, left

    def spend(self, count: int) -> None:
        """Count bytes. Raises: UsageError beyond the bound."""
        self._left -= count
        if self._left < 0:
            raise UsageError(
                f"{self._name}: it grows beyond {GROWN_MAX >> 30} GiB; unpack it, and give the files that matter"
            )


class _CountedStream(io.RawIOBase):
    """A stream that spends a budget."""

    def __init__(self, stream: BinaryIO | io.BufferedIOBase, budget: Budget) -> None:
        self._stream, self._budget = stream, budget

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a part of the buffer. Raises: UsageError beyond the bound."""
        place = memoryview(buffer)
        found = self._stream.read(len(place))
        self._budget.spend(len(found))
        place[: len(found)] = found
        return len(found)


def opened(stream: BinaryIO, name: str, budget: Budget) -> io.BufferedReader:
    """Return the stream decompressed if it is compressed, else as it is; its first bytes can be peeked at.

    Raises: UsageError for a format that cannot be read, and beyond the budget; OSError of the stream.
    """
    plain = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    head = plain.peek(_PEEKED)
    for mark, remedy in _OTHERS.items():
        if head.startswith(mark):
            raise UsageError(f"{name} is {remedy}")
    grown: BinaryIO | io.BufferedIOBase
    if head.startswith(_GZIP):
        grown = gzip.GzipFile(fileobj=plain)
    elif head.startswith(_XZ):
        grown = io.BufferedReader(_XzReader(plain))
    elif head.startswith(_BZIP2):
        grown = bz2.BZ2File(plain)
    else:
        return plain
    return io.BufferedReader(_CountedStream(grown, budget), _BLOCK)


class _BoundedInfo(tarfile.TarInfo):
    """A header of tar; tarfile would read a long name into memory, whatever its length."""

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        longer = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
        if self.type in (*longer, tarfile.SOLARIS_XHDTYPE) and self.size > _HEADER_MAX:
            raise tarfile.ReadError("a name of more than 1 MiB")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return] # made to be overridden, says tarfile.py


def is_tar(stream: io.BufferedReader) -> bool:
    """Return True if the stream begins with a header of tar. Raises: any of BROKEN, OSError."""
    place, mark = _USTAR
    return stream.peek(_PEEKED)[place : place + len(mark)] == mark


def members(stream: io.BufferedReader) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    """Yield each plain file of a tar with its content, which has to be read before the next one.

    Links, devices, directories and sparse files are passed over. Raises: any of BROKEN, OSError.
    """
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_BoundedInfo) as archive:
        for member in archive:
            if member.type in _PLAIN and (content := archive.extractfile(member)):
                yield member, cast(BinaryIO, content)
            archive.members = []  # type: ignore[attr-defined] # it would keep them all
