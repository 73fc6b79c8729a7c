"""The processes of a run and their links: state of each, last report, and detection of lost ones."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loadgen.errors import HostError, IncompleteError
from loadgen.processes.link import Link, Message
from loadgen.processes.zygote_client import Zygote

#: The state of a process whose link has closed.
GONE = "gone"
_EXIT_CODE_S = 0.2


@dataclass(slots=True)
class Member:
    """One process. `state` is its last report, or "gone"; `exit_code` is known shortly after it is gone."""

    kind: str
    index: int
    pid: int
    link: Link
    state: str = "starting"
    exit_code: int | None = None
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.index} (pid {self.pid})"


class Fleet:
    """Forks processes, with one link each, and tracks them.

    on_lost: called at once with every member that exits without having been told to.
    on_paused: called after this process and the fleet with it were stopped, with the time in seconds.
    """

    def __init__(
        self, on_lost: Callable[[Member], None], *, on_paused: Callable[[float], None] = lambda _: None
    ) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._stopping = False
        self._early_exits: dict[int, int] = {}
        self.members: list[Member] = []
        self.zygote = Zygote(self._on_ended, self.notify, on_paused)

    async def start(
        self, kind: str, entry: str, shards: Sequence[Any], *args: Any, blocks_fd: int, timeout_s: float
    ) -> list[Member]:
        """Fork one process for each shard as entry(shard, *args, link, blocks) and wait until all are ready.

        Raises: HostError with the reason of a process that failed; IncompleteError if one does not report in time.
        """
        started = []
        for index, shard in enumerate(shards):
            ours, theirs = Link.pair()
            pid = await self.zygote.fork(entry, shard, *args, fds=(theirs.fileno(), blocks_fd))
            theirs.close()
            member = Member(kind, index, pid, ours, exit_code=self._early_exits.pop(pid, None))
            started.append(member)
            self.members.append(member)
            self._loop.add_reader(ours.fileno(), self._on_message, member)
        await self.wait(lambda: all(member.state != "starting" for member in started), timeout_s)
        for member in started:
            if member.failure:
                raise HostError(member.failure)
            if member.state != "ready":
                raise IncompleteError(f"{member} did not start ({member.state})")
        return started

    async def ask(self, entry: str, *args: Any, enough: Callable[[], bool], timeout_s: float) -> Message | None:
        """Fork one process as entry(*args, link) and return the one message it sends; None if there is none.

        The process is not a member of the fleet. It is killed at the time-out, or once `enough()` is True.
        """
        ours, theirs = Link.pair()
        pid = await self.zygote.fork(entry, *args, fds=(theirs.fileno(),))
        theirs.close()
        answers: list[Message | None] = []

        def on_message() -> None:
            self._loop.remove_reader(ours.fileno())
            answers.append(ours.receive())
            self.notify()

        self._loop.add_reader(ours.fileno(), on_message)
        await self.wait(lambda: bool(answers) or enough(), timeout_s)
        if not answers:
            self._loop.remove_reader(ours.fileno())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ours.close()
        return answers[0] if answers else None

    async def wait(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until `done()` or for the time; changes that `done` depends on must call `notify`. Returns done()."""
        deadline = None if timeout_s is None else self._loop.time() + timeout_s
        while not done():
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                break
        return done()

    def notify(self) -> None:
        """Wake all waiters, because a condition may have changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def all_of(self, kind: str, states: Collection[str]) -> bool:
        """Return True if every running process of this kind is in one of these states."""
        return all(member.state in states for member in self.members if member.kind == kind and member.state != GONE)

    def alive(self, kind: str) -> list[Member]:
        """Return the running processes of this kind."""
        return [member for member in self.members if member.kind == kind and member.state != GONE]

    def tell(self, kind: str, **message: Any) -> None:
        """Send a command to every process of this kind."""
        for member in self.alive(kind):
            member.link.send(**message)

    async def stop(self) -> None:
        """End all processes; harmless when repeated."""
        self._stopping = True
        for member in self.members:
            self._close(member)
        await self.zygote.close()

    def expect_ends(self) -> None:
        """From now on do not report a process that exits as lost."""
        self._stopping = True

    async def exit_code_of(self, member: Member) -> int | None:
        """Return the exit code of a member that is gone; the zygote reports it shortly after the link closes."""
        await self.wait(lambda: member.exit_code is not None, _EXIT_CODE_S)
        return member.exit_code

    def kill(self) -> None:
        """Kill all processes at once."""
        self._stopping = True
        self.zygote.kill()

    def give_up(self, member: Member) -> None:
        """Kill one process that no longer answers; it counts as lost."""
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)

    def _on_message(self, member: Member) -> None:
        message = member.link.receive()
        if message is None:
            self._close(member)
            if not self._stopping and not member.failure:
                self._on_lost(member)
        else:
            member.state = message["report"]
            member.failure = message.get("text", "")
        self.notify()

    def _close(self, member: Member) -> None:
        if member.state != GONE:
            member.state = GONE
            self._loop.remove_reader(member.link.fileno())
            member.link.close()

    def _on_ended(self, pid: int, exit_code: int) -> None:
        for member in self.members:
            if member.pid == pid:
                member.exit_code = exit_code
                break
        else:
            self._early_exits[pid] = exit_code
        self.notify()


def how_it_ended(member: Member) -> str:
    """Return how a process ended, in words: "killed by SIGKILL"."""
    code = member.exit_code
    if code is None:
        return "gone"
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return f"ended with code {code}"
