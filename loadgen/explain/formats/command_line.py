"""The command that printed a listing of sockets: in the lines before it, or in the name of its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from loadgen.explain.formats.sockets import STATES

#: Lines before a listing in which its command may stand.
_BEFORE: Final = 3
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


def command_of(program: str, lines: Sequence[str], at: int, file: str) -> ListingCommand | None:
    """Return the command whose output begins at this line; None: it is not told.

    file: a sosreport names its files so: ss_-peaonmi, netstat_-W_-neopa.
    """
    pattern = re.compile(rf"(?:^|[\s#$>%;&`/(+]){program}(?:$|\s+(?=-|state\b|sport\b|dport\b|src\b|dst\b))([^;&`]*)")
    for before in range(at - 1, max(at - 1 - _BEFORE, -1), -1):
        if len(line := lines[before]) > 1000:
            continue
        if found := pattern.findall(line):
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
