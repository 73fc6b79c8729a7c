"""Exceptions that tell of a limit of the host name it, and what raises it; all others stay what they are."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from loadgen import crash, shortage
from loadgen.errors import ExitCode, HostError


def refused(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """The limits of this process, by number; without an entry: none."""
    values: dict[int, tuple[int, int]] = {}
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr("resource.getrlimit", lambda number: values.get(number, infinite))
    return values


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused(errno.EMFILE), "this process may have 8 files open at once (RLIMIT_NOFILE, hard limit 16), too few"),
        (refused(errno.ENFILE), "fs.file-max"),
        (refused(errno.ENOMEM), "no memory"),
        (MemoryError(), "no memory"),
        (ImportError("libz.so.1: failed to map segment from shared object"), "no memory"),
        (ImportError("libz.so.1: cannot open shared object file: Cannot allocate memory"), "no memory"),
        (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "the module x.y cannot be found"),
        (RuntimeError("can't start new thread"), "no further process or thread"),
        (refused(errno.EACCES, "/proc/self/net/sockstat"), "may not read /proc/self/net/sockstat (Permission denied)"),
        (refused(errno.EFBIG), "RLIMIT_FSIZE"),
        (refused(errno.ENOSPC, "/mnt/x"), "cannot write (/mnt/x): No space left on device"),
        (refused(errno.ENOSPC), "no room left"),
        (refused(errno.EIO, "/mnt/x"), "(/mnt/x): Input/output error; look for its errors in the kernel's log (dmesg)"),
        (refused(errno.ENOBUFS), "no memory"),
        (refused(errno.ENOSYS), "lacks a call"),
        (refused(errno.EROFS, "/mnt/x"), "cannot write (/mnt/x): Read-only file system"),
        (refused(errno.ENOENT, "/dev/null"), "mknod -m 666 /dev/null c 1 3"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "set TMPDIR"),
    ],
    ids=str,
)
def test_a_shortage_names_its_limit(limits: dict[int, tuple[int, int]], error: Exception, said: str) -> None:
    limits[resource.RLIMIT_NOFILE] = (8, 16)
    limits[resource.RLIMIT_FSIZE] = (4096, 4096)
    found = shortage.of(error)
    assert found
    assert found.exit_code is ExitCode.HOST
    assert said in str(found)
    assert "\n" not in str(found)
    assert crash.told(error) == str(found)


@pytest.mark.parametrize(
    "error",
    [
        refused(errno.EBADF),
        OSError("x"),
        refused(errno.ENOENT, "/x"),
        refused(errno.EACCES, "/x"),
        ImportError("no module x"),
        RuntimeError("x"),
        KeyError("x"),
    ],
    ids=str,
)
def test_another_error_is_none(error: Exception) -> None:
    assert shortage.of(error) is None


def test_a_process_that_cannot_be_started_names_the_limit_or_the_reason(limits: dict[int, tuple[int, int]]) -> None:
    limits[resource.RLIMIT_NPROC] = (1, 1)
    with pytest.raises(HostError, match=r"this user may have 1 \(RLIMIT_NPROC\)"), shortage.starting("strace"):
        raise refused(errno.EAGAIN)
    with pytest.raises(HostError, match=r"cannot start strace: Permission denied \(/x\)"), shortage.starting("strace"):
        raise refused(errno.EACCES, "/x")
    limits[resource.RLIMIT_AS] = (1 << 30, 1 << 30)
    with pytest.raises(HostError, match=r"1,024 MiB \(RLIMIT_AS\)"), shortage.starting("strace"):
        raise refused(errno.EAGAIN)  # the stack of a thread needs memory, too


def test_little_address_space_is_said_before_a_library_ends_the_process(limits: dict[int, tuple[int, int]]) -> None:
    shortage.require_memory()
    limits[resource.RLIMIT_AS] = (100 << 20, 100 << 20)
    with pytest.raises(HostError, match=r"100 MiB of address space \(RLIMIT_AS\), and loadgen needs 256"):
        shortage.require_memory()
