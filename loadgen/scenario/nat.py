"""`lab.nat` of a scenario: how the gateway of the lab translates the addresses of the load.

The keys are those of the statements `snat` and `masquerade` of nft(8), and of nf_conntrack_tcp_timeout_*.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from loadgen.model import Nat, NatFlag, NatKind
from loadgen.scenario import units
from loadgen.scenario.fields import (
    VETH_NETWORKS,
    Addresses,
    Duration,
    Mistakes,
    Model,
    Ports,
    refuse,
    within,
    within_networks,
    wrong_at,
)
from loadgen.scenario.units import Block

#: Outside addresses of a gateway whose scenario names none: for documentation (RFC 5737, RFC 3849), and so apart from
#: every source and target of a lab.
DEFAULT_ADDRESSES: Final = ("192.0.2.1", "2001:db8::1")
#: An end of a lab's translation has its own networks beside those of sources and targets.
_NETWORKS: Final = (*VETH_NETWORKS, "192.0.2.0/24", "2001:db8::/32")
_ADDRESSES_MAX: Final = 4096
#: iptables spells it the other way round.
_OTHER_SPELLINGS: Final = {"random-fully": "fully-random"}


def _whole_seconds(value_s: float) -> float:
    if value_s != int(value_s):
        raise ValueError("write whole seconds, 1s or more: the kernel counts these in seconds")
    return value_s


def _flag(value: object) -> object:
    if isinstance(value, str) and value in _OTHER_SPELLINGS:
        raise ValueError(f"write {_OTHER_SPELLINGS[value]}, as nft spells it")
    return value


_Seconds = Annotated[Duration, AfterValidator(within("1s", "8760h")), AfterValidator(_whole_seconds)] | None
_Flag = Annotated[NatFlag, BeforeValidator(_flag)]


def _timeout(alias: str, what: str, example: str) -> float | None:
    field: float | None = Field(None, alias=alias, description=f"time without a packet {what}", examples=[example])
    return field


class NatTimeouts(Model):
    """nf_conntrack_tcp_timeout_* of the gateway: how long it remembers a connection after its last packet."""

    syn_sent_s: _Seconds = _timeout("syn_sent", "after a SYN without an answer", "30s")
    syn_recv_s: _Seconds = _timeout("syn_recv", "after the answer to a SYN", "30s")
    established_s: _Seconds = _timeout("established", "on an open connection", "5m")
    fin_wait_s: _Seconds = _timeout("fin_wait", "after the first FIN", "30s")
    close_wait_s: _Seconds = _timeout("close_wait", "after that FIN was acknowledged", "30s")
    last_ack_s: _Seconds = _timeout("last_ack", "after the second FIN", "10s")
    time_wait_s: _Seconds = _timeout("time_wait", "after a close by FIN from both sides", "10s")
    close_s: _Seconds = _timeout("close", "after a reset", "1s")
    max_retrans_s: _Seconds = _timeout("max_retrans", "after three repetitions without an answer", "60s")
    unacknowledged_s: _Seconds = _timeout("unacknowledged", "while sent data is not acknowledged", "60s")

    @property
    def settings(self) -> dict[str, int]:
        """Seconds by the name of the setting: {"nf_conntrack_tcp_timeout_close": 1}."""
        values = ((field.alias, getattr(self, name)) for name, field in type(self).model_fields.items())
        return {f"nf_conntrack_tcp_timeout_{alias}": int(value_s) for alias, value_s in values if value_s is not None}


class NatSpec(Model):
    """The translation of source addresses at the gateway of a lab."""

    kind: NatKind = Field(
        NatKind.SNAT, description="snat: to `addresses`; masquerade: to the gateway's own address on the outside"
    )
    addresses: Addresses | None = Field(
        None,
        description="outside addresses, of each family one block or range; left out: one of each family",
        examples=["192.0.2.1-4"],
    )
    ports: Ports | None = Field(
        None,
        description="outside ports; left out: the port of the load where it is free, else one of 1024-65535",
        examples=["1024-65535"],
    )
    flags: tuple[_Flag, ...] = Field((), description="flags of the statement of nft", examples=[["fully-random"]])
    timeouts: NatTimeouts = Field(
        NatTimeouts(), description="how long the gateway remembers connections", examples=[{"time_wait": "10s"}]
    )

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The outside addresses as they are written; those left out by default."""
        return tuple(units.block(text) for text in self.addresses or DEFAULT_ADDRESSES)

    @property
    def nat(self) -> Nat:
        """The translation as the plan has it. A family without addresses of its own has the default one."""
        named = tuple(dict.fromkeys(address for block in self.blocks for address in block.addresses()))
        families = {":" in address for address in named}
        rest = tuple(address for address in DEFAULT_ADDRESSES if (":" in address) not in families)
        return Nat(self.kind, named + rest, self.ports, self.flags, self.timeouts.settings)

    @model_validator(mode="after")
    def _can_be_translated(self) -> NatSpec:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Mistakes:
        if self.kind is NatKind.MASQUERADE and self.addresses:
            message = "masquerade takes the gateway's own address; leave addresses out, or write kind: snat"
            yield wrong_at(("addresses",), message, "wrong_key")
        for text in self.addresses or ():
            if units.is_interface(text):
                yield wrong_at(("addresses",), "a gateway of a lab has no interface that you know; write addresses")
                return
        if not all(within_networks(block, _NETWORKS) for block in self.blocks):
            yield wrong_at(("addresses",), f"write addresses of {', '.join(_NETWORKS)}")
        yield from _gaps(self.blocks)
        if len(set(self.flags)) < len(self.flags):
            yield wrong_at(("flags",), "a flag stands there twice; write it once")
        if {NatFlag.RANDOM, NatFlag.FULLY_RANDOM} <= set(self.flags):
            yield wrong_at(("flags",), "fully-random is all that random is, and more; write one of the two")

    def taken(self, addresses: Sequence[str]) -> Iterator[str]:
        """Yield those of these addresses of the lab that are outside addresses of the gateway."""
        for address in addresses:
            number = int(ipaddress.ip_address(address))
            version = 6 if ":" in address else 4
            if any(block.version == version and block.first <= number <= block.last for block in self.blocks):
                yield address


def _gaps(blocks: Sequence[Block]) -> Mistakes:
    """The addresses of a family follow each other, as nft and the kernel know them by the first and the last alone."""
    if sum(block.count for block in blocks) > _ADDRESSES_MAX:
        yield wrong_at(("addresses",), f"write at most {_ADDRESSES_MAX:,} outside addresses")
        return
    for version in (4, 6):
        ordered = sorted((block for block in blocks if block.version == version), key=lambda block: block.first)
        if any(after.first != before.last + 1 for before, after in pairwise(ordered)):
            message = (
                f"the IPv{version} addresses have a gap or stand there twice; write one range, such as 192.0.2.1-4"
            )
            yield wrong_at(("addresses",), message)
        elif ordered and ordered[0].first >> 32 != ordered[-1].last >> 32:
            yield wrong_at(("addresses",), "write a range within one /96: the kernel chooses the last 32 bits")
