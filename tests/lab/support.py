"""What the lab tests share: waiting for a condition, child processes, listeners, a connector with its numbers."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import struct
import time
import traceback
import warnings
from collections import Counter as Tally
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from loadgen.clock import now_ns
from loadgen.control.snapshots import Snapshots
from loadgen.model import (
    CloseMode,
    Endpoint,
    Engine,
    Heartbeat,
    Phase,
    Plan,
    PortRange,
    Shard,
    Strategy,
    Transport,
)
from loadgen.outcomes import describe
from loadgen.processes.fleet import Fleet, Member, how_it_was_lost
from loadgen.processes.shared_memory import Blocks
from loadgen.protocols import Exchange
from loadgen.results.block import block_dtype, consistent_breakdown, consistent_totals
from loadgen.results.schema.line import Line
from loadgen.worker.connector import Connector
from loadgen.worker.epoll.connector import EpollConnector
from loadgen.worker.epoll.exchange import Exchanges
from loadgen.worker.freebind import Freebind
from loadgen.worker.io_uring.connector import UringConnector
from loadgen.worker.latencies import BATCH_MAX
from loadgen.worker.lifecycle import Lifecycle
from loadgen.worker.recorder import Recorder
from loadgen.worker.settings import Settings, Then, hold
from loadgen.worker.settings import churn as churning
from loadgen.worker.shard import sizes_of
from loadgen.worker.strategies import setup_of, strategy_for
from loadgen.worker.tls import TlsClient

T = TypeVar("T")

PROC_NET = Path("/proc/self/net")
LINGER_0 = struct.pack("ii", 1, 0)
#: In every namespace the loopback interface is the first.
LO = 1
#: linux/rtnetlink.h, linux/if_addr.h
_RT_TABLE_LOCAL = 255
_RT_SCOPE_HOST = 254
_IFA_F_NODAD = 0x02
#: Far above what anything here needs on an idle machine, far below the time limit of a test.
PATIENCE_S = 20.0


def until(condition: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
    """Ask again and again until the answer is true, and return it; fail when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"did not come true within {timeout_s} s"
        time.sleep(0.002)
    return answer


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def fork(body: Callable[[], object]) -> int:
    """Run `body` in a child process that ends with it; the child's pid."""
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; numpy's idle ones are no concern of the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        body()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@contextmanager
def child(body: Callable[[], object]) -> Iterator[int]:
    """A child process running `body`, killed and waited for at the end; its pid."""
    pid = fork(body)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # the test has waited for it already


def in_child(body: Callable[[], T]) -> T:
    """What `body` returns, or raises, in a process of its own: for limits and credentials that stay changed."""
    reading, writing = os.pipe()

    def report() -> None:
        os.close(reading)
        try:
            answer: tuple[bool, object] = (True, body())
        except BaseException as error:
            answer = (False, error)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)

    with child(report) as pid:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            data = pipe.read()
        os.waitpid(pid, 0)
    ended_well, value = pickle.loads(data)
    if not ended_well:
        raise value
    return value  # type: ignore[no-any-return]  # pickled by ourselves a moment ago


def descriptors() -> list[str]:
    """Return the open descriptors of this process, without those that earlier tests left to the garbage collector."""
    gc.collect()
    return os.listdir("/proc/self/fd")


def close_all_but(*kept: int) -> None:
    """Let go of whatever a forked process has inherited, as an exec would: it counts against no limit here."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in kept:
            with suppress(OSError):  # that of the listing itself is closed already
                os.close(fd)


def add_route(kind: str, network: str) -> None:
    """Add a route as `ip route add KIND NETWORK` does; `local` makes the network this namespace's own (AnyIP)."""
    from pyroute2 import IPRoute

    local: dict[str, Any] = {"oif": LO, "table": _RT_TABLE_LOCAL, "scope": _RT_SCOPE_HOST} if kind == "local" else {}
    with IPRoute() as netlink:
        netlink.route("add", dst=network, type=kind, **local)


def add_address(address: str, prefix_length: int, interface: int = LO) -> None:
    """Add an address to an interface, usable at once: no other host is asked whether it has it."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.addr("add", index=interface, address=address, prefixlen=prefix_length, flags=_IFA_F_NODAD)


def listen(endpoint: Endpoint, backlog: int = 4096, *, reuse: bool = True) -> socket.socket:
    """A listener that accepts nothing on its own: the kernel completes handshakes up to `backlog` + 1."""
    listener = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    listener.bind(endpoint.sockaddr)
    listener.listen(backlog)
    return listener


def accept_all(listener: socket.socket, count: int) -> list[socket.socket]:
    """The next `count` connections in the order in which they were established."""
    accepted: list[socket.socket] = []

    def enough() -> bool:
        while len(accepted) < count:
            try:
                accepted.append(listener.accept()[0])
            except BlockingIOError:
                return False
        return True

    until(enough)
    return accepted


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    sock.close()


class Load:
    """A connector, the numbers it writes, and the questions a test has about them."""

    def __init__(
        self,
        strategy: Strategy,
        pairs: Sequence[tuple[str, Endpoint]],
        ports: PortRange,
        *,
        skipped: Sequence[int] = (),
        self_connect: bool = False,
        close: CloseMode = CloseMode.RST,
        timeout_s: float = 600.0,
        in_flight_max: int = 1000,
        churn: bool = False,
        exchange: Exchange | None = None,
        exchanges: int = 1,
        client: TlsClient | None = None,
        open_max: int = 1000,
        heartbeat: Heartbeat | None = None,
        transport: Transport = Transport.TCP,
        engine: Engine = Engine.EPOLL,
        descriptors: int = 8192,
        order: Iterator[int] | None = None,
        freebind: bool = False,
    ) -> None:
        self.pairs = pairs
        self._blocks = Blocks.create("test", block_dtype(len(pairs)), 1)
        self.block: Any = self._blocks.records[0]
        self.recorder = Recorder(self.block, scheduled=1)
        sources = [source for source, _ in pairs]
        schedule = hold(heartbeat)
        if churn:
            schedule = churning(close, exchanges=exchanges, open_max=open_max, searched_ports=1, transport=transport)
        self.settings = Settings(
            pairs=pairs,
            first_pair=0,
            order=order,
            self_connect=[self_connect] * len(pairs),
            close=close,
            timeout_s=timeout_s,
            in_flight_max=in_flight_max,
            descriptors=descriptors,
            transport=transport,
            schedule=schedule,
        )
        self.connector: Connector
        if engine is Engine.IO_URING:
            setup = setup_of(strategy, sources, ports, frozenset(skipped), freebind=freebind)
            self.connector = UringConnector(self.settings, setup, self.recorder)
            return
        self.ports = strategy_for(
            strategy,
            sources,
            ports,
            frozenset(skipped),
            churn=churn,
            transport=transport,
            record_bind=self.recorder.record_bind,
        )
        if freebind:
            self.ports = Freebind(self.ports, sources)
        self.connector = epoll = EpollConnector(self.settings, self.ports, self.recorder)
        if exchange or client or schedule.then is Then.AWAIT_CLOSE:
            epoll.driver = Exchanges(epoll, exchange, client)

    @property
    def lifecycle(self) -> Lifecycle[Any]:
        """The books of the connector."""
        return self.connector.lifecycle

    def open(self, count: int = 1) -> None:
        """Make `count` attempts and wait until each is answered."""
        self.start(count)
        self.settle(lambda: not self.recorder.in_flight)

    def start(self, count: int = 1) -> None:
        """Make `count` attempts, answered or not; pairs that were denied a port rest in between, as in a worker."""
        goal = self.recorder.started + count

        def begun() -> bool:
            if not self.lifecycle.cooldown_until_ns(now_ns()):
                self.connector.open_batch((0,) * min(BATCH_MAX, goal - self.recorder.started))
            return self.recorder.started == goal

        until(begun)
        self.check()

    def settle(self, done: Callable[[], bool]) -> None:
        """Listen to the kernel until `done`."""

        def drained() -> bool:
            self.connector.drain_events()
            return done()

        until(drained)
        self.check()

    def check(self) -> None:
        """Every attempt is established, failed or in flight, and what was published agrees with itself."""
        now = self.recorder
        assert now.started == now.established + now.failed + now.in_flight
        assert now.open + now.lost <= now.established
        self.recorder.publish_all()
        pairs = consistent_breakdown(self.block)["pairs"].sum(axis=0)
        assert pairs.tolist() == [now.established, now.failed, now.open]
        assert sum(self.errors.values()) == now.failed + now.lost

    @property
    def errors(self) -> dict[tuple[str, str], int]:
        """How often each (system call, errno) ended an attempt or a connection."""
        self.recorder.publish()
        errors = consistent_totals(self.block)["errors"]
        found: Tally[tuple[str, str]] = Tally()
        for slot in errors.nonzero()[0]:
            kind = describe(int(self.block["error_keys"][slot]))
            found[kind.syscall, kind.errno] += int(errors[slot])
        return dict(found)

    def close(self) -> None:
        """Close whatever is open or on its way; harmless when repeated."""
        if self._blocks.fd >= 0:
            self.close_connections()
            if isinstance(self.connector, UringConnector):
                self.connector.close()
            os.close(self._blocks.fd)
            self._blocks.fd = -1

    def close_connections(self) -> None:
        """Close whatever is open or on its way, as a worker drains."""
        self.connector.abandon()
        while self.connector.close_batch(1000):
            pass


def never_ready(*_: object) -> None:
    """Entry of a process that starts and reports nothing."""
    signal.pause()


class Crew:
    """The workers of a plan in processes of their own, led as a run leads them."""

    def __init__(self, plan: Plan, *, descriptors: int = 8192) -> None:
        self.plan, self._descriptors = plan, descriptors
        self.lost: list[tuple[Member, str, float]] = []  # who, how it ended, when (the loop's time)
        self.fleet = Fleet(self._on_lost)
        self.blocks = Blocks.create("test-workers", block_dtype(len(plan.pairs)), plan.workers)
        self.sizes = sizes_of(plan)
        self.start_ns = 0

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.stop()
        self.blocks.close()

    async def muster(self) -> list[Member]:
        """Fork every worker and wait until all are ready."""
        return await self.fleet.start(
            "worker",
            "loadgen.worker.worker:main",
            [Shard(self.plan, index) for index in range(self.plan.workers)],
            self._descriptors,
            blocks_fd=self.blocks.fd,
            timeout_s=PATIENCE_S,
        )

    async def go(self) -> None:
        """Let them open their connections and wait until every attempt is answered."""
        self.begin()
        await self.report("opened")

    def begin(self) -> None:
        """Give the workers their common start, a moment from now."""
        self.start_ns = now_ns() + 20_000_000
        self.fleet.tell("worker", do="start", at_ns=self.start_ns)

    async def report(self, *states: str) -> None:
        """Wait until every worker that is still there has reported one of these."""
        assert await self.fleet.wait(lambda: self.fleet.all_of("worker", states), PATIENCE_S)

    async def drain(self) -> None:
        """Have everything closed."""
        self.fleet.tell("worker", do="drain", over_s=0.0)
        await self.report("drained")

    def line(self) -> Line:
        """All blocks added up, with what must always be true of them."""
        capacity = self.plan.capacity if self.plan.churn else None
        snapshots = Snapshots(self.blocks, self.sizes, start_ns=self.start_ns, capacity=capacity)
        for member, _, _ in self.lost:
            snapshots.lose(member.index)
        line = snapshots.take(Phase.RAMP, now_ns())
        assert line.started == line.established + line.failed + line.in_flight
        return line

    def _on_lost(self, member: Member) -> None:
        self.lost.append((member, how_it_was_lost(member), asyncio.get_running_loop().time()))
        self.fleet.notify()


def on_loop(body: Callable[[], Coroutine[Any, Any, T]], factory: Callable[[], asyncio.AbstractEventLoop]) -> T:
    """Run a coroutine to its end on a loop of this kind."""

    async def bounded() -> T:
        async with asyncio.timeout(3 * PATIENCE_S):
            return await body()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(bounded())
