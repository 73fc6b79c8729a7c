"""Each system call of a running sink fails with each errno of its manual page, by strace's injection."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.model import Endpoint, SinkBehaviour, Transport
from loadgen.sink import counts

from .support import alive, until
from .test_sink import Sinks

PLAIN: Final = Endpoint("127.0.0.1", 9000)
LATE: Final = Endpoint("127.0.0.1", 9001)
RESET: Final = Endpoint("127.0.0.1", 9002)
pytestmark = [pytest.mark.lab("40000 41999"), pytest.mark.usefixtures("_strace")]

#: By system call, as in section 2 of the manual; EAGAIN and EINTR mean no failure.
ERRNOS: Final = {
    "accept4": "ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM EPERM EPROTO ENETDOWN EHOSTUNREACH ENETUNREACH EINVAL",
    "read": "EBADF EINVAL EIO ENOMEM ECONNRESET ENOTCONN ETIMEDOUT EHOSTUNREACH",
    "write": "EBADF EDQUOT EINVAL EIO ENOBUFS ENOMEM ENOSPC EPERM EPIPE ECONNRESET",
    "epoll_ctl": "EBADF EEXIST EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM",
    "epoll_wait": "EBADF EFAULT EINVAL",
    "close": "EBADF EIO ENOSPC EDQUOT EINTR",
    "ioctl": "EBADF EINVAL ENOTTY EIO",
    "setsockopt": "EBADF EINVAL ENOPROTOOPT ENOTSOCK",
}


@contextmanager
def failing(pid: int, *injections: str, forked: bool = False) -> Iterator[None]:
    """Make system calls of a process fail, as `strace -e inject=` describes it; forked: also of those that it forks."""
    expressions = [part for injection in injections for part in ("-e", f"inject={injection}")]
    expressions += ["-f"] if forked else []
    command = ["strace", "-qq", "-o", "/dev/null", "-p", str(pid), *expressions]
    # Of a process that it meets in the middle of a call it says so on stderr, whatever -qq and -o: that is no test's.
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        try:
            status = Path(f"/proc/{pid}/status")
            until(lambda: not status.exists() or f"TracerPid:\t{strace.pid}\n" in status.read_text())
            yield
        finally:
            strace.terminate()


def attempt(endpoint: Endpoint) -> None:
    """Connect, send and read, as far as the sink lets us."""
    try:
        with socket.create_connection((endpoint.address, endpoint.port), 5) as sock:
            sock.settimeout(0.1)
            sock.sendall(b"hello")
            sock.recv(100)
    except OSError:
        pass


def attempt_each() -> None:
    """One attempt at each of the three."""
    for endpoint in (PLAIN, LATE, RESET):
        attempt(endpoint)


def until_counted(serving: Sinks, kind: str, before: dict[str, int], again: Callable[[], object]) -> None:
    """Do it again until there are more failures of a kind: strace is attached before it makes calls fail."""

    def counted() -> bool:
        again()
        return counts.failures(serving.blocks).get(kind, 0) > before.get(kind, 0)

    until(counted)


@pytest.mark.parametrize("call", ERRNOS)
def test_a_sink_survives_each_error_and_counts_it(keep: ExitStack, call: str) -> None:
    """Plain echoes, connections with a behaviour and those that it resets, in one process."""
    behaviours = {LATE: SinkBehaviour(delay_s=0.01), RESET: SinkBehaviour(reset=True)}
    serving = Sinks(keep, (PLAIN, LATE, RESET), 1, 4, 2048, behaviours=behaviours)
    (pid,) = serving.pids
    for name in ERRNOS[call].split():
        before = counts.failures(serving.blocks)
        with failing(pid, f"{call}:error={name}:when=1..3"):
            if counts_as_failure(call, name):
                until_counted(serving, f"{call} {name}", before, attempt_each)
            else:
                attempt_each()
    assert alive(pid)
    for endpoint in (PLAIN, LATE):
        with socket.create_connection((endpoint.address, endpoint.port), 10) as sock:
            sock.sendall(b"still there?")
            assert sock.recv(100) == b"still there?"
    if call == "close":  # strace lets no call through that it makes fail
        return
    until(lambda: counts.totals(serving.blocks)["open"] == 0)
    assert counts.totals(serving.blocks)["open"] == 0


def counts_as_failure(call: str, name: str) -> bool:
    """Whether it is no mere sign of a client that has left."""
    gone = {"ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"}
    return name not in {"accept4": {"ECONNABORTED"}, "read": gone, "write": gone}.get(call, set())


def test_a_sink_of_udp_survives_each_error(keep: ExitStack) -> None:
    serving = Sinks(keep, (PLAIN,), 1, 4, 2048, transport=Transport.UDP)
    (pid,) = serving.pids
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(PLAIN.sockaddr)
        for call, names in (
            ("recvfrom", "ECONNREFUSED ENOMEM ENOTCONN"),
            ("sendto", "ENOBUFS ENOMEM EPERM EHOSTUNREACH"),
        ):
            for name in names.split():
                with failing(pid, f"{call}:error={name}:when=1"):
                    until_counted(serving, f"{call} {name}", {}, lambda: client.send(b"hello"))
        client.send(b"still there?")
        until(lambda: client.recv(100) == b"still there?")
    assert alive(pid)


def test_a_sink_that_can_wait_for_nothing_says_so_and_ends(keep: ExitStack, capfd: Any) -> None:
    """For good: after a second, with one line."""
    serving = Sinks(keep, (PLAIN,), 1, 4, 2048)
    with failing(serving.pids[0], "epoll_wait:error=EINVAL"):
        attempt(PLAIN)
        until(lambda: not alive(serving.pids[0]))
    assert capfd.readouterr().err == "loadgen: sink 0 cannot go on: [Errno 22] Invalid argument\n"


def test_messages_of_the_orchestrator_that_cannot_be_read_at_once(keep: ExitStack) -> None:
    serving = Sinks(keep, (PLAIN,), 1, 4, 2048)
    (pid,) = serving.pids
    with failing(pid, "recvfrom:error=ENOMEM:when=1..2"):
        serving.links[0].send(do="stop")
        until(lambda: not alive(pid))
