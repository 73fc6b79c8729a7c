"""Types of the fields of a scenario, each with its check and its message when the check fails.

`loadgen.scenario.units` reads `30s` and `10.0.0.0/24`; here they become fields of pydantic models. A check
raises ValueError with the remedy; a check of several keys yields an error of `wrong_at` for each mistake.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from loadgen.model import PortRange
from loadgen.scenario import units

ADDRESSES_MAX: Final = 65_536
TARGETS_MAX: Final = 1_000
#: Pairs of source address and target. Each has counts in every worker and in every line of the series; planning takes
#: a second and 25 MB for a hundred thousand, and has to answer soon.
PAIRS_MAX: Final = 131_072
WEIGHT_MAX: Final = 1_000
CONNECTIONS_MAX: Final = 10_000_000
STAGES_MAX: Final = 1_000
PROCESSES_MAX: Final = 1_000
DESCRIPTORS_MAX: Final = 1_048_576
PROBES_MAX: Final = 100
CELLS_MAX: Final = 200
REPEAT_MAX: Final = 100
#: 65,535 less the headers of IPv4 and UDP (RFC 768, RFC 791).
DATAGRAM_BYTES_MAX: Final = 65_507
LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
#: Networks for the ends of a virtual cable: for benchmarks (RFC 2544, RFC 5180), and unique local ones.
VETH_NETWORKS: Final = ("198.18.0.0/15", "2001:2::/48", "fd00::/8")
#: IPv6 addresses of one end of a segment. Each joins a multicast group of the interface, and is compared with those
#: that are there: 4,096 take 0.4 s, 16,384 take 10 s.
SEGMENT_IPV6_MAX: Final = 4_096
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}"


#: The mistakes that a check of several keys finds, each made by `wrong_at`.
Mistakes: TypeAlias = Iterable[PydanticCustomError]


def _pattern(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._*?-]{1,64}", text):
        raise ValueError("write a name of letters, digits, '.', '_' and '-', or a pattern with * and ?")
    return text


#: The name of an agent, or a pattern of names with * and ?.
AgentPattern = Annotated[str, AfterValidator(_pattern)]


def within(low: str, high: str) -> Callable[[float], float]:
    """Return a check that a duration lies between two others, both included."""

    def check(value_s: float) -> float:
        if not units.duration_s(low) <= value_s <= units.duration_s(high):
            raise ValueError(f"write a duration from {low} to {high}")
        return value_s

    return check


def wrong_at(
    path: tuple[str | int, ...], message: str, kind: Literal["wrong_value", "wrong_key"] = "wrong_value"
) -> PydanticCustomError:
    """Return the error of a check of several keys that points at one of them; `path` starts at the model."""
    return PydanticCustomError(kind, "{message}", {"message": message, "path": path})


def refuse(mistakes: Mistakes) -> None:
    """Raise all mistakes that `wrong_at` made as one error; return if there are none."""
    contexts = [(mistake.context or {}) | {"kind": mistake.type} for mistake in mistakes]
    if contexts:
        raise PydanticCustomError("wrong_values", "{message}", {**contexts[0], "mistakes": contexts})


def items(most: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a check that a list has 1 to `most` items; it runs after the checks of the items, unlike pydantic's."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if not 1 <= len(items) <= most:
            raise ValueError(f"write 1 to {most:,} items")
        return items

    return check


def at_most(most: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a check that a list has at most `most` items."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(items) > most:
            raise ValueError(f"write at most {most:,} items")
        return items

    return check


def address_text(text: str) -> str:
    """Check an address, CIDR, range or interface name, and return it as it was written."""
    if not units.is_interface(text):
        addresses = units.block(text)
        check_count(addresses.count)
        units.check_usable(addresses)
    return text


def within_networks(block: units.Block, networks: Iterable[str]) -> bool:
    """Return True if all addresses of a block lie in one of these networks (CIDR)."""
    return any(block.within(ipaddress.ip_network(network)) for network in networks)


def check_count(count: int) -> None:
    """Check the number of addresses. Raises: ValueError if it is above ADDRESSES_MAX."""
    if count > ADDRESSES_MAX:
        many = f"{count:,}" if count < 10**12 else "very many"
        raise ValueError(f"write at most {ADDRESSES_MAX:,} addresses in all, these are {many}")


def listening_text(text: str) -> str:
    """Return an address and port in canonical form; the address may stand for all of its family."""
    return str(units.listening_endpoint(text))


def destination_text(text: str) -> str:
    """Return an address or host name with its port or ports in canonical form."""
    return str(units.destination(text))


def name_text(text: str) -> str:
    """Check that a name can be part of a file name, and return it."""
    if not re.fullmatch(NAME, text):
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

Duration = Annotated[float, BeforeValidator(units.duration_s), WithJsonSchema(_DURATION_SCHEMA)]
Rate = Annotated[float, BeforeValidator(units.rate_per_s), WithJsonSchema(_RATE_SCHEMA)]
Ports = Annotated[PortRange, PlainValidator(units.port_range), WithJsonSchema(_PORTS_SCHEMA)]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(address_text)], ...],
    AfterValidator(items(ADDRESSES_MAX)),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(_ADDRESSES_SCHEMA),
]


class Model(BaseModel):
    """Base of all sections: frozen, no unknown keys; defaults are written as in YAML and checked like values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
