"""Where a server of ours listens, `--dashboard [ADDR:PORT]` or `watch --exporter ADDR:PORT`, and who could reach it.

The socket is made here as well, so that an address that cannot be had is refused in the same words.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from loadgen import shortage
from loadgen.errors import HostError, UsageError
from loadgen.model import Endpoint
from loadgen.scenario.units import endpoint

#: Every address of this host; endpoint() refuses them, because no client can connect to them.
_EVERYWHERE: Final = {"0.0.0.0": "0.0.0.0", "[::]": "::"}
_SHORT: Final = {"": "127.0.0.1", "localhost": "127.0.0.1"}
_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class ListenOption:
    """An option that says where to listen.

    name: "--dashboard"; with "-public" behind it the option that permits addresses which other machines can reach.
    exposes: what that means. otherwise: what to do about a wrong address, or "". free_port: how to have any free one.
    """

    name: str
    exposes: str
    free_port: str
    otherwise: str = ""


DASHBOARD: Final = ListenOption(
    "--dashboard",
    "and anyone who reads the unencrypted traffic on the way can see the results and stop the run",
    "--dashboard without one for any free port of 127.0.0.1",
    "; or give --dashboard last, without an address, for a free port",
)
EXPORTER: Final = ListenOption(
    "--exporter",
    "and read there, unencrypted and without a password, to whom this host has connections",
    "port 0 for any free one",
)


def listen_at(text: str, *, public: bool, option: ListenOption = DASHBOARD) -> Endpoint:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080` -> where to listen; port 0 is any free one.

    public: whether other machines may reach it. Raises: UsageError, with what to write instead.
    """
    host, colon, port = text.rpartition(":")
    host = _SHORT.get(host, host)
    try:
        if not colon:
            raise ValueError("write an address and a port, for example 127.0.0.1:8080")
        # Port 1 stands for what endpoint() does not take, and is replaced again.
        found = endpoint(f"{'127.0.0.1' if host in _EVERYWHERE else host}:{'1' if port == '0' else port}")
    except ValueError as error:
        raise UsageError(f"{option.name} {text}: {error}{option.otherwise}") from None
    found = replace(found, address=_EVERYWHERE.get(host, found.address), port=int(port))
    if not is_loopback(found.address) and not public:
        raise UsageError(
            f"{option.name} {text}: other machines can reach this address, {option.exposes}; listen on 127.0.0.1 and "
            f"forward the port with ssh -L, or add {option.name}-public if this network is trusted"
        )
    return found


def listener_at(at: Endpoint, option: ListenOption = DASHBOARD) -> socket.socket:
    """Return a socket that listens there, non-blocking. Raises: HostError if the address or port cannot be had."""
    with ExitStack() as until_listening:
        try:
            listener = until_listening.enter_context(socket.socket(at.family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if at.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(at.sockaddr)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            place = f"{in_url(at.address)}:{at.port}"
            raise shortage.of(error) or HostError(
                f"{option.name}: cannot listen on {place}: {error.strerror}; give another address or port, or "
                f"{option.free_port}"
            ) from error
        until_listening.pop_all()
    return listener


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach the address."""
    return ip_address(address.partition("%")[0]).is_loopback


def is_everywhere(address: str) -> bool:
    """Return whether it stands for all addresses of this host."""
    return ip_address(address.partition("%")[0]).is_unspecified


def in_url(address: str) -> str:
    """An address as it stands in a URL (RFC 3986 3.2.2)."""
    return f"[{address}]" if ":" in address else address
