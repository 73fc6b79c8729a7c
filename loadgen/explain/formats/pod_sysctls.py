"""Sysctls of a pod of Kubernetes: pairs of lines with a name and a value, in either order.

    sysctls:
    - name: net.ipv4.ip_local_port_range
      value: "1024 65535"

They are set when the pod starts, so they count where nothing else in the evidence has told the setting.

Source: securityContext.sysctls, PodSecurityContext v1 of Kubernetes; a list without pairs, as Docker Compose has it,
is read as other settings are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.settings import setting
from loadgen.kernel import sysctl_conf

_TITLE: Final = re.compile(r"\s*sysctls:\s*(?:#.*)?")
_NAME: Final = re.compile(r"\s*(?:-\s+)?name:\s+(?P<quote>[\"']?)(?P<name>[a-z][\w./-]{2,120})(?P=quote)\s*")
_VALUE: Final = re.compile(r"\s*(?:-\s+)?value:\s+(?P<quote>[\"']?)(?P<value>-?[0-9][0-9 \t]{0,80})(?P=quote)\s*")


def _pair(first: str, second: str) -> tuple[str, str] | None:
    """Return name and value of two lines, of which the first begins an item of a list; None: they are none."""
    name, value = _NAME.fullmatch(first), _VALUE.fullmatch(second)
    if not name:
        name, value = _NAME.fullmatch(second), _VALUE.fullmatch(first)
    if not (name and value) or not first.lstrip().startswith("-") or second.lstrip().startswith("-"):
        return None
    read = setting(f"{name['name']} = {value['value']}")
    return (sysctl_conf.dotted(read[0]), read[1]) if read else None


class _PodReader(ReadingLines):
    what = "sysctls of a pod"

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        end = at
        while at + 1 < len(lines):
            if _TITLE.fullmatch(lines[at]):
                at += 1
                continue
            pair = _pair(lines[at], lines[at + 1])
            if not pair:
                break
            if self.evidence.sysctl(pair[0]) is None:
                self.keep_sysctl(*pair, Where(self.file, first + at))
            at += 2
            end = at
        return end


def _begins(line: str) -> bool:
    return any(form.fullmatch(line) is not None for form in (_TITLE, _NAME, _VALUE))


POD_SYSCTLS: Final = Format(
    "pod-sysctls", "`sysctls:` of a pod of Kubernetes", _begins, _PodReader, heads=frozenset("-snv")
)
