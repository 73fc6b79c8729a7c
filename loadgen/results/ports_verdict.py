"""Why a run found no free port: the run itself has them all, they are in TIME-WAIT, or others hold them.

An errno says that a port is not free, not why. A space of ports that was (nearly) full is the wall. One that was not
has its ports elsewhere: in TIME-WAIT if there were enough of those, else with other sockets.
"""

from __future__ import annotations

from typing import Final

from loadgen.capacity.limits import LIMIT_OF_OUTCOME
from loadgen.outcomes import Outcome
from loadgen.results.run_facts import RunFacts
from loadgen.results.schema.run import Confidence

#: A space of four-tuples this full is the wall; a note says where the other ports are.
_NEARLY_FULL: Final = 0.9


def why_no_port(run: RunFacts, wall: str) -> tuple[str, Confidence, dict[str, str]]:
    """Return the limit, how sure it is, and the facts that rule out its neighbours.

    The limit is "blackhole" where most ports are held by attempts that nothing answers.
    """
    failing = [space for space in run.spaces if space.failed and space.capacity]
    if not failing:
        return wall, "likely", {}
    if run.host.missing_sources and not run.established_any:
        refuted = f"{failing[0].name}: 0 of {failing[0].capacity:,} ports in use"
        return "source-address", "likely", {wall: refuted}
    fullest = max(failing, key=lambda space: space.opened / space.capacity)
    waiting = run.waiting // len(failing)
    # loadgen names each port once, so one that is in use before all of them are belongs to another process.
    once = wall == LIMIT_OF_OUTCOME[Outcome.NO_FREE_PORT] and run.plan.strategy.row.names_ports
    in_use = fullest.opened + waiting
    so_full = f"{fullest.name}: {in_use:,} of {fullest.capacity:,} ports in use by this run"
    if in_use >= (1.0 if once else _NEARLY_FULL) * fullest.capacity:
        if waiting > fullest.opened:
            return "blackhole", "likely", {}
        return wall, "certain", {"port-held": so_full}
    missing = fullest.capacity - in_use
    resting = f"{run.time_wait:,} sockets in TIME-WAIT where {missing:,} ports were missing"
    if run.tcp and 2 * run.time_wait >= missing:
        return "time-wait", "likely", {wall: so_full}
    # UDP has no TIME-WAIT; that of others is of TCP's ports.
    return "port-held", "likely", {wall: so_full, **({"time-wait": resting} if run.tcp else {})}
