"""Damaged and hostile input, made of valid input by a few edits that a random number generator chooses.

The generator is the only source of chance: a `random.Random` with a seed repeats its edits, and that of hypothesis
also makes them fewer and simpler once one of them has broken a reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

#: Edits of one input at most.
EDITS_MAX: Final = 6
#: Bytes of an input at most: enough to show time that is not linear, few enough to try thousands.
SIZE_MAX: Final = 1 << 16

#: Numbers at the ends of what some type holds.
NUMBERS: Final = (
    "0",
    "-1",
    "1",
    "00",
    "010",
    "127",
    "128",
    "255",
    "256",
    "32767",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1" + "0" * 30,
    "1" * 5_000,  # int() refuses more than 4,300 digits
    "1e308",
    "1e309",
    "-1e309",
    "5e-324",
    "0.1",
    "-0",
    "-0.0",
    ".5",
    "1.",
    "1e",
    "0x1F",
    "0o17",
    "1_000",
    "nan",
    "NaN",
    ".nan",
    "inf",
    "Infinity",
    "-inf",
    ".inf",
    "\u0663",
    "\u00b2",
    "\uff11",
)
#: Texts that mean something to one reader or another.
WORDS: Final = (
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\x0b",
    "\x0c",
    "\x1b[2J",
    "\x85",
    "\xa0",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ufffd",
    "\U0001f980",
    "K\u212a\u0130\u0131\u00df",
    "null",
    "true",
    "none",
    "-",
    "--",
    "---\n",
    "...",
    "..",
    "../../x",
    "/",
    "\\",
    "\\u202e",
    "%",
    "%00",
    "%s",
    "%1$s",
    "{}",
    "{0}",
    "[]",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    "</script>",
    '"',
    "'",
    "`",
    ",",
    ":",
    ";",
    "=",
    "!",
    "!!python/object:os.system",
    "&a",
    "*a",
    "<<",
    "|",
    "? ",
    "#",
    "@",
    "$",
    "${env:HOME}",
    "::1",
    "::",
    "0.0.0.0",
    "127.0.0.1",
    "127.0.0.1:9000",
    "127.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "::ffff:8.8.8.8",
    "010.0.0.1",
    "fe80::1%eth0",
    "[::1]:80",
    "localhost",
    "1s",
    "0s",
    "1e9s",
    "100000000000000000000s",
    "50%",
    "eth0",
    "a" * 300,
    "x" * 70_000,
    "((((((((((",
    "0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
)
_BYTES: Final = (b"\0", b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xfe\xff", b"\xff\xfe", b"\xf4\x90\x80\x80")
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
#: What readers of text split at.
_PARTS: Final = re.compile(rb"\n|[ \t]+|[:,;=]")

_Edit = Callable[[bytes, Random, Sequence[bytes]], bytes]


def mutated(seeds: Sequence[bytes], random: Random, *, as_json: bool = False) -> bytes:
    """Return one of the seeds after up to EDITS_MAX edits, at most SIZE_MAX bytes unless the seed is longer.

    as_json: most edits are of values in it, so that what comes is JSON of an unexpected shape.
    """
    data = random.choice(seeds)
    room = max(SIZE_MAX, len(data))
    for _ in range(random.randint(0, EDITS_MAX)):
        if as_json and random.randint(0, 9):
            data = _of_json(data, random)
        else:
            data = random.choice(_EDITS)(data, random, seeds)
        data = data[:room]
    return data


def around(seeds: Sequence[bytes], random: Random) -> tuple[bytes, bytes, bytes]:
    """Return a seed in three parts, of which the middle one is to be repeated and is not empty."""
    data = random.choice(seeds)
    begin, end = _span(data, random)
    head, part, tail = data[:begin], data[begin:end], data[end:]
    if not part or random.randint(0, 1):
        part = random.choice(WORDS).encode() or b" "
    return head, part, tail if random.randint(0, 2) else b"\x7f!"


def _place(data: bytes, random: Random) -> int:
    return random.randint(0, len(data))


def _span(data: bytes, random: Random) -> tuple[int, int]:
    """Choose a part: a few bytes, or anything between two places where text is split."""
    at = _place(data, random)
    if random.randint(0, 1):
        return at, min(at + random.randint(0, 8), len(data))
    found = _PARTS.search(data, at)
    end = _PARTS.search(data, found.end()) if found else None
    return (found.end() if found else at), (end.end() if end else len(data))


def _flip(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randint(0, len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << random.randint(0, 7))]) + data[at + 1 :]


def _set(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    at = _place(data, random)
    return data[:at] + bytes([random.randint(0, 255)]) + data[at + 1 :]


def _delete(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    return data[:begin] + data[end:]


def _repeat(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    times = random.choice((2, 3, 10, 100, 10_000))
    room = max(SIZE_MAX - len(data), 0)
    part = data[begin:end]
    return data[:begin] + part * min(times, room // (len(part) or 1) + 1) + data[end:]


def _word(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    word = random.choice(WORDS).encode()
    return data[:begin] + word + data[begin if random.randint(0, 1) else end :]


def _bytes(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    at = _place(data, random)
    return data[:at] + random.choice(_BYTES) + data[at:]


def _number(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    found = _NUMBER.search(data, _place(data, random)) or _NUMBER.search(data)
    if not found:
        return data
    return data[: found.start()] + random.choice(NUMBERS).encode() + data[found.end() :]


def _binary_number(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    """Put an extreme number of 1 to 8 bytes over what is there, in either byte order."""
    at, width = _place(data, random), random.choice((1, 2, 4, 8))
    number = random.choice((0, 1, 3, 4, 7, 15, 16, 17, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    written = (number & ((1 << 8 * width) - 1)).to_bytes(width, random.choice(("little", "big")))
    return data[:at] + written + data[at + width :]


def _truncate(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    return data[: _place(data, random)]


def _splice(data: bytes, random: Random, seeds: Sequence[bytes]) -> bytes:
    """Go on with another seed from some place on."""
    other = random.choice(seeds)
    return data[: _place(data, random)] + other[_place(other, random) :]


def _move(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    rest = data[:begin] + data[end:]
    at = _place(rest, random)
    return rest[:at] + data[begin:end] + rest[at:]


def _nest(data: bytes, random: Random, _seeds: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"{a: ", b"}"), (b"<", b">")))
    depth = random.choice((1, 3, 30, 1_000, 10_000))
    return data[:begin] + opening * depth + data[begin:end] + closing * depth + data[end:]


_EDITS: Final[tuple[_Edit, ...]] = (
    _flip,
    _set,
    _delete,
    _repeat,
    _word,
    _bytes,
    _number,
    _binary_number,
    _truncate,
    _splice,
    _move,
    _nest,
)


# --- JSON -------------------------------------------------------------------------------------------


def _of_json(data: bytes, random: Random) -> bytes:
    """Change a value somewhere in JSON, or in a line of JSON lines; anything else is returned as it is."""
    lines = data.split(b"\n")
    at = random.randint(0, len(lines) - 1) if data.count(b"\n{") else -1
    text = lines[at] if at >= 0 else data
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return data
    change = _like if random.randint(0, 3) else _changed
    changed = json.dumps(change(whole, random)).encode(errors="surrogatepass")
    if at < 0:
        return changed
    lines[at] = changed
    return b"\n".join(lines)


def _changed(value: Any, random: Random) -> Any:
    """Go down to some value and change it, together with all that is on the way."""
    if isinstance(value, dict) and value and random.randint(0, 9):
        key = random.choice(sorted(value))
        changed = dict(value)
        match random.randint(0, 7):
            case 0:
                del changed[key]
            case 1:
                changed[random.choice((*WORDS, *NUMBERS))] = changed.pop(key)
            case _:
                changed[key] = _changed(value[key], random)
        return changed
    if isinstance(value, list) and value and random.randint(0, 9):
        at = random.randint(0, len(value) - 1)
        match random.randint(0, 7):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[: at + 1] * 2 + value[at:]
            case 2:
                return value[::-1]
            case _:
                return [*value[:at], _changed(value[at], random), *value[at + 1 :]]
    return _instead(value, random)


_INTEGERS: Final = (0, 1, 2, 99, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -1, -(2**63))
_FLOATS: Final = (0.0, -0.0, 0.5, 1e9, 1e18, 1e300, 5e-324, -1.5, float("nan"), float("inf"))


def _like(value: Any, random: Random) -> Any:
    """Return another value of the same type, or one with another value in it: a reader takes these, and goes on."""
    match value:
        case dict() if value:
            key = random.choice(sorted(value))
            return {**value, key: _like(value[key], random)}
        case list() if value:
            at = random.randint(0, len(value) - 1)
            return [*value[:at], _like(value[at], random), *value[at + 1 :]]
        case bool():
            return not value
        case int():
            return random.choice((*_INTEGERS, value + 1, value * 2))
        case float():
            return random.choice((*_FLOATS, value + 1, value * 2))
        case str():
            return random.choice((*WORDS, *NUMBERS, value + random.choice(WORDS)))
    return value


def _instead(value: Any, random: Random) -> Any:
    match random.randint(0, 4):
        case 0:
            return random.choice(WORDS)
        case 1:
            return random.choice(_INTEGERS)
        case 2:
            return random.choice(_FLOATS)
        case 3:
            return random.choice((None, True, False, [], {}, [[]], [None], {"": None}, [value], {"a": value}))
        case _:
            return [value] * random.choice((2, 50))
