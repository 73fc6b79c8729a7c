"""TCP ports with a listener: /proc/net/tcp and /proc/net/tcp6.

The kernel writes one line of some 150 characters per socket, all numbers hexadecimal. That is good enough to find the
listeners of a host before a run; to count or list the sockets of a run use INET_DIAG (sock_diag(7)), which filters in
the kernel and also knows bound but unconnected sockets, which do not appear here.

Sources: proc_pid_net(5); Documentation/networking/proc_net_tcp.rst; get_tcp4_sock() in
net/ipv4/tcp_ipv4.c; the states in include/net/tcp_states.h.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_TCP_LISTEN: Final = "0A"


def parse(text: str) -> set[int]:
    """Return the local ports of the listening sockets in the text of either file, on any address.

    Raises: ValueError quoting the first line that breaks the format.
    """
    ports: set[int] = set()
    header, *lines = text.splitlines() or [""]
    if "local_address" not in header:
        raise ValueError(f"no header of a list of TCP sockets: {header!r}")
    for line in lines:
        try:
            _slot, local, _remote, state = line.split()[:4]
            port = int(local.rsplit(":", 1)[1], 16)
        except (ValueError, IndexError) as error:
            raise ValueError(f"no TCP socket: {line!r}") from error
        if state == _TCP_LISTEN:
            ports.add(port)
    return ports


def listeners(proc_net: Path) -> set[int]:
    """Return the ports with a listener, IPv4 or IPv6, in the namespace of /proc/self/net or /proc/<pid>/net.

    Raises: ValueError, see `parse`; OSError if that process has exited. A missing tcp6 (a kernel without IPv6) is not
        an error.
    """
    ports = parse((proc_net / "tcp").read_text())
    try:
        text = (proc_net / "tcp6").read_text()
    except FileNotFoundError:
        return ports
    return ports | parse(text)
