"""The failures that stop loadgen, and the exit code of each.

    LoadgenError                 1   a bug of ours, or a state nobody foresaw
    ├── UsageError               2   a flag, a file or a combination that cannot be meant
    │   └── ScenarioError        2   a scenario that says something wrong, at line and column
    ├── HostError                3   this host cannot do it: privilege, missing address, refused sysctl
    │   ├── CapacityError        3   a resource is too small, with the numbers and the remedy
    │   ├── LabForbiddenError    3   this host lets us make no network namespace
    │   └── ResultsError         3   the run directory cannot be written
    ├── IncompleteError          4   a worker or sink was lost, so the run says less than it should
    └── InterruptedRunError    130   interrupted before there was anything to report

A refused connection, a port that is taken, a timeout: none of these is an exception. They are
what loadgen exists to count, and live in `loadgen.outcomes`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; stable, documented in the README."""

    FINE = 0
    BUG = 1
    USAGE = 2
    HOST = 3
    INCOMPLETE = 4
    EXPECTATION = 99
    INTERRUPTED = 130


class LoadgenError(Exception):
    """loadgen cannot go on; the message is one or two sentences with the remedy in them."""

    exit_code = ExitCode.BUG


class UsageError(LoadgenError):
    """Something given on the command line or in a file cannot be meant."""

    exit_code = ExitCode.USAGE


class ScenarioError(UsageError):
    """A scenario says something wrong.

    `file`, `line` and `column` (both from 1; 0 when there is no place to point at) lead the message,
    so that an editor can jump there.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0) -> None:
        place = f"{file or 'scenario'}:{line}:{column}: " if line else f"{file}: " if file else ""
        super().__init__(place + message)
        self.message, self.file, self.line, self.column = message, file, line, column


class HostError(LoadgenError):
    """This host cannot do what was asked, found before any load."""

    exit_code = ExitCode.HOST


class CapacityError(HostError):
    """The plan needs more of one resource than there is: "four-tuples: need 60,000, have 28,232; add ..."."""

    def __init__(self, resource: str, *, needed: int, available: int, remedy: str) -> None:
        super().__init__(f"{resource}: need {needed:,}, have {available:,}; {remedy}")
        self.resource, self.needed, self.available, self.remedy = resource, needed, available, remedy


class LabForbiddenError(HostError):
    """Neither privilege nor user namespaces allow a network namespace of our own here."""


class ResultsError(HostError):
    """The run directory cannot be written (full disk, no permission); what was written stays."""


class IncompleteError(LoadgenError):
    """A worker, a sink or the lab was lost before it had done its part."""

    exit_code = ExitCode.INCOMPLETE


class InterruptedRunError(LoadgenError):
    """Ctrl-C or SIGTERM came before any load, so there is nothing to report."""

    exit_code = ExitCode.INTERRUPTED
