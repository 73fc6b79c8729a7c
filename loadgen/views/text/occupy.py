"""`loadgen occupy` as text: the notice before, the live line, and the report at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from loadgen.format import count, many, seconds, visible
from loadgen.model import Transport
from loadgen.occupy.request import TIME_WAIT_S, OccupyWay

if TYPE_CHECKING:
    from loadgen.occupy.affected import AffectedProcess
    from loadgen.occupy.occupation import OccupyStatus
    from loadgen.occupy.outcome import OccupyOutcome
    from loadgen.occupy.prospect import Prospect

_PROCESSES_SHOWN: Final = 20


def notice(prospect: Prospect, place: str) -> Iterator[str]:
    """Yield the lines about what will be done, and to whom. place: the namespace, in words."""
    request, reading = prospect.request, prospect.reading
    reserved = f" without {count(reading.reserved)} reserved" if reading.reserved else ""
    yield (
        f"{place} has {many(int(reading.offered.sum()), 'port')} for automatic choice, {reading.ports}{reserved}; "
        f"{count(prospect.free)} of them free {_for_whom(prospect)}"
    )
    yield (
        f"{many(prospect.to_take, 'port')} will be taken for {seconds(request.for_s)} {_how(prospect)}; "
        f"{count(request.leave)} will be left"
    )
    yield f"from then on {_effect(prospect)}"
    if request.leave:
        yield (
            f"they fail while the {count(request.leave)} that are left are in use; about a second later as many are "
            "left again"
        )
    yield from _give_back(prospect)
    if prospect.shared:
        yield (
            f"{many(prospect.shared, 'port')} with connections of other programs, TIME-WAIT included, cannot be taken: "
            "connect() may use each once more, to another destination, and after TIME-WAIT as tcp_tw_reuse permits"
        )
    if prospect.spared:
        yield (
            f"{many(prospect.spared, 'port')} with a listener on another address will not be taken: "
            f"bind({prospect.source}, 0) may get one"
        )
    yield from _whom(prospect)


def _for_whom(prospect: Prospect) -> str:
    request = prospect.request
    if request.way is OccupyWay.BIND:
        return f"for bind() to {prospect.source}" if prospect.source else "for every socket"
    return f"from {prospect.source} to {request.target}"


def _how(prospect: Prospect) -> str:
    request = prospect.request
    if request.way is OccupyWay.BIND:
        address = prospect.source or "all addresses of IPv4 and IPv6"
        return f"by {request.transport.upper()} sockets that are bound on {address} and never connect"
    if request.way is OccupyWay.CONNECTIONS:
        return f"by connections from {prospect.source} to {request.target}, which has to hold as many"
    return f"by TIME-WAIT of connections from {prospect.source} to {request.target}, each closed at once"


def _effect(prospect: Prospect) -> str:
    """Return the calls that will fail; docs/facts.md, 1.1, 2.1, 4.1, 5.9, 11.1, 11.8."""
    request, source = prospect.request, prospect.source
    if request.transport is Transport.UDP:
        early = f"bind({source or 'any address'}, 0) fails with EADDRINUSE"
        return (
            f"connect() and sendto() of UDP sockets without a port fail with EAGAIN, to every destination, and {early}"
        )
    if request.way is OccupyWay.BIND:
        early = f"bind({source or 'any address'}, 0) fails with EADDRINUSE"
        everywhere = ", from every address of the namespace" if source else ""
        return f"connect() without a port fails with EADDRNOTAVAIL, to every destination{everywhere}, and {early}"
    return (
        f"connect() from {source} to {request.target} fails with EADDRNOTAVAIL, and bind({source}, 0), whatever the "
        "destination, with EADDRINUSE; connect() to other destinations goes on"
    )


def _give_back(prospect: Prospect) -> Iterator[str]:
    if prospect.request.can_give_back:
        yield "at the end, on Ctrl-C and when loadgen is killed every port is given back at once"
    else:
        yield from _time_wait(prospect)
    yield "listeners keep their ports; a service that begins to listen on another port of the range may find it taken"


def _time_wait(prospect: Prospect) -> Iterator[str]:
    yield (
        f"no call ends TIME-WAIT: each port stays taken for {TIME_WAIT_S:.0f} s, also when loadgen has ended; none can "
        "be given back earlier, and none released when other programs take some of those that are left"
    )
    if prospect.reused:
        yield (
            "with tcp_tw_reuse as it is here, connect() takes such ports over after tcp_tw_reuse_delay (a second by "
            "default), so it will not fail for longer; use --by connections, or set net.ipv4.tcp_tw_reuse=0 there"
        )


def _whom(prospect: Prospect) -> Iterator[str]:
    affected = prospect.affected
    if not affected.processes and not affected.unknown:
        yield "no process has a socket there now; those that start will find no port"
        return
    yield "it hurts those that have sockets there, and those that start meanwhile:"
    for process in affected.processes[:_PROCESSES_SHOWN]:
        yield f"  {_process(process)}"
    if (more := len(affected.processes) - _PROCESSES_SHOWN) > 0:
        yield f"  and {count(more)} process{'es' * (more != 1)} more"
    if affected.unknown:
        yield f"  and the owners of {many(affected.unknown, 'socket')}, which are unknown ({affected.reason})"


def _process(process: AffectedProcess) -> str:
    parts = [many(process.outgoing, "outgoing connection")]
    parts += [many(process.listening, "listener")] if process.listening else []
    parts += [f"{count(process.accepted)} accepted"] if process.accepted else []
    parts += [f"{count(process.bound)} bound and not connected"] if process.bound else []
    early = "; binds before it connects" if process.binds_early else ""
    return f"{visible(process.command) or '?'}[{process.pid}]: {', '.join(parts)}{early}"


def live(status: OccupyStatus, remains_s: float) -> str:
    """Return the line that is shown while ports are held."""
    return (
        f"holding {many(status.held, 'port')}, {count(status.left)} left, {many(status.adjustments, 'adjustment')}, "
        f"{remains_s:.0f} s to go"
    )


def report(outcome: OccupyOutcome) -> Iterator[str]:
    """Yield the lines about the end."""
    request = outcome.prospect.request
    left = count(outcome.left_min) + ("" if outcome.left_min == outcome.left_max else f" to {count(outcome.left_max)}")
    yield (
        f"{'interrupted: ' if outcome.interrupted else ''}held {many(outcome.held_max, 'port')} for "
        f"{seconds(outcome.held_s)}, {left} left at each look ({count(request.leave)} wanted), "
        f"{many(outcome.adjustments, 'adjustment')}"
    )
    for (syscall, errno), number in sorted(outcome.failures.items()):
        yield f"{many(number, 'connection')} of loadgen to {request.target} failed: {syscall} {errno}"
    if outcome.in_time_wait:
        yield (
            f"{many(outcome.in_time_wait, 'port')} of loadgen stay in TIME-WAIT, the last of them for "
            f"{TIME_WAIT_S:.0f} s; {count(outcome.free)} are free now {_for_whom(outcome.prospect)}"
        )
    else:
        yield f"all given back; {many(outcome.free, 'port')} free now {_for_whom(outcome.prospect)}"
    if request.transport is Transport.TCP:
        fails = outcome.counters.get("Tcp.AttemptFails", 0)
        yield (
            f"meanwhile other programs there found a port for {many(outcome.connects_of_others, 'connection')} "
            f"(Tcp.ActiveOpens without loadgen's); Tcp.AttemptFails of all programs: +{count(fails)}"
        )
    yield (
        "calls that found no port move no counter of the kernel, so their number is not known: look for "
        f"{_errnos(request.transport)} in the logs of the services"
    )


def _errnos(transport: Transport) -> str:
    return "EAGAIN and EADDRINUSE" if transport is Transport.UDP else "EADDRNOTAVAIL and EADDRINUSE"
