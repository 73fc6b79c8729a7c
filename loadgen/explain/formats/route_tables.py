"""Routes as columns: `route -n`, `netstat -rn`, both for IPv6 as well, and /proc/net/route.

They show the main table only. A row without an interface is no route to anywhere (a blackhole, or one that throws the
search on to another table), and they do not tell which: it is no reading. So is the last row of IPv6, which every
kernel has where no other route is.

Sources: rprint_fib() in lib/inet_gr.c and lib/inet6_gr.c of net-tools 2.10; fib_route_seq_show() in
net/ipv4/fib_trie.c, where RTF_REJECT stands for unreachable and prohibit; linux/route.h.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final

from loadgen.explain.evidence import RouteReading, Where
from loadgen.explain.formats.base import Format
from loadgen.explain.formats.lines import LineReader

_NUMBERS: Final = "names instead of addresses: run route with -n"
_TITLE: Final = re.compile(r"\s*Kernel IP(?:v6)? routing table\s*")
_HEAD: Final = re.compile(r"\s*Destination\s+(?:Gateway|Next Hop)\s+(?:Genmask\s+Flags|Flags?)\s.*")
#: The metric of the null entry of IPv6, as a signed number.
_NO_METRIC: Final = "-1"
#: RTF_REJECT, linux/route.h.
_REJECT: Final = 0x0200


class _ColumnLines(LineReader):
    """Reads the columns of route and netstat."""

    what = "route -n"

    def take(self, line: str, where: Where) -> bool:
        if _TITLE.fullmatch(line):
            return True
        if _HEAD.fullmatch(line):
            self.what = "netstat -rn" if " MSS " in line else "route -n"
            return True
        words = line.split()
        if len(words) == 8:
            return self._take_four(words, where)
        return len(words) == 7 and self._take_six(words, where)

    def _take_four(self, words: list[str], where: Where) -> bool:
        destination, gateway, mask, flags, device = *words[:4], words[7]
        if not re.fullmatch(r"[A-Za-z!]+", flags) or not re.fullmatch(r"[\d.]+", mask):
            return False
        try:
            network = ip_network(f"{'0.0.0.0' if destination == 'default' else destination}/{mask}", strict=False)
            via = "" if gateway in ("-", "*", "0.0.0.0") else str(IPv4Address(gateway))
        except ValueError:
            self.refuse(where, _NUMBERS)
            return True
        self._write(str(network), flags, device, via, where)
        return True

    def _take_six(self, words: list[str], where: Where) -> bool:
        destination, gateway, flags, metric, device = *words[:4], words[6]
        try:
            network = ip_network("::/0" if destination == "[::]/0" else destination, strict=False)
            via = ip_address("::" if gateway == "[::]" else gateway)
        except ValueError:
            return False
        if network.version == 6 and not network.is_multicast and metric != _NO_METRIC:
            self._write(str(network), flags, device, "" if via.is_unspecified else str(via), where)
        return True

    def _write(self, network: str, flags: str, device: str, via: str, where: Where) -> None:
        kind = "reject" if "!" in flags else "unicast"
        device = "" if device in ("-", "*") else device
        if device or kind == "reject":
            self.keep(self.evidence.routes, RouteReading(kind, network, device, via, "", where), where)


_PROC_HEAD: Final = re.compile(r"Iface\s+Destination\s+Gateway\s+Flags\s+RefCnt\s.*")
_PROC_ROW: Final = re.compile(
    r"(?P<device>\S+)\s+(?P<destination>[0-9A-F]{8})\s+(?P<gateway>[0-9A-F]{8})\s+(?P<flags>[0-9A-F]{4})\s+"
    r"-?\d+\s+\d+\s+\d+\s+(?P<mask>[0-9A-F]{8})\s.*"
)


def _address(text: str) -> str:
    """Return the address of eight digits, whose bytes stand in the order of a little-endian processor."""
    return str(IPv4Address(bytes.fromhex(text)[::-1]))


class _ProcLines(LineReader):
    """Reads /proc/net/route."""

    what = "/proc/net/route"

    def take(self, line: str, where: Where) -> bool:
        if _PROC_HEAD.fullmatch(line):
            return True
        row = _PROC_ROW.fullmatch(line)
        if not row:
            return False
        try:
            network = ip_network(f"{_address(row['destination'])}/{_address(row['mask'])}", strict=False)
        except ValueError:
            return False
        kind = "reject" if int(row["flags"], 16) & _REJECT else "unicast"
        via = "" if row["gateway"] == "00000000" else _address(row["gateway"])
        device = "" if row["device"] == "*" else row["device"]
        if device or kind == "reject":
            self.keep(self.evidence.routes, RouteReading(kind, str(network), device, via, "", where), where)
        return True


COLUMNS: Final = Format(
    "route",
    "route -n, netstat -rn",
    lambda line: bool(_TITLE.fullmatch(line) or _HEAD.fullmatch(line)),
    _ColumnLines,
    heads=frozenset("KD"),
)
PROC: Final = Format(
    "proc-net-route",
    "/proc/net/route",
    lambda line: bool(_PROC_HEAD.fullmatch(line)),
    _ProcLines,
    heads=frozenset("I"),
)
