"""Runs a program under strace, or attaches it to one, and follows the sockets while it lasts.

strace writes to a named pipe of its own, so that the streams of the program stay as they are. Only calls that say
something about sockets stop the program; with --seccomp-bpf all others run at full speed. Memory is bounded: lines are
read as they come, and nothing is written to a disk.

Sources: strace(1); ptrace(2), "Ptrace access mode checking", and /proc/sys/kernel/yama/ptrace_scope.
"""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Final

from loadgen import shortage
from loadgen.errors import HostError, UsageError
from loadgen.processes.lifetime import die_with_parent
from loadgen.trace.follow import Follower
from loadgen.trace.strace import StraceLines

#: "?": a call that this architecture lacks is left out. Neither what is received nor what most programs send with.
_CALLS: Final = (
    *("socket", "bind", "connect", "listen", "setsockopt", "getsockopt", "getsockname", "shutdown", "close"),
    *("sendto", "sendmsg", "execve", "clone", "unshare", "setns"),
    *("?clone3", "?fork", "?vfork", "?io_uring_setup", "?socketcall"),
)
_STRINGS_MAX: Final = 32
_BLOCK: Final = 1 << 16
_LINE_MAX: Final = 1 << 16
_POLL_MS: Final = 200
#: Time for the program to end by itself after Ctrl-C, before it is killed.
_GRACE_S: Final = 5.0
_PREFLIGHT_S: Final = 10.0
#: Signals that end the trace: Ctrl-C, `kill`, a closed terminal, Ctrl-\.
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: A key reaches every process in the foreground of the terminal, and kill(2) may address a whole group. Within this
#: time strace shows that the program had the signal as well; one that had it is sent no other.
_SAME_SIGNAL_S: Final = 0.5
#: A line of strace: the process, the time, the signal.
_SIGNAL: Final = re.compile(rb"\d+ +[\d.]+ --- (SIG[A-Z0-9]+) \{")


@dataclass(slots=True)
class TraceRecord:
    """The sum of a trace.

    version: of strace. exit_code: of the program, as a shell has it (128 + N: ended by signal N); None: it was
    attached to, and goes on. duration_s: of the trace. descriptors: soft limit of open files of each process that
    connected, by pid, where it could still be read. interrupted: by Ctrl-C or another signal that ends programs.
    """

    follower: Follower
    version: str
    exit_code: int | None
    duration_s: float
    descriptors: dict[int, int] = field(default_factory=dict)
    interrupted: bool = False


def of_command(command: Sequence[str], *, stdout: int | None = None) -> TraceRecord:
    """Run a command under strace until it ends, with standard streams of its own.

    stdout: descriptor to give to the command instead of that of this process. Signals that end programs end both.

    Raises: UsageError if there is no such command; HostError if strace is missing or may not trace here.
    """
    if not command:
        raise UsageError("there is no command to trace; write it behind --, as in: loadgen trace -- curl http://...")
    if shutil.which(command[0]) is None:
        raise UsageError(f"there is no command {command[0]!r}, or it may not be executed")
    tracer = _strace()
    how = [*_preflight(tracer), *command]
    return _follow(tracer, how, Follower(whole=True), stdout=stdout)


def of_process(pid: int) -> TraceRecord:
    """Attach strace to a process until it ends, or until Ctrl-C or another signal; the process goes on.

    Raises: UsageError if there is no such process; HostError if strace is missing or may not trace it.
    """
    tracer = _strace()
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="backslashreplace")  # a name may be any bytes
    except OSError:
        raise UsageError(f"there is no process {pid}") from None
    if traced_by := re.search(r"^TracerPid:\s*([1-9]\d*)", status, re.MULTILINE):
        raise HostError(f"process {pid} is traced by process {traced_by[1]} already, and only one can; end that first")
    return _follow(tracer, ["-p", str(pid)], Follower(whole=True, namer=_name), attached=pid)


def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        raise HostError("strace is not installed; apt install strace (dnf install strace, apk add strace)")
    return found


def _preflight(tracer: str) -> list[str]:
    """Try on a harmless command whether tracing is permitted; return the options that worked, and what ends them.

    A program with the filter of --seccomp-bpf would go on without strace, but with ENOSYS from every traced call. So it
    is used only with setpriv(1), by which the program ends with strace, whatever ends that.

    Raises: HostError with the reason.
    """
    tied = ["--seccomp-bpf", "--", "setpriv", "--pdeathsig", "KILL", "--"]
    said = ""
    for options in (tied, ["--"]):
        try:
            with shortage.starting("strace"):
                tried = subprocess.run(
                    [tracer, "-f", "-qq", "-o", os.devnull, "-e", "trace=connect", *options, "true"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    text=True,
                    errors="backslashreplace",
                    timeout=_PREFLIGHT_S,
                )
        except subprocess.TimeoutExpired:
            raise HostError(f"strace did not answer within {_PREFLIGHT_S:g} s; try: strace true") from None
        said = tried.stderr
        if tried.returncode == 0 and "seccomp" not in said:
            return options
    raise HostError(_refused(said, None))


def _refused(said: str, pid: int | None) -> str:
    """Return why strace may not trace, and the remedy, from what it said."""
    lines = [line for line in reversed(said.splitlines()) if line.strip()]
    last = next(
        (line for line in lines if "not permitted" in line), lines[0] if lines else "it ended without a message"
    )
    scope = _yama()
    whom = f"process {pid}" if pid else "a program"
    head = f"strace may not trace {whom} here ({last.removeprefix('strace: ').strip()[:200]})"
    if "Operation not permitted" not in said and "EPERM" not in said:
        return f"strace cannot trace {whom} ({last.strip()[:200]}); try: strace {f'-p {pid}' if pid else 'true'}"
    if scope == 3:
        return f"{head}: kernel.yama.ptrace_scope=3 forbids tracing until the next boot"
    if scope in (1, 2) and os.geteuid() != 0:
        why = "permits tracing to root alone" if scope == 2 else "permits tracing of child processes only"
        if pid or scope == 2:
            return f"{head}: kernel.yama.ptrace_scope={scope} {why}; be root"
    if pid and os.geteuid() != 0:
        return f"{head}; be root, or the user of that process"
    return f"{head}: in a container it takes CAP_SYS_PTRACE (docker run --cap-add=SYS_PTRACE), or trace from the host"


def _yama() -> int | None:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return None


def _name(thread: int) -> tuple[int, str]:
    """Return the process of a thread and the name of its command; (0, "") if it has ended."""
    try:
        status = Path(f"/proc/{thread}/status").read_text(errors="backslashreplace")
        process = int(next(line for line in status.splitlines() if line.startswith("Tgid:")).split()[1])
        return process, Path(f"/proc/{process}/comm").read_text(errors="backslashreplace").strip()
    except (OSError, StopIteration, ValueError, IndexError):
        return 0, ""


def _follow(
    tracer: str,
    how: Sequence[str],
    follower: Follower,
    *,
    attached: int | None = None,
    stdout: int | None = None,
) -> TraceRecord:
    began_s = monotonic()
    with tempfile.TemporaryDirectory(prefix="loadgen-trace-") as folder, _Signals() as signals:
        pipe = os.path.join(folder, "strace")
        os.mkfifo(pipe, 0o600)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        options = ["-f", "-q", "-ttt", "-y", "-s", str(_STRINGS_MAX)]
        options += ["-e", f"signal={','.join(number.name for number in _ENDING)}"]
        options += ["-e", f"trace={','.join(_CALLS)}", "-o", pipe, *how]
        parent = os.getpid()
        try:
            with shortage.starting("strace"), _dying_with_us():
                process = subprocess.Popen(
                    [tracer, *options],
                    stdin=subprocess.DEVNULL if attached else None,
                    stdout=stdout,
                    stderr=subprocess.PIPE if attached else None,
                    preexec_fn=lambda: die_with_parent(parent),
                )
            try:
                record = _Recorder(follower, process, signals, attached)
                record.read(reading)
                code = process.wait()
            finally:
                _end(process)
        finally:
            os.close(reading)
    if attached:
        said = process.stderr.read().decode(errors="backslashreplace") if process.stderr else ""
        if process.stderr:
            process.stderr.close()
        if code and not follower.calls and not signals.first:
            raise HostError(_refused(said, attached))
    return TraceRecord(
        follower,
        _version(tracer),
        None if attached else code if code >= 0 else 128 - code,
        monotonic() - began_s,
        record.descriptors,
        signals.first is not None,
    )


@contextmanager
def _dying_with_us() -> Iterator[None]:
    """Around the start of a process whose `preexec_fn` asks to die with this one. Raises: HostError if refused."""
    try:
        yield
    except subprocess.SubprocessError as error:  # which does not say why
        raise HostError(
            "strace cannot be started so that it dies with this process (prctl(2)); permit the call"
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End strace, and with it the processes that it started, if they have not ended."""
    if process.poll() is None:
        _signal_all(_tracees(process.pid), signal.SIGKILL)
        process.kill()
        process.wait()


def _tracees(tracer: int) -> list[int]:
    """Return the processes that strace traces."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if f"\nTracerPid:\t{tracer}\n" in (entry / "status").read_text(errors="backslashreplace"):
                    found.append(int(entry.name))
    return found


def _signal_all(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class _Signals:
    """Notes signals instead of ending this process. first: the first that came. count: how many."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.count = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> _Signals:
        for number in _ENDING:
            self._before[number] = signal.getsignal(number)
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type] # what signal() itself returned

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.first = self.first or number
        self.count += 1


class _Recorder:
    """Reads the pipe of strace, and sees to it that strace and the program end after Ctrl-C."""

    def __init__(
        self, follower: Follower, process: subprocess.Popen[bytes], signals: _Signals, attached: int | None
    ) -> None:
        self._follower, self._process, self._signals, self._attached = follower, process, signals, attached
        self._lines = StraceLines()
        self._number = 0
        self._rest = b""
        self._first_pid = 0
        self._asked_s = 0.0
        #: When the program, or a process of it, last had a signal, by its name.
        self._had_s: dict[bytes, float] = {}
        self._settled = False
        self.descriptors: dict[int, int] = {}

    def read(self, reading: int) -> None:
        """Follow until strace closes its end of the pipe."""
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        while True:
            self._heed_signals()
            events = poll.poll(_POLL_MS)
            if events and events[0][1] & select.POLLIN and (block := os.read(reading, _BLOCK)):
                self._take(block)
                continue
            if events and events[0][1] & (select.POLLHUP | select.POLLERR):
                break
            if not events and self._process.poll() is not None:
                break
        self._take(b"\n")

    def _take(self, block: bytes) -> None:
        *lines, self._rest = (self._rest + block).split(b"\n")
        self._rest = self._rest[:_LINE_MAX]
        for line in lines:
            self._number += 1
            if had := _SIGNAL.match(line):
                self._had_s[had[1]] = monotonic()
            call = self._lines.read(line.decode(errors="backslashreplace"), self._number)
            if call:
                self._first_pid = self._first_pid or call.pid
                self._follower.follow(call)
        for pid in self._follower.processes - self.descriptors.keys():
            self.descriptors[pid] = _descriptors_of(pid)

    def _heed_signals(self) -> None:
        """Pass the first signal on unless the program had it, and end the program when it does not end by itself."""
        if not self._signals.count:
            return
        if self._attached:
            if not self._asked_s:
                self._asked_s = monotonic()
                self._process.send_signal(signal.SIGINT)  # strace lets go of the process
            elif monotonic() - self._asked_s > _GRACE_S:
                self._process.kill()
            return
        if not self._asked_s:
            self._asked_s = monotonic()
        elif not self._settled and monotonic() - self._asked_s > _SAME_SIGNAL_S:
            self._settled = True
            first = signal.Signals(self._signals.first or signal.SIGTERM)
            if self._had_s.get(first.name.encode(), 0.0) < self._asked_s - _SAME_SIGNAL_S:
                self._pass_on(first)
        elif self._signals.count > 2 or monotonic() - self._asked_s > _GRACE_S:
            _signal_all(_tracees(self._process.pid), signal.SIGKILL)

    def _pass_on(self, number: int) -> None:
        """Signal the program; where it has ended already, the processes that it left behind."""
        tracees = _tracees(self._process.pid)
        _signal_all([self._first_pid] if self._first_pid in tracees else tracees, number)


def _descriptors_of(pid: int) -> int:
    """Return the soft limit of open files of a process; 0: it cannot be read, or there is none."""
    try:
        return max(resource.prlimit(pid, resource.RLIMIT_NOFILE)[0], 0)
    except (OSError, ValueError):
        return 0


def _version(tracer: str) -> str:
    said = subprocess.run([tracer, "-V"], capture_output=True, check=False, text=True, errors="backslashreplace")
    found = re.search(r"version (\S+)", said.stdout)
    return found[1] if found else ""
