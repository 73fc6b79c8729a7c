"""Where a scenario would run: enter its lab, if it has one, and read there what a plan is made of.

The same for a run and for a plan that is only looked at. All of it happens in the zygote of a fleet, so what was
entered is gone when the fleet is stopped, and nothing is sent to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen.capacity import Allowances, Assessment, assess, sink_endpoints
from loadgen.control import name_resolution
from loadgen.errors import HostError, IncompleteError, LabForbiddenError
from loadgen.kernel import limits
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import Limits
from loadgen.model import Engine, Plan, Transport
from loadgen.processes.fleet import Fleet
from loadgen.scenario import Fallback, Scenario
from loadgen.worker.io_uring import ring as uring

#: Laying a cable takes 0.2 s, 1 s for 65,536 addresses, and 3 s where no two of them are neighbours.
_CABLE_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """What was found.

    scenario: its names pinned to addresses. sources: its source addresses, interface names resolved.
    in_lab: whether there is a namespace of its own. notes: what a reader should know of all that.
    """

    scenario: Scenario
    sources: tuple[str, ...]
    facts: HostFacts
    limits: Limits
    in_lab: bool
    notes: tuple[str, ...]

    def assess(self, *, port_blocking: bool = False, force: bool = False) -> Assessment:
        """What the scenario takes of it; the flags are those of the command line. Raises: as `capacity.assess`."""
        fell_back = self.scenario.lab is not None and not self.in_lab
        allowances = Allowances(in_lab=self.in_lab, port_blocking=port_blocking, extend_sources=fell_back, force=force)
        found = assess(self.scenario, self.sources, self.facts, allowances, self.limits)
        return replace(found, plan=replace(found.plan, notes=(*self.notes, *found.plan.notes)))

    async def require_free(self, fleet: Fleet, plan: Plan) -> None:
        """That nobody listens where a sink of ours will. Raises: HostError with the remedy."""
        if not self.scenario.has_cable:  # where nobody but our sinks can be
            kind = "udp" if plan.transport is Transport.UDP else "sink"
            await fleet.zygote.call(f"loadgen.sink.{kind}:require_free", sink_endpoints(plan))


async def survey(
    fleet: Fleet,
    scenario: Scenario,
    answers: name_resolution.Answers,
    *,
    notice: Callable[[str], None],
    enough: Callable[[], bool] = lambda: False,
) -> Site:
    """Enter the lab and look around.

    answers: what the names among the targets stand for. notice: told what is worth a sentence.
    enough: whether to wait no longer.

    Raises: LabForbiddenError where no namespace can be made and the scenario has no fallback; HostError as
        `kernel.host.read` and for names that cannot be pinned; IncompleteError when a process is lost.
    """
    zygote = fleet.zygote
    of_host = limits.of_host()
    in_lab = scenario.lab is not None
    if scenario.lab:
        sysctls = {name: str(value) for name, value in scenario.lab.sysctls.items()}
        try:
            await zygote.call("loadgen.lab.namespace:enter", sysctls, scenario.lab.topology)
        except LabForbiddenError as error:
            if scenario.lab.fallback is not Fallback.HOST:
                raise
            in_lab = False
            notice(f"{error}. Running on the host's own loopback instead.")
    sources = scenario.sources.expanded
    if scenario.sources.interfaces:
        sources += await zygote.call("loadgen.kernel.host:interface_addresses", scenario.sources.interfaces)
    scenario, notes = name_resolution.pin(scenario, answers, sources)
    targets = [target.endpoint for target in scenario.every_target]
    if scenario.has_cable:
        await _lay_cable(fleet, sources, list(dict.fromkeys(target.address for target in targets)), enough)
    transport, freebind = scenario.transport, scenario.sources.freebind
    facts: HostFacts = await zygote.call("loadgen.kernel.host:read", sources, targets, transport, freebind)
    if scenario.engine is Engine.IO_URING:
        facts = replace(facts, no_io_uring=uring.available())
    in_use = await zygote.call("loadgen.kernel.limits:in_use", sources, transport)
    if scenario.lab and not in_lab:
        notes = (f"no namespace here: ran on the host's own loopback with its port range {facts.port_range}", *notes)
    return Site(scenario, tuple(sources), facts, replace(of_host, in_use=in_use), in_lab, notes)


async def _lay_cable(fleet: Fleet, sources: Sequence[str], targets: Sequence[str], enough: Callable[[], bool]) -> None:
    answer = await fleet.ask(
        "loadgen.lab.veth:main",
        sources,
        targets,
        enough=enough,
        timeout_s=_CABLE_TIMEOUT_S,
    )
    if answer is None:
        raise IncompleteError("the process that lays the cable of the lab gave no answer")
    if answer["report"] == "failed":
        raise HostError(answer["text"])
