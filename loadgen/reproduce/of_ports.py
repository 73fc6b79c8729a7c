"""Recipes for limits of source ports: all in use, held by others, at rest in TIME-WAIT, or long to search."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.time_wait import rest_of
from loadgen.model import CloseMode, Topology
from loadgen.reproduce.draft import CHOSEN, Draft, Noted, noted
from loadgen.reproduce.rebuilt import NotReproducibleError, Rebuilt, expect, require_tcp
from loadgen.reproduce.scaled import CONNECTIONS_MOST
from loadgen.strategies import Transport

#: A scaled run finds its wall after this time, and goes on for a moment.
_WALL_S: Final = 1.5
_AFTER_S: Final = 0.5
#: Short connections that one machine opens and closes, at least.
_PACE_PER_S: Final = 3000
#: Rates that are one: below, nothing is short; above, it is as fast as possible.
_RATES_PER_S: Final = (0.01, 1_000_000)
#: Ports of a range in which the search takes a time that can be seen, and the share of them that is to be used.
_SEARCHED: Final = 8000
_OCCUPIED: Final = 0.98


def _port_error(rebuilt: Rebuilt) -> str:
    return rebuilt.rules.ends_text.replace(" ", ".")


def _connections(rebuilt: Rebuilt) -> Noted:
    """Return more connections than fit: as many as were wanted, else a fifth more."""
    wanted, capacity = rebuilt.circumstances.wanted, rebuilt.capacity
    enough = capacity + max(capacity // 5, 5)
    if wanted and rebuilt.scale.count(wanted) > capacity:
        number = min(rebuilt.scale.count(wanted), 2 * CONNECTIONS_MOST)
        return Noted(number, rebuilt.because("wanted", rebuilt.instead_of(number, wanted, "connections")))
    return Noted(enough, f"{CHOSEN}: a fifth more than the {capacity:,} that fit")


def _held_open(rebuilt: Rebuilt, limit: str, what: str) -> Draft:
    """Return connections that stay open until one finds no port."""
    draft = rebuilt.draft(what)
    if rebuilt.circumstances.churn:
        draft.about.append("There the connections are short; here they stay open, so that the ports run out in order.")
    draft.keys["connections"] = _connections(rebuilt)
    draft.keys["close"] = _close_of_held(rebuilt)
    return expect(draft, rebuilt, limit, error=_port_error(rebuilt))


def _close_of_held(rebuilt: Rebuilt) -> Noted:
    close = rebuilt.circumstances.close or CloseMode.RST
    if rebuilt.circumstances.transport is Transport.UDP:
        return Noted(CloseMode.FIN.value, "UDP has no other")
    return Noted(close.value, rebuilt.because("close", otherwise="nothing stays behind in TIME-WAIT"))


def four_tuples(rebuilt: Rebuilt) -> Draft:
    """Return connections that stay open until a (source, target) has no port."""
    return _held_open(
        rebuilt,
        "four-tuples",
        "Connections stay open until a source has one on every port to a target; the next connect() finds no "
        "free four-tuple.",
    )


def source_ports(rebuilt: Rebuilt) -> Draft:
    """Return connections that stay open until a source has bound every port."""
    return _held_open(
        rebuilt,
        "source-ports",
        "Each connection takes a port of its source for itself, whatever the target; the next one finds no free port.",
    )


def time_wait(rebuilt: Rebuilt) -> Draft:
    """Return connections that are opened and closed until every port rests in TIME-WAIT."""
    require_tcp(rebuilt)
    rebuilt = rebuilt.over_cable()
    facts = rebuilt.circumstances
    draft = rebuilt.draft("Connections are short, and this side closes first, so that the ports rest in TIME-WAIT.")
    settings = {name: str(value.value) for name, value in draft.sysctls.items()}
    loopback = rebuilt.ends.topology is Topology.LOOPBACK
    resting_s, reason = rest_of(rebuilt.strategy.row.time_wait, settings, loopback=lambda: loopback)
    if not resting_s:
        raise NotReproducibleError(
            f"with strategy {rebuilt.strategy} no port rests in TIME-WAIT ({reason}); name another limit or strategy"
        )
    if facts.source_port:
        churn, arrival = {"duration": Noted("2s", CHOSEN), "concurrency": Noted(1, "one connection at a time")}, 5.0
        draft.keys["churn"] = Noted(churn)
        draft.keys["arrival"] = Noted({"rate": _rate(arrival)}, f"{CHOSEN}: the client comes back at once")
    else:
        draft.keys.update(_churn(rebuilt, resting_s))
    draft.keys["close"] = Noted(CloseMode.FIN.value, "the side that closes first keeps TIME-WAIT")
    return expect(draft, rebuilt, "time-wait", error=_port_error(rebuilt))


def _churn(rebuilt: Rebuilt, resting_s: float) -> dict[str, Noted]:
    """Return churn that meets a full TIME-WAIT, in proportion to its ceiling as far as that takes seconds only."""
    facts, scale = rebuilt.circumstances, rebuilt.scale
    in_use = min(scale.count(facts.in_use or 0), rebuilt.capacity - 1) or min(8, rebuilt.capacity)
    keys = {}
    wall_s = _WALL_S
    paced = facts.rate_per_s is not None and _RATES_PER_S[0] <= facts.rate_per_s <= _RATES_PER_S[1]
    if facts.rate_per_s and paced:
        there = rebuilt.capacity * len(scale.theirs) / len(scale.ours)
        wall_s = there / facts.rate_per_s  # the same in a scaled range
        why = rebuilt.because("rate_per_s")
        if wall_s > (resting_s if rebuilt.full_size else _WALL_S):
            wall_s = resting_s / 2 if rebuilt.full_size else _WALL_S
            reason = f"TIME-WAIT of {resting_s:g} s does not shrink"
            if rebuilt.full_size:
                reason = f"fewer than {fmt.rate(rebuilt.capacity / resting_s)} never fill the ports"
            why = f"{why}; more than in proportion, because {reason}"
        elif scale.is_smaller:
            why = f"{why}; {fmt.rate(facts.rate_per_s)} there"
        keys["arrival"] = Noted({"rate": Noted(_rate(rebuilt.capacity / wall_s), why)})
    elif rebuilt.full_size:
        wall_s = rebuilt.capacity / _PACE_PER_S
    lasts_s = math.ceil(wall_s + _AFTER_S)
    held = rebuilt.because("in_use", rebuilt.instead_of(in_use, facts.in_use or 0, "connections"))
    churn = {
        "duration": Noted(f"{lasts_s}s", f"{CHOSEN}: the ports are used up, and more are wanted"),
        "concurrency": Noted(in_use, held) if not paced else Noted(rebuilt.capacity, "at most; see arrival"),
    }
    return {"churn": Noted(churn), **keys}


def _rate(per_s: float) -> str:
    return f"{min(max(per_s, 0.1), 1_000_000):.1f}".removesuffix(".0") + "/s"


def port_held(rebuilt: Rebuilt) -> Draft:
    """Return connections that stop where another process has bound the rest of the ports; or a service that is late."""
    if rebuilt.circumstances.service_port:
        return _service_port(rebuilt)
    what = "Another process has bound source ports and connects none of them, so connect() skips them."
    if rebuilt.circumstances.transport is Transport.TCP:
        return _held_open(rebuilt, "port-held", what)
    draft = _held_open(rebuilt, "source-ports", what)
    draft.about.append("Over UDP a port that anyone holds counts as used, so the verdict is source-ports.")
    return draft


def _service_port(rebuilt: Rebuilt) -> Draft:
    """Return connections that use every port, so that a service that starts meanwhile finds its own in use."""
    facts = rebuilt.circumstances
    port = facts.service_port or 0
    if port not in rebuilt.scale.theirs:
        raise NotReproducibleError(
            f"port {port} lies outside of ip_local_port_range ({rebuilt.scale.theirs}), so that no outgoing connection "
            "takes it by itself; look for another service that has it: loadgen watch --port"
        )
    # Its probe is for a loopback lab, and any connection takes the port.
    plain = replace(facts, sources=(), targets=(), strategy=None, fails=None, source_port=None, limit="four-tuples")
    loose = replace(rebuilt, circumstances=plain)
    draft = loose.draft(
        "Outgoing connections use every port of the range, also the one on which a service wants to listen."
    )
    draft.keys["connections"] = Noted(loose.capacity, "as many as there are ports, so that each is in use")
    draft.keys["close"] = Noted(CloseMode.RST.value, f"{CHOSEN}: nothing stays behind in TIME-WAIT")
    listens = {"name": "service", "when": "hold", "kind": "listen", "target": "0.0.0.0:1"}
    place = loose.scale.port(port)
    why = rebuilt.because("service_port", "" if place == port else f"port {port} there")
    draft.keys["probes"] = Noted([Noted(noted({**listens, "ports": Noted(place, why)}))])
    draft.expect["probes.service.errors.bind.EADDRINUSE >= 1"] = rebuilt.because("fails", otherwise="bind() says so")
    draft.expect["outcomes.failed == 0"] = "only the service fails"
    return draft


def port_search(rebuilt: Rebuilt) -> Draft:
    """Return connections past the occupancy at which the kernel searches long for a free port."""
    require_tcp(rebuilt)
    facts = rebuilt.circumstances
    facts = replace(facts, sources=facts.sources[:1], targets=facts.targets[:1], fails=None, source_port=None)
    if facts.ports and len(facts.ports) < _SEARCHED:
        facts = replace(facts, ports=None)
    rebuilt = replace(rebuilt.resized(_SEARCHED), circumstances=facts)
    draft = rebuilt.draft("Past a part of the range the kernel walks through taken ports for each new connection.")
    draft.about.append(f"The search is seen in a range of thousands only: here in {len(rebuilt.scale.ours):,} ports.")
    if facts.churn:
        churn = {"duration": Noted("5s", CHOSEN), "concurrency": Noted(64, CHOSEN)}
        draft.keys["churn"] = Noted(churn, rebuilt.because("churn"))
        draft.keys["close"] = Noted(CloseMode.FIN.value, "ports in TIME-WAIT are searched, too")
        draft.keys.update(noted({"workers": 1, "sinks": 1}))
    else:
        share = min(max((facts.in_use or 0) / len(rebuilt.scale.theirs), _OCCUPIED), 1)
        words = "" if facts.in_use else f"{_OCCUPIED:.0%} of the ports"
        number = int(rebuilt.capacity * share)
        draft.keys["connections"] = Noted(
            number, rebuilt.because("in_use", f"{share:.0%} of the ports", otherwise=words)
        )
        draft.keys["arrival"] = Noted(
            {"rate": "3000/s"}, f"{CHOSEN}: slow enough that nothing but the search takes time"
        )
        draft.keys["close"] = _close_of_held(rebuilt)
    return expect(draft, rebuilt, "port-search")
