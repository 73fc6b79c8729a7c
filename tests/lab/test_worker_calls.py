"""Each system call of a running worker fails with errnos of its manual page, by strace's injection."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import pytest
import uvloop

from loadgen.errors import LoadgenError
from loadgen.model import Churn, CloseMode, Endpoint, PortRange, Stage, Traffic
from loadgen.processes.fleet import how_it_was_lost
from tests.plans import plan_of

from .support import PATIENCE_S, Crew, on_loop
from .test_sink import Sinks
from .test_sink_calls import failing

HERE: Final = Endpoint("127.0.0.1", 9000)
pytestmark = [pytest.mark.lab("40000 41999"), pytest.mark.usefixtures("_strace")]

#: Errnos with which an attempt or a connection ends; it is counted as ended by (call, errno).
COUNTED: Final = {
    "socket": "EACCES EMFILE ENFILE ENOBUFS ENOMEM",
    "setsockopt": "ENOPROTOOPT ENOMEM",
    "bind": "EACCES EADDRINUSE ENOMEM",
    "connect": "EACCES EISCONN ETIMEDOUT ENETUNREACH",
    "epoll_ctl": "ENOMEM ENOSPC",
    "sendto": "ENOBUFS ECONNRESET ENOMEM",
    "recvfrom": "ECONNRESET ENOMEM",
}
#: Errnos that cost nothing: each is told of when the worker has drained.
SURVIVED: Final = {
    "close": "EIO EINTR EDQUOT",
    "timerfd_settime": "ENOMEM ECANCELED",
    "epoll_wait": "EBADF EINVAL",
    "pselect6": "EINVAL ENOMEM",
}


def led(body: Callable[[Crew, int], Coroutine[Any, Any, None]], keep: ExitStack, **changes: Any) -> None:
    """Let one worker open, use and close connections, some hundred each second, while `body` makes its calls fail."""
    Sinks(keep, (HERE,), 1, 4, 2048)
    plan = plan_of(
        **{
            "connections": 50,
            "ports": PortRange(40_000, 41_999),
            "capacity_per_pair": 2000,
            "stages": (Stage(300.0, 300.0, None),),
            "churn": Churn(60.0, arrivals=18_000),
            "close": CloseMode.RST,
            "traffic": Traffic("echo"),
            **changes,
        }
    )

    async def leading() -> None:
        async with Crew(plan) as crew:
            (worker,) = await crew.muster()
            crew.begin()
            await until(lambda: crew.line().established > 10)
            await body(crew, worker.pid)

    on_loop(leading, uvloop.new_event_loop)


async def until(done: Callable[[], Any]) -> None:
    """Wait for a condition, and let the loop run."""
    async with asyncio.timeout(PATIENCE_S):
        while not done():
            await asyncio.sleep(0.01)


def counted(crew: Crew, call: str, name: str) -> bool:
    """Whether an attempt or a connection ended by this call and errno."""
    return any((error.syscall, error.errno) == (call, name) for error in crew.line().errors)


async def opened(crew: Crew, count: int) -> None:
    """Wait until so many more connections were opened."""
    goal = crew.line().established + count
    await until(lambda: crew.line().established >= goal)


@pytest.mark.parametrize("call", COUNTED)
def test_a_failure_that_ends_a_connection_is_counted_with_its_call(keep: ExitStack, call: str) -> None:
    """And the worker opens further ones."""

    async def body(crew: Crew, pid: int) -> None:
        named = {"epoll_ctl": "register", "sendto": "send", "recvfrom": "recv"}.get(call, call)
        for name in COUNTED[call].split():
            # setsockopt() has a use that costs nothing, too, for each of a batch of connections that are closed.
            with failing(pid, f"{call}:error={name}:when=1..{200 if call == 'setsockopt' else 5}"):
                await until(partial(counted, crew, named, name))
        await opened(crew, 10)
        assert crew.lost == []

    led(body, keep)


@pytest.mark.parametrize("call", SURVIVED)
def test_a_failure_that_costs_nothing_is_told_at_the_end(keep: ExitStack, call: str) -> None:
    async def body(crew: Crew, pid: int) -> None:
        (worker,) = crew.fleet.members
        for name in SURVIVED[call].split():
            with failing(pid, f"{call}:error={name}:when=1..3"):
                await opened(crew, 60)
        await crew.drain()
        told = {"pselect6": "select"}.get(call, call)  # the library's call, and the kernel's
        assert set(worker.survived) == {f"{told} {name}" for name in SURVIVED[call].split()}
        line = crew.line()
        assert (line.failed, line.lost, line.open) == (0, 0, 0)

    led(body, keep)


def test_a_message_to_the_orchestrator_waits_for_memory(keep: ExitStack) -> None:
    async def body(crew: Crew, pid: int) -> None:
        with failing(pid, "sendto:error=ENOBUFS:when=1..9"):
            await crew.drain()

    led(body, keep, traffic=Traffic())


@pytest.mark.parametrize(
    ("injection", "how", "said"),
    [
        ("epoll_wait:error=EINVAL", "could not go on ([Errno 22] epoll_wait: Invalid argument)", ""),
        ("epoll_pwait:error=EINVAL", "was killed by SIGABRT", ""),  # libuv's own call, and its way to end
        ("recvfrom:error=ENOMEM", "could not go on ([Errno 12] Cannot allocate memory)", ""),
        ("sendto:error=EPIPE", "ended with code 0", ""),  # as when the orchestrator is gone
        ("sendto:error=ENOBUFS", "ended with code 1", "cannot go on: [Errno 105] No buffer space available\n"),
    ],
)
def test_a_worker_that_cannot_go_on_ends_and_says_why(
    keep: ExitStack, capfd: pytest.CaptureFixture[str], injection: str, how: str, said: str
) -> None:
    """Within seconds; to the orchestrator, or to the user where it cannot. Its counts are there, and add up."""
    messages = injection.startswith(("recv", "send"))

    async def body(crew: Crew, pid: int) -> None:
        with failing(pid, injection):
            if messages:
                crew.fleet.tell("worker", do="drain", over_s=0.0)
            await until(lambda: crew.lost)
        ((member, _, _),) = crew.lost
        await crew.fleet.exit_code_of(member)
        assert how_it_was_lost(member) == how
        crew.line()

    led(body, keep, traffic=Traffic("tcp" if messages else "echo"))
    assert capfd.readouterr().err.partition("worker 0 ")[2] == said


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE"])
def test_a_worker_whose_loop_cannot_take_its_first_turn_says_why(
    keep: ExitStack, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """And not that the loop could not be closed after that."""
    Sinks(keep, (HERE,), 1, 4, 2048)

    async def body() -> None:
        async with Crew(plan_of(connections=5, ports=PortRange(40_000, 41_999))) as crew:
            await crew.fleet.zygote.call("os:getpid")
            said = pytest.raises(LoadgenError, match=os.strerror(getattr(errno, name)))
            with failing(crew.fleet.zygote.pid, f"socketpair:error={name}:when=1", forked=True), said:
                await crew.muster()

    on_loop(body, uvloop.new_event_loop)
    assert capfd.readouterr().err == ""


def test_a_worker_that_cannot_be_told_anything_is_let_go(keep: ExitStack) -> None:
    """The kernel says that it is gone, and its link does not: closing the link makes both true."""

    async def body(crew: Crew, _: int) -> None:
        (worker,) = crew.fleet.members
        worker.link.send = lambda **_: False  # type: ignore[method-assign]  # as Link.send() for EPIPE
        crew.fleet.tell("worker", do="drain", over_s=0.0)
        await until(lambda: crew.lost)
        assert await crew.fleet.exit_code_of(worker) == 0

    led(body, keep)
