"""Addresses and interfaces: `ip addr`, `ip link`, with -o, -br, -d and -s; and /proc/net/if_inet6.

An excerpt without the lines of the interfaces, as `ip addr | grep inet` prints it, is read as well: IPv4 has the
interface at the end of the line (its label), IPv6 has none.

Sources: print_addrinfo() and print_linkinfo() in ip/ipaddress.c of iproute2 6.1, and its table of flags;
if6_seq_show() in net/ipv6/addrconf.c, and linux/if_addr.h for the flags there.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface
from typing import Final

from loadgen.explain.evidence import AddressReading, LinkReading, Where
from loadgen.explain.formats.base import DIGITS, Format
from loadgen.explain.formats.lines import LineReader

#: Flags of an address that `ip addr` names.
_NAMES: Final = (
    "secondary temporary nodad optimistic dadfailed home deprecated tentative permanent mngtmpaddr noprefixroute "
    "autojoin stable-privacy dynamic"
)
FLAGS: Final = frozenset(_NAMES.split())
_LINK: Final = re.compile(r"\s*\d{1,10}: (?P<device>[^\s:@]+)(?:@[^\s:]+)?: <(?P<flags>[A-Z0-9_,-]*)>(?=\s|$)")
_ONE_LINE: Final = re.compile(r"\s*\d{1,10}: (?P<device>[^\s:@]+)\s+(?P<address>inet6? .*)")
_BRIEF: Final = re.compile(
    r"(?P<device>[\w.-]++)(?:@\S+)?\s+(?P<state>UNKNOWN|UP|DOWN|LOWERLAYERDOWN|DORMANT|TESTING|NOTPRESENT)\b\s*"
    r"(?P<rest>.*)"
)
_BRIEF_LINK: Final = re.compile(r"(?:[0-9a-f]{2}(?::[0-9a-f]{2})+|[0-9a-f.:]+)?\s*<(?P<flags>[A-Z0-9_,-]*)>\s*")
_ADDRESS: Final = re.compile(r"\s*(?P<address>inet6? .* scope .*)")
#: What each of these begins with.
_FIRST: Final = re.compile(r"\s*(?:\d{1,10}: |inet)")
#: Further lines of an interface.
_BESIDE: Final = re.compile(
    r"\s*(?:link/|valid_lft |altname |alias |permaddr |RX(?: errors)?:|TX(?: errors)?:|\d[\d\s]*$|vf \d)"
    r"|.*\bnumtxqueues \d"
)
_NO_DEVICE: Final = ""


def address_of(text: str, device: str, where: Where) -> AddressReading | None:
    """Return the address of "inet 10.0.0.5/24 brd 10.0.0.255 scope global secondary eth0"; None if it is none."""
    family, _, rest = text.partition(" ")
    words = rest.partition("\\")[0].split()
    if not words:
        return None
    try:
        found = ip_interface(words[0])
    except ValueError:
        return None
    if found.version != (4 if family == "inet" else 6):
        return None
    after_scope = words[words.index("scope") + 2 :] if "scope" in words else []
    if not device and found.version == 4 and after_scope and after_scope[-1] not in FLAGS:
        device = after_scope[-1].partition(":")[0]  # a label begins with the name of its interface
    flags = FLAGS.intersection(after_scope)
    # With a peer the length of the prefix is that of the peer, and the address has none of its own.
    return AddressReading(str(found.ip), found.network.prefixlen, device, flags, where)


class _AddressLines(LineReader):
    """Reads `ip addr` and `ip link`. device: of the last line of an interface."""

    what = "ip addr"
    _device = _NO_DEVICE

    def take(self, line: str, where: Where) -> bool:
        if link := _LINK.match(line):
            self._device = link["device"]
            flags = frozenset(filter(None, link["flags"].split(",")))
            self.keep(self.evidence.links, LinkReading(self._device, flags, where), where)
            return True
        if one := _ONE_LINE.match(line):
            self.what = "ip -o addr"
            return self._take_address(one["address"], one["device"], where)
        if address := _ADDRESS.match(line):
            return self._take_address(address["address"], self._device, where)
        return bool(_BESIDE.match(line))

    def _take_address(self, text: str, device: str, where: Where) -> bool:
        reading = address_of(text, device, where)
        if reading:
            self.keep(self.evidence.addresses, reading, where)
        return reading is not None


def _begins(line: str) -> bool:
    return bool(_FIRST.match(line) and (_LINK.match(line) or _ONE_LINE.match(line) or _ADDRESS.match(line)))


class _BriefLines(LineReader):
    """Reads `ip -br addr` and `ip -br link`. The state of an interface is not all of its flags; only UP is sure."""

    what = "ip -br addr"

    def take(self, line: str, where: Where) -> bool:
        brief = _BRIEF.fullmatch(line)
        if not brief:
            return False
        if link := _BRIEF_LINK.fullmatch(brief["rest"]):
            self.what = "ip -br link"
            flags = frozenset(filter(None, link["flags"].split(",")))
            self.keep(self.evidence.links, LinkReading(brief["device"], flags, where), where)
            return True
        found = _brief_addresses(brief["rest"].split())
        if found is None:
            return False
        if brief["state"] == "UP":
            self.keep(self.evidence.links, LinkReading(brief["device"], frozenset({"UP"}), where), where)
        for address, prefix in found:
            reading = AddressReading(address, prefix, brief["device"], frozenset(), where, shows_flags=False)
            self.keep(self.evidence.addresses, reading, where)
        return True


def _brief_addresses(words: list[str]) -> list[tuple[str, int]] | None:
    """Return the addresses of "10.0.0.5/24 10.9.0.1 peer 10.9.0.2/32 metric 100"; None if there is anything else."""
    found = []
    at = 0
    while at < len(words):
        if words[at] in ("peer", "metric"):
            at += 2
            continue
        try:
            one = ip_interface(words[at])
        except ValueError:
            return None
        found.append((str(one.ip), one.network.prefixlen))
        at += 1
    return found


#: Address, index, length of the prefix, scope, flags, name: all hexadecimal but the last.
_INET6: Final = re.compile(
    r"(?P<address>[0-9a-f]{32}) [0-9a-f]{2,8} (?P<prefix>[0-9a-f]{2}) [0-9a-f]{2} (?P<flags>[0-9a-f]{2,8})\s+"
    r"(?P<device>\S{1,15})\s*"
)
#: linux/if_addr.h.
_BITS: Final = {
    0x01: "temporary",
    0x02: "nodad",
    0x04: "optimistic",
    0x08: "dadfailed",
    0x10: "home",
    0x20: "deprecated",
    0x40: "tentative",
    0x80: "permanent",
}


class _InetSixLines(LineReader):
    """Reads /proc/net/if_inet6."""

    what = "/proc/net/if_inet6"

    def take(self, line: str, where: Where) -> bool:
        row = _INET6.fullmatch(line)
        if not row:
            return False
        bits = int(row["flags"], 16)
        flags = frozenset(name for bit, name in _BITS.items() if bits & bit)
        address = str(ip_address(bytes.fromhex(row["address"])))
        reading = AddressReading(address, int(row["prefix"], 16), row["device"], flags, where)
        self.keep(self.evidence.addresses, reading, where)
        return True


ADDRESSES: Final = Format(
    "ip-addr",
    "ip addr, ip link, ip -o addr, ip -d -s addr",
    _begins,
    _AddressLines,
    heads=DIGITS | {"i"},
)
BRIEF: Final = Format("ip-brief", "ip -br addr, ip -br link", lambda line: bool(_BRIEF.fullmatch(line)), _BriefLines)
INET6: Final = Format(
    "if_inet6",
    "/proc/net/if_inet6",
    lambda line: bool(_INET6.fullmatch(line)),
    _InetSixLines,
    heads=frozenset("0123456789abcdef"),
)
