"""Exceptions that tell of a limit of the host name it, and what raises it; all others stay what they are."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable

import pytest

import loadgen
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


def test_where_memory_is_limited_a_system_error_is_for_want_of_it(limits: dict[int, tuple[int, int]]) -> None:
    error = SystemError("error return without exception set")
    assert shortage.of(error) is None
    limits[resource.RLIMIT_AS] = (1 << 28, 1 << 28)
    found = shortage.of(error)
    assert found
    assert "RLIMIT_AS" in str(found)
    assert "error return without" in str(found)


@pytest.mark.parametrize("how", ["", "partially initialized module "])
@pytest.mark.parametrize(("name", "there"), [("shortage", True), ("views", True), ("nonsense", False)])
def test_a_module_that_is_there_and_is_not_found_is_no_mistake_in_the_program(name: str, there: bool, how: str) -> None:
    """As of `from loadgen import shortage` while its directory cannot be read; also in the package's __init__.py."""
    error = ImportError(f"cannot import name '{name}' from {how}'loadgen'", name="loadgen", path=loadgen.__file__)
    found = shortage.of(error)
    assert (found is not None) is there
    assert not found or f"the module loadgen.{name} cannot be found" in str(found)


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


def test_the_shortage_behind_an_error_of_ours() -> None:
    error = HostError("cannot read it")
    error.__cause__ = refused(errno.EMFILE)
    assert "RLIMIT_NOFILE" in str(shortage.behind(error))
    alone = HostError("refused")
    assert shortage.behind(alone) is alone
    assert shortage.behind(KeyError("x")) is None


def test_a_process_that_cannot_be_started_names_the_limit_or_the_reason(limits: dict[int, tuple[int, int]]) -> None:
    limits[resource.RLIMIT_NPROC] = (1, 1)
    with pytest.raises(HostError, match=r"this user may have 1 \(RLIMIT_NPROC\)"), shortage.starting("strace"):
        raise refused(errno.EAGAIN)
    with pytest.raises(HostError, match=r"cannot start strace: Permission denied \(/x\)"), shortage.starting("strace"):
        raise refused(errno.EACCES, "/x")
    limits[resource.RLIMIT_AS] = (1 << 30, 1 << 30)
    with pytest.raises(HostError, match=r"1,024 MiB of address space \(RLIMIT_AS\)"), shortage.starting("strace"):
        raise refused(errno.EAGAIN)  # the stack of a thread needs memory, too


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (resource.RLIMIT_AS, r"100 MiB of address space \(RLIMIT_AS\), and loadgen needs 256; .* ulimit -v unlimited"),
        (resource.RLIMIT_DATA, r"100 MiB of data \(RLIMIT_DATA\), and loadgen needs 128; .* ulimit -d unlimited"),
    ],
)
def test_little_memory_is_said_before_a_library_ends_the_process(
    limits: dict[int, tuple[int, int]], number: int, said: str
) -> None:
    shortage.require_memory()
    limits[number] = (100 << 20, 100 << 20)
    with pytest.raises(HostError, match=said):
        shortage.require_memory()


def test_memory_that_is_used_up_names_every_limit_of_it(limits: dict[int, tuple[int, int]]) -> None:
    assert "control group" in shortage.memory()
    limits[resource.RLIMIT_DATA] = (1 << 30, 1 << 30)
    assert "may have 1,024 MiB of data (RLIMIT_DATA); raise it: ulimit -d unlimited" in shortage.memory()
    limits[resource.RLIMIT_AS] = (2 << 30, 2 << 30)
    assert "2,048 MiB of address space (RLIMIT_AS) and 1,024 MiB of data (RLIMIT_DATA)" in shortage.memory()


def failing(times: int, number: int) -> Callable[[], str]:
    """A call that fails so many times first."""
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise OSError(number, "x")
        return "done"

    return call


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ETOOMANYREFS])
def test_what_passes_is_tried_again_for_a_second(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert shortage.patiently(failing(99, number)) == "done"
    assert sum(pauses) == pytest.approx(0.99)
    with pytest.raises(OSError, match="x"):
        shortage.patiently(failing(100, number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EBADF, errno.EMSGSIZE])
def test_what_stays_is_raised_at_once(number: int) -> None:
    with pytest.raises(OSError, match="x"):
        shortage.patiently(failing(1, number))
