"""Facts that are known of a situation on another host, in its own numbers; unknown is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadgen.model import CloseMode, PortRange
from loadgen.strategies import Strategy, Transport


@dataclass(frozen=True, slots=True)
class Circumstances:
    """A situation.

    limit: by name, of the table of limits. fails: (system call, errno) as in `errors` of a summary; None: nothing.
    sources, targets: as the evidence has them ("10.0.0.5", "10.0.0.7:443"); the scenario uses addresses of its lab.
    strategy: None: not known, then that of most programs. source_port: of a client that binds one fixed port.
    ports: ip_local_port_range. reserved: ip_local_reserved_ports. held: ports of the range that
    listeners or bound, unconnected sockets have.
    in_use, time_wait: of the fullest space. wanted: connections that the program tried to have open; None: not known.
    rate_per_s: new connections. churn: whether connections are short. close: which side closes first.
    sysctls: net.* that matter, beside the range. descriptors: of one process. backlog: of the listener (Send-Q).
    service_port: that a service could not bind. nat_ports: of a translation. neighbours: entries that a table has.
    tracked_max: nf_conntrack_max. reason: of `source-address`, by the names of `loadgen.kernel.missing`.
    because: for each field that is known, the place and words it comes from: {"ports": "ticket.txt:3"}; for a single
    setting, where it has a place of its own, "sysctls.net.ipv4.tcp_tw_reuse".
    """

    limit: str
    fails: tuple[str, str] | None = None
    transport: Transport = Transport.TCP
    strategy: Strategy | None = None
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    source_port: int | None = None
    ports: PortRange | None = None
    reserved: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    in_use: int | None = None
    time_wait: int | None = None
    wanted: int | None = None
    rate_per_s: float | None = None
    churn: bool | None = None
    close: CloseMode | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    descriptors: int | None = None
    backlog: int | None = None
    service_port: int | None = None
    nat_ports: int | None = None
    neighbours: int | None = None
    tracked_max: int | None = None
    reason: str = ""
    because: Mapping[str, str] = field(default_factory=dict)
