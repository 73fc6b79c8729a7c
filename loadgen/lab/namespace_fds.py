"""Descriptors on a network namespace, opened by a process in it: netlink sockets and connection tracking settings.

/proc/<pid>/net can be read from outside. Two things cannot: a netlink socket lists the sockets, or the neighbours, of
the namespace it was made in (network_namespaces(7)), and /proc/sys/net shows every process its own namespace, see
`loadgen.kernel.conntrack`. Once open, they stay with that namespace. So a short-lived process in the namespace opens
them and sends them through a Unix socket (unix(7), SCM_RIGHTS).

An open netlink socket keeps its namespace alive: close the `NamespaceFds`, or exit, to release it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from loadgen import shortage
from loadgen.errors import HostError, IncompleteError
from loadgen.kernel import conntrack, conntrack_stats, neighbours, snmp, sockdiag
from loadgen.kernel.sockdiag import ALL, Reader, TcpState, count_states, mask
from loadgen.lab import namespace
from loadgen.processes.zygote_client import Zygote
from loadgen.shortage import patiently

#: The process in the namespace needs some milliseconds.
_TIMEOUT_S: Final = 10.0
_FDS_MAX: Final = 8
#: The name under which the socket that lists neighbours is sent.
_NEIGHBOURS: Final = "neighbours"
#: Names of the descriptors of a gateway's counters: of the file, and of the socket where there is no file.
_FILE: Final = "counters"
_SOCKET: Final = "ctnetlink"
#: Skip ESTABLISHED: most sockets are, and their count comes from /proc/net/snmp.
_LISTED: Final = ALL & ~mask(TcpState.ESTABLISHED)


class NamespaceFds:
    """Open descriptors on a namespace.

    reader: lists its sockets; or the HostError with the reason why they cannot be listed.
    settings: descriptors by name, see `conntrack.open_settings`; of a gateway, those of its counters are among them.
    route: see `neighbours.open_socket`. All are closed with this object.
    """

    def __init__(
        self, reader: Reader | HostError, settings: Mapping[str, int], route: socket.socket | None = None
    ) -> None:
        self._reader, self._settings, self._route = reader, dict(settings), route

    def states(self, proc_net: Path) -> dict[str, int]:
        """Return the number of TCP sockets in each state, IPv4 and IPv6 together, without zeros: {"established": 4}.

        proc_net: /proc/<pid>/net of a process in this namespace. Established sockets are not listed, which would take
        three times as long, but computed from Tcp.CurrEstab, read a moment later; that includes CLOSE-WAIT
        (RFC 4022, tcpCurrEstab). Not thread-safe.

        Raises: HostError if this kernel does not list sockets; OSError if that process has exited.
        """
        if isinstance(self._reader, HostError):
            raise self._reader
        counts = count_states(self._reader.dump(_LISTED).sockets)
        current = snmp.parse((proc_net / "snmp").read_text())["Tcp.CurrEstab"]
        counts[TcpState.ESTABLISHED] = max(current - counts.get(TcpState.CLOSE_WAIT, 0), 0)
        return {state.name.lower(): counts[state] for state in TcpState if counts.get(state)}

    def conntrack(self) -> dict[str, int]:
        """Return the entries of the connection tracking table and their maximum, {"count": 0, "max": 262144}.

        Returns {} without such a table. A maximum of 0 means no limit.
        """
        settings = {name: fd for name, fd in self._settings.items() if name not in (_FILE, _SOCKET)}
        numbers = {name: conntrack.read_setting(fd) for name, fd in settings.items()}
        return {name: number for name, number in numbers.items() if number is not None}

    def neighbours(self) -> dict[str, int]:
        """Return the neighbours of the namespace, see `neighbours.counted`; {} without a socket that lists them.

        Raises: OSError, ValueError from netlink.
        """
        return neighbours.counted(self._route) if self._route else {}

    def tracking_counters(self) -> dict[str, int]:
        """Return the counters of a gateway, see `conntrack_stats.COUNTERS`.

        Raises: KeyError for a namespace that is no gateway; OSError, ValueError, see `conntrack_stats`.
        """
        if (fd := self._settings.get(_FILE)) is not None:
            return conntrack_stats.read_file(fd)
        return conntrack_stats.read_socket(self._settings[_SOCKET])

    def close(self) -> None:
        """Close the descriptors, which releases the namespace; harmless when repeated."""
        if isinstance(self._reader, Reader):
            self._reader.close()
        if self._route:
            self._route.close()
            self._route = None
        for fd in self._settings.values():
            os.close(fd)
        self._settings = {}


async def open_fds(zygote: Zygote, entry: str = "send") -> NamespaceFds:
    """Open descriptors on the namespace of the zygote, or of another one of its lab.

    entry: "send", or "send_from_sinks", "send_from_gateway".

    Raises: IncompleteError if the process there does not answer, or the zygote is gone.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            await zygote.fork(f"loadgen.lab.namespace_fds:{entry}", fds=(theirs.fileno(),))
        ours.settimeout(_TIMEOUT_S)
        return await asyncio.to_thread(receive, ours)


def send(fd: int) -> None:
    """Entry of the process in the namespace: open the descriptors and send them to this Unix socket
    (SOCK_SEQPACKET)."""
    with ExitStack() as stack:
        descriptors = dict(conntrack.open_settings())
        with suppress(OSError):  # some sandboxes have no such sockets; then neighbours are not counted
            descriptors[_NEIGHBOURS] = stack.enter_context(neighbours.open_socket()).fileno()
        _send(fd, descriptors)


def _send(fd: int, descriptors: Mapping[str, int]) -> None:
    with socket.socket(fileno=fd) as channel:
        try:
            names = json.dumps(list(descriptors)).encode()
            patiently(lambda: socket.send_fds(channel, [names], list(descriptors.values())))
            sockdiag.send_socket(channel.detach())
        except (BrokenPipeError, ConnectionResetError):
            pass  # the orchestrator could not wait, and has said why


def send_from_sinks(fd: int) -> None:
    """Like `send`, from the sinks' namespace of a lab with a cable."""
    namespace.enter_sinks()
    send(fd)


def send_from_gateway(fd: int) -> None:
    """Like `send`, from the gateway's namespace of a nat lab, with its counters."""
    namespace.enter_gateway()
    counters = conntrack_stats.open_file()
    name = _SOCKET if counters is None else _FILE
    counters = conntrack_stats.open_socket() if counters is None else counters
    _send(fd, {**conntrack.open_settings(), name: counters})


def receive(channel: socket.socket) -> NamespaceFds:
    """Receive the descriptors that `send` sent into the other end.

    Raises: IncompleteError if that process exited early, or sends nothing within the socket's time-out; HostError
        if this process may not have as many open files.
    """
    try:
        names, fds, flags, _ = socket.recv_fds(channel, 4096, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
    except TimeoutError:
        raise IncompleteError(
            f"the process that looks at the namespace gave no answer within {channel.gettimeout():.0f} s; start again"
        ) from None
    if not names:
        raise IncompleteError("the process that looks at the namespace was lost; start again")
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise HostError(shortage.descriptors())
    settings = dict(zip(json.loads(names), fds, strict=True))
    route = socket.socket(fileno=settings.pop(_NEIGHBOURS)) if _NEIGHBOURS in settings else None
    try:
        return NamespaceFds(Reader(sockdiag.receive_socket(channel)), settings, route)
    except HostError as error:
        return NamespaceFds(error, settings, route)
