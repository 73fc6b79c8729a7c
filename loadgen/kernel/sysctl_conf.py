"""Lines of the files that set kernel settings at boot: sysctl.d(5), and /etc/sysctl.conf of sysctl(8).

A file hides one of the same name in a later directory, so that /etc overrides what packages ship. Of several lines for
one setting the last counts, files in the order of their names. /etc/sysctl.conf is read by `sysctl --system`, after
those; systemd reads it where a link in /etc/sysctl.d points to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DIRECTORIES: Final = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d")
_LAST: Final = "etc/sysctl.conf"


@dataclass(frozen=True, slots=True)
class SysctlLine:
    """One setting of a file. number: of the line, from 1. name: dotted. value: with single spaces."""

    file: str
    number: int
    name: str
    value: str

    @property
    def place(self) -> str:
        """The place of the line, as compilers write it: /etc/sysctl.conf:12."""
        return f"{self.file}:{self.number}"


def read(root: Path = Path("/")) -> tuple[SysctlLine, ...]:
    """Return the lines in the order in which they take effect; files that are missing or closed to us have none."""
    by_name: dict[str, Path] = {}
    for directory in _DIRECTORIES:
        for file in sorted(_listed(root / directory)):
            by_name.setdefault(file.name, file)
    files = [by_name[name] for name in sorted(by_name)]
    seen = {file.resolve() for file in files}
    last = root / _LAST
    if last.resolve() not in seen:
        files.append(last)
    return tuple(line for file in files for line in _lines(file, root))


def _listed(directory: Path) -> list[Path]:
    try:
        return [file for file in directory.iterdir() if file.suffix == ".conf"]
    except OSError:
        return []


def _lines(file: Path, root: Path) -> Iterator[SysctlLine]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    shown = f"/{file.relative_to(root)}"
    for number, line in enumerate(text.splitlines(), 1):
        yield from parse(line, shown, number)


def parse(line: str, file: str, number: int) -> Iterator[SysctlLine]:
    """Yield the setting of a line, if it has one.

    Comments begin with # or ;. A name may be written with slashes, and begin with -, by which errors are ignored.
    """
    name, equals, value = line.strip().partition("=")
    name = name.strip().removeprefix("-").strip()
    if not equals or not name or name[0] in "#;":
        return
    yield SysctlLine(file, number, dotted(name), " ".join(value.split()))


def dotted(name: str) -> str:
    """Return a name with dots between its parts; where a slash comes first, dots belong to a part (sysctl.d(5))."""
    slash, dot = name.find("/"), name.find(".")
    return name.replace("/", ".") if slash >= 0 and (dot < 0 or slash < dot) else name
