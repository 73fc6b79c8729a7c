"""Situations to compute remedies for: the default range, one source and one target, on a host of the usual settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loadgen.capacity.limits import EVERY_LIMIT
from loadgen.capacity.remedies import Remedy, Situation
from loadgen.model import CloseMode, Endpoint, Plan, PortRange, Strategy, Target
from loadgen.results.schema import files
from loadgen.results.schema.host import Host
from tests.plans import plan_of

TARGETS: Final = (Target(Endpoint("127.0.0.1", 9000), sink=False), Target(Endpoint("127.0.0.1", 9001), sink=False))
#: The default range, one source, one target.
ONE: Final = plan_of(
    connections=28_232,
    sources=("127.0.0.2",),
    targets=TARGETS[:1],
    strategy=Strategy.LATE,
    port_blocking=True,
    ports=PortRange(32_768, 60_999),
    capacity_per_pair=28_232,
    close=CloseMode.FIN,
)
HOST: Final[dict[str, Any]] = {
    "port_range": {"low": 32_768, "high": 60_999},
    "reserved_ports": [],
    "listeners": [],
    "unprivileged_port_start": 1024,
    "port_range_option": True,
    "sysctls": {"net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_timestamps": "1"},
}
#: For the owner of a program.
LATE_RANGE: Final = "a program: set IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE before bind(address, 0)"


def values_of(
    plan: Plan, short: int, host: Mapping[str, Any] = HOST, limit: str = "four-tuples", **known: Any
) -> list[Remedy]:
    """The remedies of a plan that is `short` connections too small."""
    return EVERY_LIMIT[limit].remedies(situation_of(plan, short, host, **known))


def situation_of(plan: Plan, short: int = 0, host: Mapping[str, Any] = HOST, **known: Any) -> Situation:
    return Situation(plan, files.convert(host, Host).facts(plan.ports), short, target="127.0.0.1:9000", **known)


def sentences_of(
    plan: Plan, short: int, host: Mapping[str, Any] = HOST, limit: str = "four-tuples", **known: Any
) -> list[str]:
    """The same as sentences."""
    return [remedy.sentence for remedy in values_of(plan, short, host, limit, **known)]
