"""Parameters of a connector: what every engine is made from, and the schedule of its connections.

A schedule says when connections work and when they end: held, held with a heartbeat, or closed and replaced (churn).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from loadgen.model import CloseMode, Endpoint, Heartbeat, Transport


class Then(Enum):
    """The step after a connection's last exchange."""

    HOLD = auto()
    #: It is closed from here.
    CLOSE = auto()
    #: The target closes it first, so TIME-WAIT is on the target's side (RFC 9293 3.10.7.4).
    AWAIT_CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Schedule:
    """The life of an established connection.

    exchanges: made as soon as the connection is established, one after the other.
    then: what follows.
    heartbeat: exchanges of held connections after that; None: there are none.
    open_max: churn only: maximum number of connections open or on their way.
    searched_ports: churn only: ports that the kernel searches before it finds none, see Backoff.
    frees: True if the end of a connection frees its four-tuple at once; in TIME-WAIT it does not.
    """

    exchanges: int = 1
    then: Then = Then.HOLD
    heartbeat: Heartbeat | None = None
    open_max: int | None = None
    searched_ports: int | None = None
    frees: bool = True


def hold(heartbeat: Heartbeat | None = None) -> Schedule:
    """Connections that are held: one exchange each as soon as they are open, or one at every heartbeat."""
    return Schedule(exchanges=0 if heartbeat else 1, heartbeat=heartbeat)


def churn(
    close: CloseMode,
    *,
    exchanges: int,
    open_max: int,
    searched_ports: int,
    transport: Transport = Transport.TCP,
) -> Schedule:
    """Connections that are closed as soon as they have made their exchanges.

    The side that closes first decides what is left. `fin`: loadgen does, and the four-tuple stays in TIME-WAIT here.
    `rst`: loadgen resets, and neither side keeps anything. `target`: loadgen waits for the end of file and closes
    after it, so TIME-WAIT is at the other side, where the next SYN finds it. UDP has no TIME-WAIT.
    """
    return Schedule(
        exchanges=exchanges,
        then=Then.AWAIT_CLOSE if close is CloseMode.TARGET else Then.CLOSE,
        open_max=open_max,
        searched_ports=searched_ports,
        frees=close is not CloseMode.FIN or transport is Transport.UDP,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of every connector, beside its source ports and its recorder.

    pairs: (source, target) of every four-tuple space, in the order the recorder counts them.
    first_pair: where the round robin over the pairs begins.
    order: another order of the pairs instead, without end; None: round robin.
    self_connect: for each pair, True if a connection could meet itself and must be checked.
    close: how connections are closed. timeout_s: how long an attempt, a handshake or an exchange may take.
    in_flight_max: attempts that may wait for an answer at once.
    descriptors: no descriptor (io_uring: no slot) reaches this number; sizes the arrays.
    transport: TCP or UDP. schedule: when connections work and when they end.
    """

    pairs: Sequence[tuple[str, Endpoint]]
    first_pair: int
    self_connect: Sequence[bool]
    close: CloseMode
    timeout_s: float
    in_flight_max: int
    descriptors: int
    schedule: Schedule
    transport: Transport = Transport.TCP
    order: Iterator[int] | None = None
