"""A nat lab: three namespaces, and a gateway that really translates."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from loadgen.capacity.nat_address import outside
from loadgen.errors import HostError
from loadgen.kernel import conntrack_stats, sysctl
from loadgen.lab import namespace, nat
from loadgen.model import Endpoint, Nat, NatFlag, NatKind, PortRange, Topology

from .support import accept_all, in_child
from .test_namespace import become_ordinary
from .test_veth import V4, V6, connect, expanded, listen_there, with_the_sinks

pytestmark = pytest.mark.usefixtures("_nft")
ADDRESSES: Final = ("192.0.2.1", "2001:db8::1")
SNAT: Final = Nat(NatKind.SNAT, ADDRESSES)

Lay = Callable[..., Mapping[str, str]]


@pytest.fixture
def lay(_lab: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """Move the test into the clients' namespace of a nat lab; return the gateway's settings of connection tracking."""

    def make(
        sources: Sequence[str], targets: Sequence[str], how: Nat = SNAT, left: int | None = None, **sysctls: str
    ) -> Mapping[str, str]:
        namespace.enter({name.replace("__", "."): value for name, value in sysctls.items()}, Topology.NAT)
        return in_child(lambda: dict(nat.connect(sources, targets, how, left)))

    monkeypatch.setattr(namespace, "_sinks_fd", -1)
    monkeypatch.setattr(namespace, "_gateway_fd", -1)
    yield make
    for fd in (namespace.sinks_fd(), namespace.gateway_fd()):
        if fd >= 0:
            os.close(fd)


def at_gateway(read: Callable[[], Any]) -> Any:
    """What a process in the gateway's namespace returns."""

    def body() -> Any:
        namespace.enter_gateway()
        return read()

    return in_child(body)


@contextmanager
def reached(target: Endpoint, source: str = "") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection through the gateway to a listener of its own: both ends."""
    with listen_there(target) as listener, connect(target, source) as client:
        (accepted,) = accept_all(listener, 1)
        with accepted:
            yield client, accepted


@pytest.mark.parametrize("kind", NatKind)
@pytest.mark.parametrize(("ends", "address"), [(V4, ADDRESSES[0]), (V6, ADDRESSES[1])], ids=["IPv4", "IPv6"])
def test_the_server_sees_the_gateway(
    lay: Lay, kind: NatKind, ends: tuple[tuple[str, ...], Endpoint], address: str
) -> None:
    """And what is written arrives, both ways; the port is one of the rule's."""
    sources, target = ends
    lay(sources, [target.address], Nat(kind, ADDRESSES, PortRange(20_000, 20_009)))
    with reached(target, sources[1]) as (client, accepted):
        assert client.getsockname()[0] == sources[1]
        host, port = accepted.getpeername()[:2]
        assert host == address
        assert 20_000 <= port <= 20_009
        accepted.sendall(b"down")
        client.sendall(b"up")
        assert (client.recv(10), accepted.recv(10)) == (b"down", b"up")


def test_without_ports_a_connection_keeps_its_own(lay: Lay) -> None:
    sources, target = V4
    lay(sources, [target.address])
    with reached(target) as (client, accepted):
        assert accepted.getpeername() == (ADDRESSES[0], client.getsockname()[1])


def test_datagrams_are_translated_too(lay: Lay, keep: ExitStack) -> None:
    sources, target = V4
    lay(sources, [target.address], Nat(NatKind.SNAT, ADDRESSES, PortRange(20_000, 20_000)))

    with with_the_sinks():
        server = keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(target.sockaddr)
    client = keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.connect(target.sockaddr)
    client.send(b"x")
    assert server.recvfrom(10) == (b"x", (ADDRESSES[0], 20_000))
    server.sendto(b"y", (ADDRESSES[0], 20_000))
    assert client.recv(10) == b"y"


@pytest.mark.parametrize("flags", [(), (NatFlag.PERSISTENT,)], ids=["by target", "persistent"])
@pytest.mark.parametrize(
    ("pool", "network", "target"),
    [
        ("192.0.2.0/28", "198.18.0.0/28", V4[1]),
        ("2001:db8::/124", "fd00::/124", V6[1]),
    ],
    ids=["IPv4", "IPv6"],
)
def test_the_kernel_chooses_the_address_that_the_hash_foretells(
    lay: Lay, pool: str, network: str, target: Endpoint, flags: tuple[NatFlag, ...]
) -> None:
    sources = expanded(network)
    how = Nat(NatKind.SNAT, tuple(expanded(pool)), flags=flags)
    lay(sources, [target.address], how)
    with listen_there(target) as listener, ExitStack() as open_ones:
        for source in sources:
            open_ones.enter_context(connect(target, source))
            (accepted,) = accept_all(listener, 1)
            assert open_ones.enter_context(accepted).getpeername()[0] == outside(how, source, target.address)


def test_a_pool_costs_the_gateway_no_neighbour(lay: Lay, keep: ExitStack) -> None:
    sources = expanded("198.18.0.0/16")
    lay(sources, [V4[1].address])
    keep.enter_context(listen_there(V4[1]))
    for source in (sources[0], sources[-1]):
        keep.enter_context(connect(V4[1], source))

    def known() -> list[str]:
        return [line.split()[2] for line in Path("/proc/self/net/arp").read_text().splitlines()[1:]]

    assert at_gateway(known) == ["0x6", "0x6"]  # linux/if_arp.h: ATF_COM | ATF_PERM, one on each side


def test_the_gateway_has_its_own_settings_and_counters(lay: Lay) -> None:
    sources, target = V4
    name = "nf_conntrack_tcp_timeout_time_wait"
    settings = lay(
        sources,
        [target.address],
        Nat(NatKind.SNAT, ADDRESSES, PortRange(20_000, 20_001), timeouts={name: 7}),
        net__ipv4__tcp_syn_retries="1",
    )
    assert settings[f"net.netfilter.{name}"] == "7"
    assert sysctl.read(f"net.netfilter.{name}") != "7"
    assert at_gateway(lambda: sysctl.read("net.ipv4.tcp_syn_retries")) == "1"
    with listen_there(target), connect(target), connect(target), socket.socket() as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.connect(target.sockaddr)

    def from_both() -> list[dict[str, int]]:
        counters, asked = conntrack_stats.open_file(), conntrack_stats.open_socket()
        return [conntrack_stats.read_socket(asked), conntrack_stats.read_file(counters) if counters else {}]

    by_netlink, by_file = at_gateway(from_both)
    assert by_netlink["insert_failed"] >= 1
    assert by_netlink["drop"] >= 1
    assert by_file in ({}, by_netlink)


def test_a_full_table_is_that_of_the_gateway(lay: Lay) -> None:
    sources, target = V4
    lay(sources, [target.address], SNAT, 1)
    with listen_there(target), connect(target), socket.socket() as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.connect(target.sockaddr)
    assert sysctl.read("net.netfilter.nf_conntrack_count") == "0"


def test_what_a_gateway_has_forgotten_is_reset(lay: Lay) -> None:
    """Nothing travels between the namespaces until its TTL ends."""
    sources, target = V4
    lay(sources, [target.address])

    with with_the_sinks(), socket.socket() as sock:
        sock.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((ADDRESSES[0], 9))


def test_a_timeout_that_the_kernel_lacks_is_named(lay: Lay) -> None:
    with pytest.raises(HostError, match=r"^lab\.nat\.timeouts: .*nf_conntrack_none"):
        lay(V4[0], [V4[1].address], Nat(NatKind.SNAT, ADDRESSES, timeouts={"nf_conntrack_none": 1}))


def test_without_nft_one_message_says_what_to_install(lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.lab.rules.shutil.which", lambda *_, **__: None)
    with pytest.raises(HostError, match=r"^lab\.nat: there is no nft on this host; apt install nftables$"):
        lay(V4[0], [V4[1].address])


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_has_a_gateway_too() -> None:
    def body() -> list[str]:
        import pyroute2  # noqa: F401  # while we may read it, wherever it is installed

        become_ordinary()
        namespace.enter({}, Topology.NAT)
        in_child(lambda: nat.connect([*V6[0], *V4[0]], [V6[1].address, V4[1].address], SNAT, None) and None)
        seen = []
        for target in (V4[1], V6[1]):
            with reached(target) as (_, accepted):
                seen.append(accepted.getpeername()[0])
        return seen

    assert in_child(body) == list(ADDRESSES)
