"""Recipes for limits of source ports: all in use, held by others, at rest in TIME-WAIT, or long to search."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from loadgen import format as fmt
from loadgen.capacity.time_wait import rest_of
from loadgen.model import CloseMode, Topology
from loadgen.reproduce.draft import CHOSEN, Draft, Noted, noted
from loadgen.reproduce.scaled import CONNECTIONS_MOST
from loadgen.reproduce.stage import NotReproducibleError, Stage, expect, require_tcp
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


def _port_error(stage: Stage) -> str:
    return stage.rules.ends_text.replace(" ", ".")


def _connections(stage: Stage) -> Noted:
    """Return more connections than fit: as many as were wanted, else a fifth more."""
    wanted, capacity = stage.circumstances.wanted, stage.capacity
    enough = capacity + max(capacity // 5, 5)
    if wanted and stage.scale.count(wanted) > capacity:
        number = min(stage.scale.count(wanted), 2 * CONNECTIONS_MOST)
        return Noted(number, stage.because("wanted", stage.instead_of(number, wanted, "connections")))
    return Noted(enough, f"{CHOSEN}: a fifth more than the {capacity:,} that fit")


def _held_open(stage: Stage, limit: str, what: str) -> Draft:
    """Return connections that stay open until one finds no port."""
    draft = stage.draft(what)
    draft.keys["connections"] = _connections(stage)
    draft.keys["close"] = _close_of_held(stage)
    return expect(draft, stage, limit, error=_port_error(stage))


def _close_of_held(stage: Stage) -> Noted:
    close = stage.circumstances.close or CloseMode.RST
    if stage.circumstances.transport is Transport.UDP:
        return Noted(CloseMode.FIN.value, "UDP has no other")
    return Noted(close.value, stage.because("close", otherwise="nothing stays behind in TIME-WAIT"))


def four_tuples(stage: Stage) -> Draft:
    """Return connections that stay open until a (source, target) has no port."""
    return _held_open(
        stage,
        "four-tuples",
        "Connections stay open until a source has one on every port to a target; the next connect() finds no "
        "free four-tuple.",
    )


def source_ports(stage: Stage) -> Draft:
    """Return connections that stay open until a source has bound every port."""
    return _held_open(
        stage,
        "source-ports",
        "Each connection takes a port of its source for itself, whatever the target; the next one finds no free port.",
    )


def time_wait(stage: Stage) -> Draft:
    """Return connections that are opened and closed until every port rests in TIME-WAIT."""
    require_tcp(stage)
    stage = stage.over_cable()
    facts = stage.circumstances
    draft = stage.draft("Connections are short, and this side closes first, so that the ports rest in TIME-WAIT.")
    settings = {name: str(value.value) for name, value in draft.sysctls.items()}
    loopback = stage.ends.topology is Topology.LOOPBACK
    resting_s, reason = rest_of(stage.strategy.row.time_wait, settings, loopback=lambda: loopback)
    if not resting_s:
        raise NotReproducibleError(
            f"with strategy {stage.strategy} no port rests in TIME-WAIT ({reason}); name another limit or strategy"
        )
    if facts.source_port:
        churn, arrival = {"duration": Noted("2s", CHOSEN), "concurrency": Noted(1, "one connection at a time")}, 5.0
        draft.keys["churn"] = Noted(churn)
        draft.keys["arrival"] = Noted({"rate": _rate(arrival)}, f"{CHOSEN}: the client comes back at once")
    else:
        draft.keys.update(_churn(stage, resting_s))
    draft.keys["close"] = Noted(CloseMode.FIN.value, "the side that closes first keeps TIME-WAIT")
    return expect(draft, stage, "time-wait", error=_port_error(stage))


def _churn(stage: Stage, resting_s: float) -> dict[str, Noted]:
    """Return churn that meets a full TIME-WAIT, in proportion to its ceiling as far as that takes seconds only."""
    facts, scale = stage.circumstances, stage.scale
    in_use = min(scale.count(facts.in_use or 0), stage.capacity - 1) or min(8, stage.capacity)
    keys = {}
    wall_s = _WALL_S
    paced = facts.rate_per_s is not None and _RATES_PER_S[0] <= facts.rate_per_s <= _RATES_PER_S[1]
    if facts.rate_per_s and paced:
        there = stage.capacity * len(scale.theirs) / len(scale.ours)
        wall_s = there / facts.rate_per_s  # the same in a scaled range
        why = stage.because("rate_per_s")
        if wall_s > (resting_s if stage.full_size else _WALL_S):
            wall_s = resting_s / 2 if stage.full_size else _WALL_S
            reason = f"TIME-WAIT of {resting_s:g} s does not shrink"
            if stage.full_size:
                reason = f"fewer than {fmt.rate(stage.capacity / resting_s)} never fill the ports"
            why = f"{why}; more than in proportion, because {reason}"
        elif scale.is_smaller:
            why = f"{why}; {fmt.rate(facts.rate_per_s)} there"
        keys["arrival"] = Noted({"rate": Noted(_rate(stage.capacity / wall_s), why)})
    elif stage.full_size:
        wall_s = stage.capacity / _PACE_PER_S
    lasts_s = math.ceil(wall_s + _AFTER_S)
    held = stage.because("in_use", stage.instead_of(in_use, facts.in_use or 0, "connections"))
    churn = {
        "duration": Noted(f"{lasts_s}s", f"{CHOSEN}: the ports are used up, and more are wanted"),
        "concurrency": Noted(in_use, held) if not paced else Noted(stage.capacity, "at most; see arrival"),
    }
    return {"churn": Noted(churn), **keys}


def _rate(per_s: float) -> str:
    return f"{min(max(per_s, 0.1), 1_000_000):.1f}".removesuffix(".0") + "/s"


def port_held(stage: Stage) -> Draft:
    """Return connections that stop where another process has bound the rest of the ports; or a service that is late."""
    if stage.circumstances.service_port:
        return _service_port(stage)
    what = "Another process has bound source ports and connects none of them, so connect() skips them."
    if stage.circumstances.transport is Transport.TCP:
        return _held_open(stage, "port-held", what)
    draft = _held_open(stage, "source-ports", what)
    draft.about.append("Over UDP a port that anyone holds counts as used, so the verdict is source-ports.")
    return draft


def _service_port(stage: Stage) -> Draft:
    """Return connections that use every port, so that a service that starts meanwhile finds its own in use."""
    facts = stage.circumstances
    port = facts.service_port or 0
    if port not in stage.scale.theirs:
        raise NotReproducibleError(
            f"port {port} lies outside of ip_local_port_range ({stage.scale.theirs}), so that no outgoing connection "
            "takes it by itself; look for another service that has it: loadgen watch --port"
        )
    # Its probe is for a loopback lab, and any connection takes the port.
    plain = replace(facts, sources=(), targets=(), strategy=None, fails=None, source_port=None, limit="four-tuples")
    loose = replace(stage, circumstances=plain)
    draft = loose.draft(
        "Outgoing connections use every port of the range, also the one on which a service wants to listen."
    )
    draft.keys["connections"] = Noted(loose.capacity, "as many as there are ports, so that each is in use")
    draft.keys["close"] = Noted(CloseMode.RST.value, f"{CHOSEN}: nothing stays behind in TIME-WAIT")
    listens = {"name": "service", "when": "hold", "kind": "listen", "target": "0.0.0.0:1"}
    place = loose.scale.port(port)
    why = stage.because("service_port", "" if place == port else f"port {port} there")
    draft.keys["probes"] = Noted([Noted(noted({**listens, "ports": Noted(place, why)}))])
    draft.expect["probes.service.errors.bind.EADDRINUSE >= 1"] = stage.because("fails", otherwise="bind() says so")
    draft.expect["outcomes.failed == 0"] = "only the service fails"
    return draft


def port_search(stage: Stage) -> Draft:
    """Return connections past the occupancy at which the kernel searches long for a free port."""
    require_tcp(stage)
    facts = stage.circumstances
    facts = replace(facts, sources=facts.sources[:1], targets=facts.targets[:1], fails=None, source_port=None)
    if facts.ports and len(facts.ports) < _SEARCHED:
        facts = replace(facts, ports=None)
    stage = replace(stage.resized(_SEARCHED), circumstances=facts)
    draft = stage.draft("Past a part of the range the kernel walks through taken ports for each new connection.")
    draft.about.append(f"The search is seen in a range of thousands only: here in {len(stage.scale.ours):,} ports.")
    if facts.churn:
        churn = {"duration": Noted("5s", CHOSEN), "concurrency": Noted(64, CHOSEN)}
        draft.keys["churn"] = Noted(churn, stage.because("churn"))
        draft.keys["close"] = Noted(CloseMode.FIN.value, "ports in TIME-WAIT are searched, too")
        draft.keys.update(noted({"workers": 1, "sinks": 1}))
    else:
        share = min(max((facts.in_use or 0) / len(stage.scale.theirs), _OCCUPIED), 1)
        words = "" if facts.in_use else f"{_OCCUPIED:.0%} of the ports"
        number = int(stage.capacity * share)
        draft.keys["connections"] = Noted(number, stage.because("in_use", f"{share:.0%} of the ports", otherwise=words))
        draft.keys["arrival"] = Noted(
            {"rate": "3000/s"}, f"{CHOSEN}: slow enough that nothing but the search takes time"
        )
        draft.keys["close"] = _close_of_held(stage)
    return expect(draft, stage, "port-search")
