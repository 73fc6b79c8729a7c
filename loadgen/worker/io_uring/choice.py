"""What each strategy asks of the kernel, as data: options, an address to bind, and a ring of ports.

The same strategies as in `loadgen.worker.strategies`, where each is a verb on a socket. Here there is no socket
to act on, only submissions to write.
"""

from __future__ import annotations

import socket
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.kernel.abi import IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE
from loadgen.model import PortRange, Strategy
from loadgen.worker.port_ring import PortRing

_REUSEADDR: Final = (socket.SOL_SOCKET, socket.SO_REUSEADDR)
_REUSEPORT: Final = (socket.SOL_SOCKET, socket.SO_REUSEPORT)
_NO_PORT: Final = (socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT)

#: The options that are switched on, as (level, name), before bind().
_OPTIONS: Final = {
    Strategy.KERNEL: (),
    Strategy.BIND: (),
    Strategy.REUSEADDR: (_REUSEADDR,),
    Strategy.LATE: (_REUSEADDR, _NO_PORT),
    Strategy.LATE_RANGE: (_REUSEADDR, _NO_PORT),
    Strategy.EXPLICIT: (_REUSEADDR, _REUSEPORT),
    Strategy.REUSEPORT: (_REUSEPORT,),
    Strategy.EXCLUSIVE: (),
}
_NAMES_PORT: Final = (Strategy.EXPLICIT, Strategy.REUSEPORT, Strategy.EXCLUSIVE)
#: The level and name of the option that `late-range` names its port with.
RANGE_OPTION: Final = (socket.SOL_IP, IP_LOCAL_PORT_RANGE)


@dataclass(frozen=True)
class Choice:
    """How the source port of a new connection is chosen.

    freebind: whether an address that is only routed to this host may be bound, see `loadgen.worker.freebind`.
    options: (level, name) of socket options that are set to 1.
    binds: whether bind() is called; names_port: with a port of ours, else with port 0.
    narrows: whether IP_LOCAL_PORT_RANGE names the port, or the whole of `ports` when none is free.
    asked: what bind() asks for when none is free, so that it is the kernel that says no.
    rings: free ports for each (source, target); empty where the kernel chooses.
    """

    freebind: bool
    options: tuple[tuple[int, int], ...]
    binds: bool
    names_port: bool
    narrows: bool
    ports: PortRange
    asked: int
    rings: Sequence[PortRing]


def choice_for(
    strategy: Strategy,
    sources: Sequence[str],
    ports: PortRange,
    skipped: Container[int] = (),
    *,
    freebind: bool = False,
) -> Choice:
    """The choice of one shard, in TCP and without churn; the arguments are those of `sourceports.strategy_for`."""
    names_port, narrows = strategy in _NAMES_PORT, strategy is Strategy.LATE_RANGE
    per_source = {source: PortRing(ports, skipped) for source in sources} if strategy is Strategy.EXCLUSIVE else {}
    rings = [per_source.get(source) or PortRing(ports, skipped) for source in sources] if names_port or narrows else []
    asked = next((port for port in range(ports.low, ports.high + 1) if port not in skipped), ports.low)
    return Choice(
        freebind=freebind,
        options=_OPTIONS[strategy],
        binds=strategy is not Strategy.KERNEL,
        names_port=names_port,
        narrows=narrows,
        ports=ports,
        asked=asked if names_port else 0,
        rings=rings,
    )
