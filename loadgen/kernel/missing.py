"""The reason why a source address cannot be used: absent, tentative, IPv6 switched off, or routed and not bound freely.

bind() says EADDRNOTAVAIL for all of them, and so does connect() without bind() where it finds no address of its own.
The kernel's list of addresses (RTM_GETADDR) has the flags of each, its routes say which prefixes are this host's, and
net.ipv6.conf.INTERFACE.disable_ipv6 says where IPv6 is off; an interface loses its IPv6 addresses when it is switched
off.

Sources: rtnetlink(7), struct ifaddrmsg, IFA_FLAGS; linux/if_addr.h; inet6_bind() and ipv6_chk_addr_and_flags() in
net/ipv6; RFC 4862 5.4 for duplicate address detection; netdevice(7), SIOCGIFFLAGS.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import EAFNOSUPPORT
from pathlib import Path
from typing import Final, NamedTuple

from loadgen.kernel import netlink, route

_IPV6_CONF: Final = Path("/proc/sys/net/ipv6/conf")
_LOOPBACK: Final = "lo"
#: The name that stands for all interfaces, in net.ipv6.conf and in `Missing.interface`.
EVERY_INTERFACE: Final = "all"
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
#: sizeof(struct ifaddrmsg): family, prefix length, 8 bits of the flags, scope, index of the interface.
_IFADDRMSG: Final = struct.Struct("=BBBBI")
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_FLAGS: Final = 8
_IFA_F_OPTIMISTIC: Final = 0x04
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_TENTATIVE: Final = 0x40
_PART_MAX_BYTES: Final = 64 * 1024
#: netdevice(7)
_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP: Final = 0x1
_IFF_RUNNING: Final = 0x40


class MissingReason(StrEnum):
    """Why a source address cannot be used; the names stand in host.json and do not change."""

    ABSENT = "absent"
    """on no interface"""
    NOT_ROUTED = "not-routed"
    """to be bound freely (freebind), and no local route leads to it"""
    NEEDS_FREEBIND = "needs-freebind"
    """in a prefix that is routed to this host, on no interface, and freebind is not set"""
    TENTATIVE = "tentative"
    """duplicate address detection has not ended"""
    DUPLICATE = "duplicate"
    """duplicate address detection has found another host with the address"""
    INTERFACE_DOWN = "interface-down"
    """its interface is down or has no carrier, so that duplicate address detection cannot end"""
    IPV6_OFF = "ipv6-off"
    """disable_ipv6 is set on the interface, or on all"""
    NO_IPV6 = "no-ipv6"
    """this kernel runs without IPv6"""


@dataclass(frozen=True, slots=True)
class Missing:
    """A source address that cannot be used.

    interface: that of the reason; "all" where IPv6 is off on every interface; where the address is absent, one that
    it can be added to. prefix_length: of the address as it is on its interface; where it is on none, that of one host.
    """

    address: str
    reason: MissingReason
    interface: str
    prefix_length: int


class _Entry(NamedTuple):
    """An address of the kernel's list. interface: its index."""

    interface: int
    prefix_length: int
    flags: int


class Looker:
    """Tells the reasons from the addresses, routes and settings of the current namespace, listed once.

    Raises: OSError from netlink.
    """

    def __init__(self) -> None:
        self._entries = _addresses()
        self._names = dict(socket.if_nameindex())

    def missing(self, address: str, *, freebind: bool) -> Missing | None:
        """Return the reason why `address` cannot be used; None if nothing stands against it any more.

        freebind: it is bound with IP_FREEBIND. Raises: OSError from netlink.
        """
        text, _, zone = address.partition("%")
        parsed = ipaddress.ip_address(text)
        six = parsed.version == 6
        reason, interface = MissingReason.ABSENT, _LOOPBACK
        length: int = parsed.max_prefixlen
        if six and not has_ipv6():
            reason = MissingReason.NO_IPV6
        elif entry := self._entry(parsed.packed, zone):
            interface, length = self._names.get(entry.interface, str(entry.interface)), entry.prefix_length
            found = self._against(entry, interface)
            if found is None:
                return None
            reason = found
        elif six and not freebind and not list(route.not_local([text])):
            reason = MissingReason.NEEDS_FREEBIND
        elif six and (off := self._without_ipv6(parsed, zone)):
            reason, interface = MissingReason.IPV6_OFF, off
        elif six and parsed.is_loopback and not _flags(_LOOPBACK) & _IFF_UP:
            reason = MissingReason.INTERFACE_DOWN
        elif freebind:
            reason = MissingReason.NOT_ROUTED
        elif six:
            interface = zone or next((name for name in self._loopback_first() if not ipv6_is_off(name)), _LOOPBACK)
        return Missing(address, reason, interface, length)

    def _entry(self, packed: bytes, zone: str) -> _Entry | None:
        entries = self._entries.get(packed, [])
        return next((entry for entry in entries if zone in ("", self._names.get(entry.interface))), None)

    def _against(self, entry: _Entry, interface: str) -> MissingReason | None:
        if entry.flags & _IFA_F_DADFAILED:
            return MissingReason.DUPLICATE
        running = _flags(interface) & _IFF_UP and _flags(interface) & _IFF_RUNNING
        if entry.flags & _IFA_F_TENTATIVE and not entry.flags & _IFA_F_OPTIMISTIC:
            return MissingReason.TENTATIVE if running else MissingReason.INTERFACE_DOWN
        return None if running else MissingReason.INTERFACE_DOWN

    def _without_ipv6(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, zone: str) -> str:
        """Return the interface whose IPv6 would have to be on for this address, "all" for any of them; "" if it is."""
        only = _LOOPBACK if address.is_loopback else zone
        names = [only] if only else list(self._names.values())
        if not all(map(ipv6_is_off, names)):
            return ""
        return names[0] if len(names) == 1 else EVERY_INTERFACE

    def _loopback_first(self) -> list[str]:
        return sorted(self._names.values(), key=lambda name: name != _LOOPBACK)


def has_ipv6() -> bool:
    """Return True unless this kernel runs without IPv6 (no module, or ipv6.disable=1)."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno == EAFNOSUPPORT:
            return False
        raise
    return True


def ipv6_is_off(interface: str) -> bool:
    """Return True if net.ipv6.conf.INTERFACE.disable_ipv6 is set in the current namespace."""
    try:
        return (_IPV6_CONF / interface / "disable_ipv6").read_text().strip() != "0"
    except OSError:  # the interface has never had IPv6: its MTU is below 1280 (RFC 8200 5), or it is gone
        return True


def _flags(interface: str) -> int:
    """Return the flags of an interface; 0 for one that is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", interface.encode(), 0))
        except OSError:
            return 0
    return int(struct.unpack("16sH14x", answer)[1])


def _addresses() -> dict[bytes, list[_Entry]]:
    """Return the kernel's list of addresses by their bytes, as `ip address` shows it."""
    found: dict[bytes, list[_Entry]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        body = _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        sock.send(netlink.message(_RTM_GETADDR, netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP, body))
        kind = 0
        while kind not in (netlink.NLMSG_DONE, netlink.NLMSG_ERROR):
            for kind, payload in messages(sock.recv(_PART_MAX_BYTES)):
                if kind == _RTM_NEWADDR:
                    packed, entry = parse(payload)
                    found.setdefault(packed, []).append(entry)
    return found


def messages(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each netlink message. Raises: ValueError if the length of one is impossible."""
    at = 0
    while at < len(buffer):
        length, kind = netlink.unpacked("=IH10x", buffer, at)
        if length < netlink.HEADER_BYTES or at + length > len(buffer):
            raise ValueError(f"a message of {length} bytes where {len(buffer) - at} are left")
        yield kind, buffer[at + netlink.HEADER_BYTES : at + length]
        at += netlink.aligned(length)


def parse(payload: bytes) -> tuple[bytes, _Entry]:
    """Return the address of a message RTM_NEWADDR, and what the message says of it.

    Raises: ValueError if it has none, is too short, or the length of an attribute is impossible.
    """
    _, prefix_length, flags, _, index = netlink.unpacked(_IFADDRMSG.format, payload)
    attributes = netlink.attributes(payload, _IFADDRMSG.size, len(payload))
    if wide := attributes.get(_IFA_FLAGS):  # 32 bits, since Linux 3.14
        (flags,) = netlink.unpacked("=I", wide)
    # IFA_ADDRESS is the other end where an interface has a peer.
    address = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    if not address:
        raise ValueError("a message about an address without the address")
    return address, _Entry(index, prefix_length, flags)


def reasons(addresses: Sequence[str], *, freebind: bool) -> tuple[Missing, ...]:
    """Return the reasons for those of the addresses that cannot be used. Raises: OSError from netlink."""
    if not addresses:
        return ()
    looker = Looker()
    found = (looker.missing(address, freebind=freebind) for address in addresses)
    return tuple(missing for missing in found if missing)
