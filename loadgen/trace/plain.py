"""A trace as JSON; docs/trace.md describes the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from loadgen.trace.account import WayAccount
from loadgen.trace.notes import notes_of
from loadgen.trace.run import TraceRecord

SCHEMA: Final = "loadgen.trace/1"


def as_json(
    record: TraceRecord, accounts: Sequence[WayAccount], command: Sequence[str], pid: int | None
) -> Mapping[str, object]:
    """Return plain values; docs/trace.md describes the keys."""
    return {
        "schema": SCHEMA,
        "command": list(command),
        "pid": pid,
        "exit_code": record.exit_code,
        "interrupted": record.interrupted,
        "duration_s": round(record.duration_s, 3),
        "strace": {"version": record.version, "calls": record.follower.calls},
        "connects": [_connect(account) for account in accounts],
        "errors": _failures(record.follower.failures),
        "notes": list(notes_of(record)),
    }


def _connect(account: WayAccount) -> Mapping[str, object]:
    way, ports = account.way, account.ports
    return {
        "command": way.command,
        "pid": way.pid,
        "transport": way.transport.value,
        "strategy": way.strategy.value if way.strategy else None,
        "beside": list(way.beside),
        "calls": list(way.calls),
        "count": way.count,
        "failed": _failures(way.failed),
        "source": way.source,
        "source_port": way.source_port,
        "sources": way.sources,
        "target": way.target,
        "target_port": way.target_port,
        "targets": way.targets,
        "open_max": way.open_max,
        "closed": way.closed,
        "close": way.close.value if way.close else None,
        "capacity": ports.capacity if ports else None,
        "capacity_per": ports.scope.value if ports else None,
        "ports": {"low": ports.ports.low, "high": ports.ports.high} if ports and ports.ports else None,
        "because": ports.because if ports else "",
        "search_long_from": ports.search_long_from if ports else None,
        "ends_with": account.ends_with or None,
        "limit": account.limit or None,
        "unusable": account.unusable or None,
        "time_wait": None
        if account.rest_s is None
        else {"rest_s": account.rest_s, "because": account.rest_because, "per_s": account.churn_per_s},
        "descriptors": account.descriptors or None,
        "remedies": [remedy.to_json() for remedy in account.remedies],
    }


def _failures(failures: Mapping[tuple[str, str], int]) -> list[Mapping[str, object]]:
    return [{"syscall": syscall, "errno": errno, "count": count} for (syscall, errno), count in failures.items()]
