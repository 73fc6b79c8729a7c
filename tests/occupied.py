"""What `loadgen occupy` finds and leaves in a namespace of a hundred ports, for the tests of its views."""

from __future__ import annotations

from collections import Counter
from typing import Any

from loadgen.model import Endpoint, PortRange
from loadgen.occupy.account import ports_mask
from loadgen.occupy.affected import Affected, AffectedProcess
from loadgen.occupy.outcome import OccupyOutcome
from loadgen.occupy.prospect import Prospect
from loadgen.occupy.reading import PortReading
from loadgen.occupy.request import OccupyRequest, OccupyWay

TARGET = Endpoint("10.0.0.7", 5432)
BIND = OccupyRequest(leave=5)
CONNECTIONS = OccupyRequest(leave=0, way=OccupyWay.CONNECTIONS, target=TARGET)
TIME_WAIT = OccupyRequest(leave=0, way=OccupyWay.TIME_WAIT, target=TARGET)
SOURCE = OccupyRequest(leave=0, source="10.0.0.5")


def prospect(request: OccupyRequest = BIND, source: str = "", **changes: Any) -> Prospect:
    """Of 100 ports, 2 reserved, 12 with connections of others and 1 with a listener."""
    ports = PortRange(40_000, 40_099)
    in_use = ports_mask(range(40_010, 40_022))
    none = ports_mask()
    reading = PortReading(
        ports=ports,
        reserved=2,
        offered=ports_mask(range(40_002, 40_100)),
        blocked=in_use | ports_mask([40_080]),
        present=none,
        listening=ports_mask([40_080]),
        shared=none if request.target else in_use,
        spared=ports_mask([40_080]) if request.source else none,
        doubtful=none,
        time_wait=none,
    )
    processes = (
        AffectedProcess(pid=4711, command="nginx", outgoing=12, listening=1, accepted=30, bound=0, binds_early=False),
        AffectedProcess(pid=77, command="en\x1bvoy", outgoing=0, listening=0, accepted=0, bound=2, binds_early=True),
    )
    values: dict[str, Any] = {
        "request": request,
        "source": source or request.source,
        "reading": reading,
        "account": reading.account(none, none),
        "affected": Affected(processes, unknown=3, reason="not permitted"),
        "processes": 1,
        "room": 19_872,
        "reused": False,
    }
    return Prospect(**(values | changes))


def outcome(before: Prospect, **changes: Any) -> OccupyOutcome:
    """A whole time, with 40 connections of others beside those of loadgen."""
    values: dict[str, Any] = {
        "prospect": before,
        "interrupted": False,
        "held_s": 60.0,
        "held_max": before.to_take,
        "left_min": before.request.leave,
        "left_max": before.request.leave,
        "adjustments": 3,
        "free": before.free,
        "in_time_wait": 0,
        "connects": 0,
        "failures": Counter(),
        "counters": {"Tcp.ActiveOpens": 40},
    }
    return OccupyOutcome(**(values | changes))
