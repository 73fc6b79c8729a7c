"""The orchestrator's side of the zygote: start it, call functions in it, fork processes from it."""

from __future__ import annotations

import asyncio
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from loadgen import crash, errors, secret
from loadgen.errors import IncompleteError, LoadgenError
from loadgen.processes.lifetime import raise_descriptor_limit
from loadgen.processes.zygote import PACKET_MAX, in_memory

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
    """

    def __init__(self, on_ended: Callable[[int, int], None], on_gone: Callable[[], None]) -> None:
        self._on_ended, self._on_gone = on_ended, on_gone
        self._loop = asyncio.get_running_loop()
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._requests = 0
        raise_descriptor_limit()  # a link for each worker and sink
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {
            **secret.environment(),
            # Threads of numpy would not survive a fork, and they prevent entering a user namespace (unshare(2)).
            "OPENBLAS_NUM_THREADS": "1",
        }
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
        theirs.close()
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

    async def close(self) -> None:
        """End the zygote and all processes it forked."""
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        ended = asyncio.to_thread(self._process.wait)
        try:
            await asyncio.wait_for(ended, _STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def kill(self) -> None:
        """Kill the zygote and all processes it forked, at once."""
        self._process.kill()

    async def _request(self, do: str, entry: str, args: tuple[Any, ...], fds: Sequence[int]) -> Any:
        self._requests += 1
        number = self._requests
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._replies[number] = reply
        with in_memory({"id": number, "do": do, "entry": entry, "args": args, "crashes": crash.directory}) as request:
            try:
                socket.send_fds(self._control, [b"request"], [request.fileno(), *fds])
            except (BrokenPipeError, ConnectionResetError) as error:
                raise IncompleteError("the process that starts the workers is gone") from error
        return await reply

    def _on_message(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, PACKET_MAX, 1)
        except ConnectionResetError:
            packet, fds = b"", []
        if not packet:
            self._gone()
            return
        message = pickle.loads(packet)
        for fd in fds:
            with open(fd, "rb") as file:
                message = pickle.load(file)
        if "ended" in message:
            self._on_ended(message["ended"], message["exit_code"])
            return
        reply = self._replies.pop(message["id"])
        if reply.cancelled():
            return
        if "error" in message:
            reply.set_exception(_error(message["error"], message["text"]))
        else:
            reply.set_result(message["value"])

    def _gone(self) -> None:
        self._loop.remove_reader(self._control.fileno())
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(IncompleteError("the process that starts the workers is gone"))
        self._replies.clear()
        self._on_gone()
