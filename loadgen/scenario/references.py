"""`${env:NAME}` and `${file:PATH}` in the options of a protocol: found, and filled in from outside the scenario.

A text is filled in when it has been read as YAML, so that a value can be no part of the file's structure, and once:
a value that holds `${` itself is sent as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from loadgen import secret
from loadgen.regular_file import opened

BYTES_MAX: Final = 64 * 1024
#: `$${` stands for `${`; what is neither that nor a reference is refused rather than sent as it is written.
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?:(?P<source>env|file):(?P<name>[^{}]*)\})?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def has_reference(text: str) -> bool:
    """Return whether a text has a reference, or something that looks like one and is refused."""
    return any(match[0] != "$${" for match in _REFERENCE.finditer(text))


def filled(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text with its references filled in, and the values.

    Raises: ValueError, with the name and the remedy, where there is no such value.
    """
    parts: list[str] = []
    values: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[0] == "$${":
            parts.append("${")
            continue
        values.append(_value(match["source"], match["name"]))
        parts.append(values[-1])
    return "".join((*parts, text[end:])), tuple(values)


def _value(source: str | None, name: str) -> str:
    if source is None:
        raise ValueError("write ${env:NAME} or ${file:PATH}; $${ stands for ${ itself")
    value = _of_variable(name) if source == "env" else _of_file(name)
    if not value:
        raise ValueError(f"${{{source}:{name}}} is empty; give it a value")
    if len(value) > BYTES_MAX:
        raise _too_long(f"${{{source}:{name}}}")
    return value


def _of_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("write the name of an environment variable, ${env:NAME}: letters, digits and underscores")
    value = os.environ.get(name)
    if value is None:
        raise ValueError(f"the environment variable {name} is not set; set it, {name}=... loadgen run")
    secret.held_by(name)
    try:
        value.encode()
    except UnicodeEncodeError:  # PEP 383: bytes that could not be decoded
        raise ValueError(f"the environment variable {name} is not UTF-8; give it a value that is") from None
    return value


def _of_file(name: str) -> str:
    """Return the text of a regular file without the line break at its end."""
    try:
        with opened(Path(name)) as file:
            data = file.read(BYTES_MAX + 3)  # a line break more, and one byte
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"the file {name} cannot be read ({reason}); check path and permissions") from None
    if len(data) > BYTES_MAX + 2:
        raise _too_long(f"${{file:{name}}}")
    try:
        return re.sub(r"\r?\n\Z", "", data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"the file {name} is not UTF-8 at byte {error.start}; give one that is") from None


def _too_long(reference: str) -> ValueError:
    return ValueError(f"{reference} is longer than {BYTES_MAX // 1024} KiB; give a shorter value")
