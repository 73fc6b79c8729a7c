"""Compressed files and tarballs are read once, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.errors import UsageError
from loadgen.explain import archive_stream
from loadgen.explain.archive_stream import BROKEN, Budget, is_tar, members, opened

TEXT = b"State Recv-Q Send-Q\n" * 500


def read(body: bytes, budget: Budget | None = None) -> bytes:
    return opened(io.BytesIO(body), "file", budget or Budget("file")).read()


def tarball(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return made.getvalue()


@pytest.mark.parametrize(
    "body",
    [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]), bz2.compress(TEXT)],
    ids=["plain", "gzip", "gzip-in-two-parts", "bzip2"],  # an archive has its time in it, and would name the test
)
def test_a_file_is_the_same_however_it_is_compressed(body: bytes) -> None:
    assert read(body) == TEXT


def test_xz_with_several_streams_and_padding() -> None:
    assert read(lzma.compress(TEXT[:100]) + lzma.compress(TEXT[100:]) + bytes(8)) == TEXT


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
def test_what_grows_beyond_the_bound_is_refused(compress: object) -> None:
    assert callable(compress)
    with pytest.raises(UsageError, match="file: it grows beyond 4 GiB; unpack it"):
        read(compress(bytes(1 << 22)), Budget("file", 1 << 20))


def test_a_dictionary_larger_than_the_memory_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_stream, "_XZ_MEMORY", 1 << 20)
    with pytest.raises(lzma.LZMAError):
        read(lzma.compress(TEXT, preset=9))


@pytest.mark.parametrize(
    ("body", "remedy"),
    [(b"PK\x03\x04rest", "unzip"), (b"\x28\xb5\x2f\xfdrest", "zstd -d"), (b"7z\xbc\xaf\x27\x1c", "7z x")],
    ids=["zip", "zstd", "7z"],
)
def test_other_formats_are_refused_with_the_command(body: bytes, remedy: str) -> None:
    with pytest.raises(UsageError, match=f"unpack it first \\({remedy}\\)"):
        read(body)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_an_archive_that_is_cut_off_is_broken(compress: object) -> None:
    assert callable(compress)
    body = compress(tarball(a=TEXT, b=TEXT))
    stream = opened(io.BytesIO(body[: len(body) * 2 // 3]), "file", Budget("file"))
    with pytest.raises(BROKEN):
        [content.read() for _, content in members(stream)]


def test_links_devices_and_sparse_files_are_passed_over() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"kind-{kind!r}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        plain = tarfile.TarInfo("../../plain")
        plain.size = 3
        archive.addfile(plain, io.BytesIO(b"abc"))
    found = [(info.name, content.read()) for info, content in members(io.BufferedReader(io.BytesIO(made.getvalue())))]
    assert found == [("../../plain", b"abc")]


def test_a_name_of_gigabytes_is_not_read() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    with pytest.raises(tarfile.ReadError, match="more than 1 MiB"):
        list(members(io.BufferedReader(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240)))))


@settings(max_examples=100)
@given(st.data())
def test_any_bytes_are_read_or_broken(data: st.DataObject) -> None:
    """Also those of a tarball in which a few bytes are others."""
    body = bytearray(data.draw(st.sampled_from([tarball(a=b"abc", b=b"x" * 600), gzip.compress(tarball(a=b"abc"))])))
    for _ in range(data.draw(st.integers(0, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        stream = opened(io.BytesIO(bytes(body)), "file", Budget("file", 1 << 24))
        if is_tar(stream):
            assert all(len(content.read(1 << 20)) <= 1 << 20 for _, content in members(stream))
    except (*BROKEN, OSError, UsageError):
        pass
