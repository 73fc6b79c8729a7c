"""How full each destination is: the sockets of a namespace by source address, destination address and port.

Of the four-tuple (source address, source port, destination address, destination port) that names a
connection (RFC 9293, 3.4.1) a group leaves open just the source port, so what a group has in use is what
one client address has taken of its 64 K to one destination.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadgen.kernel.sockdiag import MAPPED, Sockets, State

_Numbers: TypeAlias = npt.NDArray[np.uint64]
_Indexes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """The sockets from one source address to one destination.

    An IPv4-mapped IPv6 socket counts under its IPv4 addresses: on the wire it is one of IPv4, and takes
    the same four-tuples. Listening and unconnected sockets have the unspecified address and port 0 as destination.

    states: how many there are in each state that anybody is in.
    source_ports: how many different ones they have, TIME-WAIT included.
    """

    source: str
    destination: str
    destination_port: int
    states: dict[State, int]
    source_ports: int

    @property
    def time_wait(self) -> int:
        """Closed, and still holding their four-tuple."""
        return self.states.get(State.TIME_WAIT, 0)

    @property
    def in_use(self) -> int:
        """All others."""
        return sum(self.states.values()) - self.time_wait


def group(sockets: Sockets, limit: int | None = None) -> list[Group]:
    """The groups of a dump, those with most sockets (of whatever state) first, then by their addresses.

    The far ends of connections have a destination port each, and so a group each: where both ends are in
    one namespace, take `outbound(sockets)`. limit: so many groups at most; it is the objects that take time.
    """
    if not sockets.size:
        return []
    columns = [*_addresses(sockets, "source"), *_addresses(sockets, "destination"), _ports(sockets, "destination_port")]
    members, examples = _group_of_each(columns)
    total = examples.size
    counts = np.bincount(members * _STATES + sockets["state"], minlength=total * _STATES).reshape(total, _STATES)
    by_use = np.lexsort([*(column[examples] for column in reversed(columns)), -counts.sum(axis=1)])[:limit]
    source_ports = _distinct(members, sockets["source_port"], total)[by_use].tolist()

    states: list[dict[State, int]] = [{} for _ in by_use]
    counts = counts[by_use]
    rows, numbers = counts.nonzero()
    for row, number, many in zip(rows.tolist(), numbers.tolist(), counts[rows, numbers].tolist(), strict=True):
        states[row][_NAMED[number]] = many

    text = _Text()
    chosen = zip(*(column[examples[by_use]].tolist() for column in columns), strict=True)
    return [
        Group(text[source_high, source_low], text[high, low], port, *more)
        for (source_high, source_low, high, low, port), *more in zip(chosen, states, source_ports, strict=True)
    ]


def outbound(sockets: Sockets) -> Sockets:
    """Those that are neither listening nor came in through a listener that is in the same dump.

    A connection came in when its source address and port are listened on, or its port on every address: from
    there nobody can connect. One whose listener is closed by now, or not in the dump, passes for outbound.
    """
    listening = sockets["state"] == State.LISTEN
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
    return sockets[keep]


def _addresses(sockets: Sockets, name: str) -> tuple[_Numbers, _Numbers]:
    """The upper and the lower half of these addresses, IPv4 as ::ffff:a.b.c.d, in the order of addresses."""
    halves = np.ascontiguousarray(sockets[name]).view(">u8").astype(np.uint64)
    high, low = halves[:, 0], halves[:, 1]
    four = sockets["family"] == socket.AF_INET
    # The kernel puts an IPv4 address into the first four bytes; mapped, it is in the last.
    return np.where(four, 0, high), np.where(four, _MAPPED_HIGH | high >> np.uint64(32), low)


def _ports(sockets: Sockets, name: str) -> _Numbers:
    numbers: _Numbers = sockets[name].astype(np.uint64)
    return numbers


def _group_of_each(columns: list[_Numbers]) -> tuple[_Indexes, _Indexes]:
    """The group of each row, from 0, and for each group one of its rows.

    Rows are compared by one hash, which sorts many times as fast as five columns. Should two groups
    ever have the same, the columns are sorted after all.
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
    """Which of the distinct values each is, and for each of those where it stands."""
    # What np.unique does with return_inverse, but a plain sort and a search are a fraction of its argsort.
    ordered = np.sort(values)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    members: _Indexes = np.searchsorted(distinct, values)
    examples = np.empty(distinct.size, np.int64)
    examples[members] = np.arange(values.size)
    return members, examples


def _distinct(members: _Indexes, ports: npt.NDArray[np.uint16], total: int) -> _Indexes:
    """How many different ports each group has."""
    pairs = np.sort(members << 16 | ports)
    first = np.concatenate([[True], pairs[1:] != pairs[:-1]])
    return np.bincount(pairs[first] >> 16, minlength=total)


class _Text(dict[tuple[int, int], str]):
    """Addresses as text, by their two halves; each is written once."""

    def __missing__(self, halves: tuple[int, int]) -> str:
        packed = halves[0].to_bytes(8, "big") + halves[1].to_bytes(8, "big")
        mapped = packed.startswith(MAPPED)
        text = socket.inet_ntop(socket.AF_INET, packed[12:]) if mapped else socket.inet_ntop(socket.AF_INET6, packed)
        self[halves] = text
        return text


_STATES: Final = max(State) + 1
#: Looked up in a tenth of the time that State(number) takes.
_NAMED: Final = {int(state): state for state in State}
#: ::ffff:0:0/96, the upper half of the lower eight bytes.
_MAPPED_HIGH: Final = np.uint64(0xFFFF << 32)
#: Odd, with its bits well mixed: 2^64 divided by the golden ratio.
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
