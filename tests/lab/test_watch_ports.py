"""Who has a port, asked of the kernel; and whether a service could listen on it, held against one that does."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

import pytest

from loadgen.model import Endpoint
from loadgen.strategies import Transport
from loadgen.watch import holders, owners
from loadgen.watch.holders import PortAnswer

from .support import listen

HERE = "127.0.0.1"
pytestmark = pytest.mark.lab("40000 40019", net__ipv4__ip_local_reserved_ports="40003,50000")


def ask(port: int) -> PortAnswer:
    (answer,) = holders.ask([port], owners.scan(10.0, time.monotonic))
    return answer


def could_listen(port: int, *, reuseaddr: bool) -> bool:
    """Try it: a service on all addresses."""
    try:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
            sock.bind(("0.0.0.0", port))
            sock.listen()
    except OSError:
        return False
    return True


def outgoing(keep: ExitStack, *, reuseaddr: bool = False) -> int:
    """Connect, and leave the port to the kernel; return it."""
    target = keep.enter_context(listen(Endpoint(HERE, 9000)))
    sock = keep.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
    sock.connect(target.getsockname())
    return int(sock.getsockname()[1])


def of_tcp(answer: PortAnswer) -> dict[tuple[str, bool], str]:
    return {(one.address, one.reuseaddr): one.refused for one in answer.trials if one.transport == "tcp"}


def test_a_free_port() -> None:
    answer = ask(40_005)
    assert (answer.holders, answer.holder_count, answer.taken) == ((), 0, False)
    assert (answer.in_range, answer.reserved) == (True, False)
    assert of_tcp(answer) == {("0.0.0.0", False): "", ("::", False): ""}
    assert answer.reserve == "sysctl -w net.ipv4.ip_local_reserved_ports=40003,40005,50000"
    assert (ask(40_003).reserved, ask(80).in_range) == (True, False)
    assert could_listen(40_005, reuseaddr=False)


@pytest.mark.parametrize("reuseaddr", [False, True])
def test_the_port_of_an_outgoing_connection(keep: ExitStack, reuseaddr: bool) -> None:
    """A service cannot listen on it, but where both sides set SO_REUSEADDR."""
    port = outgoing(keep, reuseaddr=reuseaddr)
    answer = ask(port)
    (holder,) = answer.holders
    assert (holder.state, holder.source, holder.destination, holder.destination_port) == (
        "ESTABLISHED", HERE, HERE, 9000,
    )  # fmt: skip
    assert (holder.pid, holder.command, holder.unknown) == (os.getpid(), owners.command_of(os.getpid()), "")
    refused = "" if reuseaddr else "EADDRINUSE"
    assert answer.taken
    assert of_tcp(answer)["0.0.0.0", False] == "EADDRINUSE"
    assert of_tcp(answer)["0.0.0.0", True] == of_tcp(answer)["::", True] == refused
    assert could_listen(port, reuseaddr=True) is reuseaddr
    assert not could_listen(port, reuseaddr=False)


def test_a_listener_a_bound_socket_and_udp(keep: ExitStack) -> None:
    keep.enter_context(listen(Endpoint("::1", 9000)))
    bound = keep.enter_context(socket.socket())
    bound.bind(("127.0.0.7", 40_010))
    udp = keep.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    udp.bind(("::ffff:127.0.0.8", 40_010))

    def states(answer: PortAnswer) -> list[tuple[str, str, str]]:
        return [(one.transport, one.state, one.source) for one in answer.holders]

    listener, both = ask(9000), ask(40_010)
    assert states(listener) == [("tcp", "LISTEN", "::1")]
    assert of_tcp(listener)["::", False] == "EADDRINUSE"
    assert states(both) == [("tcp", "BOUND", "127.0.0.7"), ("udp", "OPEN", "127.0.0.8")]
    assert both.taken
    trials = {(one.transport, one.address): one.refused for one in both.trials if not one.reuseaddr}
    assert trials[Transport.UDP, "0.0.0.0"] == "EADDRINUSE"


def test_asking_leaves_no_trace(keep: ExitStack) -> None:
    """Automatic choice gets the port of a connection for another destination afterwards, as before."""
    port = outgoing(keep)
    ask(port)
    other = keep.enter_context(listen(Endpoint(HERE, 9001)))
    found = set()
    for _ in range(19):
        sock = keep.enter_context(socket.socket())
        sock.connect(other.getsockname())
        found.add(sock.getsockname()[1])
    assert port in found


def test_as_json(keep: ExitStack) -> None:
    port = outgoing(keep)
    found = holders.as_json([ask(port)])
    assert found["schema"] == "loadgen.ports/1"
    (one,) = found["ports"]
    assert (one["port"], one["low"], one["high"], one["taken"]) == (port, 40_000, 40_019, True)
    assert one["holders"][0]["pid"] == os.getpid()
    assert one["trials"][0] == {"transport": "tcp", "address": "0.0.0.0", "reuseaddr": False, "refused": "EADDRINUSE"}
