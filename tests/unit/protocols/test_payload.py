"""Payloads of a scenario: escapes, files, and the three criteria of a reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocols.payload import SIZE_MAX, Payload, escaped, unescaped


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"PING\r\n", b"PING\r\n"),
        ("PING\r\n", b"PING\r\n"),
        (r"\x00\xfF\t\0\\n", b"\x00\xff\t\0\\n"),
        ("grün", "grün".encode()),
        ("", b""),
    ],
)
def test_escapes_are_those_of_c(text: str, data: bytes) -> None:
    assert unescaped(text) == data


@pytest.mark.parametrize("text", [r"\q", r"\x1", r"\xgg", "end\\", "\\\n"])
def test_any_other_backslash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="for a backslash"):
        unescaped(text)


@given(st.binary())
def test_any_bytes_can_be_escaped(data: bytes) -> None:
    assert escaped(data).isascii()
    assert escaped(data).isprintable()
    assert unescaped(escaped(data)) == data


def test_the_request_is_constant_and_may_be_empty() -> None:
    assert [Payload(send=r"a\n", expect="b").request(number) for number in range(3)] == [b"a\n"] * 3
    assert Payload(expect="b").request(0) == b""


@pytest.mark.parametrize(
    ("options", "received", "answer"),
    [
        ({"expect": r"+PONG\r\n"}, b"+PO", None),
        ({"expect": r"+PONG\r\n"}, b"+PONG\r\n", True),
        ({"expect": r"+PONG\r\n"}, b"+PONG\r\nmore", True),
        ({"expect": r"+PONG\r\n"}, b"-", False),
        ({"expect": r"+PONG\r\n"}, b"+PONG\n\r", False),
        ({"expect_regex": r"^220 \w+"}, b"220 ", None),
        ({"expect_regex": r"^220 \w+"}, b"220 mail", True),
        ({"expect_regex": r"\r\n$"}, b"anything\r\n", True),
        ({"expect_length": 4}, b"123", None),
        ({"expect_length": 4}, b"12345", True),
    ],
)
def test_a_reply_is_right_wrong_or_incomplete(options: dict[str, Any], received: bytes, answer: bool) -> None:
    assert Payload(**options).reply(b"", received) is answer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one"),
        ({"expect": "a", "expect_length": 1}, "exactly one"),
        ({"send": "a", "send_file": "b", "expect": "c"}, "either send or send_file"),
        ({"expect": ""}, "expect 1 to"),
        ({"expect_length": 0}, "expect_length from 1"),
        ({"expect_length": SIZE_MAX + 1}, "expect_length from 1"),
        ({"expect_regex": "("}, "not a regular expression"),
        ({"send": r"\q", "expect": "a"}, "for a backslash"),
        ({"send": "x" * (SIZE_MAX + 1), "expect": "a"}, "at most 1,048,576 bytes"),
        ({"send_file": "/nowhere/at/all", "expect": "a"}, "cannot be read .No such file"),
        ({"send_file": "\0", "expect": "a"}, "cannot be read"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Payload(**options)


def test_the_bytes_of_a_file_replace_its_name(tmp_path: Path) -> None:
    file = tmp_path / "request"
    file.write_bytes(bytes(range(256)))
    made = Payload(send_file=str(file), expect_length=1)
    file.unlink()
    carried = made.carried()
    assert set(carried) == {"send", "expect_length"}
    assert Payload(**carried).request(0) == made.request(0) == bytes(range(256))


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "request"
    file.write_bytes(bytes(SIZE_MAX))
    assert len(Payload(send_file=str(file), expect="a").request(0)) == SIZE_MAX
    file.write_bytes(bytes(SIZE_MAX + 1))
    with pytest.raises(ValueError, match="at most 1,048,576 bytes"):
        Payload(send_file=str(file), expect="a")
