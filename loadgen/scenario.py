"""Scenario text -> Scenario: what the user wants, checked, with units, and nothing about this host.

The only module that knows the scenario file. `loadgen.yamltext` reads the text and remembers where
everything stands, `loadgen.quantities` reads `30s` and `10.0.0.0/24`; the models here say what is
allowed, so they are the schema too. Names in YAML are the words of the field (`hold: 30s`), names in
Python carry the unit (`hold_s`).

Whatever is wrong becomes one ScenarioError: the first problem in the order of the file, with its
line, its column and what to write instead. The reference for people is docs/scenario.md.
"""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from loadgen import model, quantities, yamltext
from loadgen.arrivals import due_within
from loadgen.errors import ScenarioError
from loadgen.expectation import Expectation
from loadgen.model import CloseMode, Endpoint, PortRange, Probe, ProbeKind, ProbeWhen, Strategy, Topology
from loadgen.quantities import Block
from loadgen.yamltext import Document, shown

ADDRESSES_MAX: Final = 65_536
TARGETS_MAX: Final = 1_000
CONNECTIONS_MAX: Final = 10_000_000
STAGES_MAX: Final = 1_000
PROCESSES_MAX: Final = 1_000
PROBES_MAX: Final = 100
CELLS_MAX: Final = 200
REPEAT_MAX: Final = 100
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
#: What may stand on either end of a virtual cable: benchmarking networks (RFC 2544, RFC 5180), unique local ones.
VETH_NETWORKS: Final = ("198.18.0.0/15", "2001:2::/48", "fd00::/8")
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}"
#: pydantic lists the valid words of an enum as "'fin' or 'rst'".
_QUOTED: Final = re.compile(r"'([^']*)'")
_SYSCTL: Final = r"net(\.[A-Za-z0-9_-]+)+"


class Fallback(StrEnum):
    """What to do where namespaces are forbidden: `none` gives up, `host` uses the host's own loopback."""

    NONE = "none"
    HOST = "host"


def _within(low: str, high: str) -> Callable[[float], float]:
    """A check that a duration lies between two others, both included."""

    def check(value_s: float) -> float:
        if not quantities.duration_s(low) <= value_s <= quantities.duration_s(high):
            raise ValueError(f"write a duration from {low} to {high}")
        return value_s

    return check


def _wrong_at(
    path: tuple[str | int, ...], message: str, kind: Literal["wrong_value", "wrong_key"] = "wrong_value"
) -> PydanticCustomError:
    """What a check of several keys raises, to point at one of them; `path` starts at the model."""
    return PydanticCustomError(kind, "{message}", {"message": message, "path": path})


def _items(most: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A check that a list has 1 to `most` items; after the items, which pydantic's own check is not."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if not 1 <= len(items) <= most:
            raise ValueError(f"write 1 to {most:,} items")
        return items

    return check


def _at_most(most: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A check that a list has no more than `most` items."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(items) > most:
            raise ValueError(f"write at most {most:,} items")
        return items

    return check


def _address_text(text: str) -> str:
    if not quantities.is_interface(text):
        found = quantities.block(text)
        _check_count(found.count)
        quantities.check_usable(found)
    return text


def _check_count(count: int) -> None:
    if count > ADDRESSES_MAX:
        many = f"{count:,}" if count < 10**12 else "very many"
        raise ValueError(f"write at most {ADDRESSES_MAX:,} addresses in all, these are {many}")


def _endpoint_text(text: str) -> str:
    return str(quantities.endpoint(text))


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise ValueError("write 1 to 64 letters, digits, dots, underscores, hyphens or spaces, a letter or digit first")
    return text


_DURATION_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?([0-9]+(\.[0-9]+)?ms)?$",
    "minLength": 2,
}
_RATE_SCHEMA: Final = {"type": "string", "pattern": r"^[0-9]+(_[0-9]+)*(\.[0-9]+)? ?/ ?(s|min|h)$"}
_PORTS_SCHEMA: Final = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 65535}]}
_ADDRESSES_SCHEMA: Final = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}

Duration = Annotated[float, BeforeValidator(quantities.duration_s), WithJsonSchema(_DURATION_SCHEMA)]
Rate = Annotated[float, BeforeValidator(quantities.rate_per_s), WithJsonSchema(_RATE_SCHEMA)]
Ports = Annotated[PortRange, PlainValidator(quantities.port_range), WithJsonSchema(_PORTS_SCHEMA)]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address_text)], ...],
    AfterValidator(_items(ADDRESSES_MAX)),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(_ADDRESSES_SCHEMA),
]


class _Model(BaseModel):
    """Frozen, no unknown keys; defaults are written as in YAML and go through the same checks."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Lab(_Model):
    """A throwaway network namespace to run in; nothing of it is left afterwards."""

    topology: Topology = Field(
        Topology.LOOPBACK, description="loopback: one namespace; veth: two, with a virtual cable between them"
    )
    sysctls: dict[str, str | int] = Field(
        {},
        description="net.* settings inside the lab",
        examples=[{"net.ipv4.ip_local_port_range": "1024 65535"}],
    )
    fallback: Fallback = Field(
        Fallback.NONE,
        description="where namespaces are forbidden: give up, or use the host's own 127.0.0.0/8",
    )

    @field_validator("sysctls", mode="before")
    @classmethod
    def _only_namespaced(cls, value: object) -> object:
        for key, setting in value.items() if isinstance(value, dict) else ():
            if not re.fullmatch(_SYSCTL, key):
                message = "only settings of a network namespace can be set; write net.ipv4.NAME or the like"
                raise _wrong_at((key,), message, "wrong_key")
            if isinstance(setting, bool) or not isinstance(setting, (str, int)) or "\n" in str(setting):
                raise _wrong_at((key,), 'write a number or one line of text, for example "1024 65535"')
        return value


_PROBE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def _probe_name(text: str) -> str:
    if not re.fullmatch(_PROBE_NAME, text):
        raise ValueError("write 1 to 64 letters, digits, underscores or hyphens, a letter or digit first")
    return text


def _one_address(text: str) -> str:
    if quantities.is_interface(text) or "/" in text or "-" in text:
        raise ValueError("write one address, as 127.0.0.3")
    return model.canonical_address(_address_text(text))


class Sources(_Model):
    """Where connections come from, and who chooses their source ports."""

    addresses: Addresses = Field(
        description=f"addresses, CIDR, ranges a-b or interface names; {ADDRESSES_MAX:,} addresses at most",
        examples=["127.0.0.2-9", ["10.0.0.0/28", "fd00::1-fd00::ff", "eth0"]],
    )
    strategy: Strategy = Field(Strategy.LATE_RANGE, description="who chooses the source port, and when")
    ports: Ports | None = Field(
        None, description="source ports; left out: ip_local_port_range", examples=["1024-65535"]
    )

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interface names, in order; whoever runs on the host finds their addresses."""
        return tuple(dict.fromkeys(text for text in self.addresses if quantities.is_interface(text)))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The literal addresses, not expanded; they may overlap."""
        return tuple(quantities.block(text) for text in self.addresses if not quantities.is_interface(text))

    @cached_property
    def expanded(self) -> tuple[str, ...]:
        """Every literal address once, in order of first mention."""
        return tuple(dict.fromkeys(address for block in self.blocks for address in block.addresses()))

    @model_validator(mode="after")
    def _not_too_many(self) -> Sources:
        try:
            _check_count(sum(block.count for block in self.blocks))
        except ValueError as error:
            raise _wrong_at(("addresses",), str(error)) from None
        return self


class TargetSpec(_Model):
    """One destination."""

    address: Annotated[str, AfterValidator(_endpoint_text)] = Field(
        description="literal address and port", examples=["127.0.0.1:9000", "[::1]:9000"]
    )
    sink: StrictBool = Field(False, description="whether loadgen itself listens there")
    backlog: StrictInt | None = Field(
        None, ge=1, le=65_535, description="what the sink gives to listen(); left out: the most", examples=[128]
    )
    accept: StrictBool = Field(True, description="whether the sink accepts what it listens for")
    accept_after_s: Annotated[Duration, AfterValidator(_within("0s", "1h"))] = Field(
        cast(Any, "0s"), alias="accept_after", description="duration until the sink begins to accept", examples=["2s"]
    )

    @property
    def endpoint(self) -> Endpoint:
        """The address and port."""
        return quantities.endpoint(self.address)

    @property
    def target(self) -> model.Target:
        """The same as the plan knows it."""
        return model.Target(self.endpoint, self.sink, self.backlog, float(self.accept_after_s) if self.accept else None)

    @model_validator(mode="after")
    def _only_of_a_sink(self) -> TargetSpec:
        for key, said in (
            ("backlog", self.backlog is not None),
            ("accept", not self.accept),
            ("accept_after", bool(self.accept_after_s)),
        ):
            if said and not self.sink:
                raise _wrong_at(
                    (key,), f"{key} is about a sink of ours; write sink: true, or leave it out", "wrong_key"
                )
        if self.accept_after_s and not self.accept:
            raise _wrong_at(("accept_after",), "accept: false never begins; write one of the two", "wrong_key")
        return self


class ProbeSpec(_Model):
    """A small experiment by somebody else in the same lab, while the load is held or after it."""

    name: Annotated[
        str, AfterValidator(_probe_name), WithJsonSchema({"type": "string", "pattern": f"^{_PROBE_NAME}$"})
    ] = Field(description="names its result, probes.NAME", examples=["somebody-else"])
    when: ProbeWhen = Field(description="hold: just before the load is closed; after: once it is", examples=["hold"])
    kind: ProbeKind = Field(ProbeKind.CONNECT, description="what it tries")
    count: StrictInt = Field(1, ge=1, le=1_000, description="connections to try", examples=[20])
    strategy: Strategy = Field(Strategy.KERNEL, description="who chooses the source port, and when")
    source: Annotated[str, AfterValidator(_one_address)] | None = Field(
        None, description="source address, where the strategy binds one", examples=["127.0.0.3"]
    )
    address: Annotated[str, AfterValidator(_endpoint_text)] | None = Field(
        None,
        alias="target",
        description="literal address and port; left out: the first target",
        examples=["127.0.0.1:9000"],
    )
    sink: StrictBool = Field(False, description="whether the probe listens at its target itself")
    ports: Ports | None = Field(None, description="source ports, or the port to listen on", examples=["40000-40019"])
    uid: StrictInt | None = Field(None, ge=0, le=4_294_967_294, description="user to become first", examples=[65534])
    reuseaddr: StrictBool = Field(False, description="whether listeners set SO_REUSEADDR")

    @property
    def target(self) -> Endpoint | None:
        """Where it goes, if it says so."""
        return quantities.endpoint(self.address) if self.address else None

    @model_validator(mode="after")
    def _says_what_it_takes(self) -> ProbeSpec:
        connects = self.kind is ProbeKind.CONNECT
        if not connects:
            if self.ports is None or len(self.ports) > 1:
                raise _wrong_at(("ports",), f"a probe of kind {self.kind} listens on one port; write ports: 9100")
            for key in ("count", "strategy", "source", "sink"):
                if key in self.model_fields_set:
                    raise _wrong_at((key,), f"a probe of kind {self.kind} has no {key}; leave it out", "wrong_key")
        elif self.reuseaddr:
            raise _wrong_at(("reuseaddr",), "reuseaddr is about listeners; leave it out", "wrong_key")
        elif self.strategy is Strategy.KERNEL and (self.source or self.ports):
            key = "source" if self.source else "ports"
            raise _wrong_at((key,), f"strategy kernel chooses by itself; leave {key} out, or write late", "wrong_key")
        elif self.strategy is not Strategy.KERNEL and self.source is None:
            raise _wrong_at(("strategy",), f"strategy {self.strategy} binds an address; add source: 127.0.0.2")
        elif self.ports and not self.strategy.slices_ports:
            raise _wrong_at(("ports",), f"strategy {self.strategy} cannot keep to ports; leave them out", "wrong_key")
        return self


class StageSpec(_Model):
    """A stretch of the arrival schedule; the rate goes in a straight line."""

    rate_start_per_s: Rate | None = Field(
        None,
        alias="from",
        description="rate; left out: where the stage before ended, 0 at first",
        examples=["0/s"],
    )
    rate_end_per_s: Rate = Field(alias="to", description="rate", examples=["20000/s"])
    duration_s: Annotated[Duration, AfterValidator(_within("1ms", "8760h"))] = Field(
        alias="over", description="duration, 1ms to 8760h", examples=["30s"]
    )


class Arrival(_Model):
    """When connections are due: a rate with a ramp before it, or a list of stages."""

    rate_per_s: Rate | None = Field(
        None, alias="rate", description="connections due per s, min or h", examples=["20000/s"]
    )
    ramp_s: Annotated[Duration, AfterValidator(_within("0s", "8760h"))] = Field(
        cast(Any, "0s"), alias="ramp", description="duration of the climb from 0 to the rate", examples=["5s"]
    )
    written: Annotated[tuple[StageSpec, ...], AfterValidator(_items(STAGES_MAX))] | None = Field(
        None, alias="stages", examples=[[{"to": "20000/s", "over": "30s"}]]
    )

    @property
    def stages(self) -> tuple[model.Stage, ...]:
        """The schedule; its last stage stays at the last rate until every connection is due."""
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
        if (self.rate_per_s is None) == (self.written is None):
            raise _wrong_at((), "write either rate (and ramp) or stages")
        if self.written is not None and self.ramp_s:
            raise _wrong_at(("ramp",), "ramp goes with rate; write a first stage instead")
        if self.rate_per_s == 0:
            raise _wrong_at(("rate",), "write a rate above 0/s, or nothing ever arrives")
        if self.written and self.written[-1].rate_end_per_s == 0:
            message = "the last rate must be above 0/s, because it stays until every connection is due"
            raise _wrong_at(("stages", len(self.written) - 1, "to"), message)
        return self


class ChurnSpec(_Model):
    """Connections that are closed as soon as they have done their work, and replaced, for a duration."""

    duration_s: Annotated[Duration, AfterValidator(_within("100ms", "8760h"))] = Field(
        alias="duration", description="how long to go on", examples=["10s"]
    )
    concurrency: StrictInt = Field(
        64, ge=1, le=CONNECTIONS_MAX, description="connections open at a time, at most; without arrival: all the time"
    )
    exchange_bytes: StrictInt = Field(
        0, ge=0, le=65_536, alias="exchange", description="bytes sent and read back before the close", examples=[64]
    )


class Scenario(_Model):
    """One experiment: so many connections, from here, to there, this fast, held this long; or churn."""

    name: Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})] = Field(
        description="names the run directory", examples=["hold-100k"]
    )
    description: str = Field("", description="free text")
    lab: Lab | None = Field(None, description="left out: run on the host itself", examples=[{"topology": "loopback"}])
    sources: Sources = Field(examples=[{"addresses": "127.0.0.2-9"}])
    targets: Annotated[tuple[TargetSpec, ...], AfterValidator(_items(TARGETS_MAX))] = Field(
        description="where connections go, in turn", examples=[[{"address": "127.0.0.1:9000"}]]
    )
    connections: StrictInt | None = Field(
        None, ge=1, le=CONNECTIONS_MAX, description="connections to open, all sources together", examples=[100_000]
    )
    churn: ChurnSpec | None = Field(
        None, description="instead of connections: open and close all the time", examples=[{"duration": "10s"}]
    )
    arrival: Arrival | None = Field(
        None, description="left out: as fast as possible", examples=[{"rate": "20000/s", "ramp": "5s"}]
    )
    hold_s: Annotated[Duration, AfterValidator(_within("0s", "8760h"))] = Field(
        cast(Any, "0s"),
        alias="hold",
        description="duration all stay open after the last was due",
        examples=["30s"],
    )
    timeout_s: Annotated[Duration, AfterValidator(_within("1ms", "1h"))] = Field(
        cast(Any, "10s"),
        alias="timeout",
        description="duration one attempt may take",
        examples=["3s"],
    )
    interval_s: Annotated[Duration, AfterValidator(_within("50ms", "1m"))] = Field(
        cast(Any, "500ms"),
        alias="interval",
        description="duration between snapshots",
        examples=["1s"],
    )
    close: CloseMode = Field(
        CloseMode.FIN,
        description="fin: we close first and keep TIME-WAIT; rst: nobody keeps it; target: the other side does",
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
        le=1_048_576,
        description="open files a worker may have; left out: the hard limit",
        examples=[1024],
    )
    probes: Annotated[tuple[ProbeSpec, ...], AfterValidator(_at_most(PROBES_MAX))] = Field(
        (), description="experiments beside the load", examples=[[{"name": "somebody-else", "when": "hold"}]]
    )
    expect: tuple[
        Annotated[Expectation, PlainValidator(Expectation.parse), WithJsonSchema({"type": "string"})], ...
    ] = Field((), description="PATH OP NUMBER over summary.json", examples=[["outcomes.failed == 0"]])
    matrix: dict[str, tuple[Any, ...]] = Field(
        {},
        description=f"values to try for each of some keys, dotted paths; {CELLS_MAX} combinations at most",
        examples=[{"sources.strategy": ["late", "late-range"]}],
    )
    repeat: StrictInt = Field(
        1, ge=1, le=REPEAT_MAX, description="how often to run it all, each time in a fresh lab", examples=[3]
    )

    @field_validator("matrix", mode="before")
    @classmethod
    def _lists_of_values(cls, value: object) -> object:
        for key, values in value.items() if isinstance(value, dict) else ():
            if key.partition(".")[0] in ("matrix", "repeat"):
                raise _wrong_at((key,), "a matrix cannot change itself; name another key", "wrong_key")
            if not isinstance(values, list) or not values:
                raise _wrong_at((key,), "write a list of values to try, for example [1, 2]")
            for index, one in enumerate(values):
                if any(json.dumps(one) == json.dumps(other) for other in values[:index]):
                    raise _wrong_at((key, index), f"{shown(one)} is in this list already; delete one of the two")
        if isinstance(value, dict) and math.prod(map(len, value.values())) > CELLS_MAX:
            count = math.prod(map(len, value.values()))
            raise _wrong_at((), f"these are {count:,} combinations; write at most {CELLS_MAX}")
        return value

    @model_validator(mode="after")
    def _ends_can_meet(self) -> Scenario:
        seen: dict[Endpoint, int] = {}
        versions = {block.version for block in self.sources.blocks}
        for index, target in enumerate(self.targets):
            place, version = ("targets", index, "address"), 6 if ":" in target.endpoint.address else 4
            if (first := seen.setdefault(target.endpoint, index)) != index:
                raise _wrong_at(place, f"{target.endpoint} is targets.{first} already; delete one of the two")
            if not self.sources.interfaces and version not in versions:
                message = f"no source address is IPv{version}; add one to sources.addresses"
                raise _wrong_at(place, message)
        self._probes_are_sound()
        self._churn_is_sound()
        self._cable_is_sound()
        if self.lab and self.lab.fallback is Fallback.HOST:
            ends = [
                *self.sources.blocks,
                *(quantities.block(target.endpoint.address) for target in self.targets),
            ]
            if self.sources.interfaces or not all(block.within(_LOOPBACK) for block in ends):
                message = "host needs every source and target in 127.0.0.0/8; change them, or write none"
                raise _wrong_at(("lab", "fallback"), message)
        return self

    def _churn_is_sound(self) -> None:
        if self.churn is None:
            if self.connections is None:
                message = "connections is missing; add connections: 100000, or churn: {duration: 10s}"
                raise _wrong_at(("connections",), message)
            if self.close is CloseMode.TARGET and not all(target.sink for target in self.targets):
                message = "only a sink of ours closes held connections when told to; write sink: true at every target"
                raise _wrong_at(("close",), message)
            return
        for key, said, instead in (
            ("connections", self.connections is not None, "churn.concurrency says how many are open at a time"),
            ("hold", "hold_s" in self.model_fields_set, "churn.duration says how long it goes on"),
        ):
            if said:
                raise _wrong_at((key,), f"{key} is for connections that are held; {instead}", "wrong_key")
        for index, probe in enumerate(self.probes):
            if probe.when is ProbeWhen.HOLD:
                raise _wrong_at(("probes", index, "when"), "churn holds nothing; write after")
        if self.arrival:
            count = due_within(self.arrival.stages, self.churn.duration_s)
            if not 1 <= count <= CONNECTIONS_MAX:
                message = f"{count:,} connections are due in that time; write a duration for 1 to {CONNECTIONS_MAX:,}"
                raise _wrong_at(("churn", "duration"), message)

    def _cable_is_sound(self) -> None:
        """That both ends of a veth lab have addresses of their own, and nothing is expected of anybody else."""
        if self.lab is None or not self.has_cable:
            return
        if self.sources.interfaces:
            message = "a veth lab has no interface that you know; write addresses of 198.18.0.0/15"
            raise _wrong_at(("sources", "addresses"), message)
        networks = [ipaddress.ip_network(network) for network in VETH_NETWORKS]
        ends: list[tuple[Block, tuple[str | int, ...]]] = [
            (block, ("sources", "addresses")) for block in self.sources.blocks
        ]
        targets = [quantities.block(target.endpoint.address) for target in self.targets]
        ends += [(block, ("targets", index, "address")) for index, block in enumerate(targets)]
        for block, place in ends:
            if not any(block.within(network) for network in networks):
                raise _wrong_at(place, f"a veth lab takes addresses of {', '.join(VETH_NETWORKS)}; write one of those")
        for index, target in enumerate(self.targets):
            if not target.sink:
                message = "nobody else lives at the other end of a veth lab; write sink: true"
                raise _wrong_at(("targets", index), message)
            if target.endpoint.address in self.sources.expanded:
                message = "this address stands on the other end already, in sources.addresses; change one"
                raise _wrong_at(("targets", index, "address"), message)
        for key, said in (("fallback", self.lab.fallback is not Fallback.NONE), ("probes", bool(self.probes))):
            if said:
                where = ("lab", key) if key == "fallback" else (key,)
                raise _wrong_at(where, f"{key} goes with topology loopback only; leave it out", "wrong_key")

    @property
    def has_cable(self) -> bool:
        """Whether load and sinks are to live in two namespaces with a cable between them."""
        return self.lab is not None and self.lab.topology is Topology.VETH

    @property
    def lab_networks(self) -> tuple[str, ...]:
        """Networks (CIDR) that lead nowhere but into the lab."""
        return VETH_NETWORKS if self.has_cable else ()

    @property
    def most_open(self) -> int:
        """How many connections may be open at a time."""
        return self.churn.concurrency if self.churn else self.connections or 0

    @property
    def expects_failure(self) -> bool:
        """Whether `expect` names a failure, so that running into a wall is what the scenario is for."""
        return any(expectation.names_a_failure for expectation in self.expect)

    def _probes_are_sound(self) -> None:
        if self.probes and (self.lab is None or self.lab.fallback is Fallback.HOST):
            message = "probes are for labs, where they are in nobody's way; add lab: {}, without fallback: host"
            raise _wrong_at(("probes",), message, "wrong_key")
        seen: dict[str, int] = {}
        for index, probe in enumerate(self.probes):
            if (first := seen.setdefault(probe.name, index)) != index:
                raise _wrong_at(("probes", index, "name"), f"probes.{first} has that name already; choose another")
            target = probe.target or self.targets[0].endpoint
            if probe.source and (":" in probe.source) != (":" in target.address):
                message = f"{probe.source} and the target {target} are not of one family; change one"
                raise _wrong_at(("probes", index, "source"), message)

    def probe(self, spec: ProbeSpec, port_range: PortRange) -> Probe:
        """A probe with its defaults filled in: the first target, the whole of ip_local_port_range."""
        return Probe(
            name=spec.name,
            when=spec.when,
            kind=spec.kind,
            count=spec.count,
            strategy=spec.strategy,
            source=spec.source or "",
            target=spec.target or self.targets[0].endpoint,
            sink=spec.sink,
            ports=spec.ports or port_range,
            uid=spec.uid,
            reuseaddr=spec.reuseaddr,
        )


def load(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in a file. Raises: ScenarioError, also if the file cannot be read."""
    return parse(read_bytes(path), yamltext.printable(str(path)), overrides)


def read_bytes(path: Path) -> bytes:
    """A scenario file as it stands, up to just more than its limit. Raises: ScenarioError."""
    file = yamltext.printable(str(path))
    try:
        with path.open("rb") as stream:
            return stream.read(yamltext.TEXT_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ScenarioError("no such file; check the path", file=file) from None
    except IsADirectoryError:
        raise ScenarioError("is a directory; give the YAML file in it", file=file) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ScenarioError(f"cannot be read ({reason}); check path and permissions", file=file) from None


def parse(text: str | bytes, file: str = "scenario", overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in a text, after `overrides` (KEY=VALUE, a dotted path and a YAML value each).

    file: what to call the text in messages. Raises: ScenarioError, for a cell of its matrix as well.
    """
    return parse_cells(text, file, overrides)[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of a matrix: the values it gives to keys, and the scenario that comes of them."""

    settings: dict[str, Any]
    scenario: Scenario


def parse_cells(
    text: str | bytes, file: str = "scenario", overrides: Sequence[str] = ()
) -> tuple[Scenario, tuple[Cell, ...]]:
    """The scenario in a text as `parse` gives it, and the cells of its matrix, none if it has no matrix.

    The first key of the matrix changes slowest; what is only repeated is a matrix of one cell. Of
    `expect`, a cell has what is about one run, not what begins with "cells.". Raises: ScenarioError;
    what a value of the matrix makes wrong is shown where that value stands.
    """
    document = yamltext.read(text, file)
    whole = _scenario(document, overrides)
    matrix = document.data.get("matrix", {})
    _check_matrix(document, whole)
    choices = [[(key, index) for index in range(len(values))] for key, values in matrix.items()]
    cells = []
    for choice in itertools.product(*choices) if choices or whole.repeat > 1 else ():
        changed = document.copy()
        for key, index in choice:
            place, key_place = document.place(("matrix", key, index)), document.key_place(("matrix", key))
            changed.put(key, matrix[key][index], place, key_place)
        scenario = _scenario(changed, ())
        plain = tuple(one for one in scenario.expect if not about_cells(one))
        settings = {key: matrix[key][index] for key, index in choice}
        cells.append(Cell(settings, scenario.model_copy(update={"matrix": {}, "expect": plain, "repeat": 1})))
    _check_expectations(document, whole, len(cells))
    return whole, tuple(cells)


def _check_matrix(document: Document, whole: Scenario) -> None:
    """What concerns a matrix as a whole. Raises: ScenarioError."""
    several = "matrix" if whole.matrix else "repeat" if whole.repeat > 1 else None
    if several and whole.lab is None:
        message = f"{several}: every run has a namespace of its own; add lab: {{}}"
        raise document.key_place((several,)).error(message)
    if several and whole.lab and whole.lab.fallback is not Fallback.NONE:
        message = f"lab.fallback: {several} is not for the host itself, where one run disturbs the next; write none"
        raise document.place(("lab", "fallback")).error(message)
    paths = {key: yamltext.split_key(key) for key in whole.matrix}
    for outer, inner in itertools.permutations(paths, 2):
        if paths[inner][: len(paths[outer])] == paths[outer]:
            message = f"matrix: {shown(inner)} would be replaced together with {shown(outer)}; delete one of the two"
            raise document.key_place(("matrix", inner)).error(message)


def _check_expectations(document: Document, whole: Scenario, cells: int) -> None:
    """That each cell that is expected something of will be there. Raises: ScenarioError."""
    for index, expectation in enumerate(whole.expect):
        number = [*expectation.path.split("."), ""][1]
        if about_cells(expectation) and not (number.isdecimal() and int(number) < cells):
            valid = f"cells.0 to cells.{cells - 1}" if cells else "no cells, because there is no matrix"
            raise document.place(("expect", index)).error(f"expect.{index}: there are {valid}; change the path")


def about_cells(expectation: Expectation) -> bool:
    """Whether it is about the summary of a whole matrix: cells.INDEX.PATH."""
    return expectation.path.split(".")[0] == "cells"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario file, for editors; stricter rules live in the models."""
    schema = _without_null(Scenario.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "loadgen scenario"}


def _without_null(node: Any) -> Any:
    """Pydantic's schema for `X | None` without the null, which a scenario never has: keys are left out."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    kinds = node.get("anyOf", [])
    if {"type": "null"} in kinds:
        del node["anyOf"]
        rest = [kind for kind in kinds if kind != {"type": "null"}]
        node |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return node


# --- What pydantic found -> what a person reads -----------------------------------------------------

_MODELS: Final[Mapping[tuple[str, ...], type[_Model]]] = {
    (): Scenario,
    ("lab",): Lab,
    ("sources",): Sources,
    ("targets",): TargetSpec,
    ("churn",): ChurnSpec,
    ("probes",): ProbeSpec,
    ("arrival",): Arrival,
    ("arrival", "stages"): StageSpec,
}


def _scenario(document: Document, overrides: Sequence[str]) -> Scenario:
    for setting in overrides:
        document.override(setting)
    try:
        return Scenario.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # A key that is missing comes last: it is often there, under a name with a slip in it.
    missing = [detail["type"] == "missing" for detail in details]
    problems = [_problem(document, detail) for detail in details]
    order = [(late, problem.line, problem.column) for late, problem in zip(missing, problems, strict=True)]
    raise problems[order.index(min(order))]


def _problem(document: Document, detail: ErrorDetails) -> ScenarioError:
    context = detail.get("ctx", {})
    path = (*detail["loc"], *context.get("path", ()))
    unknown = detail["type"] == "extra_forbidden"
    at_key = unknown or detail["type"] == "wrong_key"
    place = document.key_place(path) if at_key else document.place(path)
    parent = unknown or detail["type"] == "missing"
    words = ".".join(str(step) for step in (path[:-1] if parent else path))
    message = _message(detail, path, context)
    return place.error(f"{yamltext.printable(words)}: {message}" if words else message)


def _message(detail: ErrorDetails, path: tuple[str | int, ...], context: Mapping[str, Any]) -> str:
    """One problem in the words of the scenario file: what to write, and what was written."""
    kind, value = detail["type"], detail["input"]
    got = f"; got {shown(value)}" if isinstance(value, (str, int, float)) else ""
    if kind in ("wrong_value", "wrong_key"):
        return str(context["message"])
    if kind == "value_error":
        return f"{context['error']}{got}"
    if kind == "extra_forbidden":
        keys = _fields(path[:-1])
        return f"unknown key {shown(path[-1])}; {_nearest(path[-1], list(keys))}"
    if kind == "missing":
        return f"{path[-1]} is missing; add {path[-1]}: {_example(path)}"
    if kind == "enum":
        return f"unknown word {shown(value)}; {_nearest(value, _QUOTED.findall(context['expected']))}"
    if kind == "string_type":
        return f"write text, in quotes if it looks like a number{got}"
    if kind == "bool_type":
        return f"write true or false{got}"
    if kind == "int_type":
        meant = quantities.whole_number(value)
        return f"write a whole number{'' if meant is None else f', {meant}'}{got}"
    if kind == "greater_than_equal":
        return f"write at least {context['ge']:,}{got}"
    if kind == "less_than_equal":
        return f"write at most {context['le']:,}{got}"
    shape = {"tuple_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}.get(kind, "another value")
    return f"write {shape}, for example {_example(path)}{got}"


def _nearest(word: object, valid: Sequence[str]) -> str:
    """The valid word that was probably meant, or all of them."""
    close = difflib.get_close_matches(word, valid, 1) if isinstance(word, str) and len(word) <= 64 else []
    return f'did you mean "{close[0]}"?' if close else f"write one of {', '.join(valid)}"


def _fields(path: Sequence[str | int]) -> dict[str, FieldInfo]:
    """The keys that may stand in the mapping at `path`."""
    fields = _MODELS[tuple(step for step in path if isinstance(step, str))].model_fields
    return {field.alias or name: field for name, field in fields.items()}


def _example(path: tuple[str | int, ...]) -> str:
    """What could stand at `path`, in YAML."""
    if path and isinstance(path[-1], str):
        return json.dumps((_fields(path[:-1])[path[-1]].examples or [""])[0])
    items = (_fields(path[:-2])[str(path[-2])].examples or [[""]])[0]
    return json.dumps(items[0] if isinstance(items, list) else items)
