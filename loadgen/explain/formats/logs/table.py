"""All rows, in the order in which they are tried, and the words without which a line has none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from loadgen.explain.evidence import Complaint, Where
from loadgen.explain.formats.logs import errnos, languages, servers, tools
from loadgen.explain.formats.logs.row import BIND, MessageRow, concerns_network, excerpt

#: The first row that a line has counts; so rows of one program come before those of any.
ROWS: Final[tuple[MessageRow, ...]] = (*servers.ROWS, *tools.ROWS, *languages.ROWS, *tools.ANY)
SIGNS: Final = errnos.shortest({*errnos.SIGNS, *(sign for row in ROWS if row.bare for sign in row.signs)})
#: Each sign has one of these in it: a third as many to look for in the lines of a log that are about something else.
PARTS: Final = (
    *("conn", "addr", "bind", "timed", "timeout", "reach", "refused", "too many", "permi", "emory", "in use", "errno"),
    *("curl: (", "-1/-1/", "unavail", "upstream", "limit", "down", "socket", "(115)", "(70007)", "* ", ": lookup "),
    *("<nosrv>", "apr_", "eacc", "eafno", "eagain", "emfile", "enfile", "enob", "enomem", "eperm", "failed (", "max"),
    *("descriptors", "no server", "layer4", "buffer space", "no free", "no route", "non http", "os { ", "already"),
    *("reset", "to unix", "unable to", "awaiting", "epoll"),
)

#: Names of errnos, and the words of those that concern addresses, ports or descriptors and nothing else.
_NAMED: Final = re.compile(
    r"(?<![\w.$-])(?P<error>EADDRNOTAVAIL|EADDRINUSE|EMFILE|ENFILE|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|"
    r"[Cc]annot assign requested address|[Cc]an't assign requested address|[Aa]ddress (?:already )?in use|"
    r"Address not available|[Tt]oo many open files(?: in system)?)(?![\w$])"
)
#: Words that stand in sentences as well: only where a message ends with them, behind a colon or in brackets.
_ENDING: Final = re.compile(
    r"(?:: |\(|\[|^)\"?(?P<error>Connection refused|Connection timed out|No route to host|Host is unreachable|"
    r"Network (?:is )?unreachable|No buffer space available)\"?[)\].,;]*$"
)
#: A sentence that denies or asks, a line of source code, a request in an access log.
_NO_MESSAGE: Final = re.compile(
    r"\b(?:no|not|never|without|if|unless|except|catch|rescue|case|when|fix(?:e[sd])?|handle[sd]?|ignor\w+|avoid\w*|"
    r"prevent\w*|instead of)\b(?:\W+\w+){0,2}\W+$|(?:[=!]=|\bin) *[\"'(]*$",
    re.IGNORECASE,
)
_REQUEST: Final = re.compile(r"\"[A-Z]{3,10} \S* HTTP/\d(?:\.\d)?\" \d{3} ")
_LISTENS: Final = re.compile(r"\b(?:listen|listening|listener|server socket)\b", re.IGNORECASE)
_BINDS: Final = re.compile(r"\b(?:bind|binding|bound)\b", re.IGNORECASE)
_CONNECTS: Final = re.compile(r"\bconnect(?:ing|ion|ed)?\b", re.IGNORECASE)


def has_sign(line: str) -> bool:
    """Return False where a line has no message of any row; quickly, since each line of a log is asked."""
    line = line.lower()
    # Loops, because any() with a generator takes three times as long.
    for part in PARTS:
        if part in line:
            break
    else:
        return False
    for sign in SIGNS:  # noqa: SIM110
        if sign in line:
            return True
    return False


def complaints(text: str, where: Where) -> Iterator[Complaint | None]:
    """Yield the complaints of a line, none or more; None for a message that is understood and no complaint."""
    lower = text.lower()
    for row in ROWS:
        if any(sign in lower for sign in row.signs):
            found = list(row.complaints(text, where))
            if found:
                yield from found
                return
    if generic := _generic(text, where):
        yield generic


def _generic(text: str, where: Where) -> Complaint | None:
    """Return the complaint of a line that names an errno and is no known message: which call said so is open."""
    found = _NAMED.search(text) or _ENDING.search(text)
    if not found or text.rstrip().endswith("?") or _NO_MESSAGE.search(text, 0, found.start()) or _REQUEST.search(text):
        return None
    errno = errnos.named(found["error"])
    calls, listening = errnos.calls(errno), None
    if errno in ("EADDRNOTAVAIL", "EADDRINUSE"):
        connects = bool(_CONNECTS.search(text))
        if not connects and _LISTENS.search(text):
            calls, listening = BIND, True
        elif not connects and _BINDS.search(text):
            calls = BIND
    complaint = Complaint("", calls, errno, excerpt(text, found.start()), where, listening=listening)
    return complaint if concerns_network(complaint) else None
