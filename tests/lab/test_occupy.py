"""Ports that are taken until a few are left: as real clients find them, and the kernel's own tables."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadgen.errors import CapacityError, HostError, IncompleteError
from loadgen.kernel import sockdiag
from loadgen.lab import namespace
from loadgen.model import Endpoint, Transport
from loadgen.occupy import prospect
from loadgen.occupy.holders import PortHolders
from loadgen.occupy.occupation import Occupation
from loadgen.occupy.prospect import Prospect
from loadgen.occupy.reading import PortReader
from loadgen.occupy.request import OccupyRequest, OccupyWay

from .support import in_child, reset

FIRST = 40_000
TEN = {"net.ipv4.ip_local_port_range": f"{FIRST} {FIRST + 9}", "net.ipv4.tcp_tw_reuse": "0"}
TARGET = Endpoint("127.0.0.1", 9000)
OTHER = Endpoint("127.0.0.1", 9001)


@contextmanager
def occupying(request: OccupyRequest, room: int = 100) -> Iterator[tuple[Occupation, PortHolders, PortReader]]:
    """An occupation that has begun, its processes and its reader; all is given back at the end of the block."""
    source = prospect.source_of(request)
    reader = PortReader(request, source)
    ahead = prospect.ahead(request, reader, source, room)
    with PortHolders(request, ahead.processes, room) as holders:
        occupation = Occupation(request, reader, holders)
        assert occupation.begin().left == request.leave
        yield occupation, holders, reader
    reader.close()


def connected(target: Endpoint = TARGET, source: str = "") -> socket.socket | int:
    """A connection, or the errno that ended it; source: bound late."""
    sock = socket.socket(target.family)
    try:
        if source:
            sock.setsockopt(socket.SOL_IP, 24, 1)
            sock.bind((source, 0))
        sock.connect(target.sockaddr)
    except OSError as error:
        sock.close()
        return error.errno or 0
    return sock


def connections(count: int, target: Endpoint = TARGET) -> tuple[list[socket.socket], list[int]]:
    """The connections that could be opened, and the errnos of the others."""
    tried = [connected(target) for _ in range(count)]
    return [one for one in tried if not isinstance(one, int)], [one for one in tried if isinstance(one, int)]


def early(address: str, port: int = 0, kind: int = socket.SOCK_STREAM) -> socket.socket | int:
    """A socket that is bound and not connected, or the errno."""
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        return error.errno or 0
    return sock


def listener(target: Endpoint = TARGET) -> socket.socket:
    return socket.create_server(target.sockaddr[:2], family=target.family, backlog=100)


def exactly_five_are_left() -> None:
    namespace.enter(TEN)
    six = Endpoint("::1", 9000)
    with listener(), listener(six), listener(Endpoint("127.0.0.1", FIRST + 3)) as inside:
        # A room of 3 makes several processes share the ports.
        with occupying(OccupyRequest(leave=5), room=3) as (occupation, holders, _):
            assert len(holders.pids) == 2
            assert not occupation.ours[FIRST + 3]
            opened, errnos = connections(6)
            assert (len(opened), errnos) == (5, [errno.EADDRNOTAVAIL])
            for sock in opened:
                reset(sock)
            opened, errnos = connections(6, six)
            assert (len(opened), errnos) == (5, [errno.EADDRNOTAVAIL])
            for sock in opened:
                reset(sock)
            bound = [early("127.0.0.1") for _ in range(6)]
            assert [one for one in bound if isinstance(one, int)] == [errno.EADDRINUSE]
            client = early("127.0.0.1", 30_000)
            assert isinstance(client, socket.socket)
            client.connect(("127.0.0.1", FIRST + 3))
            inside.accept()[0].close()
            del bound
        opened, errnos = connections(9)
        assert (len(opened), errnos) == (9, [])


def what_others_do_is_corrected() -> None:
    namespace.enter(TEN)
    with listener(), occupying(OccupyRequest(leave=2)) as (occupation, _, _):
        assert occupation.look().adjustments == 0
        opened, errnos = connections(3)
        assert (len(opened), errnos) == (2, [errno.EADDRNOTAVAIL])
        status = occupation.look()
        assert (status.left, status.held, status.adjustments) == (2, 6, 1)
        for sock in opened:
            reset(sock)
        status = occupation.look()
        assert (status.left, status.held, status.adjustments) == (2, 8, 2)
        assert occupation.look().adjustments == 2


def bound_sockets_are_listed_without_a_free_port() -> None:
    """So `loadgen watch` says who has the ports when none is left, as a process that has not asked before."""
    namespace.enter(TEN)
    with occupying(OccupyRequest(leave=0)):
        assert sockdiag.lists_bound.__wrapped__()


def every_port_left_is_found_in_an_odd_range() -> None:
    """Of 9 ports, each search passes over one of the low end's parity."""
    namespace.enter(TEN | {"net.ipv4.ip_local_port_range": f"{FIRST} {FIRST + 8}"})
    with listener(), occupying(OccupyRequest(leave=1)):
        for _ in range(40):
            sock = connected()
            assert isinstance(sock, socket.socket)
            reset(sock)


def one_source() -> None:
    """connect() passes over a port that is bound on any address; bind() to another address does not."""
    namespace.enter(TEN)
    with listener(), listener(Endpoint("127.0.0.1", FIRST + 1)):
        request = OccupyRequest(leave=0, source="127.0.0.5")
        reader = PortReader(request, "127.0.0.5")
        assert prospect.ahead(request, reader, "127.0.0.5", 100).spared == 1
        with occupying(request):
            kept = early("127.0.0.5")  # the port of the listener on another address
            assert isinstance(kept, socket.socket)
            assert kept.getsockname()[1] == FIRST + 1
            assert early("127.0.0.5") == errno.EADDRINUSE
            assert isinstance(early("127.0.0.6"), socket.socket)
            assert connected() == errno.EADDRNOTAVAIL
            assert connected(source="127.0.0.6") == errno.EADDRNOTAVAIL


def connections_to_one_target() -> None:
    namespace.enter(TEN)
    with listener(), listener(OTHER):
        bound = early("127.0.0.1")
        assert isinstance(bound, socket.socket)
        bound.connect(OTHER.sockaddr)  # bound early: its port is closed to all, and no table says so
        request = OccupyRequest(leave=3, way=OccupyWay.CONNECTIONS, target=TARGET)
        with occupying(request) as (occupation, _, _):
            assert occupation.held_max == 6
            opened, errnos = connections(4)
            assert (len(opened), errnos) == (3, [errno.EADDRNOTAVAIL])
            assert len(connections(9, OTHER)[0]) == 9
            assert occupation.look().left == 3
            for sock in opened:
                reset(sock)
            assert occupation.look().left == 3
        tables = PortReader(request, "127.0.0.1").read()
        assert not tables.present.any(), "a connection of loadgen was left in TIME-WAIT"


def early_binds_fail_beside_connections() -> None:
    namespace.enter(TEN)
    with listener(), occupying(OccupyRequest(leave=0, way=OccupyWay.CONNECTIONS, target=TARGET)):
        assert early("127.0.0.1") == errno.EADDRINUSE
        assert isinstance(early("127.0.0.2"), socket.socket)


def connections_that_the_target_resets() -> None:
    """Their ports are free again, and the target is left alone for a while."""
    namespace.enter(TEN)
    with (
        listener() as target,
        occupying(OccupyRequest(leave=0, way=OccupyWay.CONNECTIONS, target=TARGET)) as (occupation, _, _),
    ):
        for _ in range(3):
            reset(target.accept()[0])
        status = occupation.look()
        assert (status.left, status.held) == (3, 7)
        assert occupation.look().held == 7


def time_wait() -> None:
    namespace.enter(TEN)
    request = OccupyRequest(leave=4, way=OccupyWay.TIME_WAIT, target=TARGET)
    with listener() as target:
        pid = os.fork()
        if pid == 0:
            while True:  # closes after the client
                sock = target.accept()[0]
                sock.recv(1)
                sock.close()
        try:
            with occupying(request) as (occupation, _, _):
                assert occupation.look().adjustments == 0
                opened, errnos = connections(5)
                assert (len(opened), errnos) == (4, [errno.EADDRNOTAVAIL])
                assert occupation.look().left == 0
            tables = PortReader(request, "127.0.0.1").read()
            assert int((tables.present & occupation.ours).sum()) == 6
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def time_wait_of_a_target_that_closes_first() -> None:
    namespace.enter(TEN)
    with listener() as target:
        pid = os.fork()
        if pid == 0:
            while True:
                reset(target.accept()[0])
        try:
            with (
                pytest.raises(HostError, match=r"no TIME-WAIT stays here|does not accept"),
                occupying(OccupyRequest(leave=0, way=OccupyWay.TIME_WAIT, target=TARGET)),
            ):
                pass
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def udp() -> None:
    namespace.enter(TEN)
    with occupying(OccupyRequest(leave=2, transport=Transport.UDP)):
        kept = [early("127.0.0.1", kind=socket.SOCK_DGRAM) for _ in range(3)]
        assert kept[2] == errno.EADDRINUSE
        assert isinstance(kept[1], socket.socket)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(BlockingIOError):
            sock.connect(("127.0.0.1", 9))
        assert isinstance(early("127.0.0.1"), socket.socket), "TCP has ports of its own"


def a_lost_process_ends_it() -> None:
    namespace.enter(TEN)
    with listener():
        with occupying(OccupyRequest(leave=0), room=5) as (occupation, holders, _):
            os.kill(holders.pids[1], signal.SIGKILL)
            os.waitid(os.P_PID, holders.pids[1], os.WEXITED | os.WNOWAIT)
            with pytest.raises(IncompleteError, match="held 5 ports, was killed by SIGKILL"):
                occupation.look()
        assert len(connections(10)[0]) == 10


def refusals() -> None:
    namespace.enter(TEN)

    def ahead(request: OccupyRequest) -> Prospect:
        source = prospect.source_of(request)
        return prospect.ahead(request, PortReader(request, source), source, 100)

    with listener(), pytest.raises(CapacityError) as caught:
        ahead(OccupyRequest(leave=11))
    assert (caught.value.needed, caught.value.available) == (11, 10)
    with pytest.raises(HostError, match="on no interface"):
        ahead(OccupyRequest(leave=0, source="10.0.0.1"))
    with pytest.raises(HostError, match="no route"):
        ahead(OccupyRequest(leave=0, way=OccupyWay.CONNECTIONS, target=Endpoint("10.0.0.1", 9000)))
    with (
        pytest.raises(HostError, match="does not accept connections from here: connect ECONNREFUSED"),
        occupying(OccupyRequest(leave=0, way=OccupyWay.CONNECTIONS, target=TARGET)),
    ):
        pass
    with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w") as setting:
        setting.write("9")
    with pytest.raises(CapacityError, match="tcp_max_tw_buckets"):
        ahead(OccupyRequest(leave=0, way=OccupyWay.TIME_WAIT, target=TARGET))


def whom_it_hurts() -> None:
    namespace.enter(TEN)
    with listener(), listener(OTHER):
        kept = [connected(), connected(OTHER), early("127.0.0.1")]
        request = OccupyRequest(leave=0)
        ahead = prospect.ahead(request, PortReader(request, ""), "", 100)
        (process,) = ahead.affected.processes
        assert process.pid == os.getpid()
        assert (process.outgoing, process.listening, process.bound) == (2, 2, 1)
        assert (ahead.free, ahead.to_take, ahead.affected.unknown) == (10 - ahead.shared - 1, ahead.free, 0)
        del kept


@pytest.mark.parametrize(
    "body",
    [
        exactly_five_are_left,
        what_others_do_is_corrected,
        bound_sockets_are_listed_without_a_free_port,
        every_port_left_is_found_in_an_odd_range,
        one_source,
        connections_to_one_target,
        early_binds_fail_beside_connections,
        connections_that_the_target_resets,
        time_wait,
        time_wait_of_a_target_that_closes_first,
        udp,
        a_lost_process_ends_it,
        refusals,
        whom_it_hurts,
    ],
    ids=lambda body: body.__name__,
)
def test_occupation(body: object) -> None:
    assert callable(body)
    in_child(body)
