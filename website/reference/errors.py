"""Exit codes with the failures that end in each, and the meaning of each errno of each system call."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from inspect import getdoc
from typing import Final

from loadgen.capacity.limits import LIMIT_OF_OUTCOME
from loadgen.cli.streams import EPILOG
from loadgen.errors import ExitCode, LoadgenError
from loadgen.outcomes import Outcome, Syscall, describe, error_key, outcome_of
from website.reference.markdown import code, codes, plain, table

_HEAD: Final = """\
# Exit codes and errors

Made from the code. [machine-output.md](../machine-output.md#exit-codes) says which files a run leaves for each exit
code.

## Exit codes
"""
_OUTCOMES: Final = """
## Outcomes

A failure is counted as the pair of system call and errno, `errors.connect.EADDRNOTAVAIL`; the pair has the meaning, not
the errno alone. `wait` is loadgen's own time-out, `recv` and `send` are of open connections, `register` is
epoll_ctl(2), and a pair that is not in this table is `other`. On open connections every errno that is not listed is
`lost`.
"""


def page() -> str:
    """Return the page."""
    codes = table(("code", "meaning", "failures that end in it"), map(_code, ExitCode))
    outcomes = table(("system calls", "errno", "outcome", "limit it points at"), _outcomes())
    return f"{_HEAD}\n{codes}{_OUTCOMES}\n{outcomes}"


def _code(exit_code: ExitCode) -> tuple[str, str, str]:
    failures = (f"{code(kind.__name__)}: {plain(_sentence(kind))}" for kind in _kinds(LoadgenError))
    ends = [text for text, kind in zip(failures, _kinds(LoadgenError), strict=True) if kind.exit_code is exit_code]
    return str(exit_code.value), _meanings()[exit_code.value], "<br>".join(ends)


def _meanings() -> dict[int, str]:
    """Return the meaning of each exit code, as each help ends with them."""
    words = " ".join(EPILOG.partition("Exit codes:")[2].split()).removesuffix(".")
    pairs = (part.split(" ", 1) for part in words.split(", "))
    return {int(number): plain(meaning) for number, meaning in pairs}


def _kinds(kind: type[LoadgenError]) -> Iterator[type[LoadgenError]]:
    """Yield a failure and those derived from it that loadgen.errors has."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == LoadgenError.__module__:
            yield from _kinds(below)


def _sentence(kind: type[LoadgenError]) -> str:
    return " ".join((getdoc(kind) or "").split("\n\n")[0].split()).rstrip(".")


def _outcomes() -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each errno and outcome, with the system calls from which the errno means that."""
    calls: dict[tuple[str, Outcome], list[str]] = {}
    asked = [syscall for syscall in Syscall if syscall is not Syscall.TLS]
    for syscall in asked:
        for number in (0, *sorted(errno.errorcode)):
            outcome = outcome_of(syscall, number)
            if outcome not in (Outcome.OTHER, Outcome.LOST):
                kind = describe(error_key(syscall, number))
                calls.setdefault((kind.errno, outcome), []).append(kind.syscall)
    for (name, outcome), syscalls in sorted(calls.items(), key=lambda item: len(item[1])):
        limit = LIMIT_OF_OUTCOME[outcome]
        where = "any" if len(syscalls) == len(asked) else codes(syscalls)
        yield where, code(name), code(outcome.value), f"[{code(limit)}](limits.md#{limit})"
