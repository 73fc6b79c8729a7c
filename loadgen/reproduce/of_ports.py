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
#: Part of TIME-WAIT in which ports are used up that the kernel has to search for.
_SOON: Final = 0.8
#: Short connections that one machine opens and closes, at least and at most.
_PACE_PER_S: Final = 3000
_PACE_MAX_PER_S: Final = 10_000
#: Where the load connects to beside a service.
_LOAD_PORT: Final = 9000
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
    if rebuilt.circumstances.service_port and not rebuilt.circumstances.source_port:
        return _service_restarts(rebuilt)
    rebuilt = rebuilt.over_cable()
    facts = rebuilt.circumstances
    if rebuilt.full_size and not facts.rate_per_s:
        rebuilt = rebuilt.alone()  # one machine does not fill several spaces within the minute of TIME-WAIT
    draft = rebuilt.draft("Connections are short, and this side closes first, so that the ports rest in TIME-WAIT.")
    settings = {name: str(value.value) for name, value in draft.sysctls.items()}
    loopback = rebuilt.ends.topology is Topology.LOOPBACK
    resting_s, reason = rest_of(rebuilt.strategy.row.time_wait, settings, loopback=lambda: loopback)
    if not resting_s:
        raise NotReproducibleError(
            f"with strategy {rebuilt.strategy} no port rests in TIME-WAIT ({reason}); name another limit or strategy"
        )
    if rebuilt.full_size and rebuilt.capacity > _PACE_MAX_PER_S * resting_s:
        raise NotReproducibleError(
            f"at full size {fmt.rate(rebuilt.capacity / resting_s)} fit ({reason}), which is more than one machine "
            "opens; leave --full-size out"
        )
    if rebuilt.full_size and rebuilt.rules.cliff_at:
        draft.about.append(
            f"A machine that opens fewer than {fmt.rate(rebuilt.capacity / resting_s)} meets port-search instead: at "
            "this size the kernel's search for a port takes most of the time."
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
    """Return churn that meets a full TIME-WAIT: in an open loop where the rate is known, else as fast as possible."""
    facts, capacity = rebuilt.circumstances, rebuilt.capacity
    known = facts.rate_per_s is not None and _RATES_PER_S[0] <= facts.rate_per_s <= _RATES_PER_S[1]
    wall_s, why = _paced(rebuilt, resting_s) if known else (_WALL_S, "")
    if rebuilt.full_size and not known:
        wall_s = capacity / _PACE_PER_S
        if rebuilt.rules.cliff_at:
            wall_s, why = _SOON * resting_s, f"{CHOSEN}: more than the {fmt.rate(capacity / resting_s)} that fit"
    duration = Noted(f"{math.ceil(wall_s + _AFTER_S)}s", f"{CHOSEN}: the ports are used up, and more are wanted")
    if why:
        churn = {"duration": duration, "concurrency": Noted(capacity, "at most; see arrival")}
        return {"churn": Noted(churn), "arrival": Noted({"rate": Noted(_rate(capacity / wall_s), why)})}
    in_use = min(rebuilt.scale.count(facts.in_use or 0), capacity - 1) or min(8, capacity)
    held = rebuilt.because("in_use", rebuilt.instead_of(in_use, facts.in_use or 0, "connections"))
    return {"churn": Noted({"duration": duration, "concurrency": Noted(in_use, held)})}


def _paced(rebuilt: Rebuilt, resting_s: float) -> tuple[float, str]:
    """Return when the ports are used up at the rate of the evidence, and the reason of the rate.

    In a smaller range at a rate in proportion that is the same time. TIME-WAIT does not shrink, so a rate that would
    take longer than a small run, or never fill the ports, is raised.
    """
    scale, rate_per_s = rebuilt.scale, rebuilt.circumstances.rate_per_s or 0.0
    why = rebuilt.because("rate_per_s")
    wall_s = rebuilt.capacity * len(scale.theirs) / len(scale.ours) / rate_per_s
    if rebuilt.full_size and wall_s > resting_s:
        fits = fmt.rate(rebuilt.capacity / resting_s)
        return _SOON * resting_s, f"{why}; {fmt.rate(rate_per_s)} there, but fewer than {fits} never fill the ports"
    if not rebuilt.full_size and wall_s > _WALL_S:
        reason = f"more than in proportion, because TIME-WAIT of {resting_s:g} s does not shrink"
        return _WALL_S, f"{why}; {fmt.rate(rate_per_s)} there; {reason}"
    return wall_s, f"{why}; {fmt.rate(rate_per_s)} there" if scale.is_smaller else why


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
    """Return a lab in which a service that starts finds its port in use: by a connection, or by another process."""
    port, theirs = rebuilt.circumstances.service_port or 0, rebuilt.scale.theirs
    plain = _for_a_probe(rebuilt, port)
    if port in theirs:
        draft = plain.draft("Outgoing connections use every port of the range, also the one of a service that starts.")
        # Of an odd number of ports connect() never takes the last one (__inet_hash_connect(): remaining &= ~1).
        number = plain.capacity if plain.capacity == 1 else plain.capacity // 2 * 2
        count = Noted(number, "as many as there are ports, so that each is in use")
    else:
        what = (
            f"Another process has the port of a service that starts; no outgoing connection takes one outside {theirs}."
        )
        draft = plain.draft(what)
        draft.lab["held"] = Noted(port, rebuilt.because("service_port", "stands in for the other process"))
        count = Noted(1, f"{CHOSEN}: the load has no part in it")
    draft.keys["connections"] = count
    draft.keys["close"] = Noted(CloseMode.RST.value, f"{CHOSEN}: nothing stays behind in TIME-WAIT")
    place = plain.scale.port(port)
    if place == plain.scale.ours.high and len(plain.scale.ours) % 2 and place > plain.scale.ours.low:
        place -= 1
    return _expect_of_service(rebuilt, draft, place, kind="listen", target="0.0.0.0:1")


def _service_restarts(rebuilt: Rebuilt) -> Draft:
    """Return a service that starts anew while its port is in TIME-WAIT."""
    port = rebuilt.circumstances.service_port or 0
    plain = _for_a_probe(rebuilt, port).resized(None)
    draft = plain.draft("A service that closed a connection first starts again, and its port is in TIME-WAIT.")
    draft.keys["connections"] = Noted(1, f"{CHOSEN}: the load has no part in it")
    draft = _expect_of_service(rebuilt, draft, port, kind="restart", target="127.0.0.1:1")
    draft.expect["probes.service.held_by.time-wait == 1"] = rebuilt.because("limit")
    return draft


def _for_a_probe(rebuilt: Rebuilt, port: int) -> Rebuilt:
    """Return the lab of a probe, loopback, in which any connection may have the port and no sink does."""
    if not 1 <= port <= 65535:
        raise NotReproducibleError(f"{port} is no port that a service can have")
    # What connects has no part in the evidence; its target keeps off the port of the service.
    target = next(number for number in (_LOAD_PORT, _LOAD_PORT + 1) if number != port)
    facts = replace(
        rebuilt.circumstances,
        limit="four-tuples",
        sources=(),
        targets=(f"127.0.0.1:{target}",),
        strategy=None,
        fails=None,
        source_port=None,
    )
    return replace(rebuilt, circumstances=facts)


def _expect_of_service(rebuilt: Rebuilt, draft: Draft, port: int, *, kind: str, target: str) -> Draft:
    there = rebuilt.circumstances.service_port
    why = rebuilt.because("service_port", "" if port == there else f"port {there} there")
    probe = {"name": "service", "when": "hold", "kind": kind, "target": target, "ports": Noted(port, why)}
    draft.keys["probes"] = Noted([Noted(noted(probe))])
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
