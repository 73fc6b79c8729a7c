"""Ceilings on new connections per second: ports in TIME-WAIT, and entries of connection tracking. Only with --rate.

The arithmetic is that of `loadgen.capacity.time_wait` and `loadgen.capacity.tracking`.
"""

from __future__ import annotations

from typing import Final

from loadgen.capacity.remedies import ADD_ADDRESS, widest_range
from loadgen.capacity.time_wait import TIME_WAIT_S
from loadgen.capacity.tracking import DEFAULTS_S, timeout_after
from loadgen.doctor.finding import (
    ChangeCommands,
    Grade,
    LimitCheck,
    LimitJudgement,
    Purpose,
    roomy,
    set_sysctl,
)
from loadgen.doctor.ports import per_second, rests_s
from loadgen.doctor.reading import Reading
from loadgen.format import count, rate
from loadgen.model import CloseMode

#: Less than this multiple of the rate is tight: traffic comes in bursts.
_COMFORT: Final = 1.5
_REUSE: Final = "net.ipv4.tcp_tw_reuse"
_CONNTRACK: Final = "net.netfilter.nf_conntrack_"
_ALIVE: Final = "keep connections alive: the ceiling is one on new connections, not on requests"


def _asked(_: Reading, purpose: Purpose) -> bool:
    return purpose.rate_per_s is not None


def _judged(needed_per_s: float, ceiling_per_s: float) -> Grade:
    if needed_per_s > ceiling_per_s:
        return Grade.WALL
    return Grade.TIGHT if needed_per_s * _COMFORT > ceiling_per_s else Grade.GOOD


def _time_wait(host: Reading, purpose: Purpose) -> LimitJudgement:
    wanted = purpose.rate_per_s or 0.0
    if purpose.close is not CloseMode.FIN:
        side = "a reset leaves no TIME-WAIT" if purpose.close is CloseMode.RST else "the other side keeps TIME-WAIT"
        return LimitJudgement(Grade.GOOD, f"no ceiling: {side}")
    ports, buckets = host.usable_ports * purpose.pairs, host.number("net.ipv4.tcp_max_tw_buckets", 1 << 31)
    if buckets < ports:
        return LimitJudgement(Grade.GOOD, f"no ceiling: tcp_max_tw_buckets keeps at most {buckets:,} in TIME-WAIT")
    far, near = (rests_s(host, loopback=loopback) for loopback in (False, True))
    allows = f"{per_second(ports, far)} where connect() chooses the port"
    if near != far:
        allows += f", {per_second(ports, near)} between loopback addresses"
    if far != TIME_WAIT_S:
        allows += f", {per_second(host.usable_ports, TIME_WAIT_S)} for each source address where bind() chooses it"
    ceiling = ports / far if far else float("inf")
    change, gains = _more_per_second(host, purpose, far)
    return LimitJudgement(
        _judged(wanted, ceiling), f"{allows}; {rate(wanted)} wanted", change, 0, f"{gains}; or {_ALIVE}"
    )


def _more_per_second(host: Reading, purpose: Purpose, rests: float) -> tuple[ChangeCommands, str]:
    """Return the change that raises the ceiling most, and what it becomes."""
    if rests == TIME_WAIT_S and host.number("net.ipv4.tcp_timestamps", 1) and host.number(_REUSE, 2) != 1:
        then = rests_s(host.with_sysctl(_REUSE, "1"), loopback=False)
        after = rate(host.usable_ports * purpose.pairs / then) if then else "any number"
        return set_sysctl(_REUSE, 1), f"{after}, to destinations whose TCP has timestamps"
    if not host.number("net.ipv4.tcp_timestamps", 1):
        return set_sysctl("net.ipv4.tcp_timestamps", 1), "tcp_tw_reuse can take ports out of TIME-WAIT"
    widest = widest_range(host.number("net.ipv4.ip_unprivileged_port_start", 1024))
    if len(widest) > len(host.port_range):
        usable = len(widest) - sum(port in widest for port in host.taken_ports)
        change = set_sysctl("net.ipv4.ip_local_port_range", f"{widest.low} {widest.high}")
        return change, rate(usable * purpose.pairs / rests)
    return ChangeCommands((ADD_ADDRESS.format(bits=32),)), "each source address has a ceiling of its own"


time_wait = LimitCheck("rate: ports in TIME-WAIT", lambda host: f"{host.usable_ports:,} ports", _time_wait, _asked)


def _tracking(host: Reading, purpose: Purpose) -> LimitJudgement:
    """A four-tuple has one entry, however often it is used again, so there are never more than four-tuples."""
    limit, count_now = (host.number(f"{_CONNTRACK}{name}") for name in ("max", "count"))
    wanted, name = purpose.rate_per_s or 0.0, timeout_after(purpose.close)
    kept_s = host.number(name) or DEFAULTS_S[name]
    free, tuples = max(limit - count_now, 0), host.usable_ports * purpose.pairs
    if tuples <= free:
        return LimitJudgement(Grade.GOOD, f"no ceiling: {count(tuples)} four-tuples have an entry each at most")
    ceiling = free / kept_s
    sums = f"{count(free)} free entries / {kept_s} s after the close = {rate(ceiling)}; {rate(wanted)} wanted"
    if not host.tracks:
        unknown = "nothing is tracked here now" if host.tracks is False else "not known whether this host tracks"
        return LimitJudgement(Grade.GOOD, f"not in the way, {unknown}; if a rule came to track: {sums}")
    change = set_sysctl(f"{_CONNTRACK}max", max(roomy(int(wanted * _COMFORT * kept_s) + count_now), limit))
    gains = "the entries of closed connections fit"
    shorter = int(free / (wanted * _COMFORT))
    if 0 < shorter < kept_s:
        gains += f"; or {name}={shorter}; or leave the load untracked (nft: notrack in a raw chain)"
    return LimitJudgement(_judged(wanted, ceiling), sums, change, 0, gains)


tracking = LimitCheck(
    "rate: connection tracking",
    lambda host: f"{host.number(f'{_CONNTRACK}max'):,}" if f"{_CONNTRACK}max" in host.sysctls else None,
    _tracking,
    _asked,
)
