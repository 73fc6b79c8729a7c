"""Perform one trial: start loadgen, let the faults come, wait for the end, gather the evidence."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from . import inflict, processes
from .inflict import Inflictor, Start
from .invariants import Evidence
from .trial import Trial
from .watcher import Watcher

CHECKOUT: Final = Path(__file__).resolve().parents[2]
#: A run here takes two seconds. A worker that is stopped for ever is given up after thirty.
PATIENCE_S: Final = 60.0
_GONE_S: Final = 5.0
_READ_S: Final = 0.05
#: Signals that a shell may have left ignored for a harness in the background, which a run would inherit.
_DEFAULT: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP)

#: msgspec prepares a type when it first meets it, which two threads at a time must not do.
_reporting: Final = threading.Lock()
#: Marks of the trials that are under way, for the end of a harness that is interrupted.
active: Final[set[str]] = set()


def perform(trial: Trial, base: Path, shim: Path | None = None, patience_s: float = PATIENCE_S) -> Evidence:
    """Perform a trial in a new directory under `base`; the directory stays. shim: of `short-writes`."""
    home = Path(tempfile.mkdtemp(prefix="trial-", dir=base))
    (home / "tmp").mkdir()
    (home / "results").mkdir()
    (home / "trial.json").write_text(trial.to_json())
    (home / "scenario.yaml").write_text(json.dumps(trial.scenario, indent=1))
    mounted = any(fault.kind == "full-disk" for fault in trial.faults)
    if mounted:
        size = f"size={inflict.TMPFS_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", str(home / "results")], check=True)
    mark = uuid.uuid4().hex
    active.add(mark)
    try:
        return _perform(trial, home, mark, shim, patience_s)
    finally:
        processes.end(mark)
        active.discard(mark)
        if mounted:
            (home / "results" / ".filler").unlink(missing_ok=True)
            shutil.copytree(home / "results", home / "results.kept", dirs_exist_ok=True)
            subprocess.run(["umount", "-l", str(home / "results")], check=True)


def _perform(trial: Trial, home: Path, mark: str, shim: Path | None, patience_s: float) -> Evidence:
    start = inflict.prepared(trial, home, shim)
    began = time.monotonic()
    popen, master = _started(trial, home, mark, start)
    watcher = Watcher(trial, popen, mark, home, began + patience_s)
    inflictor = Inflictor(trial, watcher, master)
    inflictor.begin()
    reader = threading.Thread(target=_read_terminal, args=(watcher, master))
    if master is not None:
        reader.start()
    with suppress(subprocess.TimeoutExpired):
        popen.wait(max(0.0, watcher.deadline - time.monotonic()))
    code = popen.poll()
    state = "" if code is not None else _states(mark)
    if code is None:
        processes.end(mark)
        popen.kill()
        popen.wait()
    inflictor.finish()
    watcher.stop_reading.set()
    if master is not None:
        reader.join()
    left = _left(home, mark)
    return _gathered(
        trial, home, watcher, inflictor, code=code, state=state, left=left, seconds=time.monotonic() - began
    )


def _started(trial: Trial, home: Path, mark: str, start: Start) -> tuple[subprocess.Popen[bytes], int | None]:
    """Start the run; returns also our side of its terminal if it has one."""
    env = {**environment(home / "tmp"), processes.MARK: mark, **start.env}
    master, slave = os.openpty() if trial.view == "pty" else (None, None)
    files = {name: _stream(home / name, start.to.get(name, "")) for name in ("stdout", "stderr")}
    if slave is not None:
        env["TERM"] = "xterm-256color"
        os.close(files["stderr"])
        files["stderr"] = os.dup(slave)

    def in_child() -> None:
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        if slave is not None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for limit, value in start.limits.items():
            resource.setrlimit(limit, (value, value))
        for name, fd in (("stdout", 1), ("stderr", 2)):
            if start.to.get(name) == "closed" and not (name == "stderr" and slave is not None):
                os.close(fd)

    quiet = ["--quiet"] if trial.view == "quiet" else []
    command = [sys.executable, "-m", "loadgen", "run", "scenario.yaml", *quiet, *trial.options]
    popen = subprocess.Popen(
        [*start.prefix, *command],
        cwd=home,
        stdin=subprocess.DEVNULL if slave is None else slave,
        stdout=files["stdout"],
        stderr=files["stderr"],
        env=env,
        start_new_session=True,
        preexec_fn=in_child,
    )
    for fd in (*files.values(), *([] if slave is None else [slave])):
        os.close(fd)
    return popen, master


def environment(tmp: Path) -> dict[str, str]:
    """Return the environment of a run of this checkout: no colours or widths of ours, temporary files in `tmp`."""
    unwanted = ("COLUMNS", "LINES", "TERM", "NO_COLOR")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    # Python does not notice a short write of bytecode, and all later runs would read what is left of it.
    return {**kept, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(tmp), "PYTHONDONTWRITEBYTECODE": "1"}


def _stream(path: Path, to: str) -> int:
    """Open what stdout or stderr is. to: full, a device that takes nothing; pipe, one without a reader; else a file."""
    if to == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if to == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
        return writing
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _read_terminal(watcher: Watcher, master: int) -> None:
    """Keep what the terminal is sent, until it is closed or the run has ended."""
    with (watcher.home / "stderr").open("ab") as file:
        while not watcher.hung_up:
            if select.select([master], [], [], _READ_S)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:  # EIO: all have closed the other side
                    break
                file.write(data)
                file.flush()
            elif watcher.stop_reading.is_set():
                break
    os.close(master)


def _states(mark: str) -> str:
    """Return what each process waits for, in words."""
    found = []
    for process in processes.marked(mark):
        with suppress(OSError):
            where = Path(f"/proc/{process.pid}/wchan").read_text() or "running"
            state = re.findall(r"State:\s*(\S)", Path(f"/proc/{process.pid}/status").read_text())
            found.append(f"{process.pid} {''.join(state)} in {where}: {process.command[-60:].strip()}")
    return "; ".join(found)


def _left(home: Path, mark: str) -> list[str]:
    """Return what a run left behind: processes with their namespaces, temporary files, shared memory, mounts."""
    deadline = time.monotonic() + _GONE_S
    # A stopped process cannot end before it goes on, except by SIGKILL, which the parent-death signal is.
    while (alive := _alive(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [f"process {process.pid}: {process.command.strip()[-80:]}" for process in alive]
    left += [f"file {path}" for path in sorted((home / "tmp").iterdir()) if "loadgen-crash-" not in path.name]
    left += [f"shared memory {name}" for name in os.listdir("/dev/shm") if name.startswith("loadgen")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return left + [f"mount {line}" for line in mounts if str(home) in line and not line.startswith("chaos ")]


def _alive(mark: str) -> list[processes.Process]:
    return [process for process in processes.marked(mark) if "strace" not in process.command.split(" ")[0]]


def _gathered(
    trial: Trial,
    home: Path,
    watcher: Watcher,
    inflictor: Inflictor,
    *,
    code: int | None,
    state: str,
    left: list[str],
    seconds: float,
) -> Evidence:
    run = watcher.run
    series = tuple(watcher.lines("series.jsonl"))
    crashes = [*home.glob("tmp/loadgen-crash-*"), *home.glob("results/*/loadgen-crash-*")]
    summary = _summary(run)
    with _reporting:
        report, rebuilt = _report(run, rebuild=summary is None) if run and (run / "plan.json").exists() else ("", None)
    return Evidence(
        trial=trial,
        code=code,
        out=_text(home / "stdout"),
        err=watcher.stderr,
        summary=summary,
        events=tuple(watcher.lines("events.jsonl")),
        series=series,
        run=str(run or ""),
        done=tuple(done.fault for done in inflictor.done),
        over=tuple(done.fault for done in inflictor.done if done.over),
        during=tuple(done.fault for done in inflictor.done if _went_on(series, done.lines)),
        left=tuple(left),
        crashes=tuple(_text(path).strip().rpartition("\n")[2] for path in crashes),
        report=report,
        rebuilt=rebuilt,
        state=state,
        seconds=seconds,
        home=str(home),
        trouble=tuple(inflictor.trouble),
    )


def _went_on(series: Sequence[Mapping[str, Any]], lines: int) -> bool:
    """Return True if the load went on when the series had so many lines: one may have been due, a further one not."""
    return any(line["phase"] in ("ramp", "hold", "churn") for line in series[lines + 1 :])


def _summary(run: Path | None) -> dict[str, Any] | None:
    if run is None:
        return None
    try:
        summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    except (OSError, ValueError):
        return None
    return summary


def _report(run: Path, *, rebuild: bool) -> tuple[str, dict[str, Any] | None]:
    """Make the report as `loadgen report` does, in this process, which is quicker. Returns: what failed, a summary."""
    from loadgen.errors import LoadgenError
    from loadgen.results import run_directory
    from loadgen.results.schema import files
    from loadgen.views.html import run as html

    try:
        read = run_directory.read(run)
        summary = read.summarised()
        if len(html.render(read, summary)) < 10_000:
            return "the report is nearly empty", None
    except LoadgenError as error:
        return f"report: {error}", None
    except Exception as error:  # whatever it is, it is a failure of this trial
        return f"report: {type(error).__name__}: {error}", None
    plain: dict[str, Any] = files.plain(summary)
    return "", json.loads(json.dumps(plain)) if rebuild else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
