"""Probes: small experiments in a process of their own, beside or after the load, possibly as another user.

A load that uses up source ports affects other programs on the same host, and only another process can measure how. A
probe opens a few connections, or tries to listen, or restarts a server, and reports the result. Unlike the load it
uses blocking calls, does one thing at a time, and leaves no TIME-WAIT: its connections are reset.

    connect   open `count` connections one by one, and keep them open until the last attempt
    listen    bind and listen on one port, once; where the port is in use, say by what
    restart   serve one connection and close it first, which leaves TIME-WAIT on the server's side;
              then listen on the same port again

Every connection or listener that was obtained counts as established.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from errno import EADDRINUSE, EADDRNOTAVAIL, ETIMEDOUT, errorcode
from typing import Any, Final

from loadgen.clock import NS_PER_S, now_ns
from loadgen.errors import HostError
from loadgen.kernel import port_holders
from loadgen.model import Endpoint, Probe, ProbeKind
from loadgen.processes.lifetime import die_with_parent
from loadgen.processes.link import Link
from loadgen.strategies.options import LINGER_0
from loadgen.worker.strategies import TRIES, strategy_for

CONNECT_TIMEOUT_S: Final = 2.0
#: Time limit for all connections of a probe together.
TIME_LIMIT_S: Final = 30.0


class ProbeCounts:
    """Results of a probe."""

    def __init__(self) -> None:
        self.established = self.failed = 0
        self.errors: dict[str, dict[str, int]] = {}
        self.sources: dict[str, int] = {}
        self.endpoint, self.held_by = "", dict[str, int]()
        self._ports: set[int] = set()

    def success(self, name: tuple[Any, ...] | None = None) -> None:
        """Count a success; name: getsockname() of a connection."""
        self.established += 1
        if name:
            self.sources[name[0]] = self.sources.get(name[0], 0) + 1
            self._ports.add(name[1])

    def failure(self, syscall: str, name: str) -> None:
        """Count a failure by the system call that failed."""
        self.failed += 1
        numbers = self.errors.setdefault(syscall, {})
        numbers[name] = numbers.get(name, 0) + 1

    @property
    def result(self) -> dict[str, Any]:
        """Plain values for the events and the summary."""
        return {
            "established": self.established,
            "failed": self.failed,
            "errors": self.errors,
            "source_ports": len(self._ports),
            **({"endpoint": self.endpoint} if self.endpoint else {}),
            **({"held_by": self.held_by} if self.held_by else {}),
        }


class GaveUpError(Exception):
    """The probe would take too long, or could not be set up; the message tells which."""


def run(probe: Probe) -> ProbeCounts:
    """Run the probe. Raises: GaveUpError if it cannot be carried out."""
    if probe.kind is ProbeKind.CONNECT:
        return _connect(probe)
    counts = ProbeCounts()
    where = Endpoint(probe.target.address, probe.ports.low)
    if probe.kind is ProbeKind.RESTART:
        _serve_one(where, reuseaddr=probe.reuseaddr)
    with ExitStack() as stack:
        listener = _listen(stack, where, reuseaddr=probe.reuseaddr)
        if isinstance(listener, tuple):
            counts.failure(*listener)
            if listener[1] == errorcode[EADDRINUSE]:
                counts.endpoint, counts.held_by = str(where), _holders(where)
        else:
            counts.success()
    return counts


def _holders(where: Endpoint) -> dict[str, int]:
    """Return the sorts of sockets that have the port; {} where the kernel does not list sockets."""
    try:
        return port_holders.holders_of(where)
    except HostError:
        return {}


def _connect(probe: Probe) -> ProbeCounts:
    counts = ProbeCounts()
    deadline = now_ns() + int(TIME_LIMIT_S * NS_PER_S)
    with ExitStack() as stack:
        if probe.sink:
            listener = _listen(stack, probe.target, reuseaddr=True)
            if isinstance(listener, tuple):
                raise GaveUpError(f"cannot listen on {probe.target}: {' '.join(listener)}")
        ports = strategy_for(probe.strategy, [probe.source], probe.ports)
        for _ in range(probe.count):
            if now_ns() > deadline:
                raise GaveUpError(f"after {TIME_LIMIT_S:g} s {counts.established + counts.failed:,} had been tried")
            sock = stack.enter_context(socket.socket(probe.target.family, socket.SOCK_STREAM))
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)  # a reset leaves no TIME-WAIT
            port = ports.prepare(sock, 0)
            if port < 0:
                counts.failure("bind", _name(-port))
                sock.close()
                continue
            syscall, number = _connected(sock, probe.target)
            for _ in range(TRIES - 1):
                if number != EADDRNOTAVAIL or port <= 0:
                    break
                ports.denied(0, [port])
                port = ports.another(sock, 0)
                if port <= 0:  # no port left, or only for a new socket; a probe makes each attempt once
                    break
                syscall, number = _connected(sock, probe.target)
            if number:
                counts.failure(syscall, _name(number))
                sock.close()
            elif sock.getsockname() == sock.getpeername():
                counts.failure("getsockname", "SELF")
                sock.close()
            else:
                counts.success(sock.getsockname())
    return counts


def _connected(sock: socket.socket, target: Endpoint) -> tuple[str, int]:
    """Connect, blocking; return the system call that failed and its errno, or ("", 0)."""
    try:
        sock.connect(target.sockaddr)
    except TimeoutError as error:  # the socket's own time-out has no errno, the kernel's has
        return ("connect" if error.errno else "wait"), error.errno or ETIMEDOUT
    except OSError as error:
        return "connect", error.errno or 0
    return "", 0


def _listen(stack: ExitStack, where: Endpoint, *, reuseaddr: bool) -> socket.socket | tuple[str, str]:
    """Return a listener that closes with `stack`, or the system call that failed and its errno by name."""
    sock = stack.enter_context(socket.socket(where.family, socket.SOCK_STREAM))
    sock.settimeout(CONNECT_TIMEOUT_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("bind", lambda: sock.bind(where.sockaddr)),
        ("listen", lambda: sock.listen(65535)),
    )
    for syscall, step in steps:
        try:
            step()
        except OSError as error:
            return syscall, _name(error.errno or 0)
    return sock


def _serve_one(where: Endpoint, *, reuseaddr: bool) -> None:
    """Run the server's first life: accept one connection and close it first."""
    with ExitStack() as stack:
        listener = _listen(stack, where, reuseaddr=reuseaddr)
        if isinstance(listener, tuple):
            raise GaveUpError(f"the first listener on {where}: {' '.join(listener)}")
        try:
            client = stack.enter_context(socket.create_connection((where.address, where.port), CONNECT_TIMEOUT_S))
            accepted, _ = listener.accept()
            accepted.close()
            client.recv(1)  # wait for the end of file: the client must not close first
        except OSError as error:
            raise GaveUpError(f"the first connection to {where}: {_name(error.errno or 0)}") from error


def _name(number: int) -> str:
    return errorcode.get(number, str(number))


def become(uid: int) -> None:
    """Change to another user.

    Raises: OSError if there is no such user, or no privilege to change; HostError as `die_with_parent` does.
    """
    parent = os.getppid()
    os.setresuid(uid, uid, uid)
    die_with_parent(parent)


def main(probe: Probe, link_fd: int) -> None:
    """Entry of a forked probe; send one report, "done" with the result or "failed" with the reason."""
    link = Link(socket.socket(fileno=link_fd))
    if probe.uid is not None:
        try:
            become(probe.uid)
        except OSError as error:
            link.send(report="failed", text=f"cannot become user {probe.uid} here: {_name(error.errno or 0)}")
            return
        except HostError as error:
            link.send(report="failed", text=str(error))
            return
    try:
        counts = run(probe)
    except GaveUpError as error:
        link.send(report="failed", text=str(error))
    except OSError as error:
        link.send(report="failed", text=f"{_name(error.errno or 0)} ({error.strerror})")
    else:
        link.send(report="done", result=counts.result, sources=counts.sources)
