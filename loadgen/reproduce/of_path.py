"""Recipes for limits on the way and at the target: rules of nft(8) in the lab stand in for the box that does it."""

from __future__ import annotations

from typing import Final

from loadgen.kernel.retransmission import INITIAL_S
from loadgen.model import Endpoint, Topology
from loadgen.reproduce.draft import CHOSEN, Draft, Noted
from loadgen.reproduce.rebuilt import Rebuilt, expect, require_tcp
from loadgen.strategies import Transport

#: Attempts without an answer give up after this time: before that a SYN is sent twice (1 s, RFC 6298 2.1).
_TIMEOUT: Final = "1500ms"
#: Sources that get answers: a table of fewer is none of neighbours (gc_thresh3, 1,024 by default, less other hosts).
_NEIGHBOURS: Final = 1000
_NEIGHBOURS_MAX: Final = 40_000
#: Connections that something on the way lets through, where the evidence has more or does not tell.
_LET_THROUGH: Final = 50
#: A third more than these have source ports in the kernel's default range.
_LET_THROUGH_MAX: Final = 18_000
_FIRST_TRANSLATED: Final = 1024
_SYN: Final = "tcp flags & (syn|ack) == syn"
_STANDS_IN: Final = f"{CHOSEN}: stands in for the box that does it"


def destinations(endpoints: tuple[Endpoint, ...], transport: Transport) -> str:
    """Return the match of packets to these targets, by port: in a lab they have the addresses to themselves."""
    ports = sorted({endpoint.port for endpoint in endpoints})
    some = ", ".join(map(str, ports))
    return f"{transport.value} dport {some}" if len(ports) == 1 else f"{transport.value} dport {{ {some} }}"


def chain(hook: str, *rules: str, family: str = "inet", kind: str = "filter", priority: int = 0, sets: str = "") -> str:
    """Return the text of a table with one chain, for `nft -f`."""
    lines = [f"table {family} reproduced {{"]
    if sets:
        lines.append(f"  {sets}")
    lines += ["  chain packets {", f"    type {kind} hook {hook} priority {priority}; policy accept;"]
    return "\n".join([*lines, *(f"    {rule}" for rule in rules), "  }", "}"]) + "\n"


def timed_out(rebuilt: Rebuilt, draft: Draft, limit: str, *, timeout: str = _TIMEOUT) -> Draft:
    """Add a time-out of loadgen's own, and the expectation that it is met."""
    draft.keys["timeout"] = Noted(timeout, f"{CHOSEN}: the kernel itself tries for two minutes")
    return expect(draft, rebuilt, limit, error="wait.ETIMEDOUT")


def _through(rebuilt: Rebuilt, field: str, known: int | None) -> Noted:
    """Return how many connections get through."""
    if known is None or known <= 0:
        return Noted(_LET_THROUGH, CHOSEN)
    number = min(known, _LET_THROUGH_MAX if rebuilt.full_size else _LET_THROUGH)
    return Noted(number, rebuilt.because(field, rebuilt.instead_of(number, known, "connections")))


def _count(number: Noted) -> int:
    assert isinstance(number.value, int)
    return number.value


def nat_ports(rebuilt: Rebuilt) -> Draft:
    """Return connections that this host translates, to fewer ports than are needed."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None).over_cable()
    through = _through(rebuilt, "nat_ports", rebuilt.circumstances.nat_ports)
    most = 65536 - _FIRST_TRANSLATED
    count = min(_count(through), most)
    draft = rebuilt.draft(f"A rule of this host translates the source of connections to {count:,} ports.")
    source = rebuilt.ends.sources[0]
    family, address = ("ip", source) if rebuilt.ends.version == 4 else ("ip6", f"[{source}]")
    ports = f"{_FIRST_TRANSLATED}-{_FIRST_TRANSLATED + count - 1}"
    to = destinations(rebuilt.ends.targets, rebuilt.circumstances.transport)
    rule = f"{to} snat to {address}:{ports}"
    draft.lab["rules"] = Noted(chain("postrouting", rule, family=family, kind="nat", priority=100), through.why)
    draft.keys["connections"] = Noted(_above(count * len(rebuilt.ends.targets)), f"{CHOSEN}: more than there are ports")
    return timed_out(rebuilt, draft, "nat-ports")


def path_limit(rebuilt: Rebuilt) -> Draft:
    """Return connections of which something before the target lets a number through for each source."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None).over_cable()
    facts = rebuilt.circumstances
    field, known = ("nat_ports", facts.nat_ports) if facts.nat_ports else ("in_use", facts.in_use)
    through = _through(rebuilt, field, known)
    count = _count(through)
    draft = _behind_a_rule(
        rebuilt,
        f"Something on the way lets {count:,} connections of each source through, and drops the next ones silently.",
        "add @sources { %s saddr ct count over COUNT } drop".replace("COUNT", str(count)),
        through.why,
    )
    draft.keys["connections"] = Noted(_above(count * len(rebuilt.ends.sources)), f"{CHOSEN}: more than are let through")
    return timed_out(rebuilt, draft, "path-limit")


def neighbours(rebuilt: Rebuilt) -> Draft:
    """Return connections of many sources, of which a number gets answers."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None)
    known = rebuilt.circumstances.neighbours
    count = _NEIGHBOURS if not rebuilt.full_size else min(known or _NEIGHBOURS, _NEIGHBOURS_MAX)
    sources = count + count // 2
    there, rebuilt = rebuilt, rebuilt.with_sources(sources)
    draft = _behind_a_rule(
        rebuilt,
        f"Of {sources:,} source addresses on one segment {count:,} get answers. A neighbour table exists once per "
        "host, so a set of nft stands in for it. No such table is small, so neither is this.",
        "add @sources { %s saddr } accept",
        rebuilt.because("neighbours", rebuilt.instead_of(count, known or count, "entries")),
        size=count,
        otherwise="drop",
    )
    draft.sources["addresses"] = Noted(rebuilt.ends.spans, there.because("sources", otherwise="half as many again"))
    draft.keys["connections"] = Noted(2 * sources, f"{CHOSEN}: two of each source")
    draft.keys["in_flight"] = Noted(min(2 * sources, 65_536), f"{CHOSEN}: all of them at once")
    return timed_out(rebuilt, draft, "neighbours", timeout=_TIMEOUT)


def _behind_a_rule(
    rebuilt: Rebuilt, what: str, rule: str, why: str, *, size: int = 65_535, otherwise: str = ""
) -> Draft:
    """Return a lab with a cable, where a rule about the sources of SYNs stands before the sinks.

    rule: %s is the family. size: of the set of sources. otherwise: the fate of a SYN that the rule does not match.
    """
    draft = rebuilt.draft(what)
    family, kind = ("ip", "ipv4_addr") if rebuilt.ends.version == 4 else ("ip6", "ipv6_addr")
    match = f"{destinations(rebuilt.ends.targets, Transport.TCP)} {_SYN}"
    rules = [f"{match} {rule % family}", *([f"{match} {otherwise}"] if otherwise else [])]
    text = chain("input", *rules, sets=f"set sources {{ type {kind}; size {size}; flags dynamic; }}")
    key = "rules_of_sinks" if rebuilt.ends.topology is Topology.VETH else "rules"
    draft.lab[key] = Noted(text, f"{why}; {_STANDS_IN}")
    return draft


def syn_loss(rebuilt: Rebuilt) -> Draft:
    """Return connections of which one SYN in fifty is lost."""
    return _dropped(rebuilt, "syn-loss", "numgen inc mod 50 == 0 drop", "One SYN in fifty is lost on the way.")


def blackhole(rebuilt: Rebuilt) -> Draft:
    """Return connections whose SYNs are all dropped."""
    return _dropped(rebuilt, "blackhole", "drop", "Every SYN is dropped, and nothing says so.")


def _dropped(rebuilt: Rebuilt, limit: str, fate: str, what: str) -> Draft:
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None)
    draft = rebuilt.draft(what)
    rule = f"{destinations(rebuilt.ends.targets, Transport.TCP)} {_SYN} {fate}"
    draft.lab["rules"] = Noted(chain("input", rule), _STANDS_IN)
    if limit == "blackhole":
        draft.keys["connections"] = Noted(20, f"{CHOSEN}: each of them waits in vain")
        return timed_out(rebuilt, draft, limit)
    draft.keys["connections"] = Noted(500, f"{CHOSEN}: ten of them open a second late, when the SYN is repeated")
    draft.keys["arrival"] = Noted({"rate": "500/s"}, CHOSEN)
    draft.keys["timeout"] = Noted("10s", f"{CHOSEN}: time for two repetitions")
    draft.expect[f"latency_us.connect.max >= {INITIAL_S * 1e6:.0f}"] = "a repeated SYN takes a second (RFC 6298)"
    return expect(draft, rebuilt, limit)


def refused(rebuilt: Rebuilt) -> Draft:
    """Return connections to a target where nothing listens."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None).alone()
    draft = rebuilt.draft("Nothing listens at the target.", sink=False)
    draft.keys["connections"] = Noted(5, f"{CHOSEN}: each of them is refused")
    return expect(draft, rebuilt, "refused", error="connect.ECONNREFUSED")


def reset(rebuilt: Rebuilt) -> Draft:
    """Return connections that are reset as soon as the handshake is over."""
    return _rejected(
        rebuilt, "reset", "connect.ECONNRESET", "input", "tcp flags & (syn|ack|fin|rst) == ack reject with tcp reset"
    )


def unreachable(rebuilt: Rebuilt) -> Draft:
    """Return connections for which a router says that there is no way."""
    rebuilt = rebuilt.alone()
    name = (rebuilt.circumstances.fails or ("", ""))[1]
    no_network = name == "ENETUNREACH"
    family = "icmp" if rebuilt.ends.version == 4 else "icmpv6"
    code = "net-unreachable" if no_network else "host-unreachable"
    if family == "icmpv6":
        code = "no-route" if no_network else "addr-unreachable"
    error = "connect.ENETUNREACH" if no_network else "connect.EHOSTUNREACH"
    return _rejected(rebuilt, "unreachable", error, "output", f"{_SYN} reject with {family} type {code}")


def _rejected(rebuilt: Rebuilt, limit: str, error: str, hook: str, fate: str) -> Draft:
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None).alone()
    what = (
        "The target answers the handshake and resets." if limit == "reset" else "An answer says that there is no way."
    )
    draft = rebuilt.draft(what)
    draft.lab["rules"] = Noted(chain(hook, f"{destinations(rebuilt.ends.targets, Transport.TCP)} {fate}"), _STANDS_IN)
    draft.keys["connections"] = Noted(5, f"{CHOSEN}: each of them fails")
    draft.keys["timeout"] = Noted("5s", f"{CHOSEN}: the answer counts when the SYN is repeated, a second later")
    return expect(draft, rebuilt, limit, error=error)


def backlog(rebuilt: Rebuilt) -> Draft:
    """Return connections to a target whose accept queue is full."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.resized(None)
    facts = rebuilt.circumstances
    known = facts.backlog
    size = min(known or 16, 65_535 if rebuilt.full_size else 16)
    why = rebuilt.because("backlog", rebuilt.instead_of(size, known or size, "places"))
    late = facts.fails is None
    accept = {"accept_after": "1500ms"} if late else {"accept": Noted(False, f"{CHOSEN}: the server hangs")}
    draft = rebuilt.draft(
        "The server does not accept fast enough, and its queue is full.", backlog=Noted(max(size, 1), why), **accept
    )
    count = _above(2 * size) * len(rebuilt.ends.targets)
    draft.keys["connections"] = Noted(count, f"{CHOSEN}: more than wait in the queue")
    draft.keys["sinks"] = Noted(1, "each has a queue of its own")
    draft.keys["in_flight"] = Noted(min(max(2 * count, 256), 65_536), f"{CHOSEN}: all of them at once")
    if not late:
        return timed_out(rebuilt, draft, "backlog")
    draft.keys["timeout"] = Noted("10s", f"{CHOSEN}: time to come in after all")
    return expect(draft, rebuilt, "backlog")


def _above(fits: int) -> int:
    return fits + max(fits // 2, 10)
