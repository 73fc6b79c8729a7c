"""The release of the kernel: a line of `uname -a`, /proc/version, or what dmesg begins with.

Source: uname(1); proc_version(5).
"""

from __future__ import annotations

import re
from typing import Final

from loadgen.explain.evidence import Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines

_UNAME: Final = re.compile(r"\s{0,8}Linux \S+ (?P<release>[0-9]+\.[0-9]+(?:[^\s0-9]\S*)?) #[0-9]+(?:[^\s0-9]\S*)? .*")
_PROC_VERSION: Final = re.compile(r"(?:\[ *0\.000000\] )?Linux version (?P<release>[0-9]+\.[0-9]+(?:[^\s0-9]\S*)?) .*")


def _release(line: str) -> str:
    found = _UNAME.fullmatch(line) or _PROC_VERSION.fullmatch(line)
    return found["release"] if found else ""


class _KernelVersionReader(ReadingLines):
    what = "uname -a"

    def take(self, line: str, where: Where) -> bool:  # noqa: ARG002 - the place of a release is no evidence
        """See `LineReader`."""
        release = _release(line)
        if release:
            self.evidence.kernel = release
        return bool(release)


KERNEL_VERSION: Final = Format(
    "uname",
    "`uname -a`, /proc/version",
    lambda line: bool(_release(line)),
    _KernelVersionReader,
    heads=frozenset("L["),
)
