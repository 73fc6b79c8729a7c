"""The reasons of `loadgen.kernel.missing` in words, and the changes that let the address be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from loadgen.kernel.missing import EVERY_INTERFACE, Missing, MissingReason


@dataclass(frozen=True, slots=True)
class Help:
    """A change that lets a missing source address be used: of the scenario (`set`), of a sysctl, or a command.

    program: the text for the owner of another program; "": the same.
    """

    text: str
    set: Mapping[str, bool] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    program: str = ""

    @property
    def sentence(self) -> str:
        """The change in words, with its command where the words do not have it."""
        return f"{self.text}: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True)
class _Row:
    """The words for a reason, with {interface} to fill in, and the changes that help, best first."""

    says: str
    helps: Callable[[Missing], Iterator[Help]]


def because(missing: Missing, more: int = 0) -> str:
    """Return in words which address cannot be used and why: "address ::1: IPv6 is off on interface lo".

    more: further addresses that cannot be used, whatever their reasons.
    """
    names = f"address {missing.address}" + (f" and {more:,} more" if more else "")
    says = _ROWS[missing.reason].says.format(interface=_interfaces(missing.interface))
    return f"{names}: {says}" if missing.reason in _OF_IPV6 else f"{names} {says}"


def helps(missing: Missing) -> tuple[Help, ...]:
    """Return the changes that let the address be used as a source, the best first."""
    return tuple(_ROWS[missing.reason].helps(missing))


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
    yield Help(
        "set `sources.freebind: true`, with which a route is enough",
        set={"sources.freebind": True},
        program="set IP_FREEBIND before bind(), or net.ipv6.ip_nonlocal_bind=1 on the host",
    )


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
