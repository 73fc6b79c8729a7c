"""Kernel samples of a line, and the rate of listings, with fake namespaces, clocks and threads."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from errno import EACCES, EIO, EMFILE, ENFILE, ENOMEM
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import pytest

from loadgen.control.kernel_samples import BUDGET, KernelSampler, ProcNamespace, StateCounter, StateCounts
from loadgen.errors import HostError
from loadgen.results.schema.line import UNREAD, KernelLine, SinkKernelLine

PROC: Final = Path(__file__).parents[2] / "data" / "proc"
#: Above every pid_max (proc_sys_kernel(5)).
NOBODY: Final = 2**22 + 1


class Thread(Executor):
    """Runs one task at a time, when the test says so."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert not self._waiting, "one is running"
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def finish(self) -> None:
        future, work = self._waiting.pop()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)


class World:
    """Two namespaces in which a listing takes the time given by the test, in seconds."""

    def __init__(self) -> None:
        self.now_s, self.thread_s, self.cost_s = 100.0, 0.0, 0.0
        self.states = [{"established": 4}, {"listen": 1}]
        self.refusal = ""
        self.told: list[str] = []
        self.thread = Thread()
        self.listing = StateCounter(
            [lambda side=side: self._states(side) for side in range(2)],  # type: ignore[misc]
            self.thread,
            self.told.append,
            now_s=lambda: self.now_s,
            cpu_s=lambda: self.thread_s,
        )

    def _states(self, side: int) -> dict[str, int]:
        if self.refusal:
            raise HostError(self.refusal)
        self.thread_s += self.cost_s / 2
        return dict(self.states[side])

    def line(self, after_s: float = 1.0) -> StateCounts | None:
        """What the next line would say, with whatever was begun done before."""
        if self.thread.busy:
            self.thread.finish()
        self.now_s += after_s
        return self.listing.latest()


@pytest.fixture
def world() -> World:
    return World()


# --- How often -----------------------------------------------------------------------------------


def test_the_first_line_begins_a_listing_without_waiting(world: World) -> None:
    assert world.listing.latest() is None
    assert world.thread.busy
    assert world.listing.latest() is None  # nor does it begin another
    found = world.line(after_s=0.25)
    assert found is not None
    assert found.states == ({"established": 4}, {"listen": 1})
    assert world.listing.age_s(found) == 0.25


def test_listings_are_spaced_by_the_cost_of_the_last(world: World) -> None:
    """At 10 ms each and 0.25 % of a core the next is due four seconds after the last began."""
    world.cost_s = 0.01
    world.listing.latest()
    begun = []
    for _ in range(40):
        before = world.listing.count
        world.line(after_s=0.5)
        assert world.listing.count - before in (0, 1)
        if world.thread.busy:
            begun.append(world.now_s)
    spaces = {later - earlier for earlier, later in pairwise(begun)}
    assert spaces == {0.01 / BUDGET}


def test_listings_stay_within_the_budget(world: World) -> None:
    """The cost of a listing grows with the sockets, then stays; the last one does not exceed its time."""
    began_s = world.now_s
    world.listing.latest()
    for second in range(600):
        world.cost_s = min(0.002 * second, 0.3)
        world.line()
    assert world.listing.count > 5
    assert world.listing.cpu_s == pytest.approx(world.thread_s)
    assert world.thread_s / (world.now_s - began_s) <= BUDGET + 0.3 / 600


def test_there_is_one_listing_at_a_time(world: World) -> None:
    world.listing.latest()
    for _ in range(100):
        world.now_s += 1.0
        assert world.listing.latest() is None
    world.thread.finish()
    found = world.listing.latest()
    assert found is not None
    assert world.listing.age_s(found) == 0.0  # by this clock it was asked for when it was done


def test_a_kernel_that_cannot_list_sockets_is_reported_once(world: World) -> None:
    world.refusal = "cannot list sockets: ENOENT; modprobe tcp_diag"
    world.listing.latest()
    for _ in range(10):
        assert world.line() is None
    assert world.told == ["sockets are not counted by state: cannot list sockets: ENOENT; modprobe tcp_diag"]
    assert not world.thread.busy


def test_a_listing_that_failed_is_tried_again(world: World) -> None:
    def refuse() -> dict[str, int]:
        raise OSError(EMFILE, os.strerror(EMFILE))

    usual, world.listing._states = world.listing._states, [refuse]
    world.listing.latest()
    for _ in range(5):
        assert world.line() is None
    world.listing._states = usual
    for _ in range(3):
        found = world.line()
    assert found is not None
    assert world.told == ["sockets could not be counted by state: a system call: Too many open files"]


def test_without_a_thread_there_are_no_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(KernelSampler, "_start", refuse)
    told: list[str] = []
    assert asyncio.run(KernelSampler.start(cast(Any, None), apart=False, notice=told.append)) is None
    assert told == ["the kernel's counters are not read during this run: can't start new thread"]


def test_another_error_is_not_swallowed(world: World) -> None:
    world.listing._states = [lambda: 1 // 0]  # type: ignore[list-item, return-value]
    world.listing.latest()
    with pytest.raises(ZeroDivisionError):
        world.line()


# --- What a line says ----------------------------------------------------------------------------


class Fake:
    """A namespace with the numbers that the test gives."""

    def __init__(self, states: dict[str, int]) -> None:
        self.gone, self.closed, self._states = False, False, states

    def now(self) -> SinkKernelLine | None:
        return None if self.gone else SinkKernelLine(now={"sockstat.tcp_tw": 3}, delta={"Tcp.ActiveOpens": 5})

    def states(self) -> dict[str, int]:
        return self._states

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[KernelSampler, Fake, Fake]]:
    shutil.copytree(PROC / "linux-6.18" / "net", tmp_path, dirs_exist_ok=True)
    clients, sinks = Fake({"established": 7}), Fake({"established": 7, "listen": 1})
    telemetry = KernelSampler(
        clients, sinks, processes=lambda: [os.getpid(), NOBODY], notice=pytest.fail, proc_net=tmp_path
    )
    yield telemetry, clients, sinks
    telemetry.close()


def listed(telemetry: KernelSampler) -> KernelLine:
    """Return a line after the first listing has finished."""
    telemetry.now()
    telemetry._executor.submit(lambda: None).result(timeout=20)  # there is one thread, so this comes after it
    return telemetry.now()


def test_a_line_has_both_namespaces_and_the_cost(both: tuple[KernelSampler, Fake, Fake]) -> None:
    kernel = listed(both[0])
    assert kernel.sampling
    assert kernel.sink
    assert kernel.states_age_s is not None
    assert kernel.sink.states_age_s == kernel.states_age_s >= 0
    assert (kernel.now, kernel.delta, kernel.states) == (
        {"sockstat.tcp_tw": 3},
        {"Tcp.ActiveOpens": 5},
        {"established": 7},
    )
    assert (kernel.sink.now, kernel.sink.delta) == (kernel.now, kernel.delta)
    assert kernel.sink.states == {"established": 7, "listen": 1}
    assert (kernel.sampling.samples, kernel.sampling.listings) == (2, 1)
    assert kernel.sampling.cpu_s > 0


def test_the_last_line_has_the_cpu_time_of_the_run(both: tuple[KernelSampler, Fake, Fake]) -> None:
    """A process that has just ended adds nothing."""
    assert (sampling := both[0].now().sampling)
    assert sampling.run_cpu_s is None
    before = time.process_time()
    assert (sampling := both[0].now(final=True).sampling)
    assert sampling.run_cpu_s is not None
    assert before - 0.1 <= sampling.run_cpu_s <= time.process_time() + 0.1


def test_packets_of_the_whole_host_are_counted_once(both: tuple[KernelSampler, Fake, Fake], tmp_path: Path) -> None:
    path = tmp_path / "softnet_stat"
    first, rest = path.read_text().split(" ", 1)
    path.write_text(f"{int(first, 16) + 9:08x} {rest}")
    kernel = both[0].now()
    assert kernel.delta == {"Tcp.ActiveOpens": 5, "softnet.processed": 9}
    assert kernel.sink
    assert kernel.sink.delta == {"Tcp.ActiveOpens": 5}


def test_neighbours_of_the_whole_host_are_counted_once(both: tuple[KernelSampler, Fake, Fake], tmp_path: Path) -> None:
    def write(fulls: int) -> None:
        (tmp_path / "stat").mkdir(exist_ok=True)
        (tmp_path / "stat" / "arp_cache").write_text(f"entries  table_fulls\n00000400 {fulls:08x}\n")

    write(7)
    kernel = both[0].now()
    assert kernel.delta["neigh.table_fulls"] == 7
    assert kernel.now["neigh.entries"] == 1024
    assert kernel.sink
    assert "neigh.table_fulls" not in kernel.sink.delta
    assert "neigh.entries" not in kernel.sink.now


def test_a_closed_namespace_is_left_out(both: tuple[KernelSampler, Fake, Fake]) -> None:
    telemetry, clients, sinks = both
    sinks.gone = True
    assert telemetry.now().sink is None
    clients.gone = True
    assert telemetry.now() == UNREAD


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number), "/proc/1/net/snmp") for number in (EMFILE, ENFILE, EACCES, EIO, ENOMEM)),
        MemoryError(),
        ValueError("no line of counter names: ''"),
    ],
    ids=str,
)
def test_a_line_without_counters_where_they_cannot_be_read(tmp_path: Path, error: Exception) -> None:
    """Not those of the line before, nor zeros; the next line has them again, and how many had none is said."""
    shutil.copytree(PROC / "linux-6.18" / "net", tmp_path, dirs_exist_ok=True)
    told: list[str] = []
    clients, failing = Fake({}), [error, error]
    usual = clients.now

    def now() -> SinkKernelLine | None:
        if failing:
            raise failing.pop()
        return usual()

    clients.now = now  # type: ignore[method-assign]
    telemetry = KernelSampler(clients, None, processes=list, notice=told.append, proc_net=tmp_path)
    assert [telemetry.now(), telemetry.now()] == [UNREAD, UNREAD]
    assert telemetry.now().delta == {"Tcp.ActiveOpens": 5}
    telemetry.close()
    assert len(told) == 2
    assert told[0].startswith("the kernel's counters could not be read: ")
    assert told[1] == "the kernel's counters could not be read for 2 lines"


def test_closing_releases_the_namespaces(both: tuple[KernelSampler, Fake, Fake]) -> None:
    telemetry, clients, sinks = both
    telemetry.now()
    telemetry.close()
    assert clients.closed
    assert sinks.closed


# --- A namespace through files -------------------------------------------------------------------


class Glass:
    """`NamespaceFds` without a namespace."""

    def __init__(self) -> None:
        self.closed = False

    def conntrack(self) -> dict[str, int]:
        return {"count": 17, "max": 1024}

    def neighbours(self) -> dict[str, int]:
        return {"neigh": 9, "neigh6": 1}

    def states(self, proc_net: Path) -> dict[str, int]:
        return {"established": len((proc_net / "snmp").read_text())}

    def close(self) -> None:
        self.closed = True


def seen(proc_net: Path | None) -> ProcNamespace:
    return ProcNamespace(lambda: proc_net, Glass())  # type: ignore[arg-type]


def test_neighbours_of_a_namespace_of_its_own_are_counted() -> None:
    fds: Any = Glass()
    found = ProcNamespace(lambda: PROC / "linux-6.18" / "net", fds, own_neighbours=True).now()
    assert found
    assert (found.now["neigh.own"], found.now["neigh6.own"]) == (9, 1)


def test_gauges_are_of_the_namespace_except_memory() -> None:
    assert seen(PROC / "linux-6.18" / "net").now() == SinkKernelLine(
        now={
            "sockstat.tcp_inuse": 6,
            "sockstat.tcp6_inuse": 3,
            "sockstat.tcp_tw": 1,
            "sockstat.udp_inuse": 0,
            "sockstat.udp6_inuse": 0,
            "sockstat.tcp_orphan": 0,
            "sockstat.tcp_mem": 29,
            "conntrack.count": 17,
            "conntrack.max": 1024,
        },
        delta={},
    )


def test_counters_of_every_file_are_differences(tmp_path: Path) -> None:
    for kernel in ("linux-5.10", "linux-4.19"):  # the one has no IPv6, the other nothing else
        shutil.copytree(PROC / kernel / "net", tmp_path, dirs_exist_ok=True)
    namespace = seen(tmp_path)
    change(tmp_path / "snmp6", "Udp6NoPorts                     \t47", "Udp6NoPorts \t49")
    change(tmp_path / "snmp6", "Ip6InReceives                   \t492189", "Ip6InReceives \t492190")
    change(tmp_path / "stat" / "nf_conntrack", "00000011 00000004", "00000013 00000005")
    change(tmp_path / "netstat", "TcpExt: 0 1 0", "TcpExt: 0 4 0")
    assert (sample := namespace.now())
    assert sample.delta == {
        "Udp6.NoPorts": 2,
        "conntrack.drop": 2,
        "conntrack.early_drop": 1,
        "TcpExt.TW": 3,
    }


def test_without_a_process_a_namespace_has_no_numbers(tmp_path: Path) -> None:
    assert (seen(None).now(), seen(None).states()) == (None, {})
    shutil.copytree(PROC / "linux-6.18" / "net", tmp_path, dirs_exist_ok=True)
    namespace = seen(tmp_path)
    shutil.rmtree(tmp_path)
    assert (namespace.now(), namespace.states()) == (None, {})


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
