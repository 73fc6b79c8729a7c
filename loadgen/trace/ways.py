"""The ways in which sockets connect: the strategy of the table, or what no strategy of ours is."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen.strategies import Strategy, Transport


@dataclass(frozen=True, slots=True)
class Way:
    """Sockets of one process that connect in the same way.

    command: as strace or the kernel names it; "": not known. pid: of the first one; 0: not known.
    strategy: of the table; None: none of ours, because of `beside`. beside: what the sockets have that changes the
    account of ports, in words of ip(7), socket(7) and tcp(7): "IP_TRANSPARENT", "SO_BINDTODEVICE", "MPTCP",
    "Fast Open", "IP_FREEBIND".
    calls: those that show it, as strace prints them, of one of the sockets. source: address bound; "": none was.
    source_port: 0: left to the kernel; None: bind() was not called. ports: of IP_LOCAL_PORT_RANGE; None: not set.
    target, target_port: of one of the sockets. targets: distinct ones.
    failed: connects and binds by (system call, errno) name. count: connect() calls.
    line: number of the line of the first call in its text.
    """

    command: str
    pid: int
    transport: Transport
    strategy: Strategy | None
    beside: tuple[str, ...]
    calls: tuple[str, ...]
    source: str
    source_port: int | None
    ports: tuple[int, int] | None
    target: str
    target_port: int
    targets: int
    failed: dict[tuple[str, str], int]
    count: int
    line: int = 0
