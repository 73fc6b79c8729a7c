"""For each limit the recipe of the scenario in which the same attempts fail, for the same reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadgen.reproduce import of_host, of_path, of_ports
from loadgen.reproduce.draft import Draft
from loadgen.reproduce.rebuilt import Rebuilt


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a situation is rebuilt. how: what makes the limit appear, for docs/scenario.md."""

    build: Callable[[Rebuilt], Draft]
    how: str


#: By the limit of the situation. Limits that are not here have no recipe.
RECIPES: Final[dict[str, Recipe]] = {
    "four-tuples": Recipe(of_ports.four_tuples, "more connections than a source and target have ports"),
    "source-ports": Recipe(
        of_ports.source_ports, "more connections than a source has ports, with a strategy that binds"
    ),
    "port-held": Recipe(
        of_ports.port_held, "`lab.held`; a service that finds its port taken is a probe of kind `listen`"
    ),
    "time-wait": Recipe(
        of_ports.time_wait,
        "churn that closes first; a service that starts again is a probe of kind `restart`",
    ),
    "source-address": Recipe(
        of_host.source_address, "an address that the lab lacks, or IPv6 off; other reasons are said in the description"
    ),
    "port-search": Recipe(
        of_ports.port_search, "8,000 ports, 98 % of them used: the search does not show in a smaller range"
    ),
    "descriptors": Recipe(
        of_host.descriptors, "`descriptors` of one worker; not ENFILE, which is about the whole host"
    ),
    "memory": Recipe(of_host.memory, "cannot be rebuilt: what runs out exists once per host"),
    "forbidden": Recipe(of_host.forbidden, "a rule that rejects: EACCES over TCP, EPERM over UDP"),
    "conntrack": Recipe(of_host.conntrack, "`lab.tracking_left`"),
    "nat-ports": Recipe(of_path.nat_ports, "a rule with `snat` to few ports"),
    "neighbours": Recipe(of_path.neighbours, "a rule that answers a number of sources, in place of the table"),
    "self-connect": Recipe(of_host.self_connect, "a closed target port among eight source ports"),
    "backlog": Recipe(of_path.backlog, "a short `backlog` of a target that does not accept, or late"),
    "syn-loss": Recipe(of_path.syn_loss, "a rule that drops one SYN in fifty"),
    "path-limit": Recipe(of_path.path_limit, "a rule with `ct count over N drop`"),
    "blackhole": Recipe(of_path.blackhole, "a rule that drops every SYN"),
    "refused": Recipe(of_path.refused, "a target without a listener"),
    "reset": Recipe(of_path.reset, "a rule that resets at the end of the handshake"),
    "unreachable": Recipe(of_path.unreachable, "a rule that rejects with the ICMP message of a router"),
}
