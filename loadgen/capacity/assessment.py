"""The assessment of a plan: every resource, the limit that is nearest, and whether the plan meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.capacity.demands import second_of
from loadgen.capacity.limits import EVERY_LIMIT, LIMITS
from loadgen.capacity.remedies import Remedy, Situation
from loadgen.capacity.resources import TIME_WAIT_PORTS, TRACKING, Resource, Shortage
from loadgen.errors import CapacityError, HostError
from loadgen.format import rate
from loadgen.kernel.host import HostFacts
from loadgen.model import Churn, Plan, Prediction

#: Resources whose names take a singular verb.
_SINGULAR: Final = ("memory", "connection tracking")
#: Remedies that a refusal names.
_ADVICE_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class _ChurnWords:
    """Words for a resource that churn fills connection by connection, and that rests before it can be used again."""

    full: str
    taken: str
    name: str
    used: str


_FILLED_BY_CHURN: Final = {
    TIME_WAIT_PORTS: _ChurnWords(
        "every port is in TIME-WAIT", "are in use or rest", "TIME-WAIT", "every port has been used once"
    ),
    TRACKING: _ChurnWords("the connection tracking table is full", "are in use or kept", TRACKING, "the table is full"),
}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The demand of a scenario on this host, beside what the host has.

    plan: also where it cannot work. facts: of this host. resources: all of them, in a fixed order. absent: the error
    where source addresses are missing. excused: a run may begin although it meets a limit that it survives.
    absence_excused: it may begin although source addresses are missing.
    """

    plan: Plan
    facts: HostFacts
    resources: tuple[Resource, ...]
    absent: HostError | None
    excused: bool
    absence_excused: bool = False

    @property
    def in_order(self) -> tuple[Resource, ...]:
        """The resources in the order in which their limits are met; those without such a limit come last."""
        return tuple(sorted(self.resources, key=_when))

    @property
    def first(self) -> Resource:
        """The resource whose limit is met first, or would be with more connections."""
        return min(self.resources, key=_when)

    @property
    def possible(self) -> bool:
        """True if the host has enough of every resource."""
        return self.absent is None and not any(resource.short for resource in self.resources)

    @property
    def refusal(self) -> HostError | None:
        """The error with which `loadgen run` refuses to begin; None where it begins."""
        if self.absent and not self.absence_excused:
            return self.absent
        for resource in self.in_order:
            if resource.shortage and not (resource.shortage.excusable and self.excused):
                return self._error(resource, resource.shortage)
        return None

    def _error(self, resource: Resource, shortage: Shortage) -> CapacityError:
        """Return the error of a run for a shortage, with the remedies that gain enough, else with the best."""
        remedies, short = self.remedies_of(resource), self._short(resource)
        best = [remedy for remedy in remedies if (remedy.gain or 0) >= max(short, 1)] or remedies
        advice = [remedy.sentence for remedy in best[:_ADVICE_MAX]] or ["ask for less"]
        if shortage.excusable:
            advice.append("run into the limit with --force")
        return CapacityError(
            shortage.resource, needed=shortage.needed, available=shortage.available, remedy=", or ".join(advice)
        )

    @property
    def remedies(self) -> list[Remedy]:
        """Changes that would move the limit that is met first, the best first."""
        if self.absent:
            return LIMITS["source-address"].remedies(Situation(self.plan, self.facts, self.plan.connections))
        return self.remedies_of(self.first)

    def remedies_of(self, resource: Resource) -> list[Remedy]:
        """Return the changes that would move the limit of one resource, the best first."""
        target = str(self.plan.targets[0].endpoint)
        situation = Situation(
            self.plan,
            self.facts,
            self._short(resource),
            resource=resource.name,
            note=resource.note,
            target=target,
            time_wait=resource.resting,
        )
        return EVERY_LIMIT[resource.limit].remedies(situation)

    def _short(self, resource: Resource) -> int:
        """Return the connections that exceed a resource, as a run will find; in churn of all arrivals.

        TIME-WAIT gives ports back, so what it lets through is the ceiling and not the first pass over the ports.
        """
        plan, churn = self.plan, self.plan.churn
        if churn and resource.name == TIME_WAIT_PORTS:
            most = plan.ceiling.established if plan.ceiling else None
            return max((churn.arrivals or 0) - (most or 0), 0)
        arrivals = churn.arrivals if churn and resource.name in _FILLED_BY_CHURN else None
        return max((arrivals or plan.connections) - (resource.at or 0), 0)

    def insist(self) -> Plan:
        """Return the plan of a run. Raises: HostError, CapacityError where there is a `refusal`."""
        if self.refusal:
            raise self.refusal
        return self.plan

    @property
    def prediction(self) -> Prediction:
        """The limit that a run is expected to meet, and after how many connections.

        With missing sources any number of the others' connections may open.
        """
        first = self.first
        if self.absent:
            return Prediction("source-address", "source addresses", 0, None, False, self.plan.connections)
        at = first.at or 0
        at_s = second_of(self.plan, at) if first.short and not self.possible else None
        return Prediction(first.limit, first.name, at, at_s, not first.short, first.slack)

    @property
    def verdict(self) -> str:
        """One sentence: possible or not, the first limit, and where it is."""
        first, plan = self.first, self.plan
        if self.absent:
            return f"impossible: {self.absent}"
        if plan.churn and first.name in _FILLED_BY_CHURN:
            return self._churn_verdict(_FILLED_BY_CHURN[first.name], plan.churn)
        asked, name = f"{plan.connections:,}", first.name.removesuffix(", bytes")
        at_a_time = " at a time" if plan.churn else ""
        if not first.short:
            open_loop = plan.churn is not None and plan.churn.arrivals is not None
            asks = f"at most {asked} are open" if open_loop else f"you ask for {asked}"
            return f"possible; the first limit would be {name} at {first.at:,} connections{at_a_time} ({asks})"
        if not first.at and first.shortage:
            return f"impossible: {self._error(first, first.shortage)}"
        at_s = self.prediction.at_s
        when = f", in second {at_s:,.1f}" if at_s is not None else ""
        ends = "ends" if name in _SINGULAR else "end"
        return f"impossible: {name} {ends} at {first.at:,} of {asked} connections{at_a_time}{when}"

    def _churn_verdict(self, table: _ChurnWords, churn: Churn) -> str:
        first = self.first
        assert first.per_s is not None
        pace = f"{rate(first.per_s)} can go on for ever"
        if first.short:
            return (
                f"impossible: {table.full} after {first.at:,} of {churn.arrivals:,} connections, "
                f"in second {self.prediction.at_s:,.1f}; {pace}"
            )
        if first.needed is not None:
            return (
                f"possible; the first limit would be {first.name}: {first.needed:,} of {first.available:,} "
                f"{table.taken} at a time; {pace}"
            )
        return (
            f"possible; the first limit would be {table.name}: after {first.at:,} connections {table.used}, and {pace}"
        )


def _when(resource: Resource) -> tuple[bool, bool, int]:
    """Return the sort key of a resource: short ones first, then by the connections they allow; those without last."""
    return resource.at is None, not resource.short, resource.at or 0
