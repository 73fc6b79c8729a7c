"""How fast sockets are watched: read through INET_DIAG and grouped, while C programs hold connections.

Both ends of every connection are sockets of the namespace, so there are twice as many to read as are held, and
half of them, the outbound ones, to group. All rounds look at the same sockets, which nobody touches meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.cases import Case
from bench.programs import c_clients, c_sinks, last_line
from bench.samples import Watching
from loadgen.errors import LoadgenError
from loadgen.kernel.groups import SocketGroup, group, outbound
from loadgen.kernel.sockdiag import Reader, TcpState


@contextmanager
def held(case: Case) -> Iterator[Reader]:
    """Meanwhile, the C clients hold the connections of the case; a reader to see them with.

    Raises: LoadgenError when a program fails, HostError when the kernel has no INET_DIAG.
    """
    with c_sinks(case), c_clients(case) as (clients, _), Reader() as reader:
        yield reader
        for client in clients:
            last_line(client)  # whoever is killed instead leaves TIME-WAIT behind


def watch(reader: Reader, case: Case) -> Watching:
    """One round: all sockets of the namespace dumped and the outbound ones grouped, each once.

    Raises: LoadgenError when the sockets are not those that are held; HostError as Reader.dump().
    """
    begun = time.perf_counter()
    sockets = reader.dump().sockets
    dumped = time.perf_counter()
    groups = group(outbound(sockets))
    grouped = time.perf_counter()
    check(sockets.size, groups, case)
    return Watching(sockets.size, len(groups), dumped - begun, grouped - dumped)


def check(sockets: int, groups: list[SocketGroup], case: Case) -> None:
    """Raises: LoadgenError unless this is what a namespace has in which the case is held, and nothing else is."""
    wanted = 2 * case.connections + case.sinks  # both ends, and a listener for each sink
    established = sum(one.states.get(TcpState.ESTABLISHED, 0) for one in groups)
    seen = (sockets, established, len(groups))
    if seen != (wanted, case.connections, len(case.sources)):
        raise LoadgenError(
            f"{sockets:,} sockets were read where {wanted:,} are, and {established:,} of {case.connections:,} "
            f"connections found in {len(groups):,} groups, where each of {len(case.sources)} sources is one"
        )
