"""Names of errnos, from the words and numbers that programs print.

Sources: errno(3); glibc, sysdeps/gnu/errlist.h; musl, src/errno/__strerror.h; the BSDs and macOS, "Can't assign
requested address". Their numbers differ, so words count more than a number beside them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from typing import Final

from loadgen.outcomes import Syscall

#: Each errno that concerns opening connections, and how it is written: glibc, musl, others.
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "EADDRNOTAVAIL": (
        "cannot assign requested address",
        "can't assign requested address",
        "address not available",
        "addrnotavailable",
        "addressnotavailable",
    ),
    "EADDRINUSE": ("address already in use", "address in use", "addrinuse", "addressalreadyinuse"),
    "EMFILE": ("too many open files", "no file descriptors available"),
    "ENFILE": ("too many open files in system",),
    "ECONNREFUSED": ("connection refused", "connectionrefused"),
    "ECONNRESET": ("connection reset by peer", "connection reset"),
    "ETIMEDOUT": ("connection timed out", "operation timed out"),
    "EHOSTUNREACH": ("no route to host", "host is unreachable"),
    "ENETUNREACH": ("network is unreachable", "network unreachable"),
    "EPERM": ("operation not permitted",),
    "EACCES": ("permission denied",),
    "ENOBUFS": ("no buffer space available",),
    "ENOMEM": ("cannot allocate memory", "out of memory"),
    "EAGAIN": ("resource temporarily unavailable",),
    "EAFNOSUPPORT": ("address family not supported by protocol",),
    "ENETDOWN": ("network is down",),
    "EHOSTDOWN": ("host is down",),
}
NAMES: Final = frozenset(_TEXTS)
_BY_TEXT: Final = {text: name for name, texts in _TEXTS.items() for text in texts}
_BY_NUMBER: Final = {getattr(errno, name): name for name in _TEXTS}


def _either(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


#: A regular expression for the name of an errno, or its words; without regard to case.
ERROR: Final = rf"(?:{_either([*_BY_TEXT, *NAMES])})\b"

#: System calls that may say so while a connection or a service is opened or used; of accept(), SOCKET stands for it.
_CALLS: Final[Mapping[str, frozenset[Syscall]]] = {
    "EADDRNOTAVAIL": frozenset({Syscall.CONNECT, Syscall.BIND}),
    "EADDRINUSE": frozenset({Syscall.CONNECT, Syscall.BIND}),
    "EMFILE": frozenset({Syscall.SOCKET}),
    "ENFILE": frozenset({Syscall.SOCKET}),
    "ECONNREFUSED": frozenset({Syscall.CONNECT}),
    "ECONNRESET": frozenset({Syscall.CONNECT, Syscall.RECV, Syscall.SEND}),
    "ETIMEDOUT": frozenset({Syscall.CONNECT, Syscall.WAIT, Syscall.RECV}),
    "EHOSTUNREACH": frozenset({Syscall.CONNECT, Syscall.RECV, Syscall.SEND}),
    "ENETUNREACH": frozenset({Syscall.CONNECT, Syscall.RECV, Syscall.SEND}),
    "EPERM": frozenset({Syscall.SOCKET, Syscall.SETSOCKOPT, Syscall.BIND, Syscall.CONNECT, Syscall.SEND}),
    "EACCES": frozenset({Syscall.SOCKET, Syscall.SETSOCKOPT, Syscall.BIND, Syscall.CONNECT, Syscall.SEND}),
    "ENOBUFS": frozenset({Syscall.SOCKET, Syscall.BIND, Syscall.CONNECT, Syscall.SEND}),
    "ENOMEM": frozenset({Syscall.SOCKET, Syscall.BIND, Syscall.CONNECT, Syscall.SEND}),
    "EAGAIN": frozenset({Syscall.CONNECT, Syscall.BIND, Syscall.SEND}),
    "EAFNOSUPPORT": frozenset({Syscall.SOCKET, Syscall.BIND, Syscall.CONNECT}),
    "ENETDOWN": frozenset({Syscall.CONNECT, Syscall.SEND}),
    "EHOSTDOWN": frozenset({Syscall.CONNECT, Syscall.SEND}),
}


def named(words: str, number: str = "") -> str:
    """Return the name of an errno by its name, its words or else its number on Linux; "": none that is known."""
    name = words.upper()
    if name in NAMES:
        return name
    if found := _BY_TEXT.get(words.lower()):
        return found
    digits = number.lstrip("-")
    # Seven digits: int() of a text of any length takes long, and errnos have three.
    return _BY_NUMBER.get(int(digits), "") if digits.isascii() and digits.isdecimal() and len(digits) < 7 else ""


def calls(name: str, among: frozenset[Syscall] | None = None) -> frozenset[Syscall]:
    """Return the system calls that may say an errno, those of `among` if any of these may."""
    may = _CALLS.get(name)
    if may is None:
        return among or frozenset()
    return may & among or may if among else may


def shortest(words: set[str]) -> tuple[str, ...]:
    """Return the words without those that contain another one."""
    return tuple(sorted(one for one in words if not any(other in one for other in words - {one})))


#: A line without any of these, in lower case, has neither the name nor the words of an errno.
SIGNS: Final = shortest({*_BY_TEXT, *(name.lower() for name in NAMES)})
