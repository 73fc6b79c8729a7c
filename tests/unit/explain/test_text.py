"""Whatever bytes come, lines come out: numbered as in the file, harmless, and of bounded length."""

from __future__ import annotations

import io
import tracemalloc
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.explain import text


def lines(data: bytes) -> list[str]:
    return list(chain.from_iterable(text.lines(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"\x1b[31mESTAB\x1b[0m\x1b]0;title\x07 0", ["ESTAB 0"]),
        (b"\x1b]0;no end", [""]),
        (b"a\x00\x07\x7fb\tc", ["ab\tc"]),
        (b"> quoted\n>> twice\n > once\n>\n>=5", ["quoted", "twice", "once", "", "=5"]),
        (b">   indented\n> >\tin two", ["  indented", "\tin two"]),
        ("a\u00a0b\u2003c".encode(), ["a b c"]),
        ("a\u202eb\u200bc\ufeff\u0085".encode(), ["abc"]),
        (b"caf\xe9 \xff", ["caf\\xe9 \\xff"]),
        ("caf\u00e9\u2028x".encode(), ["caf\u00e9\u2028x"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        ("a\r\n\u00e9\n".encode("utf-16"), ["a", "\u00e9"]),
        (b"\xfe\xff" + "a\nb".encode("utf-16-be"), ["a", "b"]),
        ("a\nb".encode("utf-16-le"), ["a", "b"]),  # without a byte order mark, NULs are removed
        (b"\xff\xfea\x00\n\x00b", ["a", "\\x62"]),  # half a character at the end
    ],
)
@pytest.mark.parametrize("block", [3, 4, 7, 4 << 20])
def test_lines_of_any_encoding(data: bytes, expected: list[str], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the blocks that are read makes no difference, unless it cuts the byte order mark."""
    monkeypatch.setattr(text, "_BLOCK", block)
    assert lines(data) == expected


class LongLine(io.BytesIO):
    """Fifty megabytes of one line, which are never in memory, and a second one."""

    left = 50 << 20

    def read(self, size: int | None = -1) -> bytes:
        size = min(size or 0, self.left)
        self.left -= size
        return b"x" * size or super().read()


def test_a_line_of_fifty_megabytes_is_cut_and_takes_no_more_memory_than_a_block() -> None:
    tracemalloc.start()
    try:
        found = list(chain.from_iterable(text.lines(LongLine(b"\nnext"))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(line) for line in found] == [text.LINE_MAX, 4]
    assert peak < 20 << 20


def test_a_long_line_of_several_bytes_for_each_character() -> None:
    long = "\u20ac" * (text.LINE_MAX + 10)
    assert lines(f"{long}\nb".encode()) == [long[: text.LINE_MAX], "b"]


@given(st.binary(max_size=200), st.integers(4, 50))
@example(b"\n >x\r", 4)
@example(b"\x1b[\n31m", 4)
@example(b"\xc2\r\x80", 4)
def test_each_line_is_the_clean_one_of_its_number(data: bytes, block: int) -> None:
    """A block that is cleaned as a whole comes out as if each line were cleaned for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", block)
        found = lines(data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return
    expected = data.decode("utf-8", "backslashreplace").split("\n")
    if not expected[-1]:
        expected.pop()
    assert found == [text.clean(line) for line in expected]


@given(st.text(max_size=100).filter(lambda line: "\n" not in line))
def test_a_clean_line_drives_no_terminal(line: str) -> None:
    assert not set(text.clean(line)) & {*map(chr, range(9)), *map(chr, range(11, 32)), "\x7f", "\u202e", "\x9b"}
