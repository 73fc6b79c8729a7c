"""The messages between coordinator, agent and share: plain JSON, a line each between agent and share.

An agent starts one process for its share of a run (`loadgen.cluster.share`). The agent writes orders to the standard
input of that process and reads reports from its standard output. A share that reads no order for LEASE_S, or the end of
its input, stops its load by itself: then the coordinator or the agent is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

#: A share without an order for this long closes its connections and ends. The agent passes on a `Continue` whenever the
#: coordinator has asked for news, about once a second.
LEASE_S: Final = 8.0
#: An agent without an answer for this long is shown as suspect, and for LOST_S counts as lost.
SUSPECT_S: Final = 3.0
LOST_S: Final = 10.0


class Portion(Struct, frozen=True, kw_only=True):
    """The part of a scenario that one agent takes.

    name: of the agent. index, of: its place among the agents that open connections; one that only listens has the
    weight 0, and its place is behind them. before, weight, total: sums of weights: of the agents before it, of itself,
    and of all. weights: of each of these agents, in order; (): all of them have the weight of this one. sources,
    targets: what stands in place of the scenario's `sources.addresses` and `targets`, as YAML would have it; None: the
    scenario's own.
    """

    name: str
    index: int = 0
    of: int = 1
    before: int = 0
    weight: int = 1
    total: int = 1
    weights: tuple[int, ...] = ()
    sources: Any = None
    targets: Any = None


class Prepare(Struct, frozen=True, kw_only=True, tag="prepare", tag_field="do"):
    """Read the scenario, take the portion, plan it, and start the processes. The first order of all.

    scenario: the YAML text. origin: the name of its file, for messages. settings: as --set takes them. results: the
    directory in which the run directory is made. The rest as in `loadgen.control.orchestrator.Options`; allow is the
    agent's own, and not the coordinator's. only_plan: report what
    `loadgen plan` would, and end.
    """

    scenario: str
    origin: str
    settings: tuple[str, ...]
    portion: Portion
    results: str
    allow: tuple[str, ...] = ()
    authorized: bool = False
    port_blocking: bool = False
    force: bool = False
    only_plan: bool = False


class Start(Struct, frozen=True, kw_only=True, tag="start", tag_field="do"):
    """Begin at this instant of CLOCK_MONOTONIC of the agent's host, in nanoseconds."""

    at_ns: int


class Hold(Struct, frozen=True, kw_only=True, tag="hold", tag_field="do"):
    """Every agent has opened its connections, or will not: hold them now."""


class Interrupt(Struct, frozen=True, kw_only=True, tag="interrupt", tag_field="do"):
    """The same as Ctrl-C: once closes all connections and reports, twice stops at once."""


class Continue(Struct, frozen=True, kw_only=True, tag="continue", tag_field="do"):
    """The coordinator is there."""


class Close(Struct, frozen=True, kw_only=True, tag="close", tag_field="do"):
    """Every agent expects that the sinks close first: close what they hold now."""


class Finish(Struct, frozen=True, kw_only=True, tag="finish", tag_field="do"):
    """No other agent has a connection to the sinks of this share any more; established: the number they had."""

    established: int


Order = Prepare | Start | Hold | Close | Finish | Interrupt | Continue


class Planned(Struct, frozen=True, kw_only=True, tag="planned", tag_field="report"):
    """The plan of a share as plan.json has it, and its host as host.json has it."""

    plan: Raw
    host: Raw


class Assessed(Struct, frozen=True, kw_only=True, tag="assessed", tag_field="report"):
    """The answer to `Prepare.only_plan`, as `loadgen plan --json` has it (loadgen.plan/1)."""

    assessment: Raw


class Ready(Struct, frozen=True, kw_only=True, tag="ready", tag_field="report"):
    """Every process waits for the start; path: of the run directory."""

    path: str


class Began(Struct, frozen=True, kw_only=True, tag="began", tag_field="report"):
    """The first connection was due at the first instant, and begun at the second, both of CLOCK_MONOTONIC."""

    due_ns: int
    begun_ns: int


class Opened(Struct, frozen=True, kw_only=True, tag="opened", tag_field="report"):
    """Every arrival was answered; the share waits for `Hold`."""


class Closing(Struct, frozen=True, kw_only=True, tag="closing", tag_field="report"):
    """Connections of the share expect that the sinks close them first; the share waits for `Close`."""


class Drained(Struct, frozen=True, kw_only=True, tag="drained", tag_field="report"):
    """The share has no connection of its own any more; its sinks serve other agents until `Finish`."""


class SeriesLine(Struct, frozen=True, kw_only=True, tag="line", tag_field="report"):
    """A line as it was written to series.jsonl."""

    line: Raw


class Happened(Struct, frozen=True, kw_only=True, tag="event", tag_field="report"):
    """An event as it was written to events.jsonl."""

    event: Raw


class Ended(Struct, frozen=True, kw_only=True, tag="ended", tag_field="report"):
    """The share is over. exit_code: as `loadgen run` would have; path: of the run directory, "" if there is none."""

    exit_code: Annotated[int, Meta(ge=0)]
    path: str = ""
    text: str = ""


Report = Planned | Assessed | Ready | Began | Opened | Closing | Drained | SeriesLine | Happened | Ended


class News(Struct, frozen=True, kw_only=True):
    """Reports of an agent's share that the coordinator has not received, oldest first, as JSON lines.

    running: False once the share has ended and all of its reports are among these or were before.
    """

    reports: tuple[Raw, ...]
    running: bool


class AgentFacts(Struct, frozen=True, kw_only=True):
    """An agent as it describes itself.

    versions: of loadgen, python, distributed and the kernel. allow: what its operator has allowed. now_ns: its
    CLOCK_REALTIME; monotonic_ns: its CLOCK_MONOTONIC.
    """

    name: str
    host: str
    pid: int
    versions: Mapping[str, str]
    cpus: int
    descriptors: int
    allow: tuple[str, ...]
    authorized: bool
    now_ns: int
    monotonic_ns: int
