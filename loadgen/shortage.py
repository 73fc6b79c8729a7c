"""Exceptions by which the host says that it has too little: descriptors, memory, processes, room for files.

They may come from any call, so they are told apart here, in one place, and not around each call.

Sources: errno(3); getrlimit(2), RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_NPROC, RLIMIT_FSIZE; of Python
Modules/_threadmodule.c for the thread that cannot be started and Lib/tempfile.py for the directory that is not found;
dlopen(3) for a library.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from loadgen.errors import HostError

T = TypeVar("T")

#: Enough for any command, though not for the connections of a run.
_DESCRIPTORS: Final = 1024
#: How a container gets a filter of system calls that permits more.
_FILTER: Final = "(docker run --security-opt seccomp=PROFILE)"
_MIB: Final = 1 << 20
#: Errnos of send(2) and recv(2) that pass when others have given memory back.
_PASSING: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})
#: Together a second: a process that cannot speak for longer cannot be led.
_TRIES: Final = 100
_PAUSE_S: Final = 0.01


class _MemoryLimit(NamedTuple):
    """A limit of the memory of a process. needed: bytes with which every command works."""

    number: int
    name: str
    of: str
    needed: int
    remedy: str


_MEMORY_LIMITS: Final = (
    # A small run has come to its end with 190 MiB, and not with 150.
    _MemoryLimit(resource.RLIMIT_AS, "RLIMIT_AS", "address space", 256 * _MIB, "ulimit -v unlimited"),
    # And with 128 MiB, and not with 96.
    _MemoryLimit(resource.RLIMIT_DATA, "RLIMIT_DATA", "data", 128 * _MIB, "ulimit -d unlimited"),
)
_NO_MEMORY: Final = ("Cannot allocate memory", "failed to map segment")


def of(error: BaseException) -> HostError | None:
    """Return the error with the limit that an exception is about, and the remedy; None if it may be a bug of ours."""
    if isinstance(error, HostError):
        return error
    text = _of_system_call(error) if isinstance(error, OSError) else _of_python(error)
    return HostError(text) if text else None


def behind(error: BaseException) -> HostError | None:
    """Return the same of the exception that an error was raised from or, if that is about none, of the error."""
    return (behind(error.__cause__) if error.__cause__ else None) or of(error)


def _of_python(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and any(said in text for said in _NO_MEMORY)):
        return memory()
    if isinstance(error, ImportError) and (module := _not_found(error)):
        return f"the module {module} cannot be found: it is not installed, or this user may not read it"
    if isinstance(error, SystemError) and _memory_limits():  # code in C that has not looked whether it was given memory
        return f"most likely {memory()} ({type(error).__name__}: {text})"
    if isinstance(error, RuntimeError) and text == "can't start new thread":  # CPython knows no more of it
        return processes()
    return ""


def _not_found(error: ImportError) -> str | None:
    """Return the module that importlib's FileFinder did not find, as in a directory that it could not read.

    `from package import module` says of a module that is there that its name cannot be imported, and in the package's
    own __init__.py adds that the package is partially initialized.
    """
    if isinstance(error, ModuleNotFoundError):
        return error.name
    name = re.match(r"cannot import name '(\w+)' from (?:partially initialized module )?'", str(error))
    if name is None or error.path is None:
        return None
    places = (Path(error.path).parent / place for place in (f"{name[1]}.py", f"{name[1]}/__init__.py"))
    return f"{error.name}.{name[1]}" if any(place.is_file() for place in places) else None


def _of_system_call(error: OSError) -> str:
    number = error.errno
    place = f" ({error.filename})" if error.filename else ""
    if number == errno.EMFILE:
        return descriptors()
    if number == errno.ENFILE:
        return f"the host has no room for another open file{place}; raise the limit: sysctl -w fs.file-max=N"
    if number in (errno.ENOMEM, errno.ENOBUFS):
        return memory()
    if number in (errno.EACCES, errno.EPERM) and str(error.filename).startswith("/proc/"):
        return f"this process may not read {error.filename} ({error.strerror}); give it a /proc that it may read"
    if number == errno.EFBIG:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return f"files may have at most {limit:,} bytes here (RLIMIT_FSIZE); raise it: ulimit -f unlimited"
    if number == errno.ENOSYS:
        return (
            "this kernel, or a filter of system calls as of a container, lacks a call that loadgen needs; permit it "
            f"{_FILTER}"
        )
    if number == errno.EIO:
        return f"a device of this host fails{place}: {error.strerror}; look for its errors in the kernel's log (dmesg)"
    if number == errno.ENOSPC and not place:  # of inotify, epoll, namespaces, as well as of file systems
        return f"the host has no room left: {error.strerror}; free space, or raise the limit of the call"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return f"cannot write{place}: {error.strerror}; make room, or choose another place"
    if number == errno.ENOENT and "No usable temporary directory" in str(error.strerror):
        return (
            "there is no directory for temporary files that can be written; set TMPDIR to one (docker run --tmpfs /tmp)"
        )
    if number == errno.ENOENT and error.filename == os.devnull:
        return f"there is no {os.devnull} here; mknod -m 666 {os.devnull} c 1 3"
    return ""


def patiently(call: Callable[[], T]) -> T:
    """Call until it succeeds, for a second at most, as long as it fails for lack of memory. Raises: OSError."""
    for _ in range(_TRIES - 1):
        try:
            return call()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(_PAUSE_S)
    return call()


def require_whole(dropped: int) -> None:
    """Check that the descriptors of a message have come with it; dropped: MSG_CTRUNC of the flags of recvmsg(2), or 0.

    The kernel drops those for which the receiver has no room, and says so with MSG_CTRUNC alone (unix(7), SCM_RIGHTS).

    Raises: OSError EMFILE.
    """
    if dropped:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def descriptors() -> str:
    """Return the sentence about the limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"this process may have {soft:,} files open at once (RLIMIT_NOFILE, hard limit {hard:,}), too few; raise it: "
        f"ulimit -n {max(_DESCRIPTORS, 2 * soft)} (docker run --ulimit nofile=NUMBER)"
    )


def memory() -> str:
    """Return the sentence about memory, with the limits of this process if it has any."""
    limited = _memory_limits()
    if not limited:
        return "the host, or the control group of this process, has no memory left for this; free some"
    most = " and ".join(f"{bytes_max // _MIB:,} MiB of {limit.of} ({limit.name})" for limit, bytes_max in limited)
    remedies = "; ".join(limit.remedy for limit, _ in limited)
    return f"no memory left: this process may have {most}; raise it: {remedies}"


def _memory_limits() -> list[tuple[_MemoryLimit, int]]:
    """Return the limits that this process has, in bytes."""
    soft = ((limit, resource.getrlimit(limit.number)[0]) for limit in _MEMORY_LIMITS)
    return [(limit, bytes_max) for limit, bytes_max in soft if bytes_max != resource.RLIM_INFINITY]


def processes() -> str:
    """Return the sentence about the limits of processes and threads; memory may be the reason, too."""
    if _memory_limits():
        return memory()
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    ours = "" if limit == resource.RLIM_INFINITY else f"; this user may have {limit:,} (RLIMIT_NPROC)"
    return (
        f"the host lets no further process or thread start{ours}; raise it: ulimit -u 4096, pids.max of the control "
        "group (docker run --pids-limit), or kernel.threads-max"
    )


@contextmanager
def needing(call: str) -> Iterator[None]:
    """Around a system call that loadgen cannot do without, as `prctl(PR_SET_PDEATHSIG)`. Raises: HostError."""
    try:
        yield
    except OSError as error:
        raise of(error) or HostError(
            f"the kernel, or a filter of system calls as of a container, refuses {call}: {error.strerror}; permit it "
            f"{_FILTER}"
        ) from error


@contextmanager
def starting(program: str) -> Iterator[None]:
    """Around the start of a process. Raises: HostError with the limit, or the reason of the system, for an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EAGAIN:  # of fork(2), clone(2)
            raise HostError(processes()) from error
        place = f" ({error.filename})" if error.filename else ""
        raise of(error) or HostError(f"cannot start {program}: {error.strerror}{place}") from error


def fork() -> int:
    """Fork, as os.fork() does. Raises: HostError where a limit forbids another process."""
    with starting("a process"):
        return os.fork()


def memory_file(name: str) -> int:
    """Return the descriptor of a new file in memory, closed on execve(2) (memfd_create(2)). Raises: HostError."""
    with needing("memfd_create()"):
        return os.memfd_create(name, os.MFD_CLOEXEC)


def require_memory() -> None:
    """Check that this process may have the memory that the libraries take.

    Without it NumPy's linear algebra ends the process by itself, with a message of its own.

    Raises: HostError.
    """
    for limit, bytes_max in _memory_limits():
        if bytes_max < limit.needed:
            raise HostError(
                f"this process may have {bytes_max // _MIB:,} MiB of {limit.of} ({limit.name}), and loadgen needs "
                f"{limit.needed // _MIB}; raise it: {limit.remedy}"
            )
