"""Follows the sockets of traced processes, call by call, and sums up the ways in which they connect.

A socket is found by its inode, where strace names it (-y), else by the descriptor in the table of its process: threads
share one, a forked process has a copy. Where a text shows no clone(), a thread cannot be told from a process; then a
descriptor that a thread has not opened itself is that of the only other one that has it, or unknown.

Sources: clone(2), execve(2), connect(2); RFC 6724 6 for the UDP sockets with which getaddrinfo() asks for a route.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from loadgen.model import CloseMode
from loadgen.strategies import Transport
from loadgen.trace import arguments
from loadgen.trace.arguments import Descriptor, SocketAddress
from loadgen.trace.sockets import Profile, TracedSocket, strategy_of
from loadgen.trace.strace import StraceCall, StraceEvent
from loadgen.trace.ways import Way

#: Sockets that are followed at once: some 100 MB.
SOCKETS_MAX: Final = 200_000
#: Distinct ways, addresses and threads that are kept apart.
_WAYS_MAX: Final = 1_000
_DISTINCT_MAX: Final = 10_000
_TABLES_MAX: Final = 100_000

#: connect() goes on, or has succeeded before.
_NO_FAILURE: Final = frozenset({"EINPROGRESS", "EALREADY", "EISCONN", "EINTR", "ERESTARTSYS", "EWOULDBLOCK"})
#: What getaddrinfo() meets when it asks for a route with a UDP socket, and nobody is told.
_NO_ROUTE: Final = frozenset({"ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EACCES", "EPERM", "EAFNOSUPPORT"})
#: Calls whose presence shows that a text has all calls about sockets: those that nobody picks one by one.
_OF_THE_CLASS: Final = frozenset(
    (
        "getsockname",
        "getpeername",
        "getsockopt",
        "sendto",
        "recvfrom",
        "sendmsg",
        "recvmsg",
        "sendmmsg",
        "recvmmsg",
        "shutdown",
        "socketpair",
        "mmap",
        "brk",
        "openat",
        "fstat",
        "newfstatat",
        "mprotect",
        "futex",
        "read",
        "write",
        "rt_sigaction",
    )
)
_SENDS: Final = frozenset({"sendto", "sendmsg", "sendmmsg", "send", "write", "writev"})
_RECEIVES: Final = frozenset({"recvfrom", "recvmsg", "recv", "read", "readv"})
_FORKS: Final = frozenset({"clone", "clone3", "fork", "vfork"})
#: Calls that return a new descriptor, which is no socket that may connect.
_OPENS: Final = frozenset({"open", "openat", "accept", "accept4", "epoll_create", "epoll_create1", "eventfd2"})
#: Calls that an error of a socket that may connect comes from.
_MAY_FAIL: Final = frozenset({"socket", "bind", "connect", "accept", "accept4"})


class CallFailure(NamedTuple):
    """A call that failed. source, target: addresses as far as they are known. transport: None: not known."""

    call: StraceCall
    name: str
    errno: str
    command: str
    source: SocketAddress | None
    target: SocketAddress | None
    transport: Transport | None
    listening: bool | None


@dataclass(slots=True)
class _Table:
    """Descriptors of the threads of one process."""

    sockets: dict[int, TracedSocket] = field(default_factory=dict)
    threads: int = 1


@dataclass(slots=True)
class _Thread:
    """A thread. process: the pid of its process."""

    table: _Table
    process: int
    command: str = ""
    clones: bool = False


@dataclass(slots=True)
class _Sum:
    """The sockets of one way so far."""

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
    count: int = 0
    open: int = 0
    open_max: int = 0
    closed: int = 0
    first_s: float | None = None
    last_s: float | None = None


_T = TypeVar("_T")
#: Of a thread id: the pid of its process, and the name of its command; (0, ""): not known.
Namer = Callable[[int], tuple[int, str]]


class Follower:
    """Takes calls one after the other; `ways` is the sum so far.

    whole: whether every call about sockets is in the text. namer: asked about each thread once. failed: told of each
    call that failed.
    """

    def __init__(
        self, *, whole: bool = False, namer: Namer | None = None, failed: Callable[[CallFailure], None] | None = None
    ) -> None:
        self._whole, self._namer, self._failed = whole, namer, failed
        self._threads: dict[int, _Thread] = {}
        self._by_inode: dict[int, TracedSocket] = {}
        self._inode_of: dict[int, int] = {}
        self._sums: dict[tuple[str, Profile], _Sum] = {}
        self._of_socket: dict[int, _Sum] = {}
        self._orphans: dict[tuple[str, Profile], _Sum] = {}
        self._shown: set[str] = set()
        self._clones = False
        self._open = 0
        self._rings: dict[int, str] = {}
        self.left_out = 0
        self.moved: StraceCall | None = None
        self.failures: Counter[tuple[str, str]] = Counter()
        self.calls = 0

    # --- What is asked -----------------------------------------------------------------------------

    @property
    def ways(self) -> list[Way]:
        """The ways so far, those with most connects first."""
        for thread in list(self._threads.values()):
            for sock in thread.table.sockets.values():
                self._settle(thread, sock)
        found = {key: self._way(one) for key, one in self._sums.items()}
        for key, orphan in self._orphans.items():
            if key in found:
                for kind, count in orphan.failed.items():
                    found[key].failed[kind] = found[key].failed.get(kind, 0) + count
            elif not orphan.profile.named:
                found[key] = self._way(orphan)
        return sorted(found.values(), key=lambda way: (-way.count, way.line))

    @property
    def rings(self) -> tuple[str, ...]:
        """Commands that set up io_uring and made no TCP connection by a call, so that they may make them unseen."""
        connected = {one.pid for one in self._sums.values() if one.profile.transport is Transport.TCP}
        return tuple(sorted({name or f"pid {pid}" for pid, name in self._rings.items() if pid not in connected}))

    def _way(self, one: _Sum) -> Way:
        unseen = self._unseen(one.profile)
        close = one.closes.most_common(1)[0][0] if one.closes else None
        return Way(
            command=one.command,
            pid=one.pid,
            transport=one.profile.transport,
            strategy=None if unseen else strategy_of(one.profile),
            beside=one.profile.beside,
            calls=one.calls,
            source=one.source.address if one.source else "",
            source_port=one.source.port if one.source else None,
            ports=one.profile.ports,
            target=one.target.address if one.target else "",
            target_port=one.target.port if one.target else 0,
            targets=len(one.targets),
            failed=dict(one.failed),
            count=one.count,
            line=one.line,
            unseen=unseen,
            sources=len(one.sources),
            named=len(one.named),
            named_range=(min(one.named), max(one.named)) if one.named else None,
            open_max=one.open_max,
            closed=one.closed,
            span_s=one.last_s - one.first_s if one.last_s is not None and one.first_s is not None else None,
            close=close,
        )

    def _unseen(self, profile: Profile) -> tuple[str, ...]:
        """Return the calls that would tell the strategy and are not in the text."""
        if not profile.opened:
            return ("socket",)
        if self._whole or self._shown & _OF_THE_CLASS:
            return ()
        if not profile.bound:
            return () if self._shown & {"bind", "setsockopt"} else ("bind",)
        return () if "setsockopt" in self._shown else ("setsockopt",)

    # --- What is told ------------------------------------------------------------------------------

    def follow(self, call: StraceCall) -> None:
        """Take the next call. Never raises, whatever its arguments are."""
        if call.event is StraceEvent.TAKEN:
            return
        thread = self._thread(call.pid)
        if thread is None:
            return
        if call.command:
            thread.command = thread.command or call.command
        if call.event is StraceEvent.ENDED:
            self._leave(call.pid, thread)
            return
        _add(self._shown, call.name)
        self.calls += 1
        if call.failed and call.name in _MAY_FAIL:
            self._note_failure(thread, call)
        handler = _HANDLERS.get(call.name)
        if handler:
            handler(self, thread, call, arguments.split(call.arguments))

    def _thread(self, pid: int) -> _Thread | None:
        thread = self._threads.get(pid)
        if thread is None and len(self._threads) < _TABLES_MAX:
            process, command = self._namer(pid) if self._namer and pid else (0, "")
            leader = self._threads.get(process) if process and process != pid else None
            if leader:
                leader.table.threads += 1
            thread = _Thread(leader.table if leader else _Table(), process or pid, command)
            self._threads[pid] = thread
        return thread

    def _leave(self, pid: int, thread: _Thread) -> None:
        """A thread has ended, and with the last one of a process its descriptors."""
        del self._threads[pid]
        thread.table.threads -= 1
        if thread.table.threads <= 0:
            for number in list(thread.table.sockets):
                self._release(thread, number)

    # --- Descriptors -------------------------------------------------------------------------------

    def _find(self, thread: _Thread, argument: str) -> tuple[Descriptor | None, TracedSocket | None]:
        at = arguments.descriptor(argument)
        if at is None:
            return None, None
        if at.inode and at.inode in self._by_inode:
            return at, self._by_inode[at.inode]
        if at.number in thread.table.sockets:
            found = thread.table.sockets[at.number]
            # A descriptor whose close() is not in the text may stand for another socket by now.
            return at, None if at.inode and self._inode_of.get(id(found), at.inode) != at.inode else found
        if self._clones or at.inode:
            return at, None
        others = {id(one.table): one.table for one in self._threads.values() if at.number in one.table.sockets}
        return at, next(iter(others.values())).sockets[at.number] if len(others) == 1 else None

    def _or_unopened(self, thread: _Thread, argument: str) -> TracedSocket | None:
        """Return a socket, also one whose socket() is not in the text where -yy tells its protocol."""
        at, sock = self._find(thread, argument)
        if sock or at is None or not at.protocol:
            return sock
        made = TracedSocket(Transport.UDP if at.protocol == "UDP" else Transport.TCP, opened=False)
        made.mptcp = at.protocol == "MPTCP"
        return made if self._hold(thread, at, made) else None

    def _hold(self, thread: _Thread, at: Descriptor, sock: TracedSocket) -> bool:
        self._release(thread, at.number)
        if self._open >= SOCKETS_MAX:
            self.left_out += 1
            return False
        self._open += 1
        thread.table.sockets[at.number] = sock
        if at.inode:
            self._by_inode[at.inode] = sock
            self._inode_of[id(sock)] = at.inode
        return True

    def _release(self, thread: _Thread, number: int) -> None:
        sock = thread.table.sockets.pop(number, None)
        if sock:
            self._drop(thread, sock)

    def _drop(self, thread: _Thread, sock: TracedSocket) -> None:
        sock.holders -= 1
        if sock.holders > 0:
            return
        self._open -= 1
        self._settle(thread, sock)
        inode = self._inode_of.pop(id(sock), 0)
        self._by_inode.pop(inode, None)
        one = self._of_socket.pop(id(sock), None)
        if one:
            one.open -= 1
            one.closed += 1
            one.closes[sock.close] += 1

    def _settle(self, thread: _Thread, sock: TracedSocket) -> None:
        """Count what is known only when no further call comes: UDP that was no probe, bind() without a connect()."""
        if sock.transport is Transport.UDP and sock.target and not sock.counted:
            if sock.sent or not (sock.probed and sock.blocking):
                self._count(thread, sock, None)
            else:
                sock.target = None
        if sock.bind_failures and not sock.counted and not sock.inbound:
            self._orphan(thread, sock)

    # --- Calls -------------------------------------------------------------------------------------

    def _socket(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        at = arguments.descriptor(call.returned + call.rest.partition(" ")[0])
        if at is None or len(given) < 3:
            return
        kinds, protocol = arguments.names(given[1]), given[2]
        kind = arguments.number(given[1])
        family = arguments.family(f"sa_family={given[0].replace('PF_', 'AF_')}")
        stream = "SOCK_STREAM" in kinds or (not kinds and kind is not None and kind & 0xF == 1)
        datagram = "SOCK_DGRAM" in kinds or (not kinds and kind is not None and kind & 0xF == 2)
        number = arguments.number(protocol)
        named = arguments.names(protocol)
        mptcp = "IPPROTO_MPTCP" in named or number == _MPTCP
        plain = named & {"IPPROTO_IP", "IPPROTO_TCP", "IPPROTO_UDP"} or number in (0, 6, 17)
        if family not in ("AF_INET", "AF_INET6") or not (stream or datagram) or not (mptcp or plain):
            self._release(thread, at.number)
            return
        sock = TracedSocket(Transport.TCP if stream else Transport.UDP, mptcp=mptcp)
        sock.cloexec = "SOCK_CLOEXEC" in kinds or (not kinds and bool((kind or 0) & 0o2000000))
        sock.blocking = not ("SOCK_NONBLOCK" in kinds or (not kinds and bool((kind or 0) & 0o4000)))
        sock.note(call.text, call.line)
        self._hold(thread, at, sock)

    def _setsockopt(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock is None or len(given) < 4 or call.returned != "0":
            return
        if sock.set_option(arguments.option(given[1], given[2], given[3])):
            sock.note(call.text, call.line)

    def _bind(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        sock = self._or_unopened(thread, given[0])
        if sock is None or len(given) < 2:
            return
        at = arguments.sockaddr(given[1])
        sock.note(call.text, call.line)
        if call.failed:
            sock.tried = at
            if len(sock.bind_failures) < _DISTINCT_MAX:
                sock.bind_failures.append(call.errno)
        elif call.returned == "0":
            sock.opened = sock.opened and at is not None  # an address that strace did not print
            sock.bound, sock.fixed = at, frozenset(sock.options)

    def _listen(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock and call.returned == "0":
            sock.inbound = True

    def _connect(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        if len(given) < 2:
            return
        family, target = arguments.family(given[1]), arguments.sockaddr(given[1])
        if family not in ("", "AF_INET", "AF_INET6", "AF_UNSPEC"):
            return
        sock = self._or_unopened(thread, given[0])
        if sock is None or sock.inbound:
            return
        if family == "AF_UNSPEC":
            self._settle(thread, sock)
            self._dissolve(sock)
            return
        self._reach(thread, sock, call, target, "connect")

    def _reach(
        self, thread: _Thread, sock: TracedSocket, call: StraceCall, target: SocketAddress | None, name: str
    ) -> None:
        """A socket connects, by connect() or by data with a SYN."""
        udp = sock.transport is Transport.UDP
        if udp and sock.target and sock.target != target:
            self._settle(thread, sock)
            self._dissolve(sock)
        if not sock.counted:
            sock.note(call.text, call.line)
        if udp:
            if call.failed and call.errno in _NO_ROUTE:
                return
            sock.target = target or sock.target
            sock.probed = False
            if call.failed and not sock.counted:
                self._count(thread, sock, call)
        elif not sock.counted:
            sock.target = target
            self._count(thread, sock, call)
        if call.failed and call.errno not in _NO_FAILURE:
            self._fail(sock, name, call.errno)

    def _dissolve(self, sock: TracedSocket) -> None:
        one = self._of_socket.pop(id(sock), None)
        if one:
            one.open -= 1
        sock.target, sock.counted, sock.failed, sock.sent, sock.probed = None, False, False, False, False

    def _getsockopt(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock is None or len(given) < 4 or call.returned != "0" or not sock.counted:
            return
        if arguments.option(given[1], given[2], "").name != "SO_ERROR":
            return
        name = arguments.error_name(given[3])
        if name and not sock.failed:
            self._fail(sock, "connect", name)
            self._tell(thread, call, "connect", name, sock)

    def _getsockname(self, thread: _Thread, _call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock and sock.target and not sock.counted:
            sock.probed = True

    def _send(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock is None:
            return
        if sock.transport is Transport.UDP:
            if sock.target and not sock.counted:
                sock.sent = True
                self._count(thread, sock, call)
            return
        flags = given[3] if call.name == "sendto" and len(given) > 3 else given[-1]
        if "MSG_FASTOPEN" in arguments.names(flags) and not sock.counted:
            target = arguments.sockaddr(given[4] if call.name == "sendto" and len(given) > 4 else given[1])
            sock.beside["Fast Open"] = None
            self._reach(thread, sock, call, target, "send")

    def _receive(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock and call.returned == "0" and sock.counted and not sock.shut:
            sock.ended = True

    def _shutdown(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._find(thread, given[0])
        if sock and call.returned == "0" and not sock.ended:
            sock.shut = True

    def _close(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        at, sock = self._find(thread, given[0])
        if at is None or call.errno == "EBADF":
            return
        if at.number in thread.table.sockets:
            self._release(thread, at.number)
        elif sock:
            for other in {id(one.table): one for one in self._threads.values()}.values():
                if other.table.sockets.get(at.number) is sock:
                    self._release(other, at.number)
                    return

    def _open_other(self, thread: _Thread, call: StraceCall, _given: list[str]) -> None:
        if at := arguments.descriptor(call.returned + call.rest.partition(" ")[0]):
            self._release(thread, at.number)

    def _dup(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        if call.name == "fcntl" and (len(given) < 2 or not given[1].startswith("F_DUPFD")):
            return
        _, sock = self._find(thread, given[0])
        at = arguments.descriptor(call.returned + call.rest.partition(" ")[0])
        if at is None or thread.table.sockets.get(at.number) is sock:
            return
        self._release(thread, at.number)
        if sock:
            sock.holders += 1
            thread.table.sockets[at.number] = sock

    def _fork(self, thread: _Thread, call: StraceCall, _given: list[str]) -> None:
        child_pid = arguments.number(call.returned)
        if not child_pid or child_pid < 0 or child_pid == call.pid:
            return
        self._clones = True
        flags = arguments.names(call.arguments)
        early = self._threads.pop(child_pid, None)  # the child may run before clone() returns
        own = early.table.sockets if early else {}
        if "CLONE_FILES" in flags or "CLONE_THREAD" in flags:
            table = thread.table
            table.threads += 1
        else:
            table = _Table(dict(thread.table.sockets))
            for sock in table.sockets.values():
                sock.holders += 1
        for number, sock in own.items():
            replaced = table.sockets.get(number)
            table.sockets[number] = sock
            if replaced is not None and replaced is not sock:
                self._drop(thread, replaced)
        process = thread.process if "CLONE_THREAD" in flags else child_pid
        command = early.command if early and early.command else thread.command
        self._threads[child_pid] = _Thread(table, process, command)
        if "CLONE_NEWNET" in flags:
            self.moved = self.moved or call

    def _execve(self, thread: _Thread, call: StraceCall, given: list[str]) -> None:
        if call.returned != "0":
            return
        path = arguments.unquoted(given[0].strip('".'))
        thread.command = path.rpartition("/")[2][:_COMMAND_MAX] or thread.command
        for number in [number for number, sock in thread.table.sockets.items() if sock.cloexec]:
            self._release(thread, number)

    def _io_uring_setup(self, thread: _Thread, call: StraceCall, _given: list[str]) -> None:
        if not call.failed and len(self._rings) < _WAYS_MAX:
            self._rings[thread.process] = thread.command

    def _move(self, _thread: _Thread, call: StraceCall, _given: list[str]) -> None:
        if call.returned == "0" and "CLONE_NEWNET" in arguments.names(call.arguments):
            self.moved = self.moved or call

    # --- Sums --------------------------------------------------------------------------------------

    def _count(self, thread: _Thread, sock: TracedSocket, call: StraceCall | None) -> None:
        """Count a connect() in its way, and remember by which one the socket is closed."""
        sock.counted = True
        key = (thread.command, sock.profile())
        one = self._sums.get(key)
        if one is None:
            if len(self._sums) >= _WAYS_MAX:
                self.left_out += 1
                return
            pid, line = thread.process, sock.first_line
            one = _Sum(thread.command, pid, key[1], tuple(sock.calls), line, sock.bound, sock.target)
            self._sums[key] = one
        one.count += 1
        one.open += 1
        one.open_max = max(one.open_max, one.open)
        one.failed.update(("bind", errno) for errno in sock.bind_failures)
        sock.bind_failures.clear()
        if sock.target:
            _add(one.targets, sock.target)
        if sock.bound:
            _add(one.sources, sock.bound.address)
            if sock.bound.port:
                one.named.add(sock.bound.port)
        if call and call.at_s is not None:
            one.first_s = call.at_s if one.first_s is None else one.first_s
            one.last_s = call.at_s
        self._of_socket[id(sock)] = one

    def _orphan(self, thread: _Thread, sock: TracedSocket) -> None:
        """Count bind() calls that failed on a socket that never connected."""
        key = (thread.command, sock.profile(sock.tried or SocketAddress("", 0)))
        one = self._orphans.get(key)
        if one is None:
            if len(self._orphans) >= _WAYS_MAX:
                return
            one = _Sum(thread.command, thread.process, key[1], tuple(sock.calls), sock.first_line, sock.tried, None)
            self._orphans[key] = one
        if sock.tried:
            _add(one.sources, sock.tried.address)
        one.failed.update(("bind", errno) for errno in sock.bind_failures)
        sock.bind_failures.clear()

    def _fail(self, sock: TracedSocket, name: str, errno: str) -> None:
        sock.failed = True
        if one := self._of_socket.get(id(sock)):
            one.failed[name, errno] += 1

    def _note_failure(self, thread: _Thread, call: StraceCall) -> None:
        if call.errno in _NO_FAILURE or (call.errno == "EAGAIN" and call.name.startswith("accept")):
            return
        given = arguments.split(call.arguments)
        if call.name in ("bind", "connect") and len(given) > 1:
            if arguments.family(given[1]) not in ("", "AF_INET", "AF_INET6"):
                return
        elif call.name == "socket" and call.errno not in _OF_HOST:
            return
        _, sock = self._find(thread, given[0]) if call.name != "socket" else (None, None)
        if call.name == "connect" and call.errno in _NO_ROUTE and (sock and sock.transport is Transport.UDP):
            return
        at = arguments.sockaddr(given[1]) if len(given) > 1 else None
        self._tell(thread, call, call.name, call.errno, sock, at)

    def _tell(
        self,
        thread: _Thread,
        call: StraceCall,
        name: str,
        errno: str,
        sock: TracedSocket | None,
        at: SocketAddress | None = None,
    ) -> None:
        if len(self.failures) < _DISTINCT_MAX:
            self.failures[name, errno] += 1
        if self._failed:
            source = at if name == "bind" else sock.bound if sock else None
            target = (at or (sock.target if sock else None)) if name == "connect" else None
            listening = True if name.startswith("accept") else False if name == "connect" else None
            transport = sock.transport if sock else None
            self._failed(CallFailure(call, name, errno, thread.command, source, target, transport, listening))


#: Errnos of socket() that are about this host, and not about a family that it lacks.
_OF_HOST: Final = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"})
#: linux/in.h, IPPROTO_MPTCP.
_MPTCP: Final = 262
_COMMAND_MAX: Final = 64

_Handler = Callable[[Follower, _Thread, StraceCall, list[str]], None]


def _all(names: Iterable[str], handler: _Handler) -> dict[str, _Handler]:
    return dict.fromkeys(names, handler)


_HANDLERS: Final[dict[str, _Handler]] = {
    "socket": Follower._socket,
    "setsockopt": Follower._setsockopt,
    "bind": Follower._bind,
    "listen": Follower._listen,
    "connect": Follower._connect,
    "getsockopt": Follower._getsockopt,
    "getsockname": Follower._getsockname,
    "shutdown": Follower._shutdown,
    "close": Follower._close,
    "execve": Follower._execve,
    "io_uring_setup": Follower._io_uring_setup,
    "unshare": Follower._move,
    "setns": Follower._move,
    **_all(_SENDS, Follower._send),
    **_all(_RECEIVES, Follower._receive),
    **_all(_OPENS, Follower._open_other),
    **_all(("dup", "dup2", "dup3", "fcntl"), Follower._dup),
    **_all(_FORKS, Follower._fork),
}


def _add(known: set[_T], one: _T) -> None:
    if len(known) < _DISTINCT_MAX:
        known.add(one)
