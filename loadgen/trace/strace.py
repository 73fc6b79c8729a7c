"""The text of strace: lines in, system calls out, those that were interrupted by another process put together again.

Read are all forms that its options give a line: -f (`[pid 12]`, or `12` at its head in a file of -o), -Y (`12<nginx>`),
-t, -tt, -ttt, -r, -i, -n, -T, -y, -yy, -k, -x, -xx, -X raw and -X verbose. A call that another process interrupts is
two lines, `... <unfinished ...>` and `<... connect resumed>...`. Nothing here knows what a call means.

Source: strace(1), and the output of strace 4.26, 5.10 and 6.1 (line prefixes: printleader() in src/strace.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, NamedTuple

from loadgen.trace.arguments import integer

#: Calls that were interrupted and are kept until they go on: one for each thread; more is no strace output.
_UNFINISHED_MAX: Final = 100_000

#: What stands before a call. Of the numbers only the process and an absolute time are kept.
_PREFIX: Final = re.compile(
    r"""\s*
    (?:\[pid\s+(?P<bracketed>\d{1,10})(?:<(?P<bracketed_name>[^>]*)>)?\]\s+
      |(?P<plain>\d{1,10})(?:<(?P<plain_name>[^>]*)>)?[ ]+)?
    (?:(?P<clock>\d\d:\d\d:\d\d(?:\.\d{1,9})?)\s+|(?P<epoch>\d{1,19}\.\d{1,9})\s+)?
    (?:\(\+\s*\d{1,10}\.\d{1,9}\)\s+)?
    (?:\[\s*(?:\d{1,4}|0x[0-9a-f]{1,4})\]\s+)?
    (?:\[[0-9a-f?]{8,16}\]\s+)?
    """,
    re.VERBOSE,
)
_NAME: Final = r"(?P<name>[a-z_][a-z0-9_]{0,39})"
#: The last `) = ` of a line is the one that counts: a string among the arguments may contain another.
_CALL: Final = re.compile(
    _NAME + r"\((?P<arguments>.*)\)\s*=\s(?P<returned>\?|-?\d{1,20}|0x[0-9a-f]{1,16})(?P<rest>[ <].*|$)"
)
_UNFINISHED: Final = re.compile(_NAME + r"\((?P<arguments>.*)<(?:unfinished|detached) \.\.\.>\s*$")
#: What strace says while it prints a call stands in the middle of that line; the rest of the line follows alone.
_INTERRUPTED: Final = re.compile(_NAME + r"\((?P<arguments>.*)strace: Process (?P<attached>\d{1,10}) attached\s*$")
_REST: Final = re.compile(r"<unfinished \.\.\.>\s*$")
_REST_OF_CALL: Final = re.compile(
    r"(?P<arguments>.*)\)\s*=\s(?P<returned>\?|-?\d{1,20}|0x[0-9a-f]{1,16})(?P<rest>[ <].*|$)"
)
_RESUMED: Final = re.compile(
    r"<\.\.\. " + _NAME + r" resumed>\s?(?P<arguments>.*)\)\s*=\s"
    r"(?P<returned>\?|-?\d{1,20}|0x[0-9a-f]{1,16})(?P<rest>[ <].*|$)"
)
_RESUMED_ONLY: Final = re.compile(r"<\.\.\. [a-z_][a-z0-9_]{0,39} resumed>")
_ENDED: Final = re.compile(r"\+\+\+ (?:exited with \d{1,10}|killed by SIG\w{1,20}(?: \(core dumped\))?) \+\+\+\s*$")
_SUPERSEDED: Final = re.compile(r"\+\+\+ superseded by execve in pid (?P<pid>\d{1,10}) \+\+\+\s*$")
#: A signal, a stack of -k, and what strace says itself.
_OTHER: Final = re.compile(
    r"---\ (?:SIG\w{1,20}|stopped\ by)\b.*---\s*$"
    r"|\ ?>\ \S.*\[0x[0-9a-f]+\]"
    r"|(?:strace:\ )?(?P<notice>[Pp]rocess\ (?P<attached>\d{1,10})\ (?:attached|detached|suspended|resumed))"
    r"|(?:strace:\ )?\[\ Process\ PID=\d{1,10}\ runs\ in\ (?:32|64|x32)\ ?(?:bit\ )?mode\.\ \]"
    r"|\?\?\?\(",
    re.VERBOSE,
)
#: `EADDRNOTAVAIL (Cannot assign requested address)`, `ERESTARTSYS (To be restarted if SA_RESTART is set)`.
_ERRNO: Final = re.compile(r"\s?(?P<errno>E[A-Z0-9]{1,20}|ERESTART_RESTARTBLOCK)\b")

#: A line that may begin a trace has one of these calls in it; any other piece of text could have such a form by chance.
_CALLS: Final = frozenset(
    (
        "accept",
        "accept4",
        "access",
        "arch_prctl",
        "bind",
        "brk",
        "clone",
        "clone3",
        "close",
        "connect",
        "dup",
        "dup2",
        "dup3",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "epoll_wait",
        "execve",
        "exit_group",
        "fcntl",
        "fork",
        "fstat",
        "futex",
        "getpeername",
        "getpid",
        "getrandom",
        "getsockname",
        "getsockopt",
        "io_uring_enter",
        "io_uring_setup",
        "ioctl",
        "listen",
        "lseek",
        "mmap",
        "mprotect",
        "munmap",
        "newfstatat",
        "openat",
        "pipe2",
        "poll",
        "ppoll",
        "pread64",
        "prlimit64",
        "read",
        "readlink",
        "readv",
        "recvfrom",
        "recvmmsg",
        "recvmsg",
        "rt_sigaction",
        "rt_sigprocmask",
        "select",
        "sendmmsg",
        "sendmsg",
        "sendto",
        "setns",
        "setsockopt",
        "shutdown",
        "socket",
        "socketpair",
        "stat",
        "statx",
        "unshare",
        "vfork",
        "write",
        "writev",
    )
)


#: Calls that start a process or a thread, and return its pid.
_FORKS: Final = frozenset({"clone", "clone3", "fork", "vfork"})


_NOTICES: Final = ("<... ", "+++ ", "--- SIG", "strace: Process ", "Process ")
#: Texts of which one is in each line that may begin a trace.
OPENERS: Final = frozenset((*(f"{name}(" for name in _CALLS), *_NOTICES))


class StraceEvent(Enum):
    """The kind of a line. TAKEN: it belongs to the trace and says nothing about a call that ended."""

    CALL = auto()
    ENDED = auto()
    TAKEN = auto()


@dataclass(frozen=True, slots=True)
class StraceCall:
    """A system call that ended, or a process that did.

    pid: of the thread; 0: not told. command: of -Y; "": not told. at_s: seconds of an absolute clock, since midnight
    with -t and -tt; None: not told. arguments, returned: as printed. errno: by name; "": none. line: number of the
    line on which it began. nameless_before: its pid is told for the first time; until now its lines had none (pid 0).
    """

    event: StraceEvent
    pid: int
    line: int
    name: str = ""
    arguments: str = ""
    returned: str = ""
    errno: str = ""
    rest: str = ""
    command: str = ""
    at_s: float | None = None
    nameless_before: bool = False

    @property
    def text(self) -> str:
        """The call on one line, without what the options of strace put around it and behind descriptors."""
        return _SOCKET_NAME.sub("", f"{self.name}({self.arguments}) = {self.returned}{_DURATION.sub('', self.rest)}")

    @property
    def failed(self) -> bool:
        """True if it returned an error."""
        return self.returned == "-1" and bool(self.errno)


_SOCKET_NAME: Final = re.compile(r"(?<=\d)<(?:socket|TCP|TCPv6|UDP|UDPv6|MPTCP|MPTCPv6):\[(?:->|[^<>])*\]>")
_DURATION: Final = re.compile(r"(?<!\s)\s*+<\d+\.\d+>\s*$")


class _Begun(NamedTuple):
    """A call that has begun and not ended."""

    name: str
    arguments: str
    line: int
    at_s: float | None


def may_begin(line: str) -> bool:
    """Return True for a line that may be the first of a trace: by its call, or by what strace alone prints."""
    head = _PREFIX.match(line)
    assert head  # each of its parts may be absent
    body = line[head.end() :]
    if body.startswith(_NOTICES):
        return _read_body(body) is not None
    name, opened, _ = body.partition("(")
    return bool(opened) and name in _CALLS and _read_body(body) is not None


def _read_body(body: str) -> re.Match[str] | None:
    for form in (_CALL, _UNFINISHED, _INTERRUPTED, _RESUMED, _RESUMED_ONLY, _ENDED, _SUPERSEDED, _OTHER):
        if found := form.match(body):
            return found
    return None


class StraceLines:
    """Reads lines one after the other. Memory: the calls that have begun and not ended, one for each thread.

    With -f to a terminal, strace leaves out the pid as long as there is one process: lines before the first fork, and
    after the last other process has ended, are those of the one that there is.
    """

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}
        self._alive: set[int] = set()
        self._first = 0
        self._nameless = False
        self._cut: int | None = None

    def read(self, line: str, number: int) -> StraceCall | None:
        """Return what a line says; None: it is no line of strace. number: of the line, from 1."""
        head = _PREFIX.match(line)
        assert head  # each of its parts may be absent
        body = line[head.end() :]
        command = head["bracketed_name"] or head["plain_name"] or ""
        at_s = _at_s(head)
        if found := _CALL.match(body):
            pid, known = self._pid_of(head, found["name"] in _FORKS)
            if found["name"] in _FORKS and head["plain"] is None:
                self._note_alive(integer(found["returned"]) if found["returned"] != "?" else 0)
            call = _ended_call(found, pid, number, command, at_s, found["arguments"])
            return replace(call, nameless_before=True) if known else call
        if found := _UNFINISHED.match(body) or _INTERRUPTED.match(body):
            pid, known = self._pid_of(head, False)
            if len(self._begun) < _UNFINISHED_MAX:
                self._begun[pid] = _Begun(found["name"], found["arguments"].rstrip(), number, at_s)
            if attached := found.groupdict().get("attached"):
                self._note_alive(int(attached))
                self._cut = pid
            return self._taken(pid, number, command, known)
        if found := _RESUMED.match(body):
            pid, known = self._pid_of(head, found["name"] in _FORKS)
            return self._resumed(found, pid, number, command, known)
        if _ENDED.match(body):
            pid, known = self._pid_of(head, False)
            self._begun.pop(pid, None)
            self._alive.discard(pid)
            return StraceCall(StraceEvent.ENDED, pid, number, command=command, at_s=at_s, nameless_before=known)
        if found := _OTHER.match(body):
            self._note_alive(int(found["attached"] or 0))
            return self._taken(0, number, "", False)
        if _SUPERSEDED.match(body) or _RESUMED_ONLY.match(body) or _REST.match(body):
            return self._taken(0, number, "", False)
        return self._rest_of_call(body)

    def _rest_of_call(self, body: str) -> StraceCall | None:
        """Return the whole of a call whose line was cut by a notice; None: the line is not its rest."""
        pid, self._cut = self._cut, None
        found = _REST_OF_CALL.match(body) if pid is not None else None
        if pid is None or not found or pid not in self._begun:
            return None
        begun = self._begun.pop(pid)
        call = _ended_call(found, pid, begun.line, "", begun.at_s, f"{begun.arguments} {found['arguments']}")
        return replace(call, name=begun.name)

    def _taken(self, pid: int, number: int, command: str, nameless_before: bool) -> StraceCall:
        return StraceCall(StraceEvent.TAKEN, pid, number, command=command, nameless_before=nameless_before)

    def _note_alive(self, pid: int) -> None:
        if pid > 0 and len(self._alive) < _UNFINISHED_MAX:
            self._alive.add(pid)

    def _pid_of(self, head: re.Match[str], forks: bool) -> tuple[int, bool]:
        """Return the pid of a line, and whether it is that of the process whose lines had none before.

        forks: the line is the end of a call that starts a process, so it is not of the one that it has started.
        """
        if head["plain"]:
            return int(head["plain"]), False
        if not head["bracketed"]:
            if not self._alive and not self._first:
                self._nameless = True
                return 0, False
            return next(iter(self._alive)) if len(self._alive) == 1 else self._first, False
        pid = int(head["bracketed"])
        if pid in self._alive:
            return pid, False
        self._note_alive(pid)
        starting = 0 in self._begun and self._begun[0].name in _FORKS and not forks
        if self._first or not self._nameless or starting:
            return pid, False
        self._first = pid
        if 0 in self._begun:
            self._begun[pid] = self._begun.pop(0)
        return pid, True

    def _resumed(self, found: re.Match[str], pid: int, number: int, command: str, known: bool) -> StraceCall:
        """Return the whole of a call that goes on; its first half may be missing, where a text begins in the middle."""
        begun = self._begun.pop(pid, None)
        if begun is None or begun.name != found["name"]:
            return self._taken(pid, number, command, known)
        arguments = begun.arguments
        if rest := found["arguments"].lstrip():
            joint = "" if rest.startswith(",") or not arguments or arguments.endswith(" ") else " "
            arguments = f"{arguments}{joint}{rest}"
        call = _ended_call(found, pid, begun.line, command, begun.at_s, arguments)
        return replace(call, nameless_before=True) if known else call


def _ended_call(
    found: re.Match[str], pid: int, line: int, command: str, at_s: float | None, arguments: str
) -> StraceCall:
    rest = found["rest"]
    errno = _ERRNO.match(rest)
    return StraceCall(
        StraceEvent.CALL,
        pid,
        line,
        found.groupdict().get("name", ""),
        arguments,
        found["returned"],
        errno["errno"] if errno else "",
        rest,
        command,
        at_s,
    )


def _at_s(head: re.Match[str]) -> float | None:
    """Return the absolute time of a line; a number that is too small for one is that of -r, since the line before."""
    if clock := head["clock"]:
        hours, minutes, seconds = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if epoch := head["epoch"]:
        seconds = float(epoch)
        return seconds if seconds > _EPOCH_MIN_S else None
    return None


#: 2001, in seconds since 1970: no trace is older, and no two calls are as far apart.
_EPOCH_MIN_S: Final = 1e9
