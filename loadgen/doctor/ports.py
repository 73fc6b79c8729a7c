"""Four-tuples: the number of source ports for one destination, and how soon each can be used again.

Sources: ip-sysctl.rst; tcp(7), ip(7). `loadgen facts` tries out what the sentences claim; docstrings give the
numbers of the facts.
"""

from __future__ import annotations

import math
from typing import Final

from loadgen.capacity.remedies import ADD_ADDRESS, widest_range
from loadgen.capacity.time_wait import TIME_WAIT_S, rest_by_sysctls
from loadgen.doctor.finding import (
    ChangeCommands,
    Grade,
    LimitCheck,
    LimitJudgement,
    Purpose,
    judged,
    more,
    roomy,
    set_sysctl,
    setting,
)
from loadgen.doctor.reading import Reading
from loadgen.format import count, rate
from loadgen.kernel.sysctl import ports_text
from loadgen.model import CloseMode

_RANGE: Final = "net.ipv4.ip_local_port_range"
_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
EACH: Final = "per source address and destination"
#: Before Linux 6.14 and its tcp_tw_reuse_delay.
_DELAY_MS: Final = 1000
#: Maximum number of ports named in a sentence.
_NAMED_MAX: Final = 5


@setting(_RANGE)
def port_range(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Fact 1.1: as many connections to one destination as the range has ports."""
    ports = host.port_range
    widest = widest_range(host.number("net.ipv4.ip_unprivileged_port_start", 1024))
    now, after = len(ports) * purpose.pairs, len(widest) * purpose.pairs
    taken = sum(port in widest for port in host.taken_ports)
    allows = f"{len(ports):,} connections {EACH} ({ports.high:,} - {ports.low:,} + 1)"
    if purpose.pairs > 1:
        allows += f", {now:,} over {purpose.pairs:,} pairs"
    if now < purpose.connections:
        allows += f"; {purpose.connections:,} take {_pairs(purpose, len(ports))}"
    verdict = judged(purpose.connections, now, math.ceil(purpose.connections * 1.1))
    gain = more(purpose.connections, host.usable_ports * purpose.pairs, after - taken * purpose.pairs)
    gains = f"{host.usable_ports:,} become {len(widest) - taken:,} {EACH}"
    if after < purpose.connections:
        addresses = math.ceil(purpose.connections / len(widest))
        gains += f"; {purpose.connections:,} still take {addresses:,} source addresses ({ADD_ADDRESS.format(bits=32)})"
    if len(widest) <= len(ports):
        return LimitJudgement(verdict, f"{allows}; it is as wide as it can be", more_addresses(), 0, gains)
    return LimitJudgement(verdict, allows, set_sysctl(_RANGE, f"{widest.low} {widest.high}"), gain, gains)


def _pairs(purpose: Purpose, ports: int) -> str:
    return f"{math.ceil(purpose.connections / ports):,} source addresses, or as many destinations"


def more_addresses() -> ChangeCommands:
    """Return the command that adds a source address."""
    return ChangeCommands((ADD_ADDRESS.format(bits=32),))


@setting(_RESERVED)
def reserved_ports(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Facts 1.7 and 1.8: left out of automatic choice, and not of bind() with a number."""
    total, held = len(host.port_range), sum(port in host.port_range for port in host.reserved_ports)
    keep = host.sysctls[_RESERVED]
    if listening := ports_text(host.listeners):
        keep = f"{keep},{listening}".strip(",")
    if not held:
        allows = f"all {total:,} ports of the range; it is where to keep the ports of servers out of automatic choice"
        return LimitJudgement(Grade.GOOD, allows, set_sysctl(_RESERVED, keep or "8080,9000-9010"))
    left = total - held
    allows = f"{total:,} - {held:,} = {left:,} ports for automatic choice; strategy explicit may still name the others"
    return _taken_out(purpose, total, left, allows, set_sysctl(_RESERVED, ""), "handing the ports back")


def _listeners_inside(host: Reading) -> list[int]:
    return sorted(port for port in host.listeners if port in host.port_range)


def _listeners(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Facts 4.2 and 1.4: closed to automatic choice on every address; when the server is down one may meet oneself."""
    total, inside = len(host.port_range), _listeners_inside(host)
    udp = sum(port in host.port_range for port in host.udp_ports)
    beside = f"; {count(udp)} UDP sockets without a peer are in the range, of services or of clients" if udp else ""
    unseen = "; a service that does not listen now is not seen, name it with --services"
    if not inside:
        return LimitJudgement(Grade.GOOD, f"no TCP server has one of the {total:,} ports{beside}{unseen}")
    left = total - len(inside)
    allows = f"{total:,} - {len(inside):,} = {left:,} ports for automatic choice, on every address{beside}{unseen}"
    joined = ports_text(host.reserved_ports | set(inside))
    judgement = _taken_out(purpose, total, left, allows, set_sysctl(_RESERVED, joined), "")
    if judgement.verdict is not Grade.GOOD:
        return judgement
    allows += "; while such a server is down, a connect() to it may meet itself"
    return LimitJudgement(
        Grade.TIGHT, allows, judgement.change, 0, "no connection to oneself, nor a server without a port"
    )


listeners = LimitCheck(
    "listeners in the range",
    lambda host: (
        ports_text(_listeners_inside(host)[:_NAMED_MAX]) + ("..." * (len(_listeners_inside(host)) > _NAMED_MAX))
        or "none"
    ),
    _listeners,
)


def _taken_out(
    purpose: Purpose, total: int, left: int, allows: str, change: ChangeCommands, gains: str
) -> LimitJudgement:
    """Judge WALL if the range is too small only for the ports taken out of it; else `port_range` reports it."""
    was_enough = total * purpose.pairs >= purpose.connections
    if was_enough and left * purpose.pairs < purpose.connections:
        gain = more(purpose.connections, left * purpose.pairs, total * purpose.pairs)
        return LimitJudgement(Grade.WALL, allows, change, gain if gains else 0, gains)
    return LimitJudgement(Grade.GOOD, allows, change)


@setting("net.ipv4.ip_unprivileged_port_start")
def unprivileged_start(host: Reading, _: Purpose) -> LimitJudgement:
    """Facts 7.3 and 7.4."""
    start = host.number("net.ipv4.ip_unprivileged_port_start")
    first = max(start, 1)
    allows = f"any user may bind() {65535 - first + 1:,} ports by number, {first:,} to 65,535"
    allows += "; the range may not begin below" if start else ""
    verdict = Grade.TIGHT if start > 1024 else Grade.GOOD
    return LimitJudgement(
        verdict, allows, set_sysctl("net.ipv4.ip_unprivileged_port_start", 1024), 0, "1,024 to 65,535"
    )


@setting("net.ipv4.ip_autobind_reuse")
def autobind_reuse(host: Reading, _: Purpose) -> LimitJudgement:
    """Facts 2.3 and 2.4."""
    change = set_sysctl("net.ipv4.ip_autobind_reuse", 0)
    if host.number("net.ipv4.ip_autobind_reuse"):
        allows = (
            "bind() to port 0 with SO_REUSEADDR shares ports blindly: a second destination reaches a quarter of them"
        )
        return LimitJudgement(Grade.TIGHT, allows, change, 0, "ports are chosen with the destination in mind again")
    allows = "bind() to port 0 shares no port between destinations; late-range and explicit do, and need no setting"
    return LimitJudgement(Grade.GOOD, allows, set_sysctl("net.ipv4.ip_autobind_reuse", 1))


def rests_s(host: Reading, *, loopback: bool) -> float:
    """Return how long a port that connect() chose rests after a close from this side; facts 5.4 to 5.10."""
    return rest_by_sysctls(host.sysctls, loopback=lambda: loopback)[0]


def per_second(ports: int, resting_s: float) -> str:
    """Return the new connections per second that a range sustains if each of its ports rests for this time."""
    if not resting_s:
        return "no ceiling on new connections per second"
    return f"{ports:,} / {resting_s:g} s = {rate(ports / resting_s)}"


@setting("net.ipv4.tcp_tw_reuse")
def tw_reuse(host: Reading, _: Purpose) -> LimitJudgement:
    """Facts 5.4 to 5.6."""
    ports, reuse = host.usable_ports, host.number("net.ipv4.tcp_tw_reuse")
    far, near = (rests_s(host, loopback=loopback) for loopback in (False, True))
    allows = f"{per_second(ports, far)} {EACH} if each is closed here first"
    if near != far:
        allows += f"; between loopback addresses {per_second(ports, near)}"
    change = set_sysctl("net.ipv4.tcp_tw_reuse", 1)
    if reuse == 1 and far != TIME_WAIT_S:
        return LimitJudgement(Grade.GOOD, allows, change)
    if reuse:
        allows += ": without tcp_timestamps it does nothing" if far == near == TIME_WAIT_S else ""
    if reuse == 1:
        gains = "tcp_tw_reuse=1 takes effect"
        return LimitJudgement(Grade.TIGHT, allows, set_sysctl("net.ipv4.tcp_timestamps", 1), 0, gains)
    soon = host.number("net.ipv4.tcp_tw_reuse_delay", _DELAY_MS) / 1000
    then = rate(ports / soon) if soon else "any number"
    with_timestamps = "" if host.number("net.ipv4.tcp_timestamps", 1) else ", with tcp_timestamps=1"
    gains = f"{rate(ports / far)} become {then}{with_timestamps}"
    return LimitJudgement(Grade.TIGHT, allows, change, 0, gains)


@setting("net.ipv4.tcp_tw_reuse_delay")
def tw_reuse_delay(host: Reading, _: Purpose) -> LimitJudgement:
    """Fact 5.7."""
    delay_ms = host.number("net.ipv4.tcp_tw_reuse_delay")
    allows = f"{per_second(host.usable_ports, delay_ms / 1000)} {EACH}, where tcp_tw_reuse allows it at all"
    verdict = Grade.TIGHT if delay_ms > _DELAY_MS else Grade.GOOD
    gains = f"{per_second(host.usable_ports, 0.1)}, where tcp_tw_reuse allows it"
    return LimitJudgement(verdict, allows, set_sysctl("net.ipv4.tcp_tw_reuse_delay", 100), 0, gains)


@setting("net.ipv4.tcp_timestamps")
def timestamps(host: Reading, _: Purpose) -> LimitJudgement:
    """Fact 5.10."""
    change = set_sysctl("net.ipv4.tcp_timestamps", 1)
    if host.number("net.ipv4.tcp_timestamps"):
        return LimitJudgement(
            Grade.GOOD, "a four-tuple can leave TIME-WAIT early; the other end has to have them, too", change
        )
    allows = f"without them nothing leaves TIME-WAIT early: {per_second(host.usable_ports, TIME_WAIT_S)} {EACH}"
    return LimitJudgement(
        Grade.TIGHT, allows, change, 0, "tcp_tw_reuse, and strategy explicit, take ports out of TIME-WAIT"
    )


@setting("net.ipv4.tcp_max_tw_buckets")
def tw_buckets(host: Reading, purpose: Purpose) -> LimitJudgement:
    """Fact 5.12."""
    buckets = host.number("net.ipv4.tcp_max_tw_buckets")
    allows = f"{buckets:,} sockets in TIME-WAIT at once; what is closed beyond that has none of its protection"
    resting = purpose.connections
    if purpose.rate_per_s is not None:
        resting = math.ceil(purpose.rate_per_s * TIME_WAIT_S) if purpose.close is CloseMode.FIN else 0
    over = resting - buckets
    if over > 0:
        allows += f": {over:,} of {resting:,}"
    usual = host.usual_tw_buckets
    if buckets < usual:
        allows += f"; lowered from {usual:,}, which frees no port sooner but for a connection that loses its protection"
    change = set_sysctl("net.ipv4.tcp_max_tw_buckets", max(roomy(max(resting, buckets) + 1), usual))
    gains = "every connection that is closed here first gets its TIME-WAIT"
    return LimitJudgement(Grade.TIGHT if over > 0 or buckets < usual else Grade.GOOD, allows, change, 0, gains)


@setting("net.ipv4.tcp_fin_timeout")
def fin_timeout(host: Reading, _: Purpose) -> LimitJudgement:
    """Fact 5.2; tcp(7)."""
    allows = (
        f"an orphan waits {host.number('net.ipv4.tcp_fin_timeout')} s in FIN-WAIT-2 for the other side's FIN; "
        f"it does NOT shorten TIME-WAIT, which is {TIME_WAIT_S:g} s, and frees no port sooner"
    )
    return LimitJudgement(Grade.GOOD, allows, set_sysctl("net.ipv4.tcp_fin_timeout", 60))


def _time_wait(host: Reading, purpose: Purpose) -> LimitJudgement:
    resting, room = host.sockets.get("tcp_tw", 0), host.usable_ports * purpose.pairs
    if not resting:
        return LimitJudgement(Grade.GOOD, "no four-tuple rests")
    allows = (
        f"these four-tuples rest, for {TIME_WAIT_S:g} s at most, whatever their destinations; the kernel counts "
        "FIN-WAIT-2 without a process among them"
    )
    if room - resting < purpose.connections <= room:
        allows += f"; if all are those of the purpose, {room:,} - {resting:,} = {room - resting:,} are left"
        gain = more(purpose.connections, room - resting, room)
        return LimitJudgement(
            Grade.TIGHT, allows, ChangeCommands((f"sleep {TIME_WAIT_S:g}",)), gain, "they end by themselves"
        )
    return LimitJudgement(Grade.GOOD, allows, ChangeCommands((f"sleep {TIME_WAIT_S:g}",)))


time_wait = LimitCheck("sockets in TIME-WAIT now", lambda host: _counted(host, "tcp_tw"), _time_wait)


def _in_use(host: Reading, _: Purpose) -> LimitJudgement:
    used, anywhere = (
        host.sockets.get("tcp_inuse", 0) + host.sockets.get("tcp6_inuse", 0),
        host.sockets.get("tcp_alloc", 0),
    )
    allows = f"open in this network namespace, listening ones too; {max(anywhere, used):,} in the whole machine"
    return LimitJudgement(Grade.GOOD, allows)


def _counted(host: Reading, *names: str) -> str | None:
    counts = [host.sockets[name] for name in names if name in host.sockets]
    return f"{sum(counts):,}" if counts else None


in_use = LimitCheck("TCP sockets now", lambda host: _counted(host, "tcp_inuse", "tcp6_inuse"), _in_use)
