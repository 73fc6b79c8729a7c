"""The result: ports that were held, what is free afterwards, and what the kernel counted meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.kernel import snmp
from loadgen.occupy.account import ports_mask
from loadgen.occupy.occupation import Occupation
from loadgen.occupy.prospect import Prospect
from loadgen.occupy.reading import PortReader

#: Of this thread: the main thread may be in another namespace (proc(5)).
_PROC_NET: Final = Path("/proc/thread-self/net")
#: connect() calls that sent a SYN, those of them that failed, accepted connections, four-tuples taken over from
#: TIME-WAIT (RFC 4022; Documentation/networking/snmp_counter.rst). None counts a call that found no port.
COUNTED: Final = ("Tcp.ActiveOpens", "Tcp.AttemptFails", "Tcp.PassiveOpens", "TcpExt.TWRecycled")


@dataclass(frozen=True, slots=True)
class OccupyOutcome:
    """The end of it.

    held_s: from the first look with all ports taken. held_max: most ports held at a time. left_min, left_max: fewest
    and most ports left after a look. free: ports that automatic choice has now. in_time_wait: of those that loadgen
    took, ports that stay in TIME-WAIT. connects: of loadgen. failures: of these, by system call and errno.
    counters: changes of `COUNTED` in the namespace meanwhile, without zeros, of all its programs, loadgen included.
    """

    prospect: Prospect
    interrupted: bool
    held_s: float
    held_max: int
    left_min: int
    left_max: int
    adjustments: int
    free: int
    in_time_wait: int
    connects: int
    failures: Mapping[tuple[str, str], int]
    counters: Mapping[str, int]

    @property
    def connects_of_others(self) -> int:
        """connect() calls of other programs that had a port and sent a SYN."""
        return max(0, self.counters.get("Tcp.ActiveOpens", 0) - self.connects)


def counters() -> dict[str, int]:
    """Return the counters `COUNTED` of the namespace of this thread, those that this kernel has. Raises: OSError."""
    found = snmp.read(_PROC_NET)
    return {name: found[name] for name in COUNTED if name in found}


def after(
    prospect: Prospect,
    occupation: Occupation,
    reader: PortReader,
    before: Mapping[str, int],
    *,
    held_s: float,
    interrupted: bool,
) -> OccupyOutcome:
    """Return the outcome once all ports are given back. before: of `counters`. Raises: HostError, OSError."""
    reading = reader.read()
    return OccupyOutcome(
        prospect=prospect,
        interrupted=interrupted,
        held_s=held_s,
        held_max=occupation.held_max,
        left_min=occupation.left_min,
        left_max=occupation.left_max,
        adjustments=occupation.adjustments,
        free=reading.account(ports_mask(), ports_mask()).left,
        in_time_wait=0 if prospect.request.can_give_back else int((occupation.ours & reading.present).sum()),
        connects=occupation.connects,
        failures=occupation.failures,
        counters=snmp.delta(before, counters()),
    )
