"""The zygote: a warm process that forks the others, so that imports happen once and memory is shared.

Run as `python -m loadgen.processes.zygote FD MODULE...`. FD is one end of a SOCK_SEQPACKET pair; each MODULE is
imported before the first fork. There are two requests. `call` runs a function in the zygote itself, which is how it
enters a network namespace; `fork` runs one in a new child, which inherits the zygote's current namespaces. The zygote
reports every child that ends. It exits when the other end of FD closes, and the kernel ends its children with it. While
the orchestrator is stopped it keeps them stopped, too.

Sixty workers that each started an interpreter and imported numpy would need a quarter of a minute and a gigabyte;
forked from the zygote they need a second, and a few megabytes each.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from loadgen import crash, shortage
from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import ExitCode, HostError, LoadgenError
from loadgen.processes.lifetime import (
    die_with_parent,
    gain_no_privileges,
    ignore_signals_of_groups,
    is_stopped_by_signal,
    raise_descriptor_limit,
)
from loadgen.processes.link import Message
from loadgen.shortage import patiently

#: A packet has to fit the socket's send buffer (net.core.wmem_default, 212,992), but a plan may have tens of thousands
#: of addresses: so messages travel as memory files beside the packet.
PACKET_MAX: Final = 200 * 1024
FDS_MAX: Final = 8
#: Time within which the load stops after the orchestrator was stopped, and goes on after it.
_LOOK_MS: Final = 250


def serve(control: socket.socket) -> None:
    """Answer requests until the other end closes."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(*_: object) -> None:  # not set_wakeup_fd(), of which Python prints every write that fails
        with suppress(OSError):
            os.write(wake_write, b"\0")

    signal.signal(signal.SIGCHLD, wake)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    children = _Children(os.getppid())
    while True:
        ready = {fd for fd, _ in patiently(lambda: poll.poll(_LOOK_MS))}
        children.follow(control)
        if wake_read in ready:
            os.read(wake_read, 4096)
        _report_ended_children(control, children)
        if control.fileno() in ready:
            try:
                packet, fds, flags, _ = patiently(lambda: socket.recv_fds(control, PACKET_MAX, FDS_MAX))
            except ConnectionResetError:  # the other end closed with a report unread
                return
            if not packet:
                return
            shortage.require_whole(flags & socket.MSG_CTRUNC)
            _answer(control, read(fds[0]), fds[1:], children)


class _Children:
    """The processes forked from here, which stand still while the orchestrator does.

    An unwatched load is not to go on at full speed behind Ctrl-Z, and SIGSTOP cannot be caught.
    """

    def __init__(self, orchestrator: int) -> None:
        self._orchestrator, self._stopped_ns = orchestrator, 0
        self.pids: set[int] = set()

    def follow(self, control: socket.socket) -> None:
        """Stop them if the orchestrator is stopped; let them go on, and report for how long they stood, if it does."""
        if is_stopped_by_signal(self._orchestrator):
            self._signal(signal.SIGSTOP)
            self._stopped_ns = self._stopped_ns or now_ns()
        elif self._stopped_ns:
            self._signal(signal.SIGCONT)
            _send(control, {"paused_s": (now_ns() - self._stopped_ns) / NS_PER_S})
            self._stopped_ns = 0

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with suppress(PermissionError):  # a probe that became another user
                os.kill(pid, number)  # not reaped yet: the pid is theirs


def _answer(control: socket.socket, request: Message, fds: list[int], children: _Children) -> None:
    crash.keep_in(request["crashes"])
    try:
        function = pkgutil.resolve_name(request["entry"])
        if request["do"] == "fork":
            pid = shortage.fork()
            if pid == 0:
                _become_child(control, function, request["args"], fds)
            children.pids.add(pid)
            reply: Message = {"value": pid}
        else:
            try:
                reply = {"value": function(*request["args"])}
            finally:
                die_with_parent(os.getppid())  # the call may have changed the credentials
    except Exception as error:
        reply = _failure(request["entry"], error)
    for fd in fds:
        _close(fd)
    _send(control, {"id": request["id"], **reply})


def _failure(entry: str, error: Exception) -> Message:
    """Return the reply for a function that failed."""
    if isinstance(error, LoadgenError):
        return {"error": type(error).__name__, "text": str(error)}
    if short := shortage.of(error):
        return {"error": HostError.__name__, "text": str(short)}
    if isinstance(error, OSError):
        return {"error": HostError.__name__, "text": f"{entry.rpartition(':')[2]} failed: {error}"}
    return {"error": LoadgenError.__name__, "text": crash.told(error)}


def _become_child(control: socket.socket, function: Any, args: tuple[Any, ...], fds: list[int]) -> None:
    code = 1
    try:
        parent = os.getppid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close(control.detach())
        die_with_parent(parent)
        crash.watch_over(function.__module__.rpartition(".")[2])
        function(*args, *fds)
        code = 0
    except BaseException as error:
        crash.tell(error)
    finally:
        if sys.stderr:  # None where descriptor 2 is closed
            sys.stderr.flush()
        os._exit(code)


def _close(fd: int) -> None:
    """Close a descriptor; it is gone whatever the kernel answers (close(2), "Dealing with error returns")."""
    with suppress(OSError):
        os.close(fd)


def _report_ended_children(control: socket.socket, children: _Children) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        children.pids.discard(pid)
        _send(control, {"ended": pid, "exit_code": os.waitstatus_to_exitcode(status)})


def _send(control: socket.socket, message: Message) -> None:
    with in_memory(message) as reply:
        try:
            patiently(lambda: socket.send_fds(control, [pickle.dumps(None)], [reply]))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the orchestrator is gone; the end of file that follows ends this process


@contextmanager
def in_memory(message: Message) -> Iterator[int]:
    """Yield a memory file with the message, at offset 0; its offset is shared by all holders of the descriptor.

    Raises: HostError if the kernel does not take it.
    """
    fd = shortage.memory_file("loadgen-message")
    try:
        _write(fd, memoryview(pickle.dumps(message)))
        yield fd
    finally:
        _close(fd)


def _write(fd: int, left: memoryview) -> None:
    try:
        while left:
            left = left[os.write(fd, left) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError as error:
        refused = HostError(f"a message between processes cannot be written into memory: {error.strerror}")
        raise shortage.of(error) or refused from error


def read(fd: int) -> Any:
    """Return the message of a memory file, and close it. Raises: OSError."""
    try:
        with open(fd, "rb", closefd=False) as file:
            return pickle.load(file)
    finally:
        _close(fd)


def main() -> None:
    """Import the modules and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = os.getppid()
    die_with_parent(parent)
    gain_no_privileges()
    raise_descriptor_limit()
    for name in sys.argv[2:]:
        importlib.import_module(name)
    # Objects alive now stay alive: keep the garbage collector from touching, and so copying, their pages.
    gc.collect()
    gc.freeze()
    serve(control)


if __name__ == "__main__":
    ignore_signals_of_groups()
    crash.watch_over("zygote")
    try:
        main()
    except Exception as error:
        crash.tell(error)
        sys.exit(ExitCode.HOST if shortage.of(error) else ExitCode.BUG)
