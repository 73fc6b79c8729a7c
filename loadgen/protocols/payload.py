"""Payload: bytes and the expected reply given in the scenario, for text protocols without a module of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

#: Maximum size of the request, and of the expected reply.
SIZE_MAX: Final = 1 << 20
_SIMPLE: Final = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([rnt0\\])|(.?))", re.DOTALL)


def unescaped(text: str) -> bytes:
    r"""Return text as UTF-8 bytes, with \r \n \t \0 \\ and \xNN as in C. Raises: ValueError for other escapes."""
    result, end = bytearray(), 0
    for escape in _ESCAPE.finditer(text):
        result += text[end : escape.start()].encode()
        digits, simple, unknown = escape.groups()
        if unknown is not None:
            raise ValueError(rf"write \r, \n, \t, \0, \xNN, or \\ for a backslash, instead of \{unknown}")
        result += bytes.fromhex(digits) if digits else _SIMPLE[simple]
        end = escape.end()
    return bytes(result + text[end:].encode())


def escaped(data: bytes) -> str:
    """Return the text from which `unescaped` makes these bytes."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
class Payload:
    r"""One constant request, and the criterion of the right reply.

    send: text with \r \n \t \0 \xNN; or send_file: a file with the bytes, up to 1 MiB; neither: the other side
    speaks first.
    expect: beginning of the reply, text as in `send`; or expect_regex: Python regular expression found in the reply;
    or expect_length: its number of bytes. Exactly one of the three.

    The file is read by the constructor. Raises: ValueError if it cannot be read, or the options contradict each other.
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
        if sum(option is not None for option in (self.expect, self.expect_regex, self.expect_length)) != 1:
            raise ValueError("write exactly one of expect, expect_regex and expect_length")
        sent = _of_file(self.send_file) if self.send_file is not None else unescaped(self.send or "")
        if len(sent) > SIZE_MAX:
            raise ValueError(f"send at most {SIZE_MAX:,} bytes, these are {len(sent):,}")
        object.__setattr__(self, "_sent", sent)
        object.__setattr__(self, "_reply", self._criterion())

    def request(self, number: int) -> bytes:  # noqa: ARG002  # always the same
        """Return the request."""
        return self._sent

    def reply(self, request: bytes, received: bytes) -> bool | None:  # noqa: ARG002  # known from the start
        """Return True for the right reply, False for a wrong one, None while it is incomplete."""
        answer: bool | None = self._reply(received)
        return answer

    def carried(self) -> dict[str, Any]:
        """Return the options with the bytes of the file in place of its name."""
        options = {option.name: getattr(self, option.name) for option in fields(self) if option.init}
        if self.send_file is not None:
            options |= {"send": escaped(self._sent), "send_file": None}
        return {name: option for name, option in options.items() if option is not None}

    def _criterion(self) -> Any:
        if self.expect is not None:
            expected = unescaped(self.expect)
            if not 1 <= len(expected) <= SIZE_MAX:
                raise ValueError(f"expect 1 to {SIZE_MAX:,} bytes")
            return partial(_begins, expected)
        if self.expect_regex is not None:
            try:
                return partial(_has, re.compile(self.expect_regex.encode()))
            except re.error as error:
                raise ValueError(f"expect_regex is not a regular expression: {error}") from None
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
    """Read a file, up to one byte more than is permitted. Raises: ValueError with the reason."""
    try:
        with Path(name).open("rb") as file:
            return file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"send_file {name} cannot be read ({reason}); check path and permissions") from None
