"""What the experiments are written in: sockets whose failures are words, and looks at the kernel's tables.

Every call that a fact is about answers "ok" or the name of the call with its errno, "connect
EADDRNOTAVAIL". Sockets are kept until the experiment's process ends, so that a port is given up
only where the experiment says so.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.facts.base import CannotRunError, SeenError
from loadgen.kernel import snmp, sockstat
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE

Address = tuple[str, int]
Option = tuple[int, int, int | bytes]

LOCAL: Final = "127.0.0.1"
#: Two destinations, both outside every range of source ports used here.
TARGET: Final[Address] = (LOCAL, 9000)
OTHER: Final[Address] = (LOCAL, 9001)

REUSEADDR: Final[Option] = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSEPORT: Final[Option] = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
NO_PORT: Final[Option] = (socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
#: linux/in.h and linux/in6.h; Python's socket module has neither.
FREEBIND: Final[Option] = (socket.SOL_IP, 15, 1)
FREEBIND6: Final[Option] = (socket.IPPROTO_IPV6, 78, 1)
LINGER_0: Final[Option] = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

#: How long a blocking call may take before its answer is "timeout".
_PATIENCE_S: Final = 3.0


def port_range(low: int, high: int) -> Option:
    """IP_LOCAL_PORT_RANGE: a u32 in host order, the high bound in its upper half (ip(7))."""
    return (socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", high << 16 | low))


def name(number: int | None) -> str:
    """An errno by its name, "timeout" for none."""
    return errno.errorcode.get(number, str(number)) if number else "timeout"


def answer(call: str, function: Callable[[], object]) -> str:
    """Make one system call: "ok", or its name and errno."""
    try:
        function()
    except OSError as error:
        return f"{call} {name(error.errno)}"
    return "ok"


@dataclass(frozen=True, slots=True)
class Tried:
    """A socket, and how the calls made on it went: "ok", or the first that failed."""

    sock: socket.socket
    answer: str

    @property
    def ok(self) -> bool:
        """Whether every call succeeded."""
        return self.answer == "ok"

    @property
    def port(self) -> int:
        """The source port by the socket's own account."""
        return int(self.sock.getsockname()[1])

    def __str__(self) -> str:
        return self.answer


@dataclass(frozen=True, slots=True)
class Filled:
    """Connections opened until one failed: "100, then connect EADDRNOTAVAIL"."""

    ports: list[int]
    answer: str

    def __len__(self) -> int:
        return len(self.ports)

    @property
    def parity(self) -> str:
        """Which kind of port there is among them: "even", "odd", "even and odd"."""
        found = {port % 2 for port in self.ports}
        return " and ".join(label for label, rest in (("even", 0), ("odd", 1)) if rest in found)

    def __str__(self) -> str:
        return str(len(self)) if self.answer == "ok" else f"{len(self)}, then {self.answer}"


class Bench:
    """Opens sockets and keeps them: one that was closed with its last reference would change what others see."""

    kept: ClassVar[list[socket.socket]] = []  # of the process, which is the experiment's own
    kind: ClassVar[int] = socket.SOCK_STREAM

    def make(self, address: str = LOCAL, *options: Option) -> socket.socket:
        """A fresh socket of the address's family, of TCP where a subclass does not say otherwise.

        Raises: SeenError when the kernel lacks one of the options.
        """
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, self.kind)
        self.kept.append(sock)
        sock.settimeout(_PATIENCE_S)
        for option in options:
            set_option(sock, option)
        return sock

    def bind(self, address: Address, *options: Option) -> Tried:
        """socket(), options, bind()."""
        sock = self.make(address[0], *options)
        return Tried(sock, answer("bind", lambda: sock.bind(address)))

    def listen(self, address: Address = TARGET, *options: Option, backlog: int = 4096) -> Tried:
        """socket(), options (SO_REUSEADDR unless others are given), bind(), listen(); accepts nothing."""
        tried = self.bind(address, *(options or (REUSEADDR,)))
        if not tried.ok:
            return tried
        return Tried(tried.sock, answer("listen", lambda: tried.sock.listen(backlog)))

    def listeners(self, *addresses: Address) -> list[socket.socket]:
        """Listeners that have to be there for the experiment to mean anything.

        Raises: CannotRunError when one of them cannot listen.
        """
        made = [self.listen(address) for address in addresses]
        for address, tried in zip(addresses, made, strict=True):
            if not tried.ok:
                raise CannotRunError(f"no listener on {address[0]}, port {address[1]}: {tried}")
        return [tried.sock for tried in made]

    def connect(
        self, to: Address, *options: Option, bind: Address | None = None, patience_s: float = _PATIENCE_S
    ) -> Tried:
        """socket(), options, bind() if asked for, connect()."""
        sock = self.make(to[0], *options)
        sock.settimeout(patience_s)
        if bind is not None:
            bound = answer("bind", lambda: sock.bind(bind))
            if bound != "ok":
                return Tried(sock, bound)
        return Tried(sock, answer("connect", lambda: sock.connect(to)))

    def fill(self, to: Address, *options: Option, bind: Address | None = None, most: int = 300) -> Filled:
        """Connect again and again until it fails, or `most` are open."""
        opened: list[int] = []
        for _ in range(most):
            tried = self.connect(to, *options, bind=bind)
            if not tried.ok:
                return Filled(opened, tried.answer)
            opened.append(tried.port)
        return Filled(opened, "ok")

    def pair(self, listener: socket.socket, *options: Option, bind: Address | None = None) -> tuple[Tried, Tried]:
        """A connection and its accepted end.

        Raises: CannotRunError when it does not come about.
        """
        client = self.connect(listener.getsockname()[:2], *options, bind=bind)
        if not client.ok:
            raise CannotRunError(f"no connection to experiment with: {client}")
        listener.settimeout(_PATIENCE_S)
        server, _ = listener.accept()
        server.settimeout(_PATIENCE_S)
        self.kept.append(server)
        return client, Tried(server, "ok")

    def time_wait(self, listener: socket.socket, *options: Option, bind: Address | None = None) -> int:
        """Open a connection and close it from the client's side; returns its source port.

        Raises: CannotRunError when no TIME-WAIT comes of it.
        """
        before = time_wait_count()
        client, server = self.pair(listener, *options, bind=bind)
        port = client.port
        close_in_turn(client.sock, server.sock)
        if not until(lambda: time_wait_count() > before):
            raise CannotRunError("closing a connection left no TIME-WAIT")
        return port


def set_option(sock: socket.socket, option: Option) -> None:
    """setsockopt(). Raises: SeenError when the kernel does not know the option or the value."""
    try:
        sock.setsockopt(*option)
    except OSError as error:
        raise SeenError(f"setsockopt {name(error.errno)}") from error


def close_in_turn(first: socket.socket, second: socket.socket) -> None:
    """Close both ends in this order: the first sends its FIN first, and so keeps TIME-WAIT."""
    first.close()
    second.recv(1)  # not before the FIN has come
    second.close()


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN (socket(7), SO_LINGER with 0 s)."""
    sock.setsockopt(*LINGER_0)
    sock.close()


def until(condition: Callable[[], bool], within_s: float = _PATIENCE_S) -> bool:
    """Look every millisecond whether the condition has come true, but not for longer than `within_s`."""
    deadline_ns = now_ns() + round(within_s * NS_PER_S)
    while not condition():
        if now_ns() > deadline_ns:
            return False
        time.sleep(0.001)
    return True


def require_ipv6() -> None:
    """Raises: CannotRunError where ::1 cannot be bound."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 9999))
    except OSError as error:
        raise CannotRunError(f"no IPv6 loopback here: {name(error.errno)}") from error


def counters() -> dict[str, int]:
    """The TCP counters of this namespace: "Tcp.ActiveOpens", "TcpExt.TWRecycled"."""
    return {key: value for key, value in snmp.read(Path("/proc/self/net")).items() if key.startswith("Tcp")}


def moved(before: dict[str, int], *names: str) -> str:
    """By how much these have moved since: "TW +1, TWRecycled +0"."""
    now = counters()
    return ", ".join(f"{key.partition('.')[2]} {now.get(key, 0) - before.get(key, 0):+d}" for key in names)


def time_wait_count() -> int:
    """Sockets of this namespace in TIME-WAIT (and orphans in a short FIN-WAIT-2), both families."""
    return sockstat.read(Path("/proc/self/net")).get("tcp_tw", 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of /proc/net/tcp: ports, the state's number, seconds until its timer fires."""

    local_port: int
    remote_port: int
    state: int
    timer_s: float


def rows() -> list[Row]:
    """The IPv4 TCP sockets of this namespace, but for those only bound.

    Source: proc_pid_net(5); get_tcp4_sock() in net/ipv4/tcp_ipv4.c, where the timer counts in
    hundredths of a second, whatever the kernel's own tick is.
    """
    found = []
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        local, remote = (int(part.partition(":")[2], 16) for part in parts[1:3])
        found.append(Row(local, remote, int(parts[3], 16), int(parts[5].partition(":")[2], 16) / 100))
    return found


#: include/net/tcp_states.h
TIME_WAIT: Final = 6


def time_waits() -> list[Row]:
    """The rows in TIME-WAIT."""
    return [row for row in rows() if row.state == TIME_WAIT]


def add_address(address: str, prefix_length: int) -> None:
    """Put an address on lo."""
    from pyroute2 import IPRoute  # a third of a second to import, and few experiments need it

    with IPRoute() as route:
        route.addr("add", index=_LO, address=address, prefixlen=prefix_length)


def add_local_route(network: str) -> None:
    """Make every address of a network this host's own (AnyIP): `ip route add local NETWORK dev lo`."""
    from pyroute2 import IPRoute

    family = socket.AF_INET6 if ":" in network else socket.AF_INET
    with IPRoute() as route:
        route.route(
            "add", family=family, dst=network, oif=_LO, type=_RTN_LOCAL, table=_RT_TABLE_LOCAL, scope=_RT_SCOPE_HOST
        )


#: rtnetlink(7), linux/rtnetlink.h. In every namespace lo is the first interface.
_LO: Final = 1
_RTN_LOCAL: Final = 2
_RT_TABLE_LOCAL: Final = 255
_RT_SCOPE_HOST: Final = 254
