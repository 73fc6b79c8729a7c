"""Addresses and interfaces as ifconfig prints them: net-tools since 2.0, net-tools before, and BusyBox.

It shows no flags of addresses: one that is tentative looks as any other. Of macOS and BSD, which print masks in
hexadecimal, nothing is read.

Sources: ife_print_long() in lib/interface.c of net-tools 1.60 and 2.10; display_interfaces() in
networking/interface.c of BusyBox.
"""

from __future__ import annotations

import re
from ipaddress import ip_interface
from typing import Final

from loadgen.explain.evidence import AddressReading, LinkReading, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.lines import LineReader

#: "eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500"; BSD has one space before its mtu.
_NEW: Final = re.compile(r"(?P<device>[^\s:]+(?::\S+)?): flags=-?\d+<(?P<flags>[A-Z0-9_,-]*)>  mtu \d+\s*")
#: "eth0      Link encap:Ethernet  HWaddr 02:42:ac:11:00:02".
_OLD: Final = re.compile(r"(?P<device>\S+)\s+Link encap:.*")
_ADDRESS: Final = re.compile(
    r"\s+inet (?:addr:)?(?P<four>[\d.]+)(?=\s).*?\b(?:netmask |Mask:)(?P<mask>\d+\.\d+\.\d+\.\d+)(?=\s|$).*"
    r"|\s+inet6 (?:addr: ?)?(?P<six>[0-9a-fA-F:.]+)(?:/|  prefixlen )(?P<prefix>\d{1,3})\b.*"
)
_OLD_FLAGS: Final = re.compile(r"\s+(?P<flags>[A-Z][A-Z-]*(?: [A-Z-]+)*)\s+MTU:\d+(?:\s+Metric:\d+)?\s*")
_BESIDE: Final = re.compile(
    r"\s+(?:RX|TX|ether|loop|unspec|tunnel|sit|infiniband|collisions:|Interrupt:|Memory:|Base address:|device |"
    r"inet6? (?:addr:)?\S+ +(?:P-t-P:|destination ))"
)


class _IfconfigLines(LineReader):
    what = "ifconfig"
    _device = ""

    def take(self, line: str, where: Where) -> bool:
        if new := _NEW.fullmatch(line):
            self._device = new["device"]
            self._link(frozenset(filter(None, new["flags"].split(","))), where)
            return True
        if old := _OLD.fullmatch(line):
            self._device = old["device"]
            return True
        if flags := _OLD_FLAGS.fullmatch(line):
            self._link(frozenset(flags["flags"].split()), where)
            return True
        if address := _ADDRESS.fullmatch(line):
            return self._take_address(address, where)
        return bool(_BESIDE.match(line))

    def _take_address(self, address: re.Match[str], where: Where) -> bool:
        text = f"{address['four']}/{address['mask']}" if address["four"] else f"{address['six']}/{address['prefix']}"
        try:
            found = ip_interface(text)
        except ValueError:
            return False
        device = self._device.partition(":")[0]  # eth0:1 is a further address of eth0
        reading = AddressReading(str(found.ip), found.network.prefixlen, device, frozenset(), where, shows_flags=False)
        self.keep(self.evidence.addresses, reading, where)
        return True

    def _link(self, flags: frozenset[str], where: Where) -> None:
        # `ip link` writes NO-CARRIER for an interface that is up and not running (print_link_flags(), iproute2).
        if "UP" in flags and "RUNNING" not in flags:
            flags |= {"NO-CARRIER"}
        self.keep(self.evidence.links, LinkReading(self._device, flags, where), where)


def _begins(line: str) -> bool:
    return bool(("flags=" in line and _NEW.fullmatch(line)) or ("Link encap:" in line and _OLD.fullmatch(line)))


IFCONFIG: Final = Format(
    "ifconfig",
    "ifconfig -a of net-tools and BusyBox",
    _begins,
    _IfconfigLines,
    heads=frozenset(),
    words=frozenset({"flags=", "link encap:"}),
)
