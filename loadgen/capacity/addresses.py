"""Source addresses of a plan: that they are there, fit their targets, and are enough."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loadgen.errors import CapacityError, HostError, UsageError
from loadgen.kernel.host import HostFacts
from loadgen.kernel.missing import EVERY_INTERFACE, Missing, MissingReason
from loadgen.model import Endpoint, Strategy, Target

_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Help:
    """A change that lets a missing source address be used: of the scenario (`set`), of a sysctl, or a command."""

    text: str
    set: Mapping[str, bool] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def sentence(self) -> str:
        """The change in words, with its command where the words do not have it."""
        return f"{self.text}: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True)
class _Row:
    """What a reason means, with {interface} and {network} to fill in, and what helps, best first."""

    says: str
    helps: Callable[[Missing], Iterator[Help]]


def absent(facts: HostFacts) -> HostError | None:
    """Return the error for source addresses that cannot be used here; None where all can."""
    first = first_missing(facts)
    if first is None:
        return None
    return HostError(f"{because(facts)}; {', or '.join(change.sentence for change in helps(first))}")


def because(facts: HostFacts) -> str:
    """Return in words which source addresses cannot be used and why; "" where all can.

    The reason is that of the first; the count is of all.
    """
    first = first_missing(facts)
    if first is None:
        return ""
    more = max(facts.missing_count, len(facts.missing_sources)) - 1
    names = f"source address {first.address}" + (f" and {more:,} more" if more else "")
    says = _ROWS[first.reason].says.format(interface=_interfaces(first.interface))
    return f"{names}: {says}" if first.reason in _OF_IPV6 else f"{names} {says}"


def helps(missing: Missing) -> tuple[Help, ...]:
    """Return the changes that let a missing source address be used, the best first."""
    return tuple(_ROWS[missing.reason].helps(missing))


def first_missing(facts: HostFacts) -> Missing | None:
    """Return the first missing source address with its reason, which files of loadgen 0.1.0 do not say."""
    if facts.missing_because:
        return facts.missing_because[0]
    return unexplained(facts.missing_sources[0]) if facts.missing_sources else None


def unexplained(address: str, *, freebind: bool = False) -> Missing:
    """Return an address that is missing without a reason known."""
    reason = MissingReason.NOT_ROUTED if freebind else MissingReason.ABSENT
    return Missing(address, reason, "lo", 128 if ":" in address else 32)


def _interfaces(name: str) -> str:
    return "every interface" if name == EVERY_INTERFACE else f"interface {name}"


def _network(missing: Missing) -> str:
    """Return the address as `ip address` takes it, without its zone."""
    return f"{missing.address.partition('%')[0]}/{missing.prefix_length}"


def _add(missing: Missing) -> Iterator[Help]:
    yield Help("add it with", command=f"ip address add {_network(missing)} dev {missing.interface}")


def _route(missing: Missing) -> Iterator[Help]:
    command = f"ip route add local {_network(missing)} dev {missing.interface}"
    yield Help("add it, or a prefix around it, with", command=command)


def _bind_freely(_: Missing) -> Iterator[Help]:
    yield Help("set `sources.freebind: true`, with which a route is enough", set={"sources.freebind": True})


def _wait(missing: Missing) -> Iterator[Help]:
    yield Help("wait a second or two until it has ended", command="sleep 2")
    yield from _without_detection(missing)


def _without_detection(missing: Missing) -> Iterator[Help]:
    place = f"{_network(missing)} dev {missing.interface}"
    command = f"ip address del {place}; ip address add {place} nodad"
    yield Help("add the address without detection", command=command)


def _another(_: Missing) -> Iterator[Help]:
    yield Help("use another address, or take this one from the other host")


def _bring_up(missing: Missing) -> Iterator[Help]:
    yield Help("bring the interface up, and its other end", command=f"ip link set {missing.interface} up")


def _switch_on(missing: Missing) -> Iterator[Help]:
    """Name IPv4 first where the address is loopback's, which has one of IPv4 everywhere."""
    yield from _use_ipv4(missing)
    loopback = missing.address == "::1"
    name = f"net.ipv6.conf.{missing.interface.replace('.', '/')}.disable_ipv6"  # sysctl(8) swaps the two signs
    command = f"sysctl -w {name}=0"
    if not loopback:  # the interface lost its addresses when IPv6 was switched off
        interface = "INTERFACE" if missing.interface == EVERY_INTERFACE else missing.interface
        command += f"; ip address add {_network(missing)} dev {interface}"
    # A setting of a lab is made before its addresses are there, and loopback has its own.
    yield Help("switch IPv6 on", sysctls={name: "0"} if loopback else {}, command=command)


def _use_ipv4(missing: Missing) -> Iterator[Help]:
    if missing.address == "::1":
        yield Help("use 127.0.0.1 instead of ::1, as source and as target")
    elif missing.reason is MissingReason.NO_IPV6:
        yield Help("use IPv4 addresses, as source and as target")


def _load_ipv6(missing: Missing) -> Iterator[Help]:
    yield from _use_ipv4(missing)
    yield Help("start the kernel with IPv6: without ipv6.disable=1, and with its module", command="modprobe ipv6")


#: Reasons that are about IPv6 and not about the address.
_OF_IPV6: Final = (MissingReason.IPV6_OFF, MissingReason.NO_IPV6)
_ROWS: Final = {
    MissingReason.ABSENT: _Row("is not on this host", _add),
    MissingReason.NOT_ROUTED: _Row("is not routed to this host", _route),
    MissingReason.NEEDS_FREEBIND: _Row(
        "is routed to this host, but on no interface, and IPv6 binds such an address only freely", _bind_freely
    ),
    MissingReason.TENTATIVE: _Row("is on {interface}, but tentative: duplicate address detection has not ended", _wait),
    MissingReason.DUPLICATE: _Row(
        "is on {interface}, but duplicate address detection found another host that has it", _another
    ),
    MissingReason.INTERFACE_DOWN: _Row("cannot be used: {interface} is down or has no carrier", _bring_up),
    MissingReason.IPV6_OFF: _Row("IPv6 is off on {interface} (disable_ipv6)", _switch_on),
    MissingReason.NO_IPV6: _Row("this kernel runs without IPv6", _load_ipv6),
}


def require_families(sources: Sequence[str], targets: Sequence[Target]) -> None:
    """Raise HostError for a target whose family no source address has, which an interface may turn out to lack."""
    families = {Endpoint(source, 0).family for source in sources}
    for target in targets:
        if target.endpoint.family not in families:
            version = 6 if ":" in target.endpoint.address else 4
            raise HostError(f"no source address is IPv{version}, as {target.endpoint} is; add one to sources.addresses")


def routes_of(
    strategy: Strategy, sources: Sequence[str], targets: Sequence[Target], facts: HostFacts
) -> tuple[str, ...]:
    """Return for each target the source address that connect() alone takes; () for a strategy that binds one.

    Where a named source cannot be used, the routes give another or none: then the result is what the scenario means.

    Raises: UsageError where the scenario names sources other than those of the routes; HostError without a route.
    """
    if strategy.row.binds_address:
        return ()
    if facts.missing_sources:
        of_family = {Endpoint(source, 0).family: source for source in reversed(sources)}
        return tuple(of_family[target.endpoint.family] for target in targets)
    if "" in facts.default_sources:
        unreachable = targets[facts.default_sources.index("")].endpoint
        raise HostError(
            f"there is no route to {unreachable}, or no source address for it; "
            f"`ip route get {unreachable.address}` says more"
        )
    chosen = sorted(set(facts.default_sources))
    if sorted(sources) != chosen:
        raise UsageError(
            f"strategy {strategy} leaves the source address to the route, which gives "
            f"{', '.join(chosen)} for {targets[0].endpoint}; write `addresses: [{', '.join(chosen)}]`, "
            "or use late-range to choose sources yourself"
        )
    return facts.default_sources


def extended(sources: Sequence[str], needed: int, notes: list[str]) -> Sequence[str]:
    """Return the addresses with more of 127.0.0.0/8 until there are enough; all of these exist without set-up.

    Raises: CapacityError where the network ends first.
    """
    if len(sources) >= needed:
        return sources
    addresses = list(sources)
    taken = set(sources)
    following = max(ipaddress.IPv4Address(source) for source in sources)
    while len(addresses) < needed:
        following += 1
        if following not in _LOOPBACK or following == _LOOPBACK.broadcast_address:
            raise CapacityError(
                "source addresses",
                needed=needed,
                available=len(addresses),
                remedy="start lower in 127.0.0.0/8",
            )
        if str(following) not in taken:
            addresses.append(str(following))
    notes.append(f"{needed - len(sources)} more source addresses of 127.0.0.0/8 make up for the narrower port range")
    return addresses
