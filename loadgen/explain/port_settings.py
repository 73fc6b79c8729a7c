"""The ports that automatic choice may give out on the host of the evidence: its settings, or the kernel's defaults.

Sources: ip_local_port_range and ip_local_reserved_ports in Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.explain.evidence import Evidence, SysctlReading, Where
from loadgen.kernel import sysctl
from loadgen.model import PortRange
from loadgen.watch.space import Ports, Space

#: Default of ip_local_port_range since Linux 3.2.
DEFAULT: Final = PortRange(32_768, 60_999)
RANGE: Final = "net.ipv4.ip_local_port_range"
RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
#: Of a value; a list of every other port has fewer characters.
_TEXT_MAX: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class PortSettings:
    """The range of automatic choice, and the ports that it leaves out.

    assumed: the evidence does not have the range, so that it is the kernel's default. where: of the range; None:
    assumed. reserved_known: the evidence has the reserved ports; else they are assumed to be none.
    """

    ports: PortRange = DEFAULT
    reserved: tuple[int, ...] = ()
    assumed: bool = True
    where: Where | None = None
    reserved_known: bool = False

    @classmethod
    def of(cls, evidence: Evidence) -> PortSettings:
        """Return those of the evidence; a value that is no range, or no list of ports, counts as not there."""
        reading, reserved = evidence.sysctl(RANGE), evidence.sysctl(RESERVED)
        ports = _range(reading)
        left_out = _ports(reserved)
        return cls(
            ports=ports or DEFAULT,
            reserved=left_out or (),
            assumed=ports is None,
            where=reading.where if reading and ports else None,
            reserved_known=left_out is not None,
        )

    @property
    def offered(self) -> Ports:
        """The ports of the range that are not reserved."""
        return Space.of(self.ports, self.reserved, ()).offered

    @property
    def count(self) -> int:
        """Number of these ports."""
        return int(self.offered.sum())

    @property
    def text(self) -> str:
        """The range in words: "32768-60999, the kernel's default, because the evidence does not have the range"."""
        if not self.assumed:
            return str(self.ports)
        default = (
            "the kernel's default, assumed" if self.ports == DEFAULT else "assumed, because ports of it are in use"
        )
        return f"{self.ports}, {default}"


def _range(reading: SysctlReading | None) -> PortRange | None:
    try:
        low, high = reading.value.split() if reading and len(reading.value) <= _TEXT_MAX else ("", "")
        return PortRange(int(low), int(high))
    except ValueError:
        return None


def _ports(reading: SysctlReading | None) -> tuple[int, ...] | None:
    try:
        return sysctl.parse_ports(reading.value) if reading and len(reading.value) <= _TEXT_MAX else None
    except ValueError:
        return None
