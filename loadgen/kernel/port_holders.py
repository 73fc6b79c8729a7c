"""The sockets that keep a listener from its port: other listeners, connections, TIME-WAIT, and sockets that are bound.

A connection takes the port of its own end on its own address; the kernel's automatic choice may have given it one that
a service wants. Whether two sockets could share the port depends on SO_REUSEADDR of both, which the kernel does not
tell.

Sources: bind(2), ip(7), ipv6(7); inet_csk_get_port(), net/ipv4/inet_connection_sock.c; sock_diag(7).
"""

from __future__ import annotations

import socket
from typing import Final

import numpy as np
import numpy.typing as npt

from loadgen.kernel.sockdiag import ALL, MAPPED, Reader, Sockets, TcpState, lists_bound, mask
from loadgen.model import Endpoint

#: Sorts of holders, in the order in which they are told.
LISTENER: Final = "listener"
CONNECTION: Final = "connection"
TIME_WAIT: Final = "time-wait"
BOUND: Final = "bound"
_SORTS: Final = {TcpState.LISTEN: LISTENER, TcpState.TIME_WAIT: TIME_WAIT, TcpState.CLOSE: BOUND}


def holders_of(where: Endpoint) -> dict[str, int]:
    """Return the number of TCP sockets of each sort that have this port on this address, {"connection": 1}.

    where: the address may be 0.0.0.0 or ::, which every other address of the family, for :: of IPv4 too, is in the way
    of. Sockets that are bound and not connected are listed since Linux 6.8.

    Raises: HostError if the kernel does not list sockets.
    """
    with Reader() as reader:
        tables = [reader.dump(ALL, source_port=where.port).sockets]
        if lists_bound():
            bound = reader.dump(mask(TcpState.BOUND)).sockets
            tables.append(bound[bound["source_port"] == where.port])
    return sorted_out(np.concatenate(tables), where.address)


def sorted_out(sockets: Sockets, address: str) -> dict[str, int]:
    """Return the number of sockets of each sort, of those that are in the way on this address."""
    counts = dict.fromkeys((LISTENER, CONNECTION, TIME_WAIT, BOUND), 0)
    for state in sockets["state"][in_the_way(sockets, address)].tolist():
        counts[_SORTS.get(TcpState(state), CONNECTION)] += 1
    return {sort: count for sort, count in counts.items() if count}


def in_the_way(sockets: Sockets, address: str) -> npt.NDArray[np.bool_]:
    """Return a mask of the sockets on this address, on all addresses, or, where it stands for all, on any of them."""
    sources = sockets["source"]
    six = sockets["family"] == socket.AF_INET6
    mapped = six & (sources[:, :12] == list(MAPPED)).all(axis=1)
    everywhere = (sources == 0).all(axis=1) & (six | (sources[:, :4] == 0).all(axis=1))
    if address == "::":
        return np.ones(sockets.size, np.bool_)
    of_four = ~six | mapped
    if address == "0.0.0.0":
        return np.asarray(of_four | everywhere)
    if ":" in address:
        packed = list(socket.inet_pton(socket.AF_INET6, address.partition("%")[0]))
        return np.asarray(six & ((sources == packed).all(axis=1) | everywhere))
    four = list(socket.inet_pton(socket.AF_INET, address))
    same = np.where(mapped, (sources[:, 12:] == four).all(axis=1), ~six & (sources[:, :4] == four).all(axis=1))
    return np.asarray(same | everywhere)
