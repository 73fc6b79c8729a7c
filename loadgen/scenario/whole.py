"""A whole scenario: what its parts must agree on."""

from __future__ import annotations

import ipaddress
import json
import math
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, PlainValidator, StrictInt, WithJsonSchema, field_validator, model_validator

from loadgen import quantities
from loadgen.arrivals import due_within
from loadgen.expectation import Expectation
from loadgen.model import CloseMode, Endpoint, PortRange, Probe, ProbeWhen, Topology
from loadgen.quantities import Block
from loadgen.scenario.parts import Arrival, ChurnSpec, Fallback, HeartbeatSpec, Lab, ProbeSpec, Sources, TargetSpec
from loadgen.scenario.values import (
    CELLS_MAX,
    CONNECTIONS_MAX,
    LOOPBACK,
    NAME,
    PROBES_MAX,
    PROCESSES_MAX,
    REPEAT_MAX,
    TARGETS_MAX,
    VETH_NETWORKS,
    Duration,
    Model,
    at_most,
    items,
    name_text,
    within,
    wrong_at,
)
from loadgen.yamltext import shown


class Scenario(Model):
    """One experiment: so many connections, from here, to there, this fast, held this long; or churn."""

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
        None, description="instead of connections: open and close all the time", examples=[{"duration": "10s"}]
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
    heartbeat: HeartbeatSpec | None = Field(
        None, description="a sign of life of what is held", examples=[{"every": "1s"}]
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
    probes: Annotated[tuple[ProbeSpec, ...], AfterValidator(at_most(PROBES_MAX))] = Field(
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
                raise wrong_at((key,), "a matrix cannot change itself; name another key", "wrong_key")
            if not isinstance(values, list) or not values:
                raise wrong_at((key,), "write a list of values to try, for example [1, 2]")
            for index, one in enumerate(values):
                if any(json.dumps(one) == json.dumps(other) for other in values[:index]):
                    raise wrong_at((key, index), f"{shown(one)} is in this list already; delete one of the two")
        if isinstance(value, dict) and math.prod(map(len, value.values())) > CELLS_MAX:
            count = math.prod(map(len, value.values()))
            raise wrong_at((), f"these are {count:,} combinations; write at most {CELLS_MAX}")
        return value

    @model_validator(mode="after")
    def _ends_can_meet(self) -> Scenario:
        seen: dict[Endpoint, int] = {}
        versions = {block.version for block in self.sources.blocks}
        for index, target in enumerate(self.targets):
            place, version = ("targets", index, "address"), 6 if ":" in target.endpoint.address else 4
            if (first := seen.setdefault(target.endpoint, index)) != index:
                raise wrong_at(place, f"{target.endpoint} is targets.{first} already; delete one of the two")
            if not self.sources.interfaces and version not in versions:
                message = f"no source address is IPv{version}; add one to sources.addresses"
                raise wrong_at(place, message)
        self._probes_are_sound()
        self._churn_is_sound()
        self._cable_is_sound()
        if self.lab and self.lab.fallback is Fallback.HOST:
            ends = [
                *self.sources.blocks,
                *(quantities.block(target.endpoint.address) for target in self.targets),
            ]
            if self.sources.interfaces or not all(block.within(LOOPBACK) for block in ends):
                message = "host needs every source and target in 127.0.0.0/8; change them, or write none"
                raise wrong_at(("lab", "fallback"), message)
        return self

    def _churn_is_sound(self) -> None:
        if self.churn is None:
            if self.connections is None:
                message = "connections is missing; add connections: 100000, or churn: {duration: 10s}"
                raise wrong_at(("connections",), message)
            if self.close is CloseMode.TARGET and not all(target.sink for target in self.targets):
                message = "only a sink of ours closes held connections when told to; write sink: true at every target"
                raise wrong_at(("close",), message)
            return
        for key, said, instead in (
            ("connections", self.connections is not None, "churn.concurrency says how many are open at a time"),
            ("hold", "hold_s" in self.model_fields_set, "churn.duration says how long it goes on"),
            ("heartbeat", self.heartbeat is not None, "churn.exchange has each of them send something"),
        ):
            if said:
                raise wrong_at((key,), f"{key} is for connections that are held; {instead}", "wrong_key")
        for index, probe in enumerate(self.probes):
            if probe.when is ProbeWhen.HOLD:
                raise wrong_at(("probes", index, "when"), "churn holds nothing; write after")
        if self.arrival:
            count = due_within(self.arrival.stages, self.churn.duration_s)
            if not 1 <= count <= CONNECTIONS_MAX:
                message = f"{count:,} connections are due in that time; write a duration for 1 to {CONNECTIONS_MAX:,}"
                raise wrong_at(("churn", "duration"), message)

    def _cable_is_sound(self) -> None:
        """That both ends of a veth lab have addresses of their own, and nothing is expected of anybody else."""
        if self.lab is None or not self.has_cable:
            return
        if self.sources.interfaces:
            message = "a veth lab has no interface that you know; write addresses of 198.18.0.0/15"
            raise wrong_at(("sources", "addresses"), message)
        networks = [ipaddress.ip_network(network) for network in VETH_NETWORKS]
        ends: list[tuple[Block, tuple[str | int, ...]]] = [
            (block, ("sources", "addresses")) for block in self.sources.blocks
        ]
        targets = [quantities.block(target.endpoint.address) for target in self.targets]
        ends += [(block, ("targets", index, "address")) for index, block in enumerate(targets)]
        for block, place in ends:
            if not any(block.within(network) for network in networks):
                raise wrong_at(place, f"a veth lab takes addresses of {', '.join(VETH_NETWORKS)}; write one of those")
        for index, target in enumerate(self.targets):
            if not target.sink:
                message = "nobody else lives at the other end of a veth lab; write sink: true"
                raise wrong_at(("targets", index), message)
            if target.endpoint.address in self.sources.expanded:
                message = "this address stands on the other end already, in sources.addresses; change one"
                raise wrong_at(("targets", index, "address"), message)
        for key, said in (("fallback", self.lab.fallback is not Fallback.NONE), ("probes", bool(self.probes))):
            if said:
                where = ("lab", key) if key == "fallback" else (key,)
                raise wrong_at(where, f"{key} goes with topology loopback only; leave it out", "wrong_key")

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
            raise wrong_at(("probes",), message, "wrong_key")
        seen: dict[str, int] = {}
        for index, probe in enumerate(self.probes):
            if (first := seen.setdefault(probe.name, index)) != index:
                raise wrong_at(("probes", index, "name"), f"probes.{first} has that name already; choose another")
            target = probe.target or self.targets[0].endpoint
            if probe.source and (":" in probe.source) != (":" in target.address):
                message = f"{probe.source} and the target {target} are not of one family; change one"
                raise wrong_at(("probes", index, "source"), message)

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
