"""Conditions of `watch --fail-if`: `used > 80%`, held against each snapshot.

A name stands for one number of a snapshot, that of the group where it is worst:

    used         share of its usable ports that the fullest group uses
    free         free ports of the group that has fewest
    in_use       four-tuples in use of the group that has most, TIME-WAIT left out
    time_wait    four-tuples in TIME-WAIT of the group that has most
    exhausts_in  time until the first group is exhausted at its present growth; known from the second snapshot on
    bound        bound, unconnected sockets that block ports, of the whole namespace
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from loadgen.errors import HostError
from loadgen.scenario import units
from loadgen.scenario.condition import OPERATORS, Condition

if TYPE_CHECKING:  # numpy comes with these, and it starts threads; see netns.enter()
    from loadgen.watch.snapshot import Snapshot, Usage

#: Operators that a number meets when it is small.
_SMALL: Final = ("<", "<=")


@dataclass(frozen=True, slots=True)
class Violation:
    """A condition that a snapshot meets. observed: the number, in words. group: where; None: the whole namespace."""

    text: str
    observed: str
    group: Usage | None

    def __str__(self) -> str:
        where = f", from {self.group.source} to {endpoint_of(self.group)}" if self.group else ""
        return f"--fail-if {self.text}: {self.observed}{where}"


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
        observed, group = worst
        met = OPERATORS[self.operator](observed, self.value)
        return Violation(self.text, number.say(observed, group), group) if met else None


def endpoint_of(group: Usage) -> str:
    """Return the destination of a group as 127.0.0.1:9000 or [::1]:9000."""
    address = f"[{group.destination}]" if ":" in group.destination else group.destination
    return f"{address}:{group.destination_port}"


#: A number of a snapshot, and the group that it belongs to; None: the whole namespace.
_Worst: TypeAlias = "tuple[float, Usage | None]"


@dataclass(frozen=True, slots=True)
class _Number:
    """The meaning of a name.

    read: its value in a condition, raises ValueError. worst: its value in a snapshot; None where it is unknown. say:
    that value in words.
    """

    read: Callable[[Condition], float]
    worst: Callable[[Snapshot], _Worst | None]
    say: Callable[[float, Usage | None], str]


def _percent(condition: Condition) -> float:
    percent = condition.percent
    if percent is None or not 0 <= percent <= 100:
        raise ValueError("write a share from 0% to 100%, for example 'used > 80%'")
    return percent


def _count(condition: Condition) -> float:
    number = units.whole_number(condition.value.replace("_", ""))
    if number is None or number < 0:
        raise ValueError("write a whole number, for example 'free < 1000'")
    return float(number)


def _duration_s(condition: Condition) -> float:
    return units.duration_s(condition.value)


def _most(value: Callable[[Usage], float]) -> Callable[[Snapshot], _Worst | None]:
    """Return a function that finds the largest value of any group; 0 where there is no group."""

    def worst(snapshot: Snapshot) -> _Worst | None:
        group = max(snapshot.groups, key=value, default=None)
        return (value(group), group) if group else (0.0, None)

    return worst


def _least_free(snapshot: Snapshot) -> _Worst:
    group = min(snapshot.groups, key=lambda group: group.capacity.free, default=None)
    return (group.capacity.free, group) if group else (snapshot.usable, None)


def _soonest(snapshot: Snapshot) -> _Worst | None:
    known = [(group.exhausts_in_s, group) for group in snapshot.groups if group.exhausts_in_s is not None]
    return min(known, key=lambda pair: pair[0], default=None)


def _bound(snapshot: Snapshot) -> _Worst:
    if snapshot.bound is None:
        raise HostError(f"cannot say whether --fail-if bound is met: {snapshot.bound_unknown}")
    return snapshot.bound.sockets, None


def _say_used(percent: float, group: Usage | None) -> str:
    ports = f", {group.capacity.used:,} of {group.capacity.usable:,} ports" if group else ""
    return f"{percent:.4g}%{ports}"


_NUMBERS: Final = {
    "used": _Number(_percent, _most(lambda group: group.capacity.share * 100), _say_used),
    "free": _Number(_count, _least_free, lambda ports, _: f"{ports:,.0f} free"),
    "in_use": _Number(_count, _most(lambda group: group.in_use), lambda count, _: f"{count:,.0f} in use"),
    "time_wait": _Number(_count, _most(lambda group: group.time_wait), lambda count, _: f"{count:,.0f} in TIME-WAIT"),
    "exhausts_in": _Number(_duration_s, _soonest, lambda left_s, _: f"exhausted in {left_s:,.1f} s"),
    "bound": _Number(_count, _bound, lambda count, _: f"{count:,.0f} bound, unconnected sockets"),
}
