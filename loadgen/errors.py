"""The failures that stop loadgen, and the exit code of each.

    LoadgenError                 1   a bug in loadgen, or an unforeseen state
    ├── UsageError               2   an invalid flag, file or combination
    │   └── ScenarioError        2   an error in a scenario, at line and column
    ├── HostError                3   this host cannot do it: privilege, missing address, refused sysctl
    │   ├── CapacityError        3   a resource is too small, with the numbers and the remedy
    │   ├── LabForbiddenError    3   this host does not permit a network namespace
    │   ├── KernelLacksError     3   this kernel is too old for a setting
    │   ├── ResultsError         3   the run directory cannot be written
    │   └── OutputError          3   stdout cannot be written
    ├── IncompleteError          4   a worker or sink was lost, so the results are incomplete
    │   ├── AgentLostError       4   an agent has left the cluster
    │   └── AgentSilentError     4   an agent does not answer: it is stopped, or cut off
    └── InterruptedRunError    130   interrupted before there was anything to report

A refused connection, a port in use, a timeout: these are not exceptions. Counting them is loadgen's purpose; see
`loadgen.outcomes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

#: As in typing, whose import takes a while in which signals are not caught yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Mistakes of a scenario that are shown in full; further ones are counted.
MISTAKES_MAX: Final = 20


class ExitCode(IntEnum):
    """Exit status of the process; stable, documented in the README."""

    FINE = 0
    BUG = 1
    USAGE = 2
    HOST = 3
    INCOMPLETE = 4
    EXPECTATION = 99
    INTERRUPTED = 130


class LoadgenError(Exception):
    """loadgen cannot continue; the message is one or two sentences and includes the remedy."""

    exit_code = ExitCode.BUG


class UsageError(LoadgenError):
    """An argument of the command line or the content of a file is invalid."""

    exit_code = ExitCode.USAGE


class ScenarioError(UsageError):
    """A scenario is invalid, in one place or in several.

    The message begins with `file`, `line` and `column` (both from 1; 0 without a place), so that an editor can jump
    there; `others` are the mistakes after the first. The text has a line for each, at most MISTAKES_MAX.
    """

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, others: Sequence[ScenarioError] = ()
    ) -> None:
        place = f"{file or 'scenario'}:{line}:{column}: " if line else f"{file}: " if file else ""
        lines = [place + message, *(str(other) for other in others)]
        hidden = len(lines) - MISTAKES_MAX
        more = [f"and {hidden:,} more mistake{'s' if hidden > 1 else ''}"] if hidden > 0 else []
        super().__init__("\n".join(lines[:MISTAKES_MAX] + more))
        self.message, self.file, self.line, self.column = message, file, line, column
        self.others = tuple(others)

    @classmethod
    def of(cls, mistakes: Iterable[ScenarioError]) -> ScenarioError:
        """Return one error for one or more, in their order, each once."""
        first, *others = dict.fromkeys((error.message, error.file, error.line, error.column) for error in mistakes)
        made = [cls(message, file=file, line=line, column=column) for message, file, line, column in others]
        message, file, line, column = first
        return cls(message, file=file, line=line, column=column, others=made)

    @property
    def mistakes(self) -> tuple[ScenarioError, ...]:
        """Each mistake as an error of its own, this one first."""
        return (type(self)(self.message, file=self.file, line=self.line, column=self.column), *self.others)


class HostError(LoadgenError):
    """This host cannot do what was requested; detected before any load."""

    exit_code = ExitCode.HOST


class CapacityError(HostError):
    """The plan needs more of one resource than exists: "four-tuples: need 60,000, have 28,232; add ..."."""

    def __init__(self, resource: str, *, needed: int, available: int, remedy: str) -> None:
        super().__init__(f"{resource}: need {needed:,}, have {available:,}; {remedy}")
        self.resource, self.needed, self.available, self.remedy = resource, needed, available, remedy


class LabForbiddenError(HostError):
    """Neither privilege nor user namespaces permit a network namespace here."""


class KernelLacksError(HostError):
    """This kernel is too old for a setting, or for its value; the message names the version that has it."""


class ResultsError(HostError):
    """The run directory cannot be written (full disk, no permission); files written before stay."""


class OutputError(HostError):
    """Stdout takes nothing (full disk, closed, terminal gone); the files that were written are complete."""


class IncompleteError(LoadgenError):
    """A worker, a sink or the lab was lost before it had finished."""

    exit_code = ExitCode.INCOMPLETE


class AgentLostError(IncompleteError):
    """An agent has left the cluster, or its connection has failed."""


class AgentSilentError(IncompleteError):
    """An agent has not answered in time; it may be stopped, or cut off, and may come back."""


class InterruptedRunError(LoadgenError):
    """Ctrl-C or SIGTERM came before any load, so there is nothing to report."""

    exit_code = ExitCode.INTERRUPTED
