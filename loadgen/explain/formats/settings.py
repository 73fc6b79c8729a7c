"""Settings of the kernel: `sysctl -a`, extracts of it, sysctl.conf, and `grep -r . /proc/sys`.

A file says what is configured, not what is in force; so a setting of a file counts only where nothing else has told it.
Text that only looks like a setting (`user.name = x`) is left alone: a piece begins with a name of a tree of /proc/sys.

Sources: sysctl(8), sysctl.conf(5), sysctl.d(5); Documentation/admin-guide/sysctl/ for the trees.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

from loadgen.explain.evidence import Evidence, Where
from loadgen.explain.formats.base import DIGITS, Format
from loadgen.explain.formats.readings import ReadingLines
from loadgen.explain.formats.shell import command_of
from loadgen.kernel import sysctl, sysctl_conf

#: Where a piece may begin: trees, and names below those whose name other programs use as well.
_TREES: Final = (
    r"net[./](?:core|ipv4|ipv6|netfilter|unix|mptcp|bridge|nf_\w+)[./]"
    r"|net[./]nf_conntrack_max(?![\w.])"
    r"|fs[./](?:aio|binfmt_misc|dentry|dir-notify|epoll|fanotify|file-|inode|inotify|lease|mount|mqueue|nr_open|overflow|pipe|"
    r"protected|quota|suid)"
    r"|kernel[./](?=[a-z])|vm[./](?=[a-z]+_|swap|laptop)|user[./]max_|abi[./]vsyscall|sunrpc[./]"
    r"|crypto[./]fips|debug[./](?:exception|kprobes)|dev[./](?:cdrom|hpet|mac_hid|raid|scsi|tty)"
)
#: Marks of a list, and "-" for "errors do not matter", sysctl.d(5).
_MARKS: Final = r"[\s`\"'*\u2022]{0,12}(?P<ignored>-)?\s{0,4}[`\"']?"
_NAME_AND_VALUE: Final = (
    rf"(?:[0-9]{{1,7}}[:-])?\s{{0,12}}(?P<name>(?:{_TREES})[\w./:@*+-]{{0,120}}?)[`\"']?"
    r"(?:\s{0,40}=\s*(?!=)(?P<value>.*)|(?::[\ \t]|[\ \t])\s*(?P<numbers>[\"'`]?[0-9-][0-9,\-\s]*[\"'`]?))"
)
_NUMBERED: Final = re.compile(r"\s*[0-9]{1,7}[:-]\s*[a-z]")
_LINE: Final = re.compile(_MARKS + _NAME_AND_VALUE)
#: Of grep, with the file and perhaps the number of the line.
_LINE_OF_FILE: Final = re.compile(rf"{_MARKS}/?[\w./+@-]{{1,200}}?\.conf:{_NAME_AND_VALUE}")
#: Settings that are known by the end of their name, as people write it: "tcp_tw_reuse = 1".
_SHORT_NAMES: Final = {
    ends[0].rpartition(".")[2]: ends[0]
    for leaf in {name.rpartition(".")[2] for name in sysctl.RELEVANT}
    if len(ends := [name for name in sysctl.RELEVANT if name.rpartition(".")[2] == leaf]) == 1 and "_" in leaf
}
_SHORT: Final = re.compile(rf"{_MARKS}(?P<name>[a-z][a-z0-9_]{{7,50}})[`\"']?\s?[=:]\s?(?P<numbers>[0-9][0-9,\-\s]*)")
#: A row of a table in Markdown.
_ROW: Final = re.compile(
    rf"\s{{0,8}}\|[\s`]{{0,9}}(?P<name>(?:{_TREES})[\w./:@*+-]{{0,120}}?)[\s`]{{0,60}}"
    r"\|(?P<numbers>[^|]{1,200})\|.*"
)
#: `grep -r . /proc/sys`.
_GREPPED: Final = re.compile(r"\s{0,8}/proc/sys/(?P<name>[a-z][\w./:@+-]{1,120}?)(?::| = |=)(?P<value>.*)")
#: In the middle of `sysctl -a` any name of a tree is one.
_OTHER: Final = re.compile(
    r"\s{0,8}(?P<name>(?:abi|crypto|debug|dev|fs|kernel|net|sunrpc|user|vm)(?:[./][\w:@+-]{1,80}){1,8})"
    r"\s?=\s?(?P<value>.*)"
)
#: What sysctl says beside the settings.
_NOISE: Final = re.compile(
    r"\s{0,8}(?:sysctl: |error: )(?:reading key |permission denied on key |cannot stat |unable to open |setting key ).*"
)
_COMMENT: Final = re.compile(r"\s{0,8}[#;].*")
#: What follows a value in a ticket; no setting that matters has such a mark in it.
_REMARK: Final = re.compile(r" (?:#|//|;|<-|<=|--).*")
_NUMBERS: Final = re.compile(r"-?[0-9][0-9,\-\s]*")
#: Comments and blank lines that may stand before a setting.
_COMMENTS_MAX: Final = 60


def _setting(line: str, *, inside: bool = False) -> tuple[str, str, bool] | None:
    """Return name, value, and whether it is written as in a file; None if the line is no setting."""
    if "/proc/sys/" in line and (found := _GREPPED.fullmatch(line)):
        return _checked(found["name"], found["value"], configured=False)
    found = (_LINE_OF_FILE if ".conf:" in line else _LINE).fullmatch(line)
    if found:
        value = found["numbers"] if found["value"] is None else found["value"]
        return _checked(found["name"], value, configured=found["ignored"] is not None)
    if (found := _SHORT.fullmatch(line)) and (name := _SHORT_NAMES.get(found["name"])):
        return _checked(name, found["numbers"], configured=False)
    if "|" in line and (found := _ROW.fullmatch(line)) and _NUMBERS.fullmatch(found["numbers"].strip(" \t`")):
        return _checked(found["name"], found["numbers"], configured=False)
    if inside and (found := _OTHER.fullmatch(line)):
        return _checked(found["name"], found["value"], configured=False)
    return None


def _checked(name: str, value: str, *, configured: bool) -> tuple[str, str, bool] | None:
    name = sysctl_conf.dotted(name)
    value = _REMARK.sub("", " " + " ".join(value.split())).strip(" \"'`")
    numeric = name in sysctl.RELEVANT
    if numeric and value and not _NUMBERS.fullmatch(value):
        return None
    return name, value, configured


class _SettingsReader(ReadingLines):
    """Reads settings, with the comments and empty lines between them."""

    what = "sysctl"

    def __init__(self, evidence: Evidence, file: str) -> None:
        super().__init__(evidence, file)
        self._configured: bool | None = None
        self._inside = False

    def feed(self, lines: Sequence[str], at: int, first: int) -> int:
        """See `FormatReader`."""
        if self._configured is None:
            command = command_of(self.evidence, self.file, first + at)
            self._configured = self.file.endswith(".conf") or re.search(r"\.conf\b|sysctl\.d/", command) is not None
            if self._configured:
                self.what = "sysctl.conf"
        end = at
        while at < len(lines):
            if self.take(lines[at], Where(self.file, first + at)):
                at += 1
                end = at
            elif at - end < _COMMENTS_MAX and (not lines[at].strip() or _COMMENT.fullmatch(lines[at])):
                at += 1  # part of the piece if a setting follows
            else:
                break
        return end

    def take(self, line: str, where: Where) -> bool:
        """See `LineReader`."""
        setting = _setting(line, inside=self._inside)
        if setting is None:
            return _is_noise(line)
        self._inside = True
        name, value, as_in_a_file = setting
        if not (self._configured or as_in_a_file) or self.evidence.sysctl(name) is None:
            self.keep_sysctl(name, value, where)
        return True


def _begins(line: str) -> bool:
    head = line.lstrip()[:1]
    if head in ("#", ";"):
        return True
    # Most lines of a log begin with a number, and none of `grep -n` is among them.
    if head.isdecimal() and not _NUMBERED.match(line) and ".conf:" not in line:
        return False
    return _setting(line) is not None or _is_noise(line)


def _is_noise(line: str) -> bool:
    return line.lstrip().startswith(("sysctl: ", "error: ")) and _NOISE.fullmatch(line) is not None


SETTINGS: Final = Format(
    "sysctl",
    "`sysctl -a`, lines of it, sysctl.conf, `grep -r . /proc/sys`",
    _begins,
    _SettingsReader,
    heads=DIGITS | frozenset(string.ascii_lowercase) | frozenset("`\"'*\u2022-|/#;"),
    words=frozenset({".conf:"}),
)
