"""The text inside JSON, logfmt and prefixes: a log line as its program wrote it, and the name of that program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

#: Characters of a line that are looked at: a message that begins later is not read.
LENGTH_MAX: Final = 8192
_DEPTH_MAX: Final = 8
_STRINGS_MAX: Final = 200
#: syslog and journald: "Nov 29 06:00:01 web1 nginx[812]: ..."; with an ISO time, only where a pid tells it is one.
_SYSLOG: Final = re.compile(
    r"^(?:<\d{1,3}>\d? ?)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \S{1,253} "
    r"(?P<ident>[\w./@-]{1,64})(?:\[\d{1,10}\])?: "
    r"|\d{4}-\d\d-\d\dT\S{8,30} \S{1,253} (?P<ident2>[\w./@-]{1,64})\[\d{1,10}\]: )"
)
#: Programs that show in a line itself, by the language or library that its message is of.
_MARKS: Final = (
    ("", "squid", re.compile(r"\bkid\d+\| ")),
    ("Java", "Gatling", re.compile(r"\b[ji]\.n\.")),
    ("Go", "k6", re.compile(r"Request Failed|^WARN\[\d+\]")),
    ("Go", "docker", re.compile(r"userland proxy|driver failed programming|docker: Error")),
    ("Go", "kubelet", re.compile(r"probe failed|kubelet")),
    ("Go", "gRPC", re.compile(r"rpc error: code = ")),
)
LANGUAGES: Final = frozenset({"", "Go", "Java", "node", "Python", "Ruby", "PHP", ".NET", "Erlang", "Rust", "gRPC"})


def program(said: str, line: str) -> str:
    """Return the program that wrote a line. said: by the row of its message; a language tells less than a prefix."""
    if said in LANGUAGES and (found := _SYSLOG.match(line)):
        ident = (found["ident"] or found["ident2"]).rpartition("/")[2]
        if ident != "kernel":
            return ident
    return next((name for language, name, mark in _MARKS if language == said and mark.search(line)), said)


def texts(line: str) -> list[str]:
    """Return the text of a line, in lines of its own where JSON or escapes hold several. Never raises."""
    line = line[:LENGTH_MAX] if '{"' not in line else line
    start = line.find('{"')
    if start >= 0 and (end := line.rfind("}")) > start:
        try:
            inside = json.loads(line[start : end + 1])
        except (ValueError, RecursionError):
            inside = None
        if isinstance(inside, dict):
            # In front of it stands what a container's log or a logger adds, which may be the message itself.
            found = [line[:start], *_strings(inside, 0)][:_STRINGS_MAX]
            return [text[:LENGTH_MAX] for text in found if text.strip()]
    line = line[:LENGTH_MAX]
    if "\\" in line:
        line = line.replace('\\"', '"').replace("\\t", "\t")
        return [text for text in line.split("\\n") if text.strip()]
    return [line]


def _strings(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.split("\n")
    elif isinstance(value, dict) and depth < _DEPTH_MAX:
        if "syscall" in value and "code" in value:  # an error of node, whose properties are its message
            yield ", ".join(f"{name}: '{part}'" for name, part in value.items() if isinstance(part, str | int))
        for part in value.values():
            yield from _strings(part, depth + 1)
    elif isinstance(value, list) and depth < _DEPTH_MAX:
        for part in value:
            yield from _strings(part, depth + 1)
