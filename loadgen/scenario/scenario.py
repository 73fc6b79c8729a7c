"""The scenario as a whole, and the checks of several keys together."""

from __future__ import annotations

import ipaddress
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Final, cast

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    StrictInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from loadgen import protocols, secret
from loadgen.arrivals import due_within
from loadgen.model import (
    CloseMode,
    Engine,
    LoadProfile,
    Nat,
    PortRange,
    Probe,
    ProbeWhen,
    SinkBehaviour,
    Speaks,
    Stage,
    Target,
    Topology,
    Traffic,
    Transport,
)
from loadgen.scenario import masking, units
from loadgen.scenario.expect import Expectation
from loadgen.scenario.fields import (
    CELLS_MAX,
    CONNECTIONS_MAX,
    DATAGRAM_BYTES_MAX,
    DESCRIPTORS_MAX,
    LOOPBACK,
    NAME,
    PAIRS_MAX,
    PROBES_MAX,
    PROCESSES_MAX,
    REPEAT_MAX,
    SEGMENT_IPV6_MAX,
    TARGETS_MAX,
    VETH_NETWORKS,
    Duration,
    Mistakes,
    Model,
    at_most,
    items,
    name_text,
    refuse,
    within,
    within_networks,
    wrong_at,
)
from loadgen.scenario.profile import IN_LAB, ON_HOST, ProfileSpec, stages_of
from loadgen.scenario.search import FindSpec
from loadgen.scenario.sections import (
    AgentSpec,
    AgentsSpec,
    Arrival,
    ChurnSpec,
    Fallback,
    HeartbeatSpec,
    Lab,
    ProbeSpec,
    Sources,
    TargetSpec,
)
from loadgen.scenario.traffic import TlsSpec, TrafficSpec
from loadgen.scenario.yaml_document import shown
from loadgen.strategies import TABLE

#: The words for both ends of a cable; {} is the topology.
_NOT_VETH: Final = f"a {{}} lab takes addresses of {', '.join(VETH_NETWORKS)}; write one of those"


def _mistakes_of_matrix(matrix: Mapping[str, object]) -> Mistakes:
    """Each key has a list of different values, and there are not too many combinations."""
    lists = []
    for key, values in matrix.items():
        if key.partition(".")[0] in ("matrix", "repeat"):
            yield wrong_at((key,), "a matrix cannot change itself; name another key", "wrong_key")
        if not isinstance(values, list) or not values:
            yield wrong_at((key,), "write a list of values to try, for example [1, 2]")
            continue
        lists.append(values)
        for index, value in enumerate(values):
            if any(json.dumps(value) == json.dumps(other) for other in values[:index]):
                yield wrong_at(
                    (key, index),
                    f"{shown(masking.kept_value(key, value))} is in this list already; delete one of the two",
                )
    if (count := math.prod(map(len, lists))) > CELLS_MAX:
        yield wrong_at((), f"these are {count:,} combinations; write at most {CELLS_MAX}")


@dataclass(frozen=True, slots=True)
class Guests:
    """Connections of other agents to the sinks of one.

    connections: at a time, at most. addresses: source addresses that they come from, as far as they are known.
    """

    connections: int = 0
    addresses: int = 0


class ScenarioSpec(Model):
    """One experiment: connections from sources to targets, at a rate, held for a time; or churn."""

    name: Annotated[str, AfterValidator(name_text), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})] = Field(
        description="names the run directory", examples=["hold-100k"]
    )
    description: str = Field("", description="free text")
    lab: Lab | None = Field(None, description="left out: run on the host itself", examples=[{"topology": "loopback"}])
    sources: Sources = Field(examples=[{"addresses": "127.0.0.2-9"}])
    targets: Annotated[tuple[TargetSpec, ...], AfterValidator(items(TARGETS_MAX))] = Field(
        description="where connections go, in turn", examples=[[{"address": "127.0.0.1:9000"}]]
    )
    connections: StrictInt | None = Field(
        None, ge=1, le=CONNECTIONS_MAX, description="connections to open, all sources together", examples=[100_000]
    )
    churn: ChurnSpec | None = Field(
        None, description="instead of connections: open and close for a duration", examples=[{"duration": "10s"}]
    )
    profile: ProfileSpec | None = Field(
        None,
        description="phases of the load, in place of arrival.ramp, hold and churn.duration",
        examples=[{"init": "2s", "sustain": "10s"}],
    )
    arrival: Arrival | None = Field(
        None, description="left out: as fast as possible", examples=[{"rate": "20000/s", "ramp": "5s"}]
    )
    hold_s: Annotated[Duration, AfterValidator(within("0s", "8760h"))] = Field(
        cast(Any, "0s"),
        alias="hold",
        description="duration all stay open after the last was due",
        examples=["30s"],
    )
    protocol: TrafficSpec = Field(
        cast(Any, "tcp"),
        description="what each connection carries: tcp (nothing), echo, or another, with its options",
        examples=["echo", {"name": "echo", "size": 64}],
    )
    engine: Engine = Field(
        Engine.EPOLL, description="epoll; or io_uring, for what is held in silence: fewer processes, less CPU"
    )
    transport: Transport = Field(Transport.TCP, description="tcp, or udp: connected sockets, one for each connection")
    tls: TlsSpec | None = Field(
        None, description="TLS on every connection, before anything else is sent", examples=[{"alpn": ["h2"]}]
    )
    heartbeat: HeartbeatSpec | None = Field(
        None,
        description="when held connections make an exchange, echo unless protocol says otherwise",
        examples=[{"every": "1s"}],
    )
    timeout_s: Annotated[Duration, AfterValidator(within("1ms", "1h"))] = Field(
        cast(Any, "10s"),
        alias="timeout",
        description="duration one attempt may take",
        examples=["3s"],
    )
    interval_s: Annotated[Duration, AfterValidator(within("50ms", "1m"))] = Field(
        cast(Any, "500ms"),
        alias="interval",
        description="duration between snapshots",
        examples=["1s"],
    )
    close: CloseMode = Field(
        CloseMode.FIN,
        description="fin: loadgen closes first and keeps TIME-WAIT; rst: no side keeps it; target: the other side does",
    )
    in_flight: StrictInt = Field(
        256, ge=1, le=65_536, description="attempts one worker may have unanswered", examples=[256]
    )
    workers: StrictInt | None = Field(
        None,
        ge=1,
        le=PROCESSES_MAX,
        description="worker processes; left out: as many as needed",
        examples=[2],
    )
    sinks: StrictInt | None = Field(
        None, ge=1, le=PROCESSES_MAX, description="sink processes; left out: as many as needed", examples=[2]
    )
    descriptors: StrictInt | None = Field(
        None,
        ge=128,
        le=DESCRIPTORS_MAX,
        description="open files a worker may have; left out: the hard limit",
        examples=[1024],
    )
    probes: Annotated[tuple[ProbeSpec, ...], AfterValidator(at_most(PROBES_MAX))] = Field(
        (), description="experiments beside the load", examples=[[{"name": "other-process", "when": "hold"}]]
    )
    expect: tuple[
        Annotated[Expectation, PlainValidator(Expectation.parse), WithJsonSchema({"type": "string"})], ...
    ] = Field((), description="PATH OP VALUE over summary.json", examples=[["outcomes.failed == 0"]])
    agents: AgentsSpec | None = Field(
        None,
        description="how a run on several hosts is divided; of no effect in a run of one",
        examples=[{"shares": [{"name": "gen-*", "weight": 2}]}],
    )
    matrix: dict[str, tuple[Any, ...]] = Field(
        {},
        description=f"values to try for each of some keys, dotted paths; {CELLS_MAX} combinations at most",
        examples=[{"sources.strategy": ["late", "late-range"]}],
    )
    find: FindSpec | None = Field(
        None,
        description="search for the highest value of one key with which all expectations hold",
        examples=[{"vary": "arrival.rate", "from": "100/s", "to": "20000/s"}],
    )
    repeat: StrictInt = Field(
        1, ge=1, le=REPEAT_MAX, description="how often to run it all, each time in a fresh lab", examples=[3]
    )

    _addresses: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)
    _arrival_carry: float = PrivateAttr(default=0.0)
    _guests: Guests = PrivateAttr(default=Guests())
    _expected_of_whole: tuple[Expectation, ...] = PrivateAttr(default=())

    @field_validator("matrix", mode="before")
    @classmethod
    def _lists_of_values(cls, value: object) -> object:
        if isinstance(value, dict):
            refuse(_mistakes_of_matrix(value))
            # The cells are made of the document; here the values are only to be looked at.
            return {key: [masking.kept_value(key, each) for each in values] for key, values in value.items()}
        return value

    @model_validator(mode="after")
    def _keys_agree(self) -> ScenarioSpec:
        refuse(itertools.chain(self._mistakes(), self._mistakes_of_agents(), self._mistakes_of_listening_agents()))
        return self

    def _mistakes(self) -> Mistakes:
        """Keys that contradict each other on one host."""
        yield from self._mistakes_of_targets()
        yield from self._mistakes_of_probes()
        yield from self._mistakes_of_datagrams()
        yield from self._mistakes_of_engine()
        yield from self._mistakes_of_profile()
        yield from self._mistakes_of_churn() if self.churn else self._mistakes_of_hold()
        yield from self._mistakes_of_cable()
        yield from self._mistakes_of_fallback()

    def _mistakes_of_agents(self) -> Mistakes:
        """Sources and targets of an agent's own fit together, and to the rest of the scenario."""
        own = set(map(str, self._mistakes()))
        for index, spec in enumerate(self.agents.shares if self.agents else ()):
            for mistake in self.with_ends_of(spec)._mistakes():
                if str(mistake) in own:
                    continue
                context = mistake.context or {}
                place = ("agents", "shares", index)
                key = context.get("path", ())[:1]
                if key and getattr(spec, str(key[0]), None) is not None:
                    place = (*place, *context["path"])
                yield wrong_at(place, str(context.get("message", mistake)))

    def _mistakes_of_listening_agents(self) -> Mistakes:
        """Targets where some agents listen for the others are in reach of these, and trusted by them."""
        for index, target in enumerate(self.targets):
            if not target.agents:
                continue
            place = ("targets", index, "sink", "agents")
            if self.lab is not None:
                message = "no agent reaches the lab of another; leave lab out, or write sink: true"
                yield wrong_at(place, message, "wrong_key")
            if target.sink_spec and target.sink_spec.tls and self.tls and self.tls.verify:
                message = "other agents do not know the certificate that this one makes; write tls: {verify: false}"
                yield wrong_at(place, message)
        for index, spec in enumerate(self.agents.shares if self.agents else ()):
            for number, target in enumerate(spec.targets or ()):
                if target.agents:
                    message = "agents that listen for others are named at the targets of all; write it there"
                    own = ("agents", "shares", index, "targets", number, "sink", "agents")
                    yield wrong_at(own, message, "wrong_key")

    def _mistakes_of_targets(self) -> Mistakes:
        """Each port of each target once, not too many of them, and of a family that a source has."""
        seen: dict[tuple[str, int], int] = {}
        versions = {block.version for block in self.sources.blocks}
        for index, target in enumerate(self.targets):
            place, destination = ("targets", index, "address"), target.destination
            host, version = destination.name or destination.address, 6 if ":" in destination.address else 4
            for port in range(destination.ports.low, destination.ports.high + 1):
                if (first := seen.setdefault((host, port), index)) != index:
                    end = replace(destination, ports=PortRange(port, port))
                    yield wrong_at(place, f"{end} is targets.{first} already; delete one of the two")
                    break
                if len(seen) > TARGETS_MAX:
                    yield wrong_at(place, f"these are too many ports; write at most {TARGETS_MAX:,} in all targets")
                    return
            if destination.address and not self.sources.interfaces and version not in versions:
                address = ipaddress.ip_address(destination.address.partition("%")[0])
                allow = (
                    "" if address.is_loopback or self.has_cable else f", and --allow {address}/{address.max_prefixlen}"
                )
                yield wrong_at(place, f"no source address is IPv{version}; add one to sources.addresses{allow}")

        yield from self._mistakes_of_pairs(len(seen))

    def _mistakes_of_pairs(self, targets: int) -> Mistakes:
        """Not more pairs than can be planned and counted."""
        sources = sum(block.count for block in self.sources.blocks)
        if sources * targets > PAIRS_MAX:
            yield wrong_at(
                ("targets",),
                f"{sources:,} source addresses to {targets:,} targets are {sources * targets:,} pairs; write fewer of "
                f"either, at most {PAIRS_MAX:,} pairs",
            )

    def _mistakes_of_fallback(self) -> Mistakes:
        """Where a lab may fall back to the host, every end is a loopback address."""
        if not self.lab or self.lab.fallback is not Fallback.HOST:
            return
        ends = [*self.sources.blocks, *(units.block(address) for _, address in self._literal_targets)]
        if self.sources.interfaces or not all(block.within(LOOPBACK) for block in ends):
            message = "host needs every source and target in 127.0.0.0/8; change them, or write none"
            yield wrong_at(("lab", "fallback"), message)

    def _mistakes_of_datagrams(self) -> Mistakes:
        """UDP has not everything that TCP has."""
        if self.transport is Transport.TCP:
            return
        row = self.sources.strategy.row
        if row.udp is None:
            *others, last = (strategy.value for strategy, row in TABLE.items() if row.udp)
            yield wrong_at(("sources", "strategy"), f"{row.udp_refusal}; write {', '.join(others)} or {last}")
        if self.tls:
            yield wrong_at(("tls",), "TLS goes over TCP; leave tls out, or write transport: tcp", "wrong_key")
        if self.close is not CloseMode.FIN:
            yield wrong_at(("close",), "UDP has no way to close but one; leave close out", "wrong_key")
        if self.probes:
            yield wrong_at(("probes",), "probes make connections of TCP; leave them out", "wrong_key")
        if self.traffic and protocols.needs_stream(self.traffic.protocol):
            yield wrong_at(("protocol",), f"{self.traffic.protocol} goes over TCP; leave transport out")
        size = self.traffic.options.get("size", 0) if self.traffic.protocol == "echo" else 0
        if size > DATAGRAM_BYTES_MAX:
            yield wrong_at(("protocol", "size"), f"a datagram has room for {DATAGRAM_BYTES_MAX:,} bytes; write less")
        for index, spec in enumerate(self.targets):
            for key in ("backlog", "accept", "accept_after_s"):
                if key in spec.model_fields_set:
                    where = ("targets", index, key.removesuffix("_s"))
                    yield wrong_at(where, "UDP accepts nothing; leave it out", "wrong_key")
            behaviour = spec.targets(("::1",))[0].behaviour  # the same at any address
            plain = replace(behaviour, speaks=Speaks.ECHO, drop=0.0) == SinkBehaviour()
            if not plain or behaviour.speaks is Speaks.HTTP:
                message = "a sink of UDP sends back what it gets, or nothing, or drops a share; leave the rest out"
                yield wrong_at(("targets", index), message)

    def _mistakes_of_engine(self) -> Mistakes:
        """io_uring holds connections, and does nothing else with them."""
        if self.engine is Engine.EPOLL:
            return
        written = {
            "churn": self.churn is not None,
            "heartbeat": self.heartbeat is not None,
            "protocol": bool(self.protocol),
            "tls": self.tls is not None,
            "transport": self.transport is not Transport.TCP,
        }
        if keys := " and ".join(key for key, is_written in written.items() if is_written):
            message = f"engine io_uring holds connections that carry nothing; leave {keys} out, or write epoll"
            yield wrong_at(("engine",), message)

    def _mistakes_of_profile(self) -> Mistakes:
        """A profile is the only key that says how long the phases are, and has a rate to rise to where it rises."""
        if self.profile is None:
            return
        arrival, written = self.arrival, self.profile.model_fields_set
        for path, is_written, instead in (
            (("arrival", "stages"), arrival and arrival.written is not None, "the profile makes them of arrival.rate"),
            (("arrival", "ramp"), arrival and "ramp_s" in arrival.model_fields_set, "profile.ramp says it"),
            (("hold",), "hold_s" in self.model_fields_set and not self.churn, "profile.sustain says it"),
            (
                ("churn", "duration"),
                self.churn and self.churn.duration_s is not None,
                "it is the sum of profile.ramp, sustain and ramp_down",
            ),
        ):
            if is_written:
                yield wrong_at(path, f"{instead}; leave {path[-1]} out, or leave profile out", "wrong_key")
        if self.churn:
            return
        if "ramp_s" in written and not arrival:
            message = "there is no rate to rise to; add arrival: {rate: 1000/s}, or leave ramp out"
            yield wrong_at(("profile", "ramp"), message, "wrong_key")
        if "ramp_down_s" in written and self.close is CloseMode.TARGET:
            message = "with close: target the sinks close what is held, all at once; leave ramp_down out"
            yield wrong_at(("profile", "ramp_down"), message, "wrong_key")

    def _mistakes_of_hold(self) -> Mistakes:
        """Connections that are held have a number, and a side that can close them."""
        if self.connections is None:
            message = "connections is missing; add connections: 100000, or churn: {duration: 10s}"
            yield wrong_at(("connections",), message)
        if self.close is CloseMode.TARGET and not all(target.sink for target in self.targets):
            message = "only a sink of ours closes held connections when told to; write sink: true at every target"
            yield wrong_at(("close",), message)

    def _mistakes_of_churn(self) -> Mistakes:
        """Connections in churn are not held."""
        assert self.churn
        for key, is_written, instead in (
            ("connections", self.connections is not None, "churn.concurrency says how many are open at a time"),
            ("hold", "hold_s" in self.model_fields_set, "churn.duration says how long it goes on"),
            ("heartbeat", self.heartbeat is not None, "protocol has each of them send something"),
        ):
            if is_written:
                yield wrong_at((key,), f"{key} is for connections that are held; {instead}", "wrong_key")
        if self.churn.exchanges > 1 and not self.protocol:
            message = "tcp has no exchanges; add protocol: echo, or another, or leave exchanges out"
            yield wrong_at(("churn", "exchanges"), message, "wrong_key")
        for index, probe in enumerate(self.probes):
            if probe.when is ProbeWhen.HOLD:
                yield wrong_at(("probes", index, "when"), "churn holds nothing; write after")
        if not self.profile and self.churn.duration_s is None:
            yield wrong_at(("churn",), 'duration is missing; add duration: "10s"')
        elif self.arrival and (self.arrival.rate_per_s is not None or not self.profile):
            count = due_within(self.stages, self.churn_s)
            if not 1 <= count <= CONNECTIONS_MAX:
                message = f"{count:,} connections are due in that time; write a duration for 1 to {CONNECTIONS_MAX:,}"
                yield wrong_at(("profile", "sustain") if self.profile else ("churn", "duration"), message)

    def _mistakes_of_cable(self) -> Mistakes:
        """Both ends of a cable have addresses of their own, and sinks of loadgen listen at the other."""
        if self.lab is None or not self.has_cable:
            return
        topology = self.lab.topology
        if self.sources.interfaces:
            message = f"a {topology} lab has no interface that you know; write addresses of 198.18.0.0/15"
            yield wrong_at(("sources", "addresses"), message)
        if not all(within_networks(block, VETH_NETWORKS) for block in self.sources.blocks):
            yield wrong_at(("sources", "addresses"), _NOT_VETH.format(topology))
        of_ipv6 = sum(block.count for block in self.sources.blocks if block.version == 6)
        if topology is Topology.SEGMENT and of_ipv6 > SEGMENT_IPV6_MAX:
            message = f"{of_ipv6:,} IPv6 addresses are too many for a segment; write at most {SEGMENT_IPV6_MAX:,}"
            yield wrong_at(("sources", "addresses"), message)
        for index, address in self._literal_targets:
            if reason := self.misfit(address):
                yield wrong_at(("targets", index, "address"), reason)
        for index, target in enumerate(self.targets):
            if not target.sink:
                yield wrong_at(("targets", index), f"nothing else listens in a {topology} lab; write sink: true")
        if self.lab.fallback is not Fallback.NONE:
            yield wrong_at(("lab", "fallback"), "fallback goes with topology loopback only; leave it out", "wrong_key")
        if self.probes:
            yield wrong_at(("probes",), "probes goes with topology loopback only; leave it out", "wrong_key")
        if self.lab.translation:
            ends = [*self.sources.expanded, *(address for _, address in self._literal_targets)]
            for address in self.lab.translation.taken(ends):
                message = f"{address} is a source or a target, too; write addresses that are neither"
                yield wrong_at(("lab", "nat", "addresses"), message)

    @property
    def has_cable(self) -> bool:
        """True if load and sinks are in two namespaces with a virtual cable between them."""
        return self.lab is not None and self.lab.topology.has_cable

    @property
    def nat(self) -> Nat | None:
        """The translation of the lab's gateway; None without one."""
        return self.lab.translation.nat if self.lab and self.lab.translation else None

    @property
    def _literal_targets(self) -> list[tuple[int, str]]:
        """Index and address of each target that is not given by name."""
        return [(index, at) for index, target in enumerate(self.targets) if (at := target.destination.address)]

    @property
    def names(self) -> tuple[str, ...]:
        """Host names among the targets, each once, in order."""
        return tuple(dict.fromkeys(name for target in self.targets if (name := target.destination.name)))

    def resolved(self, answers: Mapping[str, Sequence[str]]) -> ScenarioSpec:
        """Return the scenario with the addresses of each of its `names`, in this order."""
        resolved = self.model_copy()
        resolved._addresses = {name: tuple(addresses) for name, addresses in answers.items()}
        return resolved

    def of_agent(self, name: str) -> ScenarioSpec:
        """Return the scenario with the sources and targets that it gives the agent of this name."""
        spec = self.agents.of(name) if self.agents else None
        own = self if spec is None else self.with_ends_of(spec)
        return own.model_copy(update={"targets": tuple(target.seen_by(name) for target in own.targets)})

    def listens(self, name: str) -> bool:
        """Return True if the agent of this name listens at a target for other agents."""
        return any(target.is_listened_at_by(name) for target in self.targets)

    def only_listens(self, name: str) -> bool:
        """Return True if the agent of this name listens for others and opens no connection itself."""
        return self.listens(name) and not (self.agents and self.agents.of(name))

    def with_ends_of(self, spec: AgentSpec) -> ScenarioSpec:
        """Return the scenario with the sources and targets of an entry of `agents`, where it has its own."""
        changes: dict[str, object] = {}
        if spec.sources is not None:  # constructed, because a copy would keep what was computed of the other addresses
            keys = {name: getattr(self.sources, name) for name in type(self.sources).model_fields}
            changes["sources"] = type(self.sources).model_construct(**{**keys, "addresses": spec.sources})
        if spec.targets is not None:
            changes["targets"] = spec.targets
        copy = self.model_copy(update=changes)
        copy.__dict__.pop("_source_set", None)
        return copy

    def shared(self, changes: Mapping[str, object], arrival_carry: float, guests: Guests = Guests()) -> ScenarioSpec:
        """Return the share of one host in a run on several.

        changes: fields with values of their own, which are not checked again. arrival_carry: see `Plan.arrival_carry`.
        guests: what comes from the other hosts.
        The share expects nothing, because an expectation is about the whole; but a limit that the whole runs into on
        purpose is excused in the share as well.
        """
        share = self.model_copy(update={**changes, "expect": ()})
        share._arrival_carry, share._expected_of_whole = arrival_carry, self.expect
        share._guests = guests
        return share

    def once(self, pairs: int) -> ScenarioSpec:
        """Return the scenario of a smoke test: each pair of source and target once, all of which have to open.

        pairs: their number on this host. What a connection is stays: strategy, TLS, protocol, timeout. What is about
        many, or about a time, is left out: arrival, hold, churn, heartbeat, probes and what was expected of these.
        """
        changes: dict[str, object] = {
            "connections": pairs,
            "targets": tuple(target.model_copy(update={"weight": 1}) for target in self.targets),
            **dict.fromkeys(("arrival", "churn", "heartbeat", "profile", "find")),
            "hold_s": 0.0,
            "close": CloseMode.FIN if self.close is CloseMode.TARGET else self.close,
            "workers": 1,
            "probes": (),
            "expect": tuple(map(Expectation.parse, ("outcomes.failed == 0", f"outcomes.established == {pairs}"))),
            "repeat": 1,
        }
        copy = self.model_copy(update=changes)
        copy.__dict__.pop("phases", None)
        return copy

    def serving(self, name: str, guests: Guests) -> ScenarioSpec:
        """Return the share of an agent that opens no connection, and listens for those of others."""
        sources = {name: getattr(self.sources, name) for name in type(self.sources).model_fields}
        changes: dict[str, object] = {
            "sources": type(self.sources).model_construct(**{**sources, "addresses": ()}),
            "targets": tuple(target.seen_by(name) for target in self.targets if target.is_listened_at_by(name)),
            "connections": 0,
            "churn": self.churn and self.churn.model_copy(update={"concurrency": 0}),
            "hold_s": 0.0,
            "probes": (),
        }
        share = self.shared(changes, 0.0, guests)
        share.__dict__.pop("_source_set", None)
        return share

    @cached_property
    def phases(self) -> LoadProfile | None:
        """The phases that `profile` names, with its defaults; None without one."""
        if self.profile is None:
            return None
        defaults = ON_HOST if self.lab is None else IN_LAB
        if not self.churn:
            rises, falls = self.arrival is not None, self.close is not CloseMode.TARGET
            defaults = replace(
                defaults,
                ramp_s=defaults.ramp_s if rises else 0.0,
                ramp_down_s=defaults.ramp_down_s if falls else 0.0,
            )
        return self.profile.over(defaults)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule of arrivals; empty without one."""
        if self.arrival is None:
            return ()
        if self.phases is None or self.arrival.rate_per_s is None:
            return self.arrival.stages
        return stages_of(self.arrival.rate_per_s, self.phases, falls=self.churn is not None)

    @property
    def churn_s(self) -> float:
        """How long connections are opened and closed, seconds; 0 where they are held."""
        if self.churn is None:
            return 0.0
        if self.phases:
            return self.phases.ramp_s + self.phases.sustain_s + self.phases.ramp_down_s
        return float(self.churn.duration_s or 0.0)

    @property
    def held_s(self) -> float:
        """How long all stay open after the last was due, seconds; 0 in churn."""
        if self.churn is not None:
            return 0.0
        return self.phases.sustain_s if self.phases else float(self.hold_s)

    @property
    def guests(self) -> Guests:
        """Connections of other hosts to the sinks of this share."""
        return self._guests

    @property
    def arrival_carry(self) -> float:
        """Area under the rate that is there at the start, in arrivals; see `Plan.arrival_carry`."""
        return self._arrival_carry

    @property
    def every_target(self) -> tuple[Target, ...]:
        """Every address and port to connect to, in the order of `targets`.

        Raises: KeyError for a name before `resolved` gave it addresses.
        """
        return tuple(
            target
            for spec in self.targets
            for target in spec.targets(
                self._addresses[spec.destination.name] if spec.destination.name else (spec.destination.address,)
            )
        )

    def misfit(self, address: str) -> str:
        """Return why this address cannot be that of a target in the scenario's lab; "" if it can."""
        block = units.block(address)
        if self.lab and self.has_cable:
            if not within_networks(block, VETH_NETWORKS):
                return _NOT_VETH.format(self.lab.topology)
            if address in self._source_set:
                return "this address stands on the other end already, in sources.addresses; change one"
        elif self.lab and self.lab.fallback is Fallback.HOST:
            if not block.within(LOOPBACK):
                return "fallback: host keeps to 127.0.0.0/8; change the target, or write none"
        elif self.lab and not within_networks(block, (str(LOOPBACK), "::1/128")):
            return "a loopback lab leads nowhere but to 127.0.0.0/8 and ::1; change the target, or leave lab out"
        return ""

    @cached_property
    def _source_set(self) -> frozenset[str]:
        return frozenset(self.sources.expanded)

    @property
    def lab_networks(self) -> tuple[str, ...]:
        """Networks (CIDR) that are reachable in the lab only."""
        return VETH_NETWORKS if self.has_cable else ()

    @property
    def traffic(self) -> Traffic:
        """Traffic of each connection; that of a heartbeat is echo unless `protocol` says otherwise."""
        return Traffic("echo") if self.heartbeat and not self.protocol else self.protocol

    @property
    def holds_secrets(self) -> bool:
        """True if some of what is sent is not to be written, so that the run directory is its owner's alone."""
        return secret.are_in(self.protocol.options)

    @property
    def most_open(self) -> int:
        """Maximum of concurrent connections."""
        return self.churn.concurrency if self.churn else self.connections or 0

    @property
    def expects_failure(self) -> bool:
        """True if `expect` names a failure, so that the scenario runs into a limit on purpose."""
        return any(expectation.names_a_failure for expectation in (*self.expect, *self._expected_of_whole))

    def expects(self, limit: str) -> bool:
        """Return True if `expect` names this limit as the verdict's."""
        return any(expectation.names_limit(limit) for expectation in (*self.expect, *self._expected_of_whole))

    def _mistakes_of_probes(self) -> Mistakes:
        """Probes run in labs, under names of their own, with both ends of one family."""
        if self.probes and (self.lab is None or self.lab.fallback is Fallback.HOST):
            message = "probes are for labs, where they disturb no other process; add lab: {}, without fallback: host"
            yield wrong_at(("probes",), message, "wrong_key")
        seen: dict[str, int] = {}
        for index, probe in enumerate(self.probes):
            if (first := seen.setdefault(probe.name, index)) != index:
                yield wrong_at(("probes", index, "name"), f"probes.{first} has that name already; choose another")
            first_address = self.targets[0].destination.address
            target = str(probe.target or self.targets[0].destination)
            address = probe.target.address if probe.target else first_address
            if probe.source and address and (":" in probe.source) != (":" in address):
                message = f"{probe.source} and the target {target} are not of one family; change one"
                yield wrong_at(("probes", index, "source"), message)

    def probe(self, spec: ProbeSpec, port_range: PortRange) -> Probe:
        """Return a probe with its defaults: the first target, the whole of ip_local_port_range.

        For a target that is given by name it is the first address of the family of the probe's source.
        """
        ends = [target.endpoint for target in self.every_target]
        first = next((end for end in ends if not spec.source or (":" in spec.source) == (":" in end.address)), ends[0])
        return Probe(
            name=spec.name,
            when=spec.when,
            kind=spec.kind,
            count=spec.count,
            strategy=spec.strategy,
            source=spec.source or "",
            target=spec.target or first,
            sink=spec.sink,
            ports=spec.ports or port_range,
            uid=spec.uid,
            reuseaddr=spec.reuseaddr,
        )
