"""Processes: started from the zygote, noticed when they go, and never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from loadgen import crash
from loadgen.errors import CapacityError, HostError, IncompleteError, LoadgenError, ScenarioError, UsageError
from loadgen.model import Endpoint, PortRange, Target
from loadgen.processes.fleet import how_it_was_lost
from loadgen.processes.shared_memory import Blocks
from loadgen.processes.zygote_client import Zygote
from loadgen.sink import counts, sink
from tests.plans import plan_of

from .support import PATIENCE_S, Crew, alive, child, listen, on_loop, until
from .test_sink_calls import failing

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

_PR_CAPBSET_DROP: Final = 24
_CAP_SETFCAP: Final = 31
HERE: Final = Endpoint("127.0.0.1", 9000)

pytestmark = pytest.mark.lab("40000 49999")


class Zygotes:
    """A zygote, and what it has said about its children."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}
        self.gone = 0
        self._changed = asyncio.Event()
        self.zygote = Zygote(self._on_ended, self._on_gone)

    async def __aenter__(self) -> Zygotes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.zygote.close()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    def _on_ended(self, pid: int, exit_code: int) -> None:
        self.ended[pid] = exit_code
        self._changed.set()

    def _on_gone(self) -> None:
        self.gone += 1
        self._changed.set()


def private_bytes(pid: int) -> int:
    """What a process has in memory for itself alone, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


# --- the zygote -----------------------------------------------------------------------------------


def test_a_call_runs_in_the_zygote_and_returns_its_value(run: Run) -> None:
    async def body() -> None:
        async with Zygotes() as it:
            assert await it.zygote.call("os:getpid") == it.zygote.pid
            assert await asyncio.gather(*(it.zygote.call("builtins:abs", -n) for n in range(20))) == list(range(20))

    run(body)


@pytest.mark.parametrize(
    ("entry", "args", "kind", "text"),
    [
        ("loadgen.kernel.sysctl:write", ("net.ipv4.nope", "1"), HostError, "cannot set sysctl net.ipv4.nope"),
        ("loadgen.kernel.sysctl:read", ("a/b",), UsageError, "'a/b' is not a sysctl"),
        ("loadgen.arrivals:due_ns", ((), 1), ScenarioError, "0 of 1 connections due"),
        ("loadgen.arrivals:port_slices", (PortRange(1, 2), 3), CapacityError, "need 3, have 2"),
    ],
)
def test_an_error_comes_back_as_what_it_was(
    run: Run, entry: str, args: tuple[object, ...], kind: type[LoadgenError], text: str
) -> None:
    """Of its own class, so with its own exit code; and the zygote lives on."""

    async def body() -> None:
        async with Zygotes() as it:
            with pytest.raises(kind) as caught:
                async with asyncio.timeout(5):
                    await it.zygote.call(entry, *args)
            assert type(caught.value) is kind
            assert text in str(caught.value)
            assert await it.zygote.call("os:getpid") == it.zygote.pid

    run(body)


@pytest.mark.parametrize(
    ("entry", "args", "kind", "text"),
    [
        ("os:listdir", ("/no/such/directory",), HostError, "listdir failed: [Errno 2] No such file or directory"),
        ("math:sqrt", (-1,), LoadgenError, "unforeseen ValueError: math domain error; details in "),
    ],
)
def test_an_unforeseen_error_of_a_call_is_its_answer(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    entry: str,
    args: tuple[object, ...],
    kind: type,
    text: str,
) -> None:
    """The zygote lives on."""
    monkeypatch.setattr(crash, "directory", str(tmp_path))

    async def body() -> None:
        async with Zygotes() as it:
            with pytest.raises(LoadgenError) as caught:
                async with asyncio.timeout(10):
                    await it.zygote.call(entry, *args)
            assert type(caught.value) is kind
            assert str(caught.value).startswith(text)
            assert await it.zygote.call("os:getpid") == it.zygote.pid

    run(body)


@pytest.mark.usefixtures("_strace")
@pytest.mark.parametrize(
    ("injection", "text"),
    [
        ("close:error=EINTR:when=1", ""),  # also in the process that was forked
        ("close:error=EIO:when=1..9", ""),  # those of its messages, too
        ("clone:error=EAGAIN:when=1", "the host lets no further process or thread start"),
        ("sendmsg:error=ENOBUFS:when=1..5", ""),
        ("recvmsg:error=ENOMEM:when=1..5", ""),
        ("poll:error=ENOMEM:when=1..5", ""),
    ],
)
def test_a_call_of_the_zygote_itself_fails(
    run: Run, capfd: pytest.CaptureFixture[str], injection: str, text: str
) -> None:
    """A process that cannot be made is an answer; what passes is tried again or costs nothing; nothing is printed."""

    async def body() -> None:
        async with Zygotes() as it:
            await it.zygote.call("os:getpid")
            with failing(it.zygote.pid, injection, forked=injection.startswith("close")):
                if text:
                    with pytest.raises(HostError) as caught:
                        await it.zygote.fork("builtins:len", ())
                    assert text in str(caught.value)
                pid = await it.zygote.fork("builtins:len", ())
                await it.until(lambda: it.ended.get(pid) == 0)

    run(body)
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("_strace")
def test_an_end_is_reported_although_its_signal_wakes_nobody(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """The zygote looks by itself, four times a second."""

    async def body() -> None:
        async with Zygotes() as it:
            pid = await it.zygote.fork("time:sleep", PATIENCE_S)
            with failing(it.zygote.pid, "write:error=EAGAIN:when=1"):
                os.kill(pid, signal.SIGKILL)
                await it.until(lambda: it.ended.get(pid) == -signal.SIGKILL)

    run(body)
    assert capfd.readouterr().err == ""


def test_an_answer_whose_descriptor_has_no_room_fails_the_call(run: Run) -> None:
    """The kernel drops the descriptor and with it the answer (unix(7)); the call would wait for ever."""

    async def body() -> None:
        async with Zygotes() as it:
            await it.zygote.call("os:getpid")
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            waiting = asyncio.ensure_future(it.zygote.call("time:sleep", 0.1))
            await asyncio.sleep(0)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
            try:
                with pytest.raises(HostError, match="RLIMIT_NOFILE"):
                    await asyncio.wait_for(waiting, 20)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert await it.zygote.call("os:getpid") == it.zygote.pid

    run(body)


def test_an_answer_that_cannot_be_read_fails_the_call(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a memory error (EIO); the answer is lost, so the call would wait for ever."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def body() -> None:
        async with Zygotes() as it:
            assert await it.zygote.call("builtins:abs", -1) == 1
            with monkeypatch.context() as broken:
                broken.setattr("pickle.load", refuse)
                with pytest.raises(HostError, match="a device of this host fails"):
                    async with asyncio.timeout(PATIENCE_S):
                        await it.zygote.call("builtins:abs", -2)
            assert await it.zygote.call("builtins:abs", -3) == 3

    run(body)


def test_a_lost_zygote_is_told_once_and_to_everybody_who_waits(run: Run) -> None:
    async def body() -> None:
        async with Zygotes() as it:
            waiting = [asyncio.ensure_future(it.zygote.call("time:sleep", 60)) for _ in range(3)]
            await asyncio.sleep(0)
            os.kill(it.zygote.pid, signal.SIGKILL)
            for answer in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(answer, IncompleteError)
            await it.until(lambda: it.gone > 0)
            with pytest.raises(IncompleteError):
                await it.zygote.call("os:getpid")
            assert it.gone == 1

    run(body)


@pytest.mark.parametrize(
    ("entry", "args", "exit_code"),
    [("builtins:len", ((),), 0), ("os:_exit", (7,), 7), ("os:abort", (), -6), ("math:sqrt", (-1,), 1)],
)
def test_the_end_of_a_child_is_told_with_its_exit_code(
    run: Run, entry: str, args: tuple[object, ...], exit_code: int
) -> None:
    """Negated for a signal, as in subprocess; 1 for an exception."""

    async def body() -> None:
        async with Zygotes() as it:
            pid = await it.zygote.fork(entry, *args)
            await it.until(lambda: pid in it.ended)
            assert it.ended == {pid: exit_code}

    run(body)


def test_a_child_with_a_bug_is_one_line_and_a_file(
    run: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash, "directory", str(tmp_path))

    async def body() -> int:
        async with Zygotes() as it:
            pid = await it.zygote.fork("json:loads", "{")
            await it.until(lambda: pid in it.ended)
        return pid

    pid = run(body)
    (details,) = tmp_path.iterdir()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"loadgen: json (pid {pid}): unforeseen JSONDecodeError: ")
    assert f"details in {details}" in line
    assert "Traceback" in details.read_text()


def test_children_are_born_where_the_zygote_lives_by_then(run: Run) -> None:
    async def body() -> None:
        async with Zygotes() as it:
            outside = await it.zygote.fork("time:sleep", 60)
            await it.zygote.call("loadgen.lab.namespace:enter", {})
            inside = await it.zygote.fork("time:sleep", 60)
            ours, first, second, theirs = (
                os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", outside, inside, it.zygote.pid)
            )
            assert ours == first
            assert theirs == second != ours

    run(body)


def test_a_request_may_be_much_larger_than_a_packet(run: Run) -> None:
    """A plan with 65,536 source addresses is a megabyte."""

    async def body() -> None:
        async with Zygotes() as it:
            assert (
                await it.zygote.call("builtins:len", [f"10.99.{n // 256}.{n % 256}" for n in range(65_536)]) == 65_536
            )

    run(body)


def test_a_reply_may_be_larger_than_a_packet_too(run: Run) -> None:
    """The addresses of an interface: as many as a scenario may name, here from a function that is quick."""
    addresses = [f"10.99.{n // 256}.{n % 256}" for n in range(65_536)]

    async def body() -> None:
        async with Zygotes() as it:
            assert await it.zygote.call("builtins:tuple", addresses) == tuple(addresses)

    run(body)


def test_closing_ends_the_zygote_and_all_it_forked(run: Run) -> None:
    async def body() -> list[int]:
        async with Zygotes() as it:
            children = [await it.zygote.fork("time:sleep", 60) for _ in range(5)]
            pids = [it.zygote.pid, *children]
            assert all(map(alive, pids))
        return pids

    pids = run(body)
    until(lambda: not any(map(alive, pids)), 2)


# --- a fleet of workers -------------------------------------------------------------------------


def test_workers_start_and_stop(run: Run) -> None:
    async def body() -> list[int]:
        async with Crew(plan_of(workers=4, connections=8)) as crew:
            members = await crew.muster()
            assert [(member.kind, member.index, member.state) for member in members] == [
                ("worker", index, "ready") for index in range(4)
            ]
            pids = [crew.fleet.zygote.pid, *(member.pid for member in members)]
            assert all(map(alive, pids))
        assert crew.lost == []
        return pids

    pids = run(body)
    until(lambda: not any(map(alive, pids)), 2)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_is_never_ready_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Where it is stopped or killed; the time-out is for those that run. It is no loss of a run that has not begun."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    async def body() -> None:
        async with Crew(plan_of()) as crew:
            start = asyncio.ensure_future(
                crew.fleet.start("worker", "tests.lab.support:never_ready", [1], blocks_fd=crew.blocks.fd, timeout_s=60)
            )
            while not crew.fleet.members:
                await asyncio.sleep(0.01)
            (member,) = crew.fleet.members
            os.kill(member.pid, number)
            how = "was stopped for 5 s and was killed" if number == signal.SIGSTOP else "was killed by SIGKILL"
            with pytest.raises(IncompleteError, match=f"{how} before it was ready"):
                async with asyncio.timeout(20):
                    await start
            assert crew.lost == []

    on_loop(body, uvloop.new_event_loop)


def test_one_that_is_asked_and_stopped_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a probe, or the process that connects the namespaces of a lab."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    async def body() -> None:
        async with Crew(plan_of()) as crew:
            asking = asyncio.ensure_future(
                crew.fleet.ask("tests.lab.support:never_ready", enough=lambda: False, timeout_s=60)
            )
            asked: list[int] = []
            while not asked:
                await asyncio.sleep(0.01)
                children = Path(f"/proc/{crew.fleet.zygote.pid}/task/{crew.fleet.zygote.pid}/children").read_text()
                asked = list(map(int, children.split()))
            os.kill(asked[0], signal.SIGSTOP)
            async with asyncio.timeout(20):
                assert await asking is None
            until(lambda: not alive(asked[0]))

    on_loop(body, uvloop.new_event_loop)


def test_a_killed_worker_is_noticed_within_a_second(run: Run) -> None:
    """Once, with how it ended; its counts are still there, and the others do not care."""

    async def body() -> None:
        async with Crew(plan_of(workers=3, connections=30)) as crew:
            members = await crew.muster()
            await crew.go()
            begun = asyncio.get_running_loop().time()
            os.kill(members[1].pid, signal.SIGKILL)
            assert await crew.fleet.wait(lambda: bool(crew.lost), 10)
            ((member, _, at),) = crew.lost
            assert member is members[1]
            assert await crew.fleet.exit_code_of(member) == -signal.SIGKILL
            assert how_it_was_lost(member) == "was killed by SIGKILL"
            assert at - begun < 1
            assert str(member) == f"worker 1 (pid {members[1].pid})"
            line = crew.line()
            assert (line.established, line.open) == (30, 20)
            await crew.drain()
            assert crew.line().open == 0
        assert len(crew.lost) == 1

    with listen(HERE):
        run(body)


def test_a_worker_that_cannot_start_says_why(run: Run) -> None:
    """Two ports are not enough for three workers: an error of the host, with the worker's own words."""

    async def body() -> None:
        async with Crew(plan_of(workers=3, connections=2, ports=PortRange(40000, 40001))) as crew:
            with pytest.raises(HostError, match="need 3, have 2"):
                await crew.muster()

    run(body)


def test_a_worker_that_dies_at_birth_is_an_incomplete_run(run: Run) -> None:
    async def body() -> None:
        async with Crew(plan_of()) as crew:
            with pytest.raises(IncompleteError, match=r"worker 0 \(pid \d+\) ended with code 1 before it"):
                await crew.fleet.start("worker", "os:_exit", [3], blocks_fd=crew.blocks.fd, timeout_s=20)

    run(body)


def test_a_stopped_worker_does_not_hold_up_the_end(run: Run) -> None:
    """SIGSTOP: it hears nothing, but its parent's end reaches it all the same."""

    async def body() -> list[int]:
        async with Crew(plan_of(workers=2)) as crew:
            members = await crew.muster()
            os.kill(members[0].pid, signal.SIGSTOP)
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 10
        return [member.pid for member in members]

    pids = run(body)
    until(lambda: not any(map(alive, pids)), 2)


def test_more_workers_than_connections_start_all_the_same(run: Run) -> None:
    """Those without anything to do have reported "opened" before the last one is even ready."""

    async def body() -> None:
        async with Crew(plan_of(workers=30, connections=2)) as crew:
            await crew.muster()
            await crew.go()
            assert crew.line().established == 2
            await crew.drain()

    with listen(HERE):
        run(body)


def test_sixty_workers_start_in_one_go(run: Run) -> None:
    """A million connections at 20,000 descriptors a process need that many."""

    async def body() -> None:
        async with Crew(plan_of(workers=60, connections=600, ports=PortRange(40000, 40599))) as crew:
            begun = asyncio.get_running_loop().time()
            members = await crew.muster()
            assert asyncio.get_running_loop().time() - begun < 20
            assert len({member.pid for member in members}) == 60
            await crew.go()
            line = crew.line()
            assert (line.established, line.errors) == (600, ())
            await crew.drain()

    with listen(HERE):
        run(body)


def test_a_worker_is_small_and_a_held_connection_hardly_anything() -> None:
    """Private memory: under 25 MB at the start, under 600 bytes more for each of 4,000 connections."""

    async def body() -> tuple[int, int]:
        plan = plan_of(connections=4000, ports=PortRange(40000, 43999))
        async with Crew(plan, descriptors=20_000) as crew:
            (member,) = await crew.muster()
            before = private_bytes(member.pid)
            await crew.go()
            assert crew.line().open == 4000
            return before, private_bytes(member.pid)

    with listen(HERE, 65535):
        before, after = on_loop(body, uvloop.new_event_loop)
    assert before < 25_000_000
    assert (after - before) / 4000 < 600


# --- the parent goes ------------------------------------------------------------------------------


def _lose_capabilities() -> None:
    """Programs started from now on have no privilege, although they are root's: as if an ordinary user started them.

    But for CAP_SETFCAP, without which root may not even be root in a user namespace (user_namespaces(7)).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    dropped = {*range(last + 1)} - {_CAP_SETFCAP}
    assert not any(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) for number in dropped)


@pytest.mark.usefixtures("_user_namespaces")
@pytest.mark.parametrize("user", ["root", "ordinary"])
@pytest.mark.parametrize("where", ["host", "lab"])
def test_everybody_goes_with_a_killed_orchestrator(user: str, where: str, keep: ExitStack) -> None:
    """Zygote, workers and sinks within two seconds, stopped ones too, also inside a lab of an ordinary user."""
    reading, writing = os.pipe()

    async def lead() -> None:
        target = Target(HERE, sink=True)
        async with Crew(plan_of(workers=3, connections=30, targets=(target,), sinks=1)) as crew:
            if where == "lab":
                await crew.fleet.zygote.call(
                    "loadgen.lab.namespace:enter", {"net.ipv4.ip_local_port_range": "40000 40099"}
                )
            blocks = Blocks.create("test-sinks", counts.block_dtype(4), 1)
            shards = [sink.SinkShard((HERE,), 0, 1, 4, 1024)]
            await crew.fleet.start("sink", "loadgen.sink.sink:main", shards, blocks_fd=blocks.fd, timeout_s=20)
            members = await crew.muster()
            await crew.go()
            os.kill(members[2].pid, signal.SIGSTOP)
            pids = [crew.fleet.zygote.pid, *(member.pid for member in crew.fleet.members)]
            os.write(writing, json.dumps({"pids": pids, "established": crew.line().established}).encode())
            await asyncio.sleep(3600)

    def body() -> None:
        os.close(reading)
        if user == "ordinary":
            _lose_capabilities()
        on_loop(lead, uvloop.new_event_loop)

    pid = keep.enter_context(child(body))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        report = json.loads(pipe.read1(65536))
        assert report["established"] == 30
        assert len(report["pids"]) == 5
        assert all(map(alive, report["pids"]))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(alive, report["pids"])), 2)


def test_the_zygote_leaves_ctrl_c_to_the_orchestrator(run: Run) -> None:
    """It has a process group of its own, so a terminal's SIGINT does not reach it or its children."""

    async def body() -> None:
        async with Zygotes() as it:
            pid = await it.zygote.fork("time:sleep", 60)
            assert {os.getpgid(number) for number in (it.zygote.pid, pid)} == {it.zygote.pid}
            assert os.getpgid(0) != it.zygote.pid

    run(body)


def test_what_the_zygote_prints_stays_off_standard_output() -> None:
    """Standard output is for the summary; a child's words go to standard error."""
    program = """
import asyncio
from loadgen.processes.zygote_client import Zygote

async def main():
    zygote = Zygote(lambda pid, code: None, lambda: None)
    await zygote.call("builtins:print", "a word from the zygote")
    await zygote.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert (done.stdout, "a word from the zygote" in done.stderr) == ("", True)
