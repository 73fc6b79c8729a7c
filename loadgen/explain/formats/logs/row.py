"""One row of the tables of messages: a program, its message as a regular expression, and what the parts mean.

Groups of an expression: `error` and `number` (the errno), `call` (the system call), `target` and `port`, `source` and
`sport` (the local side), `protocol` (tcp or udp). A digit behind the name is for a second place of the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import TEXT_MAX, Complaint, Where
from loadgen.explain.formats.logs import errnos
from loadgen.outcomes import Syscall
from loadgen.strategies import Transport

#: Parts of expressions. A host is a name, an IPv4 address, or an IPv6 address with or without brackets.
E: Final = rf"(?P<error>{errnos.ERROR})"
HOST: Final = r"(?:\[[^\]\s]{2,80}\]|\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:.]{1,45}|[\w.-]{1,253})"
TO: Final = rf"(?P<target>{HOST}):(?P<port>\d{{1,5}})\b"
TO2: Final = rf"(?P<target2>{HOST}):(?P<port2>\d{{1,5}})\b"
FROM: Final = rf"(?P<source>{HOST}):(?P<sport>\d{{1,5}})\b"
CALL: Final = (
    r"(?P<call>connect|bind|listen|socket|accept4?|setsockopt|getsockopt|"
    r"recv(?:from|msg)?|readv?|send(?:to|msg|file)?|writev?)"
)

#: System calls of a client that opens a connection, with and without a bind() of its own.
OPENING: Final = frozenset({Syscall.SOCKET, Syscall.BIND, Syscall.CONNECT})
DIALING: Final = frozenset({Syscall.SOCKET, Syscall.CONNECT})
CONNECT: Final = frozenset({Syscall.CONNECT})
BIND: Final = frozenset({Syscall.BIND})
SOCKET: Final = frozenset({Syscall.SOCKET})
WAIT: Final = frozenset({Syscall.WAIT})
REGISTER: Final = frozenset({Syscall.REGISTER})
NONE: Final[frozenset[Syscall]] = frozenset()

_CALLS: Final[Mapping[str, frozenset[Syscall]]] = {
    "connect": CONNECT,
    "getsockopt": CONNECT,  # SO_ERROR, after a connect() that did not wait
    "finishconnect": CONNECT,
    "bind": BIND,
    "listen": BIND,  # of a library, which binds first; listen(2) itself says so only where two listen at once
    "jvm_bind": BIND,
    "socket": SOCKET,
    "accept": SOCKET,
    "accept4": SOCKET,
    "setsockopt": frozenset({Syscall.SETSOCKOPT}),
    **dict.fromkeys(("recv", "recvfrom", "recvmsg", "read", "readv"), frozenset({Syscall.RECV})),
    **dict.fromkeys(("send", "sendto", "sendmsg", "sendfile", "write", "writev"), frozenset({Syscall.SEND})),
}
_UNIX: Final = re.compile(r"\bunix:|\bdial unix|\bunix (?:domain )?socket|\.sock\b|\.s\.pgsql")
_UNIX_SIGNS: Final = ("unix", ".sock", ".s.pgsql")
_CLIENT: Final = frozenset({Syscall.CONNECT, Syscall.WAIT})
_OPEN: Final = frozenset({Syscall.RECV, Syscall.SEND})
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", "*"})


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message.

    program: its name; a language where any program in it says so. signs: words in lower case, of which a line that
    has the message has at least one. calls: those it may be about; None: all that may say the errno; NONE: it is about
    no system call. errno: where the message always means this one. listening: as of `Complaint`.
    told: False where the message is understood and no complaint: it is not about opening connections, or repeats one.
    picks: True where a source without a port means that the kernel picks it. bare: True where the message may stand
    without the name, or the words, of an errno.
    """

    program: str
    signs: tuple[str, ...]
    pattern: re.Pattern[str]
    calls: frozenset[Syscall] | None = None
    errno: str = ""
    listening: bool | None = None
    told: bool = True
    picks: bool = False
    bare: bool = False

    def complaints(self, text: str, where: Where) -> Iterator[Complaint | None]:
        """Yield the complaint of each place in the text where the message stands; None where it is no complaint."""
        for found in self.pattern.finditer(text):
            if not self.told:
                yield None
            elif read := self._read(found, where):
                yield read if concerns_network(read) else None

    def _read(self, found: re.Match[str], where: Where) -> Complaint | None:
        """Return what a match says; None where it names an errno that is not known."""
        parts: dict[str, str] = {}
        for name, part in found.groupdict().items():
            if part:
                parts.setdefault(name.rstrip("23"), part)
        errno = self.errno
        if "error" in parts or "number" in parts:
            errno = errnos.named(parts.get("error", ""), parts.get("number", "")) or errno
            if not errno:
                return None
        calls = self._calls(parts.get("call", "").lower(), errno)
        target, target_port = _host(parts.get("target", "")), _port(parts.get("port", "0"))
        source = _host(parts.get("source", ""))
        sport = _port(parts["sport"]) if "sport" in parts else 0 if source and self.picks else None
        listening = self.listening
        if parts.get("call", "").startswith(("accept", "listen")):
            listening = True
        if listening is None and calls and calls <= _CLIENT:
            listening = False
        if calls and calls <= _OPEN:
            source, sport = "", None  # those of a connection that was open: each has another
        elif listening is False and source in _ANY_ADDRESS:
            source = ""
        protocol = parts.get("protocol", "").lower()
        return Complaint(
            self.program,
            calls,
            errno,
            excerpt(found.string, found.start()),
            where,
            source=source,
            source_port=sport,
            target=target,
            target_port=target_port,
            listening=listening,
            transport=Transport(protocol[:3]) if protocol else None,
        )

    def _calls(self, call: str, errno: str) -> frozenset[Syscall]:
        if self.calls is not None and not self.calls:
            return NONE
        if named := _CALLS.get(call):
            # A library that names its step runs out of descriptors in socket(), and reads of a refused connect().
            return errnos.calls(errno, named)
        if self.calls == WAIT:
            return WAIT
        return errnos.calls(errno, self.calls)


def row(
    program: str,
    signs: str,
    pattern: str,
    calls: frozenset[Syscall] | None = None,
    *,
    errno: str = "",
    listening: bool | None = None,
    told: bool = True,
    picks: bool = False,
    bare: bool = False,
) -> MessageRow:
    """Return a row. signs: separated by "|". pattern: without regard to case."""
    compiled = re.compile(pattern, re.IGNORECASE)
    bare = bare or "error" not in compiled.groupindex
    return MessageRow(program, tuple(signs.split("|")), compiled, calls, errno, listening, told, picks, bare)


def excerpt(text: str, start: int) -> str:
    """Return TEXT_MAX characters at most, in which the place at `start` is."""
    text = text.strip()
    begin = max(0, min(start - 60, len(text) - TEXT_MAX)) if len(text) > TEXT_MAX else 0
    return text[begin : begin + TEXT_MAX]


def _host(text: str) -> str:
    host = text.strip("[]").rstrip(".")
    return "" if host.startswith("/") else host


def _port(digits: str) -> int:
    port = int(digits)
    return port if port < 1 << 16 else 0


def concerns_network(complaint: Complaint) -> bool:
    """False for a socket of the file system, which has no port."""
    text = complaint.text.lower()
    maybe = any(sign in text for sign in _UNIX_SIGNS)
    return complaint.target != "unix" and not (maybe and _UNIX.search(text))
