"""Tell from the ports of a source that its sockets were bound before they were connected. Arithmetic, no kernel.

A socket that binds early, bind(address, 0), takes a port that no other socket of the address has (docs/facts.md, 2.1).
One that leaves the port to connect() shares ports with sockets to other destinations, but only by chance: the kernel
begins the search for each destination at a place of its own. So ports that are never used twice are a sign of early
binding, and how strong a sign is the probability of the same without it. The larger of two estimates is taken:

- connect() alone, or IP_BIND_ADDRESS_NO_PORT: the kernel first takes the ports of one parity, N of them. It takes
  those of one destination in order, and before Linux 5.18 one after the other. So k destinations are k arcs on a ring
  of N ports, n ports long together, and they are disjoint with probability

      (N - n + 1) / N * (N - n + 2) / N * ... * (N - n + k - 1) / N

- ports scattered over the whole range of R, as with IP_LOCAL_PORT_RANGE: of two sockets with different destinations one
  in R pairs has the same port, so all differ with probability exp(-pairs / R).

Limitations: a program that names its ports itself, each once, looks the same, and binds early, too; but it may begin
to share them. Sources: __inet_hash_connect(), net/ipv4/inet_hashtables.c (offset, table_perturb);
inet_csk_find_open_port(), net/ipv4/inet_connection_sock.c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: Chance alone does not count as a sign from here on.
CHANCE_MAX: Final = 0.01


def chance(sockets_of: Sequence[int], ports: int, first: int) -> float:
    """Return the probability that late binding uses no port twice.

    sockets_of: sockets of each destination. ports: those of the range. first: of these, those that connect() takes
    first, of one parity.

    Returns: 0 to 1; 1 for a single destination, of which every port is used once in any case.
    """
    sockets, destinations = sum(sockets_of), len(sockets_of)
    if destinations < 2 or not ports:
        return 1.0
    pairs = (sockets * sockets - sum(count * count for count in sockets_of)) / 2
    return max(_arcs_apart(sockets, destinations, first), math.exp(-pairs / ports))


def _arcs_apart(length: int, arcs: int, ring: int) -> float:
    """Return the probability that arcs at random places of a ring have no port in common; length: of all together."""
    if length > ring:
        return 0.0
    return math.exp(math.lgamma(ring - length + arcs) - math.lgamma(ring - length + 1) - (arcs - 1) * math.log(ring))
