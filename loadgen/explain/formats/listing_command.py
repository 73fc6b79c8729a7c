"""Calls of ss and netstat: what their options list, and whether they leave out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import Evidence
from loadgen.explain.formats import shell
from loadgen.explain.formats.sockets import STATES

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


def listing_command(program: str, evidence: Evidence, file: str, line: int) -> ListingCommand | None:
    """Return the call of ss or netstat whose output begins at this line; None: it is not told."""
    calls = shell.calls(shell.command_of(evidence, file, line), program)
    return parse(program, *calls[-1]) if calls else None


def parse(program: str, arguments: Sequence[str], piped: bool) -> ListingCommand:
    """Return what the arguments of a call ask for. piped: its output goes through another command."""
    words = []
    for word in arguments:
        if ">" in word or "<" in word:
            break
        words.append(word)
    options: set[str] = set()
    state, filtered = 0, piped
    remaining = iter(words)
    for word in remaining:
        if word.startswith("--"):
            options |= {_LONG[word]} if word in _LONG else set()
        elif word.startswith("-"):
            options |= set(word[1:])
        elif word == "state" and not state:
            name = next(remaining, "").upper()
            state = STATES.get(_STATES.get(name, name), 0)
            filtered = True
        else:
            filtered = True
    return ListingCommand(" ".join([program, *words])[:_LENGTH_MAX], frozenset(options), state, filtered)
