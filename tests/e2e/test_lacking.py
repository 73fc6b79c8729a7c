"""Hosts that lack something: a command works without it, or says in one line what is missing, with exit code 3.

Each row makes a process poor in one way, in namespaces and limits of its own; this host stays as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from .conftest import IN_LAB, Loadgen, assert_adds_up, assert_one_message, mounted
from .unprivileged import LET_IN, another_user_may_run_this_checkout, as_user, without

_READ_ONLY_SYSCTLS: Final = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
_ONE_FILE: Final = ("prlimit", "--fsize=4096")
_TOO_FEW: Final = r"this process may have \d+ files open at once \(RLIMIT_NOFILE, hard limit \d+\), too few; raise it"


@dataclass(frozen=True, slots=True)
class Row:
    """A poor host and a command. mount: of sh, before the command. calls: forbidden. code, said: expected."""

    lack: str
    command: str
    code: int = 0
    said: str = ""
    mount: str = ""
    prefix: Sequence[str] = ()
    calls: Sequence[str] = ()
    env: Sequence[str] = ()
    scenario: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.lack}, {self.command}"


NO_PROC = "mount -t tmpfs none /proc"
PIDS_ONLY = "mount -t proc -o subset=pid none /proc"
NO_DEV = "mount -t tmpfs none /dev"
READ_ONLY = "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && mount -o remount,bind,ro / && cd $PWD"
ASCII = ("LC_ALL=C", "PYTHONCOERCECLOCALE=0", "PYTHONUTF8=0", "PYTHONIOENCODING=ascii:strict")
FALLBACK = {"lab": {"fallback": "host"}}

ROWS: Final = (
    Row("no /proc", "plan", 3, r"/proc is not mounted here.*; mount -t proc proc /proc; .* work without it", NO_PROC),
    Row("no /proc", "doctor", 3, r"/proc is not mounted here", NO_PROC),
    Row("no /proc", "watch --once", 3, r"/proc is not mounted here", NO_PROC),
    Row("no /proc", "explain ticket", mount=NO_PROC),
    Row("/proc of processes only", "run", 3, r"/proc shows processes only \(mount option subset=pid\)", PIDS_ONLY),
    Row(
        "/proc of own processes only",
        "watch --once",
        mount=f"mount -t proc -o hidepid=2 none /proc && {LET_IN}",
        prefix=as_user(),
    ),
    Row("no /dev/null", "plan", 3, r"there is no /dev/null here; mknod", NO_DEV),
    Row("no /dev/null", "schema scenario", mount=NO_DEV),
    Row("no /dev/null, and no stdin", "schema scenario", mount=f"{NO_DEV} && exec <&-"),
    Row("8 descriptors", "run", 3, _TOO_FEW, prefix=("prlimit", "--nofile=8")),
    Row("16 descriptors", "trace true", prefix=("prlimit", "--nofile=16")),
    Row("64 descriptors", "run", 3, r"descriptors of one process: need 65, have 64", prefix=("prlimit", "--nofile=64")),
    Row("64 descriptors", "sink 127.0.0.1:9000", 3, _TOO_FEW, prefix=("prlimit", "--nofile=64")),
    Row(
        "100 MB of addresses", "plan", 3, r"95 MiB of address space \(RLIMIT_AS\)", prefix=("prlimit", "--as=100000000")
    ),
    Row("100 MB of data", "run", 3, r"95 MiB of data \(RLIMIT_DATA\)", prefix=("prlimit", "--data=100000000")),
    Row(
        "8 MB of data",
        "plan",
        3,
        r"raise .*ulimit -d unlimited",
        prefix=("prlimit", "--data=8000000"),
    ),
    Row("128 MiB of data", "run", prefix=("prlimit", f"--data={128 << 20}")),
    Row("100 MB of addresses", "plan --help", prefix=("prlimit", "--as=100000000")),
    Row("one process", "plan", 3, r"may have 1 \(RLIMIT_NPROC\)", LET_IN, (*as_user(), "prlimit", "--nproc=1")),
    Row("one process", "doctor", 3, r"may have 1 \(RLIMIT_NPROC\)", LET_IN, (*as_user(), "prlimit", "--nproc=1")),
    Row("one process", "trace true", 3, r"may have 1 \(RLIMIT_NPROC\)", LET_IN, (*as_user(), "prlimit", "--nproc=1")),
    Row("files of 4 KiB", "run", 3, r"at most 4,096 bytes here \(RLIMIT_FSIZE\)", prefix=_ONE_FILE),
    Row("sysctls cannot be set", "run", mount=_READ_ONLY_SYSCTLS),
    Row(
        "sysctls cannot be set, as they are",
        "run",
        mount=_READ_ONLY_SYSCTLS,
        scenario={"lab": {"sysctls": {"net.ipv4.tcp_timestamps": 1}}},
    ),
    Row(
        "sysctls cannot be set, but one has to be",
        "run",
        3,
        r"cannot set sysctl net.ipv4.tcp_timestamps to '0': /proc/sys is read-only here, as in most containers",
        _READ_ONLY_SYSCTLS,
        scenario={"lab": {"sysctls": {"net.ipv4.tcp_timestamps": 0}}},
    ),
    Row(
        "no namespaces",
        "run",
        3,
        r"does not let loadgen make a network namespace: unshare",
        calls=(
            "unshare",
            "setns",
        ),
    ),
    Row(
        "no namespaces",
        "run",
        0,
        r"Running on the host's own loopback instead",
        calls=("unshare",),
        scenario=FALLBACK,
    ),
    # The kernel lets it make a user namespace, and then not say who it is in there.
    Row(
        "root without capabilities",
        "run",
        0,
        r"/proc/self/uid_map: EPERM .*Running on the host's own loopback instead",
        prefix=("setpriv", "--bounding-set=-all"),
        scenario=FALLBACK,
    ),
    Row(
        "no io_uring",
        "run",
        3,
        r"io_uring_setup\(\) is forbidden",
        calls=("io_uring_setup",),
        scenario={"engine": "io_uring"},
    ),
    Row("everything read-only", "run", 3, r"cannot write results/.*: Read-only file system; choose", READ_ONLY),
    Row("everything read-only", "trace true", 3, r"no directory for temporary files .*; set TMPDIR to one", READ_ONLY),
    Row("no control groups, no /sys", "doctor", mount="mount -t tmpfs none /sys"),
    Row("no programs", "trace true", 3, r"strace is not installed", "export PATH=/nonexistent"),
    Row("no home, and no name for the user", "doctor", mount=LET_IN, prefix=(*as_user(), "env", "-u", "HOME")),
    Row("no stdin, stdout, stderr", "plan", 3, mount="exec <&- >&- 2>&-"),
    Row("ASCII only", "plan", env=ASCII),
    Row("ASCII only", "doctor", env=ASCII),
    Row("an unknown time zone", "run", env=("TZ=Nowhere/City",)),
)


@pytest.mark.usefixtures("_mount_namespaces")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_poor_host(loadgen: Loadgen, row: Row) -> None:
    if os.geteuid() and (row.mount or row.prefix):
        pytest.skip("needs root, for mounts of /proc and other user ids")
    if "trace" in row.command and not shutil.which("strace"):
        pytest.skip("needs strace: apt install strace")
    if LET_IN in row.mount and not another_user_may_run_this_checkout():
        pytest.skip("needs a checkout that another user may read")
    name, *rest = row.command.split()
    arguments = [name, *rest]
    if not rest and name in ("run", "plan"):
        arguments.append(loadgen.scenario(**row.scenario).name)  # the directories above it are closed to other users
    if name == "run":
        arguments += ["--json", "--quiet"]
    elif name == "explain":
        (loadgen.home / "ticket").write_text("connect: Cannot assign requested address\n")
    elif name == "trace":
        arguments = [name, "--", "/bin/true"]
    loadgen.home.chmod(0o777)
    # The lab comes first, so that a run on "the host itself" has this one's loopback.
    prefix = (*IN_LAB, *mounted(row.mount or "true"), *row.prefix, *(without(*row.calls) if row.calls else ()))
    done = loadgen(*arguments, prefix=("env", *row.env, *prefix))

    assert done.code == row.code, done.err
    assert "Traceback" not in done.err
    assert "unforeseen" not in done.err
    if row.code and row.said:
        assert re.search(row.said, assert_one_message(done))
    elif row.said:
        assert re.search(row.said, done.err)
    if name == "run" and not row.code:
        assert_adds_up(done.summary)
        assert done.summary["outcomes"]["established"] == 200
