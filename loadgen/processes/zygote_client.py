"""The orchestrator's side of the zygote: start it, call functions in it, fork processes from it.

No call waits without a bound: a zygote that is lost fails it with how it ended, one that is stopped is given up by the
fleet, and any other has a minute and a half.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from loadgen import crash, errors, secret, shortage
from loadgen.errors import ExitCode, HostError, IncompleteError, LoadgenError
from loadgen.processes.lifetime import ended_in_words, holding_signals_back, is_stopped, raise_descriptor_limit
from loadgen.processes.zygote import PACKET_MAX, in_memory, read
from loadgen.shortage import patiently

#: Modules to load before the first fork, by name: importing them here would pull the data plane into the orchestrator
#: and break the order of layers.
_PRELOAD: Final = (
    "loadgen.worker.worker",
    "loadgen.sink.sink",
    "loadgen.control.probe",
    "loadgen.lab.namespace",
    "loadgen.kernel.host",
)
_STOP_TIMEOUT_S: Final = 2.0
_STOP_POLL_S: Final = 0.002
#: The longest call fills a connection tracking table, or looks for 65,536 addresses.
_ANSWER_TIMEOUT_S: Final = 90.0
#: A process closes its descriptors a moment before its end can be waited for (do_exit(), kernel/exit.c).
_REAP_TIMEOUT_S: Final = 0.2


def _error(kind: str, text: str) -> LoadgenError:
    """Return an error of the class with this name, without calling its constructor."""
    error_class = getattr(errors, kind, LoadgenError)
    error: LoadgenError = error_class.__new__(error_class)
    error.args = (text,)
    return error


class Zygote:
    """The zygote process.

    on_ended: called with (pid, exit code) for every forked process that ends; for a process ended by a signal the code
    is the negated signal number, as in subprocess.
    on_gone: called once if the zygote itself is lost.
    on_paused: called when the forked processes go on after this process was stopped, with the seconds they stood still.
    """

    def __init__(
        self,
        on_ended: Callable[[int, int], None],
        on_gone: Callable[[], None],
        on_paused: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._on_ended, self._on_gone, self._on_paused = on_ended, on_gone, on_paused
        self._loop = asyncio.get_running_loop()
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._requests = 0
        #: How it was lost, in words; empty while it is there.
        self.lost = ""
        raise_descriptor_limit()  # a link for each worker and sink
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {
            **secret.environment(),
            # Threads of numpy would not survive a fork, and they prevent entering a user namespace (unshare(2)).
            "OPENBLAS_NUM_THREADS": "1",
            **({"PYTHONDONTWRITEBYTECODE": "1"} if sys.dont_write_bytecode else {}),
        }
        with theirs, holding_signals_back(), shortage.starting("the process that starts the workers"):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loadgen.processes.zygote", str(theirs.fileno()), *_PRELOAD],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout belongs to the summary
                env=environment,
                # Ctrl-C on the terminal is for the orchestrator alone. A process group and not a new session: the
                # scheduler divides a core by sessions first (sched(7), autogroup), and loadgen should compete with the
                # programs it measures like any other process of its session.
                process_group=0,
            )
        self._loop.add_reader(self._control.fileno(), self._on_message)

    @property
    def pid(self) -> int:
        """PID of the zygote; /proc/<pid>/net shows the network namespace of the zygote and of its forks."""
        return self._process.pid

    async def call(self, entry: str, *args: Any) -> Any:
        """Run "module:function" in the zygote itself and return its result.

        Raises: the LoadgenError that it raised; IncompleteError if the zygote is lost meanwhile.
        """
        return await self._request("call", entry, args, ())

    async def fork(self, entry: str, *args: Any, fds: Sequence[int] = ()) -> int:
        """Run "module:function" in a new process, with copies of `fds` as its last arguments; return its pid."""
        pid: int = await self._request("fork", entry, args, fds)
        return pid

    @property
    def is_asked(self) -> bool:
        """True while it owes an answer."""
        return bool(self._replies)

    async def close(self) -> bool:
        """End the zygote and all processes it forked; return False if it was stopped, and so had to be killed."""
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        if await self._ended_within(_STOP_TIMEOUT_S):
            return True
        stopped = is_stopped(self._process.pid)
        self._process.kill()
        await self._ended_within(_STOP_TIMEOUT_S)
        return not stopped

    def kill(self) -> None:
        """Kill the zygote and all processes it forked, at once."""
        self._process.kill()

    def give_up(self, because: str) -> None:
        """Kill it, and fail every call that waits; because: what it was, "stopped for 5 s"."""
        self.lost = f"{because} and was killed"
        self._process.kill()

    def __str__(self) -> str:
        return f"the zygote (pid {self.pid}), the parent of workers and sinks,"

    async def _ended_within(self, timeout_s: float) -> bool:
        deadline = self._loop.time() + timeout_s
        while self._process.poll() is None:
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(_STOP_POLL_S)
        return True

    async def _request(self, do: str, entry: str, args: tuple[Any, ...], fds: Sequence[int]) -> Any:
        if self.lost:
            raise self._loss()
        self._requests += 1
        number = self._requests
        message = {"id": number, "do": do, "entry": entry, "args": args, "crashes": crash.directory}
        reply = self._replies[number] = self._loop.create_future()
        try:
            with in_memory(message) as request:
                patiently(lambda: socket.send_fds(self._control, [b"request"], [request, *fds]))
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await reply
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._loss() from error
        except TimeoutError as error:
            self.give_up(f"gave no answer to {entry} within {_ANSWER_TIMEOUT_S:.0f} s")
            raise self._loss() from error
        except OSError as error:
            refused = HostError(f"the process that starts the others cannot be asked: {error.strerror}")
            raise shortage.of(error) or refused from error
        finally:
            self._replies.pop(number, None)

    def _on_message(self) -> None:
        try:
            packet, fds, flags, _ = patiently(lambda: socket.recv_fds(self._control, PACKET_MAX, 1))
        except ConnectionResetError:
            packet, fds, flags = b"", [], 0
        if not packet:
            self._gone()
            return
        try:
            shortage.require_whole(flags & socket.MSG_CTRUNC)
            message = read(fds[0])
        except OSError as error:  # whose answer it was is lost with it
            refused = HostError(f"an answer of the process that starts the others cannot be read: {error.strerror}")
            self._fail(shortage.of(error) or refused)
            return
        if "ended" in message:
            self._on_ended(message["ended"], message["exit_code"])
            return
        if "paused_s" in message:
            self._on_paused(message["paused_s"])
            return
        reply = self._replies.get(message["id"])
        if reply is None or reply.done():
            return
        if "error" in message:
            reply.set_exception(_error(message["error"], message["text"]))
        else:
            reply.set_result(message["value"])

    def _gone(self) -> None:
        self._loop.remove_reader(self._control.fileno())
        self._fail(self._loss())
        self._on_gone()

    def _fail(self, error: Exception) -> None:
        """Fail every call that waits."""
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error)

    def _loss(self) -> LoadgenError:
        """Return the error for a zygote that is gone; one that found the host to lack something has said what."""
        code = None
        if not self.lost:
            try:
                code = self._process.wait(_REAP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.lost = "is gone"
            else:
                self.lost = ended_in_words(code)
        if code == ExitCode.HOST:
            return HostError("the process that starts the workers cannot start on this host, for the reason above")
        return IncompleteError(f"{self} {self.lost}; start again")
