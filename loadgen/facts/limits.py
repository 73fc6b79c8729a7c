"""Section 7: descriptors, privileged ports, the range itself, and options that need no privilege.

Sources: socket(2), accept(2), getrlimit(2); ip-sysctl.rst (ip_local_port_range,
ip_unprivileged_port_start); capabilities(7), capset(2).
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

from loadgen.errors import HostError
from loadgen.facts.base import PORT_RANGE, CannotRunError, fact, ports
from loadgen.facts.experiment import (
    FREEBIND,
    LOCAL,
    NO_PORT,
    REUSEADDR,
    REUSEPORT,
    TARGET,
    Bench,
    answer,
    name,
    port_range,
)
from loadgen.kernel import sysctl
from loadgen.processes.lifetime import die_with_parent

_UNPRIVILEGED_START = "net.ipv4.ip_unprivileged_port_start"


def _leave_descriptors(count: int) -> None:
    """Lower the limit so that `count` more descriptors can be opened; the limit is on numbers, lowest free first."""
    probe = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(probe) + 1, hard))
    for fd in probe:
        os.close(fd)


@fact(
    "7.1",
    "out of descriptors, socket() fails with EMFILE, and connect() never does",
    expected="4 connected, then socket EMFILE",
    meaning="RLIMIT_NOFILE is a limit of each process: more connections take more workers.",
    source="socket(2), EMFILE; getrlimit(2), RLIMIT_NOFILE",
)
def _descriptors() -> str:
    bench = Bench()
    bench.listeners(TARGET)
    _leave_descriptors(4)
    for done in range(10):
        try:
            attempt = bench.connect(TARGET)
        except OSError as error:
            return f"{done} connected, then socket {name(error.errno)}"
        if not attempt.ok:
            return f"{done} connected, then {attempt}"
    return "10 connected"


@fact(
    "7.2",
    "a server out of descriptors fails in accept(); its client is connected and waits",
    expected="client: ok; accept EMFILE; once there is one again: ok",
    meaning="The connection stays in the queue; the client cannot distinguish such a server from a slow one.",
    source="accept(2), EMFILE",
)
def _accept() -> str:
    bench = Bench()
    (listener,) = bench.listeners(TARGET)
    client = bench.connect(TARGET)
    _leave_descriptors(1)
    taken = os.open("/dev/null", os.O_RDONLY)
    refused = answer("accept", listener.accept)
    os.close(taken)
    again = answer("accept", lambda: bench.kept.append(listener.accept()[0]))
    return f"client: {client}; {refused}; once there is one again: {again}"


def _write(setting: str, value: str) -> str:
    try:
        sysctl.write(setting, value)
    except HostError as error:
        return name(error.__cause__.errno) if isinstance(error.__cause__, OSError) else str(error)
    return "ok"


@fact(
    "7.3",
    "the range must not reach below ip_unprivileged_port_start",
    expected="1023 65535: EINVAL; 1024 65535: ok",
    since="4.11",
    meaning="64,512 ports per source and destination are the maximum of automatic choice by default.",
    source="ip-sysctl.rst, ip_unprivileged_port_start; ipv4_local_port_range(), net/ipv4/sysctl_net_ipv4.c",
)
def _low_end() -> str:
    return f"1023 65535: {_write(PORT_RANGE, '1023 65535')}; 1024 65535: {_write(PORT_RANGE, '1024 65535')}"


def _drop_privileges() -> None:
    """Drop all effective capabilities of this process.

    Raises: CannotRunError if the kernel refuses.
    Source: capset(2), version 3 of its header: two words each of effective, permitted, inheritable.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
    nothing = ctypes.create_string_buffer(struct.pack("6I", *[0] * 6))
    if libc.capset(header, nothing):
        raise CannotRunError(f"capset: {name(ctypes.get_errno())}")
    die_with_parent(os.getppid())  # the change of credentials has cleared the request


@fact(
    "7.4",
    "without privilege, bind() refuses ports below ip_unprivileged_port_start",
    expected="port 79: bind EACCES; port 80: ok",
    since="4.11",
    meaning="Explicit ports below 1024 need root, CAP_NET_BIND_SERVICE, or a lower setting (here 80).",
    sysctls={**ports(100), _UNPRIVILEGED_START: "80"},
    source="ip-sysctl.rst, ip_unprivileged_port_start; capabilities(7), CAP_NET_BIND_SERVICE",
)
def _privileged_port() -> str:
    bench = Bench()
    _drop_privileges()
    return f"port 79: {bench.bind((LOCAL, 79))}; port 80: {bench.bind((LOCAL, 80))}"


@fact(
    "7.5",
    "no privilege is needed for SO_REUSEADDR, SO_REUSEPORT, IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE, IP_FREEBIND",
    expected="all ok",
    since="6.3",
    meaning="Every strategy works for an ordinary user.",
    source="ip(7), socket(7); do_ip_setsockopt(), net/ipv4/ip_sockglue.c",
)
def _ordinary_user() -> str:
    bench = Bench()
    _drop_privileges()
    options = {
        "SO_REUSEADDR": REUSEADDR,
        "SO_REUSEPORT": REUSEPORT,
        "IP_BIND_ADDRESS_NO_PORT": NO_PORT,
        "IP_LOCAL_PORT_RANGE": port_range(40000, 40009),
        "IP_FREEBIND": FREEBIND,
    }
    for label, option in options.items():
        try:
            bench.make().setsockopt(*option)
        except OSError as error:
            return f"{label}: setsockopt {name(error.errno)}"
    return "all ok"
