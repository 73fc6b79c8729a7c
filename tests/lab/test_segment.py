"""A segment: two namespaces on one link, where each address that is spoken to takes an entry of the neighbour table.

The table is that of the whole host, so these tests keep to a few entries; a full one is an incident
(tests/incidents/neighbour-table-segment), which runs alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from loadgen.kernel import host, neighbours
from loadgen.lab import namespace, segment
from loadgen.model import Endpoint, Topology

from .support import PATIENCE_S, accept_all, in_child
from .test_namespace import become_ordinary
from .test_veth import V4, V6, connect, expanded, listen_there, with_the_sinks

Lay = Callable[[Sequence[str], Sequence[str]], None]


@pytest.fixture
def lay(_lab: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """Move the test into the clients' namespace of a segment: `lay(sources, targets)`."""

    def make(sources: Sequence[str], targets: Sequence[str]) -> None:
        namespace.enter({}, Topology.SEGMENT)
        in_child(lambda: segment.connect(sources, targets))

    monkeypatch.setattr(namespace, "_sinks_fd", -1)
    yield make
    if namespace.sinks_fd() >= 0:
        os.close(namespace.sinks_fd())


def entries() -> tuple[int, int]:
    """Neighbours with the clients and with the sinks, IPv4 and IPv6 together."""
    with neighbours.open_socket() as sock:
        clients = sum(neighbours.counted(sock).values())
    with with_the_sinks(), neighbours.open_socket() as sock:
        return clients, sum(neighbours.counted(sock).values())


def test_both_families_cross_the_link(lay: Lay, keep: ExitStack) -> None:
    """The sinks see the very source, nothing waits to be found free of duplicates, and a target is not ours to bind."""
    lay([*V6[0], *V4[0]], [V4[1].address, V6[1].address])
    for sources, target in (V4, V6):
        listener = keep.enter_context(listen_there(target))
        assert all(map(host.can_bind, sources))
        for source in sources:
            client = keep.enter_context(connect(target, source))
            (accepted,) = accept_all(listener, 1)
            assert keep.enter_context(accepted).getpeername()[:2] == client.getsockname()[:2]
            assert client.getsockname()[0] == source
        assert not host.can_bind(target.address)
        assert keep.enter_context(connect(target)).getsockname()[0] == sources[0]


def test_the_sinks_have_a_neighbour_for_each_source(lay: Lay, keep: ExitStack) -> None:
    pool = expanded("198.18.0.0/28")
    lay(pool, [V4[1].address])
    assert entries() == (0, 0)
    assert neighbours.next_hops([V4[1].address]) == (V4[1].address,)
    keep.enter_context(listen_there(V4[1]))
    for number, source in enumerate(pool, 1):
        for _ in range(2):
            keep.enter_context(connect(V4[1], source))
        assert entries() == (1, number)


def test_the_clients_have_a_neighbour_for_each_target(lay: Lay, keep: ExitStack) -> None:
    targets = [Endpoint(address, 9000) for address in expanded("198.19.0.0/28")]
    lay(V4[0][:1], [target.address for target in targets])
    with with_the_sinks():
        listener = keep.enter_context(socket.create_server(("0.0.0.0", 9000)))
    for number, target in enumerate(targets, 1):
        keep.enter_context(connect(target))
        keep.enter_context(accept_all(listener, 1)[0])
        assert entries() == (number, 1)


def test_an_address_of_ipv6_takes_one_as_well(lay: Lay, keep: ExitStack) -> None:
    """Its multicast group may take another, which is the first to be evicted."""
    lay(expanded("fd00::/124"), [V6[1].address])
    keep.enter_context(listen_there(V6[1]))
    for source in expanded("fd00::/124"):
        keep.enter_context(connect(V6[1], source))
    _, sinks = entries()
    assert 16 <= sinks <= 32


@pytest.mark.parametrize(("network", "target"), [("198.18.0.0/16", V4[1]), ("fd00::/116", V6[1])], ids=["IPv4", "IPv6"])
def test_a_large_pool_is_there_at_once(lay: Lay, keep: ExitStack, network: str, target: Endpoint) -> None:
    """As large as a scenario may make it: 65,536, and 4,096 of IPv6. Multicast groups of IPv6 may have entries."""
    pool = expanded(network)
    lay(pool, [target.address])
    assert max(entries()) <= (4 if ":" in network else 0)
    keep.enter_context(listen_there(target))
    for source in (pool[1], pool[len(pool) // 2], pool[-1]):
        assert keep.enter_context(connect(target, source)).getsockname()[0] == source


def test_nothing_listens_on_an_address_that_is_not_there(lay: Lay) -> None:
    """It is on the link for all that is known, so it is asked for, and nobody answers."""
    lay(V4[0], [V4[1].address])
    with socket.socket() as client:
        client.settimeout(PATIENCE_S)
        with pytest.raises(OSError, match=os.strerror(113)):  # EHOSTUNREACH, after three requests in three seconds
            client.connect(("198.19.0.77", 9000))


@pytest.mark.usefixtures("_user_namespaces")
def test_an_ordinary_user_lays_a_segment_too() -> None:
    def body() -> tuple[str, str]:
        import pyroute2  # noqa: F401  # while we may read it, wherever it is installed

        become_ordinary()
        namespace.enter({}, Topology.SEGMENT)
        in_child(lambda: segment.connect([*V6[0], *V4[0]], [V6[1].address, V4[1].address]))
        with listen_there(V6[1]), listen_there(V4[1]), connect(V6[1], V6[0][1]) as six, connect(V4[1]) as four:
            return six.getsockname()[0], four.getsockname()[0]

    assert in_child(body) == (V6[0][1], V4[0][0])
