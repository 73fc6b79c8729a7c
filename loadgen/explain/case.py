"""The figures that the rules read, each computed once from the evidence.

Unknown is None. A counter that counts since boot says that something happened once; only its movement between two
readings of one host, or since a reading (`nstat` without -a), says that it happens. Readings in one file are taken for
those of one host; in several files if they share many counters, and none of these falls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from loadgen.explain import accounts
from loadgen.explain.accounts import Account
from loadgen.explain.evidence import CounterReading, Evidence, Where
from loadgen.explain.explanation import Proof
from loadgen.explain.port_settings import PortSettings
from loadgen.kernel.sockdiag import TcpState
from loadgen.strategies import Transport

#: A space with this share of its ports in use is (nearly) full; as in the verdict of a run.
FULL: Final = 0.9
#: A space with less in use, in a listing that shows everything, stops no connection.
ROOMY: Final = 0.5


class Movement(NamedTuple):
    """A counter. value: the last reading. moved: since the reading before; None: it counts since boot, or unknown."""

    name: str
    value: int
    moved: int | None
    where: Where

    @property
    def text(self) -> str:
        """The counter in words."""
        if self.moved is not None:
            return f"{self.name} {self.moved:+,}"
        return f"{self.name} {self.value:,} since boot"


class KnownNumber(NamedTuple):
    """A number of the moment, its words, and its place."""

    value: int
    text: str
    where: Where

    @property
    def proof(self) -> Proof:
        """The number as a proof."""
        return Proof(self.text, self.where)


class FullQueue(NamedTuple):
    """A listener whose accept queue is full: the words, its address and port, its port, and its backlog."""

    proof: Proof
    listener: str
    port: int
    backlog: int


@dataclass(frozen=True)
class Case:
    """The evidence and its figures."""

    evidence: Evidence

    @property
    def settings(self) -> PortSettings:
        """The range of automatic choice; widened where the sockets show that the assumed one is wrong."""
        return self._counted[0]

    @property
    def accounts(self) -> list[Account]:
        """The accounts of pairs and sources, those that are limits and the fullest first."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[PortSettings, list[Account]]:
        told = PortSettings.of(self.evidence)
        found = accounts.of(self.evidence, told)
        settings = accounts.widened(told, found)
        return settings, found if settings == told else accounts.of(self.evidence, settings)

    @property
    def pairs(self) -> list[Account]:
        """Those of (source, destination) over TCP."""
        return [one for one in self.accounts if one.row.scope == "pair" and one.row.transport is Transport.TCP]

    @property
    def sources(self) -> list[Account]:
        """Those of a source, whatever the destination."""
        return [one for one in self.accounts if one.row.scope == "source"]

    @cached_property
    def sockets(self) -> KnownNumber | None:
        """The most TCP sockets that connections can have, TIME-WAIT included; None: not known.

        No space of ports has more in use. A summary counts them, and so does a listing of all states.
        """
        in_use, resting = self.gauge("sockstat.tcp_inuse"), self.time_wait
        if in_use and resting:
            six = self.gauge("sockstat.tcp6_inuse")
            total = in_use.value + resting.value + (six.value if six else 0)
            return KnownNumber(total, f"{total:,} TCP sockets in all, those in TIME-WAIT included", in_use.where)
        return None

    @cached_property
    def unconnected(self) -> KnownNumber | None:
        """TCP sockets that neither listen nor are connected, of the whole host; None: not known.

        They are fresh, or bound; `ss -s` counts them, and lists none.
        """
        every, in_use = self.gauge("sockstat.tcp_alloc"), self.gauge("sockstat.tcp_inuse")
        if every is None or in_use is None:
            return None
        six = self.gauge("sockstat.tcp6_inuse")
        count = max(every.value - in_use.value - (six.value if six else 0), 0)
        return KnownNumber(count, f"{count:,} TCP sockets neither listen nor are connected", every.where)

    @cached_property
    def time_wait(self) -> KnownNumber | None:
        """The sockets in TIME-WAIT of the namespace; None: not known."""
        return self.gauge("sockstat.tcp_tw")

    def gauge(self, name: str) -> KnownNumber | None:
        """Return the largest reading of a number of the moment; None: it was not read."""
        readings = self.evidence.readings(name)
        if not readings:
            return None
        most = max(readings, key=lambda reading: reading.value)
        return KnownNumber(most.value, f"{name} is {most.value:,}", most.where)

    def movement(self, name: str) -> Movement | None:
        """Return the movement of a counter, in the file in which it moved most; None: it was not read."""
        moves = [_moved(name, readings, twice=file in self._twice) for file, readings in self._of_files(name).items()]
        return max(moves, key=lambda one: (one.moved or 0, one.value), default=None)

    def _of_files(self, name: str) -> dict[str, list[CounterReading]]:
        files: dict[str, list[CounterReading]] = {}
        for reading in self.evidence.readings(name):
            files.setdefault("" if self._one_host else reading.where.file, []).append(reading)
        return files

    @cached_property
    def _one_host(self) -> bool:
        """True if counters in several files are later and later readings of one host.

        Those of two hosts hardly all rise from one file to the next. A few that do prove nothing.
        """
        files: dict[str, dict[str, int]] = {}
        for one in self.evidence.counters:
            if one.since == "boot":
                files.setdefault(one.where.file, {})[one.name] = one.value
        for earlier, later in pairwise(files.values()):
            shared = earlier.keys() & later.keys()
            if len(shared) < _SHARED_MIN or any(later[name] < earlier[name] for name in shared):
                return False
        return len(files) > 1

    @cached_property
    def _twice(self) -> frozenset[str]:
        """Files that have the same readings twice, of every counter: one paste, and no time between them."""
        values: dict[tuple[str, str], set[int]] = {}
        for one in self.evidence.counters:
            if one.since != "now":
                values.setdefault(("" if self._one_host else one.where.file, one.name), set()).add(one.value)
        moved = {file for (file, _), found in values.items() if len(found) > 1}
        return frozenset(file for file, _ in values) - moved

    def number(self, name: str) -> KnownNumber | None:
        """Return a setting that is one whole number; None: it was not read, or is something else."""
        reading = self.evidence.sysctl(name)
        if reading is None or not plain_number(reading.value):
            return None
        return KnownNumber(int(reading.value), f"{name} = {reading.value}", reading.where)

    @cached_property
    def tracked(self) -> tuple[KnownNumber, KnownNumber] | None:
        """Entries of the tracking table and its size; None: not both are known."""
        count = self.gauge("conntrack.count") or self.number("net.netfilter.nf_conntrack_count")
        size = self.number("net.netfilter.nf_conntrack_max") or self.gauge("conntrack.max")
        return (count, size) if count and size and size.value else None

    @property
    def lists_all(self) -> bool:
        """True if a listing shows every TCP socket, and all spaces were counted: what is not there is not used."""
        whole = any(one.shows_time_wait and one.whole and not one.dropped for one in self.evidence.listings)
        return whole and self.lists_tcp and len(self.accounts) < accounts.ROWS_MAX

    @property
    def lists_tcp(self) -> bool:
        """True if there is a listing of TCP sockets that shows TIME-WAIT as well."""
        return any(one.shows_time_wait and (one.tcp.size or not one.udp.size) for one in self.evidence.listings)

    def holders(self, port: int) -> Iterator[tuple[Proof, TcpState]]:
        """Yield the TCP sockets that have a local port, those that listen first; a few of each listing."""
        for listing in self.evidence.listings:
            found = np.flatnonzero(listing.tcp["source_port"] == port)
            order = np.argsort(listing.tcp["state"][found] != TcpState.LISTEN, kind="stable")
            for place in found[order][:_HOLDERS].tolist():
                yield accounts.described(listing, place), TcpState(int(listing.tcp["state"][place]))

    def peers(self, port: int) -> set[int]:
        """Return the ports at the other end of the connections that have a local port."""
        found: set[int] = set()
        for listing in self.evidence.listings:
            found.update(np.unique(listing.tcp["destination_port"][listing.tcp["source_port"] == port]).tolist())
        return found - {0}

    @cached_property
    def full_queues(self) -> list[FullQueue]:
        """Listeners whose accept queue is full."""
        found = []
        for listing, place in accounts.full_queues(self.evidence.listings):
            row = listing.tcp[place]
            at = accounts.local_end(row)
            text = f"{at}: {int(row['rqueue']):,} connections wait for accept(), the backlog is {int(row['wqueue']):,}"
            queue = FullQueue(
                Proof(text, accounts.line_of(listing, place)), at, int(row["source_port"]), int(row["wqueue"])
            )
            found.append(queue)
        return found


def plain_number(text: str) -> bool:
    """Return True for a whole number of a size that a setting of the kernel can have."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX


#: Counters that two files have to share before they can be of one host.
_SHARED_MIN: Final = 8
#: Of 2^63 - 1.
_DIGITS_MAX: Final = 19
#: Sockets of one port that are named.
_HOLDERS: Final = 3


def _moved(name: str, readings: list[CounterReading], *, twice: bool) -> Movement:
    last = readings[-1]
    since_reading = [one.value for one in readings if one.since == "reading"]
    from_boot = [one.value for one in readings if one.since != "reading"]
    moved = None
    if since_reading:
        moved = max(since_reading)
    elif (
        len(from_boot) > 1 and not twice and from_boot[-1] >= from_boot[0]
    ):  # else of two hosts, or there was a boot between them
        moved = from_boot[-1] - from_boot[0]
    return Movement(name, last.value, moved, last.where)
