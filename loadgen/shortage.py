"""Exceptions by which the host says that it has too little: descriptors, memory, processes, room for files.

They may come from any call, so they are told apart here, in one place, and not around each call.

Sources: errno(3); getrlimit(2), RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_NPROC, RLIMIT_FSIZE; Modules/_threadmodule.c of Python
for the thread that cannot be started, Lib/tempfile.py for the directory that is not found, dlopen(3) for a library.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from loadgen.errors import HostError

#: Enough for any command, though not for the connections of a run.
_DESCRIPTORS: Final = 1024
_MIB: Final = 1 << 20
#: A small run has come to its end with 190 MiB, and not with 150.
_ADDRESS_SPACE: Final = 256 * _MIB
_NO_MEMORY: Final = ("Cannot allocate memory", "failed to map segment")


def of(error: BaseException) -> HostError | None:
    """Return the error with the limit that an exception is about, and the remedy; None if it may be a bug of ours."""
    text = _of_system_call(error) if isinstance(error, OSError) else _of_python(error)
    return HostError(text) if text else None


def _of_python(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and any(said in text for said in _NO_MEMORY)):
        return memory()
    if isinstance(error, ModuleNotFoundError):  # importlib's FileFinder passes over directories that it cannot read
        return f"the module {error.name} cannot be found: it is not installed, or this user may not read it"
    if isinstance(error, RuntimeError) and text == "can't start new thread":  # CPython knows no more of it
        return processes()
    return ""


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
        return "this kernel, or a filter of system calls as of a container, lacks a call that loadgen needs; permit it"
    if number == errno.EIO:
        return f"a device of this host fails{place}: {error.strerror}; look for its errors in the kernel's log (dmesg)"
    if number == errno.ENOSPC and not place:  # of inotify, epoll, namespaces, as well as of file systems
        return f"the host has no room left: {error.strerror}; free space, or raise the limit of the call"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return f"cannot write{place}: {error.strerror}; make room, or choose another place"
    if number == errno.ENOENT and "No usable temporary directory" in str(error.strerror):
        return "there is no directory for temporary files that can be written; set TMPDIR to one"
    if number == errno.ENOENT and error.filename == os.devnull:
        return f"there is no {os.devnull} here; mknod -m 666 {os.devnull} c 1 3"
    return ""


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
        f"ulimit -n {max(_DESCRIPTORS, 2 * soft)}"
    )


def memory() -> str:
    """Return the sentence about memory, with the limit of this process if it has one."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return "the host, or the control group of this process, has no memory left for this; free some"
    return f"no memory left: this process may have {limit // _MIB:,} MiB (RLIMIT_AS); raise it: ulimit -v unlimited"


def processes() -> str:
    """Return the sentence about the limits of processes and threads; memory may be the reason, too."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return memory()
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    ours = "" if limit == resource.RLIM_INFINITY else f"; this user may have {limit:,} (RLIMIT_NPROC)"
    return (
        f"the host lets no further process or thread start{ours}; raise it: ulimit -u 4096, pids.max of the control "
        "group, or kernel.threads-max"
    )


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


def require_memory() -> None:
    """Check that the address space of this process has room for the libraries.

    Without it NumPy's linear algebra ends the process by itself, with a message of its own.

    Raises: HostError.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise HostError(
            f"this process may have {limit // _MIB:,} MiB of address space (RLIMIT_AS), and loadgen needs "
            f"{_ADDRESS_SPACE // _MIB}; raise it: ulimit -v unlimited"
        )
