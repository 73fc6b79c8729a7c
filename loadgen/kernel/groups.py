"""Group the sockets of a namespace by source address, destination address and destination port.

Within a group only the source port distinguishes the four-tuples of connections (RFC 9293, 3.4.1), so the size of a
group is the number of source ports that one client address uses towards one destination.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.kernel.sockdiag import MAPPED, Sockets, TcpState, selected

_Numbers: TypeAlias = npt.NDArray[np.uint64]
_Indexes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SocketGroup:
    """The sockets from one source address to one destination.

    An IPv4-mapped IPv6 socket counts under its IPv4 addresses: on the wire it is IPv4, and uses the same four-tuples.
    Listening and unconnected sockets have the unspecified address and port 0 as destination.

    states: sockets in each state, without zeros.
    source_ports: distinct source ports, including those in TIME-WAIT.
    """

    source: str
    destination: str
    destination_port: int
    states: dict[TcpState, int]
    source_ports: int

    @property
    def time_wait(self) -> int:
        """Sockets in TIME-WAIT: closed, but still holding their four-tuple."""
        return self.states.get(TcpState.TIME_WAIT, 0)

    @property
    def in_use(self) -> int:
        """Sockets in any other state."""
        return sum(self.states.values()) - self.time_wait


def group(sockets: Sockets, limit: int | None = None) -> list[SocketGroup]:
    """Return the groups of a dump, largest first (sockets in any state), then by address.

    Towards the clients of a server each connection has a destination port, and so a group, of its own: if both ends
    are in one namespace, pass `outbound(sockets)`. limit: maximum groups returned; making the objects takes the time.
    """
    if not sockets.size:
        return []
    columns = [*_addresses(sockets, "source"), *_addresses(sockets, "destination"), _ports(sockets, "destination_port")]
    members, examples = _group_of_each(columns)
    total = examples.size
    counts = np.bincount(members * _STATES + sockets["state"], minlength=total * _STATES).reshape(total, _STATES)
    by_use = np.lexsort([*(column[examples] for column in reversed(columns)), -counts.sum(axis=1)])[:limit]
    source_ports = _distinct(members, sockets["source_port"], total)[by_use].tolist()

    states: list[dict[TcpState, int]] = [{} for _ in by_use]
    counts = counts[by_use]
    rows, numbers = counts.nonzero()
    for row, number, size in zip(rows.tolist(), numbers.tolist(), counts[rows, numbers].tolist(), strict=True):
        states[row][_NAMED[number]] = size

    text = _AddressText()
    chosen = zip(*(column[examples[by_use]].tolist() for column in columns), strict=True)
    return [
        SocketGroup(text[source_high, source_low], text[high, low], port, states_of_group, ports)
        for (source_high, source_low, high, low, port), states_of_group, ports in zip(
            chosen, states, source_ports, strict=True
        )
    ]


def sources(sockets: Sockets) -> tuple[list[str], _Indexes]:
    """Return the source addresses, and of each socket the index of its own; IPv4-mapped as in `group`."""
    if not sockets.size:
        return [], np.empty(0, np.int64)
    columns = _addresses(sockets, "source")
    members, examples = _group_of_each([*columns])
    text = _AddressText()
    return [text[halves] for halves in zip(*(column[examples].tolist() for column in columns), strict=True)], members


def destinations(sockets: Sockets) -> _Indexes:
    """Return for each socket the number, from 0, of its destination among those of these sockets."""
    if not sockets.size:
        return np.empty(0, np.int64)
    return _group_of_each([*_addresses(sockets, "destination"), _ports(sockets, "destination_port")])[0]


def outbound(sockets: Sockets) -> Sockets:
    """Return the sockets that neither listen nor were accepted by a listener of the same dump.

    A connection was accepted if its source address and port, or its port on every address, has a listener: no
    connect() can use them. A connection whose listener has closed, or is not in the dump, counts as outbound.
    """
    listening = sockets["state"] == TcpState.LISTEN
    suspected = np.isin(sockets["source_port"], sockets["source_port"][listening], kind="table")
    suspects, listeners = sockets[suspected], listening[suspected]
    if not suspects.size:
        return sockets
    high, low = _addresses(suspects, "source")
    members, examples = _group_of_each([high, low, _ports(suspects, "source_port")])
    listened = np.zeros(examples.size, np.bool_)
    listened[members[listeners]] = True
    anywhere = (high == 0) & ((low == 0) | (low == _MAPPED_HIGH))
    on_every_address = np.isin(suspects["source_port"], suspects["source_port"][listeners & anywhere], kind="table")
    keep = ~suspected
    keep[suspected] = ~(listened[members] | on_every_address)
    return selected(sockets, keep)


def _addresses(sockets: Sockets, name: str) -> tuple[_Numbers, _Numbers]:
    """Return the upper and lower halves of the addresses, IPv4 as ::ffff:a.b.c.d, as numbers in address order."""
    halves = np.ascontiguousarray(sockets[name]).view(">u8").astype(np.uint64)
    high, low = halves[:, 0], halves[:, 1]
    four = sockets["family"] == socket.AF_INET
    # The kernel puts an IPv4 address into the first four bytes; a mapped address has it in the last four.
    return np.where(four, 0, high), np.where(four, _MAPPED_HIGH | high >> np.uint64(32), low)


def _ports(sockets: Sockets, name: str) -> _Numbers:
    numbers: _Numbers = sockets[name].astype(np.uint64)
    return numbers


def _group_of_each(columns: list[_Numbers]) -> tuple[_Indexes, _Indexes]:
    """Return the group number of each row, from 0, and the index of one row of each group.

    Rows are compared by a hash, which sorts many times as fast as five columns. If the hashes of two groups collide,
    the columns are sorted instead.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        hashes = (hashes ^ column) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    members, examples = _numbered(hashes)
    if all(np.array_equal(column, column[examples][members]) for column in columns):
        return members, examples
    rows = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    return rows[2].reshape(-1), rows[1]


def _numbered(values: _Numbers) -> tuple[_Indexes, _Indexes]:
    """Return the number of each value among the distinct values, and the index of one value for each of them."""
    # Like np.unique with return_inverse, but a plain sort and a search take a fraction of its argsort.
    ordered = np.sort(values)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    members: _Indexes = np.searchsorted(distinct, values)
    examples = np.empty(distinct.size, np.int64)
    examples[members] = np.arange(values.size)
    return members, examples


def _distinct(members: _Indexes, ports: npt.NDArray[np.uint16], total: int) -> _Indexes:
    """Return the number of distinct ports in each group."""
    pairs = np.sort(members << 16 | ports)
    first = np.concatenate([[True], pairs[1:] != pairs[:-1]])
    return np.bincount(pairs[first] >> 16, minlength=total)


class _AddressText(dict[tuple[int, int], str]):
    """Text of addresses by their two halves, made once each."""

    def __missing__(self, halves: tuple[int, int]) -> str:
        packed = halves[0].to_bytes(8, "big") + halves[1].to_bytes(8, "big")
        mapped = packed.startswith(MAPPED)
        text = socket.inet_ntop(socket.AF_INET, packed[12:]) if mapped else socket.inet_ntop(socket.AF_INET6, packed)
        self[halves] = text
        return text


_STATES: Final = max(TcpState) + 1
#: Lookup takes a tenth of the time of TcpState(number).
_NAMED: Final = {int(state): state for state in TcpState}
#: ::ffff:0:0/96, the upper half of the lower eight bytes.
_MAPPED_HIGH: Final = np.uint64(0xFFFF << 32)
#: Odd, with its bits well mixed: 2^64 divided by the golden ratio.
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
