"""Section 13: sockets that are bound to a device, and port spaces of their own.

Sources: socket(7), SO_BINDTODEVICE; inet_match() and __inet_check_established(), which compare the device as well as
the four-tuple; Documentation/networking/vrf.rst.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial
from typing import Final

from loadgen.facts.base import CannotRunError, fact, ports
from loadgen.facts.experiment import LOCAL, TARGET, Address, Attempt, Bench, Option, answer, in_both_families, until

#: The loopback device, which every address of an experiment is on.
_ON_LO: Final[Option] = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")


@fact(
    "13.1",
    "sockets without SO_BINDTODEVICE get the four-tuples of sockets that have it, and cut those off",
    expected="4 on lo, then without: 4, then connect EADDRNOTAVAIL, on the same ports; servers of the first 4: recv "
    "ECONNRESET; the first 4: recv EAGAIN; 4 without, then on lo: connect EADDRNOTAVAIL; "
    "IPv6: the same",
    meaning="Both connect() succeed, and the earlier connection is lost without a word to its client: do not mix "
    "`curl --interface`, or agents of a VRF, with other clients of the same target and range.",
    source="__inet_check_established(), net/ipv4/inet_hashtables.c; inet_match(), include/net/inet_hashtables.h",
    sysctls=ports(4),
)
def _bound_to_device() -> str:
    return in_both_families(_taken_over)


def _taken_over(address: str) -> str:
    bench = Bench()
    target: Address = (address, TARGET[1])
    (listener,) = bench.listeners(target)
    pairs = [bench.pair(listener, _ON_LO) for _ in range(4)]
    without = bench.fill(target)
    ports_kept = "the same" if {client.port for client, _ in pairs} == set(without.ports) else "other"
    other: Address = (address, TARGET[1] + 1)
    bench.listeners(other)
    bench.fill(other, most=4)
    return (
        f"4 on lo, then without: {without}, on {ports_kept} ports; servers of the first 4: "
        f"{_heard(server for _, server in pairs)}; the first 4: {_heard(client for client, _ in pairs)}; "
        f"4 without, then on lo: {bench.connect(other, _ON_LO)}"
    )


def _heard(ends: Iterable[Attempt]) -> str:
    """Return the results of recv() that does not wait, each once."""
    results = set()
    for end in ends:
        end.sock.setblocking(False)
        results.add(answer("recv", partial(end.sock.recv, 1)))
    return " and ".join(sorted(results))


_VRF: Final = "red"
_TABLE: Final = 10
_IN_VRF: Final[Option] = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _VRF.encode() + b"\0")
#: linux/rtnetlink.h
_RT_TABLE_LOCAL: Final = 255
#: linux/rtnetlink.h: the kernel knows no device of this kind.
_EOPNOTSUPP: Final = 95


@fact(
    "13.2",
    "a VRF has a port space of its own",
    expected="outside: 4, then connect EADDRNOTAVAIL; inside: 4, then connect EADDRNOTAVAIL; one explicit port: ok "
    "outside, ok inside",
    since="5.0",
    meaning="A host with VRFs has a range of ports for each; count connections in one VRF at a time. It takes "
    "net.ipv4.tcp_l3mdev_accept=0, the default.",
    source="tools/testing/selftests/net/fcnal-test.sh; vrf.rst; 3c82a21f4320",
    sysctls=ports(4),
)
def _vrf() -> str:
    _add_vrf()
    bench = Bench()
    bench.listeners(TARGET)
    inside_listener = bench.listen(TARGET, _IN_VRF)
    if not inside_listener.ok:
        raise CannotRunError(f"no listener inside the VRF: {inside_listener}")
    outside, inside = bench.fill(TARGET), bench.fill(TARGET, _IN_VRF)
    port: Address = (LOCAL, 30000)
    explicit = f"{bench.bind(port)} outside, {bench.bind(port, _IN_VRF)} inside"
    return f"outside: {outside}; inside: {inside}; one explicit port: {explicit}"


def _add_vrf() -> None:
    """Make a VRF that has 127.0.0.1, as the kernel's selftest does: its rule has to come before that of local routes.

    Raises: CannotRunError on a kernel without VRF devices.
    """
    from pyroute2 import IPRoute, NetlinkError

    with IPRoute() as route:
        try:
            route.link("add", kind="vrf", ifname=_VRF, vrf_table=_TABLE)
        except NetlinkError as error:
            if error.code != _EOPNOTSUPP:
                raise
            raise CannotRunError("this kernel has no VRF devices (CONFIG_NET_VRF)") from error
        index = socket.if_nametoindex(_VRF)
        route.rule("add", table=_RT_TABLE_LOCAL, priority=32765)
        route.rule("del", table=_RT_TABLE_LOCAL, priority=0)
        route.addr("add", index=index, address=LOCAL, prefixlen=8)
        route.link("set", index=index, state="up")
        until(lambda: bool(route.get_routes(table=_TABLE)))
