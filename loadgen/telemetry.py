"""What the kernel counts while a run goes on, in the namespace of the load and in that of the sinks.

/proc/<pid>/net shows the namespace of that process (proc_pid_net(5)), so a process of the run that lives
there is all it takes to look in from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import EINVAL, ENOENT, ESRCH
from pathlib import Path
from typing import Any

from loadgen.kernel import snmp, sockstat
from loadgen.launch.fleet import Fleet
from loadgen.listening import SINK


class Telemetry:
    """Counters since it was made.

    apart: whether the sinks live in a namespace of their own.
    """

    def __init__(self, fleet: Fleet, *, apart: bool) -> None:
        self._fleet, self._apart = fleet, apart
        self._proc_net = Path(f"/proc/{fleet.zygote.pid}/net")
        self._before = snmp.read(self._proc_net)
        there = self._at_the_sinks
        self._before_there = snmp.read(there) if there else {}

    def now(self) -> dict[str, Any]:
        """The clients' namespace, and under "sink" that of the sinks where it is another and one is alive."""
        kernel = _read(self._proc_net, self._before)
        there = self._at_the_sinks
        if kernel and there and (seen := _read(there, self._before_there)):
            kernel["sink"] = seen
        return kernel

    @property
    def _at_the_sinks(self) -> Path | None:
        alive = self._fleet.alive(SINK) if self._apart else []
        return Path(f"/proc/{alive[0].pid}/net") if alive else None


def _read(proc_net: Path, before: Mapping[str, int]) -> dict[str, Any]:
    """The numbers of one namespace, and what changed in it; nothing when the process it is named by is gone."""
    try:
        sockets, counters = sockstat.read(proc_net), snmp.read(proc_net)
    except OSError as error:
        if error.errno not in (ENOENT, EINVAL, ESRCH):
            raise
        return {}
    return {
        "now": {f"sockstat.{name}": sockets[name] for name in ("tcp_inuse", "tcp_tw")},
        "delta": snmp.delta(before, counters),
    }
