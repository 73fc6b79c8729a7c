"""Lines that belong to a message of several lines, and the system call that the frames of a stack trace show.

Sources: captured traces of Java 17, node 20, Python 3.11, Go 1.19, Ruby 3.1 and Rust; of .NET and PHP their manuals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from loadgen.explain.formats.logs.row import BIND, CONNECT
from loadgen.outcomes import Syscall

_FRAME: Final = re.compile(
    r"\s+at \S|\s*\.\.\. \d+ (?:more|common frames)|\s*(?:Caused by|Suppressed|Wrapped by): | *--+> |\s*--- End of "
    r"|\s+from \S+:\d+:in |\s+File \"|\s+[~^]+\s*$|During handling of the|The above exception was"
    r"|\s+\d+: +\S+::|\s+\d+: +0x|stack backtrace:|note: (?:run with|Some details)|thread '.{0,80}' panicked at"
    r"|goroutine \d+ \[|\t\S+\.(?:go|s):\d+|created by \S|exit status \d|#\d+ +\S|\s+thrown in |(?:PHP )?Stack trace:"
    r"|Emitted 'error' event|Node\.js v\d|\s+throw er;|\s+Is the server running|\s*TCP/IP connections on port"
    r"|\s+current master transaction: "
)
#: Properties of an error of node, and the bracket that ends them.
_IN_ERROR: Final = re.compile(
    r"\s*\[?(?:errno|code|syscall|address|port|localAddress|localPort|host|hostname|path|cause|errors"
    r"|type|dest|fatal)\]?"
    r"['\"]?: .{0,300}$|\s*[}\])]+[,;]?\s*$|\s+(?:\w*Error|\[Error): "
)
#: Words of a logger above the exception that it speaks of.
_LOGGER: Final = ("ERROR", "SEVERE", "FATAL", "WARN", "xception")
_HEADS: Final = ("Traceback (", "panic: ", "thread '", "node:events:")
#: Words of which one, in this case or another, is in each line that heads a stack trace.
SIGNS: Final = frozenset(("xception", "rror", *map(str.lower, _HEADS)))
_CHAINS: Final = ("During handling of the above", "The above exception was the direct")
#: A function of Go, above the line with its file.
_GO_FUNCTION: Final = re.compile(r"[\w./*-]+(?:(?<=\.)\(\*?\w+\)[\w./*-]*)*\([^()]*\)$")
_PYTHON_HEAD: Final = re.compile(r"\s*Traceback \(most recent call last\):")
_HEAD: Final = re.compile(
    r"\s*(?:Exception in thread \"[^\"]{0,200}\" |Unhandled exception\. )?"
    r"(?:[a-z_$][\w$]{0,60}\.){1,12}[A-Z][\w$]{0,100}(?:Exception|Error)\b"
    r"|\s*(?:Uncaught |Unhandled )?(?:[A-Z]\w{0,40})?Error(?: \[\w{1,40}\])?: |node:events:\d|panic: "
    r"|thread '|PHP Fatal error: "
)
_PROPERTY: Final = re.compile(
    r"\b(?P<name>code|syscall|address|port|localAddress|localPort)['\"]?\s?: ?['\"]?(?P<value>[^'\",\s}]{1,253})"
)
_JAVA: Final = (
    (
        CONNECT,
        re.compile(
            r"\b(?:Net\.(?:connect|pollConnect)|SocketChannelImpl\.(?:check|finish)?[Cc]onnect|socketConnect\()"
        ),
    ),
    (BIND, re.compile(r"\b(?:Net\.bind|socketBind\(|\w*SocketImpl\.bind\()")),
)
_PYTHON: Final = (
    (CONNECT, re.compile(r"\.connect(?:_ex)?\(")),
    (BIND, re.compile(r"\.bind\(")),
    (frozenset({Syscall.RECV}), re.compile(r"\.recv(?:_into|from)?\(")),
    (frozenset({Syscall.SEND}), re.compile(r"\.send(?:all|to|msg)?\(")),
)
_LISTENS: Final = re.compile(
    r"ServerSocket|server_bind|create_server\b|start_server|\bServer\w*\.(?:start|bind|listen)\("
)
_CLIENT: Final = re.compile(
    r"\bcreate_connection\b|\bopen_connection\b|java\.net\.Socket\.|SocketChannel\.(?:open|connect)"
    r"|HttpClient|urlopen\("
)
#: Frames between the exception and the one that tells the call.
_NEAR: Final = 6


def continues(line: str, before: str) -> bool:
    """True if a line belongs to the message of the line before."""
    if _FRAME.match(line):
        return True
    if before.lstrip().startswith('File "'):
        return line[:1].isspace()
    if before.startswith("thread '"):
        return True
    if _IN_ERROR.match(line):
        return before.rstrip().endswith(("{", "[")) or bool(_IN_ERROR.match(before) or _FRAME.match(before))
    return before.startswith(("goroutine ", "\t", "created by")) and bool(_GO_FUNCTION.match(line))


def chains(line: str) -> bool:
    """True if a line of Python says that another traceback of the same failure follows."""
    return line.lstrip().startswith(_CHAINS)


def begins(line: str) -> bool:
    """True if a line may head a stack trace, whatever it is about."""
    if "xception" not in line and "rror" not in line and not line.lstrip().startswith(_HEADS):
        return False  # most lines of a log
    return bool(_HEAD.match(line) or _PYTHON_HEAD.match(line))


def announces(line: str) -> bool:
    """True if a line is a logger's, which may stand above the exception that it speaks of."""
    return any(word in line for word in _LOGGER) and not begins(line)


def is_python(line: str) -> bool:
    """True if a line heads a traceback of Python, whose exception stands below its frames."""
    return bool(_PYTHON_HEAD.match(line))


def shown_call(lines: Sequence[str], at: int) -> frozenset[Syscall]:
    """Return the system call that the frames next to the exception at `at` show; empty: none does."""
    for line in lines[at + 1 : at + 1 + _NEAR]:  # Java: frames below the exception, the innermost first
        for call, pattern in _JAVA:
            if pattern.search(line):
                return call
    for line in reversed(lines[max(0, at - _NEAR) : at]):  # Python: above it, the innermost last
        if line.lstrip().startswith("raise "):
            continue
        for call, pattern in _PYTHON:
            if pattern.search(line):
                return call
    return frozenset()


def listens(lines: Sequence[str]) -> bool | None:
    """True if the frames belong to a service that begins to listen, False to a client; None: neither, or both."""
    server = any(_LISTENS.search(line) for line in lines)
    client = any(_CLIENT.search(line) for line in lines)
    return server if server != client else None


def properties(lines: Sequence[str]) -> list[dict[str, str]]:
    """Return the properties of the errors of node that are printed in these lines, one mapping for each error."""
    found: list[dict[str, str]] = [{}]
    for line in lines:
        for part in _PROPERTY.finditer(line):
            if part["name"] in found[-1]:
                found.append({})
            found[-1][part["name"]] = part["value"]
    return [one for one in found if "syscall" in one and "code" in one]
