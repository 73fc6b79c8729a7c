"""What the kernel lists is what was opened: each kind of socket, in this namespace and in another."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
import pytest

from loadgen.errors import HostError
from loadgen.kernel import groups, sockdiag
from loadgen.kernel.sockdiag import ALL, Extension, Reader, Sockets, TcpState, mask
from loadgen.lab import namespace
from loadgen.strategies.options import IP_BIND_ADDRESS_NO_PORT

from .support import PATIENCE_S, child, in_child, until
from .test_namespace import become_ordinary

#: TcpState, source and destination of a socket; "" where it has none.
Line = tuple[TcpState, str, str]
Make = Callable[..., socket.socket]
V4, V6 = socket.AF_INET, socket.AF_INET6
EVERYTHING: Final = ALL | mask(TcpState.BOUND)

pytestmark = pytest.mark.lab("40000 40999")


@pytest.fixture
def opened(keep: ExitStack) -> Make:
    """Make sockets that are closed after the test: `opened(V4, source=("127.0.0.1", 0))`."""

    def make(family: int, kind: int = socket.SOCK_STREAM, source: Any = None) -> socket.socket:
        sock = keep.enter_context(socket.socket(family, kind))
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source:
            sock.bind(source)
        return sock

    return make


@pytest.fixture
def reader(keep: ExitStack) -> Reader:
    return keep.enter_context(Reader())


def line(sock: socket.socket, state: TcpState) -> Line:
    """What is to be listed of a socket that we have."""
    try:
        peer = written(*sock.getpeername()[:2])
    except OSError:
        peer = ""
    return state, written(*sock.getsockname()[:2]), peer


def lines(sockets: Sockets) -> Counter[Line]:
    """What is listed."""
    return Counter((TcpState(row["state"]), end(row, "source"), end(row, "destination")) for row in sockets)


def end(row: Any, name: str) -> str:
    size = 4 if row["family"] == V4 else 16
    text = socket.inet_ntop(int(row["family"]), row[name].tobytes()[:size])
    return written(text, int(row[f"{name}_port"])) if row[f"{name}_port"] else ""


def written(address: str, port: int) -> str:
    return f"{address} {port}"


def connected(opened: Make, listener: socket.socket, source: tuple[str, int], target: str = "") -> list[socket.socket]:
    """Both ends of a new connection, the client first; to another address than the listener's if one is given."""
    client = opened(listener.family, source=source)
    address, port, *_ = listener.getsockname()
    client.connect((target or address, port))
    return [client, listener.accept()[0]]


@pytest.fixture
def listening(opened: Make) -> Make:
    """Make a listener: `listening(V6, ("::1", 9000))`."""

    def make(family: int, source: Any) -> socket.socket:
        listener = opened(family, source=source)
        listener.listen(64)
        return listener

    return make


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1"), (V6, "::ffff:127.0.0.1")])
def test_every_state_of_a_connection(
    family: int, address: str, opened: Make, listening: Make, keep: ExitStack, reader: Reader
) -> None:
    listener = listening(family, (address, 9000))
    bound = opened(family, source=(address, 0))
    pairs = [connected(opened, listener, (address, 0)) for _ in range(3)]
    for _, accepted in pairs:
        keep.callback(accepted.close)
    half_closed, closed = pairs[1], pairs[2]
    half_closed[0].shutdown(socket.SHUT_WR)
    resting = line(closed[0], TcpState.TIME_WAIT)
    closed[0].close()
    closed[1].close()
    expected = Counter(
        [
            line(listener, TcpState.LISTEN),
            line(bound, TcpState.CLOSE),
            *(line(sock, TcpState.ESTABLISHED) for sock in pairs[0]),
            line(half_closed[0], TcpState.FIN_WAIT2),
            line(half_closed[1], TcpState.CLOSE_WAIT),
            resting,
        ]
    )
    # The last acknowledgements are on their way for a moment; nothing but the states is still to change.
    until(lambda: lines(reader.dump(EVERYTHING).sockets) == expected)
    sockets = reader.dump(EVERYTHING).sockets
    assert lines(sockets) == expected
    assert sockdiag.count_states(sockets)[TcpState.ESTABLISHED] == 2
    assert set(sockets["family"].tolist()) == {family}
    assert sockdiag.is_mapped(sockets).all() == address.startswith("::ffff:")
    inodes = {os.fstat(sock.fileno()).st_ino for sock in (listener, bound, *pairs[0], *half_closed)}
    assert set(sockets["inode"].tolist()) == {*inodes, 0}
    assert lines(reader.dump(ALL).sockets) == expected - Counter([line(bound, TcpState.CLOSE)])
    assert lines(reader.dump(mask(TcpState.TIME_WAIT)).sockets) == Counter([resting])


def test_a_listener_on_every_address_takes_both_families(opened: Make, listening: Make, reader: Reader) -> None:
    listener = listening(V6, ("::", 9000))
    six, four = (connected(opened, listener, (address, 0), address) for address in ("::1", "::ffff:127.0.0.1"))
    with six[1], four[1]:
        sockets = reader.dump().sockets
        expected = [line(listener, TcpState.LISTEN), *(line(sock, TcpState.ESTABLISHED) for sock in six + four)]
        assert lines(sockets) == Counter(expected)
        assert lines(sockets[sockdiag.is_mapped(sockets)]) == Counter(line(sock, TcpState.ESTABLISHED) for sock in four)
        found = groups.group(groups.outbound(sockets))
    assert {(group.source, group.destination, group.destination_port) for group in found} == {
        ("::1", "::1", 9000),
        ("127.0.0.1", "127.0.0.1", 9000),
    }


def test_a_connection_that_its_listener_has_yet_to_hear_of(opened: Make, listening: Make, reader: Reader) -> None:
    """TCP_DEFER_ACCEPT leaves it a request until the client has sent something (tcp(7))."""
    listener = listening(V4, ("127.0.0.1", 9000))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
    client = opened(V4)
    client.connect(listener.getsockname())
    state, source, destination = line(client, TcpState.ESTABLISHED)
    assert lines(reader.dump(sockdiag.TUPLES).sockets) == Counter(
        [(state, source, destination), (TcpState.SYN_RECV, destination, source)]
    )


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1")])
def test_udp(family: int, address: str, opened: Make, reader: Reader) -> None:
    receiver = opened(family, socket.SOCK_DGRAM, (address, 9000))
    sender = opened(family, socket.SOCK_DGRAM, (address, 40000))
    sender.connect(receiver.getsockname())
    sockets = reader.dump(protocol=socket.IPPROTO_UDP).sockets
    assert lines(sockets) == Counter([line(receiver, TcpState.CLOSE), line(sender, TcpState.ESTABLISHED)])
    connected_only = reader.dump(mask(TcpState.ESTABLISHED), protocol=socket.IPPROTO_UDP).sockets
    assert lines(connected_only) == Counter([line(sender, TcpState.ESTABLISHED)])
    assert reader.dump().sockets.size == 0


def test_who_binds_late_has_no_port_to_list(opened: Make, reader: Reader) -> None:
    late = opened(V4)
    late.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    late.bind(("127.0.0.1", 0))
    early = opened(V4, source=("127.0.0.1", 0))
    assert lines(reader.dump(EVERYTHING).sockets) == Counter([line(early, TcpState.CLOSE)])


def test_ports_are_filtered_by_the_kernel_but_for_bound_sockets(opened: Make, listening: Make, reader: Reader) -> None:
    bound = line(opened(V4, source=("127.0.0.1", 40900)), TcpState.CLOSE)
    first, second = (listening(V4, ("127.0.0.1", port)) for port in (9000, 9001))
    one, other = (connected(opened, listener, ("127.0.0.1", 0)) for listener in (first, second))
    with one[1], other[1]:
        there = reader.dump(destination_port=9000).sockets
        assert lines(there) == Counter([line(one[0], TcpState.ESTABLISHED)])
        here = reader.dump(EVERYTHING, source_port=9001).sockets
        assert lines(here) == Counter([line(second, TcpState.LISTEN), line(other[1], TcpState.ESTABLISHED), bound])


def test_more_than_a_buffer_holds(
    opened: Make, listening: Make, keep: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every socket once: nothing opens or closes while they are listed."""
    monkeypatch.setattr(sockdiag, "_BUFFER_BYTES", 96 * 1024)  # some three hundred sockets
    listener = listening(V4, ("127.0.0.1", 9000))
    clients = []
    for number in range(390):
        client, accepted = connected(opened, listener, (f"127.0.1.{number % 3}", 40000 + number // 3))
        keep.callback(accepted.close)
        clients.append(client)
    for client in clients[::2]:
        client.shutdown(socket.SHUT_WR)  # so that messages of different lengths take turns
    sockets = keep.enter_context(Reader()).dump().sockets
    assert sockets.size == np.unique(sockets["cookie"]).size == 781
    found = groups.group(groups.outbound(sockets))
    assert [(group.source, group.in_use, group.source_ports) for group in found] == [
        (f"127.0.1.{last}", 130, 130) for last in range(3)
    ]


def test_after_an_answer_that_failed_half_way_there_is_another(
    opened: Make, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of it waits in the kernel, which refuses to begin another before that was read."""
    count = 3000
    for number in range(count):
        opened(V4, socket.SOCK_DGRAM, source=(f"127.0.1.{number // 500}", 41_000 + number % 500))
    receive, received = Reader._receive, 0

    def once(self: Reader) -> int:
        nonlocal received
        received = self._socket.recv_into(self._view)
        raise HostError("no memory")

    monkeypatch.setattr(Reader, "_receive", once)
    with pytest.raises(HostError, match="no memory"):
        reader.dump(mask(TcpState.CLOSE), protocol=socket.IPPROTO_UDP)
    assert 0 < received < count * sockdiag.SOCKET.itemsize / 2
    monkeypatch.setattr(Reader, "_receive", receive)
    assert reader.dump(mask(TcpState.CLOSE), protocol=socket.IPPROTO_UDP).sockets.size == count


def test_extensions_are_attributes_in_the_order_of_the_sockets(opened: Make, listening: Make, reader: Reader) -> None:
    inet_diag_cong = 4
    reno = listening(V4, ("127.0.0.1", 9000))
    reno.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    listening(V4, ("127.0.0.1", 9001))
    dump = reader.dump(extensions=Extension.CONG | Extension.INFO)
    named = {
        int(row["source_port"]): attributes[inet_diag_cong].rstrip(b"\0")
        for row, attributes in zip(dump.sockets, dump.attributes, strict=True)
    }
    default = opened(V4).getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
    assert named == {9000: b"reno", 9001: default}
    assert reader.dump().attributes == ()


def test_an_ordinary_user_sees_the_same(opened: Make, listening: Make, reader: Reader) -> None:
    listening(V4, ("127.0.0.1", 9000))
    opened(V4, source=("127.0.0.1", 0))

    def as_nobody() -> bytes:
        become_ordinary()
        with Reader() as theirs:
            return theirs.dump(EVERYTHING).sockets.tobytes()

    assert in_child(as_nobody) == reader.dump(EVERYTHING).sockets.tobytes() != b""


def test_a_socket_from_another_namespace_lists_what_is_there(listening: Make, reader: Reader) -> None:
    here = listening(V4, ("127.0.0.1", 9000))
    ours, theirs = socket.socketpair()

    def elsewhere() -> None:
        namespace.enter({})
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 9001))
            listener.listen()
            channel = theirs.dup()
            sockdiag.send_socket(channel.detach())
            theirs.recv(1)  # until the test has seen it

    with ours, theirs, child(elsewhere), Reader(sockdiag.receive_socket(ours)) as there:
        assert lines(there.dump().sockets) == Counter([(TcpState.LISTEN, "127.0.0.1 9001", "")])
        assert lines(reader.dump().sockets) == Counter([line(here, TcpState.LISTEN)])


def test_whether_bound_sockets_are_listed_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert sockdiag.lists_bound.__wrapped__() or release < (6, 8)
    monkeypatch.setattr(Reader, "_ask", lambda *_: [])  # as an older kernel answers
    assert not sockdiag.lists_bound.__wrapped__()


def test_no_such_protocol(reader: Reader) -> None:
    with pytest.raises(HostError, match=r"ENOENT.*modprobe"):
        reader.dump(protocol=200)
    assert reader.dump().sockets.size == 0  # and the reader goes on
