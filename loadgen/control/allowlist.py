"""The allowlist: destinations that loadgen may send load to.

A hundred thousand connections to the wrong host are an attack, so every destination beyond this machine has to be
named, and every public one needs a declaration of authority:

    free        loopback, and the networks of a lab that loadgen made itself
    private     needs an `--allow CIDR` that covers it; includes IPv6 link-local, the attached network
    global      needs `--allow CIDR` and `--i-am-authorized`; includes every address without a rule,
                documentation (RFC 5737, RFC 3849) and reserved (RFC 1112) addresses among them
    never       multicast, broadcast, unspecified, IPv4 link-local, cloud metadata: no flag opens these

connect() to an unspecified address (0.0.0.0, ::) would reach this host, so no other is in danger. It is refused all the
same: which address it reaches depends on the source, so accounts of that target would be those of another address; and
it is mostly an address to listen on that was copied, or a variable that was empty. The message names the address to
write instead.

An IPv6 address that embeds an IPv4 address is classified by the IPv4 address, because packets end up there. Pure
arithmetic on addresses: no names are resolved and no sockets opened here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

from loadgen.errors import UsageError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Minimum prefix length of `--allow`. /8 is the largest private network of IPv4 (RFC 1918); a /16 of
#: IPv6 is already far larger than the prefix of any site (a /48, RFC 6177).
ALLOW_PREFIX_MIN: Final = {4: 8, 6: 16}
#: An exception to the minimum: it covers only the links that this host is attached to.
_LINK_LOCAL: Final = IPv6Network("fe80::/10")


class AddressClass(Enum):
    """Flags needed to send load to an address."""

    FREE = "free"
    PRIVATE = "private"
    GLOBAL = "global"
    NEVER = "never"


class Rule(NamedTuple):
    """Networks of one class, their name, and the source of the classification."""

    address_class: AddressClass
    name: str
    source: str
    networks: tuple[Network, ...]


def _rule(address_class: AddressClass, name: str, source: str, *networks: str) -> Rule:
    return Rule(address_class, name, source, tuple(ipaddress.ip_network(network) for network in networks))


#: The first rule that contains the address decides. Single addresses come before the networks that contain them.
RULES: Final = (
    _rule(AddressClass.NEVER, "unspecified", "RFC 1122 3.2.1.3, RFC 4291 2.5.2", "0.0.0.0/32", "::/128"),
    _rule(AddressClass.NEVER, "an unspecified host on this network", "RFC 1122 3.2.1.3", "0.0.0.0/8"),
    _rule(AddressClass.NEVER, "broadcast", "RFC 919", "255.255.255.255/32"),
    _rule(AddressClass.NEVER, "multicast", "RFC 5771, RFC 4291 2.7", "224.0.0.0/4", "ff00::/8"),
    # The cloud metadata service, which hands out credentials, has the address 169.254.169.254 at nearly all providers.
    _rule(AddressClass.NEVER, "link-local", "RFC 3927", "169.254.0.0/16"),
    # No RFC lists these: metadata and agent addresses outside 169.254.0.0/16 as documented by OpenStack, Amazon,
    # Google, Scaleway, Alibaba, Oracle and Azure.
    _rule(
        AddressClass.NEVER,
        "cloud metadata",
        "the providers' documentation",
        "fe80::a9fe:a9fe/128",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "fd00:42::42/128",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "168.63.129.16/32",
    ),
    # The site's translator decides where the IPv4 address is embedded (RFC 6052 2.2), so the real destination
    # cannot be known here.
    _rule(AddressClass.NEVER, "local-use NAT64", "RFC 8215", "64:ff9b:1::/48"),
    _rule(AddressClass.FREE, "loopback", "RFC 1122 3.2.1.3, RFC 4291 2.5.3", "127.0.0.0/8", "::1/128"),
    _rule(AddressClass.PRIVATE, "private", "RFC 1918", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    _rule(AddressClass.PRIVATE, "unique local", "RFC 4193", "fc00::/7"),
    _rule(AddressClass.PRIVATE, "link-local", "RFC 4291 2.5.6", "fe80::/10"),
    _rule(AddressClass.PRIVATE, "shared address space", "RFC 6598", "100.64.0.0/10"),
    _rule(AddressClass.PRIVATE, "benchmarking", "RFC 2544, RFC 5180", "198.18.0.0/15", "2001:2::/48"),
)
_GLOBAL: Final = Rule(AddressClass.GLOBAL, "not private", "RFC 6890", ())

#: netdevice(7), IFNAMSIZ; the kernel permits further characters, which are not used in practice.
_ZONE: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")


def check(address: str, *, allowed: Sequence[str], authorized: bool, lab: Sequence[str] = ()) -> None:
    """Return if load may be sent to `address`; otherwise raise.

    address: a literal IPv4 or IPv6 address; a zone (%eth0) is ignored.
    allowed: the CIDR of every `--allow`; authorized: True if `--i-am-authorized` was given.
    lab: networks (CIDR) that exist only inside a lab of this run.

    Raises: UsageError with the reason and the flag that would permit it, if any; also for an `--allow` that is not a
        CIDR or too wide, even if it is not needed.
    """
    networks = [_allowed_network(text) for text in allowed]
    literal = _literal(address)
    destination, carrier = _destination(literal)
    rule = rule_of(destination)
    name = f"{literal} leads to {destination} ({carrier}), which is" if carrier else f"{destination} is"

    if literal.is_unspecified:
        here = "127.0.0.1" if literal.version == 4 else "::1"
        raise UsageError(
            f"{name} {rule.name} ({rule.source}) and never a target: connect() would reach this host itself, at {here} "
            f"or at the source address; write the one you mean, {here}"
        )
    if rule.address_class is AddressClass.NEVER:
        raise UsageError(f"{name} {rule.name} ({rule.source}); loadgen never sends load there, use another target")
    if carrier and rule.address_class is AddressClass.FREE:
        # 127.0.0.1 behind a translator is the translator's own loopback, not this host's.
        raise UsageError(f"{name} {rule.name} on another machine; write {destination} to mean this one")
    if rule.address_class is AddressClass.FREE:
        return
    if not carrier and any(_covers(ipaddress.ip_network(network), destination) for network in lab):
        return

    missing = []
    if not any(_covers(network, destination) for network in networks):
        missing.append(f"--allow {destination}/{destination.max_prefixlen}")
    if rule.address_class is AddressClass.GLOBAL and not authorized:
        missing.append("--i-am-authorized")
    if missing:
        owner = "yours to load" if rule.address_class is AddressClass.PRIVATE else "yours, or its owner agreed"
        raise UsageError(f"{name} {rule.name} ({rule.source}); if it is {owner}, add {' '.join(missing)}")


def rule_of(address: Address) -> Rule:
    """Return the rule for an address; an address without a rule is global, which needs most flags."""
    return next((rule for rule in RULES if any(_covers(net, address) for net in rule.networks)), _GLOBAL)


def _literal(text: str) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # ipaddress refuses leading zeros, which some resolvers read as octal (RFC 6943 3.1.1).
        raise UsageError(f"{text[:60]!r} is not a literal IP address; resolve names first") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
            raise UsageError(f"{text[:60]!r} is not a literal IP address; its zone is not an interface name")
        # A zone selects a link, not an address, and must not hide the address from the rules.
        address = IPv6Address(int(address))
        return address.ipv4_mapped or address  # RFC 4291 2.5.5.2
    return address


def _destination(address: Address) -> tuple[Address, str]:
    """Return the address where packets to `address` end up, and the mechanism if it is a different one."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF), "NAT64, RFC 6052"
        if address.sixtofour:
            return address.sixtofour, "6to4, RFC 3056"
        if address.teredo:
            return address.teredo[1], "Teredo, RFC 4380"
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF), "SIIT, RFC 2765"
        if address in _COMPATIBLE and int(address) > 1:  # not :: and ::1
            return IPv4Address(int(address) & 0xFFFF_FFFF), "IPv4-compatible, RFC 4291 2.5.5.1"
    return address, ""


def _allowed_network(text: str) -> Network:
    shown = repr(text[:60])
    if "/" not in text:
        raise UsageError(f"--allow {shown} is not a CIDR; write ADDRESS/LENGTH, for example 10.1.2.3/32")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"--allow {shown} is not a CIDR: {str(error)[:120]}; write 10.1.2.0/24") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        network = IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    shortest = ALLOW_PREFIX_MIN[network.version]
    if isinstance(network, IPv6Network) and network.subnet_of(_LINK_LOCAL):
        return network
    if network.prefixlen < shortest:
        raise UsageError(f"--allow {shown} is too wide; give the networks you mean, /{shortest} or longer")
    return network


def _covers(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network
