"""How fast sockets are watched: a round that does not see what is held is none."""

import socket
from typing import cast

import numpy as np
import pytest

from bench.cases import WATCH
from bench.watching import watch
from loadgen.errors import LoadgenError
from loadgen.kernel.sockdiag import SOCKET, Dump, Reader, Sockets, TcpState

SMALL = WATCH.small()


def namespace() -> Sockets:
    """What there is while SMALL is held: a listener for each sink, and both ends of every connection."""
    sink = ("127.0.0.1", 9000)
    clients = [(SMALL.sources[number % 4], 20_000 + number // 4) for number in range(SMALL.connections)]
    tuples = [
        *[(TcpState.LISTEN, sink, ("0.0.0.0", 0))] * SMALL.sinks,
        *((TcpState.ESTABLISHED, sink, client) for client in clients),
        *((TcpState.ESTABLISHED, client, sink) for client in clients),
    ]
    rows = np.zeros(len(tuples), SOCKET)
    rows["family"] = socket.AF_INET
    states, sources, destinations = zip(*tuples, strict=True)
    rows["state"] = states
    for name, ends in (("source", sources), ("destination", destinations)):
        rows[name][:, :4] = [list(socket.inet_aton(address)) for address, _ in ends]
        rows[f"{name}_port"] = [port for _, port in ends]
    return rows


class Seen:
    """A reader to which the kernel shows these sockets."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    def dump(self) -> Dump:
        return Dump(self._sockets, interrupted=False)


def reader(sockets: Sockets) -> Reader:
    return cast("Reader", Seen(sockets))


def test_a_round_sees_every_socket_and_a_group_for_each_source() -> None:
    took = watch(reader(namespace()), SMALL)
    assert (took.sockets, took.groups) == (7_502, 4)
    assert took.group_s > 0
    assert took.sockets_per_s == pytest.approx(7_502 / (took.dump_s + took.group_s))


def test_a_socket_that_is_missing_is_no_measurement() -> None:
    with pytest.raises(LoadgenError, match=r"7,501 sockets were read where 7,502 are, and 3,749 of 3,750"):
        watch(reader(namespace()[:-1]), SMALL)


def test_a_connection_in_another_state_is_no_measurement() -> None:
    sockets = namespace()
    sockets["state"][-1] = TcpState.TIME_WAIT
    with pytest.raises(LoadgenError, match=r"3,749 of 3,750 connections found in 4 groups"):
        watch(reader(sockets), SMALL)


def test_a_connection_from_elsewhere_is_no_measurement() -> None:
    sockets = namespace()
    sockets["source"][-1, :4] = (127, 0, 1, 5)
    with pytest.raises(LoadgenError, match=r"found in 5 groups, where each of 4 sources is one"):
        watch(reader(sockets), SMALL)
