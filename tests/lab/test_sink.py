"""The listening side against real clients: each sink a process of its own, as in a run."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

import pytest

from loadgen.clock import now_ns
from loadgen.kernel import snmp
from loadgen.model import Endpoint
from loadgen.processes.link import Link
from loadgen.processes.shared_memory import Blocks
from loadgen.sink import counts, sink

from .support import PROC_NET, alive, child, close_all_but, listen, reset, until

HERE: Final = Endpoint("127.0.0.1", 9000)
pytestmark = pytest.mark.lab("40000 41999")


def free_numbers(pid: int, limit: int) -> list[int]:
    """The descriptor numbers below `limit` that a process does not use, rising."""
    return sorted({*range(limit)} - {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")})


class Sinks:
    """Some sink processes, and what they have counted."""

    def __init__(
        self, keep: ExitStack, endpoints: Sequence[Endpoint], count: int, rows: int, descriptors: int, **options: Any
    ) -> None:
        self.blocks = Blocks.create("test-sinks", counts.block_dtype(rows), count)
        keep.callback(self.blocks.close)
        self.links: list[Link] = []
        self.pids: list[int] = []
        self.reports: list[dict[str, str] | None] = []
        for index in range(count):
            ours, theirs = Link.pair()
            shard = sink.SinkShard(tuple(endpoints), index, count, rows, descriptors, **options)

            def body(shard: sink.SinkShard = shard, theirs: Link = theirs) -> None:
                close_all_but(theirs.fileno(), self.blocks.fd)
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(descriptors, hard), hard))
                sink.main(shard, os.dup(theirs.fileno()), self.blocks.fd)

            pid = keep.enter_context(child(body))
            theirs.close()
            keep.callback(ours.close)
            self.pids.append(pid)
            self.links.append(ours)
            self.reports.append(ours.receive())

    def counter(self, counter: counts.SinkCounter) -> int:
        return int(counts.counters(self.blocks)[:, counter].sum())

    def expect(self, **totals: int) -> None:
        """Wait until the totals are these."""
        until(lambda: counts.totals(self.blocks) == totals)


@pytest.fixture
def sinks(keep: ExitStack) -> Callable[..., Sinks]:
    def make(*endpoints: Endpoint, count: int = 1, rows: int = 4, descriptors: int = 2048, **options: Any) -> Sinks:
        return Sinks(keep, endpoints, count, rows, descriptors, **options)

    return make


@pytest.fixture
def client(keep: ExitStack) -> Callable[..., socket.socket]:
    """Connect from an address, and a port if it matters."""

    def connect(target: Endpoint = HERE, source: str = "127.0.0.1", port: int = 0) -> socket.socket:
        sock = keep.enter_context(socket.socket(target.family))
        sock.settimeout(10)
        if port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, port))
        sock.connect(target.sockaddr)
        return sock

    return connect


def test_every_connection_is_accepted_and_known_by_its_source(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """More than one batch of accept(); both sides count the same for each source address."""
    serving = sinks(HERE)
    assert serving.reports == [{"report": "ready"}]
    for number in range(300):
        client(source=f"127.0.0.{1 + number % 2}")
    serving.expect(accepted=300, open=300)
    assert counts.by_source(serving.blocks) == [
        {"source": "127.0.0.1", "accepted": 150, "source_ports": 150},
        {"source": "127.0.0.2", "accepted": 150, "source_ports": 150},
    ]
    assert counts.totals(serving.blocks)["open"] == 300


def test_ends_gather_while_the_clients_drain(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    """One after the other before that; then what ends in the pause after an end is seen together."""
    serving = sinks(HERE, gather_s=2.0)
    clients = [client() for _ in range(5)]
    serving.expect(accepted=5, open=5)
    for left in (4, 3):
        reset(clients.pop())
        serving.expect(accepted=5, open=left)
    serving.links[0].send(do="drain")
    begun_ns = now_ns()
    reset(clients.pop())
    serving.expect(accepted=5, open=2)
    for sock in clients:
        reset(sock)
    serving.expect(accepted=5, open=0)
    assert now_ns() - begun_ns > 2 * 10**9


def test_a_source_port_that_serves_two_targets_is_one_port(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    other = Endpoint("127.0.0.1", 9001)
    serving = sinks(HERE, other)
    client(HERE, port=50000)
    client(other, port=50000)
    client(HERE, port=50001)
    serving.expect(accepted=3, open=3)
    assert counts.by_source(serving.blocks) == [{"source": "127.0.0.1", "accepted": 3, "source_ports": 2}]


def test_ipv6_and_ipv4_side_by_side(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    six = Endpoint("::1", 9000)
    serving = sinks(HERE, six)
    client()
    client(six, source="::1")
    serving.expect(accepted=2, open=2)
    assert [row["source"] for row in counts.by_source(serving.blocks)] == ["127.0.0.1", "::1"]


def test_addresses_beyond_the_table_are_counted_together(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    serving = sinks(HERE, rows=3)
    for number in (1, 2, 3, 4, 4):
        client(source=f"127.0.0.{number}")
    serving.expect(accepted=5, open=5)
    assert [(row["source"], row["accepted"]) for row in counts.by_source(serving.blocks)] == [
        ("127.0.0.1", 1),
        ("127.0.0.2", 1),
        ("others", 3),
    ]


def test_what_is_sent_comes_back(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    serving = sinks(HERE)
    quiet, talking = client(), client()
    for text in (b"hello", b"again"):
        talking.sendall(text)
        assert talking.recv(100) == text
    until(lambda: serving.counter(counts.SinkCounter.ECHOED_BYTES) == 10)
    assert select.select([quiet], [], [], 0)[0] == []


@pytest.mark.lab(net__ipv4__tcp_rmem="4096 16384 65536", net__ipv4__tcp_wmem="4096 16384 65536")
def test_a_client_that_reads_late_gets_every_byte(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """While it does not read, the sink stops reading too: what waits in it stays small."""
    serving = sinks(HERE)
    sock = client()
    data = bytes(range(256)) * 16384  # 4 MiB, many times what all buffers on the way hold
    sock.setblocking(False)
    sent = 0
    while select.select([], [sock], [], 0.25)[1]:
        sent += sock.send(data[sent : sent + 65536])
    assert 0 < sent < len(data) // 2
    received = bytearray()

    def finished() -> bool:
        nonlocal sent
        readable, writable, _ = select.select([sock], [sock] if sent < len(data) else [], [], 1)
        if writable:
            sent += sock.send(data[sent : sent + 65536])
        if readable:
            received.extend(sock.recv(65536))
        return len(received) >= len(data)

    until(finished)
    assert received == data
    until(lambda: serving.counter(counts.SinkCounter.ECHOED_BYTES) == len(data))
    sock.close()
    serving.expect(accepted=1, open=0)


@pytest.mark.lab(net__ipv4__tcp_rmem="4096 16384 65536", net__ipv4__tcp_wmem="4096 16384 65536")
def test_a_client_that_never_reads_can_go_as_it_likes(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """Reset while an echo waits for it: the sink closes its end and serves on."""
    serving = sinks(HERE)
    sock = client()
    sock.setblocking(False)
    while select.select([], [sock], [], 0.25)[1]:
        sock.send(b"x" * 65536)
    reset(sock)
    serving.expect(accepted=1, open=0)
    talking = client()
    talking.sendall(b"still there?")
    assert talking.recv(100) == b"still there?"


@pytest.mark.parametrize("end_with", [socket.socket.close, reset])
def test_a_connection_ends_with_its_client(
    end_with: Callable[[socket.socket], None],
    sinks: Callable[..., Sinks],
    client: Callable[..., socket.socket],
) -> None:
    """FIN or RST; the descriptor is free again, and the count of what was accepted stays."""
    serving = sinks(HERE)
    before = len(os.listdir(f"/proc/{serving.pids[0]}/fd"))
    clients = [client() for _ in range(20)]
    serving.expect(accepted=20, open=20)
    assert len(os.listdir(f"/proc/{serving.pids[0]}/fd")) == before + 20
    for sock in clients[:15]:
        end_with(sock)
    serving.expect(accepted=20, open=5)
    assert len(os.listdir(f"/proc/{serving.pids[0]}/fd")) == before + 5
    assert counts.totals(serving.blocks)["open"] == 5


def test_a_half_closed_client_gets_its_echo_first(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    serving = sinks(HERE)
    sock = client()
    sock.sendall(b"last words")
    sock.shutdown(socket.SHUT_WR)
    received = b""
    while part := sock.recv(100):
        received += part
    assert received == b"last words"
    serving.expect(accepted=1, open=0)


def test_without_descriptors_a_sink_pauses_and_recovers(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """Nobody is turned away: whoever finds no descriptor waits in the accept queue for one."""
    serving = sinks(HERE, descriptors=64)
    free = len(free_numbers(serving.pids[0], 64))
    clients = [client() for _ in range(free + 20)]
    serving.expect(accepted=free, open=free)
    until(lambda: serving.counter(counts.SinkCounter.REFUSED_BY_LIMIT) > 0)
    for sock in clients[:30]:
        sock.close()
    serving.expect(accepted=free + 20, open=free - 10)
    talking = clients[-1]
    talking.sendall(b"patience")
    assert talking.recv(100) == b"patience"


def test_a_paused_sink_takes_new_ones_although_it_is_busy(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """One descriptor has come free and the old clients never stop talking: the one that waits is accepted."""
    serving = sinks(HERE, descriptors=64)
    free = len(free_numbers(serving.pids[0], 64))
    clients = [client() for _ in range(free)]
    serving.expect(accepted=free, open=free)
    client()
    until(lambda: serving.counter(counts.SinkCounter.REFUSED_BY_LIMIT) > 0)
    clients.pop().close()

    def accepted_while_talking() -> bool:
        for sock in clients[:5]:
            sock.sendall(b"x")
            sock.recv(100)
        return counts.totals(serving.blocks)["accepted"] == free + 1

    until(accepted_while_talking, 5)


def test_a_pause_costs_no_cpu(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    """The limit of a sink may be another than its own (ENFILE of the whole host): it looks 20 times a second.

    Here the sink believes in more descriptors than it gets, which is how that looks to it.
    """
    serving = sinks(HERE, descriptors=2048)
    limit = free_numbers(serving.pids[0], 64)[3] + 1  # four more, and no more
    resource.prlimit(serving.pids[0], resource.RLIMIT_NOFILE, (limit, 2048))
    for _ in range(8):
        client()
    serving.expect(accepted=4, open=4)
    until(lambda: serving.counter(counts.SinkCounter.REFUSED_BY_LIMIT) > 0)
    heartbeat = serving.counter(counts.SinkCounter.HEARTBEAT_NS)
    looked = serving.counter(counts.SinkCounter.REFUSED_BY_LIMIT)
    until(lambda: serving.counter(counts.SinkCounter.HEARTBEAT_NS) > heartbeat + 500_000_000)
    passed_s = (serving.counter(counts.SinkCounter.HEARTBEAT_NS) - heartbeat) / 1e9
    assert serving.counter(counts.SinkCounter.REFUSED_BY_LIMIT) - looked <= 20 * passed_s + 2


def test_a_port_in_use_is_said_with_the_remedy(sinks: Callable[..., Sinks], keep: ExitStack) -> None:
    keep.enter_context(listen(HERE))
    serving = sinks(HERE)
    assert serving.reports == [
        {
            "report": "failed",
            "text": "the sink cannot listen on 127.0.0.1:9000: EADDRINUSE; another socket has that port: "
            "choose another, or stop the process that owns it (ss -ltnp)",
        }
    ]
    until(lambda: not alive(serving.pids[0]))


def test_an_absent_address_is_said_with_the_remedy(sinks: Callable[..., Sinks]) -> None:
    (report,) = sinks(Endpoint("10.99.0.1", 9000)).reports
    assert report is not None
    assert report["report"] == "failed"
    assert "is not on this host; add it with: ip address add" in report["text"]


def test_several_processes_share_one_address(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    """The kernel spreads connections by a hash of the four-tuple; together they have each exactly once."""
    serving = sinks(HERE, count=3)
    for _ in range(240):
        client()
    serving.expect(accepted=240, open=240)
    each = counts.counters(serving.blocks)[:, counts.SinkCounter.ACCEPTED].tolist()
    assert min(each) > 40  # 80 expected, with a deviation of 7
    assert counts.by_source(serving.blocks) == [{"source": "127.0.0.1", "accepted": 240, "source_ports": 240}]


@pytest.mark.parametrize("how", ["told", "orchestrator gone"])
def test_a_sink_ends_when_told_and_when_left_alone(
    how: str, sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """Its last counts are in the block by then."""
    serving = sinks(HERE)
    for _ in range(5):
        client()
    serving.expect(accepted=5, open=5)
    if how == "told":
        serving.links[0].send(do="stop")
    else:
        serving.links[0].close()
    until(lambda: not alive(serving.pids[0]))
    assert counts.totals(serving.blocks) == {"accepted": 5, "open": 5}


def test_a_sink_can_tell_65536_sources_apart() -> None:
    """As many as a scenario may name, and a row each for strangers and for all beyond."""
    assert counts.block_dtype(65_538)["addresses"].shape == (65_538,)


def test_a_sink_that_does_not_accept(sinks: Callable[..., Sinks], keep: ExitStack) -> None:
    """Its backlog and one more are connected, and the next one waits; another listener is as ever."""
    there = Endpoint("127.0.0.1", 9001)
    made = sinks(HERE, there, backlogs={HERE: 2}, accept_after_s={HERE: None})
    for _ in range(3):
        keep.enter_context(socket.create_connection((HERE.address, HERE.port), 1))
    with pytest.raises(TimeoutError):
        socket.create_connection((HERE.address, HERE.port), 0.1)
    keep.enter_context(socket.create_connection((there.address, there.port), 1))
    made.expect(accepted=1, open=1)


def test_a_sink_that_accepts_later(sinks: Callable[..., Sinks], keep: ExitStack) -> None:
    """So long after the start of the run, not of the sink."""
    made = sinks(HERE, accept_after_s={HERE: 0.3})
    keep.enter_context(socket.create_connection((HERE.address, HERE.port), 1))
    time.sleep(0.4)
    assert counts.totals(made.blocks) == {"accepted": 0, "open": 0}
    begun = now_ns()
    made.links[0].send(do="start", at_ns=begun)
    made.expect(accepted=1, open=1)
    assert 0.3e9 <= now_ns() - begun < 2e9


def test_a_sink_that_gathers_accepts_all_the_same_and_answers_meanwhile(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """The queue is left alone for an hour after the first connection, which is echoed to nevertheless."""
    serving = sinks(HERE, gather_s=3600.0)
    first = client()
    serving.expect(accepted=1, open=1)
    others = [client() for _ in range(5)]
    first.sendall(b"still there?")
    assert first.recv(100) == b"still there?"
    assert counts.totals(serving.blocks)["accepted"] == 1
    assert len(others) == 5


def test_what_has_gathered_is_accepted_when_the_time_is_up(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    serving = sinks(HERE, gather_s=0.01)
    for _ in range(20):
        client()
    serving.expect(accepted=20, open=20)


def test_a_short_queue_is_emptied_at_once(sinks: Callable[..., Sinks], client: Callable[..., socket.socket]) -> None:
    serving = sinks(HERE, gather_s=3600.0, backlogs={HERE: 100})
    for count in range(1, 4):
        client()
        serving.expect(accepted=count, open=count)


@pytest.mark.parametrize("size", [0, 10])
def test_a_sink_that_closes_first_does_so_after_its_echo(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket], size: int
) -> None:
    """And keeps TIME-WAIT, one for each."""
    serving = sinks(HERE, closes_after=size)
    for _ in range(5):
        sock = client()
        if size:
            sock.sendall(b"x" * 4)
            assert sock.recv(100) == b"x" * 4
            sock.sendall(b"y" * 6)
            assert sock.recv(100) == b"y" * 6
        assert sock.recv(100) == b""
        sock.close()
    serving.expect(accepted=5, open=0)
    assert snmp.read(PROC_NET)["TcpExt.TW"] == 5


def test_a_sink_closes_what_it_holds_when_it_is_told_to(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    """More than one batch of descriptors, and whoever comes later too."""
    serving = sinks(HERE)
    held = [client() for _ in range(30)]
    serving.expect(accepted=30, open=30)
    serving.links[0].send(do="close")
    assert [sock.recv(1) for sock in held] == [b""] * 30
    serving.expect(accepted=30, open=0)
    assert client().recv(1) == b""
    serving.expect(accepted=31, open=0)


def test_a_connection_that_is_used_again_and_again_is_echoed_to_every_time(
    sinks: Callable[..., Sinks], client: Callable[..., socket.socket]
) -> None:
    serving = sinks(HERE)
    sock = client()
    for number in range(100):
        request = bytes([number]) * 16
        sock.sendall(request)
        assert sock.recv(100) == request
    until(lambda: serving.counter(counts.SinkCounter.ECHOED_BYTES) == 1600)
