"""The vocabulary of the experiments: sockets that report failures as text, and readers of the kernel's tables.

The result of a system call is "ok" or the name of the call with its errno, "connect EADDRNOTAVAIL". Sockets are kept
until the experiment's process ends, so that a port is released only where the experiment does so.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.facts.base import CannotRunError, SeenError
from loadgen.kernel import snmp, sockstat
from loadgen.lab import veth
from loadgen.processes.lifetime import die_with_parent
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE, LINGER_0

Address = tuple[str, int]
Option = tuple[int, int, int | bytes]

LOCAL: Final = "127.0.0.1"
LOCAL6: Final = "::1"
#: Two destinations, both outside every range of source ports used here.
TARGET: Final[Address] = (LOCAL, 9000)
OTHER: Final[Address] = (LOCAL, 9001)

REUSEADDR: Final[Option] = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSEPORT: Final[Option] = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
NO_PORT: Final[Option] = (socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
#: linux/in.h and linux/in6.h; Python's socket module has neither.
FREEBIND: Final[Option] = (socket.SOL_IP, 15, 1)
FREEBIND6: Final[Option] = (socket.IPPROTO_IPV6, 78, 1)
#: A value of SO_LINGER with which close() resets the connection.
RESET: Final[Option] = (socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)

#: Time limit of a blocking call; its result is then "timeout".
_TIMEOUT_S: Final = 3.0


def port_range(low: int, high: int) -> Option:
    """Return IP_LOCAL_PORT_RANGE: a u32 in host order, the high bound in its upper half (ip(7))."""
    return (socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("I", high << 16 | low))


def name(number: int | None) -> str:
    """Return the name of an errno, "timeout" for none."""
    return errno.errorcode.get(number, str(number)) if number else "timeout"


def answer(call: str, function: Callable[[], object]) -> str:
    """Make one system call; return "ok", or the call's name and errno."""
    try:
        function()
    except OSError as error:
        return f"{call} {name(error.errno)}"
    return "ok"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A socket, and the result of the calls made on it: "ok", or the first failure."""

    sock: socket.socket
    answer: str

    @property
    def ok(self) -> bool:
        """True if every call succeeded."""
        return self.answer == "ok"

    @property
    def port(self) -> int:
        """The source port, from getsockname()."""
        return int(self.sock.getsockname()[1])

    def __str__(self) -> str:
        return self.answer


@dataclass(frozen=True, slots=True)
class OpenedConnections:
    """Connections opened until one failed: "100, then connect EADDRNOTAVAIL"."""

    ports: list[int]
    answer: str

    def __len__(self) -> int:
        return len(self.ports)

    @property
    def parity(self) -> str:
        """Parity of the ports: "even", "odd", "even and odd"."""
        remainders = {port % 2 for port in self.ports}
        return " and ".join(label for label, remainder in (("even", 0), ("odd", 1)) if remainder in remainders)

    def __str__(self) -> str:
        return str(len(self)) if self.answer == "ok" else f"{len(self)}, then {self.answer}"


class Bench:
    """Opens sockets and keeps them: a socket closed with its last reference would change the results of others."""

    kept: ClassVar[list[socket.socket]] = []  # per process, and so per experiment
    kind: ClassVar[int] = socket.SOCK_STREAM
    protocol: ClassVar[int] = 0  # the family's own for `kind`

    def make(self, address: str = LOCAL, *options: Option) -> socket.socket:
        """Return a new socket of the address's family, TCP unless a subclass changes `kind` or `protocol`.

        Raises: SeenError if the kernel lacks one of the options.
        """
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, self.kind, self.protocol)
        self.kept.append(sock)
        sock.settimeout(_TIMEOUT_S)
        for option in options:
            set_option(sock, option)
        return sock

    def bind(self, address: Address, *options: Option) -> Attempt:
        """Call socket(), setsockopt(), bind()."""
        sock = self.make(address[0], *options)
        return Attempt(sock, answer("bind", lambda: sock.bind(address)))

    def listen(self, address: Address = TARGET, *options: Option, backlog: int = 4096) -> Attempt:
        """Call socket(), setsockopt() (default SO_REUSEADDR), bind(), listen(); accept nothing."""
        attempt = self.bind(address, *(options or (REUSEADDR,)))
        if not attempt.ok:
            return attempt
        return Attempt(attempt.sock, answer("listen", lambda: attempt.sock.listen(backlog)))

    def listeners(self, *addresses: Address) -> list[socket.socket]:
        """Return listeners without which the experiment would be meaningless.

        Raises: CannotRunError if one of them cannot listen.
        """
        attempts = [self.listen(address) for address in addresses]
        for address, attempt in zip(addresses, attempts, strict=True):
            if not attempt.ok:
                raise CannotRunError(f"no listener on {address[0]}, port {address[1]}: {attempt}")
        return [attempt.sock for attempt in attempts]

    def connect(
        self, to: Address, *options: Option, bind: Address | None = None, timeout_s: float = _TIMEOUT_S
    ) -> Attempt:
        """Call socket(), setsockopt(), bind() if requested, connect()."""
        sock = self.make(to[0], *options)
        sock.settimeout(timeout_s)
        if bind is not None:
            bound = answer("bind", lambda: sock.bind(bind))
            if bound != "ok":
                return Attempt(sock, bound)
        return Attempt(sock, answer("connect", lambda: sock.connect(to)))

    def fill(self, to: Address, *options: Option, bind: Address | None = None, most: int = 300) -> OpenedConnections:
        """Connect until a call fails, or `most` connections are open."""
        opened: list[int] = []
        for _ in range(most):
            attempt = self.connect(to, *options, bind=bind)
            if not attempt.ok:
                return OpenedConnections(opened, attempt.answer)
            opened.append(attempt.port)
        return OpenedConnections(opened, "ok")

    def pair(self, listener: socket.socket, *options: Option, bind: Address | None = None) -> tuple[Attempt, Attempt]:
        """Return a connection and its accepted end.

        Raises: CannotRunError if it cannot be made.
        """
        client = self.connect(listener.getsockname()[:2], *options, bind=bind)
        if not client.ok:
            raise CannotRunError(f"no connection to experiment with: {client}")
        listener.settimeout(_TIMEOUT_S)
        server, _ = listener.accept()
        server.settimeout(_TIMEOUT_S)
        self.kept.append(server)
        return client, Attempt(server, "ok")

    def time_wait(self, listener: socket.socket, *options: Option, bind: Address | None = None) -> int:
        """Open a connection and close it from the client's side; return its source port.

        Raises: CannotRunError if this leaves no TIME-WAIT.
        """
        before = time_wait_count()
        client, server = self.pair(listener, *options, bind=bind)
        port = client.port
        close_in_turn(client.sock, server.sock)
        if not until(lambda: time_wait_count() > before):
            raise CannotRunError("closing a connection left no TIME-WAIT")
        return port


def set_option(sock: socket.socket, option: Option) -> None:
    """Set an option. Raises: SeenError if the kernel does not know the option or the value."""
    try:
        sock.setsockopt(*option)
    except OSError as error:
        raise SeenError(f"setsockopt {name(error.errno)}") from error


def close_in_turn(first: socket.socket, second: socket.socket) -> None:
    """Close both ends in this order: the first sends its FIN first, and so keeps TIME-WAIT."""
    first.close()
    second.recv(1)  # wait for the FIN
    second.close()


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN (socket(7), SO_LINGER with 0 s)."""
    sock.setsockopt(*RESET)
    sock.close()


def disconnect(sock: socket.socket) -> None:
    """Undo connect(): connect() to an address of family AF_UNSPEC (connect(2)), which Python's socket module cannot.

    Raises: OSError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    unspecified = struct.pack("H14x", socket.AF_UNSPEC)
    if libc.connect(sock.fileno(), unspecified, len(unspecified)):
        number = ctypes.get_errno()
        raise OSError(number, f"connect(AF_UNSPEC): {os.strerror(number)}")


@contextmanager
def another_user(uid: int = 65534) -> Iterator[None]:
    """Be another effective user: a socket belongs to the one that creates it.

    Raises: CannotRunError without the privilege.
    """
    own = os.geteuid()
    try:
        os.seteuid(uid)
    except OSError as error:
        raise CannotRunError("needs a second user id; run as root") from error
    try:
        yield
    finally:
        os.seteuid(own)
        die_with_parent(os.getppid())  # the change of user has cleared the request


def until(condition: Callable[[], bool], within_s: float = _TIMEOUT_S) -> bool:
    """Check the condition every millisecond; return False if it is not true within `within_s`."""
    deadline_ns = now_ns() + round(within_s * NS_PER_S)
    while not condition():
        if now_ns() > deadline_ns:
            return False
        time.sleep(0.001)
    return True


def require_ipv6() -> None:
    """Check that ::1 can be bound. Raises: CannotRunError."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 9999))
    except OSError as error:
        raise CannotRunError(f"no IPv6 loopback here: {name(error.errno)}") from error


def in_both_families(experiment: Callable[[str], str]) -> str:
    """Make an experiment on 127.0.0.1 and on ::1; return "RESULT; IPv6: the same", or the other result.

    Raises: CannotRunError without IPv6.
    """
    require_ipv6()
    first, second = experiment(LOCAL), experiment(LOCAL6)
    return f"{first}; IPv6: {'the same' if second == first else second}"


def counters() -> dict[str, int]:
    """Return the TCP counters of this namespace: "Tcp.ActiveOpens", "TcpExt.TWRecycled"."""
    return {key: value for key, value in snmp.read(Path("/proc/self/net")).items() if key.startswith("Tcp")}


def moved(before: dict[str, int], *names: str) -> str:
    """Return the changes of these counters since `before`: "TW +1, TWRecycled +0"."""
    now = counters()
    return ", ".join(f"{key.partition('.')[2]} {now.get(key, 0) - before.get(key, 0):+d}" for key in names)


def time_wait_count() -> int:
    """Return the sockets of this namespace in TIME-WAIT (and orphans in a short FIN-WAIT-2), both families."""
    return sockstat.read(Path("/proc/self/net")).get("tcp_tw", 0)


@dataclass(frozen=True, slots=True)
class ProcTcpRow:
    """A line of /proc/net/tcp: ports, number of the state, seconds until its timer expires."""

    local_port: int
    remote_port: int
    state: int
    timer_s: float


def rows(table: str = "tcp") -> list[ProcTcpRow]:
    """Return the TCP sockets of this namespace, except those only bound: IPv4, or IPv6 with table "tcp6".

    Source: proc_pid_net(5); get_tcp4_sock() in net/ipv4/tcp_ipv4.c, where the timer is in hundredths of a second,
    independent of the kernel's own tick.
    """
    sockets = []
    for line in Path("/proc/self/net", table).read_text().splitlines()[1:]:
        parts = line.split()
        local, remote = (int(part.partition(":")[2], 16) for part in parts[1:3])
        sockets.append(ProcTcpRow(local, remote, int(parts[3], 16), int(parts[5].partition(":")[2], 16) / 100))
    return sockets


#: include/net/tcp_states.h
FIN_WAIT_2: Final = 5
TIME_WAIT: Final = 6


def time_waits() -> list[ProcTcpRow]:
    """Return the sockets in TIME-WAIT."""
    return [row for row in rows() if row.state == TIME_WAIT]


def add_address(address: str, prefix_length: int) -> None:
    """Add an address to lo."""
    from pyroute2 import IPRoute  # takes a third of a second to import, and few experiments need it

    with IPRoute() as route:
        route.addr("add", index=_LO, address=address, prefixlen=prefix_length)


def add_local_route(network: str) -> None:
    """Make every address of a network local to this host (AnyIP): `ip route add local NETWORK dev lo`."""
    veth.add_local_routes([ipaddress.ip_network(network)])


#: In every namespace lo is the first interface.
_LO: Final = 1
