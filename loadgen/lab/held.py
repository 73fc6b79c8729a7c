"""Hold source ports in the lab as another program does that binds sockets and never connects them.

Neither ss nor netstat shows such sockets, and connect() passes over their ports on every address:
__inet_hash_connect(), net/ipv4/inet_hashtables.c; udp_lib_get_port(), net/ipv4/udp.c.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from errno import EAFNOSUPPORT, errorcode

from loadgen.model import Endpoint, Sockaddr, Transport, family_of
from loadgen.processes.link import Link


def bound(port: int, transport: Transport, address: str = "") -> socket.socket:
    """Return a socket that is bound to this port, on one address or ("") on all of both families. Raises: OSError."""
    kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
    if address:
        return _at(socket.socket(family_of(address), kind), Endpoint(address, port).sockaddr)
    try:
        sock = socket.socket(socket.AF_INET6, kind)
    except OSError as error:
        if error.errno != EAFNOSUPPORT:
            raise
        sock = socket.socket(socket.AF_INET, kind)  # a kernel without IPv6
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return _at(sock, ("::" if sock.family == socket.AF_INET6 else "0.0.0.0", port))


def _at(sock: socket.socket, where: Sockaddr) -> socket.socket:
    """Return the socket, bound; close it where that is refused. Raises: OSError."""
    try:
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


def main(ports: Sequence[int], transport: Transport, link_fd: int) -> None:
    """Entry of a forked process; send "done" or "failed" with the reason, and hold the ports until the lab ends."""
    link = Link.at(link_fd)
    kept = []
    for port in ports:
        try:
            kept.append(bound(port, transport))
        except OSError as error:
            name = errorcode.get(error.errno or 0, str(error.errno))
            text = f"port {port} cannot be held: bind {name} ({os.strerror(error.errno or 0)})"
            link.send(report="failed", text=text)
            return
    link.send(report="done")
    while True:  # it ends with its parent
        signal.pause()
