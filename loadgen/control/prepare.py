"""Prepare the environment of a scenario: enter its lab, if it has one, and read there the facts for a plan.

The same for `run` and for `plan`. All of it happens in the zygote of a fleet, so the lab disappears when the fleet is
stopped. No packet leaves the host.
"""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadgen.capacity import Allowances, Assessment, assess, sink_endpoints
from loadgen.control import name_resolution
from loadgen.errors import HostError, IncompleteError, LabForbiddenError
from loadgen.kernel import limits, sysctl
from loadgen.kernel.host import HostFacts
from loadgen.kernel.limits import HostLimits
from loadgen.model import Endpoint, Engine, Plan, Topology, pairs_of
from loadgen.processes.fleet import Fleet
from loadgen.scenario import Fallback, ScenarioSpec
from loadgen.worker.io_uring import ring as uring

#: Connecting the namespaces takes 0.2 s, 1 s for 65,536 addresses, and 3 s if no two of them are adjacent.
_CABLE_TIMEOUT_S: Final = 60.0
#: The entries of the process that connects them, by topology.
_CABLES: Final = {
    Topology.VETH: "loadgen.lab.veth:main",
    Topology.SEGMENT: "loadgen.lab.segment:main",
    Topology.NAT: "loadgen.lab.nat:main",
}
#: Binding takes some microseconds for each port.
_HOLD_TIMEOUT_S: Final = 30.0
#: Descriptors of a forked process beside the sockets that it is to hold.
_OTHER_DESCRIPTORS: Final = 64

_ONCE: Final = (
    "--once: one connection from each source to each target; the scenario's load and expectations are left out"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """The place where a scenario runs, and its facts.

    scenario: with target names pinned to addresses. sources: its source addresses, with interface names resolved.
    in_lab: True in a namespace of its own. notes: remarks for the reader of the plan.
    """

    scenario: ScenarioSpec
    sources: tuple[str, ...]
    facts: HostFacts
    limits: HostLimits
    in_lab: bool
    notes: tuple[str, ...]

    def assess(self, *, port_blocking: bool = False, force: bool = False) -> Assessment:
        """Compare the scenario's demands with this environment; the flags are those of the command line.

        Raises: HostError, see `capacity.assess`.
        """
        fell_back = self.scenario.lab is not None and not self.in_lab
        allowances = Allowances(in_lab=self.in_lab, port_blocking=port_blocking, extend_sources=fell_back, force=force)
        assessment = assess(self.scenario, self.sources, self.facts, allowances, self.limits)
        return replace(assessment, plan=replace(assessment.plan, notes=(*self.notes, *assessment.plan.notes)))

    def once(self) -> Environment:
        """Return the environment of a smoke test, see `ScenarioSpec.once`."""
        targets = self.scenario.every_target
        binds = self.scenario.sources.strategy.row.binds_address
        pairs = len(pairs_of(self.sources, targets)) if binds else len(targets)
        return replace(self, scenario=self.scenario.once(pairs), notes=(*self.notes, _ONCE))

    async def require_free(self, fleet: Fleet, plan: Plan) -> None:
        """Check that no other socket is bound to the endpoints of the plan's sinks.

        Raises: HostError with the remedy.
        """
        if not self.scenario.has_cable:  # in the sinks' namespace of a veth lab there are no other processes
            await fleet.zygote.call("loadgen.sink.binding:require_free", sink_endpoints(plan), plan.transport)


async def prepare(
    fleet: Fleet,
    scenario: ScenarioSpec,
    answers: name_resolution.ResolvedNames,
    *,
    notice: Callable[[str], None],
    enough: Callable[[], bool] = lambda: False,
) -> Environment:
    """Enter the lab and read its facts.

    answers: the addresses of the targets' host names. notice: called with remarks for the user.
    enough: stop waiting once this returns True.

    Raises: LabForbiddenError if no namespace can be made and the scenario has no fallback; HostError, see
        `kernel.host.read`, and for names that cannot be pinned; IncompleteError if a process is lost.
    """
    zygote = fleet.zygote
    host_limits, of_host = limits.of_host(), sysctl.of_host()
    in_lab = scenario.lab is not None
    remarks: tuple[str, ...] = ()
    if scenario.lab:
        lab = {name: str(value) for name, value in scenario.lab.sysctls.items()}, scenario.lab.topology
        try:
            if scenario.lab.fallback is Fallback.HOST:
                await zygote.call("loadgen.lab.namespace:rehearse", *lab)
            remarks = await zygote.call("loadgen.lab.namespace:enter", *lab)
        except LabForbiddenError as error:
            if scenario.lab.fallback is not Fallback.HOST:
                raise
            in_lab = False
            notice(f"{error}. Running on the host's own loopback instead.")
    sources = scenario.sources.expanded
    if scenario.sources.interfaces:
        sources += await zygote.call("loadgen.kernel.host:interface_addresses", scenario.sources.interfaces)
    scenario, notes = name_resolution.pin(scenario, answers, sources)
    notes = (*remarks, *notes)
    targets = [target.endpoint for target in scenario.every_target]
    of_gateway: dict[str, str] = {}
    if scenario.has_cable:
        addresses = list(dict.fromkeys(target.address for target in targets))
        of_gateway = await _connect_namespaces(fleet, scenario, sources, addresses, enough)
    if in_lab:
        await _furnish(fleet, scenario, enough)
    transport, freebind = scenario.transport, scenario.sources.freebind
    tracks = await zygote.call("loadgen.kernel.conntrack:tracks", sorted({target.family for target in targets}))
    if in_lab and scenario.lab and scenario.lab.tracking_left is not None and scenario.nat is None:
        await _fill_tracking(fleet, scenario.lab.tracking_left, tracks)
    facts: HostFacts = await zygote.call("loadgen.kernel.host:read", sources, targets, transport, freebind)
    if tracks is False and not in_lab and not all(map(_is_loopback, targets)):
        tracks = None  # a rule may be about other interfaces than loopback; a lab has no rules but its own
    if scenario.nat:
        tracks = True  # by the gateway, whose table it is
    on_link = scenario.lab is not None and scenario.lab.topology is Topology.SEGMENT
    sysctls = {**of_host, **facts.sysctls, **of_gateway}
    facts = replace(facts, tracks_connections=tracks, sysctls=sysctls, sources_on_link=on_link)
    if scenario.engine is Engine.IO_URING:
        facts = replace(facts, no_io_uring=uring.available())
    in_use = await zygote.call("loadgen.kernel.limits:in_use", sources, transport)
    bound = await zygote.call("loadgen.kernel.limits:bound", transport)
    if scenario.lab and not in_lab:
        notes = (f"no namespace here: ran on the host's own loopback with its port range {facts.port_range}", *notes)
    return Environment(scenario, tuple(sources), facts, replace(host_limits, in_use=in_use, bound=bound), in_lab, notes)


def _is_loopback(target: Endpoint) -> bool:
    return ipaddress.ip_address(target.address.partition("%")[0]).is_loopback


async def _furnish(fleet: Fleet, scenario: ScenarioSpec, enough: Callable[[], bool]) -> None:
    """Load the rules of a lab, then have its held ports bound."""
    lab = scenario.lab
    assert lab
    for key, text, of_sinks in (("rules", lab.rules, False), ("rules_of_sinks", lab.rules_of_sinks, True)):
        if text:
            await fleet.zygote.call("loadgen.lab.rules:load", f"lab.{key}", text, of_sinks)
    at_once = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _OTHER_DESCRIPTORS, 1)
    for first in range(0, len(lab.held), at_once):
        ports = lab.held[first : first + at_once]
        answer = await fleet.ask(
            "loadgen.lab.held:main", ports, scenario.transport, enough=enough, timeout_s=_HOLD_TIMEOUT_S
        )
        if answer is None:
            raise IncompleteError("the process that holds ports of the lab gave no answer")
        if answer["report"] == "failed":
            raise HostError(f"lab.held: {answer['text']}")


async def _fill_tracking(fleet: Fleet, left: int, tracks: bool | None) -> None:
    """Fill the tracking table of the lab; tracks: whether its rules track connections."""
    if tracks is False:
        raise HostError(
            "lab.tracking_left: nothing in this lab tracks connections; write lab.rules with a rule that does, such as "
            "`ct state established accept`"
        )
    await fleet.zygote.call("loadgen.lab.tracking:fill", left)


async def _connect_namespaces(
    fleet: Fleet, scenario: ScenarioSpec, sources: Sequence[str], targets: Sequence[str], enough: Callable[[], bool]
) -> dict[str, str]:
    """Connect the namespaces of a lab; return the settings of the gateway's connection tracking, {} without one."""
    assert scenario.lab
    how: tuple[object, ...] = (scenario.nat, scenario.lab.tracking_left) if scenario.nat else ()
    entry = _CABLES[scenario.lab.topology]
    answer = await fleet.ask(entry, sources, targets, *how, enough=enough, timeout_s=_CABLE_TIMEOUT_S)
    if answer is None:
        raise IncompleteError("the process that connects the namespaces of the lab gave no answer")
    if answer["report"] == "failed":
        raise HostError(answer["text"])
    settings: dict[str, str] = answer.get("settings", {})
    return settings
