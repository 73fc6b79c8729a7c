"""Processes that hold the ports: start them, have them take and release, and end them.

One process may open some 20,000 files on many hosts, and a range has 28,232 ports. Each is a child of this one and ends
with it, whatever ends this one: the kernel then closes its sockets (prctl(2), PR_SET_PDEATHSIG). It also ends by itself
should this process be stopped for longer than ports are to be held.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from loadgen import crash, shortage
from loadgen.errors import HostError, IncompleteError
from loadgen.occupy.account import shared_out
from loadgen.occupy.request import OccupyRequest
from loadgen.occupy.taking import PortRefusal, take
from loadgen.processes.lifetime import (
    die_with_parent,
    ended_in_words,
    holding_signals_back,
    ignore_signals_of_groups,
    raise_descriptor_limit,
)
from loadgen.processes.link import Link

#: Descriptors of a process that are no ports: streams, link, reserve, and connections that wait for their target.
RESERVED_DESCRIPTORS: Final = 128
#: Ports of one message; an answer that refuses all of them still fits into a packet.
_PORTS_AT_ONCE: Final = 1000
#: A process that has heard nothing for the time of the request and this long ends by SIGALRM.
_GRACE_S: Final = 15.0


@dataclass(slots=True)
class _HolderProcess:
    pid: int
    link: Link
    room: int
    ports: set[int] = field(default_factory=set)


@dataclass(slots=True)
class TakeResult:
    """Ports that were taken, and refusals. connects: connect() calls that sent a SYN."""

    taken: list[int] = field(default_factory=list)
    refused: list[PortRefusal] = field(default_factory=list)
    connects: int = 0

    @property
    def failures(self) -> Counter[tuple[str, str]]:
        """Refusals for which no port is the reason, by system call and errno."""
        return Counter((one.syscall, one.errno_name) for one in self.refused if not one.is_taken)


def room_of_one() -> int:
    """Return the ports that one process can hold. Raises: HostError if its descriptor limit is too low for any."""
    room = raise_descriptor_limit() - RESERVED_DESCRIPTORS
    if room < 1:
        raise HostError(shortage.descriptors())
    return room


class PortHolders:
    """The processes. count: of them; room: ports that each can hold. Use it in a `with`; its end closes all ports.

    Raises: HostError if a process cannot be started.
    """

    def __init__(self, request: OccupyRequest, count: int, room: int) -> None:
        self._request = request
        self._processes: list[_HolderProcess] = []
        try:
            for _ in range(count):
                self._processes.append(self._start(room))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PortHolders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The processes that hold ports."""
        return [process.pid for process in self._processes]

    def take(self, ports: Sequence[int]) -> TakeResult:
        """Take these ports as far as possible; the first processes with room take them.

        Raises: HostError if the host lacks something; IncompleteError if a process is gone; ValueError without room.
        """
        result = TakeResult()
        parts = shared_out(ports, [process.room - len(process.ports) for process in self._processes])
        for process, part in zip(self._processes, parts, strict=True):
            for begin in range(0, len(part), _PORTS_AT_ONCE):
                answer = self._ask(process, do="take", ports=part[begin : begin + _PORTS_AT_ONCE])
                result.taken += answer["taken"]
                result.refused += [PortRefusal(*one) for one in answer["refused"]]
                result.connects += answer["connects"]
                if self._request.can_give_back:
                    process.ports.update(answer["taken"])
        return result

    def release(self, ports: Sequence[int]) -> None:
        """Close the sockets of these ports. Raises: as `take`."""
        wanted = set(ports)
        for process in self._processes:
            part = sorted(process.ports & wanted)
            for begin in range(0, len(part), _PORTS_AT_ONCE):
                self._ask(process, do="release", ports=part[begin : begin + _PORTS_AT_ONCE])
            process.ports -= wanted

    def require_all(self) -> None:
        """Check that every process is there. Raises: IncompleteError."""
        for process in self._processes:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                raise self._lost(process, os.waitstatus_to_exitcode(status))

    def close(self) -> None:
        """End all processes, and wait until their sockets are closed; harmless when repeated."""
        while self._processes:
            process = self._processes.pop()
            process.link.close()
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # it is ours until it is waited for
            with suppress(ChildProcessError):
                os.waitpid(process.pid, 0)

    def _start(self, room: int) -> _HolderProcess:
        ours, theirs = Link.pair()
        parent = os.getpid()
        with holding_signals_back():
            pid = shortage.fork()
            if pid == 0:
                for link in (ours, *(process.link for process in self._processes)):
                    link.close()
                _run(self._request, theirs, parent)
        theirs.close()
        return _HolderProcess(pid, ours, room)

    def _ask(self, process: _HolderProcess, **message: Any) -> dict[str, Any]:
        answer = process.link.receive() if process.link.send(**message) else None
        if answer is None:
            _, status = os.waitpid(process.pid, 0)
            raise self._lost(process, os.waitstatus_to_exitcode(status))
        if "failed" in answer:
            raise HostError(answer["failed"])
        return answer

    def _lost(self, process: _HolderProcess, exit_code: int) -> IncompleteError:
        self._processes.remove(process)
        return IncompleteError(
            f"process {process.pid}, which held {len(process.ports):,} ports, {ended_in_words(exit_code)}; "
            "all ports are given back; start again"
        )


def _run(request: OccupyRequest, link: Link, parent: int) -> NoReturn:
    """Entry of a process that was forked to hold ports; never returns."""
    code = 1
    try:
        ignore_signals_of_groups()
        die_with_parent(parent)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        crash.watch_over("a process that holds ports")
        _serve(request, link)
        code = 0
    except Exception as error:
        crash.tell(error)
    finally:
        os._exit(code)


def _serve(request: OccupyRequest, link: Link) -> None:
    """Take and release ports as told, until the other side is gone."""
    kept: dict[int, int] = {}
    while message := link.receive():
        signal.setitimer(signal.ITIMER_REAL, request.for_s + _GRACE_S)
        if message["do"] == "release":
            for port in message["ports"]:
                os.close(kept.pop(port))
            link.send()
            continue
        try:
            result = take(request, message["ports"])
        except OSError as error:
            lacking = shortage.of(error)
            text = str(lacking) if lacking else f"no further port can be taken: {error.strerror}"
            link.send(failed=text)
            return
        kept |= result.descriptors
        link.send(taken=result.ports, refused=result.refused, connects=result.connects)
