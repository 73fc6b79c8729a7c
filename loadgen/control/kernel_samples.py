"""Sample kernel counters during a run, in the namespaces of the load, of the sinks and of a gateway between them.

/proc/<pid>/net shows the namespace of that process (proc_pid_net(5)), so the counters can be read through any process
of the run that lives there, once per interval, in a millisecond. The rest comes through `NamespaceFds`. Counting
sockets by state costs more, because the kernel walks all of them: a thread does it, as often as a budget allows, and
each line carries the age of its numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from errno import EINVAL, ENOENT, ESRCH
from math import inf
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from loadgen import event_loop
from loadgen.control.gateway_samples import GatewayNamespace
from loadgen.control.sinks import SINK
from loadgen.errors import HostError
from loadgen.kernel import conntrack, neighbours, snmp, snmp6, sockstat, softnet
from loadgen.lab import namespace_fds
from loadgen.lab.namespace_fds import NamespaceFds
from loadgen.processes.fleet import GONE, Fleet
from loadgen.results.schema.line import UNREAD, KernelLine, SamplingLine, SinkKernelLine

#: Maximum share of one core for listing sockets. A run that opens 100,000 connections and holds them silently for 40 s
#: then spends about a fiftieth of its CPU time on it.
BUDGET: Final = 0.001
#: Groups of counters unrelated to connections, source addresses and ports.
_IGNORED: Final = frozenset({"MPTcpExt", "Ip6", "Icmp6", "UdpLite6"})
#: Fields of sockstat that belong to one namespace; and tcp_mem, TCP's memory of the whole host in pages.
_SOCKETS: Final = ("tcp_inuse", "tcp6_inuse", "tcp_tw", "udp_inuse", "udp6_inuse", "tcp_orphan", "tcp_mem")
#: Failures of reading /proc: the call, what the kernel wrote, no memory for it.
_UNREADABLE: Final = (OSError, ValueError, MemoryError)
#: Time until sockets are listed again after a failure.
_RETRY_S: Final = 1.0
#: errno values when /proc/<pid>/net belongs to an exited process.
_GONE: Final = frozenset({ENOENT, EINVAL, ESRCH})


class SampledNamespace(Protocol):
    """One namespace, seen from outside."""

    def now(self) -> SinkKernelLine | None:
        """Return gauges and the increase of counters; None once the process that shows them has exited."""

    def states(self) -> dict[str, int]:
        """Return sockets by state, {} once that process has exited. Called by another thread. Raises: HostError."""

    def close(self) -> None:
        """Release the namespace."""


class KernelSampler:
    """Counters since it was created, and sockets by state.

    clients, sinks: their namespaces; sinks is None if they share the clients'. gateway: of a nat lab. processes:
    returns the running processes of the run. proc_net: for counters of the whole host.
    notice: called with the reason if sockets cannot be listed here, or if counters cannot be read, and at the end with
    how often.
    """

    @classmethod
    async def start(
        cls, fleet: Fleet, *, apart: bool, notice: Callable[[str], None], behind_nat: bool = False
    ) -> KernelSampler | None:
        """Create a sampler for the processes of a run; None, with a notice, if the counters cannot be read.

        apart: the sinks live in a namespace of their own. behind_nat: there is a gateway before it.
        Raises: HostError, IncompleteError, see `namespace_fds.open_fds`.
        """
        try:
            return await cls._start(fleet, apart=apart, notice=notice, behind_nat=behind_nat)
        except (*_UNREADABLE, RuntimeError) as error:  # or no thread
            notice(f"the kernel's counters are not read during this run: {_reason(error)}")
            return None

    @classmethod
    async def _start(
        cls, fleet: Fleet, *, apart: bool, notice: Callable[[str], None], behind_nat: bool
    ) -> KernelSampler:

        def sinks_net() -> Path | None:
            alive = fleet.alive(SINK)
            return Path(f"/proc/{alive[0].pid}/net") if alive else None

        clients_net = Path(f"/proc/{fleet.zygote.pid}/net")
        fds = await namespace_fds.open_fds(fleet.zygote)
        clients, sinks, gateway = ProcNamespace(lambda: clients_net, fds, own_neighbours=apart), None, None
        if apart:
            fds = await namespace_fds.open_fds(fleet.zygote, "send_from_sinks")
            sinks = ProcNamespace(sinks_net, fds, own_neighbours=True)
        if behind_nat:
            gateway = GatewayNamespace(await namespace_fds.open_fds(fleet.zygote, "send_from_gateway"))

        def processes() -> list[int]:
            return [os.getpid(), fleet.zygote.pid, *(member.pid for member in fleet.members if member.state != GONE)]

        return cls(clients, sinks, processes=processes, notice=notice, gateway=gateway)

    def __init__(
        self,
        clients: SampledNamespace,
        sinks: SampledNamespace | None,
        *,
        processes: Callable[[], Sequence[int]],
        notice: Callable[[str], None],
        proc_net: Path = Path("/proc/self/net"),
        gateway: GatewayNamespace | None = None,
    ) -> None:
        self._clients, self._sinks, self._gateway = clients, sinks, gateway
        self._sides = (clients, sinks) if sinks else (clients,)
        self._executor = event_loop.started_threads(1, "sockets-by-state")
        self._listing = StateCounter([side.states for side in self._sides], self._executor, notice)
        self._proc_net, self._processes, self._notice = proc_net, processes, notice
        self._unread = 0
        self._packets_before, self._neighbours_before = softnet.read(proc_net), neighbours.read(proc_net)
        self._samples, self._cpu_s = 0, 0.0

    def now(self, *, final: bool = False) -> KernelLine:
        """Return `kernel` of a series line, see docs/run-directory.md; empty once the namespace is gone.

        It is empty as well where a counter cannot be read, for example for want of a descriptor: a run does not end
        for that, and the next line may have them again.

        final: include the CPU time of all processes of the run, this one among them; for the last line.
        """
        try:
            return self._sample(final=final)
        except _UNREADABLE as error:
            self._unread += 1
            if self._unread == 1:
                self._notice(f"the kernel's counters could not be read: {_reason(error)}; such lines have none")
            return UNREAD

    def _sample(self, *, final: bool) -> KernelLine:
        began_s = time.thread_time()
        clients, sinks = self._clients.now(), self._sinks.now() if self._sinks else None
        if clients is None:
            return UNREAD
        packets = softnet.delta(self._packets_before, softnet.read(self._proc_net))
        known = neighbours.read(self._proc_net)
        delta = {
            **clients.delta,
            **{f"softnet.{name}": value for name, value in packets.items()},
            **self._neighbours_before.delta(known),
        }
        if latest := self._listing.latest():
            age_s = round(self._listing.age_s(latest), 3)
            clients = _with_states(clients, latest.states[0], age_s)
            sinks = _with_states(sinks, latest.states[1], age_s) if sinks else None
        self._samples += 1
        self._cpu_s += time.thread_time() - began_s
        sampling = SamplingLine(
            samples=self._samples,
            listings=self._listing.count,
            cpu_s=round(self._cpu_s + self._listing.cpu_s, 4),
            run_cpu_s=round(sum(map(_cpu_s, self._processes())), 2) if final else None,
        )
        return KernelLine(
            now={**clients.now, **known.gauges},
            delta=delta,
            states=clients.states,
            states_age_s=clients.states_age_s,
            sampling=sampling,
            sink=sinks,
            gateway=self._gateway.now() if self._gateway else None,
        )

    def close(self) -> None:
        """Wait for the thread's current listing, end the thread, and release the namespaces."""
        if self._unread > 1:
            self._notice(f"the kernel's counters could not be read for {self._unread:,} lines")
        self._executor.shutdown(cancel_futures=True)
        for side in (*self._sides, *([self._gateway] if self._gateway else [])):
            side.close()


@dataclass(frozen=True, slots=True)
class StateCounts:
    """Sockets by state of each namespace. at_s: time of the request to the kernel. cost_s: CPU time of the listing."""

    at_s: float
    cost_s: float
    states: tuple[dict[str, int], ...]


class StateCounter:
    """Counts sockets by state repeatedly, within `BUDGET` of one core.

    states: one counting function per namespace; called in the executor. now_s, cpu_s: the clocks; cpu_s is that of
    the calling thread.
    """

    def __init__(
        self,
        states: Sequence[Callable[[], dict[str, int]]],
        executor: Executor,
        notice: Callable[[str], None],
        *,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._states, self._executor, self._notice = states, executor, notice
        self._now_s, self._thread_s = now_s, cpu_s
        self._running: Future[StateCounts] | None = None
        self._latest: StateCounts | None = None
        self._due_s = -inf
        self._failed = False
        self.count, self.cpu_s = 0, 0.0

    def latest(self) -> StateCounts | None:
        """Return the last finished listing, and begin the next one if it is due. Does not wait."""
        if self._running and self._running.done():
            self._collect(self._running)
            self._running = None
        if self._running is None and self._now_s() >= self._due_s:
            self._running = self._executor.submit(self._list)
        return self._latest

    def age_s(self, listed: StateCounts) -> float:
        """Return the seconds since the listing."""
        return self._now_s() - listed.at_s

    def _collect(self, done: Future[StateCounts]) -> None:
        try:
            self._latest = latest = done.result()
        except HostError as error:
            self._notice(f"sockets are not counted by state: {error}")
            self._due_s = inf
            return
        except _UNREADABLE as error:
            self._put_off(error)
            return
        self.count += 1
        self.cpu_s += latest.cost_s
        self._due_s = latest.at_s + latest.cost_s / BUDGET

    def _put_off(self, error: Exception) -> None:
        """Say once why there is no listing, and try again later."""
        if not self._failed:
            self._failed = True
            self._notice(f"sockets could not be counted by state: {_reason(error)}")
        self._due_s = self._now_s() + _RETRY_S

    def _list(self) -> StateCounts:
        at_s, began_s = self._now_s(), self._thread_s()
        states = tuple(states() for states in self._states)
        return StateCounts(at_s, self._thread_s() - began_s, states)


class ProcNamespace:
    """A `SampledNamespace` read through the /proc/<pid>/net of a process in it, and through `NamespaceFds`.

    proc_net: returns that directory; it may change, and is None without such a process.
    own_neighbours: count those of the namespace, which lists them; a run that has it for itself has no others there.
    Counter increases are relative to the creation of this object.
    """

    def __init__(self, proc_net: Callable[[], Path | None], fds: NamespaceFds, *, own_neighbours: bool = False) -> None:
        self._proc_net, self._fds, self._own_neighbours = proc_net, fds, own_neighbours
        directory = proc_net()
        self._before: Mapping[str, int] = _counters(directory) if directory else {}

    def now(self) -> SinkKernelLine | None:
        """See `SampledNamespace`."""
        if (directory := self._proc_net()) is None:
            return None
        try:
            sockets, counters = sockstat.read(directory), _counters(directory)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None
        gauges = {f"sockstat.{name}": sockets[name] for name in _SOCKETS if name in sockets}
        gauges |= {f"conntrack.{name}": value for name, value in self._fds.conntrack().items()}
        if self._own_neighbours:
            gauges |= {f"{name}.own": value for name, value in self._fds.neighbours().items()}
        return SinkKernelLine(now=gauges, delta=snmp.delta(self._before, counters))

    def states(self) -> dict[str, int]:
        """See `SampledNamespace`."""
        if (directory := self._proc_net()) is None:
            return {}
        try:
            return self._fds.states(directory)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return {}

    def close(self) -> None:
        """See `SampledNamespace`."""
        self._fds.close()


def _with_states(sample: SinkKernelLine, states: Mapping[str, int], age_s: float) -> SinkKernelLine:
    """Return the sample with the latest listing; without one if the namespace has exited by then."""
    return replace(sample, states=states, states_age_s=age_s) if states else sample


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'a system call'}: {error.strerror}"
    return str(error) or "not enough memory"


def _cpu_s(pid: int) -> float:
    """Return the user and system CPU time of a process (proc_pid_stat(5), fields 14 and 15); 0 once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="backslashreplace").rpartition(")")[2].split()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _counters(proc_net: Path) -> dict[str, int]:
    counters = snmp.read(proc_net) | snmp6.read(proc_net)
    tracked = conntrack.read(proc_net)
    return {name: value for name, value in counters.items() if name.partition(".")[0] not in _IGNORED} | {
        f"conntrack.{name}": tracked[name] for name in conntrack.LOSSES if name in tracked
    }
