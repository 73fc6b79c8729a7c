"""One measurement of one load generator, counted from outside while it runs, inside namespaces of its own."""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import os
import re
import resource
import select
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import peer_http
from bench.host import ROOT, set_up_namespace, write_sysctl
from bench.peer_tools import (
    BY_NAME,
    CHURN_CONCURRENCY,
    DESCRIPTORS,
    HELD_PER_SERVER,
    HOST,
    PORT,
    PROCESSES_PER_SOURCE,
    RANGE,
    RANGE_SIZE,
    SAMPLE_EVERY_S,
    SERVER,
    SETTLE_S,
    SOURCES,
    START_UP_S,
    Job,
    Tool,
)
from loadgen.errors import LoadgenError

# --- arithmetic -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """One look from outside. at_s: since the tools were started. accepted, held: by the server, so far and now.

    in_use: TCP sockets of the namespace that are not in TIME-WAIT, both ends of each connection.
    """

    at_s: float
    accepted: int
    held: int
    in_use: int


def sockets_in_use(sockstat: str) -> int:
    """TCP sockets that are not in TIME-WAIT, from the text of /proc/net/sockstat."""
    found = re.search(r"^TCP: inuse (\d+)", sockstat, re.MULTILINE)
    return int(found[1]) if found else 0


def began_s(looks: Sequence[Look]) -> float | None:
    """When the first connection came: the last look that saw none; None if none ever came."""
    last = 0.0
    for look in looks:
        if look.accepted:
            return last
        last = look.at_s
    return None


def quarters_s(looks: Sequence[Look], goal: int) -> list[float | None]:
    """How long each quarter of `goal` held connections took, seconds; None for those never reached.

    Between two looks the number is taken to grow evenly.
    """
    began = began_s(looks)
    reached: list[float | None] = [began]
    for quarter in range(1, 5):
        wanted, before, instant = goal * quarter / 4, None, None
        for look in looks:
            if look.held >= wanted:
                if before is None:
                    instant = look.at_s
                else:
                    part = (wanted - before.held) / (look.held - before.held)
                    instant = before.at_s + part * (look.at_s - before.at_s)
                break
            before = look
        reached.append(instant)
    return [
        None if start is None or end is None else max(end - start, 0.0) for start, end in itertools.pairwise(reached)
    ]


def steady_rate_per_s(looks: Sequence[Look], settle_s: float = SETTLE_S) -> float | None:
    """Accepted per second, from `settle_s` after the first until no more came; None when that is under a second."""
    began = began_s(looks)
    if began is None:
        return None
    end = next(index for index, look in enumerate(looks) if look.accepted == looks[-1].accepted)
    counted = [look for look in looks[: end + 1] if look.at_s >= began + settle_s]
    if len(counted) < 2 or counted[-1].at_s - counted[0].at_s < 1:
        return None
    return (counted[-1].accepted - counted[0].accepted) / (counted[-1].at_s - counted[0].at_s)


def jobs_of(tool: Tool, sources: int, seconds: float, folder: Path) -> list[Job]:
    """The processes that hold the whole range from `sources` addresses."""
    if tool.alone:
        return [Job(RANGE_SIZE * sources, seconds, folder, sources=SOURCES[:sources])]
    count = sources * PROCESSES_PER_SOURCE
    each = RANGE_SIZE // PROCESSES_PER_SOURCE
    jobs = []
    for index in range(count):
        own = folder / str(index)
        own.mkdir()
        # One source is the one the kernel takes by itself: to bind costs some tools a cliff they need not meet.
        source = SOURCES[index // PROCESSES_PER_SOURCE] if sources > 1 else None
        jobs.append(Job(each, seconds, own, index, source))
    return jobs


# --- one measurement, inside its namespaces ---------------------------------------------------------------


class Servers:
    """The servers of one measurement, and what they count."""

    def __init__(self, count: int, folder: Path, *, silent: bool) -> None:
        self.children: list[subprocess.Popen[str]] = []
        self._counts: list[mmap.mmap] = []
        self._answered = 0
        for index in range(count):
            file = folder / f"count-{index}"
            command = [str(SERVER), "--listen", f"{HOST}:{PORT}", "--count", str(file), *(["--silent"] * silent)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.children.append(child)
            assert child.stdout is not None
            if not select.select([child.stdout], [], [], 10)[0] or not child.stdout.readline():
                raise LoadgenError("the HTTP server did not start")
            with file.open("rb") as opened:
                self._counts.append(mmap.mmap(opened.fileno(), 16, prot=mmap.PROT_READ))

    def counts(self) -> tuple[int, int]:
        """Connections accepted so far, and held now, all servers together."""
        pairs = [struct.unpack("QQ", count[:16]) for count in self._counts]
        return sum(pair[0] for pair in pairs) - self._answered, sum(pair[1] for pair in pairs)

    def cpu_s(self) -> float:
        """Processor time of all of them so far."""
        total = 0
        for child in self.children:
            words = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(words[11]) + int(words[12])
        return total / os.sysconf("SC_CLK_TCK")

    def answer_first(self, count: int) -> None:
        """Wait until `count` connections are there, answer them, and do not count them.

        Raises: LoadgenError when they do not come.
        """
        deadline = time.monotonic() + START_UP_S
        while self.counts()[1] < count:
            if time.monotonic() > deadline:
                raise LoadgenError(f"{self.counts()[1]} of {count} first connections came")
            time.sleep(0.01)
        time.sleep(0.2)  # for the requests on them
        self._answered = count
        for child in self.children:
            child.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End them."""
        for child in self.children:
            child.kill()
            child.wait(10)


@contextlib.contextmanager
def started(commands: Sequence[tuple[list[str], Path]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of a tool, each in a folder of its own, with its output in `said` and `complaint` there."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        for command, folder in commands:
            with (folder / "said").open("wb") as said, (folder / "complaint").open("wb") as complaint:
                # HOME: tsung writes there. The working directory: `python -m loadgen` is found from it.
                child = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, "HOME": str(folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=complaint,
                )
                children.append(child)
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait(10)


def watch(
    servers: Servers,
    children: Sequence[subprocess.Popen[bytes]],
    enough: Callable[[Look, float], bool],
) -> list[Look]:
    """Looks, ten a second, until `enough(look, seconds since the first connection)` or all tools ended."""
    start = time.monotonic()
    looks: list[Look] = []
    began: float | None = None
    while True:
        accepted, held = servers.counts()
        look = Look(time.monotonic() - start, accepted, held, sockets_in_use(Path("/proc/net/sockstat").read_text()))
        looks.append(look)
        if accepted and began is None:
            began = look.at_s
        over = look.at_s > START_UP_S if began is None else enough(look, look.at_s - began)
        if over or all(child.poll() is not None for child in children):
            return looks
        time.sleep(max(0.0, start + len(looks) * SAMPLE_EVERY_S - time.monotonic()))


def tail(folder: Path) -> str:
    """The end of what a tool said, for the record."""
    both = [(folder / name).read_bytes()[-1500:].decode(errors="replace").strip() for name in ("said", "complaint")]
    return "\n".join(filter(None, both))


def measure_hold(tool: Tool, sources: int, seconds: float, folder: Path) -> dict[str, Any]:
    """How many connections, how fast, and how many of them are lost again. Raises: LoadgenError when there is none."""
    goal = RANGE_SIZE * sources
    servers = Servers(math.ceil(goal / HELD_PER_SERVER), folder, silent=True)
    jobs = jobs_of(tool, sources, seconds, folder)
    commands = [(tool.hold(job), job.folder) for job in jobs]
    before = sockets_in_use(Path("/proc/net/sockstat").read_text())
    with started(commands) as children:
        if tool.asks_first:
            servers.answer_first(len(jobs))
        looks = watch(servers, children, lambda look, since_s: look.held >= goal or since_s >= seconds)
        ended = [child.poll() for child in children]
    servers.stop()
    most, began, last = max(look.held for look in looks), began_s(looks), looks[-1]
    if not last.accepted:
        raise LoadgenError(f"{tool.name} opened no connection: {tail(jobs[0].folder)}")
    return {
        "goal": goal,
        "reached": most,
        "pairs": max(look.in_use - before for look in looks) // 2,
        "reached_s": None if began is None else next(look.at_s for look in looks if look.held == most) - began,
        "quarters_s": quarters_s(looks, goal),
        "lost": last.accepted - last.held,
        "start_up_s": began,
        "ended_early": sum(code is not None for code in ended),
        "commands": [command for command, _ in commands],
        "said": [tail(job.folder) for job in jobs][:1] if any(code is not None for code in ended) else [],
        "looks": [asdict(look) for look in looks],
    }


def measure_churn(tool: Tool, seconds: float, folder: Path) -> dict[str, Any]:
    """Connections per second, one for each request. Raises: LoadgenError when the tool opens none."""
    servers = Servers(1, folder, silent=False)
    job = Job(CHURN_CONCURRENCY, seconds, folder, sources=(HOST,))
    command = tool.churn(job)
    with started([(command, folder)]) as children:
        cpu_before, began = servers.cpu_s(), time.monotonic()
        looks = watch(servers, children, lambda _, since_s: since_s >= seconds)
        busy = (servers.cpu_s() - cpu_before) / (time.monotonic() - began - (began_s(looks) or 0.0))
        # Its own report comes when its time is up; a tool that counts instead of timing is told to stop.
        with contextlib.suppress(subprocess.TimeoutExpired):
            children[0].wait(seconds / 2 + 5)
        if children[0].poll() is None:
            children[0].send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                children[0].wait(5)
    servers.stop()
    if not looks[-1].accepted:
        raise LoadgenError(f"{tool.name} opened no connection: {tail(folder)}")
    text = (folder / "said").read_text(errors="replace")
    return {
        "rate_per_s": steady_rate_per_s(looks),
        "accepted": looks[-1].accepted,
        "server_busy": busy,
        "own_words": asdict(tool.parse(text)),
        "commands": [command],
        "said": [tail(folder)] if tool.name != "loadgen" else [],
        "looks": [asdict(look) for look in looks],
    }


def measure_inside(name: str, question: str, seconds: float) -> dict[str, Any]:
    """One measurement; the caller has made the namespaces."""
    set_up_namespace()
    write_sysctl("ipv4/ip_local_port_range", f"{RANGE[0]} {RANGE[1]}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory(prefix="loadgen-peers-") as folder:
        if question.startswith("http "):
            http = peer_http.QUESTIONS[question.removeprefix("http ")]
            return peer_http.measure(name, http, seconds, Path(folder))
        if question == "churn":
            return measure_churn(BY_NAME[name], seconds, Path(folder))
        return measure_hold(BY_NAME[name], int(question.removeprefix("hold-")), seconds, Path(folder))
