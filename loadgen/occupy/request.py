"""The wish: how many ports to leave, in which way to take the others, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.model import Endpoint, Transport

#: Bounds of the time that ports are held.
FOR_MIN_S, FOR_MAX_S = 1.0, 3600.0
#: Seconds that a closed connection keeps its four-tuple: TCP_TIMEWAIT_LEN, include/net/tcp.h.
TIME_WAIT_S: Final = 60.0


class OccupyWay(StrEnum):
    """The way in which a port is taken.

    bind: by a socket that is bound and never connected, for every destination. connections: by a connection to the
    target, for that destination. time-wait: by the TIME-WAIT of such a connection, which is closed at once.
    """

    BIND = "bind"
    CONNECTIONS = "connections"
    TIME_WAIT = "time-wait"


@dataclass(frozen=True, slots=True)
class OccupyRequest:
    """Ports to leave, and the way to take the others.

    source: an address of the namespace; "": all of them for bind, the one that the kernel picks for a connection.
    target: of every way but bind.
    """

    leave: int
    way: OccupyWay = OccupyWay.BIND
    for_s: float = 60.0
    source: str = ""
    target: Endpoint | None = None
    transport: Transport = Transport.TCP

    @property
    def can_give_back(self) -> bool:
        """False for TIME-WAIT, which no call ends."""
        return self.way is not OccupyWay.TIME_WAIT

    @property
    def destination(self) -> Endpoint:
        """The target of a way that connects. Raises: ValueError for bind."""
        if self.target is None:
            raise ValueError("bind has no target")
        return self.target
