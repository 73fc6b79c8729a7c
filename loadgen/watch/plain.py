"""A snapshot as JSON; docs/watch.md describes the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from loadgen.kernel.sockdiag import TcpState
from loadgen.watch.owners import Ownership
from loadgen.watch.snapshot import Snapshot, Usage
from loadgen.watch.sources import SourceUsage

SCHEMA: Final = "loadgen.watch/1"
#: Groups shown by default if the output is not a terminal.
TOP: Final = 10
#: Maximum ports of bound sockets, and processes of a group, listed.
_PORTS_NAMED: Final = 100
_OWNERS_NAMED: Final = 10


def as_json(snapshot: Snapshot, top: int) -> Mapping[str, Any]:
    """Return plain values, with at most `top` groups; docs/watch.md describes the keys."""
    return {
        "schema": SCHEMA,
        "at": snapshot.at,
        "t_s": snapshot.t_s,
        "ports": {
            "low": snapshot.ports.low,
            "high": snapshot.ports.high,
            "reserved": snapshot.reserved,
            "listening": snapshot.listening,
            "usable": snapshot.usable,
        },
        "tcp_tw_reuse": snapshot.reuse.setting,
        "states": _named(snapshot.states),
        "group_count": snapshot.group_count,
        "groups": [_usage_json(usage) for usage in snapshot.groups[:top]],
        "sources": [_source_json(one) for one in snapshot.sources[:top]],
        "udp": _udp_json(snapshot, top),
        "inbound": [
            {
                "source": sockets.source,
                "destination": sockets.destination,
                "destination_port": sockets.destination_port,
                "in_use": sockets.in_use,
                "time_wait": sockets.time_wait,
                "states": _named(sockets.states),
            }
            for sockets in snapshot.inbound[:top]
        ],
        "bound": {
            "sockets": snapshot.bound.sockets,
            "ports": list(snapshot.bound.ports[:_PORTS_NAMED]),
            "owners": _owned_json(snapshot.bound.owned),
        }
        if snapshot.bound
        else {"unknown": snapshot.bound_unknown},
        "devices": [{"device": one.device, "vrf": one.vrf, "connections": one.connections} for one in snapshot.devices],
        "counters": snapshot.counters,
        "interrupted": snapshot.interrupted,
    }


def _udp_json(snapshot: Snapshot, top: int) -> Mapping[str, Any] | None:
    if snapshot.udp is not None:
        return {"sources": [_source_json(one) for one in snapshot.udp[:top]]}
    return {"unknown": snapshot.udp_unknown} if snapshot.udp_unknown else None


def _usage_json(usage: Usage) -> Mapping[str, Any]:
    return {
        "source": usage.source,
        "destination": usage.destination,
        "destination_port": usage.destination_port,
        "in_use": usage.in_use,
        "time_wait": usage.time_wait,
        "time_wait_reused": usage.reused,
        "states": _named(usage.states),
        "used": usage.capacity.used,
        "usable": usage.capacity.usable,
        "free": usage.capacity.free,
        "used_share": round(usage.capacity.share, 6),
        "growth_per_s": usage.growth_per_s,
        "exhausts_in_s": usage.exhausts_in_s,
        "owners": None if usage.owned is None else _owned_json(usage.owned),
    }


def _source_json(one: SourceUsage) -> Mapping[str, Any]:
    return {
        "source": one.source,
        "in_use": one.in_use,
        "time_wait": one.time_wait,
        "unconnected": one.unconnected,
        "destinations": one.destinations,
        "used": one.capacity.used,
        "usable": one.capacity.usable,
        "free": one.capacity.free,
        "used_share": round(one.capacity.share, 6),
        "strategy": one.strategy,
        "because": one.because,
        "shown_by": one.shown_by,
        "growth_per_s": one.growth_per_s,
        "exhausts_in_s": one.exhausts_in_s,
        "owners": None if one.owned is None else _owned_json(one.owned),
    }


def _owned_json(owned: Ownership) -> Mapping[str, Any]:
    return {
        "processes": [asdict(owner) for owner in owned.owners[:_OWNERS_NAMED]],
        "unknown": owned.unknown,
        "unknown_because": owned.reason,
    }


def _named(states: Mapping[TcpState, int]) -> dict[str, int]:
    return {state.name: count for state, count in states.items()}
