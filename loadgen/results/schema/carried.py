"""The shape of the use of connections: `traffic`, `heartbeat` and `churn` of a summary."""

from __future__ import annotations

from typing import Literal

from loadgen.model import Ceiling
from loadgen.results.schema.values import Amount, Count, Shape, TransportName


class TrafficResult(Shape, frozen=True, kw_only=True):
    """Traffic of the connections."""

    transport: TransportName
    """the protocol below"""
    protocol: str
    """name of the protocol; tcp carries nothing"""
    tls: bool
    """whether it was encrypted"""
    handshakes: Count
    """of TLS, done"""
    resumed: Count
    """of these, how many resumed a session"""
    replies: Count
    """right ones"""
    wrong: Count
    """replies that were not the right ones"""
    sent: Count | None = None
    """requests sent; only over UDP"""
    answered: Count | None = None
    """of these, answered in time; only over UDP"""
    lost: Count | None = None
    """of these, without an answer in time; only over UDP"""


class HeartbeatResult(Shape, frozen=True, kw_only=True):
    """Heartbeats of connections that were held."""

    every_s: Amount
    """how often each of them was to send, seconds"""
    connections: Count
    """that beat"""
    sent: Count
    """requests"""
    answered: Count
    """of these, by a right reply"""
    missed: Count
    """beats that were due while the one before had no answer"""
    wrong: Count
    """replies that were not the right ones"""


class ChurnResult(Shape, frozen=True, kw_only=True):
    """Connections opened and closed all the time, and how that compares with what ports allow."""

    loop: Literal["closed", "open"]
    """closed: one begins when another is over; open: they begin on a schedule"""
    duration_s: Amount
    """as planned, seconds"""
    lasted_s: Amount
    """as measured, seconds"""
    concurrency: Count
    """connections open at a time, at most"""
    exchanges: Count
    """of each connection; 0 without a protocol"""
    closed: Count
    """connections that ended as planned"""
    mean_per_s: Amount
    """connections established per second, over all of it"""
    sustained_per_s: Amount
    """connections per second after the ports first ran out; of all of it where they never did"""
    first_denied_s: Amount | None
    """when the ports first ran out, seconds from the start; null: never"""
    ceiling: Ceiling | None
    """the rate that was predicted for the ports"""
    as_predicted: bool | None
    """whether the ceiling came true; null of a run that was cut off, or without a ceiling"""
    recycled: Count
    """sockets taken out of TIME-WAIT for another connection (TcpExt.TWRecycled)"""
    time_waits: Count
    """connections that came to TIME-WAIT, or to FIN-WAIT-2 with their process gone (TcpExt.TW and TWKilled)"""
    overflows: Count
    """sockets that found no room in TIME-WAIT (TcpExt.TCPTimeWaitOverflow)"""
    time_wait_peak: Count
    """the most sockets at once in TIME-WAIT, or in FIN-WAIT-2 with their process gone"""
