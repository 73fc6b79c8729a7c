"""Values that are used and never written: a type that shows its mask, and the removal of known values from texts.

A `Secret` stands in the options of a protocol where a scenario has `${env:NAME}`, `${file:PATH}`, or a text that looks
like a credential. Code that prints, formats or encodes it gets what may be shown; the value itself leaves it by
`revealed` alone, which `Traffic.filled` calls for the code that sends it. Messages of libraries may repeat a value, so
what goes to stderr and to files of details passes through `scrubbed` as well.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final, final
from urllib.parse import quote

#: Stands for a value that is not shown.
MASK: Final = "***"
#: Shorter texts are not looked for in messages: they stand in ordinary words.
_SOUGHT_MIN: Final = 6

#: Values in this process, in each way they may be written.
_sought: set[str] = set()
#: Environment variables that hold values.
_variables: set[str] = set()


@final
class Secret:
    """A text with a part that is not to be written. Neither a str nor a dataclass, both of which encoders write out."""

    __slots__ = ("_parts", "_shown", "_value")

    def __init__(self, shown: str, value: str, parts: tuple[str, ...]) -> None:
        """shown: what may be written in its place. parts: those parts of the value that are not to be written."""
        self._shown, self._value, self._parts = shown, value, parts
        for part in parts:
            _seek(part)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Secret({self._shown!r})"

    def __format__(self, spec: str) -> str:
        return format(self._shown, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._shown, self._value) == (other._shown, other._value)

    def __hash__(self) -> int:
        return hash((self._shown, self._value))

    def __reduce__(self) -> tuple[type[Secret], tuple[str, str, tuple[str, ...]]]:
        # Workers get it in a message, in memory; there it has to be known to `scrubbed` again.
        return Secret, (self._shown, self._value, self._parts)

    def reveal(self) -> str:
        """Return the value."""
        return self._value


def revealed(value: Any) -> Any:
    """Return a copy of a plain value, with the value of each secret in it."""
    if isinstance(value, dict):
        return {key: revealed(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [revealed(inner) for inner in value]
    return value.reveal() if isinstance(value, Secret) else value


def are_in(value: Any) -> bool:
    """Return whether a plain value has a secret in it."""
    if isinstance(value, dict):
        return any(map(are_in, value.values()))
    return any(map(are_in, value)) if isinstance(value, (list, tuple)) else isinstance(value, Secret)


def encoded(value: object) -> str:
    """Return what an encoder of JSON is to write of a secret. Raises: NotImplementedError for any other type."""
    if isinstance(value, Secret):
        return str(value)
    raise NotImplementedError(f"objects of type {type(value).__name__} are not written")


def scrubbed(text: str) -> str:
    """Return a text with a mask in place of every value known to this process."""
    for value in sorted(_sought, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def held_by(variable: str) -> None:
    """Note that an environment variable holds a value."""
    _variables.add(variable)


def environment() -> dict[str, str]:
    """Return the environment for processes started from here, without the variables that hold values."""
    return {name: value for name, value in os.environ.items() if name not in _variables}


def _seek(value: str) -> None:
    if len(value) >= _SOUGHT_MIN:
        _sought.update((value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value), quote(value, safe="")))
