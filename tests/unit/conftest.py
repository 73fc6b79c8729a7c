"""Snapshots of sockets made by hand, for the tests of watch and of its view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loadgen.kernel.sockdiag import TcpState
from loadgen.model import PortRange
from loadgen.watch.owners import Owned, Owner
from loadgen.watch.snapshot import Bound, Filling, Look
from loadgen.watch.space import Reuse, Room


@pytest.fixture
def filling() -> Callable[..., Filling]:
    """Make a group: `filling(used=95, time_wait=20, source="127.0.0.2")`."""

    def make(used: int = 50, usable: int = 100, time_wait: int = 0, **changes: Any) -> Filling:
        values: dict[str, Any] = {
            "source": "127.0.0.1",
            "destination": "127.0.0.1",
            "destination_port": 9000,
            "states": {TcpState.ESTABLISHED: used - time_wait} | ({TcpState.TIME_WAIT: time_wait} if time_wait else {}),
            "room": Room(used, usable),
            "reused": False,
            "growth_per_s": None,
            "exhausts_in_s": None,
            "owned": Owned((Owner(812, "proxy", used - time_wait),)),
        }
        return Filling(**{**values, **changes})

    return make


@pytest.fixture
def look() -> Callable[..., Look]:
    """Make a look at these groups."""

    def make(*groups: Filling, **changes: Any) -> Look:
        values: dict[str, Any] = {
            "at": "2026-01-31T12:00:00.000Z",
            "t_s": 2.0,
            "ports": PortRange(40_000, 40_099),
            "reserved": 0,
            "listening": 0,
            "usable": 100,
            "reuse": Reuse(2, timestamps=True),
            "bound": Bound(0, (), Owned()),
            "bound_unknown": "",
            "groups": groups,
            "group_count": len(groups),
            "inbound": (),
            "states": {TcpState.ESTABLISHED: 50},
            "counters": {},
            "interrupted": False,
        }
        return Look(**{**values, **changes})

    return make
