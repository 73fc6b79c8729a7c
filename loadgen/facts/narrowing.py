"""Section 3, continued: the options on sockets that are disconnected, bound early, or MPTCP, and values of the range.

Sources: ip(7), IP_LOCAL_PORT_RANGE; do_ip_setsockopt() in net/ipv4/ip_sockglue.c; connect(2), AF_UNSPEC;
tcp_disconnect() in net/ipv4/tcp.c; mptcp_setsockopt_v4() in net/mptcp/sockopt.c.
"""

from __future__ import annotations

import socket
import struct

from loadgen.facts.base import CannotRunError, SeenError, fact
from loadgen.facts.experiment import (
    NO_PORT,
    TARGET,
    Bench,
    answer,
    disconnect,
    in_both_families,
    name,
    port_range,
    set_option,
)
from loadgen.strategies.options import IP_LOCAL_PORT_RANGE


@fact(
    "3.12",
    "connect(AF_UNSPEC) gives up the port that connect() chose, though getsockname() still returns it",
    expected="chosen: named, and free to others; explicit: held; IPv6: the same",
    source="tools/testing/selftests/net/tcp_port_share.c",
    meaning="A socket that is disconnected to be used again gets a port anew, as after a refused connection (1.6).",
)
def _disconnected() -> str:
    return in_both_families(_disconnect)


def _disconnect(address: str) -> str:
    bench, results = Bench(), []
    target = (address, TARGET[1])
    bench.listeners(target)
    # The explicit port lies outside the range.
    for kind, options, port in (("chosen", (NO_PORT,), 0), ("explicit", (), 30000)):
        client = bench.connect(target, *options, bind=(address, port))
        if not client.ok:
            raise CannotRunError(f"no connection to experiment with: {client}")
        disconnect(client.sock)
        named = client.port
        if not named:
            results.append(f"{kind}: not named")
        else:
            free = bench.bind((address, named)).ok
            results.append(f"{kind}: {'named, and free to others' if free else 'held'}")
    return "; ".join(results)


@fact(
    "3.13",
    "IP_LOCAL_PORT_RANGE narrows bind(address, 0) as well",
    expected="8, then bind EADDRINUSE; IPv6: the same",
    since="6.3",
    source="tools/testing/selftests/net/ip_local_port_range.c",
    meaning="Clients that bind early keep to their slice, too, but spend each of its ports for all destinations (2.1).",
)
def _early_bind() -> str:
    return in_both_families(_fill_by_bind)


def _fill_by_bind(address: str) -> str:
    bench = Bench()
    for done in range(100):
        attempt = bench.bind((address, 0), port_range(40000, 40007))
        if not attempt.ok:
            return f"{done}, then {attempt}"
    return "100"


@fact(
    "3.14",
    "getsockopt() returns the range as it was set, and 0-0 removes it; a bound of 0 is an open end",
    expected="at first 0-0; set 12345-54321; 0-40001: 2 ports; 40098-0: 2 ports; removed 0-0: 100 ports; IPv6: the "
    "same",
    since="6.3",
    source="tools/testing/selftests/net/ip_local_port_range.c",
    meaning="What is read back is not what holds: a bound outside ip_local_port_range is returned and ignored (3.4).",
)
def _read_back() -> str:
    return in_both_families(_set_and_read)


def _set_and_read(address: str) -> str:
    bench = Bench()
    results = [f"at first {_range_of(bench.make(address))}"]
    sock = bench.make(address, port_range(12345, 54321))
    results.append(f"set {_range_of(sock)}")
    for port, (low, high) in enumerate(((0, 40001), (40098, 0)), 9000):
        bench.listeners((address, port))
        results.append(f"{low}-{high}: {len(bench.fill((address, port), port_range(low, high)))} ports")
    set_option(sock, port_range(0, 0))
    bench.listeners((address, 9002))
    filled = bench.fill((address, 9002), port_range(40098, 40099), port_range(0, 0))
    return f"{'; '.join(results)}; removed {_range_of(sock)}: {len(filled)} ports"


def _range_of(sock: socket.socket) -> str:
    """Return IP_LOCAL_PORT_RANGE of a socket, "40000-40099". Raises: SeenError if the kernel lacks it."""
    try:
        bounds = sock.getsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, 4)
    except OSError as error:
        raise SeenError(f"getsockopt {name(error.errno)}") from error
    both = struct.unpack("I", bounds)[0]
    return f"{both & 0xFFFF}-{both >> 16}"


@fact(
    "3.15",
    "IP_LOCAL_PORT_RANGE has four bytes, no fewer and no more",
    expected="2: setsockopt EINVAL; 4: ok; 8: setsockopt EINVAL; IPv6: the same",
    since="6.3",
    source="tools/testing/selftests/net/ip_local_port_range.c",
    meaning='Pack it as one unsigned 32-bit number in host order, in Python struct.pack("I", high << 16 | low).',
)
def _sizes() -> str:
    return in_both_families(_set_sizes)


def _set_sizes(address: str) -> str:
    sock = Bench().make(address)

    def set_size(size: int) -> str:
        value = struct.pack("I", 40009 << 16 | 40000).ljust(8, b"\0")[:size]
        return answer("setsockopt", lambda: sock.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, value))

    return "; ".join(f"{size}: {set_size(size)}" for size in (2, 4, 8))


class MptcpBench(Bench):
    """Like Bench, with MPTCP sockets (linux/in.h)."""

    protocol = 262


@fact(
    "3.16",
    "MPTCP sockets take both options",
    expected="port 0 after bind; 10, then connect EADDRNOTAVAIL; IPv6: the same",
    since="6.8",
    source="tools/testing/selftests/net/ip_local_port_range.c",
    meaning="Programs run under mptcpize, and those that ask for MPTCP, share ports like TCP; before 6.8 the options "
    "were refused.",
)
def _mptcp() -> str:
    try:
        MptcpBench().make()
    except OSError as error:
        raise CannotRunError(f"not here, because this kernel makes no MPTCP socket: {name(error.errno)}") from error
    return in_both_families(_fill_mptcp)


def _fill_mptcp(address: str) -> str:
    bench, target = MptcpBench(), (address, TARGET[1])
    Bench().listeners(target)
    slice_ = port_range(40020, 40029)
    bound = bench.bind((address, 0), NO_PORT, slice_)
    filled = bench.fill(target, NO_PORT, slice_, bind=(address, 0))
    return f"port {bound.port} after bind; {filled}"
