"""The command that printed a listing of sockets: the command line before it, or the name of its file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from loadgen.explain.formats.sockets import STATES

#: A call in a command line, which may have others; its arguments.
_CALL: Final = r"(?:^|[\s;&/(]){program}(?=\s|$)([^;&]*)"
_LINE_MAX: Final = 1000
_LONG: Final = {
    "--all": "a",
    "--listening": "l",
    "--tcp": "t",
    "--udp": "u",
    "--processes": "p",
    "--program": "p",
    "--programs": "p",
    "--numeric": "n",
}
_STATES: Final = {"LISTENING": "LISTEN", "CLOSED": "CLOSE", "ESTABLISHED": "ESTABLISHED"}
_LENGTH_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class ListingCommand:
    """A call of ss or netstat.

    text: without what follows a pipe. options: their letters. state: the only one that `state` lets through, a number
    of `TcpState`; 0: there is none such. filtered: other conditions, or a pipe, leave out rows.
    """

    text: str
    options: frozenset[str]
    state: int = 0
    filtered: bool = False


def command_of(program: str, line: str, file: str) -> ListingCommand | None:
    """Return the call of ss or netstat whose output follows; None: it is not told.

    line: the command line before it, as far as there is one. file: a sosreport names its files so: ss_-peaonmi,
    netstat_-W_-neopa.
    """
    if found := re.findall(_CALL.format(program=program), line[:_LINE_MAX]):
        return parse(program, found[-1])
    name = PurePath(file).name
    return parse(program, name.removeprefix(program).replace("_", " ")) if name.startswith(f"{program}_-") else None


def parse(program: str, arguments: str) -> ListingCommand:
    """Return what the arguments of a call ask for."""
    arguments, pipe, _ = arguments.partition("|")
    arguments = arguments.partition(">")[0].partition("<")[0]
    options: set[str] = set()
    state, filtered = 0, bool(pipe)
    words = iter(arguments.split())
    for word in words:
        if word.startswith("--"):
            options |= {_LONG[word]} if word in _LONG else set()
        elif word.startswith("-"):
            options |= set(word[1:])
        elif word == "state" and not state:
            name = next(words, "").strip("'\"").upper()
            state = STATES.get(_STATES.get(name, name), 0)
            filtered = True
        else:
            filtered = True
    text = " ".join([program, *arguments.split()])
    return ListingCommand(text[:_LENGTH_MAX], frozenset(options), state, filtered)
