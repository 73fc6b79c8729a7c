"""The sections of a scenario: lab, sources, targets, probes, arrival, churn; each defines what is valid in it.

Names in YAML are plain (`hold: 30s`), names in Python end in the unit (`hold_s`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Final, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from loadgen import model
from loadgen.model import Endpoint, ProbeKind, ProbeWhen, Strategy, Topology
from loadgen.scenario import units
from loadgen.scenario.fields import (
    ADDRESSES_MAX,
    CONNECTIONS_MAX,
    STAGES_MAX,
    WEIGHT_MAX,
    Addresses,
    AgentPattern,
    Duration,
    Mistakes,
    Model,
    Ports,
    Rate,
    address_text,
    check_count,
    destination_text,
    items,
    listening_text,
    refuse,
    within,
    wrong_at,
)
from loadgen.scenario.nat import NatSpec
from loadgen.scenario.sinks import SinkField
from loadgen.scenario.units import Block, Destination

#: Entries that a connection tracking table may have: nf_conntrack_max is 32 bits, and each takes memory.
_ENTRIES_MAX: Final = 100_000_000
_SYSCTL: Final = r"net(\.[A-Za-z0-9_-]+)+"


class Fallback(StrEnum):
    """Behaviour where namespaces are forbidden: `none` gives up, `host` uses the host's own loopback."""

    NONE = "none"
    HOST = "host"


def _rules_text(text: str) -> str:
    if not text.strip():
        raise ValueError("write rules as nft -f reads them, or leave the key out")
    if re.search(r"(?:^|[\n;{])[^\S\n]*include\b", text):
        raise ValueError("rules include no other file; write them out")
    return text


def _held_ports(value: object) -> tuple[int, ...]:
    """Return the ports of a list such as "40000-40049,40060". Raises: ValueError."""
    if value == ():
        return ()
    parts = value.split(",") if isinstance(value, str) else [value]
    ranges = [units.port_range(part) for part in parts]
    return tuple(sorted({port for ports in ranges for port in range(ports.low, ports.high + 1)}))


#: Rules that are left out are "", which is not written.
Rules = Annotated[str, AfterValidator(lambda text: _rules_text(text) if text else text)]
Held = Annotated[
    tuple[int, ...],
    PlainValidator(_held_ports),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 65535}]}),
]


class Lab(Model):
    """A throwaway network namespace to run in."""

    topology: Topology = Field(
        Topology.LOOPBACK,
        description="loopback: one namespace; veth: two, with a virtual cable between them; segment: two on one link, "
        "where each address is resolved and takes an entry of the table of neighbours; nat: a gateway between them",
    )
    nat: NatSpec | None = Field(
        None,
        description="how the gateway of topology nat translates; left out: snat to one address",
        examples=[{"ports": "20000-20099"}],
    )
    sysctls: dict[str, str | int] = Field(
        {},
        description="net.* settings inside the lab",
        examples=[{"net.ipv4.ip_local_port_range": "1024 65535"}],
    )
    rules: Rules = Field(
        "",
        description="rules for nft(8), loaded inside the lab before the load begins; with a cable where the load is",
        examples=["table inet t { chain in { type filter hook input priority 0; tcp dport 9000 drop; }; }"],
    )
    rules_of_sinks: Rules = Field(
        "",
        description="the same at the sinks' end of a cable",
        examples=["table inet t { chain in { type filter hook input priority 0; tcp dport 9000 drop; }; }"],
    )
    held: Held = Field(
        cast(Any, ()),
        description="ports that another process of the lab binds and never connects, of the transport of the scenario",
        examples=["40000-40049"],
    )
    tracking_left: StrictInt | None = Field(
        None,
        ge=0,
        le=_ENTRIES_MAX,
        description="entries that are left in the connection tracking table of the lab, or of its gateway, at first",
        examples=[100],
    )
    fallback: Fallback = Field(
        Fallback.NONE,
        description="where namespaces are forbidden: give up, or use the host's own 127.0.0.0/8",
    )

    @property
    def translation(self) -> NatSpec | None:
        """The translation of the gateway, by default to one address; None without a gateway."""
        return (self.nat or NatSpec.model_validate({})) if self.topology is Topology.NAT else None

    @field_validator("sysctls", mode="before")
    @classmethod
    def _only_namespaced(cls, value: object) -> object:
        if isinstance(value, dict):
            refuse(_mistakes_of_sysctls(value))
        return value

    @model_validator(mode="after")
    def _in_a_namespace_of_its_own(self) -> Lab:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        if self.nat and self.topology is not Topology.NAT:
            message = "only a lab with a gateway translates; write topology: nat, or leave nat out"
            yield wrong_at(("nat",), message, "wrong_key")
        if self.rules_of_sinks and not self.topology.has_cable:
            message = "a loopback lab is one namespace, of load and sinks; write rules, or topology: veth"
            yield wrong_at(("rules_of_sinks",), message, "wrong_key")
        if self.tracking_left is not None and not self.rules and self.topology is not Topology.NAT:
            message = "nothing is tracked without a rule; add rules with one that tracks, `ct state established accept`"
            yield wrong_at(("tracking_left",), message, "wrong_key")
        if self.fallback is not Fallback.NONE:
            for key in ("rules", "rules_of_sinks", "held", "tracking_left"):
                if key in self.model_fields_set:
                    message = f"the host itself gets no {key}; leave it out, or write fallback: none"
                    yield wrong_at((key,), message, "wrong_key")


def _mistakes_of_sysctls(sysctls: Mapping[str, object]) -> Mistakes:
    for key, setting in sysctls.items():
        if not re.fullmatch(_SYSCTL, key):
            message = "only settings of a network namespace can be set; write net.ipv4.NAME or the like"
            yield wrong_at((key,), message, "wrong_key")
        elif isinstance(setting, bool) or not isinstance(setting, (str, int)) or "\n" in str(setting):
            yield wrong_at((key,), 'write a number or one line of text, for example "1024 65535"')


_PROBE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def _probe_name(text: str) -> str:
    if not re.fullmatch(_PROBE_NAME, text):
        raise ValueError("write 1 to 64 letters, digits, underscores or hyphens, a letter or digit first")
    return text


def _one_address(text: str) -> str:
    if units.is_interface(text) or "/" in text or "-" in text:
        raise ValueError("write one address, as 127.0.0.3")
    return model.canonical_address(address_text(text))


class Sources(Model):
    """Source addresses, and the strategy that chooses source ports."""

    addresses: Addresses = Field(
        description=f"addresses, CIDR, ranges a-b or interface names; {ADDRESSES_MAX:,} addresses at most",
        examples=["127.0.0.2-9", ["10.0.0.0/28", "fd00::1-fd00::ff", "eth0"]],
    )
    count: StrictInt | None = Field(
        None, ge=1, le=ADDRESSES_MAX, description="use the first of these addresses only, this many; left out: all"
    )
    strategy: Strategy = Field(Strategy.LATE_RANGE, description="who chooses the source port, and when")
    ports: Ports | None = Field(
        None, description="source ports; left out: ip_local_port_range", examples=["1024-65535"]
    )
    freebind: StrictBool = Field(
        False, description="whether addresses may be on no interface of this host, as long as they are routed to it"
    )

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Interface names, in order; their addresses are looked up on the host, not here."""
        return tuple(dict.fromkeys(text for text in self.addresses if units.is_interface(text)))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Literal addresses, not expanded; they may overlap, unless there is a count."""
        blocks = tuple(units.block(text) for text in self.addresses if not units.is_interface(text))
        return blocks if self.count is None else tuple(map(units.block, self.expanded))

    @cached_property
    def expanded(self) -> tuple[str, ...]:
        """Every literal address once, in order of first mention; the first of them if there is a count."""
        written = (units.block(text) for text in self.addresses if not units.is_interface(text))
        each = dict.fromkeys(address for block in written for address in block.addresses())
        return tuple(itertools.islice(each, self.count))

    @model_validator(mode="after")
    def _not_too_many(self) -> Sources:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        try:
            check_count(sum(units.block(text).count for text in self.addresses if not units.is_interface(text)))
        except ValueError as error:
            yield wrong_at(("addresses",), str(error))
            return
        if self.count is not None and self.interfaces:
            yield wrong_at(("count",), "count goes with addresses that are written out; leave it out", "wrong_key")
        elif self.count is not None and self.count > len(self.expanded):
            yield wrong_at(("count",), f"sources.addresses has {len(self.expanded):,}; write fewer, or add addresses")
        if self.freebind and not self.strategy.row.binds_address:
            message = f"freebind is for strategies that bind an address, and {self.strategy} does not; leave it out"
            yield wrong_at(("freebind",), message, "wrong_key")


class TargetSpec(Model):
    """A destination: one for each of its ports, and for each address that its name has."""

    address: Annotated[str, AfterValidator(destination_text)] = Field(
        description="address or host name, and port or range of ports",
        examples=["127.0.0.1:9000", "[::1]:9000-9009", "redis.internal:6379"],
    )
    weight: StrictInt = Field(
        1, ge=1, le=WEIGHT_MAX, description="share of the connections, relative to the weights of the other targets"
    )
    sink_spec: SinkField = Field(
        cast(Any, False),
        alias="sink",
        description="whether loadgen itself listens there, or how that sink behaves toward its clients",
        examples=[True, {"speaks": "http", "delay": "50ms"}],
    )
    backlog: StrictInt | None = Field(
        None,
        ge=1,
        le=65_535,
        description="backlog that the sink passes to listen(); left out: the maximum",
        examples=[128],
    )
    accept: StrictBool = Field(True, description="whether the sink accepts connections")
    accept_after_s: Annotated[Duration, AfterValidator(within("0s", "1h"))] = Field(
        cast(Any, "0s"), alias="accept_after", description="duration until the sink begins to accept", examples=["2s"]
    )

    @property
    def sink(self) -> bool:
        """True if loadgen itself listens there."""
        return self.sink_spec is not None

    @property
    def agents(self) -> tuple[str, ...]:
        """Names and patterns of the agents that listen there in place of all; () if none is named."""
        return (self.sink_spec.agents or ()) if self.sink_spec else ()

    def is_listened_at_by(self, agent: str) -> bool:
        """Return True if `agents` names this one."""
        return any(fnmatchcase(agent, pattern) for pattern in self.agents)

    def seen_by(self, agent: str) -> TargetSpec:
        """Return the target as it is to one agent: with a sink of its own, or of another agent as another program."""
        if not self.agents:
            return self
        assert self.sink_spec
        if self.is_listened_at_by(agent):
            return self.model_copy(update={"sink_spec": self.sink_spec.model_copy(update={"agents": None})})
        return self.model_copy(update={"sink_spec": None, "backlog": None, "accept": True, "accept_after_s": 0.0})

    @cached_property
    def destination(self) -> Destination:
        """Host and ports."""
        return units.destination(self.address)

    def targets(self, addresses: Sequence[str]) -> tuple[model.Target, ...]:
        """Return the targets of the plan: one at each of these addresses and each port."""
        ports, name = self.destination.ports, self.destination.name
        return tuple(
            model.Target(
                Endpoint(address, port),
                self.sink,
                self.backlog,
                float(self.accept_after_s) if self.accept else None,
                self.sink_spec.behaviour if self.sink_spec else model.SinkBehaviour(),
                weight=self.weight,
                host=name,
            )
            for address in addresses
            for port in range(ports.low, ports.high + 1)
        )

    @model_validator(mode="after")
    def _only_of_a_sink(self) -> TargetSpec:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        for key, is_written in (
            ("backlog", self.backlog is not None),
            ("accept", not self.accept),
            ("accept_after", bool(self.accept_after_s)),
        ):
            if is_written and not self.sink:
                yield wrong_at((key,), f"{key} is about a sink of ours; write sink: true, or leave it out", "wrong_key")
        if self.accept_after_s and not self.accept:
            yield wrong_at(("accept_after",), "accept: false never begins; write one of the two", "wrong_key")
        if self.sink_spec and self.sink_spec.model_fields_set - {"agents"} and not self.accept:
            yield wrong_at(
                ("accept",), "a sink that never accepts has no other behaviour; write sink: true", "wrong_key"
            )


class OnLoss(StrEnum):
    """The conduct of a run that loses an agent: the others go on, or close their connections."""

    CONTINUE = "continue"
    STOP = "stop"


class AgentSpec(Model):
    """The share of the agents whose name fits a pattern."""

    name: AgentPattern = Field(description="name of an agent, or a pattern of names with * and ?", examples=["gen-*"])
    weight: StrictInt = Field(
        1, ge=1, le=WEIGHT_MAX, description="share of the connections, relative to the weights of the other agents"
    )
    sources: Addresses | None = Field(
        None,
        description="source addresses of these agents, in place of sources.addresses",
        examples=["10.0.0.2-9"],
    )
    targets: tuple[TargetSpec, ...] | None = Field(
        None,
        min_length=1,
        description="destinations of these agents, in place of targets",
        examples=[[{"address": "10.0.1.1:9000"}]],
    )


class AgentsSpec(Model):
    """How a run is divided between agents; of no effect in a run of one host."""

    on_loss: OnLoss = Field(
        OnLoss.CONTINUE,
        description="continue: the others go on when an agent is lost; stop: they close their connections",
    )
    shares: tuple[AgentSpec, ...] = Field(
        (),
        description="shares of agents, the first whose name fits counts; an agent that none fits has a weight of 1",
        examples=[[{"name": "gen-*", "weight": 2}]],
    )

    def of(self, name: str) -> AgentSpec | None:
        """Return the share of the agent of this name; None: none fits."""
        return next((spec for spec in self.shares if fnmatchcase(name, spec.name)), None)


class ProbeSpec(Model):
    """A small experiment by another process in the same lab, while the load is held or after it."""

    name: Annotated[
        str, AfterValidator(_probe_name), WithJsonSchema({"type": "string", "pattern": f"^{_PROBE_NAME}$"})
    ] = Field(description="names its result, probes.NAME", examples=["other-process"])
    when: ProbeWhen = Field(description="hold: just before the load is closed; after: once it is", examples=["hold"])
    kind: ProbeKind = Field(ProbeKind.CONNECT, description="what the probe does")
    count: StrictInt = Field(1, ge=1, le=1_000, description="connections to try", examples=[20])
    strategy: Strategy = Field(Strategy.KERNEL, description="who chooses the source port, and when")
    source: Annotated[str, AfterValidator(_one_address)] | None = Field(
        None, description="source address, where the strategy binds one", examples=["127.0.0.3"]
    )
    address: Annotated[str, AfterValidator(listening_text)] | None = Field(
        None,
        alias="target",
        description="literal address and port; to listen also 0.0.0.0 or [::]; left out: the first target",
        examples=["127.0.0.1:9000"],
    )
    sink: StrictBool = Field(False, description="whether the probe listens at its target itself")
    ports: Ports | None = Field(None, description="source ports, or the port to listen on", examples=["40000-40019"])
    uid: StrictInt | None = Field(None, ge=0, le=4_294_967_294, description="user to become first", examples=[65534])
    reuseaddr: StrictBool = Field(False, description="whether listeners set SO_REUSEADDR")

    @property
    def target(self) -> Endpoint | None:
        """Its target, if it has one of its own."""
        return units.listening_endpoint(self.address) if self.address else None

    @property
    def listens_everywhere(self) -> bool:
        """True if it listens on all addresses of its host."""
        return self.target is not None and self.target.address in units.EVERY_ADDRESS

    @model_validator(mode="after")
    def _says_what_it_takes(self) -> ProbeSpec:
        refuse(self._mistakes_of_connect() if self.kind is ProbeKind.CONNECT else self._mistakes_of_listen())
        if self.listens_everywhere and self.kind is not ProbeKind.LISTEN:
            message = f"a probe of kind {self.kind} connects to its target; write an address, 127.0.0.1:9000"
            refuse([wrong_at(("target",), message)])
        return self

    def _mistakes_of_listen(self) -> Mistakes:
        if self.ports is None or len(self.ports) > 1:
            yield wrong_at(("ports",), f"a probe of kind {self.kind} listens on one port; write ports: 9100")
        for key in ("count", "strategy", "source", "sink"):
            if key in self.model_fields_set:
                yield wrong_at((key,), f"a probe of kind {self.kind} has no {key}; leave it out", "wrong_key")

    def _mistakes_of_connect(self) -> Mistakes:
        row = self.strategy.row
        if self.reuseaddr:
            yield wrong_at(("reuseaddr",), "reuseaddr is about listeners; leave it out", "wrong_key")
        if not row.binds_address:
            for key, value in (("source", self.source), ("ports", self.ports)):
                if value:
                    message = f"strategy {self.strategy} chooses by itself; leave {key} out, or write late"
                    yield wrong_at((key,), message, "wrong_key")
            return
        if self.source is None:
            yield wrong_at(("strategy",), f"strategy {self.strategy} binds an address; add source: 127.0.0.2")
        if self.ports and not row.slices_ports:
            yield wrong_at(("ports",), f"strategy {self.strategy} cannot keep to ports; leave them out", "wrong_key")


class StageSpec(Model):
    """A stage of the arrival schedule, with a linear change of rate."""

    rate_start_per_s: Rate | None = Field(
        None,
        alias="from",
        description="rate; left out: where the stage before ended, 0 at first",
        examples=["0/s"],
    )
    rate_end_per_s: Rate = Field(alias="to", description="rate", examples=["20000/s"])
    duration_s: Annotated[Duration, AfterValidator(within("1ms", "8760h"))] = Field(
        alias="over", description="duration, 1ms to 8760h", examples=["30s"]
    )


class Arrival(Model):
    """The arrival schedule: a rate with a ramp before it, or a list of stages."""

    rate_per_s: Rate | None = Field(
        None, alias="rate", description="connections due per s, min or h", examples=["20000/s"]
    )
    ramp_s: Annotated[Duration, AfterValidator(within("0s", "8760h"))] = Field(
        cast(Any, "0s"), alias="ramp", description="duration of the rise from 0 to the rate", examples=["5s"]
    )
    written: Annotated[tuple[StageSpec, ...], AfterValidator(items(STAGES_MAX))] | None = Field(
        None, alias="stages", examples=[[{"to": "20000/s", "over": "30s"}]]
    )

    @property
    def stages(self) -> tuple[model.Stage, ...]:
        """The schedule; its last stage keeps the last rate until every connection is due."""
        if self.rate_per_s is not None:
            climb = (model.Stage(0.0, self.rate_per_s, self.ramp_s),) if self.ramp_s else ()
            return (*climb, model.Stage(self.rate_per_s, self.rate_per_s, None))
        stages: list[model.Stage] = []
        rate = 0.0
        for stage in self.written or ():
            start = rate if stage.rate_start_per_s is None else stage.rate_start_per_s
            rate = stage.rate_end_per_s
            stages.append(model.Stage(start, rate, stage.duration_s))
        return (*stages, model.Stage(rate, rate, None))

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Arrival:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        if (self.rate_per_s is None) == (self.written is None):
            yield wrong_at((), "write either rate (and ramp) or stages")
        elif self.written is not None and self.ramp_s:
            yield wrong_at(("ramp",), "ramp goes with rate; write a first stage instead")
        if self.rate_per_s == 0:
            yield wrong_at(("rate",), "write a rate above 0/s, or nothing ever arrives")
        if self.written and self.written[-1].rate_end_per_s == 0:
            message = "the last rate must be above 0/s, because it stays until every connection is due"
            yield wrong_at(("stages", len(self.written) - 1, "to"), message)


class HeartbeatSpec(Model):
    """Heartbeats: exchanges on held connections, at an interval."""

    every_s: Annotated[Duration, AfterValidator(within("100ms", "1h"))] = Field(
        alias="every", description="interval of each connection", examples=["1s"]
    )
    share: Annotated[
        float,
        BeforeValidator(units.share),
        WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$"}),
    ] = Field(cast(Any, "100%"), description="share of the held connections", examples=["1%"])


class ChurnSpec(Model):
    """Churn: connections that are closed as soon as their exchanges are made, and replaced, for a duration."""

    duration_s: Annotated[Duration, AfterValidator(within("100ms", "8760h"))] | None = Field(
        None,
        alias="duration",
        description="how long connections are opened and closed; required without profile",
        examples=["10s"],
    )
    concurrency: StrictInt = Field(
        64,
        ge=1,
        le=CONNECTIONS_MAX,
        description="maximum of concurrent connections; without arrival: kept all the time",
    )
    exchanges: StrictInt = Field(
        1,
        ge=1,
        le=1_000_000,
        description="exchanges of each connection before it is closed, where protocol has any",
        examples=[10],
    )
