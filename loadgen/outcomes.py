"""The meaning of (syscall, errno) for a connection: a table, not a tree of exceptions.

The system call is half of the meaning. EADDRNOTAVAIL from bind() means that the source address cannot be used here;
from connect() that no four-tuple is free, which over UDP is EAGAIN and concerns the port. (Without bind(), connect()
says the same where the target's family has no address here, as with IPv6 switched off: `loadgen.kernel.missing` looks
for that before a run.) So every failure is kept as the pair, and the table maps it to an outcome that a person can act
on.

Five of the "system calls" are not calls that failed: `wait` is loadgen's own time-out, `recv` or `send` on an open
connection means that the other side closed it, `getsockname` with errno 0 is a connection to itself, errno 0 from
`recv` is an end of file, and `tls` is a failed handshake, with a reason of its own instead of an errno.
"""

import errno
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple


class Syscall(IntEnum):
    """Place where an outcome was decided; the number is the upper half of an error key."""

    SOCKET = 1
    SETSOCKOPT = 2
    BIND = 3
    CONNECT = 4
    WAIT = 5
    RECV = 6
    GETSOCKNAME = 7
    REGISTER = 8
    SEND = 9
    TLS = 10
    GETSOCKOPT = 11


class Outcome(StrEnum):
    """Result of an attempt, or the loss of an established connection."""

    ESTABLISHED = "established"
    NO_FREE_FOUR_TUPLE = "no-free-four-tuple"
    NO_FREE_PORT = "no-free-port"
    NO_SUCH_SOURCE = "no-such-source"
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    NO_DESCRIPTOR = "no-descriptor"
    NO_WATCH = "no-watch"
    NO_MEMORY = "no-memory"
    SELF_CONNECT = "self-connect"
    CERTIFICATE = "certificate"
    TLS = "tls"
    LOST = "lost"
    OTHER = "other"


#: The limits that a verdict may name, the nearest to loadgen first, which decides a tie; docs/verdict.md explains each.
LIMITS: Final = (
    "four-tuples",
    "source-ports",
    "port-held",
    "time-wait",
    "source-address",
    "port-search",
    "descriptors",
    "watches",
    "memory",
    "forbidden",
    "conntrack",
    "nat-ports",
    "neighbours",
    "self-connect",
    "backlog",
    "syn-loss",
    "target-time-wait",
    "path-limit",
    "blackhole",
    "refused",
    "reset",
    "unreachable",
    "lost",
    "tls",
    "unanswered",
    "wrong-reply",
    "other",
    "in-flight",
    "interrupted",
    "incomplete",
    "paused",
    "generator",
    "none",
)

#: Errnos with the same meaning in every system call, errno(3).
_ANYWHERE: Final = {
    errno.EMFILE: Outcome.NO_DESCRIPTOR,
    errno.ENFILE: Outcome.NO_DESCRIPTOR,
    errno.ENOBUFS: Outcome.NO_MEMORY,
    errno.ENOMEM: Outcome.NO_MEMORY,
    errno.EACCES: Outcome.FORBIDDEN,
    errno.EPERM: Outcome.FORBIDDEN,
}

#: Errnos whose meaning depends on the system call, as for connect(2) and bind(2).
_BY_SYSCALL: Final = {
    (Syscall.BIND, errno.EADDRNOTAVAIL): Outcome.NO_SUCH_SOURCE,
    (Syscall.BIND, errno.EADDRINUSE): Outcome.NO_FREE_PORT,
    (Syscall.CONNECT, errno.EADDRNOTAVAIL): Outcome.NO_FREE_FOUR_TUPLE,
    (Syscall.CONNECT, errno.EADDRINUSE): Outcome.NO_FREE_FOUR_TUPLE,
    (Syscall.CONNECT, errno.EAGAIN): Outcome.NO_FREE_PORT,  # UDP only: inet_autobind(), net/ipv4/af_inet.c
    (Syscall.CONNECT, errno.ECONNREFUSED): Outcome.REFUSED,
    (Syscall.CONNECT, errno.ECONNRESET): Outcome.RESET,
    (Syscall.CONNECT, errno.ETIMEDOUT): Outcome.TIMED_OUT,
    (Syscall.CONNECT, errno.ENETUNREACH): Outcome.UNREACHABLE,
    (Syscall.CONNECT, errno.EHOSTUNREACH): Outcome.UNREACHABLE,
    (Syscall.REGISTER, errno.ENOSPC): Outcome.NO_WATCH,  # epoll_ctl(2)
    (Syscall.WAIT, errno.ETIMEDOUT): Outcome.TIMED_OUT,
    (Syscall.GETSOCKNAME, 0): Outcome.SELF_CONNECT,
}


#: Errnos with which this host ends an open connection, or a router does; all others mean that the other side did.
_ON_OPEN: Final = {
    **_ANYWHERE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
}


class TlsReason(IntEnum):
    """Reason why TLS failed; takes the place of an errno."""

    CERTIFICATE_EXPIRED = 1
    CERTIFICATE_UNKNOWN_ISSUER = 2
    CERTIFICATE_WRONG_NAME = 3
    CERTIFICATE_REFUSED = 4
    WRONG_VERSION = 5
    ALERT = 6
    NOT_TLS = 7
    OTHER = 8


_CERTIFICATE: Final = frozenset(reason for reason in TlsReason if reason.name.startswith("CERTIFICATE"))
_TLS_NAMES: Final = {reason.value: reason.name for reason in TlsReason}

_ERRNO_BITS: Final = 16


class ErrorKind(NamedTuple):
    """A failure by name: the system call, the errno ("EOF" and "SELF" for errno 0), the outcome."""

    syscall: str
    errno: str
    outcome: str


def error_key(syscall: Syscall, number: int) -> int:
    """Return one positive integer for (syscall, errno), small enough for a shared array."""
    return syscall << _ERRNO_BITS | number


def outcome_of(syscall: Syscall, number: int) -> Outcome:
    """Return the outcome of a failure; an unlisted pair is OTHER, and its errno is kept beside it."""
    if syscall in (Syscall.RECV, Syscall.SEND):
        return _ON_OPEN.get(number, Outcome.LOST)
    if syscall is Syscall.TLS:
        return Outcome.CERTIFICATE if number in _CERTIFICATE else Outcome.TLS
    return _BY_SYSCALL.get((syscall, number)) or _ANYWHERE.get(number, Outcome.OTHER)


def describe(key: int) -> ErrorKind:
    """Return the names for an `error_key`. Raises: ValueError for an unknown system call number."""
    syscall, number = Syscall(key >> _ERRNO_BITS), key & (1 << _ERRNO_BITS) - 1
    if syscall is Syscall.TLS:
        name = _TLS_NAMES.get(number, str(number))
    elif number == 0:
        name = "SELF" if syscall is Syscall.GETSOCKNAME else "EOF"
    else:
        name = errno.errorcode.get(number, str(number))
    return ErrorKind(syscall.name.lower(), name, outcome_of(syscall, number).value)
