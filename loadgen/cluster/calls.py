"""Functions that a coordinator has an agent run, and the process of the share that the agent keeps meanwhile.

The coordinator passes them to `Client.run`, so they run in the loop of the agent's worker, and none of them blocks it.
They need no `loadgen agent`: any worker of dask.distributed with loadgen installed will do. Then what is allowed is
read from its environment: LOADGEN_ALLOW (networks, with commas between), LOADGEN_I_AM_AUTHORIZED=1,
LOADGEN_ALLOW_PORT_BLOCKING=1, LOADGEN_SOURCES and LOADGEN_RESULTS.

A run has a name of the coordinator's choice, which every call repeats: a coordinator that was refused, because a share
of another runs, cannot stop that one. Values go over the network as JSON and plain types, so that two versions of
loadgen can at least tell each other that they differ.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import resource
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from loadgen import secret
from loadgen.cluster.messages import AgentFacts, Continue, Ended, News, Order, Prepare, Ready, Report
from loadgen.errors import ExitCode, HostError, UsageError
from loadgen.processes import lifetime

#: What `poll` returns at most, unless a single report is longer.
_NEWS_BYTES: Final = 4 << 20
#: The longest line of a share, its plan for very many targets, in bytes.
_LINE_BYTES: Final = 64 << 20
#: What a share has written on stderr or beside its reports, kept for a message.
_SAID_LINES: Final = 20
#: For a share that was killed: the kernel closes its sockets, a million take seconds.
_END_S: Final = 10.0
_SHARE: Final = (sys.executable, "-m", "loadgen.cluster.share")

_ORDER: Final = msgspec.json.Decoder(Order)
_REPORT: Final = msgspec.json.Decoder(Report)


class _Discreet(logging.Filter):
    """Drop the lines that a worker writes about a call that raised: they show its arguments, a whole scenario."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Run Failed")


logging.getLogger("distributed.worker").addFilter(_Discreet())


@dataclass(frozen=True, slots=True)
class AgentPermissions:
    """The permissions of an agent by its operator, whatever a coordinator asks for.

    allow: networks beyond loopback, CIDR. authorized: global addresses among them too. port_blocking: as the option
    --allow-port-blocking. sources: the agent's source addresses where the coordinator names none. results: the
    directory in which run directories are made.
    """

    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False
    sources: tuple[str, ...] = ()
    results: str = "results"

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> AgentPermissions:
        """Return those of a worker that `loadgen agent` has not started."""
        return cls(
            _listed(environment.get("LOADGEN_ALLOW", "")),
            environment.get("LOADGEN_I_AM_AUTHORIZED") == "1",
            environment.get("LOADGEN_ALLOW_PORT_BLOCKING") == "1",
            _listed(environment.get("LOADGEN_SOURCES", "")),
            environment.get("LOADGEN_RESULTS") or "results",
        )

    def applied_to(self, prepare: Prepare) -> Prepare:
        """Return the order with the agent's own permissions in place of those that came with it."""
        portion = prepare.portion
        if self.sources and portion.sources is None:
            portion = msgspec.structs.replace(portion, sources=list(self.sources))
        return msgspec.structs.replace(
            prepare,
            portion=portion,
            results=self.results,
            allow=self.allow,
            authorized=self.authorized,
            port_blocking=prepare.port_blocking and self.port_blocking,
        )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


@dataclass
class ShareProcess:
    """A process that conducts a share, and its reports that the coordinator has not taken yet.

    taken: reports that were given and acknowledged. path: of the run directory, once the share has said so. changed:
    set with each report.
    """

    run: str
    process: asyncio.subprocess.Process
    reports: deque[bytes] = field(default_factory=deque)
    taken: int = 0
    path: str = ""
    ended: bool = False
    over: bool = False
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_SAID_LINES))
    readers: tuple[asyncio.Task[None], ...] = ()
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, order: Order) -> None:
        """Write an order, unless the process no longer reads any."""
        stdin = self.process.stdin
        if stdin and not stdin.is_closing() and not self.over:
            stdin.write(msgspec.json.encode(order) + b"\n")

    def heard(self, line: bytes) -> None:
        """Keep a line of its standard output: a report, or else text for a message."""
        try:
            report = _REPORT.decode(line)
        except msgspec.MsgspecError:
            self.said.append(line.decode(errors="replace").strip())
            return
        if isinstance(report, Ready | Ended) and report.path:
            self.path = report.path
        self.ended = self.ended or isinstance(report, Ended)
        self.reports.append(line.strip())
        self.changed.set()

    def finished(self, exit_code: int) -> None:
        """Note the end of the process; report it where the process itself has not. exit_code: as in subprocess."""
        self.over = True
        if self.ended:
            return
        words = " | ".join(line for line in self.said if line)
        text = f"the share {lifetime.ended_in_words(exit_code)}{f': {words}' if words else ''}"
        code = exit_code if exit_code > 0 else ExitCode.INCOMPLETE
        self.heard(msgspec.json.encode(Ended(exit_code=int(code), path=self.path, text=text)))

    def forget(self, received: int) -> None:
        """Forget the reports that the coordinator has received."""
        while self.taken < received and self.reports:
            self.reports.popleft()
            self.taken += 1

    async def some_report(self, wait_s: float) -> None:
        """Wait until there is a report, or the process has ended, but not for longer than this."""
        if self.reports or self.over:
            return
        self.changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), wait_s)

    def news(self) -> News:
        """Return the reports that the coordinator has not received."""
        some: list[msgspec.Raw] = []
        size = 0
        for report in self.reports:
            size += len(report)
            if some and size > _NEWS_BYTES:
                break
            some.append(msgspec.Raw(report))
        return News(reports=tuple(some), running=not self.over or len(some) < len(self.reports))

    def kill(self) -> None:
        """Kill it and all processes it has started, whether it still runs or not."""
        with suppress(ProcessLookupError, PermissionError):  # it leads a group of its own
            os.killpg(self.process.pid, signal.SIGKILL)


#: Of this process: one agent conducts one share at a time.
_permissions: AgentPermissions | None = None
_share: ShareProcess | None = None


def permit(permissions: AgentPermissions) -> None:
    """Set what this agent permits, in place of what its environment says."""
    global _permissions
    _permissions = permissions


def permitted() -> AgentPermissions:
    """Return what this agent permits."""
    return _permissions or AgentPermissions.of_environment(os.environ)


async def facts(dask_worker: object = None) -> bytes:
    """Return `AgentFacts` as JSON."""
    own = permitted()
    return msgspec.json.encode(
        AgentFacts(
            name=str(getattr(dask_worker, "name", "")),
            host=socket.gethostname(),
            pid=os.getpid(),
            versions=versions(),
            cpus=len(os.sched_getaffinity(0)),
            descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            allow=own.allow,
            authorized=own.authorized,
            now_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
    )


def versions() -> dict[str, str]:
    """Return the versions of loadgen, python, distributed and the kernel in this process; "" where there is none."""
    return {
        "loadgen": _version("loadgen"),
        "python": platform.python_version(),
        "distributed": _version("distributed"),
        "kernel": platform.release(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


async def clock() -> tuple[int, int]:
    """Return CLOCK_REALTIME and CLOCK_MONOTONIC of this host, in nanoseconds."""
    return time.time_ns(), time.monotonic_ns()


async def begin(run: str, prepare: bytes) -> None:
    """Start the process of a share with this `Prepare` (JSON), under the agent's own permissions.

    run: a name of the coordinator's choice. Raises: HostError if a share of another run has not ended, or no process
    can be started; UsageError for an order that is none.
    """
    global _share
    try:
        order = msgspec.json.decode(prepare, type=Prepare)
    except msgspec.MsgspecError as error:
        raise UsageError(f"this agent does not understand the coordinator's order ({error}); update both") from None
    if _share and not _share.over:
        raise HostError(
            f"a share of another run ({_share.run}) is under way here; wait for its end, which comes by itself within "
            "seconds when its coordinator is gone"
        )
    await _forget()
    _share = await _started(run)
    _share.send(permitted().applied_to(order))


async def _started(run: str) -> ShareProcess:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *_SHARE,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=_LINE_BYTES,
            env=secret.environment(),
            start_new_session=True,  # Ctrl-C at the agent's terminal is the agent's to pass on
        )
    except OSError as error:
        raise HostError(f"the process of the share cannot be started: {error.strerror}") from error
    share = ShareProcess(run, process)
    said = asyncio.create_task(_keep_what_it_says(share))
    share.readers = (said, asyncio.create_task(_keep_reports(share, said)))
    return share


async def _keep_reports(share: ShareProcess, said: asyncio.Task[None]) -> None:
    assert share.process.stdout
    try:
        while line := await share.process.stdout.readline():
            share.heard(line)
    except ValueError:  # of StreamReader.readline, for a line without end
        share.said.append("it wrote a line that is too long")
        share.kill()
    exit_code = await share.process.wait()
    await asyncio.wait([said], timeout=1)  # a process that it left behind may keep the pipe open
    share.finished(exit_code)


async def _keep_what_it_says(share: ShareProcess) -> None:
    assert share.process.stderr
    with suppress(ValueError):
        while line := await share.process.stderr.readline():
            share.said.append(line.decode(errors="replace").strip())


def _of(run: str) -> ShareProcess:
    if not _share or _share.run != run:
        raise HostError(
            f"this agent knows nothing of the run {run}; it was started anew, or another coordinator has it"
        )
    return _share


async def order(run: str, text: bytes) -> None:
    """Pass an order (JSON) on to the share. Raises: HostError if it is not this run's; UsageError if it is no order."""
    try:
        decoded = _ORDER.decode(text)
    except msgspec.MsgspecError as error:
        raise UsageError(f"this agent does not understand the coordinator's order ({error}); update both") from None
    if isinstance(decoded, Prepare):
        raise UsageError("a share is prepared once; begin another")
    _of(run).send(decoded)


async def poll(run: str, received: int = 0, wait_s: float = 0.0) -> bytes:
    """Return `News` as JSON: what the share has reported beyond the first `received` reports; and renew its lease.

    wait_s: time to wait for a report where there is none yet; a call costs both sides more than such a wait.
    A call whose answer was lost may be made again: nothing is forgotten before a later call says that it was received.
    Raises: HostError if the share is not this run's.
    """
    share = _of(run)
    share.send(Continue())
    share.forget(received)
    await share.some_report(wait_s)
    return msgspec.json.encode(share.news())


async def stop(run: str) -> None:
    """Kill the share and all its processes at once, and wait for its end, seconds at most. Raises: HostError."""
    await _killed(_of(run))


async def done(run: str) -> None:
    """Forget a run; kill what is left of it. Its run directory stays. Raises: HostError if it is not this run's."""
    _of(run)
    await _forget()


async def close(grace_s: float) -> None:
    """Have the share end by itself, as at the end of its orders; kill it after this time. For the end of an agent."""
    if _share and not _share.over:
        if _share.process.stdin:
            _share.process.stdin.close()
        await asyncio.wait(_share.readers, timeout=grace_s)
    await _forget()


async def _killed(share: ShareProcess) -> None:
    share.kill()
    await asyncio.wait(share.readers, timeout=_END_S)


async def _forget() -> None:
    global _share
    share, _share = _share, None
    if share is None:
        return
    if not share.over:
        await _killed(share)
