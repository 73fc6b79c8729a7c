"""What of a network namespace can be had only from a process in it, handed out as open descriptors.

/proc/<pid>/net can be read from outside. Two things cannot: a netlink socket lists the sockets of the namespace it
was made in (network_namespaces(7)), and below /proc/sys/net everybody finds his own namespace, see
`loadgen.kernel.conntrack`. Both stay with that namespace once they are open. So a short-lived process there opens
them, and sends them through a Unix socket (unix(7), SCM_RIGHTS).

An open netlink socket keeps its namespace alive: close the window, or end, to let it go.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loadgen.errors import HostError
from loadgen.kernel import conntrack, snmp, sockdiag
from loadgen.kernel.sockdiag import ALL, Reader, TcpState, count_states, mask
from loadgen.lab import namespace
from loadgen.processes.zygote_client import Zygote

#: The process there needs some milliseconds.
_PATIENCE_S: Final = 10.0
_FDS_MAX: Final = 8
#: Held connections are nearly all of the sockets there are, and their number is had for nothing.
_LISTED: Final = ALL & ~mask(TcpState.ESTABLISHED)


class Window:
    """An open window on a namespace.

    reader: lists its sockets; or the HostError that says why nobody can.
    settings: descriptors by name, see `conntrack.open_settings`; closed with the window.
    """

    def __init__(self, reader: Reader | HostError, settings: Mapping[str, int]) -> None:
        self._reader, self._settings = reader, dict(settings)

    def states(self, proc_net: Path) -> dict[str, int]:
        """How many TCP sockets are in each state that any is in, IPv4 and IPv6 together, {"established": 4}.

        proc_net: /proc/<pid>/net of a process in this very namespace. Established ones are not listed, which would
        take three times as long, but taken from Tcp.CurrEstab a moment later; that counts CLOSE-WAIT with them
        (RFC 4022, tcpCurrEstab). For one thread at a time.

        Raises: HostError when this kernel does not list sockets; OSError when that process is gone.
        """
        if isinstance(self._reader, HostError):
            raise self._reader
        counts = count_states(self._reader.dump(_LISTED).sockets)
        current = snmp.parse((proc_net / "snmp").read_text())["Tcp.CurrEstab"]
        counts[TcpState.ESTABLISHED] = max(current - counts.get(TcpState.CLOSE_WAIT, 0), 0)
        return {state.name.lower(): counts[state] for state in TcpState if counts.get(state)}

    def conntrack(self) -> dict[str, int]:
        """The entries in its connection tracking table and the most there may be, {"count": 0, "max": 262144}.

        Without such a table {}. A maximum of 0 means no limit.
        """
        numbers = {name: conntrack.read_setting(fd) for name, fd in self._settings.items()}
        return {name: number for name, number in numbers.items() if number is not None}

    def close(self) -> None:
        """Let the namespace go; harmless when repeated."""
        if isinstance(self._reader, Reader):
            self._reader.close()
        for fd in self._settings.values():
            os.close(fd)
        self._settings = {}


async def look(zygote: Zygote, *, at_sinks: bool = False) -> Window:
    """A window on the namespace the zygote lives in, or on that of the sinks of its veth lab.

    Raises: HostError when the process there says nothing; IncompleteError when the zygote is gone.
    """
    entry = "send_from_sinks" if at_sinks else "send"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            await zygote.fork(f"loadgen.lab.namespace_fds:{entry}", fds=(theirs.fileno(),))
        ours.settimeout(_PATIENCE_S)
        return await asyncio.to_thread(receive, ours)


def send(fd: int) -> None:
    """Entry of the process in the namespace: open what there is, and send it to this Unix socket (SOCK_SEQPACKET)."""
    settings = conntrack.open_settings()
    with socket.socket(fileno=fd) as channel:
        socket.send_fds(channel, [json.dumps(list(settings)).encode()], list(settings.values()))
        sockdiag.send_socket(channel.detach())


def send_from_sinks(fd: int) -> None:
    """As `send`, with the sinks of a veth lab."""
    namespace.enter_sinks()
    send(fd)


def receive(channel: socket.socket) -> Window:
    """What `send` sent into the other end.

    Raises: HostError when that process ended early, or is silent for as long as the socket's time-out.
    """
    try:
        names, fds, _, _ = socket.recv_fds(channel, 4096, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
    except TimeoutError:
        raise HostError(f"no answer from the namespace within {channel.gettimeout():.0f} s") from None
    if not names:
        raise HostError("the process that looks at the namespace ended early")
    settings = dict(zip(json.loads(names), fds, strict=True))
    try:
        return Window(Reader(sockdiag.receive_socket(channel)), settings)
    except HostError as error:
        return Window(error, settings)
