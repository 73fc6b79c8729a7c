"""Sums up sockets that connect in the same way. Memory is bounded, whatever the number of sockets and addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from loadgen.model import CloseMode
from loadgen.trace.arguments import SocketAddress
from loadgen.trace.sockets import Profile, TracedSocket, strategy_of
from loadgen.trace.ways import Way

_T = TypeVar("_T")
#: Distinct ways, and distinct addresses of one, that are kept apart.
_WAYS_MAX: Final = 1_000
_ADDRESSES_MAX: Final = 10_000
#: Calls of a way that are shown.
_CALLS_MAX: Final = 20


@dataclass(slots=True)
class WaySum:
    """The sockets of one way so far.

    ports: the ranges of all of them together. first_s, last_s: times of the first connect() and the last one; None:
    not told.
    """

    command: str
    pid: int
    profile: Profile
    calls: tuple[str, ...]
    line: int
    source: SocketAddress | None
    target: SocketAddress | None
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    targets: set[SocketAddress] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    named: set[int] = field(default_factory=set)
    closes: Counter[CloseMode | None] = field(default_factory=Counter)
    ports: tuple[int, int] | None = None
    count: int = 0
    open: int = 0
    open_max: int = 0
    closed: int = 0
    first_s: float | None = None
    last_s: float | None = None

    def way(self, unseen: tuple[str, ...]) -> Way:
        """Return the sum. unseen: calls that would tell the strategy and are not in the text."""
        known = self.first_s is not None and self.last_s is not None and self.last_s >= self.first_s
        return Way(
            command=self.command,
            pid=self.pid,
            transport=self.profile.transport,
            strategy=None if unseen else strategy_of(self.profile),
            beside=self.profile.beside,
            calls=self.calls,
            source=self.source.address if self.source else "",
            source_port=self.source.port if self.source else None,
            ports=self.ports,
            target=self.target.address if self.target else "",
            target_port=self.target.port if self.target else 0,
            targets=len(self.targets),
            failed=dict(self.failed),
            count=self.count,
            line=self.line,
            unseen=unseen,
            sources=len(self.sources),
            named=len(self.named),
            named_range=(min(self.named), max(self.named)) if self.named else None,
            open_max=self.open_max,
            closed=self.closed,
            span_s=(self.last_s or 0.0) - (self.first_s or 0.0) if known else None,
            close=self.closes.most_common(1)[0][0] if self.closes else None,
        )


class WaySums:
    """The ways so far. left_out: sockets that belong to none because there are too many ways."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, Profile], WaySum] = {}
        self._of_socket: dict[int, WaySum] = {}
        self._without: dict[tuple[str, Profile], WaySum] = {}
        self.left_out = 0

    def __iter__(self) -> Iterator[WaySum]:
        return iter(self._sums.values())

    def count(self, command: str, pid: int, sock: TracedSocket, at_s: float | None) -> None:
        """Count a connect() in its way, and remember the way of the socket until `closed`."""
        sock.counted = True
        one = self._of(self._sums, (command, sock.profile()), pid, sock, sock.bound, sock.target)
        if one is None:
            self.left_out += 1
            return
        one.count += 1
        one.open += 1
        one.open_max = max(one.open_max, one.open)
        self._take_failures(one, sock)
        if sock.ports:
            known = one.ports or sock.ports
            one.ports = min(known[0], sock.ports[0]), max(known[1], sock.ports[1])
        if sock.target:
            _add(one.targets, sock.target)
        if sock.bound:
            _add(one.sources, sock.bound.address)
            if sock.bound.port:
                one.named.add(sock.bound.port)
        if at_s is not None:
            one.first_s = at_s if one.first_s is None else one.first_s
            one.last_s = at_s
        self._of_socket[id(sock)] = one

    def count_unconnected(self, command: str, pid: int, sock: TracedSocket) -> None:
        """Count the bind() calls that failed on a socket that never connected."""
        tried = sock.tried or SocketAddress("", 0)
        one = self._of(self._without, (command, sock.profile(tried)), pid, sock, sock.tried, None)
        if one:
            _add(one.sources, tried.address)
            self._take_failures(one, sock)

    def fail(self, sock: TracedSocket, name: str, errno: str, call: str) -> None:
        """Count a failure in the way of a socket, and show the first call of each kind."""
        sock.failed = True
        if one := self._of_socket.get(id(sock)):
            _count_failure(one, name, errno, call)

    def closed(self, sock: TracedSocket) -> None:
        """Forget a socket, which is closed."""
        if one := self._of_socket.pop(id(sock), None):
            one.open -= 1
            one.closed += 1
            one.closes[sock.close] += 1

    def dissolve(self, sock: TracedSocket) -> None:
        """Forget the connection of a socket, which goes on without it."""
        if one := self._of_socket.pop(id(sock), None):
            one.open -= 1

    def ways(self, unseen: Callable[[Profile], tuple[str, ...]]) -> list[Way]:
        """Return the ways, those with most connects first."""
        found = {key: one.way(unseen(one.profile)) for key, one in self._sums.items()}
        for key, one in self._without.items():
            if key in found:
                for kind, count in one.failed.items():
                    found[key].failed[kind] = found[key].failed.get(kind, 0) + count
            elif not one.profile.named:
                found[key] = one.way(unseen(one.profile))
        return sorted(found.values(), key=lambda way: (-way.count, way.line))

    def rename(self, before: int, pid: int) -> None:
        """A process has another number from now on."""
        for one in (*self._sums.values(), *self._without.values()):
            one.pid = pid if one.pid == before else one.pid

    def name(self, pid: int, command: str) -> None:
        """The command of a process is known from now on; its ways so far are those of the command."""
        for sums in (self._sums, self._without):
            for key, one in list(sums.items()):
                if one.pid == pid and not one.command and (command, key[1]) not in sums:
                    one.command = command
                    sums[command, key[1]] = sums.pop(key)

    def services(self) -> list[WaySum]:
        """Return the sockets that failed in bind() of a port they name, where no such socket connects: no ways."""
        return [one for key, one in self._without.items() if one.profile.named and key not in self._sums]

    def _of(
        self,
        sums: dict[tuple[str, Profile], WaySum],
        key: tuple[str, Profile],
        pid: int,
        sock: TracedSocket,
        source: SocketAddress | None,
        target: SocketAddress | None,
    ) -> WaySum | None:
        one = sums.get(key)
        if one is None and len(sums) < _WAYS_MAX:
            one = WaySum(key[0], pid, key[1], tuple(sock.calls), sock.first_line, source, target)
            sums[key] = one
        return one

    def _take_failures(self, one: WaySum, sock: TracedSocket) -> None:
        for errno, (count, call) in sock.bind_failures.items():
            _count_failure(one, "bind", errno, call, count)
        sock.bind_failures.clear()


def _count_failure(one: WaySum, name: str, errno: str, call: str, count: int = 1) -> None:
    if (name, errno) not in one.failed and call not in one.calls and len(one.calls) < _CALLS_MAX:
        one.calls = (*one.calls, call)
    one.failed[name, errno] += count


def _add(known: set[_T], one: _T) -> None:
    if len(known) < _ADDRESSES_MAX:
        known.add(one)
