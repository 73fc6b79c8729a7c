"""Endpoints that a sink cannot bind: the check before a run, and the error message with its remedy."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENODEV,
    ENOMEM,
    ENOSPC,
    errorcode,
)

from loadgen.errors import HostError
from loadgen.kernel import host, missing, missing_help
from loadgen.kernel.missing import MissingReason
from loadgen.model import Endpoint, Transport


def require_free(endpoints: Sequence[Endpoint], transport: Transport = Transport.TCP) -> None:
    """Check that no other socket is bound to these endpoints: SO_REUSEPORT would silently share them with another sink.

    Raises: HostError with the remedy.
    """
    kind = socket.SOCK_STREAM if transport is Transport.TCP else socket.SOCK_DGRAM
    for endpoint in endpoints:
        try:
            with socket.socket(endpoint.family, kind) as sock:
                if transport is Transport.TCP:  # a listener may bind over TIME-WAIT; in UDP the option shares the port
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(endpoint.sockaddr)
        except OSError as error:
            raise HostError(bind_failure([endpoint], error, transport)) from error


def bind_failure(endpoints: Sequence[Endpoint], error: OSError, transport: Transport) -> str:
    """Return the message for a sink that cannot bind one of its endpoints, with the remedy for the errno."""
    if transport is Transport.TCP:
        action, owners = "listen on", "ss -ltnp"
    else:
        action, owners = "receive UDP on", "ss -lunp"
    number = error.errno or 0
    remedies = {
        EADDRINUSE: f"another socket has that port: choose another, or stop the process that owns it ({owners})",
        ENODEV: "the zone after % is not an interface of this host: ip link lists them",
        EACCES: "choose a port above net.ipv4.ip_unprivileged_port_start, lower that (docker run --sysctl "
        "net.ipv4.ip_unprivileged_port_start=0), or run as root",
        **dict.fromkeys((EMFILE, ENFILE), "no descriptor is free: raise ulimit -n, or fs.file-max for the whole host"),
        **dict.fromkeys((ENOBUFS, ENOMEM, ENOSPC), "the kernel has no room for it: see ulimit, dmesg and the cgroup"),
    }
    remedy = remedies.get(number, f"{error.strerror or error}: see bind(2) and listen(2)")
    if number in (EADDRNOTAVAIL, EAFNOSUPPORT):
        remedy = _why_not(endpoints)
    return f"the sink cannot {action} {', '.join(map(str, endpoints))}: {errorcode.get(number, '')}; {remedy}"


def _why_not(endpoints: Sequence[Endpoint]) -> str:
    """Return which of the addresses cannot be bound here and why, with what helps."""
    absent = [endpoint.address for endpoint in endpoints if not host.can_bind(endpoint.address)]
    for found in missing.reasons(absent, freebind=False):
        if found.reason is MissingReason.NEEDS_FREEBIND:  # sinks do not bind freely, so to them it is absent
            found = replace(found, reason=MissingReason.ABSENT)
        changes = ", or ".join(change.sentence for change in missing_help.helps(found))
        return f"{missing_help.because(found)}; {changes}"
    return "the address was not on this host a moment ago; try again"
