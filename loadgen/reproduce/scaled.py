"""The numbers of a situation, small enough for a run of seconds, in the proportions that they had.

What decides where a wall stands is how full a space of ports is, not how large it is. So the range shrinks to PORTS
ports, and every count with it: what was full stays full, two sources stay two, a tenth in TIME-WAIT stays a tenth.
Times do not shrink: TIME-WAIT is 60 s in the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from loadgen.model import PortRange
from loadgen.reproduce.circumstances import Circumstances

#: Ports of a scaled range.
PORTS: Final = 100
#: First port of a scaled range.
_FIRST: Final = 40000
#: The range of a kernel whose settings are its own, Documentation/networking/ip-sysctl.rst.
DEFAULT_RANGE: Final = PortRange(32768, 60999)
#: Spaces are opened in turn; more of them only take longer.
SOURCES_MAX: Final = 4
TARGETS_MAX: Final = 8
#: Connections that one machine holds open without further ado; a situation of more spaces than that is cut.
CONNECTIONS_MOST: Final = 500_000


@dataclass(frozen=True, slots=True)
class Scaled:
    """The port range of the lab, and how counts of the other host become counts of the lab.

    theirs, ours: the range of the other host and of the lab. reserved, held: ports of ours that connect() cannot pick.
    """

    theirs: PortRange
    ours: PortRange
    reserved: tuple[int, ...]
    held: tuple[int, ...]

    @property
    def is_smaller(self) -> bool:
        """True if numbers differ from those of the other host."""
        return len(self.ours) < len(self.theirs)

    @property
    def usable(self) -> int:
        """Ports that the kernel can pick for one space."""
        return len(self.ours) - len({*self.reserved, *self.held})

    def count(self, number: int) -> int:
        """Return a count in proportion; what was there stays there."""
        if number <= 0:
            return 0
        return max(1, round(number * len(self.ours) / len(self.theirs)))

    def port(self, port: int) -> int:
        """Return the port of our range that lies where this one lies in theirs; one outside of theirs as it is.

        Of the parity that `port` has against the low end of its range: connect() prefers one of the two.
        """
        if port not in self.theirs or not self.is_smaller:
            return port
        offset = port - self.theirs.low
        place = offset * len(self.ours) // len(self.theirs)
        place += (place - offset) % 2
        return self.ours.low + min(place, len(self.ours) - 2 + offset % 2)


def scaled(circumstances: Circumstances, *, ports: int = PORTS, full_size: bool = False) -> Scaled:
    """Return the numbers of a lab with at most this many ports, or with all of them."""
    theirs = circumstances.ports or DEFAULT_RANGE
    if circumstances.limit == "port-held" and not circumstances.held and not circumstances.service_port:
        circumstances = replace(circumstances, held=tuple(range(theirs.low, theirs.low + max(len(theirs) // 2, 1))))
    if full_size or len(theirs) <= ports:
        reserved = _inside(circumstances.reserved, theirs)
        held = tuple(port for port in _inside(circumstances.held, theirs) if port not in set(reserved))
        return Scaled(theirs, theirs, reserved, held)
    ours = PortRange(_FIRST, _FIRST + ports - 1)
    plain = Scaled(theirs, ours, (), ())
    reserved_count = plain.count(len(_inside(circumstances.reserved, theirs)))
    held_inside = set(_inside(circumstances.held, theirs)) - set(circumstances.reserved)
    held_count = round(len(held_inside) * ports / len(theirs))
    if circumstances.limit == "port-held":
        held_count = plain.count(len(held_inside))
    reserved_count = min(reserved_count, ports - 1) if len(set(circumstances.reserved)) < len(theirs) else ports
    held_count = min(held_count, ports - reserved_count)
    top = ours.high + 1
    return Scaled(theirs, ours, tuple(range(top - reserved_count, top)), tuple(range(ours.low, ours.low + held_count)))


def _inside(ports: tuple[int, ...], area: PortRange) -> tuple[int, ...]:
    return tuple(sorted({port for port in ports if port in area}))
