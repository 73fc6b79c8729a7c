"""Readers of evidence that people paste, and of the text of strace."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console

from loadgen.errors import UsageError
from loadgen.explain import archive, judge, plain, reader, reproduced
from loadgen.explain.case import Case
from loadgen.explain.evidence import Evidence
from loadgen.reproduce import writing
from loadgen.scenario import parse_cells
from loadgen.trace.follow import Follower
from loadgen.trace.strace import StraceLines
from loadgen.views.text import explain as view
from tests.fuzz.reader import Reader

_TESTS: Final = Path(__file__).parents[2]


@cache
def _pasted() -> Sequence[bytes]:
    captured = [file for file in sorted((_TESTS / "data/explain").rglob("*")) if file.is_file()]
    cases = sorted((_TESTS / "evidence").glob("*/*.txt"))
    # The beginning and the end of a file, whole lines of it; long files say the same again and again.
    return [part for file in (*captured, *cases) for part in _ends(file.read_bytes())]


def _ends(data: bytes) -> Sequence[bytes]:
    lines = data.splitlines(keepends=True)
    return [data] if len(lines) <= 30 else [b"".join(lines[:20]), b"".join(lines[-10:])]


def _evidence(data: bytes) -> object:
    found = Evidence()
    reader.read(found, io.BytesIO(data), "-")
    count = data.count(b"\n") + 1
    places = [(one.first, one.last) for one in found.pieces]
    assert all(1 <= first <= last <= count for first, last in places)
    assert all(before[1] < after[0] for before, after in pairwise(places)), "a line in two pieces"
    _answered(found)
    return found


def _answered(found: Evidence) -> None:
    """Answer as `loadgen explain` does, in text, in JSON and as a scenario, which has to be a valid one."""
    explanation = judge.explain(found)
    plain.as_json(explanation)
    view.render(explanation, Console(file=io.StringIO(), width=100))
    case = Case(found)
    for one in judge.judge(case)[:1]:
        try:
            text = writing.write(reproduced.circumstances_of(case, one), full_size=False)
        except UsageError:
            continue
        parse_cells(text)


def _tarball(members: Sequence[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def _archives() -> Sequence[bytes]:
    listing = (_TESTS / "data/explain/sockets/iproute2-6.1-tan.txt").read_bytes()[:600]
    plain_one = _tarball([("a/ss.txt", listing), ("a/b.gz", gzip.compress(listing, mtime=0)), ("a/" + "n" * 120, b"x")])
    of_sos = _tarball(
        [
            ("sos/proc/sys/net/ipv4/ip_local_port_range", b"32768\t60999\n"),
            ("sos/sos_commands/networking/ss_-peaonmi", listing),
            ("sos/etc/sysctl.conf", b"net.ipv4.tcp_tw_reuse = 1\n"),
            ("sos/sos_commands/networking/namespaces/blue/ss_-peaonmi", listing),
        ]
    )
    return [
        plain_one,
        of_sos,
        gzip.compress(plain_one, mtime=0),
        lzma.compress(of_sos),
        bz2.compress(plain_one),
        lzma.compress(listing),
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
        listing.decode().encode("utf-16"),
    ]


def _archive(data: bytes) -> object:
    found = Evidence()
    with tempfile.NamedTemporaryFile(prefix="loadgen-fuzz-", suffix=".tar") as file:
        file.write(data)
        file.flush()
        archive.read_all(found, [file.name])
    _answered(found)
    return found


def _traces() -> Sequence[bytes]:
    return [
        part for file in sorted((_TESTS / "data/explain/strace").glob("*.txt")) for part in _ends(file.read_bytes())
    ]


def _strace(data: bytes) -> object:
    lines, follower = StraceLines(), Follower(whole=True)
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if call := lines.read(line, number):
            follower.follow(call)
    return follower.ways, follower.services, follower.left_out, follower.rings


READERS: Final = (
    Reader("evidence", _evidence, _pasted, bytes_free=64 << 20, bytes_per_byte=2_000, tries=20),
    Reader("archive", _archive, _archives, (UsageError,), bytes_free=300 << 20, tries=60),
    Reader("strace", _strace, _traces, tries=150),
)
