"""One socket, from socket() to close(): what its calls so far say about the way it connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from loadgen.model import CloseMode
from loadgen.strategies import Strategy, Transport
from loadgen.strategies.options import NO_PORT, PORT_RANGE, REUSEADDR, REUSEPORT
from loadgen.trace.arguments import OptionSet, SocketAddress
from loadgen.trace.ways import FAST_OPEN

#: Options that change which port a connection gets, or whose it is.
_OF_WAY: Final = frozenset({NO_PORT.name, PORT_RANGE.name, REUSEADDR.name, REUSEPORT.name})
_REUSE: Final = frozenset({REUSEADDR.name, REUSEPORT.name})
#: Options with a name of their own in `ways.BESIDE`, and the same of IPv6.
_BESIDE: Final = {
    "SO_BINDTODEVICE": "SO_BINDTODEVICE",
    "SO_BINDTOIFINDEX": "SO_BINDTODEVICE",
    "IP_UNICAST_IF": "IP_UNICAST_IF",
    "IPV6_UNICAST_IF": "IP_UNICAST_IF",
    "IP_TRANSPARENT": "IP_TRANSPARENT",
    "IPV6_TRANSPARENT": "IP_TRANSPARENT",
    "IP_FREEBIND": "IP_FREEBIND",
    "IPV6_FREEBIND": "IP_FREEBIND",
    "TCP_FASTOPEN_CONNECT": FAST_OPEN,
}
#: Calls of one socket that are kept to show its way.
_CALLS_MAX: Final = 12


class Profile(NamedTuple):
    """Everything by which the kernel treats two sockets alike when they connect.

    six: IPv6, which has port spaces of its own. bound: whether bind() was called; named: with a port. options: of
    _OF_WAY that were on before bind(); without it they have no effect. ranged: IP_LOCAL_PORT_RANGE is set.
    opened: whether socket() was seen, so that there are no other options.
    """

    transport: Transport
    six: bool
    bound: bool
    named: bool
    options: frozenset[str]
    ranged: bool
    beside: tuple[str, ...]
    opened: bool


_NOWHERE: Final = SocketAddress("", 0)


@dataclass(slots=True)
class TracedSocket:
    """A socket that may connect.

    opened: whether socket() was seen. options: those on now. fixed: those that were on when bind() succeeded.
    bound: the address; None: bind() was not called or failed. tried: by the last bind() that failed.
    bind_failures: of each errno how many, and the first call. holders: descriptors that stand for it. cloexec:
    execve() closes it. inbound: it listens. counted: among the connects of its way. probed: asked for its own address
    after connect(), and may be no more than a question about the route, as getaddrinfo() asks it. ended: the process
    has read the end of the data. deferred: connect() has returned 0 with
    TCP_FASTOPEN_CONNECT, and nothing was sent yet.
    """

    transport: Transport
    opened: bool = True
    mptcp: bool = False
    options: set[str] = field(default_factory=set)
    beside: dict[str, None] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    bound: SocketAddress | None = None
    tried: SocketAddress | None = None
    bind_failures: dict[str, tuple[int, str]] = field(default_factory=dict)
    ports: tuple[int, int] | None = None
    calls: list[str] = field(default_factory=list)
    first_line: int = 0
    holders: int = 1
    cloexec: bool = False
    blocking: bool = True
    inbound: bool = False
    target: SocketAddress | None = None
    counted: bool = False
    failed: bool = False
    probed: bool = False
    ended: bool = False
    shut: bool = False
    resets: bool = False
    deferred: bool = False

    def note(self, text: str, line: int) -> None:
        """Keep a call that shows the way."""
        self.first_line = self.first_line or line
        if len(self.calls) < _CALLS_MAX:
            self.calls.append(text)

    def set_option(self, option: OptionSet) -> bool:
        """Switch an option; return whether it has to do with the way."""
        on = bool(option.value)
        if option.name == "SO_LINGER":
            self.resets = on
            return False
        if beside := _BESIDE.get(option.name):
            if on:
                self.beside[beside] = None
            else:
                self.beside.pop(beside, None)
            return True
        if option.name not in _OF_WAY:
            return False
        if option.name == PORT_RANGE.name:
            self.ports = _range(option.value)
        if on:
            self.options.add(option.name)
        else:
            self.options.discard(option.name)
        return True

    def dissolve(self) -> None:
        """Forget the connection: connect() with AF_UNSPEC, or of UDP to another target."""
        self.target, self.counted, self.failed, self.probed = None, False, False, False

    def profile(self, tried: SocketAddress | None = None) -> Profile:
        """Return what makes its way. tried: of a bind() that failed, as if it had not."""
        at = tried or self.bound
        options = frozenset(self.options) if tried else self.fixed
        beside = [*(["MPTCP"] if self.mptcp else []), *self.beside]
        if self.transport is Transport.UDP and at is not None and not at.port:
            beside += sorted(_REUSE & options)
        return Profile(
            self.transport,
            ":" in (self.target or at or _NOWHERE).address,
            at is not None,
            bool(at and at.port),
            options,
            self.ports is not None,
            tuple(beside),
            self.opened,
        )

    @property
    def close(self) -> CloseMode | None:
        """How it ends, if that is known: by a reset, by the other side first, by this side first."""
        if self.resets:
            return CloseMode.RST
        if self.ended:
            return CloseMode.TARGET
        return CloseMode.FIN if self.shut else None


def _range(value: int | None) -> tuple[int, int] | None:
    """Return the range of IP_LOCAL_PORT_RANGE: low port in the lower half, high port in the upper; 0: not narrowed."""
    if not value:
        return None
    low, high = value & 0xFFFF, value >> 16 & 0xFFFF
    return (low, high) if low or high else None


def strategy_of(profile: Profile) -> Strategy | None:
    """Return the row of the table whose binding and options a socket has; None: no row has them over this transport.

    SO_REUSEPORT has no part in a port that the kernel chooses over TCP (inet_csk_find_open_port() shares ports of its
    choice with SO_REUSEADDR alone), nor any option in one that connect() chooses.
    """
    options, tcp = profile.options, profile.transport is Transport.TCP
    reuse = _REUSE & options
    if not profile.bound:
        return Strategy.KERNEL
    if profile.named:
        if REUSEADDR.name in options:
            return Strategy.EXPLICIT
        return Strategy.REUSEPORT if reuse else Strategy.EXCLUSIVE
    if NO_PORT.name in options:
        if reuse and not tcp:
            return None
        return Strategy.LATE_RANGE if profile.ranged else Strategy.LATE
    if not tcp:
        return None if reuse else Strategy.BIND
    return Strategy.REUSEADDR if REUSEADDR.name in options else Strategy.BIND
