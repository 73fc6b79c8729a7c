"""Snapshots of sockets made by hand, for the tests of watch and of its view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loadgen.kernel.sockdiag import TcpState
from loadgen.model import PortRange
from loadgen.strategies import Transport
from loadgen.watch.owners import Owner, Ownership
from loadgen.watch.snapshot import Bound, Snapshot, Usage
from loadgen.watch.sources import SourceUsage
from loadgen.watch.space import Capacity, Reuse


@pytest.fixture
def usage() -> Callable[..., Usage]:
    """Make a group: `usage(used=95, time_wait=20, source="127.0.0.2")`."""

    def make(used: int = 50, usable: int = 100, time_wait: int = 0, **changes: Any) -> Usage:
        values: dict[str, Any] = {
            "source": "127.0.0.1",
            "destination": "127.0.0.1",
            "destination_port": 9000,
            "states": {TcpState.ESTABLISHED: used - time_wait} | ({TcpState.TIME_WAIT: time_wait} if time_wait else {}),
            "source_ports": used,
            "capacity": Capacity(used, usable),
            "reused": False,
            "growth_per_s": None,
            "exhausts_in_s": None,
            "owned": Ownership((Owner(812, "proxy", used - time_wait),)),
        }
        return Usage(**{**values, **changes})

    return make


@pytest.fixture
def source() -> Callable[..., SourceUsage]:
    """Make a source address: `source(used=95, transport=Transport.UDP)`."""

    def make(used: int = 50, usable: int = 100, **changes: Any) -> SourceUsage:
        values: dict[str, Any] = {
            "transport": Transport.TCP,
            "source": "127.0.0.1",
            "states": {TcpState.ESTABLISHED: used},
            "unconnected": 0,
            "destinations": 9,
            "capacity": Capacity(used, usable),
        }
        return SourceUsage(**{**values, **changes})

    return make


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    """Make a snapshot of these groups."""

    def make(*groups: Usage, **changes: Any) -> Snapshot:
        values: dict[str, Any] = {
            "at": "2026-01-31T12:00:00.000Z",
            "t_s": 2.0,
            "ports": PortRange(40_000, 40_099),
            "reserved": 0,
            "listening": 0,
            "usable": 100,
            "reuse": Reuse(2, timestamps=True),
            "bound": Bound(0, (), Ownership()),
            "bound_unknown": "",
            "groups": groups,
            "group_count": len(groups),
            "inbound": (),
            "states": {TcpState.ESTABLISHED: 50},
            "counters": {},
            "interrupted": False,
        }
        return Snapshot(**{**values, **changes})

    return make
