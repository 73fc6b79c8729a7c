"""Follows the sockets of traced processes, call by call, and sums up the ways in which they connect.

What a text does not show stays unknown: of a socket whose socket() is not in it, or where nothing says that bind() and
setsockopt() would be, the strategy is.

Sources: connect(2), the AF_UNSPEC in its notes; tcp(7) and sendto(2), MSG_FASTOPEN; RFC 6724 for the UDP sockets with
which getaddrinfo() asks for a route.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from loadgen.kernel.route import reached
from loadgen.strategies import Transport
from loadgen.trace import arguments
from loadgen.trace.arguments import SocketAddress
from loadgen.trace.sockets import Profile, TracedSocket
from loadgen.trace.strace import StraceCall, StraceEvent
from loadgen.trace.sums import WaySum, WaySums
from loadgen.trace.tables import DescriptorTables, Namer, TracedThread
from loadgen.trace.ways import FAST_OPEN, Way

#: Names that are kept apart: of calls, of errors, of commands.
_NAMES_MAX: Final = 10_000
_COMMAND_MAX: Final = 64

#: connect() goes on, or has succeeded before.
_NO_FAILURE: Final = frozenset({"EINPROGRESS", "EALREADY", "EISCONN", "EINTR", "ERESTARTSYS", "EWOULDBLOCK"})
#: What getaddrinfo() meets when it asks for a route with a UDP socket, and no caller is told.
_NO_ROUTE: Final = frozenset({"ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EACCES", "EPERM", "EAFNOSUPPORT"})
#: Errnos of socket() that are about this host, and not about a family that it lacks.
_OF_HOST: Final = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"})
#: linux/in.h, IPPROTO_MPTCP.
_MPTCP: Final = 262
#: Calls whose presence shows that a text has all calls about sockets: those that few people select one by one.
_OF_THE_CLASS: Final = frozenset(
    (
        *("getsockname", "getpeername", "getsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg"),
        *("recvmmsg", "shutdown", "socketpair", "mmap", "brk", "openat", "fstat", "newfstatat", "mprotect", "futex"),
        *("read", "write", "rt_sigaction"),
    )
)
_INTERNET: Final = frozenset({"", "AF_INET", "AF_INET6"})


class CallFailure(NamedTuple):
    """A call that failed. source, target: addresses as far as they are known. transport: None: not known.

    name, errno: what failed, which for getsockopt(SO_ERROR) is the connect() before it. of_way: whether it is counted
    among the failures of a way, or of `Follower.services`.
    """

    call: StraceCall
    name: str
    errno: str
    command: str
    source: SocketAddress | None
    target: SocketAddress | None
    transport: Transport | None
    listening: bool | None
    of_way: bool


class Follower:
    """Takes calls one after the other; `ways` is the sum so far.

    whole: whether every call about sockets is in the text. namer: asked about each thread once. failed: told of each
    call that failed. moved: the first call by which a process changed its network namespace. failures: by (system
    call, errno). calls: how many were taken. unplaced: connect() calls on sockets that were opened before.
    """

    def __init__(
        self, *, whole: bool = False, namer: Namer | None = None, failed: Callable[[CallFailure], None] | None = None
    ) -> None:
        self._whole, self._failed = whole, failed
        self._tables = DescriptorTables(namer, self._closed)
        self._sums = WaySums()
        self._shown: set[str] = set()
        self._rings: dict[int, str] = {}
        self.moved: StraceCall | None = None
        self.failures: Counter[tuple[str, str]] = Counter()
        self.calls = 0
        self.unplaced = 0

    @property
    def ways(self) -> list[Way]:
        """The ways so far, those with most connects first."""
        for thread, sock in list(self._tables.every_socket()):
            self._settle(thread, sock)
        return self._sums.ways(self._unseen)

    @property
    def processes(self) -> frozenset[int]:
        """Pids of the processes that connected, one for each way."""
        return frozenset(one.pid for one in self._sums)

    @property
    def services(self) -> list[WaySum]:
        """Sockets that could not bind a port that they name, and never connected: most likely those of services."""
        return self._sums.services()

    @property
    def left_out(self) -> int:
        """Sockets that were not followed, because too many were open, or there were too many ways."""
        return self._tables.left_out + self._sums.left_out

    @property
    def rings(self) -> tuple[str, ...]:
        """Commands that set up io_uring and made no TCP connection by a call, so that they may make them unseen."""
        connected = {one.pid for one in self._sums if one.profile.transport is Transport.TCP}
        return tuple(sorted({name or f"pid {pid}" for pid, name in self._rings.items() if pid not in connected}))

    def _unseen(self, profile: Profile) -> tuple[str, ...]:
        """Return the calls that would tell the strategy and are not in the text."""
        if not profile.opened:
            return ("socket",)
        if self._whole or self._shown & _OF_THE_CLASS:
            return ()
        if not profile.bound:
            return () if self._shown & {"bind", "setsockopt"} else ("bind",)
        return () if "setsockopt" in self._shown else ("setsockopt",)

    def follow(self, call: StraceCall) -> None:
        """Take the next call. Never raises, whatever its arguments are."""
        if call.nameless_before:
            self._tables.rename(0, call.pid)
            self._sums.rename(0, call.pid)
        if call.event is StraceEvent.TAKEN:
            return
        thread = self._tables.thread(call.pid)
        if thread is None:
            return
        if call.command and not thread.command:
            thread.command = call.command
            self._sums.name(thread.process, call.command)
        if call.event is StraceEvent.ENDED:
            self._tables.leave(call.pid, thread)
            return
        if len(self._shown) < _NAMES_MAX:
            self._shown.add(call.name)
        self.calls += 1
        handler = _HANDLERS.get(call.name)
        if handler:
            whole = call.name not in _BY_DESCRIPTOR
            given = arguments.split(call.arguments) if whole else [call.arguments.partition(",")[0]]
            if call.failed and call.name in _MAY_FAIL:
                self._note_failure(thread, call, given)
            handler(self, thread, call, given)

    # --- Sockets -----------------------------------------------------------------------------------

    def _socket(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        at = _returned(call)
        if at is None or len(given) < 3:
            return
        names, flags = arguments.names(given[1]), arguments.number(given[1]) or 0
        protocols, protocol = arguments.names(given[2]), arguments.number(given[2])
        stream = "SOCK_STREAM" in names or (not names and flags & 0xF == 1)
        datagram = "SOCK_DGRAM" in names or (not names and flags & 0xF == 2)
        mptcp = "IPPROTO_MPTCP" in protocols or protocol == _MPTCP
        usual = bool(protocols & {"IPPROTO_IP", "IPPROTO_TCP", "IPPROTO_UDP"}) or protocol in (0, 6, 17)
        family = arguments.family(f"sa_family={given[0].replace('PF_', 'AF_')}")
        if family not in ("AF_INET", "AF_INET6") or not (stream or datagram) or not (mptcp or usual):
            self._tables.release(thread, at.number)
            return
        sock = TracedSocket(Transport.TCP if stream else Transport.UDP, mptcp=mptcp)
        sock.cloexec = "SOCK_CLOEXEC" in names or (not names and bool(flags & 0o2000000))
        sock.blocking = not ("SOCK_NONBLOCK" in names or (not names and bool(flags & 0o4000)))
        sock.note(call.text, call.line)
        self._tables.hold(thread, at, sock)

    def _or_unopened(self, thread: TracedThread, argument: str) -> TracedSocket | None:
        """Return a socket, also one whose socket() is not in the text where -yy tells its protocol."""
        at, sock = self._tables.find(thread, argument)
        if sock or at is None or not at.protocol:
            return sock
        made = TracedSocket(Transport.UDP if at.protocol == "UDP" else Transport.TCP, opened=False)
        made.mptcp = at.protocol == "MPTCP"
        return made if self._tables.hold(thread, at, made) else None

    def _setsockopt(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock is None or len(given) < 4 or call.returned != "0":
            return
        option = arguments.option(given[1], given[2], given[3])
        if sock.set_option(option):
            # A strace that is older than an option prints its number.
            sock.note(call.text if option.name in call.text else f"{call.text} /* {option.name} */", call.line)

    def _bind(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        sock = self._or_unopened(thread, given[0])
        if sock is None or len(given) < 2:
            return
        at = arguments.sockaddr(given[1])
        if not call.failed or call.errno not in sock.bind_failures:  # a program may try one port after the other
            sock.note(call.text, call.line)
        if call.failed:
            sock.tried = at
            count, first = sock.bind_failures.get(call.errno, (0, call.text))
            sock.bind_failures[call.errno] = count + 1, first
        elif call.returned == "0":
            sock.opened = sock.opened and at is not None  # strace did not print the address
            sock.bound, sock.fixed = at, frozenset(sock.options)

    def _listen(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock and call.returned == "0":
            sock.inbound = True

    def _connect(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        if len(given) < 2:
            return
        family, target = arguments.family(given[1]), arguments.sockaddr(given[1])
        if family not in _INTERNET and family != "AF_UNSPEC":
            return
        sock = self._or_unopened(thread, given[0])
        if sock is None or sock.inbound:
            self.unplaced += sock is None and target is not None
            return
        if family == "AF_UNSPEC":
            self._dissolve(thread, sock)
        else:
            self._reach(thread, sock, call, target, "connect")
            sock.deferred = FAST_OPEN in sock.beside and call.returned == "0"

    def _reach(
        self, thread: TracedThread, sock: TracedSocket, call: StraceCall, target: SocketAddress | None, name: str
    ) -> None:
        """A socket connects, by connect() or by data with the SYN. name: of that call, among the failures."""
        udp = sock.transport is Transport.UDP
        target = _reached(target, sock)
        if udp and sock.target and sock.target != target:
            self._dissolve(thread, sock)
        if not sock.counted:
            sock.note(call.text, call.line)
        if udp and call.failed and call.errno in _NO_ROUTE:
            return
        if not sock.counted:
            sock.target = target
            if not udp or call.failed:  # of UDP it is known later whether the socket is of any use
                self._sums.count(thread.command, thread.process, sock, call.at_s)
        if call.failed and call.errno not in _NO_FAILURE:
            self._sums.fail(sock, name, call.errno, call.text)

    def _dissolve(self, thread: TracedThread, sock: TracedSocket) -> None:
        self._settle(thread, sock)
        self._sums.dissolve(sock)
        sock.dissolve()

    def _getsockopt(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock is None or len(given) < 4 or call.returned != "0" or not sock.counted or sock.failed:
            return
        if arguments.option(given[1], given[2], "").name != "SO_ERROR":
            return
        if name := arguments.error_name(given[3]):
            self._sums.fail(sock, "connect", name, call.text)
            self._tell(thread, call, "connect", name, sock, None)

    def _getsockname(self, thread: TracedThread, _call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock and sock.target and not sock.counted:
            sock.probed = True

    def _send(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock and sock.deferred:
            self._send_the_syn(thread, call, sock)
        if sock is None or sock.counted:
            return
        if sock.transport is Transport.UDP:
            if sock.target:
                self._sums.count(thread.command, thread.process, sock, call.at_s)
            return
        to = call.name == "sendto"
        flags = given[3] if to and len(given) > 3 else given[-1]
        if "MSG_FASTOPEN" in arguments.names(flags):
            target = arguments.sockaddr(given[4] if to and len(given) > 4 else given[min(1, len(given) - 1)])
            sock.beside[FAST_OPEN] = None
            self._reach(thread, sock, call, target, "send")

    def _send_the_syn(self, thread: TracedThread, call: StraceCall, sock: TracedSocket) -> None:
        """Data whose SYN connect() left to it: its failure is that of the attempt."""
        sock.deferred = False
        if call.failed and call.errno not in _NO_FAILURE and call.errno != "EAGAIN":
            self._sums.fail(sock, "send", call.errno, call.text)
            self._tell(thread, call, "send", call.errno, sock, None)

    def _receive(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock and call.returned == "0" and sock.counted and not sock.shut:
            sock.ended = True

    def _shutdown(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        _, sock = self._tables.find(thread, given[0])
        if sock and call.returned == "0" and not sock.ended:
            sock.shut = True

    def _settle(self, thread: TracedThread, sock: TracedSocket) -> None:
        """Count what is known only when no further call comes: UDP that asked for no route, bind() that failed."""
        if sock.counted or sock.inbound:
            return
        if sock.transport is Transport.UDP and sock.target and not (sock.probed and sock.blocking):
            self._sums.count(thread.command, thread.process, sock, None)
        elif sock.bind_failures:
            self._sums.count_unconnected(thread.command, thread.process, sock)

    def _closed(self, thread: TracedThread, sock: TracedSocket) -> None:
        self._settle(thread, sock)
        self._sums.closed(sock)

    # --- Descriptors and processes -----------------------------------------------------------------

    def _close(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        at, sock = self._tables.find(thread, given[0])
        if at and call.errno != "EBADF":
            self._tables.close(thread, at, sock)

    def _open(self, thread: TracedThread, call: StraceCall, _given: list[str]) -> None:
        """A new descriptor, which is no socket that may connect."""
        if at := _returned(call):
            self._tables.release(thread, at.number)

    def _dup(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        if call.name == "fcntl" and (len(given) < 2 or not given[1].startswith("F_DUPFD")):
            return
        _, sock = self._tables.find(thread, given[0])
        if at := _returned(call):
            self._tables.share(thread, at.number, sock)

    def _fork(self, thread: TracedThread, call: StraceCall, _given: list[str]) -> None:
        child, flags = arguments.number(call.returned) or 0, arguments.names(call.arguments)
        if child > 0 and child != call.pid:
            self._tables.fork(thread, child, flags)
            if "CLONE_NEWNET" in flags:
                self.moved = self.moved or call

    def _execve(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        if call.returned == "0":
            path = arguments.unquoted(given[0].strip('".'))
            thread.command = path.rpartition("/")[2][:_COMMAND_MAX] or thread.command
            self._tables.execute(thread)

    def _io_uring_setup(self, thread: TracedThread, call: StraceCall, _given: list[str]) -> None:
        if not call.failed and len(self._rings) < _NAMES_MAX:
            self._rings[thread.process] = thread.command

    def _epoll_ctl(self, thread: TracedThread, call: StraceCall, _given: list[str]) -> None:
        if call.errno == "ENOSPC":  # fs.epoll.max_user_watches; other errors are about the program
            self._tell(thread, call, call.name, call.errno, None, None)

    def _move(self, _thread: TracedThread, call: StraceCall, _given: list[str]) -> None:
        if call.returned == "0" and "CLONE_NEWNET" in arguments.names(call.arguments):
            self.moved = self.moved or call

    # --- Failures ----------------------------------------------------------------------------------

    def _note_failure(self, thread: TracedThread, call: StraceCall, given: list[str]) -> None:
        if call.errno in _NO_FAILURE or (call.errno == "EAGAIN" and call.name.startswith("accept")):
            return
        if call.name == "socket":
            if call.errno in _OF_HOST:
                self._tell(thread, call, call.name, call.errno, None, None)
            return
        if call.name in ("bind", "connect") and len(given) > 1 and arguments.family(given[1]) not in _INTERNET:
            return
        _, sock = self._tables.find(thread, given[0])
        if call.name == "connect" and call.errno in _NO_ROUTE and (sock and sock.transport is Transport.UDP):
            return
        at = arguments.sockaddr(given[1]) if len(given) > 1 else None
        if call.name == "connect" and sock:
            at = _reached(at, sock)
        self._tell(thread, call, call.name, call.errno, sock, at)

    def _tell(
        self,
        thread: TracedThread,
        call: StraceCall,
        name: str,
        errno: str,
        sock: TracedSocket | None,
        at: SocketAddress | None,
    ) -> None:
        if len(self.failures) < _NAMES_MAX:
            self.failures[name, errno] += 1
        if self._failed:
            source = at if name == "bind" else sock.bound if sock else None
            target = (at or (sock.target if sock else None)) if name == "connect" else None
            listening = True if name.startswith("accept") else False if name == "connect" else None
            transport = sock.transport if sock else None
            of_way = sock is not None and name in ("bind", "connect")
            self._failed(CallFailure(call, name, errno, thread.command, source, target, transport, listening, of_way))


def _reached(target: SocketAddress | None, sock: TracedSocket) -> SocketAddress | None:
    """Return the end of the connection: connect() to an unspecified address reaches this host itself."""
    return target and target._replace(address=reached(target.address, sock.bound.address if sock.bound else ""))


def _returned(call: StraceCall) -> arguments.Descriptor | None:
    """Return the descriptor that a call returned, with what -y says about it."""
    return arguments.descriptor(call.returned + call.rest.partition(" ")[0])


_Handler = Callable[[Follower, TracedThread, StraceCall, list[str]], None]


def _each(names: Iterable[str], handler: _Handler) -> dict[str, _Handler]:
    return dict.fromkeys(names, handler)


#: Calls of which only the descriptor matters, and of which there are many.
_BY_DESCRIPTOR: Final = frozenset(
    {
        "close",
        "epoll_ctl",
        "getsockname",
        "listen",
        "read",
        "readv",
        "recv",
        "recvfrom",
        "recvmsg",
        "shutdown",
        "write",
        "writev",
    }
)
#: Calls that an error of a socket that may connect comes from, or one of the program that listens.
_MAY_FAIL: Final = frozenset({"socket", "bind", "connect", "accept", "accept4"})
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
    "epoll_ctl": Follower._epoll_ctl,
    **_each(("sendto", "sendmsg", "sendmmsg", "send", "write", "writev"), Follower._send),
    **_each(("recvfrom", "recvmsg", "recv", "read", "readv"), Follower._receive),
    **_each(("open", "openat", "accept", "accept4", "epoll_create", "epoll_create1", "eventfd2"), Follower._open),
    **_each(("dup", "dup2", "dup3", "fcntl"), Follower._dup),
    **_each(("clone", "clone3", "fork", "vfork"), Follower._fork),
    **_each(("unshare", "setns"), Follower._move),
}
