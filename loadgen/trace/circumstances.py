"""From a traced way to the circumstances that a scenario is written from: it connects as the program does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.errors import UsageError
from loadgen.model import CloseMode, Endpoint
from loadgen.reproduce.circumstances import Circumstances
from loadgen.strategies import Transport
from loadgen.trace.account import WayAccount
from loadgen.trace.ways import Way

#: Settings that decide how long a port rests, of those that a scenario may set in its lab.
_SYSCTLS: Final = ("net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_timestamps", "net.ipv4.ip_autobind_reuse")


def main_way(accounts: Sequence[WayAccount]) -> WayAccount:
    """Return the way that a scenario is about: of those with a strategy the one with most connects, TCP first.

    Raises: UsageError if there is none.
    """
    known = [account for account in accounts if account.way.strategy and account.limit]
    if not known:
        raise UsageError("--scenario: no way with a strategy of loadgen was seen, so there is nothing to write")
    return max(known, key=lambda account: (account.way.transport is Transport.TCP, account.way.count))


def of_way(account: WayAccount, sysctls: dict[str, str]) -> Circumstances:
    """Return the circumstances in which a way meets its limit. sysctls: of the traced namespace."""
    way, ports = account.way, account.ports
    assert way.strategy
    assert ports
    who = f"{way.command or 'the program'}[{way.pid}]" if way.pid else way.command or "the program"
    calls = ", ".join(call.partition("(")[0] for call in way.calls)
    syscall, errno = way.strategy.over(way.transport).ends_text.split()
    because = {
        "limit": f"{who}: ends with {account.ends_with}",
        "fails": f"{who}: ends with {account.ends_with}",
        "strategy": f"{who}: {calls}",
        "transport": f"{who}: {calls}",
        "sources": f"{who}: {_call(way, 'bind(') or 'the address of the route'}",
        "targets": f"{who}: {_call(way, 'connect(') or calls}",
        "ports": ports.because,
        "churn": f"{who}: {way.closed:,} of {way.count:,} closed, at most {way.open_max:,} open at once",
        "rate_per_s": f"{who}: {way.count:,} connect() calls in {way.span_s or 0:.3g} s",
        "source_port": f"{who}: bind() names it each time",
        "close": f"{who}: {_CLOSES[way.close] if way.close else ''}",
        "sysctls": "the network namespace of the program",
    }
    churns = bool(way.churns) and way.transport is Transport.TCP
    rate_per_s = (way.count - 1) / way.span_s if churns and way.span_s else None
    if rate_per_s is not None and rate_per_s < (account.churn_per_s or 0):
        rate_per_s = None  # at this rate, under strace, it would go on for ever
    return Circumstances(
        limit=account.limit,
        fails=(syscall, errno),
        transport=way.transport,
        strategy=way.strategy,
        sources=(way.source,) if way.source else (),
        targets=(str(Endpoint(way.target, way.target_port)),) if way.target else (),
        source_port=way.source_port if way.named == 1 and way.count > 1 else None,
        ports=ports.ports,
        rate_per_s=rate_per_s,
        churn=churns if way.churns is not None else None,
        close=way.close,
        sysctls={name: sysctls[name] for name in _SYSCTLS if name in sysctls},
        because=because,
    )


def _call(way: Way, beginning: str) -> str:
    return next((call for call in way.calls if call.startswith(beginning)), "")


_CLOSES: Final = {
    CloseMode.RST: "SO_LINGER 0",
    CloseMode.TARGET: "it had read the end of the data before it closed",
    CloseMode.FIN: "shutdown() before the other side had closed",
}
