"""Ports that services need, against the range that outgoing connections take their ports from.

An outgoing connection on the port of a service keeps it from starting: bind() says EADDRINUSE, for as long as the
connection and its TIME-WAIT last, unless both sides set SO_REUSEADDR. `loadgen facts`, 2.11, tries it out.
"""

from __future__ import annotations

from typing import Final

from loadgen.doctor.finding import Grade, LimitCheck, LimitJudgement, Purpose, set_sysctl
from loadgen.doctor.reading import Reading
from loadgen.kernel.sysctl import ports_text

_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"


def _services(host: Reading, purpose: Purpose) -> LimitJudgement:
    wanted = frozenset(purpose.services)
    open_to_choice = {port for port in wanted if port in host.port_range} - host.reserved_ports
    change = set_sysctl(_RESERVED, ports_text(host.reserved_ports | open_to_choice))
    gains = "no outgoing connection gets them from now on; those that have one now keep it until they end"
    if blocked := wanted & host.connected - host.listeners:
        allows = (
            f"{ports_text(blocked)}: a connection has it now, so a service cannot listen on it unless both set "
            f"SO_REUSEADDR; `loadgen watch {' '.join(f'--port {port}' for port in sorted(blocked))}` says who"
        )
        if open_to_choice:
            return LimitJudgement(Grade.WALL, allows, change, 0, gains)
        return LimitJudgement(Grade.WALL, f"{allows}; it is out of automatic choice, so some program named it")
    if open_to_choice:
        allows = (
            f"{ports_text(open_to_choice)}: inside ip_local_port_range and not reserved, so an outgoing connection may "
            "have it when the service starts, which then finds EADDRINUSE"
        )
        return LimitJudgement(Grade.TIGHT, allows, change, 0, gains)
    return LimitJudgement(Grade.GOOD, f"automatic choice gives {ports_text(wanted)} to no outgoing connection")


services = LimitCheck(
    "ports of services (--services)",
    lambda host: f"range {host.port_range.low}-{host.port_range.high}",
    _services,
    lambda _, purpose: bool(purpose.services),
)
