"""Conditions of `watch --fail-if`: `used > 80%`, held against each snapshot.

A name stands for one number of a snapshot, that of the row where it is worst. Rows are the groups, the source addresses
of UDP sockets, and those source addresses whose connections look as if they were bound early:

    used         share of its usable ports that the fullest row uses
    free         free ports of the row that has fewest
    exhausts_in  time until the first row is exhausted at its present growth; known from the second snapshot on
    in_use       four-tuples in use of the group that has most, TIME-WAIT left out
    time_wait    four-tuples in TIME-WAIT of the group that has most
    source_used  share of its usable ports that the fullest source address uses, over TCP, however they were bound
    bound        bound, unconnected sockets that block ports, of the whole namespace
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from loadgen.errors import HostError
from loadgen.format import count, seconds
from loadgen.model import Endpoint
from loadgen.scenario import units
from loadgen.scenario.condition import OPERATORS, Condition
from loadgen.strategies import Transport

if TYPE_CHECKING:  # numpy comes with these, and it starts threads; see netns.enter()
    from loadgen.watch.snapshot import Snapshot, Usage
    from loadgen.watch.sources import SourceUsage

    #: One row of the tables: a group, or a source address.
    Row: TypeAlias = Usage | SourceUsage

#: Operators that a number meets when it is small.
_SMALL: Final = ("<", "<=")


@dataclass(frozen=True, slots=True)
class Violation:
    """A condition that a snapshot meets. observed: the number, in words. row: where; None: the whole namespace."""

    text: str
    observed: str
    row: Row | None

    def __str__(self) -> str:
        return f"--fail-if {self.text}: {self.observed}{place_of(self.row) if self.row else ''}"


@dataclass(frozen=True, slots=True)
class WatchCondition:
    """One --fail-if: a name, an operator, and the value as a number of percent, sockets or seconds."""

    name: str
    operator: str
    value: float
    text: str

    @classmethod
    def parse(cls, text: str) -> WatchCondition:
        """Read `used > 80%`, `free < 1000` or `exhausts_in < 60s`. Raises: ValueError with the remedy."""
        try:
            condition = Condition.parse(text)
            number = _NUMBERS[condition.name]
        except (ValueError, KeyError):
            message = f"write NAME OP VALUE with NAME one of {', '.join(_NUMBERS)}, for example 'used > 80%'"
            raise ValueError(message) from None
        if condition.name == "exhausts_in" and condition.operator not in _SMALL:
            raise ValueError("of exhausts_in little is bad: write < or <=, for example 'exhausts_in < 60s'")
        return cls(condition.name, condition.operator, number.read(condition), condition.text)

    def violation(self, snapshot: Snapshot) -> Violation | None:
        """Return where the snapshot meets the condition; None if it does not.

        Raises: HostError when it is about bound sockets, and the kernel does not list them.
        """
        number = _NUMBERS[self.name]
        worst = number.worst(snapshot)
        if worst is None:
            return None
        observed, row = worst
        met = OPERATORS[self.operator](observed, self.value)
        return Violation(self.text, number.say(observed, row), row) if met else None


def place_of(row: Row) -> str:
    """Return the place of a number in words: ", from 10.0.0.5 to 10.0.0.7:443"."""
    from loadgen.watch.sources import SourceUsage  # see above

    if isinstance(row, SourceUsage):
        kind = "UDP sockets" if row.transport is Transport.UDP else "TCP sockets"
        return f", {kind} of {row.source}, whatever the destination"
    return f", from {row.source} to {Endpoint(row.destination, row.destination_port)}"


#: A number of a snapshot, and the row that it belongs to; None: the whole namespace.
_Worst: TypeAlias = "tuple[float, Row | None]"


@dataclass(frozen=True, slots=True)
class _Number:
    """The meaning of a name.

    read: its value in a condition, raises ValueError. worst: its value in a snapshot; None where it is unknown. say:
    that value in words.
    """

    read: Callable[[Condition], float]
    worst: Callable[[Snapshot], _Worst | None]
    say: Callable[[float, Row | None], str]


def read_percent(condition: Condition) -> float:
    """Return a value as a number of percent. Raises: ValueError with the remedy."""
    percent = condition.percent
    if percent is None or not 0 <= percent <= 100:
        raise ValueError("write a share from 0% to 100%, for example 'used > 80%'")
    return percent


def read_count(condition: Condition) -> float:
    """Return a value as a whole number. Raises: ValueError with the remedy."""
    number = units.whole_number(condition.value.replace("_", ""))
    if number is None or number < 0:
        raise ValueError("write a whole number, for example 'free < 1000'")
    return float(number)


def _duration_s(condition: Condition) -> float:
    return units.duration_s(condition.value)


def _rows(snapshot: Snapshot) -> tuple[Row, ...]:
    """Return the rows whose ports are a limit."""
    return (*snapshot.groups, *snapshot.limited_sources)


def _most(value: Callable[[Usage], float]) -> Callable[[Snapshot], _Worst | None]:
    """Return a function that finds the largest value of any group; 0 where there is no group."""

    def worst(snapshot: Snapshot) -> _Worst | None:
        group = max(snapshot.groups, key=value, default=None)
        return (value(group), group) if group else (0.0, None)

    return worst


def _fullest(rows: Callable[[Snapshot], tuple[Row, ...]]) -> Callable[[Snapshot], _Worst | None]:
    """Return a function that finds the row with the largest share of its ports in use; 0 where there is no row."""

    def worst(snapshot: Snapshot) -> _Worst | None:
        row = max(rows(snapshot), key=lambda row: row.capacity.share, default=None)
        return (row.capacity.share * 100, row) if row else (0.0, None)

    return worst


def _least_free(snapshot: Snapshot) -> _Worst:
    row = min(_rows(snapshot), key=lambda row: row.capacity.free, default=None)
    return (row.capacity.free, row) if row else (snapshot.usable, None)


def _soonest(snapshot: Snapshot) -> _Worst | None:
    known = [(row.exhausts_in_s, row) for row in _rows(snapshot) if row.exhausts_in_s is not None]
    return min(known, key=lambda pair: pair[0], default=None)


def _bound(snapshot: Snapshot) -> _Worst:
    if snapshot.bound is None:
        raise HostError(f"cannot say whether --fail-if bound is met: {snapshot.bound_unknown}")
    return snapshot.bound.sockets, None


def _say_used(percent: float, row: Row | None) -> str:
    ports = f", {row.capacity.used:,} of {row.capacity.usable:,} ports" if row else ""
    return f"{percent:.4g}%{ports}"


_NUMBERS: Final = {
    "used": _Number(read_percent, _fullest(_rows), _say_used),
    "free": _Number(read_count, _least_free, lambda ports, _: f"{count(ports)} free"),
    "in_use": _Number(read_count, _most(lambda group: group.in_use), lambda sockets, _: f"{count(sockets)} in use"),
    "time_wait": _Number(
        read_count, _most(lambda group: group.time_wait), lambda sockets, _: f"{count(sockets)} in TIME-WAIT"
    ),
    "exhausts_in": _Number(_duration_s, _soonest, lambda left_s, _: f"exhausted in {seconds(left_s)}"),
    "source_used": _Number(read_percent, _fullest(lambda snapshot: snapshot.sources), _say_used),
    "bound": _Number(read_count, _bound, lambda sockets, _: f"{count(sockets)} bound, unconnected sockets"),
}
