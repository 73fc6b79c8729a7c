"""The processes of a run and their links: state of each, last report, and detection of lost ones.

A process that ends is noticed by its link. One that is stopped while it is waited for (the zygote while it owes an
answer, a process that is not ready yet, one that was asked) is given up after some seconds. Processes that are ready
show by their heartbeat that they get on, see `loadgen.control.watching`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from loadgen import shortage
from loadgen.errors import HostError, IncompleteError, LoadgenError
from loadgen.processes.lifetime import Stops, ended_in_words
from loadgen.processes.link import Link, Message
from loadgen.processes.zygote_client import Zygote

#: The state of a process whose link has closed.
GONE = "gone"
_EXIT_CODE_S = 0.2
#: Time for the reports of a process that is gone to be read, before its link is closed.
_GONE_S: Final = 1.0
#: A process that is found stopped this many times in a row, while it is waited for, is given up.
_LOOK_S: Final = 0.5
_LOOKS_MAX: Final = 10
_STOPPED: Final = f"was stopped for {_LOOKS_MAX * _LOOK_S:.0f} s"


@dataclass(slots=True)
class Member:
    """One process. `state` is its last report, or "gone"; `exit_code` is known shortly after it is gone.

    failure: why it could not start or go on, by its own report. given_up: why it was killed by the orchestrator.
    survived: calls that failed and cost nothing, by its last report: {"close EIO": 3}.
    """

    kind: str
    index: int
    pid: int
    link: Link
    state: str = "starting"
    exit_code: int | None = None
    failure: str = ""
    given_up: str = ""
    survived: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} {self.index} (pid {self.pid})"


class Fleet:
    """Forks processes, with one link each, and tracks them.

    on_lost: called at once with every member that exits without having been told to, after it was ready.
    on_zygote_lost: called with the sentence on how the zygote ended, and with it all members.
    on_paused: called after this process and the fleet with it were stopped, with the time in seconds.
    """

    def __init__(
        self,
        on_lost: Callable[[Member], None],
        on_zygote_lost: Callable[[str], None] = lambda _: None,
        *,
        on_paused: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._on_lost, self._on_zygote_lost = on_lost, on_zygote_lost
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._stopping = False
        self._early_exits: dict[int, int] = {}
        self.members: list[Member] = []
        self.zygote = Zygote(self._on_ended, self._zygote_gone, on_paused)
        self._asked: set[int] = set()
        self._watcher = self._loop.create_task(self._watch_for_stopped())

    async def start(
        self, kind: str, entry: str, shards: Sequence[Any], *args: Any, blocks_fd: int, timeout_s: float
    ) -> list[Member]:
        """Fork one process for each shard as entry(shard, *args, link, blocks) and wait until all are ready.

        Raises: HostError with the reason of a process that failed; IncompleteError if one does not report in time.
        """
        started = []
        for index, shard in enumerate(shards):
            ours, pid = await self._fork(entry, shard, *args, fds=(blocks_fd,))
            member = Member(kind, index, pid, ours, exit_code=self._early_exits.pop(pid, None))
            started.append(member)
            self.members.append(member)
            self._loop.add_reader(ours.fileno(), self._on_message, member)
        await self.wait(lambda: all(member.state != "starting" for member in started), timeout_s)
        for member in started:
            if member.failure:
                raise HostError(member.failure)
            if member.state == GONE:
                await self.exit_code_of(member)
                raise IncompleteError(f"{member} {how_it_was_lost(member)} before it was ready; start again")
            if member.state != "ready":
                raise IncompleteError(f"{member} was not ready within {timeout_s:.0f} s; start again")
        return started

    async def ask(self, entry: str, *args: Any, enough: Callable[[], bool], timeout_s: float) -> Message | None:
        """Fork one process as entry(*args, link) and return the one message it sends; None if there is none.

        The process is not a member of the fleet. It is killed at the time-out, or once `enough()` is True.
        """
        ours, pid = await self._fork(entry, *args)
        answers: list[Message | None] = []

        def on_message() -> None:
            self._loop.remove_reader(ours.fileno())
            try:
                answers.append(ours.receive())
            except OSError:
                answers.append(None)
            self.notify()

        self._loop.add_reader(ours.fileno(), on_message)
        self._asked.add(pid)
        try:
            await self.wait(lambda: bool(answers) or enough(), timeout_s)
        finally:
            self._asked.discard(pid)
            if not answers:
                self._loop.remove_reader(ours.fileno())
                _kill(pid)
            ours.close()
        return answers[0] if answers else None

    async def _fork(self, entry: str, *args: Any, fds: tuple[int, ...] = ()) -> tuple[Link, int]:
        """Fork one process as entry(*args, link, *fds); return the other end of its link, and its pid."""
        with shortage.starting("a process"):
            ours, theirs = Link.pair()
        try:
            pid = await self.zygote.fork(entry, *args, fds=(theirs.fileno(), *fds))
        except LoadgenError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours, pid

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
            self.tell_one(member, **message)

    def tell_one(self, member: Member, **message: Any) -> None:
        """Send a command to one process, which is given up if none reaches it."""
        try:
            if not member.link.send(**message):  # it is gone, as its link says behind its last report
                self._loop.call_later(_GONE_S, self._gone, member)
        except OSError as error:
            self.give_up(member, f"could not be told to {message['do']} ({error.strerror})")

    async def stop(self) -> bool:
        """End all processes; harmless when repeated. Returns False if the zygote was stopped, and had to be killed."""
        self._stopping = True
        self._watcher.cancel()
        for member in self.members:
            self._close(member)
        return await self.zygote.close()

    async def exit_code_of(self, member: Member) -> int | None:
        """Return the exit code of a member that is gone; the zygote reports it shortly after the link closes."""
        await self.wait(lambda: member.exit_code is not None or bool(self.zygote.lost), _EXIT_CODE_S)
        return member.exit_code

    def kill(self) -> None:
        """Kill all processes at once."""
        self._stopping = True
        self.zygote.kill()

    def give_up(self, member: Member, because: str) -> None:
        """Kill one process, which counts as lost. because: what it did, "gave no sign of life for 30 s"."""
        if member.state != GONE and not member.given_up:
            member.given_up = because
            _kill(member.pid)

    async def _watch_for_stopped(self) -> None:
        """Give up what is stopped while it is waited for."""
        stops = Stops()
        while True:
            await asyncio.sleep(_LOOK_S)
            if stops.look(self.zygote.pid) >= _LOOKS_MAX and self.zygote.is_asked:
                self.zygote.give_up(_STOPPED)
            for member in self.members:
                if member.state == "starting" and stops.look(member.pid) >= _LOOKS_MAX:
                    self.give_up(member, _STOPPED)
            for pid in self._asked:
                if stops.look(pid) >= _LOOKS_MAX:
                    _kill(pid)

    def _zygote_gone(self) -> None:
        if not self._stopping:
            self._on_zygote_lost(f"{self.zygote} {self.zygote.lost}")
        self.notify()

    def _on_message(self, member: Member) -> None:
        try:
            message = member.link.receive()
        except OSError as error:
            self.give_up(member, f"could not be heard ({error.strerror})")
            message = None
        if message is None:
            self._gone(member)
        else:
            member.failure = message.get("text", "")
            member.survived = message.get("survived", {})
            if not (member.failure and member.state != "starting"):  # the end follows, and is told then
                member.state = message["report"]
        self.notify()

    def _gone(self, member: Member) -> None:
        """Close the link, which ends the process if it is there after all, and tell of the loss; once."""
        if member.state == GONE:
            return
        was_ready = member.state not in ("starting", "failed")
        self._close(member)
        if was_ready and not self._stopping:
            self._on_lost(member)
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


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def how_it_was_lost(member: Member) -> str:
    """Return what became of a process, as a predicate: "was killed by SIGKILL"."""
    if member.given_up:
        return f"{member.given_up} and was killed"
    if member.failure:
        return f"could not go on ({member.failure})"
    return "is gone" if member.exit_code is None else ended_in_words(member.exit_code)
