"""The parts that recipes share: ends, range, settings, strategy, and the words that say where each value comes from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from errno import errorcode
from functools import cached_property
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.limits import LIMIT_OF_OUTCOME
from loadgen.errors import UsageError
from loadgen.kernel import sysctl, sysctl_names
from loadgen.model import Topology
from loadgen.reproduce.circumstances import Circumstances
from loadgen.reproduce.draft import CHOSEN, Draft, Noted
from loadgen.reproduce.ends import Ends, ends_of
from loadgen.reproduce.scaled import DEFAULT_RANGE, PORTS, Scaled, scaled
from loadgen.strategies import TABLE, PortScope, Strategy, Transport, TransportRules

PORT_RANGE: Final = "net.ipv4.ip_local_port_range"
RESERVED_PORTS: Final = "net.ipv4.ip_local_reserved_ports"
_UNPRIVILEGED_PORT: Final = "net.ipv4.ip_unprivileged_port_start"
_BUCKETS: Final = "net.ipv4.tcp_max_tw_buckets"
#: What the recipes set themselves, and what would make a lab of its own fail to start.
_NOT_COPIED: Final = frozenset({PORT_RANGE, RESERVED_PORTS, _UNPRIVILEGED_PORT})
_VALUE: Final = re.compile(r"[0-9]{1,12}( [0-9]{1,12}){0,3}")
_OTHER_ADDRESS: Final = "here an address of the lab"
_BECAUSE_MAX: Final = 200
#: Limits of which the way to connect decides which one it is.
_OF_ONE_OUTCOME: Final = ("four-tuples", "source-ports")
#: Strategies to take where only the end is known: those of most programs first.
_LIKELY: Final = (
    Strategy.KERNEL,
    Strategy.BIND,
    Strategy.LATE,
    Strategy.EXCLUSIVE,
    Strategy.EXPLICIT,
    Strategy.LATE_RANGE,
    Strategy.REUSEADDR,
    Strategy.REUSEPORT,
)


class NotReproducibleError(UsageError):
    """A situation that no lab can rebuild, or that contradicts itself; the message tells what is missing."""


@dataclass(frozen=True)
class Rebuilt:
    """A situation and the lab in which it is to be rebuilt.

    ports: of a scaled range; None: it has nothing to do with ports, so the range of the lab stays as it is.
    """

    circumstances: Circumstances
    full_size: bool = False
    ports: int | None = PORTS
    veth: bool = False
    every_source: bool = False

    def resized(self, ports: int | None) -> Rebuilt:
        """Return the same with another number of ports, or without an interest in them."""
        return replace(self, ports=ports)

    def over_cable(self) -> Rebuilt:
        """Return the same over a cable, unless all addresses were loopback ones."""
        return replace(self, veth=True)

    def alone(self) -> Rebuilt:
        """Return the same with one source and one target."""
        facts = self.circumstances
        return replace(self, circumstances=replace(facts, sources=facts.sources[:1], targets=facts.targets[:1]))

    def with_sources(self, count: int) -> Rebuilt:
        """Return the same over a cable with this number of sources in a row, of the family that they had."""
        ends = self.ends
        first = "198.18.0.2" if ends.version == 4 else "fd00:1::2"
        start = ipaddress.ip_address(first)
        sources = tuple(str(start + offset) for offset in range(count))
        target = "198.19.128.1:9000" if ends.version == 4 else "[fd00:2::1]:9000"
        strategy = self.strategy if self.strategy.row.binds_address else Strategy.LATE
        facts = replace(self.circumstances, sources=sources, targets=(target,), strategy=strategy)
        return replace(self, circumstances=facts, veth=True, every_source=True)

    @cached_property
    def scale(self) -> Scaled:
        """The numbers of the lab."""
        if self.ports is None:
            return Scaled(DEFAULT_RANGE, DEFAULT_RANGE, (), ())
        return scaled(self.circumstances, ports=self.ports, full_size=self.full_size)

    @cached_property
    def ends(self) -> Ends:
        """Sources and targets."""
        return ends_of(
            self.circumstances,
            self.scale,
            veth=self.veth,
            most=self.full_size,
            one_source=not self.strategy.row.binds_address,
            every_source=self.every_source,
        )

    @cached_property
    def strategy(self) -> Strategy:
        """The strategy of the evidence, or a likely one that ends in the same way."""
        return self._strategy[0]

    @property
    def rules(self) -> TransportRules:
        """The rules of the strategy over the transport."""
        return self.strategy.over(self.circumstances.transport)

    @property
    def capacity(self) -> int:
        """Connections that fit, over all sources and targets.

        Raises: NotReproducibleError where no port is usable, unless that is the very situation.
        """
        if not self.scale.usable and self.circumstances.limit != "port-held":
            raise NotReproducibleError(
                f"every port of {self.scale.theirs} is reserved or held, which is limit port-held and not "
                f"{self.circumstances.limit}"
            )
        ends = self.ends
        spaces = {
            PortScope.PAIR: len(ends.sources) * len(ends.targets),
            PortScope.SOURCE: len(ends.sources),
            PortScope.HOST: 1,
        }
        return self.scale.usable * spaces[self.rules.scope]

    @cached_property
    def _strategy(self) -> tuple[Strategy, str]:
        facts, transport = self.circumstances, self.circumstances.transport
        known = facts.strategy
        if known and self._fits(known):
            return known, self.because("strategy")
        several = len(set(facts.sources)) > 1
        for strategy in _LIKELY:
            rules, row = _rules(strategy, transport), strategy.row
            if not rules or not self._fits(strategy):
                continue
            if (several and not row.binds_address) or (facts.source_port and not row.names_ports):
                continue
            way = f"the usual way that ends with {rules.ends_text}"
            if facts.source_port:
                way = f"one fixed source port, which ends with {rules.ends_text}"
            elif several and rules.scope is PortScope.PAIR:
                way = f"several sources, so that something binds them; it ends with {rules.ends_text}"
            return strategy, f"{CHOSEN}: {way}"
        end = fmt.on_one_line(" ".join(facts.fails))[:60] if facts.fails else "any errno"
        raise NotReproducibleError(
            f"no strategy that loadgen has ends with {end} over {transport} at limit {facts.limit}; give the evidence "
            "of one program alone"
        )

    def _fits(self, strategy: Strategy) -> bool:
        """Return True if attempts of this strategy that find no port end as those of the evidence, at its limit."""
        rules, limit = _rules(strategy, self.circumstances.transport), self.circumstances.limit
        if rules is None or (self._port_end and _ends(strategy, self.circumstances.transport) != self._port_end):
            return False
        if limit == "port-search" and not rules.cliff_at:
            return False
        return limit not in _OF_ONE_OUTCOME or LIMIT_OF_OUTCOME[rules.outcome] == limit

    @property
    def _port_end(self) -> tuple[str, str] | None:
        """The end of the evidence, where it is one of a strategy that finds no port."""
        return self.circumstances.fails if self.circumstances.fails in _ENDS else None

    def because(self, field: str, also: str = "", otherwise: str = "") -> str:
        """Return the comment of a value that comes from this field; of one that is not known, that it was chosen.

        also: added to what is known. otherwise: the reason of a choice.
        """
        value = getattr(self.circumstances, field)
        if value is None or value in ((), "", {}):
            return f"{CHOSEN}: {otherwise}" if otherwise else CHOSEN
        place = fmt.on_one_line(self.circumstances.because.get(field, "of the evidence")).strip()
        if len(place) > _BECAUSE_MAX:
            place = f"{place[: _BECAUSE_MAX - 3]}..."
        return f"{place}; {also}" if also else place

    def instead_of(self, now: int, then: int, unit: str) -> str:
        """Return the words for a number that is another one in the lab; "" where it is the same."""
        return "" if now == then else f"{now:,} {unit.removesuffix('s') if now == 1 else unit} instead of {then:,}"

    def draft(self, what: str, *, sink: Mapping[str, object] | bool = True, **of_target: object) -> Draft:
        """Return a scenario with ends, range and settings, and nothing that connects yet.

        what: the first sentence of its description. sink, of_target: of each target.
        """
        draft = Draft([what])
        if self.scale.is_smaller:
            sizes = f"{len(self.scale.ours):,} ports instead of {len(self.scale.theirs):,}"
            draft.about.append(f"Scaled so that it takes seconds: {sizes}, and other counts in proportion.")
        if self.ends.topology is Topology.VETH:
            draft.topology = Noted(
                Topology.VETH.value, "load and sinks apart: loopback addresses have rules of their own"
            )
        draft.sysctls = self._sysctls()
        if self.scale.held:
            count = len(self.scale.held)
            fewer = self.instead_of(count, len(self.circumstances.held), "ports")
            why = self.because("held", fewer, otherwise="half of the range")
            draft.lab["held"] = Noted(sysctl.ports_text(self.scale.held), why)
        draft.sources = self._sources()
        for endpoint in self.ends.targets:
            keys: dict[str, object] = {"address": str(endpoint), "sink": sink, **of_target}
            draft.targets.append(Noted({key: _plain(value) for key, value in keys.items() if value is not False}))
        many = self.instead_of(len(self.ends.targets), self.ends.targets_of, "targets")
        same = {str(endpoint) for endpoint in self.ends.targets} <= set(self.circumstances.targets)
        why = self.because("targets", many or ("" if same else _OTHER_ADDRESS))
        draft.targets[0] = replace(draft.targets[0], why=why)
        if self.circumstances.transport is Transport.UDP:
            draft.keys["transport"] = Noted("udp", self.because("transport"))
        return draft

    def _sources(self) -> dict[str, Noted]:
        facts, ends = self.circumstances, self.ends
        addresses = list(ends.sources)
        many = self.instead_of(len(addresses), ends.sources_of, "sources")
        why = self.because("sources", many or ("" if set(addresses) <= set(facts.sources) else _OTHER_ADDRESS))
        strategy, why_strategy = self._strategy
        sources = {
            "addresses": Noted(addresses[0] if len(addresses) == 1 else addresses, why),
            "strategy": Noted(strategy.value, why_strategy),
        }
        if facts.source_port and strategy.row.names_ports:
            sources["ports"] = Noted(facts.source_port, self.because("source_port"))
        return sources

    def _port_sysctls(self) -> dict[str, Noted]:
        """Return the range, and what is reserved of it, in the order in which a kernel takes them."""
        scale, facts = self.scale, self.circumstances
        made: dict[str, Noted] = {}
        if scale.ours.low < 1024:
            made[_UNPRIVILEGED_PORT] = Noted(scale.ours.low, "without which the range cannot begin here")
        theirs = f"{scale.theirs.low} {scale.theirs.high} there" if scale.is_smaller else ""
        unknown = f"the kernel's default is {scale.theirs.low} {scale.theirs.high}"
        made[PORT_RANGE] = Noted(
            f"{scale.ours.low} {scale.ours.high}", self.because("ports", theirs, otherwise=unknown)
        )
        if scale.reserved:
            count = len({port for port in facts.reserved if port in scale.theirs})
            why = self.because("reserved", self.instead_of(len(scale.reserved), count, "ports"))
            made[RESERVED_PORTS] = Noted(sysctl.ports_text(scale.reserved), why)
        return made

    def _sysctls(self) -> dict[str, Noted]:
        """Return the settings that a lab can have."""
        facts, made = self.circumstances, self._port_sysctls() if self.ports is not None else {}
        for name, value in facts.sysctls.items():
            if (number := lab_value(name, value)) is None:
                continue
            words = ""
            if name == _BUCKETS and self.scale.is_smaller:
                number, words = self.scale.count(int(number)), f"{value} there"
            place = facts.because.get(f"sysctls.{name}") or facts.because.get("sysctls") or "of the evidence"
            made[name] = Noted(number, "; ".join(part for part in (fmt.on_one_line(place), words) if part))
        return made


def require_tcp(rebuilt: Rebuilt) -> None:
    """Check that the situation is about TCP. Raises: NotReproducibleError."""
    if rebuilt.circumstances.transport is not Transport.TCP:
        raise NotReproducibleError(
            f"limit {rebuilt.circumstances.limit} is rebuilt for TCP only, and the evidence is about {Transport.UDP}"
        )


def expect(draft: Draft, rebuilt: Rebuilt, limit: str, *, error: str = "") -> Draft:
    """Add the expectations that only the same error and the same limit meet; return the draft.

    error: as a path below `errors`, "connect.ECONNREFUSED".
    """
    if error:
        draft.expect[f"errors.{error} >= 1"] = rebuilt.because("fails", otherwise="as the limit shows itself")
    draft.expect[f"verdict.limit == {limit}"] = rebuilt.because("limit")
    return draft


def lab_value(name: str, value: str) -> int | str | None:
    """Return the value of a setting as a scenario has it; None for one that a lab does not have or loadgen not know."""
    text = " ".join(value.split())
    lab_only = name.startswith("net.") and name not in _NOT_COPIED and name in sysctl.RELEVANT
    if not lab_only or sysctl_names.is_host_wide(name) or sysctl_names.gone(name) or not _VALUE.fullmatch(text):
        return None
    return int(text) if text.isdecimal() else text


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _rules(strategy: Strategy, transport: Transport) -> TransportRules | None:
    return strategy.row.tcp if transport is Transport.TCP else strategy.row.udp


def _ends(strategy: Strategy, transport: Transport) -> tuple[str, str] | None:
    rules = _rules(strategy, transport)
    return (rules.ends[0].name.lower(), errorcode[rules.ends[1]]) if rules else None


#: (system call, errno) with which attempts end that find no port.
_ENDS: Final = frozenset(
    end for strategy in TABLE for transport in Transport if (end := _ends(strategy, transport)) is not None
)
