"""What is to be complained of: `used > 80%`, held against each look.

A name stands for one number of a look, that of the group where it is worst:

    used         share of its usable ports that the fullest group uses
    free         free ports of the group that has fewest
    in_use       four-tuples in use of the group that has most, TIME-WAIT left out
    time_wait    the same of those in TIME-WAIT
    exhausts_in  until the first group has no port left, as things go; known from the second look on
    bound        bound, unconnected sockets that block ports, of the whole namespace
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from loadgen.errors import HostError
from loadgen.scenario import units
from loadgen.scenario.expect import Expectation

if TYPE_CHECKING:  # numpy comes with these, and it starts threads; see netns.enter()
    from loadgen.watch.snapshot import Filling, Look

_PARTS: Final = re.compile(r" *([a-z_]+) *(==|!=|<=|>=|<|>) *(\S.*?) *")
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
#: Comparisons that a number meets when it is small.
_SMALL: Final = ("<", "<=")


@dataclass(frozen=True, slots=True)
class Violation:
    """A condition that a look meets. group: where; None: the whole namespace."""

    text: str
    found: str
    group: Filling | None

    def __str__(self) -> str:
        where = f", from {self.group.source} to {endpoint_of(self.group)}" if self.group else ""
        return f"--fail-if {self.text}: {self.found}{where}"


@dataclass(frozen=True, slots=True)
class Condition:
    """One --fail-if."""

    _comparison: Expectation

    @classmethod
    def parse(cls, text: str) -> Condition:
        """`used > 80%`, `free < 1000`, `exhausts_in < 60s` -> Condition. Raises: ValueError with what to write."""
        match = _PARTS.fullmatch(text) if len(text) <= 100 else None
        if not match or match[1] not in _NUMBERS:
            raise ValueError(f"write NAME OP VALUE with NAME one of {', '.join(_NUMBERS)}, for example 'used > 80%'")
        name, operator, value = match.groups()
        if name == "exhausts_in" and operator not in _SMALL:
            raise ValueError("of exhausts_in little is bad: write < or <=, for example 'exhausts_in < 60s'")
        return cls(Expectation(name, operator, _NUMBERS[name].read(value), text.strip()))

    @property
    def name(self) -> str:
        """Which number it is about."""
        return self._comparison.path

    def violation(self, look: Look) -> Violation | None:
        """What to complain of, if anything.

        Raises: HostError when it is about bound sockets, and the kernel does not tell of them.
        """
        number = _NUMBERS[self.name]
        worst = number.worst(look)
        if worst is None:
            return None
        found, where = worst
        met, _ = self._comparison.check({self.name: found})
        return Violation(self._comparison.text, number.say(found, where), where) if met else None


def endpoint_of(group: Filling) -> str:
    """Where a group leads to, 127.0.0.1:9000 or [::1]:9000."""
    address = f"[{group.destination}]" if ":" in group.destination else group.destination
    return f"{address}:{group.destination_port}"


#: The number of a look, and the group that it is of.
_Found: TypeAlias = "tuple[float, Filling | None]"


@dataclass(frozen=True, slots=True)
class _Number:
    """What a name stands for. read: its value in a condition, raises ValueError. worst: None where nothing is known."""

    read: Callable[[str], float]
    worst: Callable[[Look], _Found | None]
    say: Callable[[float, Filling | None], str]


def _percent(text: str) -> float:
    match = _PERCENT.fullmatch(text)
    if not match or float(match[1]) > 100:
        raise ValueError("write a share from 0% to 100%, for example 'used > 80%'")
    return float(match[1])


def _count(text: str) -> float:
    number = units.whole_number(text.replace("_", ""))
    if number is None or number < 0:
        raise ValueError("write a whole number, for example 'free < 1000'")
    return float(number)


def _most(value: Callable[[Filling], float]) -> Callable[[Look], _Found | None]:
    """The largest value of any group; 0 where there is no group."""

    def worst(look: Look) -> _Found | None:
        group = max(look.groups, key=value, default=None)
        return (value(group), group) if group else (0.0, None)

    return worst


def _least_free(look: Look) -> _Found:
    group = min(look.groups, key=lambda one: one.room.free, default=None)
    return (group.room.free, group) if group else (look.usable, None)


def _soonest(look: Look) -> _Found | None:
    known = [(one.exhausts_in_s, one) for one in look.groups if one.exhausts_in_s is not None]
    return min(known, key=lambda pair: pair[0], default=None)


def _bound(look: Look) -> _Found:
    if look.bound is None:
        raise HostError(f"cannot say whether --fail-if bound is met: {look.bound_unknown}")
    return look.bound.sockets, None


def _say_used(found: float, group: Filling | None) -> str:
    room = f", {group.room.used:,} of {group.room.usable:,} ports" if group else ""
    return f"{found:.4g}%{room}"


_NUMBERS: Final = {
    "used": _Number(_percent, _most(lambda one: one.room.share * 100), _say_used),
    "free": _Number(_count, _least_free, lambda found, _: f"{found:,.0f} free"),
    "in_use": _Number(_count, _most(lambda one: one.in_use), lambda found, _: f"{found:,.0f} in use"),
    "time_wait": _Number(_count, _most(lambda one: one.time_wait), lambda found, _: f"{found:,.0f} in TIME-WAIT"),
    "exhausts_in": _Number(units.duration_s, _soonest, lambda found, _: f"exhausted in {found:,.1f} s"),
    "bound": _Number(_count, _bound, lambda found, _: f"{found:,.0f} bound, unconnected sockets"),
}
