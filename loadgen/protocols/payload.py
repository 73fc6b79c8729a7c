"""Bytes that a scenario writes down, and how to know the reply: for text protocols without a module of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

#: The most that is sent, and the longest reply that can be expected.
SIZE_MAX: Final = 1 << 20
_SIMPLE: Final = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([rnt0\\])|(.?))", re.DOTALL)


def unescaped(text: str) -> bytes:
    r"""Text as bytes (UTF-8), with \r \n \t \0 \\ and \xNN as in C. Raises: ValueError for any other backslash."""
    found, end = bytearray(), 0
    for escape in _ESCAPE.finditer(text):
        found += text[end : escape.start()].encode()
        digits, simple, unknown = escape.groups()
        if unknown is not None:
            raise ValueError(rf"write \r, \n, \t, \0, \xNN, or \\ for a backslash, instead of \{unknown}")
        found += bytes.fromhex(digits) if digits else _SIMPLE[simple]
        end = escape.end()
    return bytes(found + text[end:].encode())


def escaped(data: bytes) -> str:
    """Bytes as the plain text of which `unescaped` makes them."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
class Payload:
    r"""One request, always the same, and what the reply has to be.

    send: text with \r \n \t \0 \xNN; send_file: or the file that has it, up to 1 MiB; neither: the other side
    speaks first.
    expect: how the reply begins, text as in `send`; expect_regex: or a regular expression of Python that is found
    in it; expect_length: or how many bytes it has. Exactly one of them.

    The file is read when this is made. Raises: ValueError when that cannot be done, or the options do not agree.
    """

    send: str | None = None
    send_file: str | None = None
    expect: str | None = None
    expect_regex: str | None = None
    expect_length: int | None = None
    _sent: bytes = field(init=False, repr=False, compare=False)
    _reply: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.send is not None and self.send_file is not None:
            raise ValueError("write either send or send_file")
        if sum(way is not None for way in (self.expect, self.expect_regex, self.expect_length)) != 1:
            raise ValueError("write exactly one of expect, expect_regex and expect_length")
        sent = _of_file(self.send_file) if self.send_file is not None else unescaped(self.send or "")
        if len(sent) > SIZE_MAX:
            raise ValueError(f"send at most {SIZE_MAX:,} bytes, these are {len(sent):,}")
        object.__setattr__(self, "_sent", sent)
        object.__setattr__(self, "_reply", self._way())

    def request(self, number: int) -> bytes:  # noqa: ARG002  # always the same
        """What there is to send."""
        return self._sent

    def reply(self, request: bytes, received: bytes) -> bool | None:  # noqa: ARG002  # known from the start
        """Whether it begins so, has that in it, or is long enough."""
        answer: bool | None = self._reply(received)
        return answer

    def carried(self) -> dict[str, Any]:
        """The options with the bytes of the file in place of its name."""
        options = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        if self.send_file is not None:
            options |= {"send": escaped(self._sent), "send_file": None}
        return {name: option for name, option in options.items() if option is not None}

    def _way(self) -> Any:
        if self.expect is not None:
            expected = unescaped(self.expect)
            if not 1 <= len(expected) <= SIZE_MAX:
                raise ValueError(f"expect 1 to {SIZE_MAX:,} bytes")
            return partial(_begins, expected)
        if self.expect_regex is not None:
            try:
                return partial(_has, re.compile(self.expect_regex.encode()))
            except re.error as error:
                raise ValueError(f"expect_regex is no regular expression: {error}") from None
        assert self.expect_length is not None
        if not 1 <= self.expect_length <= SIZE_MAX:
            raise ValueError(f"write an expect_length from 1 to {SIZE_MAX:,}")
        return partial(_reaches, self.expect_length)


def _begins(expected: bytes, received: bytes) -> bool | None:
    if len(received) >= len(expected):
        return received.startswith(expected)
    return None if expected.startswith(received) else False


def _has(expected: re.Pattern[bytes], received: bytes) -> bool | None:
    return True if expected.search(received) else None


def _reaches(expected: int, received: bytes) -> bool | None:
    return True if len(received) >= expected else None


def _of_file(name: str) -> bytes:
    """Up to one byte more than is allowed. Raises: ValueError in one sentence."""
    try:
        with Path(name).open("rb") as file:
            return file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"send_file {name} cannot be read ({reason}); check path and permissions") from None
