"""TIME-WAIT: how soon a source port serves the same target again, and the churn rate that allows. Pure arithmetic.

The side that sends FIN first keeps the four-tuple in TIME-WAIT for 60 seconds (TCP_TIMEWAIT_LEN,
include/net/tcp.h; tcp_fin_timeout is about FIN-WAIT-2 and does not change it). Whether a new connection
may take the four-tuple over before that is decided in tcp_twsk_unique() (net/ipv4/tcp_ipv4.c), and the
answer depends on who chose the port (`time_wait` in the table of strategies):

- Chosen by connect(): only with TCP timestamps, only as net.ipv4.tcp_tw_reuse allows (0: never, 1: yes,
  2: loopback addresses), and only after net.ipv4.tcp_tw_reuse_delay (Linux 6.14; a second before).
- Named in bind(), with SO_REUSEADDR or SO_REUSEPORT: with timestamps at once, and neither setting is asked.
- Chosen by bind(), or named without either option: never. bind() itself finds the port in use.

A reset leaves no TIME-WAIT, a close by the other side leaves it there, where the next SYN ends it
(RFC 9293 3.6.1). So with N ports that rest L seconds a four-tuple space gives N / L connections per
second for ever, and in T seconds N * T/L, rounded up to whole passes over the ports: the first of them
finds every port rested, and one more begins every L seconds.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from typing import Final

from loadgen.model import Ceiling, Churn, CloseMode, Endpoint, Plan, Transport
from loadgen.strategies import TimeWaitReuse

TIME_WAIT_S: Final = 60.0
#: net.ipv4.tcp_tw_reuse_delay where the kernel has no such setting.
_DELAY_MS: Final = 1000

Sysctls = Mapping[str, str]


def rest_s(plan: Plan, sysctls: Sysctls) -> tuple[float, str]:
    """Return how long a port of this plan rests between two connections to one target, and why.

    sysctls: the settings of the clients' namespace, by their dotted names.
    Returns: seconds, 0.0 where a port serves again at once; and the reason in words.
    """
    reuse = plan.strategy.row.time_wait
    if plan.transport is Transport.UDP:
        return 0.0, "UDP has no TIME-WAIT"
    if plan.close is CloseMode.RST:
        return 0.0, "a reset leaves no TIME-WAIT"
    if plan.close is CloseMode.TARGET:
        return 0.0, "TIME-WAIT stays on the target's side"
    return rest_of(reuse, sysctls, loopback=lambda: all(_is_loopback(*pair) for pair in plan.pairs))


def rest_of(reuse: TimeWaitReuse, sysctls: Sysctls, *, loopback: Callable[[], bool]) -> tuple[float, str]:
    """Return how long a port in TIME-WAIT rests on this side, and why; as `rest_s`.

    reuse: of the strategy. loopback: as in `rest_by_sysctls`.
    """
    if reuse is TimeWaitReuse.AUTOBIND_REUSE:
        reuse = TimeWaitReuse.AT_ONCE if _of(sysctls, "ip_autobind_reuse") == 1 else TimeWaitReuse.NEVER
    if reuse is TimeWaitReuse.NEVER:
        return TIME_WAIT_S, "bind() takes no port out of TIME-WAIT"
    if reuse is TimeWaitReuse.AT_ONCE and _of(sysctls, "tcp_timestamps", 1):
        return 0.0, "a port that bind() names leaves TIME-WAIT at once, whatever tcp_tw_reuse says"
    return rest_by_sysctls(sysctls, loopback=loopback)


def rest_by_sysctls(sysctls: Sysctls, *, loopback: Callable[[], bool]) -> tuple[float, str]:
    """Return how long a port rests that connect() picks, and why; as `rest_s`.

    loopback: whether both ends of every connection are loopback addresses; asked only where it matters.
    """
    if _of(sysctls, "tcp_timestamps", 1) == 0:
        return TIME_WAIT_S, "tcp_timestamps=0, without which nothing leaves TIME-WAIT early"
    setting = _of(sysctls, "tcp_tw_reuse", 2)
    if setting == 0:
        return TIME_WAIT_S, "tcp_tw_reuse=0"
    if setting == 2 and not loopback():
        return TIME_WAIT_S, "tcp_tw_reuse=2 is for loopback addresses only"
    delay_ms = _of(sysctls, "tcp_tw_reuse_delay", _DELAY_MS)
    return delay_ms / 1000, f"tcp_tw_reuse={setting} after {delay_ms:,} ms"


def ceiling(plan: Plan, churn: Churn, sysctls: Sysctls, *, times: int = 1) -> Ceiling:
    """Return the most connections that the ports of a plan carry in churn, in all and per second.

    churn: of the plan. sysctls: as in `rest_s`. times: multiple of the plan's source addresses.
    """
    scheduled = churn.arrivals
    resting_s, reason = rest_s(plan, sysctls)
    ports, spaces = plan.capacity * times, plan.spaces * times
    if not resting_s:
        return Ceiling(None, scheduled, reason)
    buckets = _of(sysctls, "tcp_max_tw_buckets", ports)
    if buckets < ports:
        # What does not fit into the table is never put into it (tcp_time_wait(), net/ipv4/tcp_minisocks.c).
        return Ceiling(
            None, scheduled, f"tcp_max_tw_buckets={buckets:,} keeps at most that number of {ports:,} ports in TIME-WAIT"
        )
    passes = max(math.ceil(churn.duration_s / resting_s), 1)
    established = ports * passes if scheduled is None else min(scheduled, ports * passes)
    many = f"{ports:,} ports" if spaces == 1 else f"{plan.capacity_per_pair:,} ports x {spaces:,}"
    because = f"{many} / {resting_s:g} s: {reason}"
    return Ceiling(_rounded(ports / resting_s), established, because, resting_s)


def _rounded(per_s: float) -> float:
    """Round a rate to thousandths, or a small one, of some per minute, to six digits."""
    return round(per_s, 3) if per_s >= 1 else float(f"{per_s:.6g}")


def came_true(plan: Plan, *, established: int, denied: int, first_denied_s: float | None) -> bool:
    """Return True if a run confirmed the ceiling of its plan: not exceeded, and reached where the ports ran out.

    established, denied: connections, and attempts without a port. first_denied_s: when the ports first
    ran out, which is how long a pass over them takes; None: they never did.

    Without a ceiling the ports must not run out. Some per cent are left for edges: a moment in which
    every port was in use at once, a pass that the end of the run cut off. A port may come back a little
    later than promised, by the granularity of the kernel's timers and of our asking.
    """
    assert plan.churn
    assert plan.ceiling
    per_s, most = plan.ceiling.per_s, plan.ceiling.established
    if per_s is None:
        return denied <= _EDGE * established
    assert most is not None
    if established > most * (1 + _EDGE):
        return False
    if first_denied_s is None:
        return True
    cycle_s = plan.capacity / per_s * _LATER + _ASKING_S
    passes = 1 + math.floor(max(plan.churn.duration_s - first_denied_s, 0.0) / cycle_s)
    return established >= min(plan.capacity * passes, most) * (1 - _CUT_OFF)


_EDGE: Final = 0.02
_CUT_OFF: Final = 0.05
#: The timer wheel lets 60 s become 61.9 at most (LVL_CLK_SHIFT, kernel/time/timer.c).
_LATER: Final = 1.035
_ASKING_S: Final = 0.02


def _of(sysctls: Sysctls, name: str, missing: int = 0) -> int:
    """Return a net.ipv4 setting as a number; `missing` where there is none."""
    text = sysctls.get(f"net.ipv4.{name}", "")
    return int(text) if text.isdecimal() else missing


def _is_loopback(source: str, target: Endpoint) -> bool:
    """Return True if either end is a loopback address (127.0.0.0/8, ::1), which is how the kernel decides."""
    return any(ipaddress.ip_address(address).is_loopback for address in (source, target.address))
