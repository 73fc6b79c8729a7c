"""What the kernel counts while a run goes on, in the namespace of the load and in that of the sinks.

/proc/<pid>/net shows the namespace of that process (proc_pid_net(5)), so a process of the run that lives
there is all it takes to read the counters, once per interval, in a millisecond. What cannot be had that way
comes through a `Window`. How many sockets are in which state is dearer: the kernel walks all of them. That is done
in a thread, as often as a budget allows, and each line says how old its numbers are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from errno import EINVAL, ENOENT, ESRCH
from math import inf
from pathlib import Path
from typing import Any, Final, Protocol

from loadgen.control.sinks import SINK
from loadgen.errors import HostError
from loadgen.kernel import conntrack, snmp, snmp6, sockstat, softnet
from loadgen.lab import namespace_fds
from loadgen.lab.namespace_fds import Window
from loadgen.processes.fleet import GONE, Fleet

#: What listing sockets may take of one core: so little that a run which opens 100,000 connections and holds them for
#: 40 s in silence spends about a fiftieth of its CPU time on being looked at.
BUDGET: Final = 0.001
#: Groups of counters that say nothing about connections from source addresses and ports.
_IGNORED: Final = frozenset({"MPTcpExt", "Ip6", "Icmp6", "UdpLite6"})
#: Of sockstat, those of one namespace, and what TCP's memory of the whole host is judged by (pages).
_SOCKETS: Final = ("tcp_inuse", "tcp6_inuse", "tcp_tw", "udp_inuse", "udp6_inuse", "tcp_orphan", "tcp_mem")
#: How a process that is gone shows itself to whoever reads its /proc/<pid>/net.
_GONE: Final = frozenset({ENOENT, EINVAL, ESRCH})


class Side(Protocol):
    """One namespace, as it is seen from outside."""

    def now(self) -> dict[str, Any]:
        """{"now": gauges, "delta": what was added to counters}; {} when the process is gone that shows them."""

    def states(self) -> dict[str, int]:
        """Sockets by state, {} when that process is gone. For another thread. Raises: HostError."""

    def close(self) -> None:
        """Let go of it."""


class Telemetry:
    """Counters since it was made, and sockets by state.

    clients, sinks: their namespaces; None where the sinks share the clients'. processes: those of the run that
    are alive. proc_net: where the counters of the whole host are read.
    notice: told once if sockets cannot be listed here, and why.
    """

    @classmethod
    async def start(cls, fleet: Fleet, *, apart: bool, notice: Callable[[str], None]) -> Telemetry:
        """Of the processes of a run. apart: whether the sinks live in a namespace of their own.

        Raises: HostError, IncompleteError as `window.look`.
        """

        def at_sinks() -> Path | None:
            alive = fleet.alive(SINK)
            return Path(f"/proc/{alive[0].pid}/net") if alive else None

        ours = Path(f"/proc/{fleet.zygote.pid}/net")
        clients = Namespace(lambda: ours, await namespace_fds.look(fleet.zygote))
        sinks = Namespace(at_sinks, await namespace_fds.look(fleet.zygote, at_sinks=True)) if apart else None

        def processes() -> list[int]:
            return [os.getpid(), fleet.zygote.pid, *(member.pid for member in fleet.members if member.state != GONE)]

        return cls(clients, sinks, processes=processes, notice=notice)

    def __init__(
        self,
        clients: Side,
        sinks: Side | None,
        *,
        processes: Callable[[], Sequence[int]],
        notice: Callable[[str], None],
        proc_net: Path = Path("/proc/self/net"),
    ) -> None:
        self._sides: dict[str, Side] = {"": clients} | ({"sink": sinks} if sinks else {})
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sockets-by-state")
        self._listing = Listing([side.states for side in self._sides.values()], self._executor, notice)
        self._proc_net, self._processes = proc_net, processes
        self._host_before = softnet.read(proc_net)
        self._samples, self._cpu_s = 0, 0.0

    def now(self, *, final: bool = False) -> dict[str, Any]:
        """What docs/run-directory.md says of `kernel` in a line of the series; {} when the namespace is gone.

        final: the last line, which says what CPU time all processes of the run took, this one included.
        """
        began_s = time.thread_time()
        seen = {name: side.now() for name, side in self._sides.items()}
        if not seen[""]:
            return {}
        on_host = softnet.delta(self._host_before, softnet.read(self._proc_net))
        seen[""]["delta"] |= {f"softnet.{name}": value for name, value in on_host.items()}
        if latest := self._listing.latest():
            age_s = round(self._listing.age_s(latest), 3)
            for side, states in zip(seen.values(), latest.states, strict=True):
                if side and states:
                    side |= {"states": states, "states_age_s": age_s}
        self._samples += 1
        self._cpu_s += time.thread_time() - began_s
        kernel = seen.pop("")
        kernel["sampling"] = {
            "samples": self._samples,
            "listings": self._listing.count,
            "cpu_s": round(self._cpu_s + self._listing.cpu_s, 4),
        }
        if final:
            kernel["sampling"]["run_cpu_s"] = round(sum(map(_cpu_s, self._processes())), 2)
        return kernel | {name: side for name, side in seen.items() if side}

    def close(self) -> None:
        """End the thread, once it is done with what it does, and let the namespaces go."""
        self._executor.shutdown(cancel_futures=True)
        for side in self._sides.values():
            side.close()


@dataclass(frozen=True, slots=True)
class Listed:
    """Sockets by state of each side. at_s: when the kernel was asked. cost_s: CPU time that took."""

    at_s: float
    cost_s: float
    states: tuple[dict[str, int], ...]


class Listing:
    """Counts sockets by state, again and again, so that it takes no more than `BUDGET` of one core.

    states: for each side, what counts them; called by the executor. now_s, cpu_s: the clocks, of the second the
    one of the thread that asks it.
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
        self._running: Future[Listed] | None = None
        self._latest: Listed | None = None
        self._due_s = -inf
        self.count, self.cpu_s = 0, 0.0

    def latest(self) -> Listed | None:
        """The last that came to its end, and begin the next when it is due. Returns at once."""
        if self._running and self._running.done():
            self._collect(self._running)
            self._running = None
        if self._running is None and self._now_s() >= self._due_s:
            self._running = self._executor.submit(self._list)
        return self._latest

    def age_s(self, listed: Listed) -> float:
        """Seconds since."""
        return self._now_s() - listed.at_s

    def _collect(self, done: Future[Listed]) -> None:
        try:
            self._latest = latest = done.result()
        except HostError as error:
            self._notice(f"sockets are not counted by state: {error}")
            self._due_s = inf
            return
        self.count += 1
        self.cpu_s += latest.cost_s
        self._due_s = latest.at_s + latest.cost_s / BUDGET

    def _list(self) -> Listed:
        at_s, began_s = self._now_s(), self._thread_s()
        states = tuple(states() for states in self._states)
        return Listed(at_s, self._thread_s() - began_s, states)


class Namespace:
    """A `Side`, read through /proc/<pid>/net of a process there, which may change and end, and through a window.

    The counters of now are those that later ones are compared with.
    """

    def __init__(self, proc_net: Callable[[], Path | None], window: Window) -> None:
        self._proc_net, self._window = proc_net, window
        there = proc_net()
        self._before: Mapping[str, int] = _counters(there) if there else {}

    def now(self) -> dict[str, Any]:
        """As `Side`."""
        if (there := self._proc_net()) is None:
            return {}
        try:
            sockets, counters = sockstat.read(there), _counters(there)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return {}
        gauges = {f"sockstat.{name}": sockets[name] for name in _SOCKETS if name in sockets}
        gauges |= {f"conntrack.{name}": value for name, value in self._window.conntrack().items()}
        return {"now": gauges, "delta": snmp.delta(self._before, counters)}

    def states(self) -> dict[str, int]:
        """As `Side`."""
        if (there := self._proc_net()) is None:
            return {}
        try:
            return self._window.states(there)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return {}

    def close(self) -> None:
        """As `Side`."""
        self._window.close()


def _cpu_s(pid: int) -> float:
    """CPU time of a process, user and system: proc_pid_stat(5), fields 14 and 15; 0 of one that has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _counters(proc_net: Path) -> dict[str, int]:
    everything = snmp.read(proc_net) | snmp6.read(proc_net)
    tracked = conntrack.read(proc_net)
    return {name: value for name, value in everything.items() if name.partition(".")[0] not in _IGNORED} | {
        f"conntrack.{name}": tracked[name] for name in conntrack.LOSSES if name in tracked
    }
