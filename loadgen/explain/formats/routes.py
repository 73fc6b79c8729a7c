"""Routes as `ip route` prints them, of any table and family, and the answers of `ip route get`.

A line is a route only if every word of it is one that `ip route` writes: so prose that begins with "default" is none.

Sources: print_route() and print_rta_multipath() in ip/iproute.c of iproute2 6.1; ip-route(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from loadgen.explain.evidence import RouteReading, Where
from loadgen.explain.formats.base import HEX_DIGITS, Format
from loadgen.explain.formats.lines import LineReader

Network: TypeAlias = IPv4Network | IPv6Network
#: Kinds that are readings. The others are for one packet to many, or send the search on to another table.
KINDS: Final = ("unicast", "local", "unreachable", "blackhole", "prohibit")
_OTHER_KINDS: Final = ("broadcast", "multicast", "anycast", "throw", "nat", "xresolve", "none")
#: Tables that every lookup goes through (ip-rule(8)).
ALWAYS: Final = ("main", "local", "default", "254", "255", "253")
#: Words with one word behind them.
_WITH_VALUE: Final = (
    "dev proto protocol table scope src metric preference pref from iif oif mtu advmss hoplimit expires weight nhid "
    "error initcwnd initrwnd rto_min window rtt rttvar ssthresh reordering cwnd quickack congctl features realm realms "
    "tos dsfield uid mark ipid used age ref users flowlabel ttl-propagate fastopen_no_cookie"
)
_PAIRS: Final = frozenset(_WITH_VALUE.split())
_BY_ITSELF: Final = (
    "onlink linkdown dead cache pervasive offload trap rt_offload rt_trap offload_failed rt_offload_failed unresolved "
    "notify redirected nat masq <local> <redirected> <local,nat> <src-direct>"
)
_ALONE: Final = frozenset(_BY_ITSELF.split())
_ANY_KIND: Final = "|".join((*KINDS, *_OTHER_KINDS))
_FIRST: Final = re.compile(rf"\s*(?:(?:{_ANY_KIND})\s+)?(?:default|[\da-fA-F.:]+(?:/\d{{1,3}})?)(?:\s|$)")
_KIND: Final = re.compile(rf"\s*(?:{_ANY_KIND})\s")
_INTERFACE: Final = re.compile(r"[a-z](?:[^\W\d]|[.-])*\d\S*|lo")


@dataclass(slots=True)
class _Hop:
    device: str = ""
    via: str = ""


@dataclass(slots=True)
class _Route:
    """A line of `ip route`. network: None: the default of a family that the line does not tell."""

    kind: str
    network: Network | None
    hops: list[_Hop]
    source: str = ""
    table: str = ""
    six: bool = False
    words: int = 0


def parse(line: str) -> _Route | None:
    """Return the route of a line, or None if it is no line of `ip route`."""
    words = _words(line)
    kind = "unicast"
    if words and words[0] in KINDS + _OTHER_KINDS:
        kind = words.pop(0)
    if not words:
        return None
    network = _network(words[0])
    if network is None and words[0] != "default":
        return None
    route = _Route(kind, network, [_Hop()])
    return route if _attributes(words[1:], route) else None


def _words(line: str) -> list[str]:
    # "mtu lock 1500" is an mtu that path discovery does not change.
    return [word for word in line.replace("\\", " ").split() if word != "lock"]


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _attributes(words: list[str], route: _Route) -> bool:
    """Read the words behind the destination; return False at the first one that `ip route` does not write."""
    at = 0
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        if word == "nexthop":
            if route.hops[-1] != _Hop():
                route.hops.append(_Hop())
            at += 1
        elif word == "via":
            if value in ("inet", "inet6"):
                at += 1
                value = words[at + 1] if at + 1 < len(words) else ""
            if not _is_address(value):
                return False
            route.hops[-1].via = value
            at += 2
        elif word in _PAIRS and value:
            _note(word, value, route)
            at += 2
        elif word in _ALONE:
            at += 1
        else:
            return False
        route.words += 1
    return True


def _note(word: str, value: str, route: _Route) -> None:
    if word == "dev":
        route.hops[-1].device = value
    elif word == "src":
        route.source = value
    elif word == "table":
        route.table = "" if value in ALWAYS else value
    elif word == "pref":  # only routes of IPv6 have one
        route.six = True


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _begins(line: str) -> bool:
    # One of a kind needs neither; the kinds of a log's lines, which begin with a number, need one.
    if not ("dev" in line or "via" in line or _KIND.match(line)) or not _FIRST.match(line):
        return False
    route = parse(line)
    if route is None:
        return False
    if route.kind != "unicast":
        return True
    hop = route.hops[0]
    return bool(hop.via or (hop.device and (route.words > 1 or _INTERFACE.fullmatch(hop.device))))


class _RouteLines(LineReader):
    """Reads the lines of `ip route`. six: the family of the routes before, which a default may not tell."""

    what = "ip route"
    _six = False
    _open: _Route | None = None
    _without_hops: Where | None = None

    def take(self, line: str, where: Where) -> bool:
        words = _words(line)
        if words and words[0] == "nexthop" and self._open:
            hop = replace(self._open, hops=[_Hop()])
            if not _attributes(words, hop):
                return False
            self._without_hops = None
            self._write(hop, where)
            return True
        self._end_route()
        if not words:
            return False
        if words[0] == "cache" and line[:1].isspace():  # the second line of an answer of `ip route get`
            self.what = "ip route get"
            return True
        route = parse(line) if _FIRST.match(line) else None
        if route is None:
            return False
        if route.hops[0] != _Hop() or route.kind != "unicast":
            self._write(route, where)
        else:
            self._open, self._without_hops = route, where
        return True

    def finish(self) -> None:
        """Say which route is cut off."""
        self._end_route()
        super().finish()

    def _end_route(self) -> None:
        if self._without_hops:
            self.refuse(self._without_hops, "a route without its next hops")
        self._open = self._without_hops = None

    def _write(self, route: _Route, where: Where) -> None:
        self._six = self._is_six(route)
        if route.kind not in KINDS:
            return
        network = str(route.network or ("::/0" if self._six else "0.0.0.0/0"))
        for hop in route.hops:
            reading = RouteReading(route.kind, network, hop.device, hop.via, route.source, where, route.table)
            self.keep(self.evidence.routes, reading, where)

    def _is_six(self, route: _Route) -> bool:
        if route.network:
            return route.network.version == 6
        told = route.source or next((hop.via for hop in route.hops if hop.via), "")
        return ":" in told if told else route.six or self._six


ROUTES: Final = Format(
    "ip-route",
    "ip route, ip -6 route, ip route show table all, ip route get",
    _begins,
    _RouteLines,
    heads=HEX_DIGITS | frozenset(".:d") | {kind[0] for kind in KINDS + _OTHER_KINDS},
)
